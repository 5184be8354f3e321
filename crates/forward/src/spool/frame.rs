//! One entry as bytes.

use std::ops::Range;

/// Says "an entry may begin here"; looked for byte by byte after damage.
const MAGIC: [u8; 4] = [0xD3, 0xC1, 0x5B, 0x99];

/// Bytes before an entry's payload.
pub(super) const HEADER: usize = 36;

/// No entry has this number or a larger one, so that there is always a next one to what is read.
pub(super) const SEQUENCES: u64 = 1 << 62;

/// What stands before a payload.
///
/// ```text
/// magic 4 | header crc u32 | payload crc u32 | payload length u32 | sequence u64 | time i64 | kind u32 | payload
/// ```
/// Little endian; both checksums are CRC32C. The header's covers the segment's nonce and all that follows it in the header, so that
/// bytes of another segment, or of a payload that looks like an entry, never pass for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    /// When it came in, ns since the epoch.
    pub(super) time: i64,
    pub(super) kind: u32,
    pub(super) len: u32,
    payload_crc: u32,
}

impl Header {
    /// Of a payload in parts, of at most 4 GiB in all.
    pub(super) fn new(sequence: u64, time: i64, kind: u32, parts: &[impl AsRef<[u8]>]) -> Self {
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        let mut len = 0;
        for part in parts {
            digest.update(part.as_ref());
            len += part.as_ref().len();
        }
        debug_assert!(u32::try_from(len).is_ok(), "{len} bytes");
        Self { sequence, time, kind, len: len as u32, payload_crc: digest.finalize() as u32 }
    }

    pub(super) fn encode(&self, nonce: u64) -> [u8; HEADER] {
        let mut covered = [0; 8 + HEADER - 8];
        covered[..8].copy_from_slice(&nonce.to_le_bytes());
        covered[8..12].copy_from_slice(&self.payload_crc.to_le_bytes());
        covered[12..16].copy_from_slice(&self.len.to_le_bytes());
        covered[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        covered[24..32].copy_from_slice(&self.time.to_le_bytes());
        covered[32..36].copy_from_slice(&self.kind.to_le_bytes());
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4..8].copy_from_slice(&crc32c(&covered).to_le_bytes());
        header[8..].copy_from_slice(&covered[8..]);
        header
    }

    /// `None` where these bytes are no header of the segment.
    pub(super) fn decode(bytes: &[u8], nonce: u64) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header = Self {
            payload_crc: u32_at(8),
            len: u32_at(12),
            sequence: u64_at(16),
            time: u64_at(24) as i64,
            kind: u32_at(32),
        };
        (header.encode(nonce) == *bytes && header.sequence < SEQUENCES).then_some(header)
    }

    /// Whether `payload` is what was written.
    pub(super) fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.len as usize && crc32c(payload) == self.payload_crc
    }

    /// Bytes in the segment.
    pub(super) fn bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.len)
    }
}

pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The first whole and undamaged entry of `bytes` at or behind `from`: where it begins, its header and where its payload lies.
pub(super) fn find(bytes: &[u8], nonce: u64, mut from: usize) -> Option<(usize, Header, Range<usize>)> {
    loop {
        from += bytes.get(from..)?.windows(MAGIC.len()).position(|window| window == MAGIC)?;
        if let Some(header) = Header::decode(&bytes[from..], nonce) {
            let payload = from + HEADER..from + HEADER + header.len as usize;
            if bytes.get(payload.clone()).is_some_and(|payload| header.matches(payload)) {
                return Some((from, header, payload));
            }
        }
        from += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_behind_damage_and_one_of_another_segment_is_none() {
        let (payload, nonce) = (b"profile".to_vec(), 77);
        let header = Header::new(5, -3, 2, std::slice::from_ref(&payload));
        let entry = [header.encode(nonce).to_vec(), payload.clone()].concat();
        let other = [header.encode(78).to_vec(), payload].concat();
        let bytes = [&other[..], &entry[..20], &MAGIC, &entry, &[0; 9]].concat();
        let at = other.len() + 20 + 4;
        assert_eq!(find(&bytes, nonce, 0), Some((at, header, at + HEADER..at + HEADER + 7)));
        assert_eq!(find(&bytes, nonce, at + 1), None);
        for byte in 0..entry.len() {
            let mut harmed = entry.clone();
            harmed[byte] ^= 0x10;
            assert_eq!(find(&harmed, nonce, 0), None, "byte {byte}");
        }
    }
}
