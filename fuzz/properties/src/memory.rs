//! A disk in memory: a real one takes ten thousand times as long to open a store on as the bytes of a target take to read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard};

use store::disk::{DirEntry, DiskFile, DiskLock};
use store::{Disk, Kind, StoreError};

/// Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<Files>>);

#[derive(Default)]
struct Files {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeSet<String>,
}

impl MemoryDisk {
    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.files().files.insert(path.to_owned(), bytes.to_vec());
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().expect("no panic")
    }

    fn file<T>(&self, path: &str, then: impl FnOnce(&mut Vec<u8>) -> T) -> Result<T, StoreError> {
        let missing = || StoreError::new(Kind::NotFound, path, "no such file");
        self.files().files.get_mut(path).map(then).ok_or_else(missing)
    }
}

struct Open(MemoryDisk, String);

impl DiskFile for Open {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), StoreError> {
        self.0.file(&self.1, |file| {
            let mut at = offset as usize;
            for slice in slices {
                file.resize(file.len().max(at + slice.len()), 0);
                file[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
        })
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Taken;

impl DiskLock for Taken {}

impl Disk for MemoryDisk {
    fn describe(&self, path: &str) -> String {
        format!("memory:{path}")
    }

    fn lock(&self, _: &str, _: &str) -> Result<Box<dyn DiskLock>, StoreError> {
        Ok(Box::new(Taken))
    }

    fn create_dir_all(&self, path: &str) -> Result<(), StoreError> {
        self.files().folders.insert(path.to_owned());
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, StoreError> {
        let files = self.files();
        let below = |name: &str| Some(name.strip_prefix(path)?.strip_prefix('/')?.to_owned());
        let mut found = BTreeMap::new();
        for (name, bytes) in files.files.iter().filter_map(|(name, file)| Some((below(name)?, file.len() as u64))) {
            match name.split_once('/') {
                Some((folder, _)) => found.insert(folder.to_owned(), (true, 0)),
                None => found.insert(name, (false, bytes)),
            };
        }
        for name in files.folders.iter().filter_map(|name| below(name)) {
            found.insert(name.split('/').next().unwrap_or_default().to_owned(), (true, 0));
        }
        Ok(found.into_iter().map(|(name, (is_dir, bytes))| DirEntry { name, is_dir, bytes }).collect())
    }

    fn create(&self, path: &str, _: u64) -> Result<Box<dyn DiskFile>, StoreError> {
        let mut files = self.files();
        if files.files.contains_key(path) {
            return Err(StoreError::new(Kind::AlreadyExists, path, "the name is taken"));
        }
        files.files.insert(path.to_owned(), Vec::new());
        Ok(Box::new(Open(self.clone(), path.to_owned())))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        self.file(path, |file| file.clone())
    }

    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        self.file(path, |file| file.iter().skip(offset as usize).take(len as usize).copied().collect())
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StoreError> {
        self.file(path, |file| file.resize(len as usize, 0))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.file(path, |_| ())?;
        self.files().files.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), StoreError> {
        self.files().folders.remove(path);
        Ok(())
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let bytes = self.read(from)?;
        let mut files = self.files();
        if files.files.contains_key(to) {
            return Err(StoreError::new(Kind::AlreadyExists, to, "the name is taken"));
        }
        files.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_dir(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        Ok(1 << 40)
    }
}
