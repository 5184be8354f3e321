//! The buffers of a message's body: as they lie in the message, or unpacked one after the other into one buffer.

use std::io::Read;

use arrow::ipc::{Buffer, CompressionType};

use super::{malformed, too_much};
use crate::error::IngestError;

/// Before each compressed buffer: its unpacked length as i64, or -1 where it is stored as it is.
const LENGTH_BYTES: usize = 8;
const STORED: i64 = -1;

const LZ4_MAGIC: u32 = 0x184d_2204;
/// Bit 31 of a block's size: the block is stored as it is.
const LZ4_STORED: u32 = 1 << 31;

/// The bytes of a body's buffers.
pub(crate) struct Body<'a> {
    message: &'a [u8],
    unpacked: Vec<u8>,
    /// Start and length of each buffer, and where it ends in the message if it lies in `unpacked`.
    spans: Vec<(usize, usize, Option<usize>)>,
}

impl<'a> Body<'a> {
    /// `room`: bytes that may yet be unpacked; what this body takes is subtracted.
    pub(crate) fn new(
        message: &'a [u8],
        buffers: impl ExactSizeIterator<Item = Buffer>,
        compression: Option<CompressionType>,
        room: &mut usize,
    ) -> Result<Self, IngestError> {
        let mut spans = Vec::with_capacity(buffers.len());
        let mut total = 0usize;
        for (ix, buffer) in buffers.enumerate() {
            let outside = || malformed(format!("arrow/ipc: buffer {ix} reaches past the message's body"));
            let start = usize::try_from(buffer.offset()).map_err(|_| outside())?;
            let len = usize::try_from(buffer.length()).map_err(|_| outside())?;
            let end = start.checked_add(len).filter(|&end| end <= message.len()).ok_or_else(outside)?;
            if compression.is_none() || len == 0 {
                spans.push((start, len, None));
                continue;
            }
            let prefix = message[start..end]
                .first_chunk::<LENGTH_BYTES>()
                .ok_or_else(|| malformed(format!("arrow/ipc: compressed buffer {ix} has no length")))?;
            match i64::from_le_bytes(*prefix) {
                STORED => spans.push((start + LENGTH_BYTES, len - LENGTH_BYTES, None)),
                unpacked => {
                    let unpacked = usize::try_from(unpacked).map_err(|_| {
                        malformed(format!("arrow/ipc: compressed buffer {ix} has the length {unpacked}"))
                    })?;
                    total = total.checked_add(unpacked).filter(|total| total <= room).ok_or_else(|| {
                        too_much(format!("arrow/ipc: buffer {ix} would unpack to more than there is room for"))
                    })?;
                    // LZ4 and zstd begin to lie here: no block of 64 KiB takes less than a few bytes
                    if unpacked / (64 << 10) > len {
                        return Err(malformed(format!(
                            "arrow/ipc: compressed buffer {ix} cannot hold the {unpacked} bytes that it claims"
                        )));
                    }
                    spans.push((start, unpacked, Some(end)));
                }
            }
        }
        *room -= total;
        let mut body = Self { message, unpacked: Vec::new(), spans };
        if let (Some(kind), true) = (compression, total > 0) {
            body.unpack(kind, total)?;
        }
        Ok(body)
    }

    fn unpack(&mut self, kind: CompressionType, total: usize) -> Result<(), IngestError> {
        self.unpacked = vec![0; total];
        let mut filled = 0;
        for ix in 0..self.spans.len() {
            let (start, len, Some(end)) = self.spans[ix] else { continue };
            let target = &mut self.unpacked[filled..filled + len];
            // checked when the span was made
            let source = &self.message[start + LENGTH_BYTES..end];
            let sound = match kind {
                CompressionType::LZ4_FRAME => lz4_frame(source, target),
                CompressionType::ZSTD => zstd(source, target),
                other => return Err(malformed(format!("arrow/ipc: unknown compression {}", other.0))),
            };
            sound.map_err(|why| malformed(format!("arrow/ipc: buffer {ix} does not unpack: {why}")))?;
            self.spans[ix].0 = filled;
            filled += len;
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn buffer(&self, ix: usize) -> Option<&[u8]> {
        let &(start, len, unpacked) = self.spans.get(ix)?;
        let bytes = if unpacked.is_some() { self.unpacked.as_slice() } else { self.message };
        bytes.get(start..start + len)
    }
}

/// Fills `target` from one LZ4 frame (github.com/lz4/lz4, lz4_Frame_format.md).
///
/// Agents compress some eighty small buffers a message, and a streaming decoder would reserve the frame's largest block, often
/// 4 MiB, for each. Checksums of blocks and content are not verified: the transport has its own.
fn lz4_frame(mut source: &[u8], target: &mut [u8]) -> Result<(), String> {
    fn take<'a>(source: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = source.split_at_checked(len).ok_or("the frame is cut off")?;
        *source = rest;
        Ok(taken)
    }
    fn word(source: &mut &[u8]) -> Result<u32, String> {
        let bytes = take(source, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
    let whole = source;
    if word(&mut source)? != LZ4_MAGIC {
        return Err("it is no LZ4 frame".to_owned());
    }
    let flags = take(&mut source, 2)?[0];
    let (version, independent) = (flags >> 6, flags & 0x20 != 0);
    let (block_checksum, content_size, dictionary) = (flags & 0x10 != 0, flags & 0x08 != 0, flags & 0x01 != 0);
    if version != 1 || dictionary {
        return Err("an LZ4 frame of another version, or with a dictionary".to_owned());
    }
    take(&mut source, if content_size { 8 } else { 0 } + 1)?;
    let mut filled = 0;
    loop {
        let size = word(&mut source)?;
        if size == 0 {
            break;
        }
        let block = take(&mut source, (size & !LZ4_STORED) as usize)?;
        let room = &mut target[filled..];
        filled += if size & LZ4_STORED != 0 {
            room.get_mut(..block.len()).ok_or("more than its length says")?.copy_from_slice(block);
            block.len()
        } else if independent || filled == 0 {
            lz4_block(block, room).map_err(|error| error.to_string())?
        } else {
            // blocks that refer to earlier ones: rare, and left to the library
            return whole_frame(lz4_flex::frame::FrameDecoder::new(whole), target);
        };
        if block_checksum {
            take(&mut source, 4)?;
        }
    }
    if filled == target.len() { Ok(()) } else { Err(format!("it holds {filled} bytes, not {}", target.len())) }
}

/// Bytes that a block of LZ4 has become.
fn lz4_block(block: &[u8], target: &mut [u8]) -> Result<usize, lz4_flex::block::DecompressError> {
    let Some((read, filled)) = leading_run(block, target) else {
        return lz4_flex::block::decompress_into(block, target);
    };
    let (run, rest) = target.split_at_mut(filled);
    Ok(filled + lz4_flex::block::decompress_into_with_dict(&block[read..], rest, run)?)
}

/// Shorter ones are left to the library.
const RUN_MIN: usize = 256;

/// What a block begins with if that is a value that repeats itself: bytes read and bytes made. A column that says the same in every row
/// is little else, and the library copies such a match byte by byte: two of them took a third of the time of a whole message.
fn leading_run(block: &[u8], target: &mut [u8]) -> Option<(usize, usize)> {
    fn length(rest: &mut &[u8], nibble: u8) -> Option<usize> {
        let mut length = usize::from(nibble);
        let mut last = if nibble == 15 { 255 } else { 0 };
        while last == 255 {
            let (&byte, more) = rest.split_first()?;
            *rest = more;
            last = byte;
            length += usize::from(byte);
        }
        Some(length)
    }
    let (&token, mut rest) = block.split_first()?;
    let literals = length(&mut rest, token >> 4)?;
    let (before, after) = rest.split_at_checked(literals)?;
    let (offset, mut rest) = after.split_first_chunk()?;
    let offset = usize::from(u16::from_le_bytes(*offset));
    let repeated = length(&mut rest, token & 15)? + 4;
    let end = literals + repeated;
    if repeated < RUN_MIN || !(1..=8).contains(&offset) || offset > literals || end > target.len() {
        return None;
    }
    target[..literals].copy_from_slice(before);
    let (begin, mut filled) = (literals - offset, literals);
    while filled < end {
        // twice as much each time, and whole values but for the last
        let more = (filled - begin).min(end - filled);
        target.copy_within(begin..begin + more, filled);
        filled += more;
    }
    Some((block.len() - rest.len(), end))
}

fn zstd(source: &[u8], target: &mut [u8]) -> Result<(), String> {
    let filled = zstd::bulk::decompress_to_buffer(source, target).map_err(|error| error.to_string())?;
    if filled == target.len() { Ok(()) } else { Err(format!("it holds {filled} bytes, not {}", target.len())) }
}

fn whole_frame(mut reader: impl Read, target: &mut [u8]) -> Result<(), String> {
    reader.read_exact(target).map_err(|error| error.to_string())?;
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(format!("it holds more than {} bytes", target.len())),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

    use super::*;

    fn text() -> Vec<u8> {
        (0..200_000u32).flat_map(|ix| (ix / 7).to_le_bytes()).collect()
    }

    #[test]
    fn runs_of_every_width_and_length_unpack_as_the_library_has_them() {
        let lengths = [0, 1, 255, 256, 257, 270, 511, 4_095, 70_000];
        for width in 1..=9 {
            for (length, prefix) in lengths.iter().flat_map(|&length| [(length, 0), (length, 3), (length, 40)]) {
                let value = |at: usize| if at < prefix { at as u8 | 0x80 } else { ((at - prefix) % width) as u8 };
                let mut plain: Vec<u8> = (0..prefix + length).map(value).collect();
                plain.extend_from_slice(b"and then something else");
                let packed = lz4_flex::block::compress(&plain);
                let mut unpacked = vec![0xaa; plain.len()];
                assert_eq!(lz4_block(&packed, &mut unpacked).expect("sound"), plain.len());
                assert!(unpacked == plain, "{length} bytes, {width} wide");
                for end in 0..packed.len().min(64) {
                    let theirs = lz4_flex::block::decompress_into(&packed[..end], &mut vec![0; plain.len()]);
                    assert_eq!(lz4_block(&packed[..end], &mut unpacked).is_ok(), theirs.is_ok(), "cut at {end}");
                }
                if length > 256 {
                    assert!(lz4_block(&packed, &mut unpacked[..length - 1]).is_err(), "no room");
                }
            }
        }
    }

    #[test]
    fn frames_of_every_kind_unpack_to_what_went_in() {
        let text = text();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            for checksums in [false, true] {
                let info = FrameInfo::new()
                    .block_mode(mode)
                    .block_size(BlockSize::Max64KB)
                    .block_checksums(checksums)
                    .content_checksum(checksums)
                    .content_size(checksums.then_some(text.len() as u64));
                let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
                encoder.write_all(&text).expect("in memory");
                let packed = encoder.finish().expect("in memory");
                let mut unpacked = vec![0; text.len()];
                assert_eq!(lz4_frame(&packed, &mut unpacked), Ok(()));
                assert!(unpacked == text);
                assert!(lz4_frame(&packed, &mut unpacked[1..]).is_err(), "too long");
                let mut longer = vec![0; text.len() + 1];
                assert!(lz4_frame(&packed, &mut longer).is_err(), "too short");
                assert!(lz4_frame(&packed[..packed.len() / 2], &mut unpacked).is_err(), "cut off");
            }
        }
        let packed = zstd::bulk::compress(&text, 1).expect("in memory");
        let mut unpacked = vec![0; text.len()];
        assert_eq!(zstd(&packed, &mut unpacked), Ok(()));
        assert!(unpacked == text);
        assert!(zstd(&packed, &mut unpacked[1..]).is_err(), "too long");
    }
}
