//! The real disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::{Advice, FallocateFlags, FlockOperation};

use super::{DirEntry, Disk, DiskFile, DiskLock};
use crate::error::{Kind, StoreError};

/// The kernel takes at most this many slices at once (IOV_MAX).
const SLICES_MAX: usize = 1024;

/// A holder's text longer than this is not ours.
const HOLDER_BYTES_MAX: u64 = 1024;

/// The directory `root` and what is below it.
pub struct LocalDisk {
    root: PathBuf,
}

impl LocalDisk {
    /// Creates `root` if it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let root = root.into();
        fs::create_dir_all(&root)
            .map_err(|error| StoreError::io(root.display().to_string(), "cannot create the data directory", error))?;
        Ok(Self { root })
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn error(&self, path: &str, what: &str, error: io::Error) -> StoreError {
        StoreError::io(self.describe(path), what, error)
    }
}

impl Disk for LocalDisk {
    fn describe(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }

    fn lock(&self, path: &str, since: &str) -> Result<Box<dyn DiskLock>, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file =
            options.open(self.path(path)).map_err(|error| self.error(path, "cannot open the lock file", error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut other = String::new();
                if (&file).take(HOLDER_BYTES_MAX).read_to_string(&mut other).is_err() || other.is_empty() {
                    "an unknown process".clone_into(&mut other);
                }
                let what = format!("the data directory is in use by {}; stop it or choose another", other.trim());
                return Err(StoreError::new(Kind::InUse, self.describe(""), what));
            }
            Err(error) => return Err(self.error(path, "cannot lock the data directory", error.into())),
        }
        let holder = format!("process {} on host {}, since {since}\n", std::process::id(), host_name());
        match file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())) {
            // what is stored can still be read; only a second process learns less
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            other => other.map_err(|error| self.error(path, "cannot write the lock file", error))?,
        }
        Ok(Box::new(LocalLock { _file: file }))
    }

    fn create_dir_all(&self, path: &str) -> Result<(), StoreError> {
        fs::create_dir_all(self.path(path)).map_err(|error| self.error(path, "cannot create the folder", error))
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, StoreError> {
        let listed = || -> io::Result<Vec<DirEntry>> {
            let mut entries = Vec::new();
            for entry in fs::read_dir(self.path(path))? {
                let entry = entry?;
                // a name that is not UTF-8 is none of ours
                let Ok(name) = entry.file_name().into_string() else { continue };
                let metadata = match entry.metadata() {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    other => other?,
                };
                entries.push(DirEntry { name, is_dir: metadata.is_dir(), bytes: metadata.len() });
            }
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        };
        match listed() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|error| self.error(path, "cannot list the folder", error)),
        }
    }

    fn create(&self, path: &str, capacity: u64) -> Result<Box<dyn DiskFile>, StoreError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(path))
            .map_err(|error| self.error(path, "cannot create", error))?;
        if capacity > 0 {
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, capacity) {
                // a file system that cannot reserve (zfs, some network ones) works all the same
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(error) => {
                    let reserved = self.error(path, &format!("cannot reserve {capacity} bytes"), error.into());
                    self.remove(path)?;
                    return Err(reserved);
                }
            }
        }
        Ok(Box::new(LocalFile { at: self.describe(path), file }))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        fs::read(self.path(path)).map_err(|error| self.error(path, "cannot read", error))
    }

    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        let read = || -> io::Result<Vec<u8>> {
            let file = File::open(self.path(path))?;
            let len = len.min(file.metadata()?.len().saturating_sub(offset));
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes)
        };
        read().map_err(|error| self.error(path, "cannot read", error))
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StoreError> {
        let cut = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(self.path(path))?;
            file.set_len(len)?;
            file.sync_all()
        };
        cut().map_err(|error| self.error(path, "cannot truncate", error))
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        fs::remove_file(self.path(path)).map_err(|error| self.error(path, "cannot delete", error))
    }

    fn remove_dir(&self, path: &str) -> Result<(), StoreError> {
        match fs::remove_dir(self.path(path)) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
            other => other.map_err(|error| self.error(path, "cannot delete the folder", error)),
        }
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<(), StoreError> {
        fs::hard_link(self.path(from), self.path(to)).map_err(|error| self.error(to, "cannot link", error))
    }

    fn sync_dir(&self, path: &str) -> Result<(), StoreError> {
        let synced = File::open(self.path(path)).and_then(|folder| folder.sync_all());
        synced.map_err(|error| self.error(path, "cannot sync the folder", error))
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let stat = rustix::fs::statvfs(&self.root)
            .map_err(|error| self.error("", "cannot ask for free space", error.into()))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

fn host_name() -> String {
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(name) => name.trim().to_owned(),
        Err(_) => "(unknown)".to_owned(),
    }
}

struct LocalFile {
    at: String,
    file: File,
}

impl DiskFile for LocalFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), StoreError> {
        let error = |error: io::Error| StoreError::io(self.at.clone(), "cannot write", error);
        let mut left: usize = slices.iter().map(|slice| slice.len()).sum();
        let (mut rest, mut offset) = (slices, offset);
        while left > 0 {
            let batch = &rest[..rest.len().min(SLICES_MAX)];
            let written = match rustix::io::pwritev(&self.file, batch, offset) {
                Err(rustix::io::Errno::INTR) => continue,
                Ok(0) => return Err(error(io::ErrorKind::WriteZero.into())),
                other => other.map_err(|errno| error(errno.into()))?,
            };
            IoSlice::advance_slices(&mut rest, written);
            left -= written;
            offset += written as u64;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), StoreError> {
        let synced = rustix::fs::fdatasync(&self.file);
        synced.map_err(|error| StoreError::io(self.at.clone(), "cannot sync", error.into()))
    }

    fn put_aside(&self) {
        // advice: a file system that takes none loses nothing
        _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}

/// The lock goes with the open file, also when the process is killed.
struct LocalLock {
    _file: File,
}

impl DiskLock for LocalLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_of_more_slices_than_the_kernel_takes_at_once_is_whole() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = LocalDisk::open(folder.path()).expect("open");
        let file = disk.create("many", 1 << 16).expect("create");
        let parts: Vec<Vec<u8>> = (0..3000u32).map(|i| i.to_le_bytes().to_vec()).collect();
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        file.write_at(8, &mut slices).expect("write");
        file.sync().expect("sync");
        assert_eq!(disk.read_range("many", 8, 12_000).expect("read"), parts.concat());
    }

    #[test]
    fn a_second_lock_is_refused_and_says_who_holds_the_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = LocalDisk::open(folder.path()).expect("open");
        let held = disk.lock("LOCK", "noon").expect("lock");
        let error = disk.lock("LOCK", "one").map(|_| ()).expect_err("in use");
        assert_eq!(error.kind, Kind::InUse);
        let holder = format!("in use by process {} on host {}, since noon", std::process::id(), host_name());
        assert!(error.to_string().contains(&holder), "{error}");
        drop(held);
        assert!(disk.lock("LOCK", "two").is_ok());
    }

    #[test]
    fn a_name_that_is_taken_is_never_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let disk = LocalDisk::open(folder.path()).expect("open");
        drop(disk.create("a", 0).expect("create"));
        drop(disk.create("b", 0).expect("create"));
        assert_eq!(disk.create("a", 0).map(|_| ()).expect_err("taken").kind, Kind::AlreadyExists);
        assert_eq!(disk.hard_link("a", "b").expect_err("taken").kind, Kind::AlreadyExists);
    }
}
