//! The real disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Kind, StoreError};
use crate::options::StoreOptions;
use crate::simulation::{SimDecoder, ids, ids_by_samples, write};
use crate::status::OpenReport;
use crate::store::{Environment, Store};

fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 1 << 16, disk_free_min: 0, ..StoreOptions::default() }
}

fn open(root: &Path) -> Result<(Store, OpenReport), StoreError> {
    Store::open(options(), Environment::local(root)?, Arc::new(SimDecoder))
}

fn write_some(store: &Store, some: std::ops::Range<u64>) {
    for id in some {
        store.write(vec![write(id, 1000)]).expect("write");
    }
}

fn all(store: &Store) -> Vec<u64> {
    ids_by_samples(&store.parts("", None))
}

#[test]
fn a_store_reopens_after_a_clean_stop_and_after_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, report) = open(folder.path()).expect("open");
    assert_eq!(report.replayed_writes, 0);
    write_some(&store, 0..20);
    store.flush().expect("flush");
    write_some(&store, 20..30);
    store.close();
    drop(store);

    let (store, report) = open(folder.path()).expect("open");
    assert_eq!(report.replayed_writes, 10);
    assert_eq!(all(&store), (0..30).collect::<Vec<u64>>());
    write_some(&store, 30..40);
    // no close: the lock goes with the process, here with the guard
    drop(store);
    let (store, report) = open(folder.path()).expect("open");
    assert_eq!(report.replayed_writes, 20);
    assert_eq!(all(&store), (0..40).collect::<Vec<u64>>());
}

#[test]
fn a_torn_tail_and_a_flipped_byte_are_reported_and_the_rest_answers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, _) = open(folder.path()).expect("open");
    write_some(&store, 0..20);
    store.flush().expect("flush");
    write_some(&store, 20..30);
    store.close();
    drop(store);

    let segment = files(folder.path(), "wal").pop().expect("a segment");
    let bytes = std::fs::read(&segment).expect("read");
    std::fs::write(&segment, &bytes[..bytes.len() - 3]).expect("write");
    let samples = files(folder.path(), "blocks").into_iter().find(|file| file.contains("samples")).expect("a block");
    let mut bytes = std::fs::read(&samples).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&samples, &bytes).expect("write");

    let (store, report) = open(folder.path()).expect("open");
    assert_eq!(report.replayed_writes, 9, "all but the torn one");
    assert!(report.torn_bytes > 0);
    for _ in 0..20 {
        store.maintain().expect("maintain");
    }
    let quarantined = store.status().quarantined;
    assert_eq!(quarantined.len(), 1);
    assert!(quarantined[0].reason.contains(&samples), "{}", quarantined[0].reason);
    let left = all(&store);
    assert!(left.len() > 9 && left.len() < 29, "{left:?}");
}

fn files(root: &Path, below: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(below)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path.display().to_string()) }
        }
    }
    found.sort();
    found
}

#[test]
fn a_second_store_on_a_directory_is_told_who_has_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_store, _) = open(folder.path()).expect("open");
    let error = open(folder.path()).map(|_| ()).expect_err("in use");
    assert_eq!(error.kind, Kind::InUse);
    let process = format!("process {} on host ", std::process::id());
    assert!(error.to_string().contains(&process) && error.to_string().contains(" since 20"), "{error}");
    assert!(error.at.contains(&folder.path().display().to_string()), "{error}");
}

#[test]
fn a_directory_that_is_a_file_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("data");
    std::fs::write(&path, "not a directory").expect("write");
    let error = open(&path).map(|_| ()).expect_err("a file");
    assert!(error.at.ends_with("data"), "{error}");
}

#[test]
fn readers_see_every_acknowledged_write_once_while_many_write_and_the_head_is_cut() {
    const WRITERS: u64 = 6;
    const WRITES: u64 = 150;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (store, _) = open(folder.path()).expect("open");
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let look = || {
        let before: Vec<u64> = acknowledged.iter().map(|count| count.load(Ordering::Acquire)).collect();
        let found = ids(&store.parts("", None));
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "a profile is there twice");
        let found: BTreeSet<u64> = found.into_iter().collect();
        for (writer, count) in before.iter().enumerate() {
            for write in 0..*count {
                assert!(found.contains(&(write * WRITERS + writer as u64)), "an acknowledged profile is not there");
            }
        }
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, acknowledged) = (&store, &acknowledged);
                scope.spawn(move || {
                    for number in 0..WRITES {
                        store.write(vec![write(number * WRITERS + writer, 300)]).expect("write");
                        acknowledged[writer as usize].store(number + 1, Ordering::Release);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                store.flush().expect("flush");
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                look();
            }
        });
        for writer in writers {
            writer.join().expect("no panic");
        }
        done.store(true, Ordering::Release);
    });
    look();
    assert!(store.status().cuts > 1);
    drop(store);
    let (store, _) = open(folder.path()).expect("open");
    assert_eq!(all(&store), (0..WRITERS * WRITES).collect::<Vec<u64>>());
}

/// A small file system of its own, where the tests may mount one (as root, in most CI); elsewhere the
/// simulated disk has to do.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = format!("size={size}");
        if mount(&["-t", "tmpfs", "-o", &options, "tmpfs"], folder.path()) {
            return Some(Self(folder));
        }
        println!("not run: no permission to mount a tmpfs");
        None
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], self.0.path()), "remount {options}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(self.0.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.path().display());
        }
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mounted = std::process::Command::new("mount").args(arguments).arg(at).output();
    mounted.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_file_system_refuses_writes_keeps_answering_and_recovers() {
    let Some(disk) = SmallDisk::mount("1m") else { return };
    let (store, _) = open(disk.0.path()).expect("open");
    let mut written = 0;
    let error = loop {
        match store.write(vec![write(written, 5000)]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 1000, "the disk is full long ago");
    };
    assert_eq!(error.kind, Kind::DiskFull, "{error}");
    assert!(error.retry_after.is_some() && written > 50, "{error}");
    assert_eq!(store.flush().expect_err("no room for blocks").kind, Kind::DiskFull);
    assert_eq!(all(&store), (0..written).collect::<Vec<u64>>());
    drop(store);

    let (store, report) = open(disk.0.path()).expect("a full disk can be read");
    assert_eq!(report.replayed_writes, written);
    assert_eq!(all(&store), (0..written).collect::<Vec<u64>>());
    disk.remount("size=32m");
    write_some(&store, written..written + 10);
    store.flush().expect("there is room");
    assert_eq!(all(&store), (0..written + 10).collect::<Vec<u64>>());
    drop(store);
}

#[test]
fn a_read_only_file_system_is_refused_by_name_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("16m") else { return };
    let (store, _) = open(disk.0.path()).expect("open");
    write_some(&store, 0..10);
    store.close();
    drop(store);
    disk.remount("ro");
    let error = open(disk.0.path()).map(|_| ()).expect_err("read-only");
    assert_eq!(error.kind, Kind::ReadOnly, "{error}");
    assert!(error.to_string().contains(&disk.0.path().display().to_string()), "{error}");
    disk.remount("rw");
    let (store, _) = open(disk.0.path()).expect("open");
    assert_eq!(all(&store), (0..10).collect::<Vec<u64>>());
    drop(store);
}
