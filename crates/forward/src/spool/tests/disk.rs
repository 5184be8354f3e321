//! A disk in memory that keeps only what was synced, and stops at any byte.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard};

use store::disk::{DirEntry, DiskFile, DiskLock};
use store::{Disk, Kind, StoreError};

/// Random enough, and the same in every run.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Clones are the same disk.
#[derive(Clone)]
pub(crate) struct CrashDisk(Arc<Mutex<State>>);

struct State {
    numbers: Numbers,
    /// Content by number of the file: as programs see it, and as the medium has it.
    seen: BTreeMap<usize, Vec<u8>>,
    synced: BTreeMap<usize, Vec<u8>>,
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    files: usize,
    /// Bytes and changes until the crash.
    left: u64,
    /// Of the process: files of an earlier one are dead.
    boot: usize,
    /// The next sync of a file fails, and the one after it does not.
    sync_fails: bool,
    /// Whose bytes cannot be read any more.
    unreadable: Option<(String, Kind)>,
    /// The folder in which nothing can be made.
    full: String,
}

impl CrashDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            numbers: Numbers(seed ^ 0x5eed),
            seen: BTreeMap::new(),
            synced: BTreeMap::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            files: 0,
            left: u64::MAX,
            boot: 0,
            sync_fails: false,
            unreadable: None,
            full: "nowhere".to_owned(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic")
    }

    /// The disk stops after so many bytes and changes.
    pub(super) fn crash_after(&self, left: u64) {
        self.state().left = left;
    }

    pub(super) fn fail_next_sync(&self) {
        self.state().sync_fails = true;
    }

    /// Reads of `path`, and of no other file, fail like that.
    pub(crate) fn break_file(&self, path: &str, kind: Kind) {
        self.state().unreadable = Some((path.to_owned(), kind));
    }

    /// No file can be made in `folder`, and in no other it cannot.
    pub(crate) fn refuse_writes(&self, folder: &str) {
        self.state().full = folder.to_owned();
    }

    pub(super) fn is_down(&self) -> bool {
        self.state().left == 0
    }

    /// Of what was not synced, each file keeps some and each name may or may not be there.
    pub(super) fn reboot(&self) {
        let mut state = self.state();
        let State { numbers, seen, synced, names, synced_names, .. } = &mut *state;
        for (file, seen) in seen.iter_mut() {
            let synced = synced.entry(*file).or_default();
            let mut kept = synced.clone();
            kept.resize(seen.len(), 0);
            // any piece of what was written since
            let (begin, end) = (numbers.below(seen.len() as u64 + 1) as usize, seen.len());
            let piece = if numbers.below(2) == 0 { 0..begin } else { begin..end };
            kept[piece.clone()].copy_from_slice(&seen[piece]);
            *synced = kept.clone();
            *seen = kept;
        }
        let all: Vec<String> = names.keys().chain(synced_names.keys()).cloned().collect();
        let mut kept = BTreeMap::new();
        for name in all {
            let node = if numbers.below(2) == 0 { names.get(&name) } else { synced_names.get(&name) };
            // alike in both: it was synced
            let node = if names.get(&name) == synced_names.get(&name) { names.get(&name) } else { node };
            if let Some(&node) = node {
                kept.insert(name, node);
            }
        }
        (state.names, state.synced_names) = (kept.clone(), kept);
        state.left = u64::MAX;
        state.boot += 1;
    }
}

impl State {
    /// How many of `bytes` still get through.
    fn spend(&mut self, bytes: u64) -> Result<u64, StoreError> {
        if self.left == 0 {
            return Err(down());
        }
        let spent = bytes.min(self.left);
        self.left -= spent;
        Ok(spent)
    }
}

fn down() -> StoreError {
    StoreError::new(Kind::Io, "disk", "it is gone")
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for CrashDisk {
    fn describe(&self, path: &str) -> String {
        path.to_owned()
    }

    fn lock(&self, _: &str, _: &str) -> Result<Box<dyn DiskLock>, StoreError> {
        struct Held;
        impl DiskLock for Held {}
        Ok(Box::new(Held))
    }

    fn create_dir_all(&self, _: &str) -> Result<(), StoreError> {
        self.state().spend(1).map(drop)
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, StoreError> {
        let state = self.state();
        let inside = state.names.iter().filter(|(name, _)| folder(name) == path);
        let entry = |(name, file): (&String, &usize)| DirEntry {
            name: name[path.len() + 1..].to_owned(),
            is_dir: false,
            bytes: state.seen[file].len() as u64,
        };
        Ok(inside.map(entry).collect())
    }

    fn create(&self, path: &str, capacity: u64) -> Result<Box<dyn DiskFile>, StoreError> {
        let mut state = self.state();
        state.spend(1)?;
        if folder(path) == state.full {
            return Err(StoreError::new(Kind::Io, path, "no space left"));
        }
        if state.names.contains_key(path) {
            return Err(StoreError::new(Kind::AlreadyExists, path, "taken"));
        }
        state.files += 1;
        let file = state.files;
        state.seen.insert(file, vec![0; capacity as usize]);
        state.names.insert(path.to_owned(), file);
        Ok(Box::new(File { disk: self.clone(), file, boot: state.boot }))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.read_range(path, 0, u64::MAX)
    }

    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        let state = self.state();
        if let Some((unreadable, kind)) = &state.unreadable
            && unreadable == path
        {
            return Err(StoreError::new(*kind, path, "it cannot be read"));
        }
        let file = state.names.get(path).ok_or_else(|| StoreError::new(Kind::NotFound, path, "not there"))?;
        let bytes = &state.seen[file];
        let end = offset.saturating_add(len).min(bytes.len() as u64);
        Ok(bytes[offset.min(end) as usize..end as usize].to_vec())
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StoreError> {
        let mut state = self.state();
        state.spend(1)?;
        let file = state.names[path];
        state.seen.entry(file).or_default().truncate(len as usize);
        let seen = state.seen[&file].clone();
        state.synced.insert(file, seen);
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        state.spend(1)?;
        state.names.remove(path).map(drop).ok_or_else(|| StoreError::new(Kind::NotFound, path, "not there"))
    }

    fn remove_dir(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn hard_link(&self, _: &str, to: &str) -> Result<(), StoreError> {
        Err(StoreError::new(Kind::Invalid, to, "no links here"))
    }

    fn sync_dir(&self, path: &str) -> Result<(), StoreError> {
        let mut state = self.state();
        state.spend(1)?;
        let State { names, synced_names, .. } = &mut *state;
        synced_names.retain(|name, _| folder(name) != path);
        let inside = names.iter().filter(|(name, _)| folder(name) == path);
        synced_names.extend(inside.map(|(name, file)| (name.clone(), *file)));
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(u64::MAX)
    }
}

struct File {
    disk: CrashDisk,
    file: usize,
    boot: usize,
}

impl DiskFile for File {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), StoreError> {
        let mut state = self.disk.state();
        assert_eq!(state.boot, self.boot, "a file of an earlier life");
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        let written = state.spend(bytes.len() as u64)? as usize;
        let content = state.seen.entry(self.file).or_default();
        let end = offset as usize + written;
        if content.len() < end {
            content.resize(end, 0);
        }
        content[offset as usize..end].copy_from_slice(&bytes[..written]);
        if written == bytes.len() { Ok(()) } else { Err(down()) }
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.disk.state();
        state.spend(1)?;
        if std::mem::take(&mut state.sync_fails) {
            return Err(StoreError::new(Kind::Io, "file", "the sync failed"));
        }
        let seen = state.seen.entry(self.file).or_default().clone();
        state.synced.insert(self.file, seen);
        Ok(())
    }
}
