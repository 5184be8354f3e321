//! Stacks by ID as bytes of our own: what the server adds to a write of v1 in place of stacks that it did not ask for, and what it
//! keeps of those that it did.
//!
//! A list lies in the log for as long as its record does, so what a byte means never changes:
//!
//! ```text
//! list: locations, how many | location* | stacks, how many | stack*
//! location: bytes that follow | address | file | build ID | lines, how many | line*
//! line: 0, or 1 | name | system name | file | start line; then line | column
//! stack: 16 bytes of ID | frames, how many | number of a location*
//! ```
//!
//! Numbers are LEB128; those with a sign have it in the lowest bit. A text is its length and its bytes.

use profile::dictionary::{Entries, Line};
use profile::{NONE, Symbols};

use super::malformed;
use crate::error::IngestError;
use crate::shared::Shared;
use crate::tables::{Map, within};

/// What agents name a stack by: others are never kept.
pub(super) type Id = [u8; 16];

/// A list under construction, each location once by `Location`, its maker's name for it.
#[derive(Default)]
pub(super) struct Writer<Location> {
    numbers: Map<Location, u64>,
    locations: Vec<u8>,
    stacks: Vec<u8>,
    stack_count: u64,
}

impl<Location: Eq + std::hash::Hash> Writer<Location> {
    /// `body` writes what a location is.
    pub(super) fn stack(
        &mut self,
        id: &Id,
        frames: impl ExactSizeIterator<Item = Location>,
        mut body: impl FnMut(&Location, &mut Vec<u8>),
    ) {
        self.stack_count += 1;
        self.stacks.extend_from_slice(id);
        put(&mut self.stacks, frames.len() as u64);
        let mut scratch = Vec::new();
        for frame in frames {
            let next = self.numbers.len() as u64;
            let number = match self.numbers.get(&frame) {
                Some(&number) => number,
                None => {
                    scratch.clear();
                    body(&frame, &mut scratch);
                    put_text(&mut self.locations, &scratch);
                    self.numbers.insert(frame, next);
                    next
                }
            };
            put(&mut self.stacks, number);
        }
    }

    /// bytes
    pub(super) fn len(&self) -> usize {
        self.locations.len() + self.stacks.len()
    }

    /// Nothing for no stacks.
    pub(super) fn finish(self) -> Vec<u8> {
        if self.stack_count == 0 {
            return Vec::new();
        }
        let mut list = Vec::with_capacity(self.len() + 20);
        put(&mut list, self.numbers.len() as u64);
        list.extend_from_slice(&self.locations);
        put(&mut list, self.stack_count);
        list.extend_from_slice(&self.stacks);
        list
    }
}

/// Rows of a dictionary's stacks, as a list.
pub(super) fn of_rows(entries: &Entries, stacks: &[(Id, u32)]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (id, stack) in stacks {
        let frames = entries.stacks().get(*stack).iter().copied();
        writer.stack(id, frames, |&location, body| put_location(entries.symbols(), location, body));
    }
    writer.finish()
}

fn put_location(symbols: &Symbols, location: u32, body: &mut Vec<u8>) {
    let text = |ix: u32| symbols.strings.get(ix);
    put(body, symbols.locations.address[location as usize]);
    let (file, build_id) = match symbols.locations.mapping[location as usize] {
        NONE => (0, 0),
        mapping => (symbols.mappings.file[mapping as usize], symbols.mappings.build_id[mapping as usize]),
    };
    put_text(body, text(file));
    put_text(body, text(build_id));
    let lines = symbols.locations.lines(location);
    put(body, lines.len() as u64);
    for line in lines {
        match symbols.lines.function[line] {
            NONE => put(body, 0),
            function => {
                let (functions, function) = (&symbols.functions, function as usize);
                put(body, 1);
                put_text(body, text(functions.name[function]));
                put_text(body, text(functions.system_name[function]));
                put_text(body, text(functions.filename[function]));
                put_signed(body, functions.start_line[function]);
            }
        }
        put_signed(body, symbols.lines.line[line]);
        put_signed(body, symbols.lines.column[line]);
    }
}

/// A list that was read: where its parts lie.
#[derive(Default)]
pub(super) struct List<'a> {
    pub(super) locations: Vec<&'a [u8]>,
    pub(super) stacks: Vec<Listed<'a>>,
}

pub(super) struct Listed<'a> {
    pub(super) id: &'a Id,
    frames: Reader<'a>,
    len: usize,
}

impl<'a> List<'a> {
    /// `frames_max`: of one stack. Frames are looked at by [`Listed::frames`] only.
    pub(super) fn read(bytes: &'a [u8], frames_max: usize) -> Result<Self, IngestError> {
        let mut list = Self::default();
        if bytes.is_empty() {
            return Ok(list);
        }
        let mut reader = Reader(bytes);
        for _ in 0..reader.count(1)? {
            list.locations.push(reader.text()?);
        }
        for _ in 0..reader.count(size_of::<Id>() + 1)? {
            let (id, rest) = reader.0.split_first_chunk().ok_or_else(torn)?;
            reader.0 = rest;
            let len = reader.count(1)?;
            within("frames of one stack", len, frames_max)?;
            let mut frames = reader;
            for _ in 0..len {
                reader.number()?;
            }
            frames.0 = &frames.0[..frames.0.len() - reader.0.len()];
            list.stacks.push(Listed { id, frames, len });
        }
        if reader.0.is_empty() { Ok(list) } else { Err(torn()) }
    }
}

impl Listed<'_> {
    /// Its locations as numbers in the list, leaf first.
    pub(super) fn frames(&self, list: &List<'_>, out: &mut Vec<u32>) -> Result<(), IngestError> {
        out.clear();
        let mut frames = self.frames;
        for _ in 0..self.len {
            let number = frames.number()?;
            let known = usize::try_from(number).is_ok_and(|number| number < list.locations.len());
            out.push(u32::try_from(number).ok().filter(|_| known).ok_or_else(torn)?);
        }
        Ok(())
    }
}

/// A location of a list as one of `tables`.
pub(super) fn read_location<'a>(tables: &mut Shared<'a>, body: &'a [u8]) -> Result<u32, IngestError> {
    let mut reader = Reader(body);
    let address = reader.number()?;
    let (file, build_id) = (tables.text(reader.text()?)?, tables.text(reader.text()?)?);
    let mapping = tables.mapping(file, build_id, [0; 3])?;
    let lines = reader.count(3)?;
    within("lines of one location", lines, tables.limits.stack_depth)?;
    for _ in 0..lines {
        let function = match reader.number()? {
            0 => NONE,
            1 => {
                let mut text = || tables.text(reader.text()?);
                let texts = [text()?, text()?, text()?];
                tables.function(texts, reader.signed()?)?
            }
            _ => return Err(torn()),
        };
        tables.line(Line { function, line: reader.signed()?, column: reader.signed()? })?;
    }
    if !reader.0.is_empty() {
        return Err(torn());
    }
    tables.location(mapping, address)
}

fn torn() -> IngestError {
    malformed("a list of stacks is not as it was written")
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, IngestError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or_else(torn)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(torn());
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(torn())
    }

    fn signed(&mut self) -> Result<i64, IngestError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// How many follow, each of `bytes` at least: no more than there can be.
    fn count(&mut self, bytes: usize) -> Result<usize, IngestError> {
        let count = usize::try_from(self.number()?).map_err(|_| torn())?;
        let fits = count.checked_mul(bytes).is_some_and(|needed| needed <= self.0.len());
        if fits { Ok(count) } else { Err(torn()) }
    }

    fn text(&mut self) -> Result<&'a [u8], IngestError> {
        let length = self.count(1)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or_else(torn)?;
        self.0 = rest;
        Ok(text)
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, (number << 1 ^ number >> 63) as u64);
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    put(out, text.len() as u64);
    out.extend_from_slice(text);
}
