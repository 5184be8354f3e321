//! One pass over the bytes into columns, then one over the columns that resolves ids and checks indices.

use std::collections::HashMap;

use super::wire::{BYTES, Reader, VARINT, message, packed_ids, scalar, wrong_wire};
use super::{Defect, Limits, Pprof, fast, unpack};
use crate::batch::{LabelSets, PprofExtras};
use crate::symbols::{Functions, Lines, Locations, Mappings, NONE, Stacks, Strings, Symbols};

/// Which ids a profile may number its mappings, functions and locations by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// 1, 2, 3, ... in order, as Parca's WriteRaw demands.
    Sequential,
    /// Any, each once and not 0, as profile.proto says.
    Unique,
}

/// Decodes a payload: gzip, zstd or plain. `scratch` may be any; reusing one saves allocations.
pub fn decode(payload: &[u8], ids: Ids, limits: &Limits, scratch: &mut Scratch) -> Result<Pprof, Defect> {
    decode_message(unpack(payload, limits)?.into_owned(), ids, limits, scratch)
}

/// Decodes an unpacked message. The strings of the result are spans of `bytes`.
pub fn decode_message(bytes: Vec<u8>, ids: Ids, limits: &Limits, scratch: &mut Scratch) -> Result<Pprof, Defect> {
    if bytes.len() > limits.unpacked_bytes.min(u32::MAX as usize) {
        return Err(Defect::limit(format!("profile is larger than {} bytes", limits.unpacked_bytes)));
    }
    // an ordinary profile has sequential ids, which are right for either kind
    if let Some(mut profile) = fast::decode(&bytes, limits, &mut scratch.sizes) {
        profile.symbols.strings.bytes = bytes;
        return Ok(profile);
    }
    decode_carefully(bytes, ids, limits, &mut scratch.columns)
}

/// Follows every rule of the wire and of Parca's validation, and finds the words for what is wrong.
pub(super) fn decode_carefully(
    bytes: Vec<u8>,
    ids: Ids,
    limits: &Limits,
    columns: &mut Columns,
) -> Result<Pprof, Defect> {
    columns.clear();
    columns.read(&bytes, limits)?;
    columns.resolve(bytes, ids, limits)
}

/// What outlives a profile: how large its columns were, and buffers. What a result owns is allocated anew.
#[derive(Default)]
pub struct Scratch {
    sizes: fast::Sizes,
    columns: Columns,
}

/// The message as it stands on the wire: ids and indices unchecked.
#[derive(Default)]
pub(super) struct Columns {
    spans: Vec<(u32, u32)>,
    sample_types: Vec<[i64; 2]>,
    period_type: Option<[i64; 2]>,
    /// Location ids of all samples; only the first `ids_len` count.
    ids: Vec<u64>,
    ids_len: usize,
    stack_end: Vec<u32>,
    values: Vec<i64>,
    value_end: Vec<u32>,
    labels: Vec<[i64; 4]>,
    label_end: Vec<u32>,
    mappings: Vec<MappingRow>,
    locations: Vec<LocationRow>,
    lines: Vec<[i64; 3]>,
    functions: Vec<FunctionRow>,
    comments: Vec<i64>,
    drop_frames: i64,
    keep_frames: i64,
    time: i64,
    duration: i64,
    period: i64,
    default_sample_type: i64,
    doc_url: i64,
}

#[derive(Default)]
struct MappingRow {
    id: u64,
    start: u64,
    limit: u64,
    offset: u64,
    file: i64,
    build_id: i64,
    flags: u8,
}

#[derive(Default)]
struct LocationRow {
    id: u64,
    mapping: u64,
    address: u64,
    is_folded: bool,
    line_end: u32,
}

#[derive(Default)]
struct FunctionRow {
    id: u64,
    name: i64,
    system_name: i64,
    filename: i64,
    start_line: i64,
}

impl Columns {
    /// Empties what [`Columns::resolve`] does not take away. `ids` needs none: `ids_len` says what counts.
    fn clear(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        let mut kept = std::mem::take(self);
        kept.labels.clear();
        kept.label_end.clear();
        kept.value_end.clear();
        kept.mappings.clear();
        kept.locations.clear();
        kept.lines.clear();
        kept.functions.clear();
        *self = Self {
            ids,
            labels: kept.labels,
            label_end: kept.label_end,
            value_end: kept.value_end,
            mappings: kept.mappings,
            locations: kept.locations,
            lines: kept.lines,
            functions: kept.functions,
            ..Self::default()
        };
    }

    fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Defect> {
        let mut reader = Reader::new(bytes);
        while !reader.done() {
            let tag = reader.tag("Profile")?;
            match tag.field {
                2 => {
                    let sample = message(&mut reader, tag, "Sample")?;
                    // the ends of runs are u32: a message under 4 GiB cannot overflow them
                    at_most("samples", self.stack_end.len() + 1, limits.samples)?;
                    self.sample(sample, limits)?;
                }
                4 => {
                    let location = message(&mut reader, tag, "Location")?;
                    at_most("locations", self.locations.len() + 1, limits.locations)?;
                    self.location(location, limits)?;
                }
                6 => {
                    let string = message(&mut reader, tag, "StringTable")?;
                    at_most("strings", self.spans.len() + 1, limits.strings)?;
                    if string.len() > limits.string_bytes {
                        let ix = self.spans.len();
                        return Err(Defect::limit(format!("string {ix} is longer than {} bytes", limits.string_bytes)));
                    }
                    self.spans.push(((reader.at - string.len()) as u32, string.len() as u32));
                }
                5 => {
                    let function = message(&mut reader, tag, "Function")?;
                    at_most("functions", self.functions.len() + 1, limits.functions)?;
                    self.functions.push(function_row(function)?);
                }
                1 => {
                    let value_type = message(&mut reader, tag, "SampleType")?;
                    at_most("sample types", self.sample_types.len() + 1, limits.sample_types)?;
                    self.sample_types.push(value_type_row(value_type)?);
                }
                3 => {
                    let mapping = message(&mut reader, tag, "Mapping")?;
                    at_most("mappings", self.mappings.len() + 1, limits.mappings)?;
                    self.mappings.push(mapping_row(mapping)?);
                }
                7 => self.drop_frames = scalar(&mut reader, tag, "DropFrames")? as i64,
                8 => self.keep_frames = scalar(&mut reader, tag, "KeepFrames")? as i64,
                9 => self.time = scalar(&mut reader, tag, "TimeNanos")? as i64,
                10 => self.duration = scalar(&mut reader, tag, "DurationNanos")? as i64,
                11 => self.period_type = Some(value_type_row(message(&mut reader, tag, "PeriodType")?)?),
                12 => self.period = scalar(&mut reader, tag, "Period")? as i64,
                13 if tag.wire == BYTES => {
                    let mut packed = Reader::new(reader.length_delimited()?);
                    while !packed.done() {
                        self.comments.push(packed.varint()? as i64);
                        at_most("comments", self.comments.len(), limits.comments)?;
                    }
                }
                13 => {
                    self.comments.push(scalar(&mut reader, tag, "Comment")? as i64);
                    at_most("comments", self.comments.len(), limits.comments)?;
                }
                14 => self.default_sample_type = scalar(&mut reader, tag, "DefaultSampleType")? as i64,
                15 => self.doc_url = scalar(&mut reader, tag, "DocUrl")? as i64,
                _ => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    fn sample(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Defect> {
        let sample = self.stack_end.len();
        let first_frame = self.ids_len;
        let mut reader = Reader::new(bytes);
        while !reader.done() {
            let tag = reader.tag("Sample")?;
            match (tag.field, tag.wire) {
                (1, BYTES) => {
                    let run = reader.length_delimited()?;
                    // an id takes at most ten bytes: do not make room for what is refused anyway
                    if run.len() / 10 > limits.stack_depth {
                        return Err(too_deep(sample, limits));
                    }
                    packed_ids(run, &mut self.ids, &mut self.ids_len)?;
                }
                (1, VARINT) => {
                    let id = reader.varint()?;
                    self.ids.truncate(self.ids_len);
                    self.ids.push(id);
                    self.ids_len += 1;
                    if self.ids_len - first_frame > limits.stack_depth {
                        return Err(too_deep(sample, limits));
                    }
                }
                (1, _) => return Err(wrong_wire(tag, "LocationId")),
                (2, BYTES) => {
                    let mut packed = Reader::new(reader.length_delimited()?);
                    while !packed.done() {
                        self.values.push(packed.varint()? as i64);
                        at_most("values", self.values.len(), limits.values)?;
                    }
                }
                (2, VARINT) => {
                    self.values.push(reader.varint()? as i64);
                    at_most("values", self.values.len(), limits.values)?;
                }
                (2, _) => return Err(wrong_wire(tag, "Value")),
                (3, _) => {
                    self.labels.push(label_row(message(&mut reader, tag, "Label")?)?);
                    at_most("labels", self.labels.len(), limits.labels)?;
                }
                _ => reader.skip(tag)?,
            }
        }
        if self.ids_len - first_frame > limits.stack_depth {
            return Err(too_deep(sample, limits));
        }
        at_most("locations in its samples", self.ids_len, limits.frames)?;
        self.stack_end.push(self.ids_len as u32);
        self.value_end.push(self.values.len() as u32);
        self.label_end.push(self.labels.len() as u32);
        Ok(())
    }

    fn location(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Defect> {
        let mut row = LocationRow::default();
        let mut reader = Reader::new(bytes);
        while !reader.done() {
            let tag = reader.tag("Location")?;
            match tag.field {
                1 => row.id = scalar(&mut reader, tag, "Id")?,
                2 => row.mapping = scalar(&mut reader, tag, "MappingId")?,
                3 => row.address = scalar(&mut reader, tag, "Address")?,
                4 => {
                    let line = message(&mut reader, tag, "Line")?;
                    self.lines.push(line_row(line)?);
                    at_most("lines", self.lines.len(), limits.lines)?;
                }
                5 => row.is_folded = scalar(&mut reader, tag, "IsFolded")? != 0,
                _ => reader.skip(tag)?,
            }
        }
        row.line_end = self.lines.len() as u32;
        self.locations.push(row);
        Ok(())
    }
}

fn value_type_row(bytes: &[u8]) -> Result<[i64; 2], Defect> {
    let mut row = [0; 2];
    let mut reader = Reader::new(bytes);
    while !reader.done() {
        let tag = reader.tag("ValueType")?;
        match tag.field {
            1 => row[0] = scalar(&mut reader, tag, "Type")? as i64,
            2 => row[1] = scalar(&mut reader, tag, "Unit")? as i64,
            _ => reader.skip(tag)?,
        }
    }
    Ok(row)
}

/// key, str, num, num_unit
fn label_row(bytes: &[u8]) -> Result<[i64; 4], Defect> {
    let mut row = [0; 4];
    let mut reader = Reader::new(bytes);
    while !reader.done() {
        let tag = reader.tag("Label")?;
        match tag.field {
            1 => row[0] = scalar(&mut reader, tag, "Key")? as i64,
            2 => row[1] = scalar(&mut reader, tag, "Str")? as i64,
            3 => row[2] = scalar(&mut reader, tag, "Num")? as i64,
            4 => row[3] = scalar(&mut reader, tag, "NumUnit")? as i64,
            _ => reader.skip(tag)?,
        }
    }
    Ok(row)
}

/// function id, line, column
fn line_row(bytes: &[u8]) -> Result<[i64; 3], Defect> {
    let mut row = [0; 3];
    let mut reader = Reader::new(bytes);
    while !reader.done() {
        let tag = reader.tag("Line")?;
        match tag.field {
            1 => row[0] = scalar(&mut reader, tag, "FunctionId")? as i64,
            2 => row[1] = scalar(&mut reader, tag, "Line")? as i64,
            3 => row[2] = scalar(&mut reader, tag, "Column")? as i64,
            _ => reader.skip(tag)?,
        }
    }
    Ok(row)
}

fn mapping_row(bytes: &[u8]) -> Result<MappingRow, Defect> {
    let mut row = MappingRow::default();
    let mut reader = Reader::new(bytes);
    while !reader.done() {
        let tag = reader.tag("Mapping")?;
        match tag.field {
            1 => row.id = scalar(&mut reader, tag, "Id")?,
            2 => row.start = scalar(&mut reader, tag, "MemoryStart")?,
            3 => row.limit = scalar(&mut reader, tag, "MemoryLimit")?,
            4 => row.offset = scalar(&mut reader, tag, "FileOffset")?,
            5 => row.file = scalar(&mut reader, tag, "Filename")? as i64,
            6 => row.build_id = scalar(&mut reader, tag, "BuildId")? as i64,
            field @ 7..=10 => {
                const NAMES: [&str; 4] = ["HasFunctions", "HasFilenames", "HasLineNumbers", "HasInlineFrames"];
                let bit = 1 << (field - 7);
                let set = scalar(&mut reader, tag, NAMES[field as usize - 7])? != 0;
                row.flags = if set { row.flags | bit } else { row.flags & !bit };
            }
            _ => reader.skip(tag)?,
        }
    }
    Ok(row)
}

fn function_row(bytes: &[u8]) -> Result<FunctionRow, Defect> {
    let mut row = FunctionRow::default();
    let mut reader = Reader::new(bytes);
    while !reader.done() {
        let tag = reader.tag("Function")?;
        match tag.field {
            1 => row.id = scalar(&mut reader, tag, "Id")?,
            2 => row.name = scalar(&mut reader, tag, "Name")? as i64,
            3 => row.system_name = scalar(&mut reader, tag, "SystemName")? as i64,
            4 => row.filename = scalar(&mut reader, tag, "Filename")? as i64,
            5 => row.start_line = scalar(&mut reader, tag, "StartLine")? as i64,
            _ => reader.skip(tag)?,
        }
    }
    Ok(row)
}

#[inline]
fn at_most(what: &str, count: usize, limit: usize) -> Result<(), Defect> {
    if count <= limit { Ok(()) } else { Err(Defect::limit(format!("profile has more than {limit} {what}"))) }
}

#[cold]
fn too_deep(sample: usize, limits: &Limits) -> Defect {
    Defect::limit(format!("sample {sample} has more than {} locations", limits.stack_depth))
}

/// Ids to row indices.
enum Index {
    /// id - 1, for ids 1..=n.
    Sequential(u64),
    Map(HashMap<u64, u32>),
}

impl Index {
    fn new(
        ids: impl ExactSizeIterator<Item = u64> + Clone,
        mode: Ids,
        not_sequential: &'static str,
        kind: &str,
    ) -> Result<Self, Defect> {
        let n = ids.len() as u64;
        if ids.clone().zip(1..).all(|(id, nth)| id == nth) {
            return Ok(Self::Sequential(n));
        }
        if mode == Ids::Sequential {
            return Err(Defect::content(not_sequential));
        }
        let mut map = HashMap::with_capacity(n as usize);
        for (ix, id) in ids.enumerate() {
            if id == 0 {
                return Err(Defect::content(format!("{kind} {ix} has id 0")));
            }
            if map.insert(id, ix as u32).is_some() {
                return Err(Defect::content(format!("{kind} {ix} repeats id {id}")));
            }
        }
        Ok(Self::Map(map))
    }

    #[inline]
    fn get(&self, id: u64) -> Option<u32> {
        match self {
            Self::Sequential(n) => (id.wrapping_sub(1) < *n).then(|| (id - 1) as u32),
            Self::Map(map) => map.get(&id).copied(),
        }
    }
}

impl Columns {
    /// Checks in the order of Parca's `ValidatePprofProfile`, so that of several defects the same is named.
    fn resolve(&mut self, bytes: Vec<u8>, ids: Ids, limits: &Limits) -> Result<Pprof, Defect> {
        if self.spans.is_empty() {
            self.spans.push((0, 0));
        }
        let strings = Strings { bytes, spans: std::mem::take(&mut self.spans) };
        if strings.spans[0].1 != 0 {
            let first = strings.get_str(0);
            return Err(Defect::content(format!(
                "first item in string table is expected to be empty string, but it is {first:?}"
            )));
        }
        let n = strings.len();
        let string = |index: i64| (index as u64 as usize) < n && index >= 0;

        let not_sequential = "mapping id is not sequential";
        let mut mappings = Mappings::default();
        for (ix, row) in self.mappings.iter().enumerate() {
            if ids == Ids::Sequential && row.id != ix as u64 + 1 {
                return Err(Defect::content(not_sequential));
            }
            for (index, field) in [(row.file, "filename"), (row.build_id, "buildid")] {
                if !string(index) {
                    return Err(Defect::content(format!("mapping (id: {}) has invalid {field} index {index}", row.id)));
                }
            }
            mappings.file.push(row.file as u32);
            mappings.build_id.push(row.build_id as u32);
            mappings.start.push(row.start);
            mappings.limit.push(row.limit);
            mappings.offset.push(row.offset);
            mappings.flags.push(row.flags);
        }
        let mapping_index = Index::new(self.mappings.iter().map(|row| row.id), ids, not_sequential, "mapping")?;

        let not_sequential = "function id is not sequential";
        let mut functions = Functions::default();
        for (ix, row) in self.functions.iter().enumerate() {
            if ids == Ids::Sequential && row.id != ix as u64 + 1 {
                return Err(Defect::content(not_sequential));
            }
            let fields = [(row.name, "name"), (row.system_name, "systemname"), (row.filename, "filename")];
            for (index, field) in fields {
                if !string(index) {
                    return Err(Defect::content(format!(
                        "function (id: {}) has invalid {field} index {index}",
                        row.id
                    )));
                }
            }
            functions.name.push(row.name as u32);
            functions.system_name.push(row.system_name as u32);
            functions.filename.push(row.filename as u32);
            functions.start_line.push(row.start_line);
        }
        let function_index = Index::new(self.functions.iter().map(|row| row.id), ids, not_sequential, "function")?;

        let not_sequential = "location id is not sequential";
        let mut locations = Locations::default();
        let mut lines = Lines::default();
        for (ix, row) in self.locations.iter().enumerate() {
            if ids == Ids::Sequential && row.id != ix as u64 + 1 {
                return Err(Defect::content(not_sequential));
            }
            let mapping = match (row.mapping, mapping_index.get(row.mapping)) {
                (0, _) => NONE,
                (_, Some(mapping)) => mapping,
                (id, None) => return Err(Defect::content(format!("location has invalid mapping id: {id}"))),
            };
            for &[function, line, column] in &self.lines[lines.line.len()..row.line_end as usize] {
                let function = match (function as u64, function_index.get(function as u64)) {
                    (0, _) => NONE,
                    (_, Some(function)) => function,
                    (id, None) => {
                        return Err(Defect::content(format!("location {} has invalid function id: {id}", row.id)));
                    }
                };
                lines.function.push(function);
                lines.line.push(line);
                lines.column.push(column);
            }
            locations.mapping.push(mapping);
            locations.address.push(row.address);
            locations.is_folded.push(row.is_folded);
            locations.line_end.push(row.line_end);
        }
        let location_index = Index::new(self.locations.iter().map(|row| row.id), ids, not_sequential, "location")?;

        if self.sample_types.is_empty() && !self.stack_end.is_empty() {
            return Err(Defect::content("missing sample type information"));
        }
        for (ix, &[kind, unit]) in self.sample_types.iter().enumerate() {
            for (index, field) in [(kind, "type"), (unit, "unit")] {
                if !string(index) {
                    return Err(Defect::content(format!("sample type {ix} has invalid {field} index {index}")));
                }
            }
        }
        if let Some([kind, unit]) = self.period_type {
            for (index, field) in [(kind, "type"), (unit, "unit")] {
                if !string(index) {
                    return Err(Defect::content(format!("period type has invalid {field} index {index}")));
                }
            }
        }
        let stacks = resolve_stacks(
            &self.ids[..self.ids_len],
            std::mem::take(&mut self.stack_end),
            &location_index,
            &self.value_end,
            self.sample_types.len(),
        )?;
        let (label_set, label_sets) = resolve_labels(&self.labels, &self.label_end, n, limits)?;
        // what no query uses is not worth refusing a profile for: Parca and pprof take these too
        let known = |index: i64| if string(index) { index as u32 } else { 0 };
        let extras = PprofExtras {
            comments: self.comments.iter().map(|&comment| known(comment)).collect(),
            drop_frames: known(self.drop_frames),
            keep_frames: known(self.keep_frames),
            default_sample_type: known(self.default_sample_type),
            doc_url: known(self.doc_url),
        };
        Ok(Pprof {
            symbols: Symbols { strings, mappings, functions, lines, locations },
            sample_types: self.sample_types.iter().map(|&[kind, unit]| (kind as u32, unit as u32)).collect(),
            period_type: self.period_type.map(|[kind, unit]| (kind as u32, unit as u32)),
            period: self.period,
            time: self.time,
            duration: self.duration,
            stacks,
            values: std::mem::take(&mut self.values),
            label_set,
            label_sets,
            extras,
        })
    }
}

fn resolve_stacks(
    ids: &[u64],
    end: Vec<u32>,
    index: &Index,
    value_end: &[u32],
    width: usize,
) -> Result<Stacks, Defect> {
    // the whole columns at once where nothing is wrong, as nearly always
    let mut locations = Vec::with_capacity(ids.len());
    let mut sound = true;
    match index {
        Index::Sequential(n) => locations.extend(ids.iter().map(|id| {
            let ix = id.wrapping_sub(1);
            sound &= ix < *n;
            ix as u32
        })),
        Index::Map(_) => locations.extend(ids.iter().map(|&id| {
            let ix = index.get(id);
            sound &= ix.is_some();
            ix.unwrap_or(0)
        })),
    }
    sound &= value_end.iter().enumerate().all(|(sample, &values)| values as usize == (sample + 1) * width);
    if sound {
        return Ok(Stacks { end, locations });
    }
    // something is: find the first, in the order in which samples stand
    let (mut start, mut values_before) = (0usize, 0usize);
    for (sample, (&stack_end, &values)) in end.iter().zip(value_end).enumerate() {
        let count = values as usize - values_before;
        if count != width {
            return Err(Defect::content(format!("mismatch: sample has {count} values vs. {width} types")));
        }
        for (nth, &id) in ids[start..stack_end as usize].iter().enumerate() {
            if id == 0 {
                return Err(Defect::content("location ids of stacktraces must be non-zero"));
            }
            if index.get(id).is_none() {
                return Err(Defect::content(format!("sample {sample} location number {nth} ({id}) is out of range")));
            }
        }
        start = stack_end as usize;
        values_before = values as usize;
    }
    Ok(Stacks { end, locations })
}

/// Label sets, each content once; set 0 is the empty one. The first result is empty if no sample has labels.
fn resolve_labels(
    rows: &[[i64; 4]],
    end: &[u32],
    strings: usize,
    limits: &Limits,
) -> Result<(Vec<u32>, LabelSets), Defect> {
    let out_of_range = |index: i64| index < 0 || index as u64 >= strings as u64;
    let mut sets = LabelSets::with_empty();
    if rows.is_empty() {
        return Ok((Vec::new(), sets));
    }
    let mut known: HashMap<&[[i64; 4]], u32> = HashMap::from([(&[][..], 0)]);
    let mut of_sample = Vec::with_capacity(end.len());
    let mut start = 0;
    for (sample, &end) in end.iter().enumerate() {
        let run = &rows[start..end as usize];
        start = end as usize;
        if run.len() > limits.sample_labels {
            return Err(Defect::limit(format!(
                "sample {sample} has {} labels, more than {}",
                run.len(),
                limits.sample_labels
            )));
        }
        for (nth, &[key, str, ..]) in run.iter().enumerate() {
            if key == 0 {
                return Err(Defect::content(format!("sample {sample} label {nth} has no key")));
            }
            for (index, field) in [(key, "key"), (str, "str")] {
                if out_of_range(index) {
                    return Err(Defect::content(format!(
                        "sample {sample} label {nth} has invalid {field} index {index}"
                    )));
                }
            }
        }
        let set = *known.entry(run).or_insert_with(|| {
            for &[key, str, num, unit] in run {
                sets.key.push(key as u32);
                sets.str.push(str as u32);
                sets.num.push(num);
                // a unit that names no string says nothing, and Parca does not look at it
                sets.unit.push(if out_of_range(unit) { 0 } else { unit as u32 });
            }
            sets.end.push(sets.key.len() as u32);
            sets.end.len() as u32 - 1
        });
        of_sample.push(set);
    }
    Ok((of_sample, sets))
}
