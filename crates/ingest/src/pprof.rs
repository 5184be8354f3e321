//! pprof, as `WriteRaw` and scrapes bring it: one payload, one batch of at most one profile.

use profile::batch::MappingRange;
use profile::pprof::{DefectKind, Ids, Limits, Pprof, Scratch, decode};
use profile::{Batch, LabelSets, Labels, NONE, Profiles, Samples, Stream, Strings, Symbols, ValueType};

use crate::demangle::name_functions;
use crate::error::{IngestError, IngestErrorKind};
use crate::name::metric_name_defect;

/// Decodes `payload` (gzip, zstd or plain) that was sent with `labels` and arrived at `receive_time`
/// (ns since the epoch).
///
/// - The profile's name is the last `__name__`; other labels that begin with `__` are dropped.
/// - The profile has the delta flag exactly if its duration is not 0.
/// - A profile without a time gets the receive time.
/// - Functions are named by what their mangled names mean.
/// - Addresses become relative to their mapping (`address - start + offset`, wrapping).
/// - A profile without sample types holds nothing: the batch has no profile.
///
/// Errors have the codes and words of Parca's WriteRaw.
pub fn pprof(
    labels: Vec<(String, String)>,
    payload: &[u8],
    receive_time: i64,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Batch, IngestError> {
    read(labels, payload, Ids::Sequential, receive_time, limits, scratch)
}

/// The same of a file that any tool may have written: its ids may be any.
pub fn pprof_file(
    labels: Vec<(String, String)>,
    payload: &[u8],
    modified: i64,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Batch, IngestError> {
    read(labels, payload, Ids::Unique, modified, limits, scratch)
}

fn read(
    labels: Vec<(String, String)>,
    payload: &[u8],
    ids: Ids,
    receive_time: i64,
    limits: &Limits,
    scratch: &mut Scratch,
) -> Result<Batch, IngestError> {
    check_labels(&labels)?;
    let decoded = decode(payload, ids, limits, scratch).map_err(|defect| {
        let invalid = IngestErrorKind::InvalidArgument;
        let (kind, context) = match defect.kind {
            DefectKind::Compression => (IngestErrorKind::Unknown, "decompressing profile"),
            DefectKind::Wire => (invalid, "failed to parse profile"),
            DefectKind::Content => (invalid, "invalid profile"),
            DefectKind::Limit => (IngestErrorKind::ResourceExhausted, "profile over a limit"),
        };
        IngestError::new(kind, format!("{context}: {defect}"))
    })?;
    let name = labels.iter().rev().find(|(name, _)| name == "__name__").map(|(_, value)| value.clone());
    let stream = stream(name.unwrap_or_default(), labels, &decoded);
    check_types(&stream, &decoded)?;
    Ok(batch(stream, decoded, receive_time))
}

/// What WriteRaw demands of a series' labels: a `__name__`, no empty name, no name twice.
pub fn check_labels(labels: &[(String, String)]) -> Result<(), IngestError> {
    let refuse = |message: String| Err(IngestError::new(IngestErrorKind::InvalidArgument, message));
    let mut named = false;
    for (ix, (name, value)) in labels.iter().enumerate() {
        if name == "__name__" {
            named = !value.is_empty();
        } else if name.is_empty() {
            return refuse("invalid label name: ".to_owned());
        } else if labels[..ix].iter().any(|(earlier, _)| earlier == name) {
            return refuse(format!("duplicate label name: {name}"));
        }
    }
    if named { Ok(()) } else { refuse("missing __name__ label".to_owned()) }
}

fn stream(name: String, labels: Vec<(String, String)>, decoded: &Pprof) -> Stream {
    let value_type = |(kind, unit)| ValueType {
        kind: decoded.strings().get_str(kind).into_owned(),
        unit: decoded.strings().get_str(unit).into_owned(),
    };
    Stream {
        tenant: String::new(),
        name,
        labels: Labels::from_pairs(labels.into_iter().filter(|(name, _)| !name.starts_with("__"))),
        period_type: decoded.period_type.map(value_type).unwrap_or_default(),
        delta: decoded.duration != 0,
        sample_types: decoded.sample_types.iter().map(|&pair| value_type(pair)).collect(),
    }
}

/// Refuses types that no query could name, as Parca does when it converts samples to rows: rows are sorted
/// by type, and the message counts those before the first bad one. Types without a value other than 0 have
/// no rows.
fn check_types(stream: &Stream, decoded: &Pprof) -> Result<(), IngestError> {
    let width = stream.sample_types.len();
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by_key(|&value| &stream.sample_types[value]);
    let mut rows_before = 0;
    for value in order {
        let rows = decoded.values.iter().skip(value).step_by(width).filter(|&&value| value != 0).count();
        let name = stream.profile_type(value).to_string();
        if let (true, Some(defect)) = (rows > 0, metric_name_defect(&name)) {
            return Err(IngestError::new(
                IngestErrorKind::Unknown,
                format!("invalid profile type at row {rows_before} ({name}): {defect}"),
            ));
        }
        rows_before += rows;
    }
    Ok(())
}

fn batch(stream: Stream, decoded: Pprof, receive_time: i64) -> Batch {
    if stream.sample_types.is_empty() {
        let symbols = Symbols { strings: Strings::with_empty(), ..Symbols::default() };
        return Batch { symbols, label_sets: LabelSets::with_empty(), ..Batch::default() };
    }
    let Pprof { mut symbols, period, time, duration, stacks, values, label_set, label_sets, extras, .. } = decoded;
    name_functions(&mut symbols);
    let mappings = &symbols.mappings;
    let locations = &mut symbols.locations;
    for (address, &mapping) in locations.address.iter_mut().zip(&locations.mapping) {
        if mapping != NONE {
            let mapping = mapping as usize;
            *address = address.wrapping_sub(mappings.start[mapping]).wrapping_add(mappings.offset[mapping]);
        }
    }
    let mapping_ranges: Vec<MappingRange> = (0..mappings.len())
        .map(|ix| MappingRange {
            mapping: ix as u32,
            start: mappings.start[ix],
            limit: mappings.limit[ix],
            offset: mappings.offset[ix],
        })
        .collect();
    let time = if time == 0 { receive_time } else { time };
    let profiles = Profiles {
        stream: vec![0],
        time: vec![time],
        time_max: vec![time],
        duration: vec![duration],
        period: vec![period],
        sample_end: vec![stacks.len() as u32],
        mapping_end: vec![mapping_ranges.len() as u32],
        mapping_ranges,
        extras: vec![extras],
    };
    let samples = Samples { stack: (0..stacks.len() as u32).collect(), label_set, values, time: Vec::new() };
    Batch { symbols, stacks, dictionary: None, label_sets, streams: vec![stream], profiles, samples }
}
