//! The slow, plain decoder: a struct per message, each field by the rules of protocol buffers and no trick; and a
//! writer with all the freedom that the format leaves.

use std::collections::HashMap;

use super::random::{Random, Style};
use crate::pprof::Pprof;
use crate::symbols::NONE;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plain {
    pub strings: Vec<Vec<u8>>,
    pub sample_types: Vec<(i64, i64)>,
    pub period_type: Option<(i64, i64)>,
    pub period: i64,
    pub time: i64,
    pub duration: i64,
    pub comments: Vec<i64>,
    pub drop_frames: i64,
    pub keep_frames: i64,
    pub default_sample_type: i64,
    pub doc_url: i64,
    pub mappings: Vec<PlainMapping>,
    pub functions: Vec<PlainFunction>,
    pub locations: Vec<PlainLocation>,
    pub samples: Vec<PlainSample>,
    /// Ids of the first locations, when written, instead of those that belong there.
    pub renumber: Option<Vec<u64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainMapping {
    /// start, limit, offset
    pub range: [u64; 3],
    pub file: i64,
    pub build_id: i64,
    pub flags: u8,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainFunction {
    /// name, system name, file
    pub strings: [i64; 3],
    pub start_line: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainLine {
    pub function: Option<usize>,
    pub line: i64,
    pub column: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainLocation {
    pub mapping: Option<usize>,
    pub address: u64,
    pub is_folded: bool,
    pub lines: Vec<PlainLine>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct PlainLabel {
    pub key: i64,
    pub str: i64,
    pub num: i64,
    pub unit: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlainSample {
    pub locations: Vec<usize>,
    pub values: Vec<i64>,
    pub labels: Vec<PlainLabel>,
}

/// A field as it stands: varint or bytes. Others are of no use to profile.proto.
enum Field {
    Varint(u64),
    Bytes(Vec<u8>),
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0u128;
    for shift in 0..10 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u128::from(byte & 0x7f) << (7 * shift);
        if byte < 0x80 {
            return Some(value as u64);
        }
    }
    None
}

/// All fields of one message that are of a use, or `None` if it is no message.
fn fields(bytes: &[u8]) -> Option<Vec<(u32, Field)>> {
    let mut fields = Vec::new();
    let mut at = 0;
    // numbers of the groups that are open are not looked at, as in gogo-protobuf
    let mut open = 0u32;
    while at < bytes.len() {
        let tag = varint(bytes, &mut at)?;
        let number = (tag >> 3) as u32;
        if open == 0 && (number as i32 <= 0 || tag & 7 == 4) {
            return None;
        }
        let mut field = None;
        match tag & 7 {
            0 => field = Some(Field::Varint(varint(bytes, &mut at)?)),
            1 => at = at.checked_add(8).filter(|&at| at <= bytes.len())?,
            2 => {
                let len = usize::try_from(varint(bytes, &mut at)?).ok()?;
                let part = bytes.get(at..at.checked_add(len)?)?;
                at += len;
                field = Some(Field::Bytes(part.to_vec()));
            }
            3 => open += 1,
            4 => open -= 1,
            5 => at = at.checked_add(4).filter(|&at| at <= bytes.len())?,
            _ => return None,
        }
        match (field, open) {
            (Some(field), 0) => fields.push((number, field)),
            // a fixed-width or group field that is known has the wrong type
            (None, _) if (1..=15).contains(&number) && open <= 1 => fields.push((number, Field::Bytes(Vec::new()))),
            _ => {}
        }
    }
    (open == 0).then_some(fields)
}

fn number(field: Field) -> Option<i64> {
    match field {
        Field::Varint(value) => Some(value as i64),
        Field::Bytes(_) => None,
    }
}

fn message(field: Field) -> Option<Vec<u8>> {
    match field {
        Field::Bytes(bytes) => Some(bytes),
        Field::Varint(_) => None,
    }
}

fn repeated(field: Field, into: &mut Vec<i64>) -> Option<()> {
    match field {
        Field::Varint(value) => into.push(value as i64),
        Field::Bytes(bytes) => {
            let mut at = 0;
            while at < bytes.len() {
                into.push(varint(&bytes, &mut at)? as i64);
            }
        }
    }
    Some(())
}

/// The scalar fields 1..=n of a message; others are passed over.
fn scalars<const N: usize>(bytes: &[u8]) -> Option<[i64; N]> {
    let mut row = [0; N];
    for (field, value) in fields(bytes)? {
        if (1..=N as u32).contains(&field) {
            row[field as usize - 1] = number(value)?;
        }
    }
    Some(row)
}

impl Plain {
    /// `None` for what is no sound profile. Ids may be any.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut plain = Self::default();
        let mut samples: Vec<(Vec<i64>, Vec<i64>, Vec<PlainLabel>)> = Vec::new();
        let mut locations: Vec<([i64; 5], Vec<[i64; 3]>)> = Vec::new();
        let (mut mappings, mut functions): (Vec<[i64; 10]>, Vec<[i64; 5]>) = Default::default();
        for (field, value) in fields(bytes)? {
            match field {
                1 => {
                    let [kind, unit] = scalars(&message(value)?)?;
                    plain.sample_types.push((kind, unit));
                }
                2 => {
                    let mut sample = (Vec::new(), Vec::new(), Vec::new());
                    for (field, value) in fields(&message(value)?)? {
                        match field {
                            1 => repeated(value, &mut sample.0)?,
                            2 => repeated(value, &mut sample.1)?,
                            3 => {
                                let [key, str, num, unit] = scalars(&message(value)?)?;
                                sample.2.push(PlainLabel { key, str, num, unit });
                            }
                            _ => {}
                        }
                    }
                    samples.push(sample);
                }
                3 => mappings.push(scalars(&message(value)?)?),
                4 => {
                    let mut row = [0; 5];
                    let mut lines = Vec::new();
                    for (field, value) in fields(&message(value)?)? {
                        match field {
                            4 => lines.push(scalars(&message(value)?)?),
                            1..=5 => row[field as usize - 1] = number(value)?,
                            _ => {}
                        }
                    }
                    locations.push((row, lines));
                }
                5 => functions.push(scalars(&message(value)?)?),
                6 => plain.strings.push(message(value)?),
                7 => plain.drop_frames = number(value)?,
                8 => plain.keep_frames = number(value)?,
                9 => plain.time = number(value)?,
                10 => plain.duration = number(value)?,
                11 => {
                    let [kind, unit] = scalars(&message(value)?)?;
                    plain.period_type = Some((kind, unit));
                }
                12 => plain.period = number(value)?,
                13 => repeated(value, &mut plain.comments)?,
                14 => plain.default_sample_type = number(value)?,
                15 => plain.doc_url = number(value)?,
                _ => {}
            }
        }
        if plain.strings.is_empty() {
            plain.strings.push(Vec::new());
        }
        let strings = plain.strings.len() as i64;
        let string = |ix: i64| (0..strings).contains(&ix).then_some(ix);
        let lenient = |ix: i64| string(ix).unwrap_or(0);
        let rows = |ids: Vec<i64>| {
            let map: HashMap<i64, usize> = ids.iter().enumerate().map(|(ix, &id)| (id, ix)).collect();
            (map.len() == ids.len() && !map.contains_key(&0)).then_some(map)
        };
        let mapping_rows = rows(mappings.iter().map(|row| row[0]).collect())?;
        let function_rows = rows(functions.iter().map(|row| row[0]).collect())?;
        let location_rows = rows(locations.iter().map(|(row, _)| row[0]).collect())?;
        let optional = |rows: &HashMap<i64, usize>, id: i64| match id {
            0 => Some(None),
            id => rows.get(&id).map(|&ix| Some(ix)),
        };
        if !plain.strings[0].is_empty() || (plain.sample_types.is_empty() && !samples.is_empty()) {
            return None;
        }
        for &(kind, unit) in plain.sample_types.iter().chain(&plain.period_type) {
            string(kind)?;
            string(unit)?;
        }
        for row in mappings {
            let flags = (0..4).map(|bit| u8::from(row[6 + bit] != 0) << bit).sum();
            plain.mappings.push(PlainMapping {
                range: [row[1] as u64, row[2] as u64, row[3] as u64],
                file: string(row[4])?,
                build_id: string(row[5])?,
                flags,
            });
        }
        for row in functions {
            plain.functions.push(PlainFunction {
                strings: [string(row[1])?, string(row[2])?, string(row[3])?],
                start_line: row[4],
            });
        }
        for (row, lines) in locations {
            let mut plain_lines = Vec::new();
            for [function, line, column] in lines {
                plain_lines.push(PlainLine { function: optional(&function_rows, function)?, line, column });
            }
            plain.locations.push(PlainLocation {
                mapping: optional(&mapping_rows, row[1])?,
                address: row[2] as u64,
                is_folded: row[4] != 0,
                lines: plain_lines,
            });
        }
        for (ids, values, labels) in samples {
            if values.len() != plain.sample_types.len() {
                return None;
            }
            let locations: Option<Vec<usize>> = ids.iter().map(|id| location_rows.get(id).copied()).collect();
            let mut known = Vec::new();
            for PlainLabel { key, str, num, unit } in labels {
                if key == 0 {
                    return None;
                }
                known.push(PlainLabel { key: string(key)?, str: string(str)?, num, unit: lenient(unit) });
            }
            plain.samples.push(PlainSample { locations: locations?, values, labels: known });
        }
        plain.comments.iter_mut().for_each(|comment| *comment = lenient(*comment));
        plain.drop_frames = lenient(plain.drop_frames);
        plain.keep_frames = lenient(plain.keep_frames);
        plain.default_sample_type = lenient(plain.default_sample_type);
        plain.doc_url = lenient(plain.doc_url);
        Some(plain)
    }

    /// Columns as structs.
    pub(super) fn of(profile: &Pprof) -> Self {
        let symbols = &profile.symbols;
        let optional = |ix: u32| (ix != NONE).then_some(ix as usize);
        let (mappings, functions, lines) = (&symbols.mappings, &symbols.functions, &symbols.lines);
        let width = profile.sample_types.len();
        let extras = &profile.extras;
        let sets = &profile.label_sets;
        Self {
            strings: (0..symbols.strings.len()).map(|ix| symbols.strings.get(ix as u32).to_vec()).collect(),
            sample_types: profile.sample_types.iter().map(|&(kind, unit)| (kind.into(), unit.into())).collect(),
            period_type: profile.period_type.map(|(kind, unit)| (kind.into(), unit.into())),
            period: profile.period,
            time: profile.time,
            duration: profile.duration,
            comments: extras.comments.iter().map(|&ix| ix.into()).collect(),
            drop_frames: extras.drop_frames.into(),
            keep_frames: extras.keep_frames.into(),
            default_sample_type: extras.default_sample_type.into(),
            doc_url: extras.doc_url.into(),
            mappings: (0..mappings.len())
                .map(|ix| PlainMapping {
                    range: [mappings.start[ix], mappings.limit[ix], mappings.offset[ix]],
                    file: mappings.file[ix].into(),
                    build_id: mappings.build_id[ix].into(),
                    flags: mappings.flags[ix],
                })
                .collect(),
            functions: (0..functions.len())
                .map(|ix| PlainFunction {
                    strings: [functions.name[ix], functions.system_name[ix], functions.filename[ix]].map(i64::from),
                    start_line: functions.start_line[ix],
                })
                .collect(),
            locations: (0..symbols.locations.len())
                .map(|ix| PlainLocation {
                    mapping: optional(symbols.locations.mapping[ix]),
                    address: symbols.locations.address[ix],
                    is_folded: symbols.locations.is_folded[ix],
                    lines: symbols
                        .locations
                        .lines(ix as u32)
                        .map(|line| PlainLine {
                            function: optional(lines.function[line]),
                            line: lines.line[line],
                            column: lines.column[line],
                        })
                        .collect(),
                })
                .collect(),
            samples: (0..profile.samples())
                .map(|sample| PlainSample {
                    locations: profile.stacks.get(sample as u32).iter().map(|&ix| ix as usize).collect(),
                    values: profile.values[sample * width..][..width].to_vec(),
                    labels: profile.label_set.get(sample).map_or_else(Vec::new, |&set| {
                        let label = |row: usize| PlainLabel {
                            key: sets.key[row].into(),
                            str: sets.str[row].into(),
                            num: sets.num[row],
                            unit: sets.unit[row].into(),
                        };
                        sets.rows(set).map(label).collect()
                    }),
                })
                .collect(),
            renumber: None,
        }
    }

    /// profile.proto in `style`.
    pub(super) fn write(&self, random: &mut Random, style: &Style) -> Vec<u8> {
        let ids = |random: &mut Random, n: usize| -> Vec<u64> {
            let step = |random: &mut Random| 1 + (random.next() >> (24 + random.below(38)));
            let mut last = 0;
            let counted = (0..n).map(|_| {
                last += if style.ids { step(random) } else { 1 };
                last
            });
            counted.collect()
        };
        let mapping_ids = ids(random, self.mappings.len());
        let function_ids = ids(random, self.functions.len());
        let mut location_ids = ids(random, self.locations.len());
        for (ix, &id) in self.renumber.iter().flatten().enumerate() {
            location_ids[ix] = id;
        }
        let id = |ids: &[u64], row: Option<usize>| row.map_or(0, |row| ids[row]);

        let mut parts: Vec<Vec<u8>> = Vec::new();
        let part = |field: u64, body: Vec<u8>| bytes_field(field, &body);
        for &(kind, unit) in &self.sample_types {
            parts.push(part(1, message_of(random, style, &[(1, kind), (2, unit)])));
        }
        for sample in &self.samples {
            let mut body = Vec::new();
            let ids: Vec<u64> = sample.locations.iter().map(|&row| location_ids[row]).collect();
            body.extend(repeated_field(random, style, 1, &ids));
            let values: Vec<u64> = sample.values.iter().map(|&value| value as u64).collect();
            body.extend(repeated_field(random, style, 2, &values));
            for label in &sample.labels {
                let fields = [(1, label.key), (2, label.str), (3, label.num), (4, label.unit)];
                body.extend(part(3, message_of(random, style, &fields)));
            }
            parts.push(part(2, body));
        }
        for (mapping, &id) in self.mappings.iter().zip(&mapping_ids) {
            let [start, limit, offset] = mapping.range.map(|value| value as i64);
            let mut fields =
                vec![(1, id as i64), (2, start), (3, limit), (4, offset), (5, mapping.file), (6, mapping.build_id)];
            fields.extend((0..4).map(|bit| (7 + bit as u64, i64::from(mapping.flags >> bit & 1))));
            parts.push(part(3, message_of(random, style, &fields)));
        }
        for (location, &own) in self.locations.iter().zip(&location_ids) {
            let mapping = id(&mapping_ids, location.mapping) as i64;
            let mut body = message_of(random, style, &[(1, own as i64), (2, mapping), (3, location.address as i64)]);
            for line in &location.lines {
                let function = id(&function_ids, line.function) as i64;
                let fields = [(1, function), (2, line.line), (3, line.column)];
                body.extend(part(4, message_of(random, style, &fields)));
            }
            body.extend(message_of(random, style, &[(5, i64::from(location.is_folded))]));
            parts.push(part(4, body));
        }
        for (function, &id) in self.functions.iter().zip(&function_ids) {
            let [name, system_name, filename] = function.strings;
            let fields = [(1, id as i64), (2, name), (3, system_name), (4, filename), (5, function.start_line)];
            parts.push(part(5, message_of(random, style, &fields)));
        }
        let strings = self.strings.iter().map(|string| bytes_field(6, string));
        parts.extend(strings);
        parts.push(message_of(random, style, &[(7, self.drop_frames), (8, self.keep_frames)]));
        parts.push(message_of(random, style, &[(9, self.time), (10, self.duration)]));
        if let Some((kind, unit)) = self.period_type {
            parts.push(part(11, message_of(random, style, &[(1, kind), (2, unit)])));
        }
        parts.push(message_of(random, style, &[(12, self.period)]));
        let comments: Vec<u64> = self.comments.iter().map(|&comment| comment as u64).collect();
        parts.push(repeated_field(random, style, 13, &comments));
        parts.push(message_of(random, style, &[(14, self.default_sample_type), (15, self.doc_url)]));
        if style.shuffle {
            mix(random, &mut parts);
        }
        parts.concat()
    }
}

/// Moves parts among each other; those of one field keep their order, which has a meaning.
fn mix(random: &mut Random, parts: &mut Vec<Vec<u8>>) {
    let mut queues: Vec<std::collections::VecDeque<Vec<u8>>> = vec![Default::default(); 17];
    for part in parts.drain(..) {
        let queue = part.first().map_or(16, |tag| usize::from(tag >> 3).min(16));
        queues[queue].push_back(part);
    }
    while !queues.is_empty() {
        let at = random.below(queues.len());
        // in runs, and not one by one, so that large profiles stay quick to write
        for _ in 0..1 + random.below(8) {
            parts.extend(queues[at].pop_front());
        }
        queues.retain(|queue| !queue.is_empty());
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn bytes_field(field: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push_varint(&mut out, field << 3 | 2);
    push_varint(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    out
}

fn message_of(random: &mut Random, style: &Style, fields: &[(u64, i64)]) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for &(field, value) in fields {
        if value != 0 || (style.odd_fields && random.chance(3)) {
            let mut out = Vec::new();
            push_varint(&mut out, field << 3);
            push_varint(&mut out, value as u64);
            parts.push(out);
        }
        if style.odd_fields && random.chance(20) {
            // unknown: a varint, a string, 8 bytes, 4 bytes, an empty group
            let unknown: [&[u8]; 5] = [
                &[0x98, 0x06, 0x2a],
                &[0x9a, 0x06, 0x01, b'x'],
                &[0x99, 0x06, 0, 0, 0, 0, 0, 0, 0, 0],
                &[0x9d, 0x06, 0, 0, 0, 0],
                &[0x9b, 0x06, 0x9c, 0x06],
            ];
            parts.push(unknown[random.below(5)].to_vec());
        }
    }
    if style.odd_fields && random.chance(2) {
        parts.reverse();
    }
    parts.concat()
}

fn repeated_field(random: &mut Random, style: &Style, field: u64, values: &[u64]) -> Vec<u8> {
    // as Go's runtime does: packed from three on
    let packed = match style.packing {
        0 => true,
        1 => false,
        _ => values.len() > 2 || random.chance(2),
    };
    let mut out = Vec::new();
    if packed && !values.is_empty() {
        let mut body = Vec::new();
        values.iter().for_each(|&value| push_varint(&mut body, value));
        return bytes_field(field, &body);
    }
    for &value in values {
        push_varint(&mut out, field << 3);
        push_varint(&mut out, value);
    }
    out
}
