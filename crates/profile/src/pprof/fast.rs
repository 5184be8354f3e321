//! The hot path: columns straight from the bytes of an ordinary profile.
//!
//! *Ordinary* is what every writer in use writes: fields of a message in ascending order, sample types before
//! samples, ids that count from 1, indices in range, nothing unknown. Anything else, broken bytes and exceeded limits
//! included, makes [`decode`] give up with `None`, and the careful decoder (`decode.rs`) starts again: it knows every
//! rule and every message, this one only has to be right about what it accepts. Tests hold the two against each other.
//!
//! Where the time goes is location ids (three quarters of a CPU profile's bytes), then locations. Two tricks pay:
//! a varint is read as one word of eight bytes, without a branch on its length; and packed ids are read four at a
//! time ([`packed`]).

use std::collections::HashMap;

use super::wire::ENDS;
use super::{Limits, Pprof};
use crate::batch::{LabelSets, PprofExtras};
use crate::symbols::{Functions, Lines, Locations, Mappings, Stacks, Strings, Symbols};

/// Sizes of the profile before: the next one is likely to be alike, and a column that fits grows no more.
#[derive(Clone, Copy, Default)]
pub(super) struct Sizes {
    strings: usize,
    functions: usize,
    lines: usize,
    locations: usize,
    samples: usize,
    frames: usize,
    values: usize,
}

/// A cursor over the whole message; parts of it are told by where they end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Whether a field with this tag comes next, before `end`; passes over its tag.
    #[inline(always)]
    fn tag(&mut self, tag: u8, end: usize) -> bool {
        let next = self.at < end && self.bytes[self.at] == tag;
        self.at += next as usize;
        next
    }

    #[inline(always)]
    fn varint(&mut self) -> Option<u64> {
        let Some(chunk) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<8>()) else {
            return self.long_varint();
        };
        let word = u64::from_le_bytes(*chunk);
        let ends = !word & ENDS;
        if ends == 0 {
            return self.long_varint();
        }
        let end = ends.trailing_zeros();
        self.at += (end as usize + 1) / 8;
        Some(squeeze(word & (u64::MAX >> (63 - end))))
    }

    /// A varint of nine or ten bytes, or in the last bytes of the message.
    #[cold]
    fn long_varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= ((byte & 0x7f) as u64) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// Where the part that begins with its length here ends.
    #[inline(always)]
    fn part(&mut self) -> Option<usize> {
        let len = self.varint()?;
        if len > (self.bytes.len() - self.at) as u64 {
            return None;
        }
        Some(self.at + len as usize)
    }

    /// A scalar field's value, or 0 if it is not there.
    #[inline(always)]
    fn optional(&mut self, tag: u8, end: usize) -> Option<u64> {
        if self.tag(tag, end) { self.varint() } else { Some(0) }
    }
}

/// Takes the top bit out of each of eight bytes.
#[inline(always)]
fn squeeze(word: u64) -> u64 {
    let pairs = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let quads = (pairs & 0x0000_3fff_0000_3fff) | ((pairs & 0x3fff_0000_3fff_0000) >> 2);
    (quads & 0x0fff_ffff) | ((quads & 0x0fff_ffff_0000_0000) >> 4)
}

/// Decodes an ordinary profile, or gives up. The strings of the result are spans of `bytes`, and its buffer of
/// bytes is left empty for the caller to put them into.
pub(super) fn decode(bytes: &[u8], limits: &Limits, sizes: &mut Sizes) -> Option<Pprof> {
    let mut columns = Columns::new(bytes.len(), sizes);
    let mut cursor = Cursor { bytes, at: 0 };
    while let Some(&tag) = bytes.get(cursor.at) {
        cursor.at += 1;
        match tag {
            0x12 => {
                let end = cursor.part()?;
                columns.sample(&mut cursor, end, limits)?;
            }
            0x22 => {
                let end = cursor.part()?;
                columns.location(&mut cursor, end, limits)?;
            }
            0x2a => {
                let end = cursor.part()?;
                columns.function(&mut cursor, end, limits)?;
            }
            0x32 => {
                let end = cursor.part()?;
                if columns.strings.len() >= limits.strings {
                    return None;
                }
                columns.strings.push((cursor.at as u32, (end - cursor.at) as u32));
                cursor.at = end;
            }
            0x1a => {
                let end = cursor.part()?;
                columns.mapping(&mut cursor, end, limits)?;
            }
            0x0a => {
                let end = cursor.part()?;
                if !columns.end.is_empty() || columns.sample_types.len() >= limits.sample_types {
                    return None;
                }
                columns.sample_types.push(value_type(&mut cursor, end)?);
            }
            0x5a => {
                let end = cursor.part()?;
                if columns.period_type.is_some() {
                    return None;
                }
                columns.period_type = Some(value_type(&mut cursor, end)?);
            }
            0x48 => columns.time = cursor.varint()? as i64,
            0x50 => columns.duration = cursor.varint()? as i64,
            0x60 => columns.period = cursor.varint()? as i64,
            0x38 => columns.extras.drop_frames = cursor.varint()?.try_into().ok()?,
            0x40 => columns.extras.keep_frames = cursor.varint()?.try_into().ok()?,
            0x68 => columns.extras.comments.push(cursor.varint()?.try_into().ok()?),
            0x6a => {
                let end = cursor.part()?;
                if (end - cursor.at) / 10 > limits.comments {
                    return None;
                }
                while cursor.at < end {
                    columns.extras.comments.push(cursor.varint()?.try_into().ok()?);
                }
                if cursor.at != end || columns.extras.comments.len() > limits.comments {
                    return None;
                }
            }
            0x70 => columns.extras.default_sample_type = cursor.varint()?.try_into().ok()?,
            0x78 => columns.extras.doc_url = cursor.varint()?.try_into().ok()?,
            _ => return None,
        }
    }
    columns.finish(limits, sizes)
}

fn value_type(cursor: &mut Cursor<'_>, end: usize) -> Option<(u32, u32)> {
    let kind = cursor.optional(0x08, end)?;
    let unit = cursor.optional(0x10, end)?;
    if cursor.at != end {
        return None;
    }
    Some((kind.try_into().ok()?, unit.try_into().ok()?))
}

/// Indices are as in [`Pprof`], with `NONE` where the id was 0; whether they are in range is asked at the end, of
/// whole columns.
struct Columns<'a> {
    strings: Vec<(u32, u32)>,
    mappings: Mappings,
    functions: Functions,
    lines: Lines,
    locations: Locations,
    sample_types: Vec<(u32, u32)>,
    period_type: Option<(u32, u32)>,
    time: i64,
    duration: i64,
    period: i64,
    extras: PprofExtras,
    /// Longer than `frames`, which counts.
    stack_locations: Vec<u32>,
    frames: usize,
    end: Vec<u32>,
    values: Vec<i64>,
    label_set: Vec<u32>,
    label_sets: LabelSets,
    /// Sets by their bytes on the wire. In shortest form, so that equal sets have equal bytes.
    known_sets: HashMap<&'a [u8], u32, foldhash::fast::RandomState>,
    /// All bits of ids and indices that do not fit into 32.
    beyond: u64,
    /// Whether all ids so far count from 1.
    sequential: bool,
}

/// The row that an id names; an id of 0 gives `NONE`.
#[inline(always)]
fn row(id: u64) -> u32 {
    (id as u32).wrapping_sub(1)
}

impl<'a> Columns<'a> {
    fn new(len: usize, sizes: &Sizes) -> Self {
        // a little more than last time, but no more than can be in so many bytes
        let room = |last: usize, bytes_each: usize| (last + last / 8 + 16).min(len / bytes_each + 1);
        let (functions, lines, locations) = (room(sizes.functions, 2), room(sizes.lines, 2), room(sizes.locations, 2));
        Self {
            strings: Vec::with_capacity(room(sizes.strings, 2)),
            mappings: Mappings::default(),
            functions: Functions {
                name: Vec::with_capacity(functions),
                system_name: Vec::with_capacity(functions),
                filename: Vec::with_capacity(functions),
                start_line: Vec::with_capacity(functions),
            },
            lines: Lines {
                function: Vec::with_capacity(lines),
                line: Vec::with_capacity(lines),
                column: Vec::with_capacity(lines),
            },
            locations: Locations {
                mapping: Vec::with_capacity(locations),
                address: Vec::with_capacity(locations),
                is_folded: Vec::with_capacity(locations),
                line_end: Vec::with_capacity(locations),
            },
            sample_types: Vec::new(),
            period_type: None,
            time: 0,
            duration: 0,
            period: 0,
            extras: PprofExtras::default(),
            stack_locations: vec![0; room(sizes.frames, 1)],
            frames: 0,
            end: Vec::with_capacity(room(sizes.samples, 2)),
            values: Vec::with_capacity(room(sizes.values, 1)),
            label_set: Vec::new(),
            label_sets: LabelSets::with_empty(),
            known_sets: HashMap::default(),
            beyond: 0,
            sequential: true,
        }
    }

    #[inline(always)]
    fn sample(&mut self, cursor: &mut Cursor<'a>, end: usize, limits: &Limits) -> Option<()> {
        let first_frame = self.frames;
        if cursor.tag(0x0a, end) {
            let run_end = cursor.part()?;
            // an id takes at most ten bytes: do not make room for what is refused anyway
            if run_end > end || (run_end - cursor.at) / 10 > limits.stack_depth {
                return None;
            }
            self.packed_frames(cursor, run_end)?;
        } else {
            while self.frames - first_frame <= limits.stack_depth && cursor.tag(0x08, end) {
                let id = cursor.varint()?;
                self.beyond |= id >> 32;
                self.make_room(1);
                self.stack_locations[self.frames] = row(id);
                self.frames += 1;
            }
        }
        let first_value = self.values.len();
        if cursor.tag(0x12, end) {
            let run_end = cursor.part()?;
            if run_end > end || (run_end - cursor.at) / 10 > limits.sample_types {
                return None;
            }
            while cursor.at < run_end {
                let value = cursor.varint()?;
                self.values.push(value as i64);
            }
            if cursor.at != run_end {
                return None;
            }
        } else {
            while self.values.len() - first_value <= limits.sample_types && cursor.tag(0x10, end) {
                let value = cursor.varint()?;
                self.values.push(value as i64);
            }
        }
        let ordinary = self.values.len() - first_value == self.sample_types.len()
            && self.frames - first_frame <= limits.stack_depth
            && self.end.len() < limits.samples
            && self.frames <= limits.frames
            && self.values.len() <= limits.values;
        if !ordinary {
            return None;
        }
        if cursor.at != end {
            self.labels(cursor, end, limits)?;
        } else if !self.label_set.is_empty() {
            self.label_set.push(0);
        }
        self.end.push(self.frames as u32);
        Some(())
    }

    #[inline(always)]
    fn make_room(&mut self, frames: usize) {
        // `packed` writes up to three slots past what it counts
        if self.stack_locations.len() < self.frames + frames + 4 {
            self.grow(frames);
        }
    }

    #[cold]
    fn grow(&mut self, frames: usize) {
        let needed = self.frames + frames + 4;
        self.stack_locations.resize(needed + needed / 2, 0);
    }

    #[inline(always)]
    fn packed_frames(&mut self, cursor: &mut Cursor<'a>, end: usize) -> Option<()> {
        self.make_room(end - cursor.at);
        let slots = &mut self.stack_locations[self.frames..];
        let (count, beyond) = packed(cursor.bytes, cursor.at, end, slots)?;
        cursor.at = end;
        self.frames += count;
        self.beyond |= beyond;
        Some(())
    }

    /// The rest of a sample: its labels, as bytes known or new.
    fn labels(&mut self, cursor: &mut Cursor<'a>, end: usize, limits: &Limits) -> Option<()> {
        // samples so far had none
        self.label_set.resize(self.end.len(), 0);
        let bytes = cursor.bytes.get(cursor.at..end)?;
        if let Some(&known) = self.known_sets.get(bytes) {
            self.label_set.push(known);
            cursor.at = end;
            return Some(());
        }
        let mut count = 0;
        while cursor.tag(0x1a, end) {
            let label_end = cursor.part()?;
            let mut shortest = |tag| {
                if !cursor.tag(tag, label_end) {
                    return Some(0);
                }
                let value = cursor.varint()?;
                // in shortest form only 0 ends in a byte of 0, and 0 is not written
                (cursor.bytes[cursor.at - 1] != 0).then_some(value)
            };
            let (key, str) = (shortest(0x08)?, shortest(0x10)?);
            let (num, unit) = (shortest(0x18)?, shortest(0x20)?);
            count += 1;
            if cursor.at != label_end
                || key == 0
                || count > limits.sample_labels
                || self.label_sets.key.len() >= limits.labels
            {
                return None;
            }
            self.label_sets.key.push(key.try_into().ok()?);
            self.label_sets.str.push(str.try_into().ok()?);
            self.label_sets.num.push(num as i64);
            self.label_sets.unit.push(unit.try_into().ok()?);
        }
        // lengths have a shortest form too
        if cursor.at != end || bytes.len() != self.written_length(count) {
            return None;
        }
        self.label_sets.end.push(self.label_sets.key.len() as u32);
        let set = self.label_sets.len() as u32 - 1;
        self.known_sets.insert(bytes, set);
        self.label_set.push(set);
        Some(())
    }

    /// Bytes that the last `count` labels take when they are written in shortest form.
    fn written_length(&self, count: usize) -> usize {
        let sets = &self.label_sets;
        let field = |value: u64| if value == 0 { 0 } else { 1 + varint_length(value) };
        (sets.key.len() - count..sets.key.len())
            .map(|row| {
                let fields = [sets.key[row] as u64, sets.str[row] as u64, sets.num[row] as u64, sets.unit[row] as u64];
                let len: usize = fields.into_iter().map(field).sum();
                1 + varint_length(len as u64) + len
            })
            .sum()
    }

    #[inline(always)]
    fn location(&mut self, cursor: &mut Cursor<'_>, end: usize, limits: &Limits) -> Option<()> {
        let id = cursor.optional(0x08, end)?;
        let mapping = cursor.optional(0x10, end)?;
        let address = cursor.optional(0x18, end)?;
        while cursor.tag(0x22, end) {
            let line_end = cursor.part()?;
            let function = cursor.optional(0x08, line_end)?;
            let line = cursor.optional(0x10, line_end)?;
            let column = cursor.optional(0x18, line_end)?;
            if cursor.at != line_end {
                return None;
            }
            self.beyond |= function >> 32;
            self.lines.function.push(row(function));
            self.lines.line.push(line as i64);
            self.lines.column.push(column as i64);
        }
        let is_folded = cursor.optional(0x28, end)?;
        if cursor.at != end || self.locations.len() >= limits.locations || self.lines.line.len() > limits.lines {
            return None;
        }
        self.sequential &= id == self.locations.address.len() as u64 + 1;
        self.beyond |= mapping >> 32;
        self.locations.mapping.push(row(mapping));
        self.locations.address.push(address);
        self.locations.is_folded.push(is_folded != 0);
        self.locations.line_end.push(self.lines.line.len() as u32);
        Some(())
    }

    #[inline(always)]
    fn function(&mut self, cursor: &mut Cursor<'_>, end: usize, limits: &Limits) -> Option<()> {
        let id = cursor.optional(0x08, end)?;
        let name = cursor.optional(0x10, end)?;
        let system_name = cursor.optional(0x18, end)?;
        let filename = cursor.optional(0x20, end)?;
        let start_line = cursor.optional(0x28, end)?;
        if cursor.at != end || self.functions.len() >= limits.functions {
            return None;
        }
        self.sequential &= id == self.functions.name.len() as u64 + 1;
        self.beyond |= (name | system_name | filename) >> 32;
        self.functions.name.push(name as u32);
        self.functions.system_name.push(system_name as u32);
        self.functions.filename.push(filename as u32);
        self.functions.start_line.push(start_line as i64);
        Some(())
    }

    fn mapping(&mut self, cursor: &mut Cursor<'_>, end: usize, limits: &Limits) -> Option<()> {
        let id = cursor.optional(0x08, end)?;
        let (start, limit) = (cursor.optional(0x10, end)?, cursor.optional(0x18, end)?);
        let offset = cursor.optional(0x20, end)?;
        let (file, build_id) = (cursor.optional(0x28, end)?, cursor.optional(0x30, end)?);
        let mut flags = 0;
        for bit in 0..4u8 {
            let set = cursor.optional(0x38 + 8 * bit, end)? != 0;
            flags |= (set as u8) << bit;
        }
        if cursor.at != end || self.mappings.len() >= limits.mappings {
            return None;
        }
        self.sequential &= id == self.mappings.len() as u64 + 1;
        self.beyond |= (file | build_id) >> 32;
        self.mappings.file.push(file as u32);
        self.mappings.build_id.push(build_id as u32);
        self.mappings.start.push(start);
        self.mappings.limit.push(limit);
        self.mappings.offset.push(offset);
        self.mappings.flags.push(flags);
        Some(())
    }

    /// All that is asked of whole columns: whether ids count from 1, indices are in range, counts within limits.
    fn finish(mut self, limits: &Limits, sizes: &mut Sizes) -> Option<Pprof> {
        if self.strings.is_empty() {
            self.strings.push((0, 0));
        }
        self.stack_locations.truncate(self.frames);
        let strings = self.strings.len();
        let below = |column: &[u32], rows: usize| (max(column) as usize) < rows || column.is_empty();
        let below_or_none = |column: &[u32], rows: usize| max_id(column) as usize <= rows;
        let pairs = self.sample_types.iter().chain(&self.period_type);
        let extras = &self.extras;
        let extra_strings =
            [extras.drop_frames, extras.keep_frames, extras.default_sample_type, extras.doc_url].into_iter();
        let within = extras.comments.len() <= limits.comments
            && self.strings.iter().fold(0, |longest, &(_, len)| longest.max(len)) as usize <= limits.string_bytes;
        let sound = within
            && self.sequential
            && self.beyond == 0
            && self.strings[0].1 == 0
            && (self.end.is_empty() || !self.sample_types.is_empty())
            && pairs.flat_map(|&(kind, unit)| [kind, unit]).all(|ix| (ix as usize) < strings)
            && extra_strings.chain(extras.comments.iter().copied()).all(|ix| (ix as usize) < strings)
            && below(&self.mappings.file, strings)
            && below(&self.mappings.build_id, strings)
            && below(&self.functions.name, strings)
            && below(&self.functions.system_name, strings)
            && below(&self.functions.filename, strings)
            && below_or_none(&self.lines.function, self.functions.len())
            && below_or_none(&self.locations.mapping, self.mappings.len())
            && below(&self.stack_locations, self.locations.len())
            && below(&self.label_sets.key, strings)
            && below(&self.label_sets.str, strings)
            && below(&self.label_sets.unit, strings);
        if !sound {
            return None;
        }
        *sizes = Sizes {
            strings,
            functions: self.functions.len(),
            lines: self.lines.line.len(),
            locations: self.locations.len(),
            samples: self.end.len(),
            frames: self.frames,
            values: self.values.len(),
        };
        Some(Pprof {
            symbols: Symbols {
                strings: Strings { bytes: Vec::new(), spans: self.strings },
                mappings: self.mappings,
                functions: self.functions,
                lines: self.lines,
                locations: self.locations,
            },
            sample_types: self.sample_types,
            period_type: self.period_type,
            period: self.period,
            time: self.time,
            duration: self.duration,
            stacks: Stacks { end: self.end, locations: self.stack_locations },
            values: self.values,
            label_set: self.label_set,
            label_sets: self.label_sets,
            extras: self.extras,
        })
    }
}

fn varint_length(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// Without an early exit, so that it compiles to vector code.
fn max(column: &[u32]) -> u32 {
    column.iter().fold(0, |max, &ix| max.max(ix))
}

/// The largest id of a column that holds ids less one: `NONE` is id 0.
fn max_id(column: &[u32]) -> u32 {
    column.iter().fold(0, |max, &ix| max.max(ix.wrapping_add(1)))
}

/// Reads the packed ids of `bytes[at..end]` into `rows`, each less one, and gives how many they are, and their bits
/// beyond 32. `rows` has room for `end - at + 3`.
///
/// Eight bytes in which no two neighbours both continue hold at least four whole varints of one or two bytes each.
/// Taking always four per load leaves no branch that depends on their lengths. The load may reach past `end`, into
/// what follows in the message: what it finds there is written, and not counted.
#[inline(always)]
fn packed(bytes: &[u8], mut at: usize, end: usize, rows: &mut [u32]) -> Option<(usize, u64)> {
    if at < end && bytes[end - 1] >= 0x80 {
        return None;
    }
    let mut count = 0;
    let mut beyond = 0;
    while at < end {
        let chunk = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let word = chunk.map_or(u64::MAX, |chunk| u64::from_le_bytes(*chunk));
        let goes_on = word & ENDS;
        if goes_on & (goes_on << 8) != 0 {
            // three bytes or more somewhere in the word, or the end of the message: one id
            let mut cursor = Cursor { bytes, at };
            let id = cursor.varint()?;
            beyond |= id >> 32;
            rows[count] = row(id);
            count += 1;
            at = cursor.at;
            continue;
        }
        let ends = goes_on ^ ENDS;
        let second = ends & ends.wrapping_sub(1);
        let third = second & second.wrapping_sub(1);
        let fourth = third & third.wrapping_sub(1);
        let quad: &mut [u32; 4] = rows[count..].first_chunk_mut()?;
        *quad = [pair(word, ends), pair(word, second), pair(word, third), pair(word, fourth)];
        let next = at + (fourth.trailing_zeros() as usize + 1) / 8;
        if next <= end {
            count += 4;
            at = next;
        } else {
            let inside = ends & ((1 << (8 * (end - at))) - 1);
            count += inside.count_ones() as usize;
            at = end;
        }
    }
    Some((count, beyond))
}

/// The row named by the id of one or two bytes that ends at the lowest bit of `ends`.
#[inline(always)]
fn pair(word: u64, ends: u64) -> u32 {
    let last_two = (word << (63 - ends.trailing_zeros())) >> 48;
    let (last, before) = (last_two >> 8, last_two & 0xff);
    // the byte before belongs to this id if it says that it goes on
    let two = (before >> 7).wrapping_neg();
    let id = (((last << 7) | (before & 0x7f)) & two) | (last & !two);
    row(id)
}
