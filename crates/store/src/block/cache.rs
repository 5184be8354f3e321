//! What was read of blocks, kept while there is room.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::budget::{Budget, Lease};
use crate::error::ReadError;

/// What of a block: a partition's tables, a file's footer, the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Item {
    Profiles,
    Footer(u32),
    Symbols(u32),
    NameTree(u32),
    LocationTree(u32),
    LabelSets(u32),
    Exports(u32),
}

type Key = (Arc<str>, Item);

#[derive(Clone)]
struct Held {
    bytes: u64,
    value: Arc<dyn Any + Send + Sync>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Held> for ByBytes {
    fn weight(&self, _: &Key, held: &Held) -> u64 {
        held.bytes
    }
}

/// Decoded tables of all blocks of a store, bounded in bytes; what is used again stays longest. A query
/// that holds a table keeps it alive beyond its eviction.
pub struct BlockCache {
    held: Cache<Key, Held, ByBytes>,
    /// Of the store's budget: as much as is held.
    lease: Mutex<Lease>,
}

/// Tables that one cache is expected to hold; only sizes its index.
const ITEMS_EXPECTED: usize = 4096;

impl BlockCache {
    /// Holds at most `bytes_max`, on the account `block cache` of `budget`.
    pub fn new(budget: &Budget, bytes_max: u64) -> Arc<Self> {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(ITEMS_EXPECTED)
            .weight_capacity(bytes_max)
            // one shard: a single table may take a large share of the room
            .shards(1)
            .build();
        let held = match options {
            Ok(options) => {
                Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(ITEMS_EXPECTED, bytes_max, ByBytes),
        };
        let lease = Mutex::new(budget.account("block cache", bytes_max).empty_lease());
        Arc::new(Self { held, lease })
    }

    /// bytes
    pub fn bytes(&self) -> u64 {
        self.held.weight()
    }

    /// The item, from here or by `load`, which returns it and its bytes. Two threads may load at once.
    pub(crate) fn get<T: Send + Sync + 'static>(
        &self,
        block: &Arc<str>,
        item: Item,
        load: impl FnOnce() -> Result<(T, usize), ReadError>,
    ) -> Result<Arc<T>, ReadError> {
        let key = (block.clone(), item);
        if let Some(held) = self.held.get(&key)
            && let Ok(value) = held.value.downcast::<T>()
        {
            return Ok(value);
        }
        let (value, bytes) = load()?;
        let value = Arc::new(value);
        // at least 1, since what weighs nothing would never leave
        self.held.insert(key, Held { bytes: (bytes as u64).max(1), value: value.clone() });
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).set(self.held.weight());
        Ok(value)
    }

    /// Drops all that is held of a block.
    pub(crate) fn forget(&self, block: &str) {
        self.held.retain(|(of, _), _| &**of != block);
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).set(self.held.weight());
    }
}
