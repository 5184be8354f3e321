//! What a forwarder finds in its buffer on disk.

use std::sync::Arc;

use bytes::Bytes;
use forward::{Spool, SpoolOptions};
use store::{Kind, SystemRandom};

use crate::kept::{crc32c, u32_at, write_frame_checksums};
use crate::memory::MemoryDisk;

/// Of the one segment; both are in its name.
const FIRST: u64 = 1;
const NONCE: u64 = 2;

const HEADER: usize = 36;
const MAGIC: [u8; 4] = [0xD3, 0xC1, 0x5B, 0x99];

/// No number is this large or larger.
const SEQUENCES: u64 = 1 << 62;

/// Number, time, kind and payload.
type Entry = (u64, i64, u32, Vec<u8>);

/// The number of the last message that was handed on, in 8 bytes, and a segment: what comes out is what a reading byte by byte finds, each once
/// and in its order, and what is put in behind it comes out too. Where a checksum is 0, the right one stands.
pub fn spool(bytes: &[u8]) -> bool {
    let (mark, segment) = bytes.split_at(bytes.len().min(8));
    let mut number = [0; 8];
    number[..mark.len()].copy_from_slice(mark);
    let mut segment = segment.to_vec();
    write_frame_checksums(&mut segment, 0, HEADER, MAGIC, header_checksum);
    let disk = MemoryDisk::default();
    disk.put(&format!("segments/{FIRST:016x}-{NONCE:016x}"), &segment);
    disk.put("done/0000000000000000", &[&number[..], &crc32c(&number).to_le_bytes()].concat());

    let done = Some(u64::from_le_bytes(number)).filter(|done| *done < SEQUENCES).unwrap_or(0);
    let whole = entries(&segment);
    let mut expected = Vec::new();
    let mut last = done;
    for entry in &whole {
        if entry.0 > last {
            last = entry.0;
            expected.push(entry.clone());
        }
    }
    let open = || {
        let options = SpoolOptions { segment_bytes: 1 << 10, ..SpoolOptions::new(1 << 20) };
        Spool::open(Arc::new(disk.clone()), Arc::new(SystemRandom), options, "a test").expect("a disk that works")
    };
    let (spool, found) = open();
    assert_eq!(found.entries, whole.iter().filter(|entry| entry.0 > done).count() as u64);
    assert!(found.lost_bytes <= segment.len() as u64);
    for entry in &expected {
        let next = spool.next().expect("read").expect("an entry");
        assert_eq!((next.sequence, next.time, next.kind, next.payload.to_vec()), *entry);
        spool.done(&next).expect("done");
    }
    assert_eq!(spool.next().expect("read"), None);
    assert_eq!((spool.status().entries, spool.status().bytes), (0, 0));

    match spool.append(7, 1, vec![Bytes::from_static(b"new")]) {
        Ok(()) => {
            drop(spool);
            let (spool, found) = open();
            assert_eq!(found.entries, 1);
            let next = spool.next().expect("read").expect("what was put in");
            assert_eq!((next.time, next.kind, &next.payload[..]), (7, 1, &b"new"[..]));
            spool.done(&next).expect("done");
            assert_eq!(spool.next().expect("read"), None);
        }
        Err(error) => assert!(error.kind == Kind::Invalid && last + 1 == SEQUENCES, "{error}"),
    }
    !expected.is_empty()
}

fn header_checksum(header: &[u8]) -> u32 {
    crc32c(&[&NONCE.to_le_bytes(), &header[8..]].concat())
}

/// Whole entries, wherever they begin, by the description of the format alone.
fn entries(bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at + HEADER <= bytes.len() {
        let header = &bytes[at..at + HEADER];
        let number = |at: usize| u64::from_le_bytes(*header[at..].first_chunk().expect("a header"));
        let end = at + HEADER + u32_at(header, 12).expect("a header") as usize;
        let is_entry = header[..4] == MAGIC
            && u32_at(header, 4) == Some(header_checksum(header))
            && number(16) < SEQUENCES
            && bytes.get(at + HEADER..end).is_some_and(|payload| u32_at(header, 8) == Some(crc32c(payload)));
        if is_entry {
            let kind = u32_at(header, 32).expect("a header");
            entries.push((number(16), number(24) as i64, kind, bytes[at + HEADER..end].to_vec()));
            at = end;
        } else {
            at += 1;
        }
    }
    entries
}
