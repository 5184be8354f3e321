//! The store: open, write, read, cut, close.

use std::path::Path;
use std::sync::Arc;

use profile::Batch;

use crate::budget::Budget;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, LocalDisk};
use crate::error::{Kind, StoreError};
use crate::objects::{LocalObjects, Objects};
use crate::options::StoreOptions;
use crate::part::Part;
use crate::random::{Random, SystemRandom};
use crate::record::{Record, ReplayDecoder};
use crate::status::{OpenReport, Status};

/// Everything outside the store that it depends on.
#[derive(Clone)]
pub struct Environment {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// Where blocks and the catalog lie; `None` for the store's own disk.
    pub objects: Option<Arc<dyn Objects>>,
}

impl Environment {
    /// The machine's disk, clocks and randomness, everything below the directory `root`, which is created.
    pub fn local(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        Ok(Self {
            disk: Arc::new(LocalDisk::open(root.as_ref())?),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            objects: None,
        })
    }
}

/// One data directory. All methods take `&self` and may be called from any thread; those that touch the
/// disk block.
pub struct Store {
    budget: Budget,
    environment: Environment,
    _objects: Arc<dyn Objects>,
    _decoder: Arc<dyn ReplayDecoder>,
}

impl Store {
    pub fn open(
        options: StoreOptions,
        environment: Environment,
        decoder: Arc<dyn ReplayDecoder>,
    ) -> Result<(Self, OpenReport), StoreError> {
        let objects: Arc<dyn Objects> = match &environment.objects {
            Some(objects) => objects.clone(),
            None => Arc::new(LocalObjects::open(environment.disk.clone())?),
        };
        let budget = Budget::new(options.memory_bytes);
        Ok((Self { budget, environment, _objects: objects, _decoder: decoder }, OpenReport::default()))
    }

    /// Blocks until all of `writes` are durable and visible. After an error none of them counts as
    /// accepted; [`StoreError::retry_after`] is set where trying again can help.
    pub fn write(&self, writes: Vec<(Record, Batch)>) -> Result<(), StoreError> {
        let at = self.environment.disk.describe("");
        Err(StoreError::new(Kind::Closed, at, format!("{} writes refused: the log is not there yet", writes.len())))
    }

    /// What may hold samples of `tenant` between `range` (ns since the epoch, both ends included; `None`
    /// is all), head and blocks at once: each sample in exactly one part.
    pub fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        let _ = (tenant, range);
        Vec::new()
    }

    /// Cuts the head when it is large or old enough, frees the WAL, tends the catalog. Call it every
    /// second or so from one thread.
    pub fn maintain(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Cuts the whole head now.
    pub fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Refuses writes from now on and gives the directory free. What is in the head stays in the WAL.
    pub fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }

    pub fn status(&self) -> Status {
        Status { memory_used: self.budget.used(), memory_total: self.budget.total(), ..Status::default() }
    }

    pub fn budget(&self) -> &Budget {
        &self.budget
    }
}
