//! One file of the WAL: its name, its header, and how its frames are found.

use bytes::Bytes;

use super::frame::{self, HEADER as FRAME_HEADER, MAGIC as FRAME_MAGIC, ReadFrame, crc32c};
use crate::error::{Kind, StoreError};

/// Bytes before the first frame.
pub(super) const HEADER: usize = 32;

const MAGIC: [u8; 4] = *b"DcWL";

/// The newest version of segments that this program reads, and the one that it writes.
pub(super) const VERSION: u32 = 0;

/// A segment file: `<ordinal>-<nonce>.wal`, both in its name, so that a damaged header costs no frame.
///
/// ```text
/// segment: magic "DcWL" | version u32 | ordinal u64 | nonce u64 | reserved u32 | crc u32 | frame* | zeros
/// ```
/// Little endian; the CRC32C covers all before it. The file is reserved whole when it is created, so its
/// end is zeros. The tail may be torn. The nonce is random and unknown to senders, so that a payload cannot
/// hold a valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentId {
    /// 1 for a writer's first segment, then one more each.
    pub(super) ordinal: u64,
    pub(super) nonce: u64,
}

impl SegmentId {
    pub(super) fn file_name(self) -> String {
        format!("{:020}-{:016x}.wal", self.ordinal, self.nonce)
    }

    /// `None` for a file that is not a segment. The last number there is names none: nothing could follow it.
    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let (ordinal, nonce) = name.strip_suffix(".wal")?.split_once('-')?;
        if ordinal.len() != 20 || nonce.len() != 16 {
            return None;
        }
        let id = Self { ordinal: ordinal.parse().ok()?, nonce: u64::from_str_radix(nonce, 16).ok()? };
        (id.file_name() == name && id.ordinal < u64::MAX).then_some(id)
    }

    pub(super) fn header(self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&VERSION.to_le_bytes());
        header[8..16].copy_from_slice(&self.ordinal.to_le_bytes());
        header[16..24].copy_from_slice(&self.nonce.to_le_bytes());
        let crc = crc32c(&header[..HEADER - 4]);
        header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
        header
    }
}

/// Refuses a segment that a newer program wrote. A damaged header refuses nothing: the name says enough.
pub(super) fn check_version(at: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Ok(()) };
    let field = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let version = field(4);
    if header[..4] == MAGIC && crc32c(&header[..HEADER - 4]) == field(HEADER - 4) && version > VERSION {
        let what = format!(
            "is of WAL version {version}, and this program knows versions up to {VERSION}; it is left as it is"
        );
        return Err(StoreError::new(Kind::TooNew, at, what));
    }
    Ok(())
}

/// The frames of a segment in order, damage passed over.
pub(super) struct Scan<'a> {
    id: SegmentId,
    bytes: &'a Bytes,
    at: usize,
    /// A frame counts only with a sequence number above this, and one that another can follow.
    after: u64,
    /// Where the last good frame ends.
    pub(super) good_end: usize,
    /// Bytes between good frames that are none.
    pub(super) damaged: u64,
}

impl<'a> Scan<'a> {
    pub(super) fn new(id: SegmentId, bytes: &'a Bytes, after: u64) -> Self {
        Self { id, bytes, at: HEADER, after, good_end: HEADER, damaged: 0 }
    }

    /// Bytes after the last good frame up to the last that is not zero: a write that was never finished.
    pub(super) fn torn(&self) -> u64 {
        let tail = self.bytes.get(self.good_end..).unwrap_or_default();
        tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
    }
}

impl Iterator for Scan<'_> {
    type Item = ReadFrame;

    fn next(&mut self) -> Option<ReadFrame> {
        while self.at + FRAME_HEADER <= self.bytes.len() {
            match frame::read(self.id, self.bytes, self.at) {
                Some(found) if found.position.0 > self.after && found.position.0 < u64::MAX => {
                    self.damaged += (self.at - self.good_end) as u64;
                    self.after = found.position.0;
                    self.at = found.end;
                    self.good_end = found.end;
                    return Some(found);
                }
                _ => {
                    let rest = &self.bytes[self.at + 1..];
                    // the usual case, and much quicker to see than to search
                    if rest.iter().all(|byte| *byte == 0) {
                        return None;
                    }
                    let next = rest.windows(FRAME_MAGIC.len()).position(|window| window == FRAME_MAGIC)?;
                    self.at += 1 + next;
                }
            }
        }
        None
    }
}
