//! The store: open, write, read, cut, close.

mod blocks;
mod core;
mod generation;
mod import;
mod recovery;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use profile::Batch;

use self::blocks::StoredBlock;
use self::core::{Core, Upkeep};
pub use self::import::Import;
use crate::budget::Budget;
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, DiskLock, LocalDisk};
use crate::error::{Kind, StoreError};
use crate::listing::Listing;
use crate::objects::Objects;
use crate::options::StoreOptions;
use crate::part::Part;
use crate::random::{Random, SystemRandom};
use crate::record::{Record, ReplayDecoder};
use crate::status::{OpenReport, Status};
use crate::wal::Wal;

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

/// One data directory, until it is closed or dropped. All methods take `&self` and may be called from any
/// thread; those that touch the disk block.
///
/// ```text
/// LOCK               who has the directory
/// wal/<writer>/      the log: segments
/// rejected/          records of the log that no longer decode
/// catalog/           which blocks exist
/// blocks/<name>/     a block: Parquet, Arrow, meta.json
/// tmp/               unfinished files, emptied at start
/// ```
///
/// *Exactly once.* A write is in the log before it is in the head, and it has its position in the log and
/// its generation of the head in one step. So a generation, once nobody writes to it, holds all writes
/// between two positions and no other; the manifest that names its blocks says up to which position they
/// go, and replay begins after that. Whether a crash comes before the manifest or after it, or between it
/// and the deletion of the log's segments, every write is in exactly one of blocks and replay.
pub struct Store {
    disk: Arc<dyn Disk>,
    core: Core,
    wal: Wal,
    upkeep: Mutex<Upkeep>,
    /// Given back when the store is closed.
    lock: Mutex<Option<Box<dyn DiskLock>>>,
    closed: AtomicBool,
    rejected: u64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    writes_refused: AtomicU64,
}

impl Store {
    /// Takes the directory, finds its blocks, and takes what only the log has into the head again.
    ///
    /// [`Kind::InUse`] names the process that has the directory, [`Kind::TooNew`] the file that a newer
    /// program wrote (and leaves it), [`Kind::ReadOnly`] what could not be written. A damaged block, a torn
    /// end of the log or a full disk do not keep a store from opening: see the report.
    pub fn open(
        options: StoreOptions,
        environment: Environment,
        decoder: Arc<dyn ReplayDecoder>,
    ) -> Result<(Self, OpenReport), StoreError> {
        recovery::open(options, environment, &*decoder)
    }

    fn assemble(
        disk: Arc<dyn Disk>,
        core: Core,
        wal: Wal,
        upkeep: Upkeep,
        lock: Box<dyn DiskLock>,
        rejected: u64,
    ) -> Self {
        Self {
            disk,
            core,
            wal,
            upkeep: Mutex::new(upkeep),
            lock: Mutex::new(Some(lock)),
            closed: AtomicBool::new(false),
            rejected,
            writes: AtomicU64::new(0),
            written_bytes: AtomicU64::new(0),
            writes_refused: AtomicU64::new(0),
        }
    }

    /// Blocks until all of `writes` are durable and visible. After an error none of them is acknowledged,
    /// and [`StoreError::retry_after`] is set where trying again can help.
    pub fn write(&self, writes: Vec<(Record, Batch)>) -> Result<(), StoreError> {
        let written = self.try_write(writes);
        if let Err(error) = &written {
            match error.kind {
                Kind::Overloaded => _ = self.writes_refused.fetch_add(1, Ordering::Relaxed),
                _ => self.core.note(error),
            }
        }
        written
    }

    fn try_write(&self, writes: Vec<(Record, Batch)>) -> Result<(), StoreError> {
        let Some((first, _)) = writes.first() else { return Ok(()) };
        let received = first.receive_time;
        let bytes: u64 = writes.iter().map(|(record, _)| record.bytes()).sum();
        let payload: u64 = writes.iter().map(|(record, _)| record.payload.len() as u64).sum();
        // what the head will hold of it is not known yet; seldom more than the bytes that came
        let _room = self.core.head_account.lease(bytes).map_err(|error| self.head_is_full(error))?;
        let (records, batches): (Vec<Record>, Vec<Batch>) = writes.into_iter().unzip();
        let under_way = self.wal.append(records, |_| self.core.view().active().begin())?;
        for batch in &batches {
            under_way.generation.append(batch, received, &*self.core.clock)?;
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.written_bytes.fetch_add(payload, Ordering::Relaxed);
        Ok(())
    }

    fn head_is_full(&self, mut refusal: StoreError) -> StoreError {
        if refusal.kind == Kind::Overloaded {
            let (used, max) = (self.core.head_account.used(), self.core.options.head_bytes_max);
            refusal.at = self.disk.describe("");
            refusal.what =
                format!("the head holds {used} of at most {max} bytes and waits to be cut into blocks; send it again");
            if let Some((_, last)) = self.core.last_error() {
                refusal.what.push_str(&format!(" (the last error was: {last})"));
            }
        }
        refusal
    }

    /// What may hold samples of `tenant` within `range` (ns since the epoch, both ends included; `None` is
    /// all), head and blocks at once: each sample in exactly one part. A block that turns out to be
    /// damaged is left out, here and from then on, and [`Store::status`] lists it.
    pub fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        let view = self.core.view();
        let mut parts = Vec::new();
        view.blocks.iter().for_each(|stored| self.add_parts(stored, tenant, range, &mut parts));
        for generation in &view.generations {
            parts.extend(generation.head.parts(tenant, range));
        }
        parts
    }

    /// Types and labels of the same: blocks that lie in the range whole tell theirs without being read, the rest
    /// comes as parts.
    pub fn listing(&self, tenant: &str, range: Option<(i64, i64)>) -> Listing {
        let view = self.core.view();
        let (mut known, mut parts) = (Vec::new(), Vec::new());
        for stored in &view.blocks {
            let meta = stored.block.meta();
            let is_whole = range.is_none_or(|(start, end)| start <= meta.min_time && meta.max_time <= end);
            match &stored.known {
                Some(of_block) if is_whole && meta.tenant == tenant => known.push(of_block.clone()),
                _ => self.add_parts(stored, tenant, range, &mut parts),
            }
        }
        for generation in &view.generations {
            parts.extend(generation.head.parts(tenant, range));
        }
        Listing::new(self.core.names.clone(), known, parts)
    }

    fn add_parts(&self, stored: &StoredBlock, tenant: &str, range: Option<(i64, i64)>, parts: &mut Vec<Arc<dyn Part>>) {
        match stored.block.parts(tenant, range) {
            Ok(found) => parts.extend(found),
            Err(error) => {
                tracing::warn!(block = stored.name, %error, "a block cannot answer");
                self.core.note(&error);
            }
        }
    }

    /// Everything that is due: what other processes wrote to the same bucket, quarantine, one block's
    /// verification, a cut of the head when it is large or old enough, the log's and the catalog's old files.
    /// Call it every second or so from one thread; an error says what could not be done now, and the next
    /// call tries again.
    pub fn maintain(&self) -> Result<(), StoreError> {
        let mut upkeep = self.upkeep()?;
        let outcomes = [
            self.core.refresh(&mut upkeep),
            self.core.open_blocks(&mut upkeep),
            self.core.verify_one(&mut upkeep),
            self.core.quarantine_defects(&mut upkeep),
            self.cut(&mut upkeep, false),
            self.wal.release(upkeep.catalog.covered()),
            upkeep.catalog.tend(),
        ];
        let first_error = outcomes.into_iter().find_map(Result::err);
        first_error.map_or(Ok(()), |error| {
            self.core.note(&error);
            Err(error)
        })
    }

    /// Cuts the whole head now and frees its log.
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut upkeep = self.upkeep()?;
        self.cut(&mut upkeep, true)?;
        self.wal.release(upkeep.catalog.covered())
    }

    fn upkeep(&self) -> Result<MutexGuard<'_, Upkeep>, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::new(Kind::Closed, self.disk.describe(""), "the store is closed"));
        }
        Ok(self.upkeep.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finishes what an earlier call could not, then cuts the generation being written if it is due or
    /// `all` is asked for.
    fn cut(&self, upkeep: &mut Upkeep, all: bool) -> Result<(), StoreError> {
        if upkeep.is_cutting() {
            if !all && upkeep.rests(self.core.clock.monotonic()) {
                return Ok(());
            }
            self.core.finish_cut(upkeep)?;
        }
        if !self.is_cut_due(upkeep, all) {
            return Ok(());
        }
        let (full, through) = self.wal.last_assigned(|through| (self.core.next_generation(), through));
        full.wait_idle();
        self.core.begin_cut(upkeep, full, through);
        self.core.finish_cut(upkeep)
    }

    fn is_cut_due(&self, upkeep: &Upkeep, all: bool) -> bool {
        let options = &self.core.options;
        let view = self.core.view();
        let active = view.active();
        let uncovered = self.wal.last_assigned(|last| last > upkeep.catalog.covered());
        let is_old = active
            .oldest()
            .is_some_and(|oldest| self.core.clock.monotonic().saturating_sub(oldest.monotonic) >= options.head_cut_age);
        let is_large = active.head.bytes() >= options.head_cut_bytes;
        uncovered && (all || is_old || is_large || self.wal.status().bytes >= options.wal_cut_bytes)
    }

    /// Refuses writes from now on, waits for those under way, and gives the directory free. What only the
    /// head has stays in the log, from where the next start takes it; [`Store::flush`] before makes that
    /// start quicker. Reading goes on.
    pub fn close(&self) {
        self.wal.close();
        let upkeep = self.upkeep.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Release);
        drop(upkeep);
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    pub fn status(&self) -> Status {
        let view = self.core.view();
        let wal = self.wal.status();
        Status {
            head_bytes: view.generations.iter().map(|generation| generation.head.bytes()).sum(),
            head_generations: view.generations.len() as u64,
            head_oldest: view.generations.iter().find_map(|generation| generation.oldest()).map(|oldest| oldest.wall),
            wal_bytes: wal.bytes,
            wal_segments: wal.segments,
            wal_syncs: wal.syncs,
            wal_failures: wal.failures,
            writes: self.writes.load(Ordering::Relaxed),
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            writes_refused: self.writes_refused.load(Ordering::Relaxed),
            blocks: view.blocks.len() as u64,
            block_bytes: view.blocks.iter().map(|stored| stored.entry.bytes).sum(),
            cuts: self.core.cuts.load(Ordering::Relaxed),
            cut_failures: self.core.cut_failures.load(Ordering::Relaxed),
            quarantined: self.core.left_out(),
            rejected_records: self.rejected,
            last_error: self.core.last_error(),
            accounts: self.core.budget.accounts(),
            memory_used: self.core.budget.used(),
            memory_total: self.core.budget.total(),
        }
    }

    pub fn budget(&self) -> &Budget {
        &self.core.budget
    }
}
