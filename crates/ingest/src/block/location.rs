//! Locations as Parca encodes them, symbols included, one after the other in each row.
//!
//! ```text
//! location := address [is-stable: u8] lines has-mapping: u8 [mapping] line*
//! mapping  := build-id:text file:text start length offset
//! line     := line [column] has-function: u8 [function]
//! function := start-line name:text system-name:text file:text
//! ```
//!
//! Numbers are varints, signed ones as their 64 bits; a text is its length and its bytes. Nothing says which of the optional
//! fields a file has: Parca 0.28 has the column, those before it have none, and for some weeks of 2024 there was the mark of a stable
//! address. So a file's layout is the first that reads all locations of a row group to their last byte.

use super::varint;

/// Which optional fields there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    stable: bool,
    column: bool,
}

/// The newest first.
pub(super) const LAYOUTS: [Layout; 3] = [
    Layout { stable: false, column: true },
    Layout { stable: false, column: false },
    Layout { stable: true, column: false },
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Location<'a> {
    pub(super) address: u64,
    /// Relative to its mapping already.
    pub(super) is_stable: bool,
    pub(super) mapping: Option<Mapping<'a>>,
    pub(super) lines: Vec<Line<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping<'a> {
    pub(super) build_id: &'a [u8],
    pub(super) file: &'a [u8],
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) offset: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) line: i64,
    pub(super) column: i64,
    pub(super) function: Option<Function<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) start_line: i64,
    pub(super) name: &'a [u8],
    pub(super) system_name: &'a [u8],
    pub(super) file: &'a [u8],
}

/// `None` where `bytes` are no location of this layout, or more than one.
pub(super) fn decode<'a>(bytes: &'a [u8], layout: Layout, into: &mut Location<'a>) -> Option<()> {
    let mut rest = Bytes(bytes);
    into.address = rest.number()?;
    into.is_stable = layout.stable && rest.flag()?;
    let lines = rest.number()?;
    into.mapping = match rest.flag()? {
        true => Some(Mapping {
            build_id: rest.text()?,
            file: rest.text()?,
            start: rest.number()?,
            length: rest.number()?,
            offset: rest.number()?,
        }),
        false => None,
    };
    into.lines.clear();
    for _ in 0..lines {
        let line = rest.number()? as i64;
        let column = if layout.column { rest.number()? as i64 } else { 0 };
        let function = match rest.flag()? {
            true => Some(Function {
                start_line: rest.number()? as i64,
                name: rest.text()?,
                system_name: rest.text()?,
                file: rest.text()?,
            }),
            false => None,
        };
        into.lines.push(Line { line, column, function });
    }
    rest.0.is_empty().then_some(())
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn number(&mut self) -> Option<u64> {
        let (value, len) = varint(self.0)?;
        self.0 = &self.0[len..];
        Some(value)
    }

    fn flag(&mut self) -> Option<bool> {
        let (&flag, rest) = self.0.split_first()?;
        self.0 = rest;
        match flag {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(text.len() as u8);
        out.extend(text.as_bytes());
    }

    fn encoded(layout: Layout) -> Vec<u8> {
        let mut out = vec![0x90, 0x01];
        if layout.stable {
            out.push(0);
        }
        out.extend([1, 1]);
        text(&mut out, "feed");
        text(&mut out, "/bin/x");
        out.extend([16, 32, 4]);
        out.push(7);
        if layout.column {
            out.push(3);
        }
        out.extend([1, 5]);
        text(&mut out, "main");
        text(&mut out, "_main");
        text(&mut out, "x.c");
        out
    }

    #[test]
    fn each_layout_reads_its_own_locations_and_no_other() {
        for layout in LAYOUTS {
            let bytes = encoded(layout);
            let mut location = Location::default();
            for other in LAYOUTS {
                let read = decode(&bytes, other, &mut location);
                assert_eq!(read.is_some(), other == layout, "{layout:?} by {other:?}");
            }
            decode(&bytes, layout, &mut location).expect("its own");
            assert_eq!(location.address, 0x90);
            let mapping = location.mapping.expect("a mapping");
            assert_eq!((mapping.build_id, mapping.file), (&b"feed"[..], &b"/bin/x"[..]));
            assert_eq!((mapping.start, mapping.length, mapping.offset), (16, 32, 4));
            let function = Function { start_line: 5, name: b"main", system_name: b"_main", file: b"x.c" };
            let column = if layout.column { 3 } else { 0 };
            assert_eq!(location.lines, [Line { line: 7, column, function: Some(function) }]);
            for end in 0..bytes.len() {
                assert_eq!(decode(&bytes[..end], layout, &mut location), None, "cut off at {end}");
            }
        }
    }
}
