//! Objects as files under one folder of the store's disk.
//!
//! An object appears whole or not at all: its bytes go to a temporary name, are synced, get their real
//! name by a hard link (which never replaces), and the folder is synced.

use std::collections::HashSet;
use std::io::IoSlice;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{ObjectEntry, Objects};
use crate::disk::Disk;
use crate::error::{Kind, StoreError};

/// Where unfinished objects lie; emptied at start.
const TEMPORARY: &str = "tmp";

pub struct LocalObjects {
    disk: Arc<dyn Disk>,
    /// Where its unfinished objects lie.
    temporary: String,
    next_temporary: AtomicU64,
    /// Created and synced since the start, so that the next object in them needs no more of that.
    durable_folders: Mutex<HashSet<String>>,
}

impl LocalObjects {
    /// Empties the folder of unfinished objects and finds out whether the file system has hard links;
    /// one without is refused by name.
    ///
    /// The caller holds the directory's lock.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, StoreError> {
        Self::open_with(disk, TEMPORARY.to_owned())
    }

    /// A folder that other processes, here or on other machines, may use at the same time. `process` is a name that no other of them has,
    /// and this one again after a restart: below `tmp/<process>/` lies only what it left unfinished itself.
    pub fn open_shared(disk: Arc<dyn Disk>, process: &str) -> Result<Self, StoreError> {
        Self::open_with(disk, format!("{TEMPORARY}/{process}"))
    }

    fn open_with(disk: Arc<dyn Disk>, temporary: String) -> Result<Self, StoreError> {
        disk.create_dir_all(&temporary)?;
        for left_over in disk.list(&temporary)?.into_iter().filter(|entry| !entry.is_dir) {
            disk.remove(&format!("{temporary}/{}", left_over.name))?;
        }
        let objects = Self { disk, temporary, next_temporary: AtomicU64::new(0), durable_folders: Mutex::default() };
        objects.check_hard_links()?;
        Ok(objects)
    }

    fn check_hard_links(&self) -> Result<(), StoreError> {
        let (from, to) = (format!("{}/link-from", self.temporary), format!("{}/link-to", self.temporary));
        match self.disk.create(&from, 0) {
            // nothing can be tried there now, and what is stored can still be read
            Err(error) if error.kind == Kind::DiskFull => return Ok(()),
            created => drop(created?),
        }
        let linked = self.disk.hard_link(&from, &to);
        self.disk.remove(&from)?;
        match linked {
            Ok(()) => self.disk.remove(&to),
            Err(error) if error.kind == Kind::DiskFull => Ok(()),
            Err(error) if matches!(error.kind, Kind::Io | Kind::Closed) => Err(error),
            Err(mut error) => {
                error.kind = Kind::Invalid;
                error.at = self.disk.describe("");
                error.what = "the file system has no hard links, which the store needs to write a file whole \
                              or not at all; put the data directory on another one (ext4, xfs, btrfs, zfs, tmpfs)"
                    .to_owned();
                Err(error)
            }
        }
    }

    fn write_temporary(&self, temporary: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let file = self.disk.create(temporary, 0)?;
        file.write_at(0, &mut [IoSlice::new(bytes)])?;
        file.sync()
    }

    /// Every folder on the way must be durable before the object's name in the last one is.
    fn create_folder(&self, folder: &str) -> Result<(), StoreError> {
        if self.durable_folders().contains(folder) {
            return Ok(());
        }
        self.disk.create_dir_all(folder)?;
        for (ix, _) in folder.match_indices('/') {
            self.disk.sync_dir(&folder[..ix])?;
        }
        self.disk.sync_dir("")?;
        self.durable_folders().insert(folder.to_owned());
        Ok(())
    }

    fn durable_folders(&self) -> MutexGuard<'_, HashSet<String>> {
        self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list_into(&self, folder: &str, found: &mut Vec<ObjectEntry>) -> Result<(), StoreError> {
        for entry in self.disk.list(folder)? {
            let name = format!("{folder}/{}", entry.name);
            if entry.is_dir {
                self.list_into(&name, found)?;
            } else {
                found.push(ObjectEntry { name, bytes: entry.bytes });
            }
        }
        Ok(())
    }
}

impl Objects for LocalObjects {
    fn describe(&self, name: &str) -> String {
        self.disk.describe(name)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let temporary = format!("{}/{}", self.temporary, self.next_temporary.fetch_add(1, Ordering::Relaxed));
        self.create_folder(folder)?;
        let linked = self.write_temporary(&temporary, bytes).and_then(|()| self.disk.hard_link(&temporary, name));
        let removed = self.disk.remove(&temporary);
        linked?;
        self.disk.sync_dir(folder)?;
        // the object is there; a temporary name that stays is removed at the next start
        drop(removed);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        Ok(Bytes::from(self.disk.read(name)?))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let len = range.end.saturating_sub(range.start);
        let bytes = self.disk.read_range(name, range.start, len)?;
        if bytes.len() as u64 != len {
            let what = format!("ends {} bytes after {}, and {range:?} is asked for", bytes.len(), range.start);
            return Err(StoreError::new(Kind::Corrupt, self.describe(name), what));
        }
        Ok(Bytes::from(bytes))
    }

    fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut found = Vec::new();
        self.list_into(folder, &mut found)?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// Also removes the folder when this was its last object.
    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.disk.remove(name) {
            Ok(()) => {}
            Err(error) if error.kind == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        if let Some((folder, _)) = name.rsplit_once('/') {
            self.durable_folders().remove(folder);
            self.disk.remove_dir(folder)?;
        }
        Ok(())
    }
}
