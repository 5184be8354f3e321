//! The store on a simulated disk, one event at a time; and on the real one.

mod import;
mod local;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Environment, Store};
use crate::error::{Kind, StoreError};
use crate::objects::{LocalObjects, Objects};
use crate::options::StoreOptions;
use crate::simulation::{FIRST_TIME, REFUSED, SimClock, SimDecoder, SimDisk, SimRandom, ids, ids_by_samples, write};
use crate::status::OpenReport;

const DISK_BYTES: u64 = 64 << 20;

struct World {
    disk: SimDisk,
    clock: Arc<SimClock>,
    environment: Environment,
    options: StoreOptions,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::new(1, DISK_BYTES);
        let clock = Arc::new(SimClock::new(FIRST_TIME));
        let environment = Environment {
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            random: Arc::new(SimRandom::new(2)),
            objects: None,
        };
        let options = StoreOptions { segment_bytes: 4096, disk_free_min: 0, ..StoreOptions::default() };
        Self { disk, clock, environment, options }
    }

    fn try_open(&self) -> Result<(Store, OpenReport), StoreError> {
        Store::open(self.options.clone(), self.environment.clone(), Arc::new(SimDecoder))
    }

    fn open(&self) -> (Store, OpenReport) {
        self.try_open().expect("open")
    }

    /// As after `kill -9`.
    fn reopen(&self, store: Store) -> (Store, OpenReport) {
        drop(store);
        self.disk.restart_process();
        self.open()
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let objects = LocalObjects::open(self.environment.disk.clone()).expect("open");
        objects.list(folder).expect("list").into_iter().map(|entry| entry.name).collect()
    }
}

fn write_some(store: &Store, some: std::ops::Range<u64>) {
    for id in some {
        store.write(vec![write(id, 100)]).expect("write");
    }
}

fn all(store: &Store) -> Vec<u64> {
    ids_by_samples(&store.parts("", None))
}

fn first(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[test]
fn what_was_acknowledged_is_there_after_the_power_fails() {
    let world = World::new();
    let (store, _) = world.open();
    for id in 0..100 {
        store.write(vec![write(2 * id, 10), write(2 * id + 1, 700)]).expect("write");
    }
    assert_eq!(all(&store), first(200));
    drop(store);
    world.disk.power_cycle();
    let (store, report) = world.open();
    assert_eq!(report.replayed_writes, 100);
    assert_eq!(all(&store), first(200));
}

#[test]
fn a_crash_at_any_moment_of_a_cut_neither_loses_nor_doubles() {
    let mut crashes = 0;
    for changes in 0.. {
        let world = World::new();
        let (store, _) = world.open();
        write_some(&store, 0..20);
        world.disk.crash_in(changes);
        let flushed = store.flush();
        let crashed = world.disk.crashed();
        drop(store);
        if changes % 2 == 0 {
            world.disk.power_cycle()
        } else {
            world.disk.restart_process()
        }
        let (store, _) = world.open();
        assert_eq!(all(&store), first(20), "crash after {changes} changes");
        write_some(&store, 20..25);
        store.flush().expect("flush");
        assert_eq!(all(&store), first(25), "crash after {changes} changes");
        if !crashed {
            flushed.expect("nothing stood in its way");
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 30, "a cut makes more changes than {crashes}");
}

#[test]
fn a_cut_frees_the_log_and_leaves_nothing_to_replay() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..50);
    assert!(store.status().wal_segments > 1);
    store.flush().expect("flush");
    let status = store.status();
    assert_eq!((status.wal_segments, status.wal_bytes, status.head_generations), (0, 0, 1));
    assert!(status.blocks > 1, "the writes span several windows: {status:?}");
    let (store, report) = world.reopen(store);
    assert_eq!((report.replayed_writes, report.skipped_writes), (0, 0));
    assert_eq!(report.blocks, status.blocks);
    assert_eq!(all(&store), first(50));
}

#[test]
fn the_head_is_cut_when_it_is_large_or_old() {
    let mut world = World::new();
    world.options.head_cut_bytes = 200_000;
    let (store, _) = world.open();
    write_some(&store, 0..1);
    store.maintain().expect("maintain");
    assert_eq!(store.status().cuts, 0, "neither large nor old");
    world.clock.advance(world.options.head_cut_age + Duration::from_secs(1));
    store.maintain().expect("maintain");
    assert_eq!(store.status().cuts, 1, "old");
    let mut written = 1;
    while store.status().head_bytes < 200_000 {
        write_some(&store, written..written + 1);
        written += 1;
    }
    store.maintain().expect("maintain");
    assert_eq!(store.status().cuts, 2, "large");
    assert_eq!(all(&store), first(written));
}

#[test]
fn a_replay_larger_than_the_head_is_cut_on_its_way() {
    let mut world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..400);
    world.options.head_cut_bytes = store.status().head_bytes / 4;
    let (store, report) = world.reopen(store);
    assert_eq!(report.replayed_writes, 400);
    assert!(store.status().cuts >= 2, "{:?}", store.status());
    assert_eq!(all(&store), first(400));
    store.flush().expect("flush");
    let (store, _) = world.reopen(store);
    assert_eq!(all(&store), first(400));
}

#[test]
fn a_byte_flipped_in_any_file_of_a_block_costs_that_block_only() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..30);
    store.flush().expect("flush");
    drop(store);
    world.disk.restart_process();
    let files = world.files("blocks");
    let damaged_block = files[0].split('/').nth(1).expect("blocks/<name>/<file>").to_owned();
    let damaged = files.iter().filter(|file| file.contains(&damaged_block)).count();
    assert!(damaged >= 4, "profiles, samples, symbols, meta.json: {files:?}");

    for file in files.iter().filter(|file| file.contains(&damaged_block)) {
        let bytes = world.environment.disk.read(file).expect("read");
        world.disk.damage(file, bytes.len() as u64 / 2);
        let (store, _) = world.open();
        // as its owner does it: every block is verified in the end, without any query
        for _ in 0..20 {
            store.maintain().expect("maintain");
        }
        let status = store.status();
        assert_eq!(status.quarantined.len(), 1, "{file}: {status:?}");
        assert_eq!(status.quarantined[0].block, damaged_block);
        assert!(status.quarantined[0].reason.contains(file.as_str()), "{}", status.quarantined[0].reason);
        let left = all(&store);
        assert!(!left.is_empty() && left.len() < 30, "the rest answers");
        let (store, report) = world.reopen(store);
        assert_eq!(report.quarantined, status.quarantined, "it is written down");
        assert_eq!(all(&store), left);
        assert_eq!(world.files("blocks"), files, "nothing is deleted");
        drop(store);

        // undo, and forget what the catalog says since
        world.disk.restart_process();
        world.disk.damage(file, bytes.len() as u64 / 2);
        for manifest in world.files("catalog").into_iter().skip(2) {
            world.environment.disk.remove(&manifest).expect("remove");
        }
    }
}

#[test]
fn a_query_that_meets_damage_quarantines_the_block() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..30);
    store.flush().expect("flush");
    drop(store);
    world.disk.restart_process();
    let file = world.files("blocks").into_iter().find(|file| file.ends_with("profiles.parquet")).expect("a block");
    let bytes = world.environment.disk.read(&file).expect("read");
    for at in 0..bytes.len() as u64 {
        world.disk.damage(&file, at);
    }
    let (store, _) = world.open();
    let answered = ids(&store.parts("", None));
    assert!(!answered.is_empty() && answered.len() < 30);
    store.maintain().expect("maintain");
    assert_eq!(store.status().quarantined.len(), 1);
}

#[test]
fn a_block_of_a_newer_program_is_named_left_out_and_answers_again_when_it_can_be_read() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..30);
    store.flush().expect("flush");
    drop(store);
    world.disk.restart_process();

    let meta = world.files("blocks").into_iter().find(|file| file.ends_with("meta.json")).expect("a block");
    let manifest = world.files("catalog").pop().expect("a manifest");
    let (old_meta, old_manifest) = (read(&world, &meta), read(&world, &manifest));
    let newer = old_meta.replacen("\"version\":0", "\"version\":7", 1);
    assert_ne!(newer, old_meta);
    // a newer program would have written the right checksum into the catalog
    let json = old_manifest.split_once('\n').expect("a first line").1.replace(
        &format!("\"meta_crc32c\":{}", crate::wal::crc32c(old_meta.as_bytes())),
        &format!("\"meta_crc32c\":{}", crate::wal::crc32c(newer.as_bytes())),
    );
    replace(&world, &meta, newer.as_bytes());
    let head = format!("decima-catalog 0 {:08x}\n", crate::wal::crc32c(json.as_bytes()));
    replace(&world, &manifest, format!("{head}{json}").as_bytes());

    let (store, report) = world.open();
    assert_eq!(report.quarantined.len(), 1, "{report:?}");
    assert!(report.quarantined[0].reason.contains("meta.json"), "{}", report.quarantined[0].reason);
    let some = all(&store).len();
    assert!(some > 0 && some < 30, "the rest answers");
    for _ in 0..10 {
        store.maintain().expect("maintain");
    }
    drop(store);
    world.disk.restart_process();
    assert_eq!(read(&world, &meta), newer, "it is left as it is");

    replace(&world, &meta, old_meta.as_bytes());
    replace(&world, &manifest, old_manifest.as_bytes());
    let (store, report) = world.open();
    assert!(report.quarantined.is_empty(), "nothing was written down against it: {report:?}");
    assert_eq!(all(&store), first(30));
}

fn read(world: &World, path: &str) -> String {
    String::from_utf8(world.environment.disk.read(path).expect("read")).expect("text")
}

fn replace(world: &World, path: &str, bytes: &[u8]) {
    world.environment.disk.remove(path).expect("remove");
    let objects = LocalObjects::open(world.environment.disk.clone()).expect("open");
    objects.create(path, bytes).expect("create");
}

#[test]
fn a_full_disk_refuses_writes_answers_queries_survives_a_restart_and_recovers() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..5);
    world.disk.set_capacity(world.disk.used());
    let mut written = 5;
    let error = loop {
        match store.write(vec![write(written, 500)]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 50, "the disk is full");
    };
    assert_eq!(error.kind, Kind::DiskFull);
    assert!(error.retry_after.is_some());
    assert_eq!(all(&store), first(written));
    assert_eq!(store.flush().expect_err("no room for blocks").kind, Kind::DiskFull);
    assert_eq!(all(&store), first(written), "a failed cut takes nothing from readers");

    let (store, report) = world.reopen(store);
    assert!(report.warnings.iter().any(|warning| warning.contains("disk is full")), "{report:?}");
    assert_eq!(all(&store), first(written));
    world.disk.set_capacity(DISK_BYTES);
    write_some(&store, written..written + 5);
    store.flush().expect("flush");
    let (store, _) = world.reopen(store);
    assert_eq!(all(&store), first(written + 5));
}

#[test]
fn room_is_left_on_the_disk_for_cutting_the_head() {
    let mut world = World::new();
    world.options.disk_free_min = 1 << 20;
    let (store, _) = world.open();
    world.disk.set_capacity(world.disk.used() + (1 << 20) + 3 * 4096);
    let mut written = 0;
    while store.write(vec![write(written, 1000)]).is_ok() {
        written += 1;
        assert!(written < 100, "there is a floor");
    }
    assert!(written > 3);
    store.flush().expect("there is room left for it");
    assert_eq!(all(&store), first(written));
    assert_eq!(store.status().wal_bytes, 0);
}

#[test]
fn a_read_only_directory_is_refused_with_its_name() {
    let world = World::new();
    drop(world.open());
    world.disk.restart_process();
    world.disk.set_read_only(true);
    let error = world.try_open().map(|_| ()).expect_err("read-only");
    assert_eq!(error.kind, Kind::ReadOnly);
    assert!(error.at.contains("LOCK"), "{error}");
}

#[test]
fn a_disk_that_turns_read_only_refuses_writes_and_still_answers() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..5);
    world.disk.set_read_only(true);
    assert_eq!(store.write(vec![write(5, 0)]).expect_err("read-only").kind, Kind::ReadOnly);
    assert_eq!(store.flush().expect_err("read-only").kind, Kind::ReadOnly);
    assert_eq!(all(&store), first(5));
    assert!(store.status().last_error.is_some());
    world.disk.set_read_only(false);
    store.flush().expect("writable again");
    assert_eq!(all(&store), first(5));
}

#[test]
fn a_directory_in_use_is_refused_until_it_is_closed() {
    let world = World::new();
    let (store, _) = world.open();
    assert_eq!(world.try_open().map(|_| ()).expect_err("in use").kind, Kind::InUse);
    write_some(&store, 0..3);
    store.close();
    assert_eq!(store.write(vec![write(3, 0)]).expect_err("closed").kind, Kind::Closed);
    assert_eq!(store.maintain().expect_err("closed").kind, Kind::Closed);
    assert_eq!(all(&store), first(3), "reading goes on");
    let (second, _) = world.open();
    assert_eq!(all(&second), first(3));
}

#[test]
fn a_file_system_without_hard_links_is_named_at_start() {
    let world = World::new();
    world.disk.set_hard_links(false);
    let error = world.try_open().map(|_| ()).expect_err("no hard links");
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.to_string().contains("hard links"), "{error}");
}

#[test]
fn the_logs_of_two_writers_in_one_directory_are_refused() {
    let world = World::new();
    drop(world.open());
    world.disk.restart_process();
    world.environment.disk.create_dir_all("wal/another").expect("create");
    let error = world.try_open().map(|_| ()).expect_err("two logs");
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.to_string().contains("another"), "{error}");
}

#[test]
fn a_head_that_cannot_be_cut_refuses_writes_until_it_can() {
    let mut world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..50);
    world.options.head_cut_bytes = store.status().head_bytes;
    world.options.head_bytes_max = 2 * world.options.head_cut_bytes;
    let (store, _) = world.reopen(store);
    // room for the log, none for blocks
    world.disk.set_capacity(world.disk.used() + 200_000);
    let mut written = 50;
    let error = loop {
        match store.write(vec![write(written, 0)]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        let _ = store.maintain();
        assert!(written < 10_000, "the head has a bound");
    };
    assert!(matches!(error.kind, Kind::Overloaded | Kind::DiskFull), "{error}");
    assert!(error.retry_after.is_some());
    world.disk.set_capacity(DISK_BYTES);
    let failures = store.status().cut_failures;
    assert!(failures > 0 && failures < 3, "a cut that fails is not tried again at once: {failures}");
    world.clock.advance(Duration::from_secs(2));
    store.maintain().expect("room again");
    write_some(&store, written..written + 1);
    assert_eq!(all(&store), first(written + 1));
}

#[test]
fn a_head_at_its_bound_refuses_with_a_retryable_error() {
    let mut world = World::new();
    world.options.head_bytes_max = 300_000;
    let (store, _) = world.open();
    let mut written = 0;
    let error = loop {
        match store.write(vec![write(written, 0)]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 10_000, "the head has a bound");
    };
    assert_eq!(error.kind, Kind::Overloaded);
    assert!(error.retry_after.is_some());
    let status = store.status();
    assert_eq!(status.writes_refused, 1);
    assert!(status.head_bytes < 350_000, "{}", status.head_bytes);
    store.flush().expect("flush");
    write_some(&store, written..written + 1);
    assert_eq!(all(&store), first(written + 1));
}

#[test]
fn a_record_that_no_longer_decodes_is_kept_aside_once() {
    let world = World::new();
    let (store, _) = world.open();
    let (mut refused, _) = write(77, 0);
    refused.payload = Bytes::from_static(REFUSED);
    let mut nothing = profile::Batch::default();
    nothing.symbols.strings = profile::Strings::with_empty();
    nothing.label_sets = profile::LabelSets::with_empty();
    let (good, batch) = write(0, 0);
    store.write(vec![(refused, nothing), (good, batch)]).expect("write");
    let (store, report) = world.reopen(store);
    assert_eq!((report.replayed_writes, report.rejected_records), (1, 1));
    assert_eq!(all(&store), [0], "the rest of the write is there");
    let (store, _) = world.reopen(store);
    assert_eq!(store.status().rejected_records, 1, "replayed twice, kept once");
    store.flush().expect("flush");
    let (store, report) = world.reopen(store);
    assert_eq!((report.rejected_records, store.status().rejected_records), (0, 1));
    let kept = world.environment.disk.list("rejected").expect("list").remove(0);
    let bytes = world.environment.disk.read(&format!("rejected/{}", kept.name)).expect("read");
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(contains(REFUSED) && contains(b"refused on purpose") && contains(b"simulation"));
}

#[test]
fn unfinished_blocks_of_a_crashed_cut_are_deleted_at_the_next_start() {
    let world = World::new();
    let (store, _) = world.open();
    write_some(&store, 0..20);
    world.disk.crash_in(40);
    store.flush().expect_err("crash");
    drop(store);
    world.disk.restart_process();
    assert!(!world.files("blocks").is_empty(), "it came so far");
    let (store, _) = world.open();
    assert_eq!(world.files("blocks"), Vec::<String>::new());
    assert_eq!(all(&store), first(20));
}
