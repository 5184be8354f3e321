//! Writes that can be told apart: profile `id` is a sample of value `id + 1`.

use std::sync::Arc;

use bytes::Bytes;
use profile::{Batch, LabelSets, Labels, Stream, Strings, ValueType};

use crate::part::{Part, Pick};
use crate::record::{Record, ReplayDecoder};

/// Of profile 0, ns since the epoch.
pub(crate) const FIRST_TIME: i64 = 1_795_000_000_000_000_000;

const MINUTE_NS: i64 = 60_000_000_000;

/// The payload of one that no longer decodes.
pub(crate) const REFUSED: &[u8] = b"refused";

/// A write of one profile whose payload has `filler` bytes beside the id.
pub(crate) fn write(id: u64, filler: usize) -> (Record, Batch) {
    let mut payload = id.to_le_bytes().to_vec();
    // bytes that look like the log's own, so that reading must not trust looks
    payload.extend([0xD3, 0xC1, 0x3A, 0x57, 1, 2, 3].iter().cycle().take(filler));
    let record = Record {
        kind: 1,
        version: 1,
        tenant: String::new(),
        receive_time: time(id),
        sender: "simulation".to_owned(),
        labels: vec![("__name__".to_owned(), "sim".to_owned())],
        payload: Bytes::from(payload),
    };
    (record, batch(id))
}

/// Out of order, and over several windows of an hour.
fn time(id: u64) -> i64 {
    FIRST_TIME + (id.wrapping_mul(7919) % 130) as i64 * MINUTE_NS
}

fn batch(id: u64) -> Batch {
    let mut batch = Batch::default();
    batch.symbols.strings = Strings::with_empty();
    let name = batch.symbols.strings.push(format!("function {}", id % 5).as_bytes());
    batch.symbols.functions.name.push(name);
    batch.symbols.functions.system_name.push(name);
    batch.symbols.functions.filename.push(0);
    batch.symbols.functions.start_line.push(0);
    batch.symbols.lines.function.push(0);
    batch.symbols.lines.line.push(1);
    batch.symbols.lines.column.push(0);
    batch.symbols.locations.mapping.push(profile::NONE);
    batch.symbols.locations.address.push(id % 3);
    batch.symbols.locations.is_folded.push(false);
    batch.symbols.locations.line_end.push(1);
    batch.stacks.push(&[0]);
    batch.label_sets = LabelSets::with_empty();
    batch.streams.push(Stream {
        tenant: String::new(),
        name: "sim".to_owned(),
        labels: Labels::from_pairs([("service".to_owned(), format!("s{}", id % 2))]),
        period_type: ValueType::new("cpu", "nanoseconds"),
        delta: true,
        sample_types: vec![ValueType::new("samples", "count")],
    });
    batch.profiles.stream.push(0);
    batch.profiles.time.push(time(id));
    batch.profiles.time_max.push(time(id));
    batch.profiles.duration.push(1);
    batch.profiles.period.push(1);
    batch.profiles.sample_end.push(1);
    batch.profiles.mapping_end.push(0);
    batch.samples.stack.push(0);
    batch.samples.values.push(id as i64 + 1);
    batch
}

pub(crate) struct SimDecoder;

impl ReplayDecoder for SimDecoder {
    fn decode(&self, record: &Record) -> Result<Batch, String> {
        match record.payload.first_chunk() {
            _ if record.payload == REFUSED => Err("refused on purpose".to_owned()),
            Some(id) => Ok(batch(u64::from_le_bytes(*id))),
            None => Err("shorter than an id".to_owned()),
        }
    }
}

/// The ids that `parts` hold by their totals, as often as they hold them, ascending.
pub(crate) fn ids(parts: &[Arc<dyn Part>]) -> Vec<u64> {
    let mut ids: Vec<u64> = parts.iter().flat_map(|part| totals(&**part)).map(|(_, total)| total as u64 - 1).collect();
    ids.sort_unstable();
    ids
}

/// Like [`ids`]; reads every sample too, and compares.
pub(crate) fn ids_by_samples(parts: &[Arc<dyn Part>]) -> Vec<u64> {
    for part in parts {
        let totals = totals(&**part);
        let picks: Vec<Pick<'_>> = totals
            .iter()
            .map(|(profile, _)| Pick { profile: *profile, value: 0, weight: 1, label_sets: None })
            .collect();
        let mut samples = Vec::new();
        part.samples(&picks, &|| true, &mut |row| samples.push((row.pick, row.value)))
            .unwrap_or_else(|error| panic!("{}: {error}", part.name()));
        samples.sort_unstable();
        assert_eq!(samples, totals, "{}: totals and samples differ", part.name());
    }
    ids(parts)
}

fn totals(part: &dyn Part) -> Vec<(u32, i64)> {
    let profiles = part.profiles();
    (0..profiles.len()).map(|row| (row as u32, profiles.total(row, 0).0)).collect()
}
