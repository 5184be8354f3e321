use std::collections::BTreeSet;
use std::io::IoSlice;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::frame::{self, HEADER as FRAME_HEADER};
use super::segment::{HEADER, Scan, SegmentId};
use super::*;
use crate::disk::{DirEntry, DiskLock, LocalDisk};
use crate::simulation::{SimDisk, SimRandom};

const FOLDER: &str = "wal/w";

fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 4096, disk_free_min: 0, ..StoreOptions::default() }
}

fn record(payload: &[u8]) -> Record {
    Record {
        kind: 3,
        version: 7,
        tenant: "acme".to_owned(),
        receive_time: -5,
        sender: "[::1]:80".to_owned(),
        labels: vec![("__name__".to_owned(), "cpu".to_owned()), ("naïve".to_owned(), String::new())],
        payload: Bytes::copy_from_slice(payload),
    }
}

struct Opened {
    wal: Wal,
    report: WalReport,
    replayed: Vec<(u64, Vec<Record>)>,
}

impl Opened {
    fn payloads(&self) -> Vec<Vec<u8>> {
        self.replayed.iter().flat_map(|(_, records)| records.iter().map(|record| record.payload.to_vec())).collect()
    }
}

fn open_with(disk: &Arc<dyn Disk>, options: &StoreOptions, covered: u64) -> Result<Opened, StoreError> {
    let mut replayed = Vec::new();
    let random = Arc::new(SimRandom::new(9));
    let (wal, report) =
        Wal::open(disk.clone(), random, FOLDER.to_owned(), options, WalPosition(covered), &mut |position, write| {
            let Replayed::Records(records) = write else { panic!("unreadable") };
            replayed.push((position.0, records));
            Ok(())
        })?;
    Ok(Opened { wal, report, replayed })
}

fn open(disk: &SimDisk) -> Opened {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    open_with(&disk, &options(), 0).expect("open")
}

fn append(wal: &Wal, payload: &[u8]) -> Result<u64, StoreError> {
    wal.append(vec![record(payload)], |position| position.0)
}

fn segments(disk: &dyn Disk) -> Vec<String> {
    disk.list(FOLDER).expect("list").into_iter().map(|entry| format!("{FOLDER}/{}", entry.name)).collect()
}

#[test]
fn records_come_back_as_they_were_written() {
    let disk = SimDisk::new(1, 1 << 20);
    let opened = open(&disk);
    let written = vec![record(b""), record(&[7; 5000]), record(b"small")];
    opened.wal.append(written.clone(), |_| ()).expect("append");
    disk.power_cycle();
    assert_eq!(open(&disk).replayed, [(1, written)]);
}

#[test]
fn a_torn_end_is_cut_off_and_the_log_goes_on() {
    let disk = SimDisk::new(1, 1 << 20);
    let opened = open(&disk);
    for payload in [b"one", b"two", b"six"] {
        append(&opened.wal, payload).expect("append");
    }
    let path = segments(&disk).remove(0);
    let file_end = disk.read(&path).expect("read").iter().rposition(|byte| *byte != 0).expect("written") as u64;
    disk.damage(&path, file_end);
    disk.restart_process();

    let opened = open(&disk);
    assert_eq!(opened.payloads(), [b"one", b"two"]);
    assert!(opened.report.torn_bytes > 0);
    assert_eq!(opened.report.damaged_bytes, 0);
    assert_eq!(append(&opened.wal, b"new").expect("append"), 3);
    disk.restart_process();
    let opened = open(&disk);
    assert_eq!(opened.payloads(), [b"one", b"two", b"new"]);
    assert_eq!(opened.report.torn_bytes, 0, "it was cut off");
}

#[test]
fn damage_in_the_middle_costs_only_what_it_hit() {
    let disk = SimDisk::new(1, 1 << 20);
    let opened = open(&disk);
    for payload in [b"one", b"two", b"six"] {
        append(&opened.wal, payload).expect("append");
    }
    let path = segments(&disk).remove(0);
    let bytes = disk.read(&path).expect("read");
    let hit = bytes.windows(3).position(|window| window == b"two").expect("written");
    disk.damage(&path, hit as u64);
    disk.restart_process();
    let opened = open(&disk);
    assert_eq!(opened.payloads(), [b"one", b"six"]);
    assert!(opened.report.damaged_bytes > FRAME_HEADER as u64);
}

#[test]
fn a_damaged_header_of_a_segment_costs_no_write() {
    let disk = SimDisk::new(1, 1 << 20);
    append(&open(&disk).wal, b"one").expect("append");
    disk.damage(&segments(&disk)[0], 5);
    disk.restart_process();
    assert_eq!(open(&disk).payloads(), [b"one"]);
}

#[test]
fn frames_of_another_segment_are_never_taken() {
    let disk = SimDisk::new(1, 1 << 20);
    append(&open(&disk).wal, b"one").expect("append");
    let bytes = Bytes::from(disk.read(&segments(&disk)[0]).expect("read"));
    let own = SegmentId::from_file_name(segments(&disk)[0].rsplit('/').next().expect("a name")).expect("a segment");
    assert_eq!(Scan::new(own, &bytes, 0).count(), 1);
    for other in [SegmentId { ordinal: own.ordinal + 1, ..own }, SegmentId { nonce: own.nonce ^ 1, ..own }] {
        assert_eq!(Scan::new(other, &bytes, 0).count(), 0);
    }
    assert_eq!(Scan::new(own, &bytes, 1).count(), 0, "a number that was there before is stale");
}

#[test]
fn a_segment_of_a_newer_program_is_refused_by_name_and_left_alone() {
    let disk = SimDisk::new(1, 1 << 20);
    drop(open(&disk));
    let id = SegmentId { ordinal: 1, nonce: 2 };
    let mut header = id.header();
    header[4] = 9;
    let crc = frame::crc32c(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    let path = format!("{FOLDER}/{}", id.file_name());
    let file = disk.create(&path, 0).expect("create");
    file.write_at(0, &mut [IoSlice::new(&header), IoSlice::new(b"the future")]).expect("write");

    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let error = open_with(&shared, &options(), 0).map(|_| ()).expect_err("too new");
    assert_eq!(error.kind, Kind::TooNew);
    assert!(error.to_string().contains(&path) && error.to_string().contains("version 9"), "{error}");
    assert!(disk.read(&path).expect("read").ends_with(b"the future"));
}

#[test]
fn a_failed_sync_is_told_to_its_writers_and_costs_nobody_else() {
    let disk = SimDisk::new(3, 1 << 20);
    let opened = open(&disk);
    append(&opened.wal, b"one").expect("append");
    disk.set_sync_fails_one_in(1);
    let error = append(&opened.wal, b"two").expect_err("the disk fails");
    assert_eq!(error.kind, Kind::Io);
    assert!(error.retry_after.is_some());
    disk.set_sync_fails_one_in(0);
    append(&opened.wal, b"six").expect("a new segment");
    assert_eq!(segments(&disk).len(), 2, "the segment that failed is closed");
    disk.power_cycle();
    assert_eq!(open(&disk).payloads(), [b"one", b"six"]);
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    let disk = SimDisk::new(3, 10_000);
    let opened = open(&disk);
    let mut acknowledged = 0;
    let error = loop {
        match append(&opened.wal, &[1; 1000]) {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 20, "the disk is full long ago");
    };
    assert_eq!(error.kind, Kind::DiskFull);
    assert!(error.retry_after.is_some(), "{error}");
    disk.set_capacity(1 << 20);
    append(&opened.wal, &[1; 1000]).expect("room again");
    disk.power_cycle();
    assert_eq!(open(&disk).replayed.len(), acknowledged + 1);
}

#[test]
fn a_write_larger_than_a_segment_gets_one_of_its_own() {
    let disk = SimDisk::new(3, 1 << 20);
    let opened = open(&disk);
    for len in [10, 20_000, 10] {
        append(&opened.wal, &vec![5; len]).expect("append");
    }
    disk.power_cycle();
    let lens: Vec<usize> = open(&disk).payloads().iter().map(Vec::len).collect();
    assert_eq!(lens, [10, 20_000, 10]);
}

#[test]
fn segments_go_when_they_are_covered_and_not_before() {
    let disk = SimDisk::new(3, 1 << 20);
    let opened = open(&disk);
    for _ in 0..10 {
        append(&opened.wal, &[1; 1500]).expect("append");
    }
    let before = opened.wal.status();
    assert!(before.segments > 4, "two writes fit into one");
    assert_eq!(before.segments, segments(&disk).len() as u64);
    opened.wal.release(WalPosition(5)).expect("release");
    disk.restart_process();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let opened = open_with(&shared, &options(), 5).expect("open");
    let positions: Vec<u64> = opened.replayed.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [6, 7, 8, 9, 10]);
    opened.wal.release(WalPosition(10)).expect("release");
    assert_eq!(segments(&disk), Vec::<String>::new());
    assert_eq!(append(&opened.wal, b"next").expect("append"), 11);
    assert_eq!(opened.wal.status().segments, 1);
}

#[test]
fn numbers_go_on_after_the_covered_ones_when_the_log_is_gone() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(3, 1 << 20));
    let opened = open_with(&disk, &options(), 41).expect("open");
    assert_eq!(append(&opened.wal, b"next").expect("append"), 42);
}

#[test]
fn a_log_at_its_limit_refuses_and_takes_again_when_it_was_released() {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new(3, 1 << 20));
    let options = StoreOptions { wal_bytes_max: 9000, ..options() };
    let wal = open_with(&disk, &options, 0).expect("open").wal;
    let mut last = 0;
    let error = loop {
        match append(&wal, &[1; 1500]) {
            Ok(position) => last = position,
            Err(error) => break error,
        }
        assert!(last < 10, "over its limit");
    };
    assert_eq!(error.kind, Kind::Overloaded);
    assert!(error.retry_after.is_some());
    wal.release(WalPosition(last)).expect("release");
    append(&wal, &[1; 1500]).expect("room again");
}

#[test]
fn a_closed_log_refuses_and_gives_its_reserve_back() {
    let disk = SimDisk::new(3, 1 << 20);
    let opened = open(&disk);
    append(&opened.wal, b"one").expect("append");
    assert_eq!(disk.used(), 4096);
    opened.wal.close();
    assert!(disk.used() < 200);
    assert_eq!(append(&opened.wal, b"two").expect_err("closed").kind, Kind::Closed);
}

/// A disk on which a sync takes a while, so that writers meet.
struct SlowDisk(LocalDisk);

struct SlowFile(Box<dyn DiskFile>);

impl DiskFile for SlowFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), StoreError> {
        self.0.write_at(offset, slices)
    }

    fn sync(&self) -> Result<(), StoreError> {
        std::thread::sleep(Duration::from_millis(2));
        self.0.sync()
    }
}

impl Disk for SlowDisk {
    fn describe(&self, path: &str) -> String {
        self.0.describe(path)
    }

    fn lock(&self, path: &str, since: &str) -> Result<Box<dyn DiskLock>, StoreError> {
        self.0.lock(path, since)
    }

    fn create_dir_all(&self, path: &str) -> Result<(), StoreError> {
        self.0.create_dir_all(path)
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, StoreError> {
        self.0.list(path)
    }

    fn create(&self, path: &str, capacity: u64) -> Result<Box<dyn DiskFile>, StoreError> {
        Ok(Box::new(SlowFile(self.0.create(path, capacity)?)))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.0.read(path)
    }

    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        self.0.read_range(path, offset, len)
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StoreError> {
        self.0.truncate(path, len)
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.0.remove(path)
    }

    fn remove_dir(&self, path: &str) -> Result<(), StoreError> {
        self.0.remove_dir(path)
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<(), StoreError> {
        self.0.hard_link(from, to)
    }

    fn sync_dir(&self, path: &str) -> Result<(), StoreError> {
        self.0.sync_dir(path)
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        self.0.free_bytes()
    }
}

#[test]
fn writers_that_wait_share_a_sync_and_each_write_is_kept_once() {
    const WRITERS: u64 = 16;
    const WRITES: u64 = 40;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk: Arc<dyn Disk> = Arc::new(SlowDisk(LocalDisk::open(folder.path()).expect("open")));
    let wal = open_with(&disk, &options(), 0).expect("open").wal;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let wal = &wal;
            scope.spawn(move || {
                for write in 0..WRITES {
                    append(wal, &(writer * WRITES + write).to_le_bytes()).expect("append");
                }
            });
        }
    });
    let syncs = wal.status().syncs;
    assert!(syncs < WRITERS * WRITES / 3, "{syncs} syncs for {} writes", WRITERS * WRITES);
    let kept = open_with(&disk, &options(), 0).expect("open").payloads();
    assert_eq!(kept.len() as u64, WRITERS * WRITES);
    assert_eq!(kept.into_iter().collect::<BTreeSet<_>>().len() as u64, WRITERS * WRITES);
}

/// A segment of `lens.len()` writes, and where each frame lies.
fn segment_of(id: SegmentId, lens: &[usize]) -> (Vec<u8>, Vec<std::ops::Range<usize>>) {
    let mut bytes = id.header().to_vec();
    let mut frames = Vec::new();
    for (row, len) in lens.iter().enumerate() {
        // payloads that are full of frame beginnings
        let payload: Vec<u8> = frame::MAGIC.iter().copied().cycle().take(*len).collect();
        let mut frame = frame::encode(vec![record(&payload)]).expect("small");
        frame.sequence = row as u64 + 1;
        frame.place(id);
        let mut slices = Vec::new();
        frame.slices(&mut slices);
        let start = bytes.len();
        slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        frames.push(start..bytes.len());
    }
    bytes.resize(bytes.len() + 300, 0);
    (bytes, frames)
}

proptest! {
    #[test]
    fn reading_damaged_bytes_finds_exactly_the_undamaged_frames(
        lens in prop::collection::vec(0usize..600, 1..12),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let id = SegmentId { ordinal: 3, nonce: 0x1234_5678_9ABC_DEF0 };
        let (mut bytes, frames) = segment_of(id, &lens);
        let mut hit = BTreeSet::new();
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            if hit.insert(at) {
                bytes[at] ^= flip;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()).max(1));
        }
        let whole = |frame: &std::ops::Range<usize>| frame.end <= bytes.len() && hit.range(frame.clone()).next().is_none();
        let expected: Vec<u64> =
            frames.iter().zip(1..).filter(|(frame, _)| whole(frame)).map(|(_, sequence)| sequence).collect();
        let bytes = Bytes::from(bytes.clone());
        let found: Vec<u64> = Scan::new(id, &bytes, 0).map(|found| found.position.0).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn decoding_any_bytes_as_records_does_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = frame::decode(&Bytes::from(bytes));
    }
}
