//! Protocol buffers' wire format, read from a slice: any field, whoever wrote it.

use super::malformed;
use crate::error::IngestError;

/// What a field holds, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    /// A number; of a field that should be one and is not, 0.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => value,
            Self::Fixed32(value) => u64::from(value),
            Self::Bytes(_) => 0,
        }
    }

    /// [`index`]
    pub(super) fn index(self) -> usize {
        index(self.number())
    }

    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }
}

/// An `int32` that must not be negative, as all indices are: what is, is past every table.
pub(super) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The fields of one message, in the order in which they were written.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next field's number and value; `None` at the end.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, IngestError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.chunk::<8>()?)),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.chunk::<4>()?)),
            // groups are of protocol buffers' first version; no OTLP message ever had one
            wire => return Err(unknown_wire_type(wire)),
        };
        match u32::try_from(tag >> 3) {
            Ok(field) if field != 0 => Ok(Some((field, value))),
            _ => Err(no_field()),
        }
    }

    /// The number of the next field, if that is the one of `tag`, which is less than 128: most writers write fields in order, and
    /// who asks for them in order need not look at every one for which it is.
    #[inline(always)]
    pub(super) fn number_of(&mut self, tag: u8) -> Result<Option<u64>, IngestError> {
        match self.bytes {
            [next, rest @ ..] if *next == tag => {
                self.bytes = rest;
                self.varint().map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The same of a field of bytes.
    #[inline(always)]
    pub(super) fn bytes_of(&mut self, tag: u8) -> Result<Option<&'a [u8]>, IngestError> {
        match self.number_of(tag)? {
            Some(len) => self.take(len).map(Some),
            None => Ok(None),
        }
    }

    #[inline(always)]
    fn take(&mut self, len: u64) -> Result<&'a [u8], IngestError> {
        let len = usize::try_from(len).map_err(|_| cut())?;
        let (bytes, rest) = self.bytes.split_at_checked(len).ok_or_else(cut)?;
        self.bytes = rest;
        Ok(bytes)
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, IngestError> {
        match self.bytes {
            [byte @ 0..=0x7f, rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(*byte))
            }
            [low, high @ 0..=0x7f, rest @ ..] => {
                self.bytes = rest;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, IngestError> {
        if let Some(eight) = self.bytes.first_chunk() {
            let eight = u64::from_le_bytes(*eight);
            // the highest bit of each byte that may be the last
            let ends = !eight & 0x8080_8080_8080_8080;
            if ends != 0 {
                self.bytes = &self.bytes[ends.trailing_zeros() as usize / 8 + 1..];
                // seven bits of each byte up to the last, moved together in pairs
                let bits = eight & (ends ^ (ends - 1)) & 0x7f7f_7f7f_7f7f_7f7f;
                let bits = (bits & 0x007f_007f_007f_007f) | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
                let bits = (bits & 0x0000_3fff_0000_3fff) | (bits & 0x3fff_0000_3fff_0000) >> 2;
                return Ok((bits & 0x0fff_ffff) | (bits & 0x0fff_ffff_0000_0000) >> 4);
            }
        }
        let mut value = 0;
        for (at, &byte) in self.bytes.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.bytes = &self.bytes[at + 1..];
                return Ok(value);
            }
        }
        Err(cut())
    }

    #[inline(always)]
    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], IngestError> {
        let (chunk, rest) = self.bytes.split_first_chunk::<N>().ok_or_else(cut)?;
        self.bytes = rest;
        Ok(chunk)
    }
}

#[cold]
fn unknown_wire_type(wire: u64) -> IngestError {
    malformed(format!("proto: cannot parse invalid wire-format data: wire type {wire}"))
}

#[cold]
fn no_field() -> IngestError {
    malformed("proto: cannot parse invalid wire-format data: field number 0 or too large")
}

#[cold]
fn cut() -> IngestError {
    malformed("proto: cannot parse invalid wire-format data: unexpected EOF")
}

/// Tags of fields 1 to 5: a number's, and of bytes.
pub(super) const fn number_tag(field: u8) -> u8 {
    field << 3
}

pub(super) const fn bytes_tag(field: u8) -> u8 {
    field << 3 | 2
}

/// Appends a repeated field of varints, packed or one by one. Of `out` no more than `max` are taken.
pub(super) fn varints(value: Value<'_>, max: usize, out: &mut Vec<u64>) -> Result<(), IngestError> {
    match value {
        Value::Bytes(packed) => {
            let mut packed = Fields::of(packed);
            while !packed.bytes.is_empty() {
                let value = packed.varint()?;
                push(value, max, out)?;
            }
            Ok(())
        }
        one => push(one.number(), max, out),
    }
}

/// The same for `fixed64`.
pub(super) fn fixed64s(value: Value<'_>, max: usize, out: &mut Vec<u64>) -> Result<(), IngestError> {
    match value {
        Value::Bytes(packed) => {
            let (chunks, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err(cut());
            }
            chunks.iter().try_for_each(|chunk| push(u64::from_le_bytes(*chunk), max, out))
        }
        one => push(one.number(), max, out),
    }
}

fn push(value: u64, max: usize, out: &mut Vec<u64>) -> Result<(), IngestError> {
    crate::tables::within("items of a repeated field", out.len() + 1, max)?;
    out.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_wire_type_are_read_and_broken_ones_refused() {
        let message = [0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 2, 7, 8, 0x25, 9, 0, 0, 0];
        let mut fields = Fields::of(&message);
        let mut read = Vec::new();
        while let Some(field) = fields.next().expect("sound") {
            read.push(field);
        }
        let wanted =
            [(1, Value::Varint(150)), (2, Value::Fixed64(1)), (3, Value::Bytes(&[7, 8])), (4, Value::Fixed32(9))];
        assert_eq!(read, wanted);
        for broken in [&[0x08][..], &[0x08, 0x80], &[0x11, 1], &[0x1a, 3, 7], &[0x0b], &[0x02, 0], &[0xff; 11]] {
            assert!(Fields::of(broken).next().is_err(), "{broken:?}");
        }
    }

    #[test]
    fn numbers_of_every_length_are_read_wherever_they_end() {
        for bits in 0..64 {
            for value in
                [1u64 << bits, u64::MAX >> (63 - bits), (1 << bits) ^ 0x5555_5555_5555_5555 & ((1 << bits) - 1)]
            {
                for behind in [0, 1, 20] {
                    let (mut bytes, mut left) = (Vec::new(), value);
                    while left >= 0x80 {
                        bytes.push(left as u8 | 0x80);
                        left >>= 7;
                    }
                    bytes.push(left as u8);
                    let len = bytes.len();
                    bytes.resize(len + behind, 0xff);
                    let mut fields = Fields::of(&bytes);
                    assert_eq!(fields.varint().expect("whole"), value);
                    assert_eq!(fields.bytes.len(), behind);
                    assert!(len == 1 || Fields::of(&bytes[..len - 1]).varint().is_err(), "cut off");
                }
            }
        }
    }

    #[test]
    fn repeated_numbers_are_read_packed_and_not() {
        let mut out = Vec::new();
        varints(Value::Bytes(&[1, 0x80, 1]), 4, &mut out).expect("packed");
        varints(Value::Varint(7), 4, &mut out).expect("single");
        fixed64s(Value::Bytes(&[2, 0, 0, 0, 0, 0, 0, 0]), 4, &mut out).expect("fixed");
        assert_eq!(out, [1, 128, 7, 2]);
        assert!(varints(Value::Varint(7), 4, &mut out).is_err(), "over the limit");
        assert!(fixed64s(Value::Bytes(&[2, 0]), 9, &mut out).is_err(), "cut off");
    }
}
