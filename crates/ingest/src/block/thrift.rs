//! Thrift's compact protocol (github.com/apache/thrift, doc/specs/thrift-compact-protocol.md), as far as Parquet's metadata uses
//! it: read in place, a field at a time, and nothing is reserved on the word of a length.

use super::Defect;

/// Structures, and lists and maps of what nobody asked for, within each other.
const DEPTH_MAX: usize = 16;

const STOP: u8 = 0;
const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

/// A field's number and how its value is written.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) id: i16,
    kind: u8,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Reads a structure: `field` reads the value of a field it knows, and says `false` of one it does not.
    pub(super) fn structure(
        &mut self,
        mut field: impl FnMut(&mut Self, Field) -> Result<bool, Defect>,
    ) -> Result<(), Defect> {
        self.descend()?;
        let mut id = 0i16;
        loop {
            let header = self.byte()?;
            let kind = header & 0x0f;
            if kind == STOP {
                self.depth -= 1;
                return Ok(());
            }
            id = match header >> 4 {
                0 => zigzag(self.varint()?) as i16,
                delta => id.wrapping_add(i16::from(delta)),
            };
            let found = Field { id, kind };
            if !field(self, found)? {
                self.skip(kind)?;
            }
        }
    }

    /// Goes into a value that holds others; `depth` is one less again behind it.
    fn descend(&mut self) -> Result<(), Defect> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Defect::broken(format!("metadata is nested more than {DEPTH_MAX} deep")));
        }
        Ok(())
    }

    pub(super) fn number(&mut self, field: Field) -> Result<i64, Defect> {
        match field.kind {
            I16 | I32 | I64 => Ok(zigzag(self.varint()?)),
            BYTE => Ok(i64::from(self.byte()? as i8)),
            _ => Err(unexpected(field)),
        }
    }

    pub(super) fn boolean(&mut self, field: Field) -> Result<bool, Defect> {
        match field.kind {
            TRUE => Ok(true),
            FALSE => Ok(false),
            _ => Err(unexpected(field)),
        }
    }

    pub(super) fn text(&mut self, field: Field) -> Result<&'a [u8], Defect> {
        if field.kind != BINARY {
            return Err(unexpected(field));
        }
        self.binary()
    }

    /// A nested structure: what [`Reader::structure`] reads must follow.
    pub(super) fn expect_structure(&self, field: Field) -> Result<(), Defect> {
        if field.kind == STRUCT { Ok(()) } else { Err(unexpected(field)) }
    }

    /// The number of structures that follow. Each takes a byte at least, so there are not more than bytes.
    pub(super) fn structures(&mut self, field: Field) -> Result<usize, Defect> {
        if field.kind != LIST {
            return Err(unexpected(field));
        }
        let (kind, count) = self.list()?;
        if kind != STRUCT && count > 0 {
            return Err(unexpected(field));
        }
        Ok(count)
    }

    fn list(&mut self) -> Result<(u8, usize), Defect> {
        let header = self.byte()?;
        let count = match header >> 4 {
            15 => usize::try_from(self.varint()?).unwrap_or(usize::MAX),
            count => usize::from(count),
        };
        if count > self.bytes.len() - self.at {
            return Err(Defect::broken("a list of the metadata is longer than all of it"));
        }
        Ok((header & 0x0f, count))
    }

    fn skip(&mut self, kind: u8) -> Result<(), Defect> {
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.byte().map(drop),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.take(8).map(drop),
            BINARY => self.binary().map(drop),
            LIST | SET => {
                let (kind, count) = self.list()?;
                self.skip_elements(count as u64, &[kind])
            }
            MAP => {
                let count = self.varint()?;
                if count == 0 {
                    return Ok(());
                }
                let kinds = self.byte()?;
                self.skip_elements(count, &[kinds >> 4, kinds & 0x0f])
            }
            STRUCT => self.structure(|_, _| Ok(false)),
            _ => Err(Defect::broken(format!("metadata has a value of an unknown kind, {kind}"))),
        }
    }

    /// `count` times values of `kinds`. In lists and maps a truth value is a byte.
    fn skip_elements(&mut self, count: u64, kinds: &[u8]) -> Result<(), Defect> {
        self.descend()?;
        for _ in 0..count {
            for &kind in kinds {
                match kind {
                    TRUE | FALSE => self.byte().map(drop)?,
                    kind => self.skip(kind)?,
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn binary(&mut self) -> Result<&'a [u8], Defect> {
        let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Defect> {
        let taken = self.bytes[self.at..].get(..len).ok_or_else(cut_off)?;
        self.at += len;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Defect> {
        let byte = *self.bytes.get(self.at).ok_or_else(cut_off)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Defect> {
        let (value, len) = super::varint(&self.bytes[self.at..]).ok_or_else(cut_off)?;
        self.at += len;
        Ok(value)
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn cut_off() -> Defect {
    Defect::broken("metadata is cut off")
}

fn unexpected(field: Field) -> Defect {
    Defect::broken(format!("field {} of the metadata is of the unexpected kind {}", field.id, field.kind))
}
