//! One write as bytes.

use std::io::IoSlice;

use bytes::{BufMut, Bytes, BytesMut};

use super::segment::SegmentId;
use crate::error::{Kind, StoreError};
use crate::record::{Record, WalPosition};

/// Says "a frame may begin here"; found again byte by byte after damage.
pub(super) const MAGIC: [u8; 4] = [0xD3, 0xC1, 0x3A, 0x57];

/// Bytes before a frame's payload.
pub(super) const HEADER: usize = 28;

/// The payload holds records (see [`encode`]). No other kind exists yet.
pub(super) const KIND_WRITE: u32 = 1;

/// Payloads below this are copied beside their labels: a slice of its own costs the kernel more.
const COPY_BELOW: usize = 4096;

pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// A write on its way into a segment.
///
/// ```text
/// frame:   magic 4 | header crc u32 | payload crc u32 | payload length u32 | kind u32 | sequence u64 | payload
/// payload: number of records u32 | record*
/// record:  length of meta u32 | length of profile u32 | meta | profile as received
/// meta:    kind u8 | version u16 | receive time i64 | tenant | sender | number of labels u32 | (name | value)*
/// text:    length u32 | UTF-8
/// ```
/// Little endian. Both checksums are CRC32C. The header's covers the segment's ID (ordinal and nonce) and
/// all that follows it in the header, the payload's checksum included: bytes of another segment, or of a
/// payload that looks like a frame, never pass for one, and a wrong candidate costs 24 bytes of checksum.
/// All records of a write stand in one frame, so that a crash keeps all or none of them.
pub(super) struct Frame {
    pub(super) sequence: u64,
    payload_crc: u32,
    payload_len: u32,
    payload: Vec<Bytes>,
    header: [u8; HEADER],
}

impl Frame {
    /// Bytes in the segment.
    pub(super) fn bytes(&self) -> u64 {
        HEADER as u64 + u64::from(self.payload_len)
    }

    /// Fills in what is known only when the frame's place is.
    pub(super) fn place(&mut self, segment: SegmentId) {
        self.header = header(segment, self.payload_crc, self.payload_len, KIND_WRITE, self.sequence);
    }

    pub(super) fn into_payload(self) -> Vec<Bytes> {
        self.payload
    }

    pub(super) fn slices<'a>(&'a self, into: &mut Vec<IoSlice<'a>>) {
        into.push(IoSlice::new(&self.header));
        into.extend(self.payload.iter().map(|part| IoSlice::new(part)));
    }
}

fn header(segment: SegmentId, payload_crc: u32, payload_len: u32, kind: u32, sequence: u64) -> [u8; HEADER] {
    let mut covered = [0; 16 + 20];
    covered[..8].copy_from_slice(&segment.ordinal.to_le_bytes());
    covered[8..16].copy_from_slice(&segment.nonce.to_le_bytes());
    covered[16..20].copy_from_slice(&payload_crc.to_le_bytes());
    covered[20..24].copy_from_slice(&payload_len.to_le_bytes());
    covered[24..28].copy_from_slice(&kind.to_le_bytes());
    covered[28..].copy_from_slice(&sequence.to_le_bytes());
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&crc32c(&covered).to_le_bytes());
    header[8..].copy_from_slice(&covered[16..]);
    header
}

/// The frame at `at` of a segment's bytes, if there is a whole and undamaged one.
pub(super) fn read(segment: SegmentId, bytes: &Bytes, at: usize) -> Option<ReadFrame> {
    let head: &[u8; HEADER] = bytes.get(at..)?.first_chunk()?;
    let payload_crc = u32_at(head, 8);
    let payload_len = u32_at(head, 12);
    let kind = u32_at(head, 16);
    let sequence = u64::from(u32_at(head, 20)) | u64::from(u32_at(head, 24)) << 32;
    if *head != header(segment, payload_crc, payload_len, kind, sequence) {
        return None;
    }
    let start = at + HEADER;
    let end = start.checked_add(payload_len as usize).filter(|end| *end <= bytes.len())?;
    (crc32c(&bytes[start..end]) == payload_crc).then(|| ReadFrame {
        position: WalPosition(sequence),
        kind,
        payload: bytes.slice(start..end),
        end,
    })
}

pub(super) struct ReadFrame {
    pub(super) position: WalPosition,
    pub(super) kind: u32,
    pub(super) payload: Bytes,
    /// Where the next frame begins.
    pub(super) end: usize,
}

/// The frame of one write, without its place. [`Kind::Invalid`] over 4 GiB.
pub(super) fn encode(records: Vec<Record>) -> Result<Frame, StoreError> {
    let too_large = || StoreError::new(Kind::Invalid, "write", "more than 4 GiB in one write");
    let mut payload = Vec::with_capacity(1 + 2 * records.len());
    let mut meta = BytesMut::with_capacity(256);
    meta.put_u32_le(u32::try_from(records.len()).map_err(|_| too_large())?);
    for record in records {
        let profile_len = u32::try_from(record.payload.len()).map_err(|_| too_large())?;
        let lengths_at = meta.len();
        meta.put_u32_le(0);
        meta.put_u32_le(profile_len);
        put_meta(&mut meta, &record).ok_or_else(too_large)?;
        let meta_len = u32::try_from(meta.len() - lengths_at - 8).map_err(|_| too_large())?;
        meta[lengths_at..lengths_at + 4].copy_from_slice(&meta_len.to_le_bytes());
        if record.payload.len() < COPY_BELOW {
            meta.extend_from_slice(&record.payload);
        } else {
            payload.push(meta.split().freeze());
            payload.push(record.payload);
        }
    }
    if !meta.is_empty() {
        payload.push(meta.freeze());
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    let mut payload_len = 0usize;
    for part in &payload {
        digest.update(part);
        payload_len += part.len();
    }
    Ok(Frame {
        sequence: 0,
        payload_crc: digest.finalize() as u32,
        payload_len: u32::try_from(payload_len).map_err(|_| too_large())?,
        payload,
        header: [0; HEADER],
    })
}

fn put_meta(meta: &mut BytesMut, record: &Record) -> Option<()> {
    meta.put_u8(record.kind);
    meta.put_u16_le(record.version);
    meta.put_i64_le(record.receive_time);
    put_text(meta, &record.tenant)?;
    put_text(meta, &record.sender)?;
    meta.put_u32_le(u32::try_from(record.labels.len()).ok()?);
    for (name, value) in &record.labels {
        put_text(meta, name)?;
        put_text(meta, value)?;
    }
    Some(())
}

fn put_text(meta: &mut BytesMut, text: &str) -> Option<()> {
    meta.put_u32_le(u32::try_from(text.len()).ok()?);
    meta.extend_from_slice(text.as_bytes());
    Some(())
}

/// The records of a frame's payload. `None` where they do not parse: the checksum was right, so this is a
/// mistake of the program that wrote them, not of the disk.
pub(super) fn decode(payload: &Bytes) -> Option<Vec<Record>> {
    let mut reader = Reader { bytes: payload, at: 0 };
    let count = reader.u32()?;
    let mut records = Vec::new();
    for _ in 0..count {
        let meta_len = reader.u32()? as usize;
        let profile_len = reader.u32()? as usize;
        let meta_end = reader.at.checked_add(meta_len)?;
        let mut record = reader.meta()?;
        if reader.at != meta_end {
            return None;
        }
        record.payload = reader.take(profile_len)?;
        records.push(record);
    }
    (reader.at == payload.len()).then_some(records)
}

struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Option<Bytes> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len())?;
        let taken = self.bytes.slice(self.at..end);
        self.at = end;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let len = self.u32()? as usize;
        String::from_utf8(self.take(len)?.to_vec()).ok()
    }

    fn meta(&mut self) -> Option<Record> {
        let [kind] = self.array()?;
        let version = u16::from_le_bytes(self.array()?);
        let receive_time = i64::from_le_bytes(self.array()?);
        let tenant = self.text()?;
        let sender = self.text()?;
        let count = self.u32()?;
        let mut labels = Vec::new();
        for _ in 0..count {
            labels.push((self.text()?, self.text()?));
        }
        Some(Record { kind, version, tenant, receive_time, sender, labels, payload: Bytes::new() })
    }
}

fn u32_at(bytes: &[u8; HEADER], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
