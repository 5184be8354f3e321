//! Objects in memory: for tests.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{ObjectEntry, Objects};
use crate::error::{Kind, StoreError};

#[derive(Default)]
pub struct MemoryObjects {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryObjects {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `bytes` there whatever was there: damage, as a disk does it.
    pub fn overwrite(&self, name: &str, bytes: Bytes) {
        self.lock().insert(name.to_owned(), bytes);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Objects for MemoryObjects {
    fn describe(&self, name: &str) -> String {
        format!("memory:{name}")
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut objects = self.lock();
        if objects.contains_key(name) {
            return Err(StoreError::new(Kind::AlreadyExists, self.describe(name), "the name is taken"));
        }
        objects.insert(name.to_owned(), Bytes::copy_from_slice(bytes));
        Ok(())
    }

    fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let found = self.lock().get(name).cloned();
        found.ok_or_else(|| StoreError::new(Kind::NotFound, self.describe(name), "no such object"))
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let whole = self.get(name)?;
        if range.start > range.end || range.end > whole.len() as u64 {
            let what = format!("ends at {} bytes, and {range:?} is asked for", whole.len());
            return Err(StoreError::new(Kind::Corrupt, self.describe(name), what));
        }
        Ok(whole.slice(range.start as usize..range.end as usize))
    }

    fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let prefix = format!("{folder}/");
        let objects = self.lock();
        let within = objects.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        Ok(within.map(|(name, bytes)| ObjectEntry { name: name.clone(), bytes: bytes.len() as u64 }).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.lock().remove(name);
        Ok(())
    }
}
