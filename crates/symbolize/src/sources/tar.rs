//! A reader of tar archives that is fed and looks for one file. POSIX ustar and pax, GNU's long names.

use std::io::{self, Write};

use store::Lease;

use super::{SourceError, SourceOptions};

const BLOCK: usize = 512;

/// Of a name or a pax header; longer than any path.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// Takes an archive by [`Write`]. Once the outcome is clear every further write is an error.
pub(super) struct Finder {
    wanted: Vec<u8>,
    options: SourceOptions,
    lease: Lease,
    state: State,
    /// The header in the making.
    header: Vec<u8>,
    /// What an extension says about the next file.
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// All bytes so far.
    unpacked: u64,
    outcome: Option<Result<Vec<u8>, SourceError>>,
}

enum State {
    Header,
    /// This many bytes that nobody wants.
    Skip(u64),
    /// Content of an entry, with what remains of it and the padding behind it.
    Take {
        what: Entry,
        remaining: u64,
        padding: u64,
        taken: Vec<u8>,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Entry {
    WantedFile,
    GnuName,
    Pax,
}

impl Finder {
    pub(super) fn new(filename: &str, options: SourceOptions, lease: Lease) -> Self {
        Self {
            wanted: without_start(filename.as_bytes()).to_vec(),
            options,
            lease,
            state: State::Header,
            header: Vec::with_capacity(BLOCK),
            name: None,
            size: None,
            unpacked: 0,
            outcome: None,
        }
    }

    /// The file, or why there will be none; `None` while neither is clear.
    pub(super) fn take_outcome(&mut self) -> Option<Result<Vec<u8>, SourceError>> {
        self.outcome.take()
    }

    /// Whether an archive that ended here would be cut off.
    pub(super) fn is_within_a_file(&self) -> bool {
        !matches!(self.state, State::Header) || !self.header.is_empty()
    }

    /// Takes what it can use of `bytes`, at least one; says how much.
    fn advance(&mut self, bytes: &[u8]) -> Result<usize, SourceError> {
        match &mut self.state {
            State::Header => {
                let taken = bytes.len().min(BLOCK - self.header.len());
                self.header.extend_from_slice(&bytes[..taken]);
                if self.header.len() == BLOCK {
                    let header = std::mem::take(&mut self.header);
                    self.entry(&header)?;
                    self.header = header;
                    self.header.clear();
                }
                Ok(taken)
            }
            State::Skip(remaining) => {
                let taken = bytes.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                *remaining -= taken as u64;
                if *remaining == 0 {
                    self.state = State::Header;
                }
                Ok(taken)
            }
            State::Take { what, remaining, padding, taken } => {
                let more = bytes.len().min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                taken.extend_from_slice(&bytes[..more]);
                *remaining -= more as u64;
                if *remaining == 0 {
                    let (what, padding, content) = (*what, *padding, std::mem::take(taken));
                    self.state = if padding == 0 { State::Header } else { State::Skip(padding) };
                    self.complete(what, content)?;
                }
                Ok(more)
            }
        }
    }

    fn complete(&mut self, what: Entry, content: Vec<u8>) -> Result<(), SourceError> {
        match what {
            Entry::WantedFile => self.outcome = Some(Ok(content)),
            Entry::GnuName => self.name = Some(until_zero(&content).to_vec()),
            Entry::Pax => self.pax(&content)?,
        }
        Ok(())
    }

    /// What follows a header.
    fn entry(&mut self, header: &[u8]) -> Result<(), SourceError> {
        if header.iter().all(|&byte| byte == 0) {
            // the end, or padding to a round number of blocks
            return Ok(());
        }
        let says = number(&header[148..156]).ok_or_else(|| unreadable("a header has no checksum"))?;
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        if says != sum(&header[..148]) + 8 * u64::from(b' ') + sum(&header[156..]) {
            return Err(unreadable("a header's checksum is wrong"));
        }
        let kind = header[156];
        let own_size = number(&header[124..136]).ok_or_else(|| unreadable("a header has no size"))?;
        let what = match kind {
            b'L' => Some(Entry::GnuName),
            b'x' => Some(Entry::Pax),
            _ => None,
        };
        if let Some(what) = what {
            if own_size > EXTENSION_BYTES_MAX {
                return Err(unreadable("a name is longer than any path"));
            }
            self.take(what, own_size);
            return if own_size == 0 { self.complete(what, Vec::new()) } else { Ok(()) };
        }
        if matches!(kind, b'g' | b'K') {
            // says nothing about names of files
            self.skip(own_size);
            return Ok(());
        }
        let size = self.size.take().unwrap_or(own_size);
        let name = self.name.take().unwrap_or_else(|| full_name(header));
        let is_file = matches!(kind, 0 | b'0' | b'7');
        if is_file && without_start(&name) == self.wanted {
            if size > self.options.file_bytes_max {
                let max = self.options.file_bytes_max;
                return Err(unreadable(format!("the file has {size} bytes, and at most {max} are shown")));
            }
            self.lease.grow(size)?;
            self.take(Entry::WantedFile, size);
            return if size == 0 { self.complete(Entry::WantedFile, Vec::new()) } else { Ok(()) };
        }
        // links, devices and folders have no content, whatever they say
        if !matches!(kind, b'1'..=b'6') {
            self.skip(size);
        }
        Ok(())
    }

    fn skip(&mut self, size: u64) {
        let remaining = size.saturating_add(padding(size));
        self.state = if remaining == 0 { State::Header } else { State::Skip(remaining) };
    }

    fn take(&mut self, what: Entry, size: u64) {
        if size > 0 {
            self.state = State::Take { what, remaining: size, padding: padding(size), taken: Vec::new() };
        }
    }

    /// Records of `length key=value\n`, where the length counts all of the record.
    fn pax(&mut self, mut records: &[u8]) -> Result<(), SourceError> {
        while !records.is_empty() && records[0] != 0 {
            let wrong = || unreadable("a pax header is broken");
            let space = records.iter().position(|&byte| byte == b' ').ok_or_else(wrong)?;
            let length = decimal(&records[..space]).ok_or_else(wrong)?;
            let length = usize::try_from(length).ok().filter(|&length| length > space + 1 && length <= records.len());
            let (record, rest) = records.split_at(length.ok_or_else(wrong)?);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(wrong)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(wrong)?;
            match (&record[..equals], &record[equals + 1..]) {
                (b"path", path) => self.name = Some(path.to_vec()),
                (b"size", size) => self.size = Some(decimal(size).ok_or_else(wrong)?),
                _ => {}
            }
            records = rest;
        }
        Ok(())
    }
}

impl Write for Finder {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < bytes.len() && self.outcome.is_none() {
            match self.advance(&bytes[done..]) {
                Ok(taken) => done += taken,
                Err(error) => self.outcome = Some(Err(error)),
            }
        }
        self.unpacked += done as u64;
        if self.outcome.is_none() && self.unpacked > self.options.archive_bytes_max {
            let max = self.options.archive_bytes_max;
            self.outcome = Some(Err(unreadable(format!("unpacked they are more than {max} bytes"))));
        }
        if self.outcome.is_some() { Err(io::Error::other("nothing more is wanted")) } else { Ok(done) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unreadable(what: impl Into<String>) -> SourceError {
    SourceError::Unreadable(what.into())
}

/// To the next whole block.
fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

/// As Parca compares names: one `/` or `./` in front does not count.
fn without_start(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"/").or_else(|| name.strip_prefix(b"./")).unwrap_or(name)
}

fn until_zero(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The name field, with ustar's prefix in front. GNU's headers have other things in the prefix's place.
fn full_name(header: &[u8]) -> Vec<u8> {
    let name = until_zero(&header[..100]);
    let prefix = if &header[257..263] == b"ustar\0" { until_zero(&header[345..500]) } else { b"" };
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Octal digits among spaces and zero bytes; with the first bit set, GNU's big-endian binary.
fn number(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && first & 0x80 != 0
    {
        let wide = rest.iter().fold(u128::from(first & 0x7f), |value, &byte| value << 8 | u128::from(byte));
        return u64::try_from(wide).ok();
    }
    let text = field.trim_ascii_start();
    let digits = text.split(|&byte| byte == 0 || byte == b' ').next().unwrap_or_default();
    digits
        .iter()
        .try_fold(0u64, |value, &digit| matches!(digit, b'0'..=b'7').then(|| value * 8 + u64::from(digit - b'0')))
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
