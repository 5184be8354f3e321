//! Symbol tables as columns: string -> function -> line -> location -> stack, and mappings.
//!
//! Indices are dense `u32` in order of first sight. Index 0 of [`Strings`] is the empty string.
//! A batch, a block's partition, the head and a merged report all use these same tables, so code that
//! reads symbols is written once.

/// "No such row", where a column refers to another table (a location without a mapping).
pub const NONE: u32 = u32::MAX;

pub type StringIx = u32;
pub type FunctionIx = u32;
pub type LocationIx = u32;
pub type StackIx = u32;

/// Byte strings as spans of one buffer. Span 0 is the empty string.
///
/// The bytes may be a whole decompressed payload that the spans point into, so that decoding copies no
/// string. They are checked for UTF-8 only where a string turns out to be new (see `store`'s head), and
/// are UTF-8 in every table that left it.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    pub bytes: Vec<u8>,
    /// (start, length) of each string in `bytes`.
    pub spans: Vec<(u32, u32)>,
}

impl Strings {
    pub fn with_empty() -> Self {
        Self { bytes: Vec::new(), spans: vec![(0, 0)] }
    }

    #[inline]
    pub fn get(&self, ix: StringIx) -> &[u8] {
        let (start, len) = self.spans[ix as usize];
        &self.bytes[start as usize..start as usize + len as usize]
    }

    /// The string, with invalid UTF-8 replaced.
    pub fn get_str(&self, ix: StringIx) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.get(ix))
    }

    pub fn push(&mut self, string: &[u8]) -> StringIx {
        let ix = self.spans.len() as u32;
        self.spans.push((self.bytes.len() as u32, string.len() as u32));
        self.bytes.extend_from_slice(string);
        ix
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// Binaries. The identity of a mapping is `(file, build_id)`; start, limit and offset are those of its
/// first contributor, kept so that a merged report can show runtime addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mappings {
    pub file: Vec<StringIx>,
    pub build_id: Vec<StringIx>,
    pub start: Vec<u64>,
    pub limit: Vec<u64>,
    pub offset: Vec<u64>,
    /// Bits: 1 has_functions, 2 has_filenames, 4 has_line_numbers, 8 has_inline_frames.
    pub flags: Vec<u8>,
}

impl Mappings {
    /// `range`: start, limit and offset.
    #[inline]
    pub fn push(&mut self, file: StringIx, build_id: StringIx, range: [u64; 3], flags: u8) -> u32 {
        let [start, limit, offset] = range;
        self.file.push(file);
        self.build_id.push(build_id);
        self.start.push(start);
        self.limit.push(limit);
        self.offset.push(offset);
        self.flags.push(flags);
        self.len() as u32 - 1
    }

    /// Start, limit and offset.
    pub fn range(&self, row: usize) -> [u64; 3] {
        [self.start[row], self.limit[row], self.offset[row]]
    }

    pub fn len(&self) -> usize {
        self.file.len()
    }

    pub fn is_empty(&self) -> bool {
        self.file.is_empty()
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Functions {
    pub name: Vec<StringIx>,
    pub system_name: Vec<StringIx>,
    pub filename: Vec<StringIx>,
    pub start_line: Vec<i64>,
}

impl Functions {
    /// `texts`: name, system name and file.
    #[inline]
    pub fn push(&mut self, texts: [StringIx; 3], start_line: i64) -> FunctionIx {
        let [name, system_name, filename] = texts;
        self.name.push(name);
        self.system_name.push(system_name);
        self.filename.push(filename);
        self.start_line.push(start_line);
        self.len() as u32 - 1
    }

    /// Name, system name and file.
    pub fn texts(&self, row: usize) -> [StringIx; 3] {
        [self.name[row], self.system_name[row], self.filename[row]]
    }

    pub fn len(&self) -> usize {
        self.name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}

/// Lines of all locations, one after the other; a location's run is innermost (inlined) first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// May be [`NONE`].
    pub function: Vec<FunctionIx>,
    pub line: Vec<i64>,
    pub column: Vec<i64>,
}

/// Places in a program. `address` is relative to the mapping (`address - start + offset`), or absolute
/// where there is no mapping, so that address-space randomisation does not multiply stacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Locations {
    /// Index into [`Mappings`] or [`NONE`].
    pub mapping: Vec<u32>,
    pub address: Vec<u64>,
    pub is_folded: Vec<bool>,
    /// End of this location's run in [`Lines`]; it begins where the previous one ends.
    pub line_end: Vec<u32>,
}

impl Locations {
    pub fn len(&self) -> usize {
        self.address.len()
    }

    pub fn is_empty(&self) -> bool {
        self.address.is_empty()
    }

    /// The rows of [`Lines`] that belong to `location`.
    #[inline]
    pub fn lines(&self, location: LocationIx) -> std::ops::Range<usize> {
        let ix = location as usize;
        let start = if ix == 0 { 0 } else { self.line_end[ix - 1] as usize };
        start..self.line_end[ix] as usize
    }
}

/// Every table below the stacks.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    pub strings: Strings,
    pub mappings: Mappings,
    pub functions: Functions,
    pub lines: Lines,
    pub locations: Locations,
}

/// Runs of locations, leaf first, numbered densely in order of first sight. An empty run is legal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stacks {
    /// End of each stack's run in `locations`.
    pub end: Vec<u32>,
    pub locations: Vec<LocationIx>,
}

impl Stacks {
    pub fn len(&self) -> usize {
        self.end.len()
    }

    pub fn is_empty(&self) -> bool {
        self.end.is_empty()
    }

    #[inline]
    pub fn get(&self, stack: StackIx) -> &[LocationIx] {
        let ix = stack as usize;
        let start = if ix == 0 { 0 } else { self.end[ix - 1] as usize };
        &self.locations[start..self.end[ix] as usize]
    }

    pub fn push(&mut self, run: &[LocationIx]) -> StackIx {
        self.locations.extend_from_slice(run);
        self.end.push(self.locations.len() as u32);
        (self.end.len() - 1) as u32
    }
}
