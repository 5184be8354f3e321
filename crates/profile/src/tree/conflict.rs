//! What a frame is besides its name, and in which of these columns two frames of one node differ.
//!
//! A column in which the contributors of a node differ is null in a report. Content is compared, never row
//! numbers: no mapping is the same as a mapping without file and build ID.

use crate::symbols::{LocationIx, NONE, StringIx, Symbols};

// Bits of `NameTree::conflicts`.
pub const MAPPING_FILE: u16 = 1;
pub const MAPPING_BUILD_ID: u16 = 2;
pub const ADDRESS: u16 = 4;
pub const LINE: u16 = 8;
pub const INLINED: u16 = 16;
pub const START_LINE: u16 = 32;
pub const SYSTEM_NAME: u16 = 64;
pub const FILENAME: u16 = 128;
/// Every bit.
pub const ALL: u16 = 255;

/// A frame's columns. Strings are empty and numbers 0 where there is nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMetadata<'a> {
    pub mapping_file: &'a [u8],
    pub mapping_build_id: &'a [u8],
    /// Relative to the mapping, see [`crate::Locations`].
    pub address: u64,
    /// Where the mapping's first contributor had it: `address + start - offset`.
    pub runtime_address: u64,
    pub line: i64,
    /// Whether the frame was inlined into the next one of its location.
    pub inlined: bool,
    pub start_line: i64,
    /// Name, else system name; empty for a nameless frame.
    pub name: &'a [u8],
    pub system_name: &'a [u8],
    pub filename: &'a [u8],
}

impl<'a> FrameMetadata<'a> {
    /// `line` is a row of [`crate::Lines`] within `location`'s run, or [`NONE`].
    pub fn new(symbols: &'a Symbols, location: LocationIx, line: u32) -> Self {
        let rows = Rows::new(symbols, location, line);
        let string = |ix: StringIx| symbols.strings.get(ix);
        let address = symbols.locations.address[location as usize];
        let mapping = symbols.locations.mapping[location as usize];
        let base = if mapping == NONE {
            0
        } else {
            symbols.mappings.start[mapping as usize].wrapping_sub(symbols.mappings.offset[mapping as usize])
        };
        let name = if string(rows.name).is_empty() { rows.system_name } else { rows.name };
        Self {
            mapping_file: string(rows.mapping_file),
            mapping_build_id: string(rows.mapping_build_id),
            address,
            runtime_address: address.wrapping_add(base),
            line: rows.line,
            inlined: rows.inlined,
            start_line: rows.start_line,
            name: string(name),
            system_name: string(rows.system_name),
            filename: string(rows.filename),
        }
    }

    /// Bits of the columns in which two frames of one node differ.
    pub fn conflicts(&self, other: &Self) -> u16 {
        let bit = |differ: bool, bit: u16| if differ { bit } else { 0 };
        let binary = bit(self.mapping_file != other.mapping_file, MAPPING_FILE)
            | bit(self.mapping_build_id != other.mapping_build_id, MAPPING_BUILD_ID);
        // a nameless node is one address by definition, wherever its file was
        let elsewhere = self.address != other.address || (binary != 0 && !self.name.is_empty());
        binary
            | bit(elsewhere, ADDRESS)
            | bit(self.line != other.line, LINE)
            | bit(self.inlined != other.inlined, INLINED)
            | bit(self.start_line != other.start_line, START_LINE)
            | bit(self.system_name != other.system_name, SYSTEM_NAME)
            | bit(self.filename != other.filename, FILENAME)
    }
}

/// The rows behind a frame's columns.
struct Rows {
    mapping_file: StringIx,
    mapping_build_id: StringIx,
    line: i64,
    inlined: bool,
    start_line: i64,
    name: StringIx,
    system_name: StringIx,
    filename: StringIx,
}

impl Rows {
    #[inline]
    fn new(symbols: &Symbols, location: LocationIx, line: u32) -> Self {
        let mapping = symbols.locations.mapping[location as usize];
        let (mapping_file, mapping_build_id) = if mapping == NONE {
            (0, 0)
        } else {
            (symbols.mappings.file[mapping as usize], symbols.mappings.build_id[mapping as usize])
        };
        let mut rows = Self {
            mapping_file,
            mapping_build_id,
            line: 0,
            inlined: false,
            start_line: 0,
            name: 0,
            system_name: 0,
            filename: 0,
        };
        if line != NONE {
            rows.line = symbols.lines.line[line as usize];
            rows.inlined = line + 1 < symbols.locations.line_end[location as usize];
            let function = symbols.lines.function[line as usize];
            if function != NONE {
                let function = function as usize;
                rows.start_line = symbols.functions.start_line[function];
                rows.name = symbols.functions.name[function];
                rows.system_name = symbols.functions.system_name[function];
                rows.filename = symbols.functions.filename[function];
            }
        }
        rows
    }
}

/// [`FrameMetadata::conflicts`] of two frames of one table, in a fraction of the time: strings are read only
/// where their rows differ, and columns with a bit in `known` not at all.
pub fn within(
    symbols: &Symbols,
    (location_a, line_a): (LocationIx, u32),
    (location_b, line_b): (LocationIx, u32),
    nameless: bool,
    known: u16,
) -> u16 {
    if known == ALL {
        return 0;
    }
    let a = Rows::new(symbols, location_a, line_a);
    let b = Rows::new(symbols, location_b, line_b);
    let string = |a: StringIx, b: StringIx, bit: u16| {
        let differ = a != b && known & bit == 0 && symbols.strings.get(a) != symbols.strings.get(b);
        if differ { bit } else { 0 }
    };
    let bit = |differ: bool, bit: u16| if differ { bit } else { 0 };
    let binary = string(a.mapping_file, b.mapping_file, MAPPING_FILE)
        | string(a.mapping_build_id, b.mapping_build_id, MAPPING_BUILD_ID);
    let address = &symbols.locations.address;
    let elsewhere = address[location_a as usize] != address[location_b as usize] || (binary != 0 && !nameless);
    binary
        | bit(elsewhere, ADDRESS)
        | bit(a.line != b.line, LINE)
        | bit(a.inlined != b.inlined, INLINED)
        | bit(a.start_line != b.start_line, START_LINE)
        | string(a.system_name, b.system_name, SYSTEM_NAME)
        | string(a.filename, b.filename, FILENAME)
}
