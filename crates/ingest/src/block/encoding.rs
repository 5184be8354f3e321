//! Parquet's encodings of values and levels, as far as Parca's files have them
//! (github.com/apache/parquet-format, Encodings.md).

use super::{Defect, varint};

/// Of a miniblock's values.
const BITS_MAX: u8 = 64;

/// RLE and bit-packed runs of numbers of `width` bits, at most 32; `count` of them.
pub(super) fn hybrid(mut bytes: &[u8], width: u8, count: usize, out: &mut Vec<u32>) -> Result<(), Defect> {
    if width > 32 {
        return Err(Defect::broken(format!("numbers of {width} bits are none of a dictionary")));
    }
    let value_bytes = usize::from(width).div_ceil(8);
    let mut left = count;
    while left > 0 {
        let (header, len) = varint(bytes).ok_or_else(cut_off)?;
        bytes = &bytes[len..];
        if header & 1 == 0 {
            let run = usize::try_from(header >> 1).unwrap_or(usize::MAX).min(left);
            let (value, rest) = bytes.split_at_checked(value_bytes).ok_or_else(cut_off)?;
            bytes = rest;
            let mut word = [0; 4];
            word[..value_bytes].copy_from_slice(value);
            out.extend(std::iter::repeat_n(u32::from_le_bytes(word), run));
            if run == 0 {
                return Err(Defect::broken("a run of no values"));
            }
            left -= run;
        } else {
            let groups = usize::try_from(header >> 1).unwrap_or(usize::MAX);
            let packed = groups.saturating_mul(usize::from(width)).min(bytes.len());
            let run = groups.saturating_mul(8).min(left);
            if run == 0 || packed.saturating_mul(8) < run.saturating_mul(usize::from(width)) {
                return Err(cut_off());
            }
            unpack(&bytes[..packed], width, run, |value| out.push(value as u32));
            bytes = &bytes[packed..];
            left -= run;
        }
    }
    Ok(())
}

/// `count` numbers of `width` bits, least significant first. Bits past the end are 0.
fn unpack(bytes: &[u8], width: u8, count: usize, mut give: impl FnMut(u64)) {
    let (mut at, mut held, mut bits) = (0, 0u128, 0u8);
    for _ in 0..count {
        while bits < width {
            held |= u128::from(bytes.get(at).copied().unwrap_or(0)) << bits;
            at += 1;
            bits += 8;
        }
        give((held & ((1u128 << width) - 1)) as u64);
        held >>= width;
        bits -= width;
    }
}

/// `DELTA_BINARY_PACKED`: exactly `count` numbers.
pub(super) fn delta(mut bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Defect> {
    let mut number = || -> Result<u64, Defect> {
        let (value, len) = varint(bytes).ok_or_else(cut_off)?;
        bytes = &bytes[len..];
        Ok(value)
    };
    let (block, miniblocks, total, first) = (number()?, number()?, number()?, number()?);
    if total != count as u64 {
        return Err(Defect::broken(format!("{total} numbers where {count} should be")));
    }
    if count == 0 {
        return Ok(());
    }
    let of_miniblock = block.checked_div(miniblocks).filter(|of| *of > 0 && *of <= 1 << 20 && miniblocks <= 1 << 16);
    let of_miniblock = of_miniblock.ok_or_else(|| Defect::broken("numbers in impossible blocks"))? as usize;
    let mut last = zigzag(first);
    out.push(last);
    let mut left = count - 1;
    while left > 0 {
        let (least, len) = varint(bytes).ok_or_else(cut_off)?;
        let least = zigzag(least);
        let (widths, rest) = bytes[len..].split_at_checked(miniblocks as usize).ok_or_else(cut_off)?;
        bytes = rest;
        for &width in widths {
            if left == 0 {
                break;
            }
            if width > BITS_MAX {
                return Err(Defect::broken(format!("numbers of {width} bits")));
            }
            let packed = of_miniblock.saturating_mul(usize::from(width)).div_ceil(8).min(bytes.len());
            let here = of_miniblock.min(left);
            if packed.saturating_mul(8) < here.saturating_mul(usize::from(width)) {
                return Err(cut_off());
            }
            unpack(&bytes[..packed], width, here, |delta| {
                last = last.wrapping_add(least).wrapping_add(delta as i64);
                out.push(last);
            });
            bytes = &bytes[packed..];
            left -= here;
        }
    }
    Ok(())
}

pub(super) fn plain_numbers(bytes: &[u8], count: usize, out: &mut Vec<i64>) -> Result<(), Defect> {
    let bytes = count.checked_mul(8).and_then(|len| bytes.get(..len)).ok_or_else(cut_off)?;
    out.extend(bytes.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word)));
    Ok(())
}

/// Start and length of `count` texts in `bytes`.
pub(super) fn plain_texts(bytes: &[u8], count: usize, out: &mut Vec<(u32, u32)>) -> Result<(), Defect> {
    let mut at = 0usize;
    for _ in 0..count {
        let prefix = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).ok_or_else(cut_off)?;
        let len = u32::from_le_bytes(*prefix);
        let start = at + 4;
        let end = start.checked_add(len as usize).filter(|end| *end <= bytes.len()).ok_or_else(cut_off)?;
        out.push((u32::try_from(start).map_err(|_| cut_off())?, len));
        at = end;
    }
    Ok(())
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn cut_off() -> Defect {
    Defect::broken("a page is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_numbers_are_read_in_turn() {
        // the example of Encodings.md: 0 to 7 in three bits; then a run of four times 5
        let bytes = [0x03, 0b1000_1000, 0b1100_0110, 0b1111_1010, 4 << 1, 5];
        let mut out = Vec::new();
        hybrid(&bytes, 3, 12, &mut out).expect("sound");
        assert_eq!(out, [0, 1, 2, 3, 4, 5, 6, 7, 5, 5, 5, 5]);
        assert!(hybrid(&bytes, 3, 13, &mut Vec::new()).is_err(), "cut off");
        assert!(hybrid(&[0], 3, 1, &mut Vec::new()).is_err(), "a run of nothing would never end");
    }

    #[test]
    fn deltas_give_the_numbers_of_the_specification() {
        // Encodings.md: 7, 5, 3, 1, 2, 3, 4, 5 is 7 and then deltas of -2, -2, -2, 1, 1, 1, 1, of which -2 is the least
        let mut bytes = vec![8, 1, 8, 14, 3, 2];
        let deltas = [0u16, 0, 0, 3, 3, 3, 3, 0];
        let packed = deltas.iter().enumerate().fold(0u16, |packed, (at, delta)| packed | delta << (2 * at));
        bytes.extend(packed.to_le_bytes());
        let mut out = Vec::new();
        delta(&bytes, 8, &mut out).expect("sound");
        assert_eq!(out, [7, 5, 3, 1, 2, 3, 4, 5]);
        assert!(delta(&bytes[..bytes.len() - 1], 8, &mut Vec::new()).is_err(), "cut off");
        assert!(delta(&bytes, 7, &mut Vec::new()).is_err(), "another count");
    }
}
