//! Everything of the store but its log: what readers see, and the way from the head into blocks.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use super::blocks::{self, StoredBlock};
use super::generation::Generation;
use crate::block::BlockCache;
use crate::budget::{Account, Budget};
use crate::catalog::{BlockEntry, Catalog, Change, QuarantineEntry};
use crate::clock::Clock;
use crate::error::{Kind, StoreError};
use crate::head::Head;
use crate::listing::Names;
use crate::objects::Objects;
use crate::options::StoreOptions;
use crate::random::Random;
use crate::record::WalPosition;
use crate::status::Quarantined;

/// After a failed cut; doubled each time.
const CUT_RETRY: Duration = Duration::from_secs(1);
const CUT_RETRY_MAX: Duration = Duration::from_secs(60);

pub(super) struct Core {
    pub(super) options: StoreOptions,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) budget: Budget,
    pub(super) cache: Arc<BlockCache>,
    pub(super) names: Arc<Names>,
    pub(super) head_account: Account,
    /// Names this writer's log and blocks.
    pub(super) writer: String,
    hash_key: [u64; 2],
    view: RwLock<Arc<View>>,
    /// Blocks that are left out of all answers, newest last.
    left_out: Mutex<Vec<Quarantined>>,
    last_error: Mutex<Option<(i64, String)>>,
    pub(super) cuts: AtomicU64,
    pub(super) cut_failures: AtomicU64,
}

/// What readers see. A cut swaps a generation for its blocks in one step, so that every sample is in
/// exactly one of them.
pub(super) struct View {
    /// Oldest first; the last one is written.
    pub(super) generations: Vec<Arc<Generation>>,
    pub(super) blocks: Vec<Arc<StoredBlock>>,
}

impl View {
    pub(super) fn active(&self) -> &Arc<Generation> {
        &self.generations[self.generations.len() - 1]
    }
}

/// What only one thread at a time may do.
pub(super) struct Upkeep {
    pub(super) catalog: Catalog,
    pending: Option<Pending>,
    /// Failures of the pending cut so far, and when (monotonic) it is worth another try: each encodes the
    /// whole head again.
    failed_cuts: u32,
    cut_again_at: Duration,
    /// Blocks that could not be read yet, though nothing says that they are damaged.
    pub(super) unopened: Vec<(String, BlockEntry)>,
    /// Blocks of earlier runs, whose files may have changed since; the next is the last.
    unverified: Vec<Arc<StoredBlock>>,
    /// Left out already, and not yet so in the catalog.
    condemned: Vec<Change>,
    /// When (monotonic) to look again for what other processes have written.
    refresh_at: Duration,
    /// The manifest up to which the view has what others have written.
    refreshed_to: u64,
}

/// A generation that nobody writes to any more, on its way into blocks.
struct Pending {
    generation: Arc<Generation>,
    through: WalPosition,
    /// Its blocks lie in the object store; the catalog may or may not know them.
    written: Option<Written>,
}

pub(super) struct Written {
    pub(super) change: Change,
    pub(super) blocks: Vec<Arc<StoredBlock>>,
}

impl Upkeep {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self {
            catalog,
            pending: None,
            failed_cuts: 0,
            cut_again_at: Duration::ZERO,
            unopened: Vec::new(),
            unverified: Vec::new(),
            condemned: Vec::new(),
            refresh_at: Duration::ZERO,
            refreshed_to: 0,
        }
    }

    pub(super) fn is_cutting(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether the last failure is so recent that the next one is likely.
    pub(super) fn rests(&self, now: Duration) -> bool {
        self.failed_cuts > 0 && now < self.cut_again_at
    }
}

impl Core {
    pub(super) fn new(
        options: StoreOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        objects: Arc<dyn Objects>,
        writer: String,
    ) -> Result<Self, StoreError> {
        let budget = Budget::new(options.memory_bytes);
        let head_account = budget.account("head", options.head_bytes_max);
        let cache = BlockCache::new(&budget, options.block_cache_bytes);
        let names = Names::new(&budget.account("names", options.names_bytes_max));
        let hash_key = [random.u64()?, random.u64()?];
        let first = Arc::new(Generation::new(hash_key, head_account.empty_lease()));
        Ok(Self {
            options,
            clock,
            random,
            objects,
            budget,
            cache,
            names,
            head_account,
            writer,
            hash_key,
            view: RwLock::new(Arc::new(View { generations: vec![first], blocks: Vec::new() })),
            left_out: Mutex::default(),
            last_error: Mutex::default(),
            cuts: AtomicU64::new(0),
            cut_failures: AtomicU64::new(0),
        })
    }

    pub(super) fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The change is seen whole or not at all.
    pub(super) fn change_view<T>(&self, change: impl FnOnce(&mut View) -> T) -> T {
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = View { generations: view.generations.clone(), blocks: view.blocks.clone() };
        let out = change(&mut next);
        *view = Arc::new(next);
        out
    }

    /// One that is not read until its blocks are.
    pub(super) fn new_head(&self) -> Head {
        Head::new(self.hash_key)
    }

    /// Begins a new generation and returns the one before.
    pub(super) fn next_generation(&self) -> Arc<Generation> {
        let next = Arc::new(Generation::new(self.hash_key, self.head_account.empty_lease()));
        self.change_view(|view| {
            let last = view.active().clone();
            view.generations.push(next);
            last
        })
    }

    /// Hands over a generation that holds all writes up to `through` above the last cut, and no other.
    pub(super) fn begin_cut(&self, upkeep: &mut Upkeep, generation: Arc<Generation>, through: WalPosition) {
        debug_assert!(upkeep.pending.is_none(), "one cut at a time");
        upkeep.pending = Some(Pending { generation, through, written: None });
    }

    /// Brings the pending generation into blocks, if there is one. After an error all is as readable as
    /// before, and the next call goes on where this one stopped.
    pub(super) fn finish_cut(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let Some(pending) = &mut upkeep.pending else { return Ok(()) };
        let finished = self.write_and_commit(pending, &mut upkeep.catalog);
        match finished {
            Ok(blocks) => {
                self.change_view(|view| {
                    view.generations.retain(|generation| !Arc::ptr_eq(generation, &pending.generation));
                    view.blocks.extend(blocks);
                });
                upkeep.pending = None;
                upkeep.failed_cuts = 0;
                self.cuts.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                let wait = CUT_RETRY.saturating_mul(1 << upkeep.failed_cuts.min(16)).min(CUT_RETRY_MAX);
                upkeep.failed_cuts += 1;
                upkeep.cut_again_at = self.clock.monotonic() + wait;
                self.cut_failures.fetch_add(1, Ordering::Relaxed);
                self.note(&error);
                Err(error)
            }
        }
    }

    fn write_and_commit(
        &self,
        pending: &mut Pending,
        catalog: &mut Catalog,
    ) -> Result<Vec<Arc<StoredBlock>>, StoreError> {
        let written = match &pending.written {
            Some(written) => written,
            None => {
                let through = pending.through;
                let cut = |entries| Change::cut(&*self.random, entries, through);
                pending.written.insert(self.write_blocks(&pending.generation.head, cut)?)
            }
        };
        catalog.commit(&written.change)?;
        Ok(written.blocks.clone())
    }

    /// Writes `head` as blocks; `change` names them.
    pub(super) fn write_blocks(
        &self,
        head: &Head,
        change: impl FnOnce(BTreeMap<String, BlockEntry>) -> Result<Change, StoreError>,
    ) -> Result<Written, StoreError> {
        let mut blocks: Vec<Arc<StoredBlock>> = Vec::new();
        let mut begun: Vec<String> = Vec::new();
        let cut = head.cut(self.options.block_window_ns, &mut |cut| {
            let name = self.block_name()?;
            begun.push(name.clone());
            blocks.push(blocks::write(&self.objects, &self.cache, &self.names, name, cut)?);
            Ok(())
        });
        let change = cut
            .and_then(|()| change(blocks.iter().map(|stored| (stored.name.clone(), stored.entry.clone())).collect()));
        match change {
            Ok(change) => Ok(Written { change, blocks }),
            Err(error) => {
                // no manifest names them, so nobody reads them
                begun.iter().for_each(|name| blocks::delete(&*self.objects, name));
                Err(error)
            }
        }
    }

    /// `<ms since the epoch>-<writer>-<random>`: sorts by time, and says whose it is.
    fn block_name(&self) -> Result<String, StoreError> {
        let milliseconds = self.clock.now_ns().max(0) / 1_000_000;
        Ok(format!("{milliseconds:013}-{}-{:08x}", self.writer, self.random.u64()? as u32))
    }

    pub(super) fn is_own_block(&self, name: &str) -> bool {
        name.split('-').nth(1) == Some(&self.writer)
    }

    /// Opens the blocks that are not open yet. One that is damaged or too new is given up, one that cannot
    /// be read now is tried again by the next call.
    pub(super) fn open_blocks(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let mut opened = Vec::new();
        for (name, entry) in std::mem::take(&mut upkeep.unopened) {
            self.forget_left_out(&name);
            match blocks::open(&self.objects, &self.cache, &self.names, &name, &entry) {
                Ok(stored) => opened.push(stored),
                Err(defect) if defect.kind == Kind::Corrupt => self.condemn(upkeep, &name, &defect)?,
                Err(error) => {
                    self.leave_out(&name, &error.to_string(), self.clock.now_ns());
                    if error.kind != Kind::TooNew {
                        upkeep.unopened.push((name, entry));
                    }
                }
            }
        }
        if !opened.is_empty() {
            upkeep.unverified.extend(opened.iter().cloned());
            self.change_view(|view| view.blocks.extend(opened));
        }
        Ok(())
    }

    /// Takes over what other processes have committed to the same bucket, if it is time: their new blocks are
    /// to be opened, and what they found damaged is left out.
    pub(super) fn refresh(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        if now < upkeep.refresh_at {
            return Ok(());
        }
        upkeep.refresh_at = now + self.options.catalog_refresh;
        upkeep.catalog.refresh()?;
        if upkeep.catalog.number() == upkeep.refreshed_to {
            return Ok(());
        }
        upkeep.refreshed_to = upkeep.catalog.number();
        let view = self.view();
        let left_out: HashSet<String> = self.left_out().into_iter().map(|left_out| left_out.block).collect();
        let mut known: HashSet<&str> = view.blocks.iter().map(|stored| stored.name.as_str()).collect();
        known.extend(upkeep.unopened.iter().map(|(name, _)| name.as_str()));
        known.extend(left_out.iter().map(String::as_str));
        let state = upkeep.catalog.state();
        // own blocks come from the head, in the step that takes it away
        let is_new = |name: &str| !known.contains(name) && !self.is_own_block(name);
        let new: Vec<_> = state
            .blocks
            .iter()
            .filter(|(name, _)| is_new(name) && !state.quarantined.contains_key(*name))
            .map(|(name, entry)| (name.clone(), entry.clone()))
            .collect();
        for (name, quarantine) in state.quarantined.iter().filter(|(name, _)| !left_out.contains(*name)) {
            if let Some(stored) = view.blocks.iter().find(|stored| stored.name == *name) {
                self.change_view(|view| view.blocks.retain(|block| block.name != *name));
                stored.block.forget();
            }
            self.leave_out(name, &quarantine.reason, quarantine.since);
        }
        upkeep.unopened.extend(new);
        Ok(())
    }

    /// Takes blocks that turned out to be damaged out of all answers, and writes that down.
    pub(super) fn quarantine_defects(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        for stored in &self.view().blocks {
            if let Some(defect) = stored.block.defect() {
                self.quarantine(upkeep, stored, &defect)?;
            }
        }
        while let Some(change) = upkeep.condemned.first() {
            upkeep.catalog.commit(change)?;
            upkeep.condemned.remove(0);
        }
        Ok(())
    }

    pub(super) fn quarantine(
        &self,
        upkeep: &mut Upkeep,
        stored: &StoredBlock,
        defect: &StoreError,
    ) -> Result<(), StoreError> {
        self.change_view(|view| view.blocks.retain(|block| block.name != stored.name));
        stored.block.forget();
        self.condemn(upkeep, &stored.name, defect)
    }

    /// Lists the block as damaged; [`Core::quarantine_defects`] writes it into the catalog.
    pub(super) fn condemn(&self, upkeep: &mut Upkeep, name: &str, defect: &StoreError) -> Result<(), StoreError> {
        let entry = QuarantineEntry { reason: defect.to_string(), since: self.clock.now_ns() };
        self.leave_out(name, &entry.reason, entry.since);
        upkeep.condemned.push(Change::quarantine(&*self.random, name.to_owned(), entry)?);
        Ok(())
    }

    pub(super) fn leave_out(&self, name: &str, reason: &str, since: i64) {
        tracing::error!(block = name, reason, "a block is left out of all answers");
        let left_out = Quarantined { block: name.to_owned(), reason: reason.to_owned(), since };
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).push(left_out);
    }

    fn forget_left_out(&self, name: &str) {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).retain(|left_out| left_out.block != name);
    }

    pub(super) fn left_out(&self) -> Vec<Quarantined> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies one block of an earlier run, if one is left.
    pub(super) fn verify_one(&self, upkeep: &mut Upkeep) -> Result<(), StoreError> {
        let Some(stored) = upkeep.unverified.pop() else { return Ok(()) };
        match blocks::verify(&*self.objects, &stored) {
            Err(defect) if defect.kind == Kind::Corrupt => {
                if self.view().blocks.iter().any(|block| block.name == stored.name) {
                    self.quarantine(upkeep, &stored, &defect)?;
                }
                Ok(())
            }
            Err(error) => {
                upkeep.unverified.insert(0, stored);
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Remembers what went wrong last.
    pub(super) fn note(&self, error: &StoreError) {
        let noted = (self.clock.now_ns(), error.to_string());
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(noted);
    }

    pub(super) fn last_error(&self) -> Option<(i64, String)> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
