pub(crate) mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use store::{LocalDisk, SystemRandom};

use self::disk::{CrashDisk, Numbers};
use super::*;

fn open(disk: &Arc<dyn Disk>, options: SpoolOptions) -> Result<(Spool, Found), StoreError> {
    Spool::open(disk.clone(), Arc::new(SystemRandom), options, "a test")
}

/// Payload `number`, which says its number and is as long as that makes it.
fn payload(number: u64, len: usize) -> Vec<Bytes> {
    let bytes: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(8 + len).collect();
    let (first, second) = bytes.split_at(bytes.len() / 3);
    vec![Bytes::copy_from_slice(first), Bytes::copy_from_slice(second)]
}

fn number(entry: &Entry) -> u64 {
    let number = u64::from_le_bytes(*entry.payload.first_chunk().expect("eight bytes"));
    let whole = payload(number, entry.payload.len() - 8).concat();
    assert_eq!(entry.payload, whole, "an entry is whole");
    number
}

fn small() -> SpoolOptions {
    SpoolOptions { bytes_max: 1 << 20, segment_bytes: 4096, refused_bytes_max: 16 << 10 }
}

/// What must come: the oracle. `sure` is false for what was not acknowledged, or whose end was not.
#[derive(Debug)]
struct Expected {
    number: u64,
    sure: bool,
}

/// Random appends, reads and ends, with a crash after any byte that is written, against a plain list.
#[test]
fn after_crashes_at_any_byte_all_that_was_acknowledged_comes_in_order_and_once() {
    let rounds: u64 = std::env::var("DECIMA_SPOOL_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let (mut crashes, mut repeated, mut delivered_in_all, mut copies) = (0, 0, 0, 0);
    for seed in 0..rounds {
        let mut numbers = Numbers(seed);
        let crash_disk = CrashDisk::new(seed);
        let disk: Arc<dyn Disk> = Arc::new(crash_disk.clone());
        let mut expected: VecDeque<Expected> = VecDeque::new();
        let mut next_number = 0;
        // by name of the copy: what must be in it
        let mut kept = BTreeMap::new();
        for _life in 0..6 {
            crash_disk.crash_after(numbers.below(20_000));
            let Ok((spool, _)) = open(&disk, small()) else {
                crashes += 1;
                crash_disk.reboot();
                continue;
            };
            for _ in 0..numbers.below(60) {
                if numbers.below(5) < 3 {
                    next_number += 1;
                    let len = [0, 1, 700, 3_000, 9_000][numbers.below(5) as usize];
                    let sure = spool.append(next_number as i64, 7, payload(next_number, len)).is_ok();
                    expected.push_back(Expected { number: next_number, sure });
                } else if let Ok(entry) = spool.next() {
                    let taken = entry.as_ref().map(number);
                    // what was in doubt may have come to nothing
                    while expected.front().is_some_and(|front| !front.sure && Some(front.number) != taken) {
                        expected.pop_front();
                    }
                    assert_eq!(expected.front().map(|front| front.number), taken, "seed {seed}");
                    if let Some(entry) = entry {
                        assert_eq!((entry.time, entry.kind), (number(&entry) as i64, 7));
                        delivered_in_all += 1;
                        // the same server refuses the same message again
                        if number(&entry).is_multiple_of(3) {
                            match spool.keep(&entry, "pb") {
                                Ok(true) => {
                                    drop(kept.insert(format!("{:016x}.pb", entry.sequence), entry.payload.clone()))
                                }
                                Ok(false) => {}
                                // it is still there
                                Err(_) => {
                                    repeated += 1;
                                    break;
                                }
                            }
                        }
                        match spool.done(&entry) {
                            Ok(()) => drop(expected.pop_front()),
                            Err(_) => {
                                expected.front_mut().expect("the one that was taken").sure = false;
                                repeated += 1;
                                break;
                            }
                        }
                    }
                }
                if crash_disk.is_down() {
                    break;
                }
            }
            crashes += u64::from(crash_disk.is_down());
            drop(spool);
            crash_disk.reboot();
        }
        for file in disk.list(REFUSED).expect("a folder") {
            let Some(wanted) = kept.get(&file.name) else { continue };
            let copy = disk.read(&format!("{REFUSED}/{}", file.name)).expect("read");
            assert!(copy == *wanted, "seed {seed}: {} has {} bytes of {}", file.name, copy.len(), wanted.len());
            copies += 1;
        }
        let (spool, found) = open(&disk, small()).expect("a disk that works");
        assert!(found.entries >= expected.iter().filter(|expected| expected.sure).count() as u64, "seed {seed}");
        let mut rest = Vec::new();
        while let Some(entry) = spool.next().expect("read") {
            rest.push(number(&entry));
            spool.done(&entry).expect("done");
        }
        let doubtful: BTreeSet<u64> = expected.iter().filter(|entry| !entry.sure).map(|entry| entry.number).collect();
        let came: Vec<u64> = rest.iter().copied().filter(|number| !doubtful.contains(number)).collect();
        let sure: Vec<u64> = expected.iter().filter(|entry| entry.sure).map(|entry| entry.number).collect();
        assert_eq!(came, sure, "seed {seed}");
        assert!(rest.is_sorted_by(|a, b| a < b), "each once and in order, seed {seed}: {rest:?}");
        assert_eq!((spool.status().entries, spool.status().bytes), (0, 0), "seed {seed}");
    }
    println!(
        "{rounds} runs, {crashes} crashes, {repeated} of them in an end, {delivered_in_all} deliveries before the last life, {copies} copies"
    );
    assert!(crashes > rounds && repeated > rounds / 20, "{crashes} crashes, {repeated} in an end");
    assert!(copies > rounds, "{copies} copies");
}

#[test]
fn many_threads_append_at_once_and_every_entry_comes_in_the_order_of_its_thread() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::open(directory.path()).expect("a disk"));
    let (spool, _) = open(&disk, small()).expect("opened");
    const EACH: u64 = 50;
    thread::scope(|scope| {
        for thread in 0..4 {
            let spool = &spool;
            scope.spawn(move || {
                for entry in 0..EACH {
                    spool.append(1, 1, payload(thread * EACH + entry, 100)).expect("room");
                }
            });
        }
    });
    let mut came = vec![Vec::new(); 4];
    while let Some(entry) = spool.next().expect("read") {
        let number = number(&entry);
        came[(number / EACH) as usize].push(number % EACH);
        spool.done(&entry).expect("done");
    }
    assert!(came.iter().all(|entries| *entries == (0..EACH).collect::<Vec<_>>()), "{came:?}");
}

#[test]
fn a_full_buffer_keeps_what_is_oldest_says_when_to_try_again_and_takes_more_once_some_are_done() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::open(directory.path()).expect("a disk"));
    let options = SpoolOptions { bytes_max: 64 << 10, ..small() };
    let (spool, _) = open(&disk, options).expect("opened");
    let mut taken = 0;
    let full = loop {
        match spool.append(1, 1, payload(taken, 1_000)) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 64, "64 KiB hold {taken} KiB");
    };
    assert_eq!((full.kind, full.retry_after), (Kind::Overloaded, Some(FULL_RETRY)));
    assert!(full.to_string().contains("the buffer is full"), "{full}");
    assert!(taken >= 40, "{taken} of some 60");
    assert!(spool.status().disk_bytes <= options.bytes_max);
    let never = spool.append(1, 1, payload(0, 65 << 10)).expect_err("larger than all of it");
    assert_eq!((never.kind, never.retry_after), (Kind::Overloaded, None));
    for wanted in 0..taken {
        let entry = spool.next().expect("read").expect("an entry");
        assert_eq!(number(&entry), wanted);
        spool.done(&entry).expect("done");
    }
    assert_eq!(spool.next().expect("read"), None);
    spool.append(1, 1, payload(1, 1_000)).expect("room again");
}

#[test]
fn one_message_without_room_leaves_the_room_of_the_newest_segment_to_smaller_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::open(directory.path()).expect("a disk"));
    let options = SpoolOptions { bytes_max: 12 << 10, segment_bytes: 8 << 10, ..small() };
    let (spool, _) = open(&disk, options).expect("opened");
    spool.append(1, 1, payload(0, 1_000)).expect("room");
    let full = spool.append(1, 1, payload(1, 9_000)).expect_err("a segment of its own does not fit");
    assert_eq!(full.kind, Kind::Overloaded);
    for small in 2..8 {
        spool.append(1, 1, payload(small, 1_000)).expect("room in the first segment");
    }
    assert_eq!(spool.status().disk_bytes, 8 << 10);
    // nor does one keep the segment's room when all in it is done
    while let Some(entry) = spool.next().expect("read") {
        spool.done(&entry).expect("done");
    }
    spool.append(1, 1, payload(9, 9_000)).expect("room for a segment of its own");
    assert_eq!(spool.next().expect("read").map(|entry| number(&entry)), Some(9));
}

#[test]
fn after_a_failed_sync_its_writer_is_told_its_room_is_given_back_and_the_others_go_on() {
    let crash_disk = CrashDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(crash_disk.clone());
    let (spool, _) = open(&disk, small()).expect("opened");
    spool.append(1, 1, payload(1, 500)).expect("room");
    crash_disk.fail_next_sync();
    let failed = spool.append(1, 1, payload(2, 500)).expect_err("not synced");
    assert_eq!((failed.kind, failed.what.as_str()), (Kind::Io, "the sync failed"));
    let first = HEADER as u64 + 508;
    assert_eq!(spool.status().disk_bytes, first, "the segment ends where its last good entry does");
    spool.append(1, 1, payload(3, 500)).expect("a new segment");
    assert_eq!((spool.status().disk_bytes, spool.status().entries), (first + 4096, 2));
    // in a segment that has nothing yet
    spool.append(1, 1, payload(4, 4_000)).expect("a third segment");
    crash_disk.fail_next_sync();
    spool.append(1, 1, payload(5, 4_000)).expect_err("not synced");
    assert_eq!(spool.status().disk_bytes, first + 2 * 4096, "nothing of the fourth is left");
    drop(spool);
    let (spool, found) = open(&disk, small()).expect("opened again");
    assert_eq!(found, Found { entries: 3, lost_bytes: 0 });
    assert_eq!(all_that_comes(&spool), [1, 3, 4]);
}

/// A spool of three entries, each in a segment of its own, and the paths of those.
fn three_segments(disk: &Arc<dyn Disk>) -> (Spool, Vec<String>) {
    let (spool, _) = open(disk, small()).expect("opened");
    for entry in 0..3 {
        spool.append(1, 1, payload(entry, 4_000)).expect("room");
    }
    let segments: Vec<_> =
        disk.list(SEGMENTS).expect("a folder").iter().map(|file| format!("{SEGMENTS}/{}", file.name)).collect();
    assert_eq!(segments.len(), 3);
    (spool, segments)
}

fn all_that_comes(spool: &Spool) -> Vec<u64> {
    let mut came = Vec::new();
    while let Some(entry) = spool.next().expect("read") {
        came.push(number(&entry));
        spool.done(&entry).expect("done");
    }
    came
}

#[test]
fn a_segment_that_cannot_be_read_when_it_is_opened_is_lost_and_the_others_come() {
    for broken in 0..3 {
        let crash_disk = CrashDisk::new(1);
        let disk: Arc<dyn Disk> = Arc::new(crash_disk.clone());
        let segments = three_segments(&disk).1;
        crash_disk.break_file(&segments[broken as usize], Kind::ReadOnly);
        let refused = open(&disk, small()).map(|_| ()).expect_err("somebody can help this");
        assert_eq!((refused.kind, &refused.at), (Kind::ReadOnly, &segments[broken as usize]));
        crash_disk.break_file(&segments[broken as usize], Kind::Io);
        let (spool, found) = open(&disk, small()).expect("opened");
        assert_eq!(found, Found { entries: 2, lost_bytes: 4096 });
        spool.append(1, 1, payload(3, 4_000)).expect("room");
        assert_eq!(spool.status().disk_bytes, 4 * 4096, "its file takes room");
        let wanted: Vec<u64> = (0..4).filter(|entry| *entry != broken).collect();
        assert_eq!(all_that_comes(&spool), wanted);
        drop(spool);
        let (spool, found) = open(&disk, small()).expect("opened");
        assert_eq!((found, spool.status().disk_bytes), (Found::default(), 0), "what is behind it is done");
        assert_eq!(disk.list(SEGMENTS).expect("a folder"), []);
    }
}

#[test]
fn a_segment_that_cannot_be_read_any_more_is_passed_over_if_the_next_one_can() {
    let crash_disk = CrashDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(crash_disk.clone());
    let (spool, segments) = three_segments(&disk);
    crash_disk.break_file(&segments[0], Kind::Io);
    assert_eq!(spool.next().expect_err("not read").kind, Kind::Io);
    // now it looks like the whole disk
    crash_disk.break_file(&segments[1], Kind::Io);
    assert!(!spool.pass_over());
    crash_disk.break_file(&segments[0], Kind::Io);
    assert!(spool.pass_over());
    let status = spool.status();
    assert_eq!((status.disk_bytes, status.lost_bytes), (3 * 4096, HEADER as u64 + 4_008));
    assert_eq!(all_that_comes(&spool), [1, 2]);
    // the last may still grow
    crash_disk.break_file(&segments[2], Kind::Io);
    assert!(!spool.pass_over());
    spool.append(1, 1, payload(9, 8)).expect("room");
    assert_eq!(spool.next().expect_err("not read").kind, Kind::Io);
}

#[test]
fn damage_costs_what_it_hit_and_what_is_behind_it_still_comes() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::open(directory.path()).expect("a disk"));
    let (spool, _) = open(&disk, small()).expect("opened");
    for entry in 0..3 {
        spool.append(1, 1, payload(entry, 500)).expect("room");
    }
    let segment =
        std::fs::read_dir(directory.path().join(SEGMENTS)).expect("a folder").next().expect("one").expect("it");
    let mut bytes = std::fs::read(segment.path()).expect("read");
    bytes[600] ^= 1;
    std::fs::write(segment.path(), &bytes).expect("written");
    assert_eq!(all_that_comes(&spool), [0, 2]);
    assert_eq!(spool.status(), SpoolStatus { entries: 0, bytes: 0, disk_bytes: 4096, lost_bytes: 544 });
}

#[test]
fn refused_entries_are_kept_until_there_are_too_many() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::open(directory.path()).expect("a disk"));
    let (spool, _) = open(&disk, small()).expect("opened");
    for entry in 0..20 {
        spool.append(1, 1, payload(entry, 1_000)).expect("room");
        let entry = spool.next().expect("read").expect("an entry");
        assert!(spool.keep(&entry, "pb").expect("kept"));
        spool.done(&entry).expect("done");
    }
    let kept: Vec<String> = disk.list(REFUSED).expect("a folder").into_iter().map(|file| file.name).collect();
    assert_eq!(kept.len(), 16, "as many as have room: {kept:?}");
    assert_eq!(kept.last().map(String::as_str), Some("0000000000000014.pb"), "the newest of them");
    assert_eq!(spool.next().expect("read"), None);
    spool.append(1, 1, payload(20, 17 << 10)).expect("room");
    let entry = spool.next().expect("read").expect("an entry");
    assert!(!spool.keep(&entry, "pb").expect("told"), "it would push all others out and not fit");
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let directory = tempfile::tempdir().expect("a directory");
    let disk: Arc<dyn Disk> = Arc::new(LocalDisk::open(directory.path()).expect("a disk"));
    let _first = open(&disk, small()).expect("opened");
    assert_eq!(open(&disk, small()).map(|_| ()).expect_err("in use").kind, Kind::InUse);
}
