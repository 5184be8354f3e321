//! Content keys: the fixed hash that orders siblings, the same in every process and on every machine.
//!
//! A key is the first 16 bytes, read big-endian, of BLAKE3 over a tag byte and the content, in which each
//! string is preceded by its length (u32, little-endian). Senders choose the content, so the hash must
//! resist collisions; it is computed once per distinct name, function, mapping and location.

use super::{Frames, Key};
use crate::symbols::{FunctionIx, LocationIx, NONE, StringIx, Symbols};

/// Tag bytes: no two kinds of content share a key.
mod tag {
    pub(super) const NAMED: u8 = 1;
    pub(super) const NAMELESS: u8 = 2;
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const MAPPING: u8 = 4;
    pub(super) const LOCATION: u8 = 5;
    pub(super) const NAMED_BY: u8 = 6;
    pub(super) const NAMELESS_BY: u8 = 7;
}

/// What tells frames apart besides their name. (A frame without a name always has its binary and address.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameBy {
    pub filename: bool,
    pub mapping_file: bool,
    /// Relative to the binary, and so with the binary.
    pub address: bool,
}

/// Collects the content of one key. The buffer is reused.
#[derive(Default)]
struct Content(Vec<u8>);

impl Content {
    fn begin(&mut self, tag: u8) -> &mut Self {
        self.0.clear();
        self.0.push(tag);
        self
    }

    fn string(&mut self, string: &[u8]) -> &mut Self {
        self.0.extend_from_slice(&(string.len() as u32).to_le_bytes());
        self.0.extend_from_slice(string);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    fn key(&mut self, key: Key) -> &mut Self {
        self.0.extend_from_slice(&key.to_be_bytes());
        self
    }

    /// The binary's build ID, else its file, and the address within.
    fn place(&mut self, symbols: &Symbols, location: usize) -> &mut Self {
        let mapping = symbols.locations.mapping[location];
        let (build_id, file): (&[u8], &[u8]) = if mapping == NONE {
            (b"", b"")
        } else {
            let build_id = symbols.strings.get(symbols.mappings.build_id[mapping as usize]);
            (build_id, if build_id.is_empty() { mapping_file(symbols, location) } else { b"" })
        };
        self.string(build_id).string(file).number(symbols.locations.address[location])
    }

    fn finish(&self) -> Key {
        let hash = blake3::hash(&self.0);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        Key::from_be_bytes(first)
    }
}

/// What a function is called: its name, else its system name, else string 0.
pub fn function_name(symbols: &Symbols, function: FunctionIx) -> StringIx {
    if function == NONE {
        return 0;
    }
    let name = symbols.functions.name[function as usize];
    if !symbols.strings.get(name).is_empty() {
        return name;
    }
    let system_name = symbols.functions.system_name[function as usize];
    if symbols.strings.get(system_name).is_empty() { 0 } else { system_name }
}

/// Key of a frame that has a name.
pub fn named_key(name: &[u8]) -> Key {
    Content::default().begin(tag::NAMED).string(name).finish()
}

/// Which frame each line is, and each location that has no lines.
#[derive(Clone, Debug, Default)]
pub struct FrameRows {
    /// Per row of [`crate::Lines`], a row of `frames`.
    pub of_line: Vec<u32>,
    /// Per location without lines; [`NONE`] for the others.
    pub of_location: Vec<u32>,
}

impl FrameRows {
    /// The frame of a line of `location`, or of the location if it has none and `line` is [`NONE`].
    #[inline]
    pub fn get(&self, location: LocationIx, line: u32) -> u32 {
        if line == NONE { self.of_location[location as usize] } else { self.of_line[line as usize] }
    }

    /// The same as rows of a list in which row `i` of `frames` is `row[i]`.
    pub fn within(mut self, row: &[u32]) -> Self {
        for frame in self.of_line.iter_mut().chain(&mut self.of_location).filter(|frame| **frame != NONE) {
            *frame = row[*frame as usize];
        }
        self
    }
}

/// Finds the distinct frames of all locations, by name; a frame without a name is known by its binary's
/// build ID, else its file, and the address.
pub fn frames(symbols: &Symbols) -> (Frames, FrameRows) {
    frames_by(symbols, FrameBy::default())
}

/// The same, told apart by more than their names: such frames have keys of their own, which no file holds.
pub fn frames_by(symbols: &Symbols, by: FrameBy) -> (Frames, FrameRows) {
    let by_name = by == FrameBy::default();
    let mut content = Content::default();
    let mut entries: Vec<(Key, StringIx)> = Vec::new();
    // entry of each name, by string
    let mut entry_of_name = vec![NONE; symbols.strings.len()];
    let mut rows =
        FrameRows { of_line: vec![NONE; symbols.lines.line.len()], of_location: vec![NONE; symbols.locations.len()] };

    for location in 0..symbols.locations.len() {
        let lines = symbols.locations.lines(location as LocationIx);
        // at most one nameless entry per location
        let mut nameless = NONE;
        let mut nameless_entry = |entries: &mut Vec<(Key, StringIx)>, content: &mut Content| {
            if nameless == NONE {
                nameless = entries.len() as u32;
                let key = if by.mapping_file {
                    content.begin(tag::NAMELESS_BY).string(mapping_file(symbols, location)).place(symbols, location);
                    content.finish()
                } else {
                    nameless_key(symbols, location, content)
                };
                entries.push((key, 0));
            }
            nameless
        };
        if lines.is_empty() {
            rows.of_location[location] = nameless_entry(&mut entries, &mut content);
        }
        for line in lines {
            let name = function_name(symbols, symbols.lines.function[line]);
            rows.of_line[line] = if name == 0 {
                nameless_entry(&mut entries, &mut content)
            } else if !by_name {
                content.begin(tag::NAMED_BY).string(symbols.strings.get(name));
                content.number(u64::from(by.filename) | u64::from(by.mapping_file) << 1 | u64::from(by.address) << 2);
                if by.filename {
                    let filename = symbols.functions.filename[symbols.lines.function[line] as usize];
                    content.string(symbols.strings.get(filename));
                }
                if by.mapping_file {
                    content.string(mapping_file(symbols, location));
                }
                if by.address {
                    content.place(symbols, location);
                }
                entries.push((content.finish(), name));
                entries.len() as u32 - 1
            } else {
                let entry = &mut entry_of_name[name as usize];
                if *entry == NONE {
                    *entry = entries.len() as u32;
                    let key = content.begin(tag::NAMED).string(symbols.strings.get(name)).finish();
                    entries.push((key, name));
                }
                *entry
            };
        }
    }

    let mut order: Vec<u32> = (0..entries.len() as u32).collect();
    order.sort_unstable_by_key(|&entry| (entries[entry as usize].0, entry));
    let mut frames = Frames::default();
    let mut row_of_entry = vec![NONE; entries.len()];
    for entry in order {
        let (key, name) = entries[entry as usize];
        if frames.key.last() != Some(&key) {
            frames.key.push(key);
            frames.name.push(name);
        }
        row_of_entry[entry as usize] = (frames.key.len() - 1) as u32;
    }
    for row in rows.of_line.iter_mut().chain(&mut rows.of_location) {
        if *row != NONE {
            *row = row_of_entry[*row as usize];
        }
    }
    (frames, rows)
}

fn nameless_key(symbols: &Symbols, location: usize, content: &mut Content) -> Key {
    content.begin(tag::NAMELESS).place(symbols, location).finish()
}

/// Empty without a mapping.
fn mapping_file(symbols: &Symbols, location: usize) -> &[u8] {
    match symbols.locations.mapping[location] {
        NONE => b"",
        mapping => symbols.strings.get(symbols.mappings.file[mapping as usize]),
    }
}

/// A key per location, over all of its content but where its mapping lay.
pub fn locations(symbols: &Symbols) -> Vec<Key> {
    let mut content = Content::default();
    let strings = &symbols.strings;
    let functions = &symbols.functions;
    let function_keys: Vec<Key> = (0..functions.len())
        .map(|f| {
            content
                .begin(tag::FUNCTION)
                .string(strings.get(functions.name[f]))
                .string(strings.get(functions.system_name[f]))
                .string(strings.get(functions.filename[f]))
                .number(functions.start_line[f] as u64)
                .finish()
        })
        .collect();
    let mapping_keys: Vec<Key> = (0..symbols.mappings.len())
        .map(|m| {
            content
                .begin(tag::MAPPING)
                .string(strings.get(symbols.mappings.file[m]))
                .string(strings.get(symbols.mappings.build_id[m]))
                .finish()
        })
        .collect();
    let absent: Key = 0;
    (0..symbols.locations.len())
        .map(|location| {
            let mapping = symbols.locations.mapping[location];
            let mapping_key = if mapping == NONE { absent } else { mapping_keys[mapping as usize] };
            content
                .begin(tag::LOCATION)
                .key(mapping_key)
                .number(symbols.locations.address[location])
                .number(u64::from(symbols.locations.is_folded[location]));
            for line in symbols.locations.lines(location as LocationIx) {
                let function = symbols.lines.function[line];
                let function_key = if function == NONE { absent } else { function_keys[function as usize] };
                content
                    .key(function_key)
                    .number(symbols.lines.line[line] as u64)
                    .number(symbols.lines.column[line] as u64);
            }
            content.finish()
        })
        .collect()
}
