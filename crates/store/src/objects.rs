//! Objects: whole files by name, written once and never changed. Blocks and the catalog live here.
//! The embedded default is [`LocalObjects`] on the store's own disk.

mod local;
mod memory;

use std::ops::Range;

use bytes::Bytes;

pub use local::LocalObjects;
pub use memory::MemoryObjects;

use crate::error::StoreError;

/// Names are `/`-separated and relative. Calls block.
pub trait Objects: Send + Sync {
    /// For messages: where the object lies.
    fn describe(&self, name: &str) -> String;
    /// Durable when it returns. [`crate::error::Kind::AlreadyExists`] if the name is taken, and then the old bytes stay. After
    /// another error the object may exist or not, whole or not at all; who needs to know reads it back.
    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    fn get(&self, name: &str) -> Result<Bytes, StoreError>;
    /// [`crate::error::Kind::Corrupt`] when the object ends before `range` does.
    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError>;
    /// Names and sizes of all objects whose name begins with `folder` and a slash, at any depth, sorted.
    fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError>;
    /// No error when there is none.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEntry {
    pub name: String,
    pub bytes: u64,
}
