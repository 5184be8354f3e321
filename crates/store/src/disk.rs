//! The local disk as the store sees it: one directory, and only the operations whose durability the
//! store relies on. [`LocalDisk`] is the real one; tests bring one that crashes.

mod local;

use std::io::IoSlice;

pub use local::LocalDisk;

use crate::error::StoreError;

/// Paths are relative to the store's directory, `/`-separated, and never contain `..`.
///
/// *Durability*: bytes survive a crash after [`DiskFile::sync`]; names (created, linked, renamed, removed)
/// after [`Disk::sync_dir`] of their directory. Nothing else is promised.
pub trait Disk: Send + Sync {
    /// Where this is, for messages.
    fn describe(&self, path: &str) -> String;
    /// Takes the directory for this process until the guard is dropped, and writes which process that is,
    /// on which host and `since` when into the file `path`, so that the error of a second one
    /// ([`crate::error::Kind::InUse`]) can say who has it.
    fn lock(&self, path: &str, since: &str) -> Result<Box<dyn DiskLock>, StoreError>;
    fn create_dir_all(&self, path: &str) -> Result<(), StoreError>;
    /// Files and folders directly under `path`, sorted by name; empty when there is no such folder.
    fn list(&self, path: &str) -> Result<Vec<DirEntry>, StoreError>;
    /// [`crate::error::Kind::AlreadyExists`] when the name is taken. `capacity` bytes are reserved at once where the file
    /// system can; the file's length is then at least 0 and at most `capacity`, and unwritten bytes are 0.
    fn create(&self, path: &str, capacity: u64) -> Result<Box<dyn DiskFile>, StoreError>;
    fn read(&self, path: &str) -> Result<Vec<u8>, StoreError>;
    /// Fewer than `len` bytes when the file ends there.
    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StoreError>;
    /// Cuts (or lengthens with zeros) and syncs the file.
    fn truncate(&self, path: &str, len: u64) -> Result<(), StoreError>;
    fn remove(&self, path: &str) -> Result<(), StoreError>;
    /// Removes a folder that is empty; one that is not stays, without an error.
    fn remove_dir(&self, path: &str) -> Result<(), StoreError>;
    /// A second name; never replaces ([`crate::error::Kind::AlreadyExists`]).
    fn hard_link(&self, from: &str, to: &str) -> Result<(), StoreError>;
    fn sync_dir(&self, path: &str) -> Result<(), StoreError>;
    /// Bytes that this process may still write, if the file system says.
    fn free_bytes(&self) -> Result<u64, StoreError>;
}

/// A file being written. `&self`: only one thread writes at a time, by agreement.
pub trait DiskFile: Send + Sync {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), StoreError>;
    /// `fdatasync`. After an error nothing is known about the bytes written since the last good one.
    fn sync(&self) -> Result<(), StoreError>;
    /// Says that nobody will soon read what was synced, so that it need not take memory.
    fn put_aside(&self) {}
}

/// Held for as long as the store is open.
pub trait DiskLock: Send + Sync {}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
    pub bytes: u64,
}
