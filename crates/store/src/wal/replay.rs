//! Reading the log back at start.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::frame;
use super::segment::{HEADER as SEGMENT_HEADER, Scan, SegmentId, check_version};
use super::{Sealed, State, Wal};
use crate::disk::Disk;
use crate::error::{Kind, StoreError};
use crate::options::StoreOptions;
use crate::random::Random;
use crate::record::{Record, WalPosition};

/// One write found in the log.
pub(crate) enum Replayed {
    Records(Vec<Record>),
    /// The bytes are what was written, and yet no records.
    Unreadable(Bytes),
}

/// What reading the log found.
#[derive(Default)]
pub(crate) struct WalReport {
    pub(crate) replayed_writes: u64,
    pub(crate) skipped_writes: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) damaged_bytes: u64,
}

impl Wal {
    /// Hands every whole write above `covered` to `replay`, oldest first, and leaves a log to be appended
    /// to. Segments that are covered or empty are deleted, torn tails cut off. An error of `replay` ends it.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        random: Arc<dyn Random>,
        folder: String,
        options: &StoreOptions,
        covered: WalPosition,
        replay: &mut dyn FnMut(WalPosition, Replayed) -> Result<(), StoreError>,
    ) -> Result<(Self, WalReport), StoreError> {
        disk.create_dir_all(&folder)?;
        disk.sync_dir("wal")?;
        disk.sync_dir("")?;
        let mut ids: Vec<SegmentId> =
            disk.list(&folder)?.iter().filter_map(|entry| SegmentId::from_file_name(&entry.name)).collect();
        ids.sort();

        let mut report = WalReport::default();
        let mut sealed = VecDeque::new();
        let mut newest = 0;
        for id in &ids {
            let path = format!("{folder}/{}", id.file_name());
            let found = read_segment(&*disk, &path, *id, newest, covered, &mut report, replay)?;
            newest = newest.max(found.last_sequence);
            if found.last_sequence <= covered.0 {
                disk.remove(&path)?;
            } else {
                sealed.push_back(found);
            }
        }
        let next_sequence = newest.max(covered.0).checked_add(1).ok_or_else(|| {
            let what = "the catalog says that every write there can be is in blocks";
            StoreError::new(Kind::Corrupt, disk.describe(&folder), what)
        })?;
        let state = State {
            next_sequence,
            next_ordinal: ids.last().map_or(0, |id| id.ordinal) + 1,
            queue: Vec::new(),
            queue_bytes: 0,
            waiting: None,
            leading: false,
            active: None,
            sealed,
            closed: false,
        };
        Ok((Self::new(disk, random, folder, options, state), report))
    }
}

fn read_segment(
    disk: &dyn Disk,
    path: &str,
    id: SegmentId,
    after: u64,
    covered: WalPosition,
    report: &mut WalReport,
    replay: &mut dyn FnMut(WalPosition, Replayed) -> Result<(), StoreError>,
) -> Result<Sealed, StoreError> {
    let bytes = Bytes::from(disk.read(path)?);
    check_version(&disk.describe(path), &bytes)?;
    let mut scan = Scan::new(id, &bytes, after);
    let mut last_sequence = 0;
    for found in scan.by_ref() {
        last_sequence = found.position.0;
        if found.kind != frame::KIND_WRITE {
            let what =
                format!("holds an entry of kind {}, which this program does not know; it is left as it is", found.kind);
            return Err(StoreError::new(Kind::TooNew, disk.describe(path), what));
        }
        if found.position <= covered {
            report.skipped_writes += 1;
            continue;
        }
        report.replayed_writes += 1;
        let records = frame::decode(&found.payload);
        replay(found.position, records.map_or(Replayed::Unreadable(found.payload), Replayed::Records))?;
    }
    report.damaged_bytes += scan.damaged;
    report.torn_bytes += scan.torn();
    let end = scan.good_end;
    if end < bytes.len() && end > SEGMENT_HEADER {
        disk.truncate(path, end as u64)?;
    }
    Ok(Sealed { id, bytes: end as u64, last_sequence })
}

/// A file in `rejected/`: why, and the records' bytes as a frame's payload holds them.
///
/// ```text
/// magic "DcRJ" | version u32 | crc u32 | length of reason u32 | reason | payload of a frame
/// ```
/// Little endian; the CRC32C covers all after it.
pub(crate) fn encode_rejected(reason: &str, rejected: Rejected) -> Result<Vec<u8>, StoreError> {
    let mut covered = BytesMut::new();
    covered.put_u32_le(u32::try_from(reason.len()).unwrap_or(0));
    covered.extend_from_slice(reason.as_bytes());
    match rejected {
        Rejected::Record(record) => {
            for part in frame::encode(vec![record])?.into_payload() {
                covered.extend_from_slice(&part);
            }
        }
        Rejected::Bytes(bytes) => covered.extend_from_slice(&bytes),
    }
    let mut file = Vec::with_capacity(12 + covered.len());
    file.extend_from_slice(b"DcRJ");
    file.put_u32_le(0);
    file.put_u32_le(frame::crc32c(&covered));
    file.extend_from_slice(&covered);
    Ok(file)
}

/// What is kept aside.
pub(crate) enum Rejected {
    Record(Record),
    /// A frame's payload.
    Bytes(Bytes),
}
