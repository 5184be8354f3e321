//! Columns to profile.proto. Ids are rows counted from 1.

use super::Pprof;
use crate::symbols::NONE;

/// The message, not compressed (see [`super::gzip`]). Decoding it gives the same columns back.
pub fn encode(profile: &Pprof) -> Vec<u8> {
    let mut out = Message::default();
    // about what real profiles take: no growth by doubling on the way
    out.0.reserve(profile.stacks.locations.len() * 2 + profile.values.len() * 4 + profile.strings().bytes.len());
    let mut part = Message::default();
    let mut inner = Message::default();
    for &(kind, unit) in &profile.sample_types {
        part.value_type(kind, unit);
        out.message(1, &mut part);
    }
    let width = profile.sample_types.len();
    for sample in 0..profile.samples() {
        let stack = profile.stacks.get(sample as u32);
        if !stack.is_empty() {
            stack.iter().for_each(|&location| inner.varint(location as u64 + 1));
            part.message(1, &mut inner);
        }
        if width > 0 {
            profile.values[sample * width..][..width].iter().for_each(|&value| inner.varint(value as u64));
            part.message(2, &mut inner);
        }
        if let Some(&set) = profile.label_set.get(sample) {
            for row in profile.label_sets.rows(set) {
                inner.uint(1, profile.label_sets.key[row] as u64);
                inner.uint(2, profile.label_sets.str[row] as u64);
                inner.uint(3, profile.label_sets.num[row] as u64);
                inner.uint(4, profile.label_sets.unit[row] as u64);
                part.message(3, &mut inner);
            }
        }
        out.message(2, &mut part);
    }
    let mappings = &profile.symbols.mappings;
    for ix in 0..mappings.len() {
        part.uint(1, ix as u64 + 1);
        part.uint(2, mappings.start[ix]);
        part.uint(3, mappings.limit[ix]);
        part.uint(4, mappings.offset[ix]);
        part.uint(5, mappings.file[ix] as u64);
        part.uint(6, mappings.build_id[ix] as u64);
        for bit in 0..4 {
            part.uint(7 + bit, (mappings.flags[ix] >> bit & 1) as u64);
        }
        out.message(3, &mut part);
    }
    let (locations, lines) = (&profile.symbols.locations, &profile.symbols.lines);
    for ix in 0..locations.len() {
        part.uint(1, ix as u64 + 1);
        part.uint(2, id(locations.mapping[ix]));
        part.uint(3, locations.address[ix]);
        for line in locations.lines(ix as u32) {
            inner.uint(1, id(lines.function[line]));
            inner.uint(2, lines.line[line] as u64);
            inner.uint(3, lines.column[line] as u64);
            part.message(4, &mut inner);
        }
        part.uint(5, locations.is_folded[ix] as u64);
        out.message(4, &mut part);
    }
    let functions = &profile.symbols.functions;
    for ix in 0..functions.len() {
        part.uint(1, ix as u64 + 1);
        part.uint(2, functions.name[ix] as u64);
        part.uint(3, functions.system_name[ix] as u64);
        part.uint(4, functions.filename[ix] as u64);
        part.uint(5, functions.start_line[ix] as u64);
        out.message(5, &mut part);
    }
    for ix in 0..profile.strings().len() {
        out.bytes(6, profile.strings().get(ix as u32));
    }
    let extras = &profile.extras;
    out.uint(7, extras.drop_frames as u64);
    out.uint(8, extras.keep_frames as u64);
    out.uint(9, profile.time as u64);
    out.uint(10, profile.duration as u64);
    if let Some((kind, unit)) = profile.period_type {
        part.value_type(kind, unit);
        out.message(11, &mut part);
    }
    out.uint(12, profile.period as u64);
    if !extras.comments.is_empty() {
        extras.comments.iter().for_each(|&comment| inner.varint(comment as u64));
        out.message(13, &mut inner);
    }
    out.uint(14, extras.default_sample_type as u64);
    out.uint(15, extras.doc_url as u64);
    out.0
}

fn id(row: u32) -> u64 {
    if row == NONE { 0 } else { row as u64 + 1 }
}

#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A scalar field; 0 is left out, as proto3 does.
    #[inline]
    fn uint(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Takes what `part` holds and empties it for the next one.
    fn message(&mut self, field: u64, part: &mut Message) {
        self.bytes(field, &part.0);
        part.0.clear();
    }

    fn value_type(&mut self, kind: u32, unit: u32) {
        self.uint(1, kind as u64);
        self.uint(2, unit as u64);
    }
}
