//! Protocol buffers' wire format, read from a slice. Errors carry what gogo-protobuf's decoders say.

use super::Defect;

/// What a tag announces.
#[derive(Clone, Copy)]
pub(super) struct Tag {
    pub field: u32,
    pub wire: u8,
}

pub(super) const VARINT: u8 = 0;
pub(super) const BYTES: u8 = 2;

/// A cursor over one message.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    pub(super) fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, Defect> {
        match self.bytes.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(byte as u64)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Defect> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(&byte) = self.bytes.get(self.at) else { return Err(Defect::truncated()) };
            self.at += 1;
            // the tenth byte's upper bits fall off, as in Go
            value |= ((byte & 0x7f) as u64).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Defect::proto("integer overflow"))
    }

    /// The next tag of `message`.
    #[inline]
    pub(super) fn tag(&mut self, message: &'static str) -> Result<Tag, Defect> {
        let tag = self.varint()?;
        let (field, wire) = ((tag >> 3) as u32, (tag & 7) as u8);
        if wire == 4 {
            return Err(Defect::proto(format!("{message}: wiretype end group for non-group")));
        }
        if field as i32 <= 0 {
            return Err(Defect::proto(format!("{message}: illegal tag {} (wire type {wire})", field as i32)));
        }
        Ok(Tag { field, wire })
    }

    #[inline]
    pub(super) fn length_delimited(&mut self) -> Result<&'a [u8], Defect> {
        let len = self.varint()?;
        let rest = self.bytes.len() - self.at;
        if len > rest as u64 {
            return Err(if (len as i64) < 0 {
                Defect::proto("negative length found during unmarshaling")
            } else {
                Defect::truncated()
            });
        }
        let bytes = &self.bytes[self.at..self.at + len as usize];
        self.at += len as usize;
        Ok(bytes)
    }

    /// Passes over a field that this codec does not know, groups included.
    #[cold]
    pub(super) fn skip(&mut self, tag: Tag) -> Result<(), Defect> {
        let mut depth = 0u32;
        let mut wire = tag.wire;
        loop {
            match wire {
                0 => drop(self.varint()?),
                1 => self.at += 8,
                2 => drop(self.length_delimited()?),
                3 => depth += 1,
                4 => match depth.checked_sub(1) {
                    Some(outer) => depth = outer,
                    None => return Err(Defect::proto("unexpected end of group")),
                },
                5 => self.at += 4,
                other => return Err(Defect::proto(format!("illegal wireType {other}"))),
            }
            if self.at > self.bytes.len() {
                return Err(Defect::truncated());
            }
            if depth == 0 {
                return Ok(());
            }
            wire = (self.varint()? & 7) as u8;
        }
    }
}

/// An `int64`, `uint64` or `bool` field's value, or the error that names the field.
#[inline]
pub(super) fn scalar(reader: &mut Reader<'_>, tag: Tag, name: &'static str) -> Result<u64, Defect> {
    if tag.wire == VARINT { reader.varint() } else { Err(wrong_wire(tag, name)) }
}

#[inline]
pub(super) fn message<'a>(reader: &mut Reader<'a>, tag: Tag, name: &'static str) -> Result<&'a [u8], Defect> {
    if tag.wire == BYTES { reader.length_delimited() } else { Err(wrong_wire(tag, name)) }
}

#[cold]
pub(super) fn wrong_wire(tag: Tag, name: &'static str) -> Defect {
    Defect::proto(format!("wrong wireType = {} for field {name}", tag.wire))
}

/// Bit 7 of each byte.
pub(super) const ENDS: u64 = 0x8080_8080_8080_8080;

/// Appends packed varints, most of them of at most two bytes, to `out[*len..]`, growing it as needed.
///
/// Eight bytes in which no two neighbours both continue hold at least four whole varints of one or two
/// bytes. Taking always four per load leaves no data-dependent branch to mispredict.
pub(super) fn packed_ids(bytes: &[u8], out: &mut Vec<u64>, len: &mut usize) -> Result<(), Defect> {
    let needed = *len + bytes.len() + 4;
    if out.len() < needed {
        out.resize(needed.next_power_of_two(), 0);
    }
    let mut at = 0;
    let mut n = *len;
    let slots = &mut out[..];
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let goes_on = word & ENDS;
        if goes_on & (goes_on << 8) != 0 {
            // a varint of three bytes or more
            let mut reader = Reader { bytes, at };
            slots[n] = reader.varint()?;
            n += 1;
            at = reader.at;
            continue;
        }
        let mut ends = !word & ENDS;
        let mut start = 0u32;
        let quad: &mut [u64; 4] = (&mut slots[n..n + 4]).try_into().expect("four slots");
        for slot in quad.iter_mut() {
            let end = ends.trailing_zeros();
            ends &= ends.wrapping_sub(1);
            let varint = (word >> start) & (u64::MAX >> (63 - (end - start)));
            *slot = (varint & 0x7f) | ((varint >> 1) & 0x3f80);
            start = end + 1;
        }
        n += 4;
        at += (start / 8) as usize;
    }
    let mut reader = Reader { bytes, at };
    while !reader.done() {
        slots[n] = reader.varint()?;
        n += 1;
    }
    *len = n;
    Ok(())
}
