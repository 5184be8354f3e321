//! Profiles that come from elsewhere and are there still: they go into blocks at once, without the log.

use std::collections::BTreeMap;

use profile::Batch;

use super::Store;
use super::blocks;
use super::core::Written;
use crate::budget::Lease;
use crate::catalog::{Change, ImportStep};
use crate::error::{Kind, StoreError};
use crate::head::Head;

/// Batches that become blocks together.
///
/// *Exactly once.* The manifest that names the blocks says too how far each source is in them. So after a crash at any moment an
/// import goes on where the catalog says, and of two imports of one source at once only one gets each step.
pub struct Import<'s> {
    store: &'s Store,
    head: Head,
    lease: Lease,
    steps: BTreeMap<String, ImportStep>,
    /// Its blocks lie in the object store; the catalog may or may not know them.
    written: Option<Written>,
}

impl Store {
    pub fn import(&self) -> Import<'_> {
        let account = self.core.budget.account("import", self.core.options.head_bytes_max);
        Import {
            store: self,
            head: self.core.new_head(),
            lease: account.empty_lease(),
            steps: BTreeMap::new(),
            written: None,
        }
    }

    /// How far the import of `source` is in blocks, in a unit of the importer's; 0 if nothing of it is.
    pub fn imported(&self, source: &str) -> Result<u64, StoreError> {
        Ok(self.upkeep()?.catalog.state().imported.get(source).copied().unwrap_or(0))
    }

    /// [`Store::imported`] of all sources whose names begin with `prefix`, by the rest of them.
    fn imported_under(&self, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let upkeep = self.upkeep()?;
        let sources = upkeep.catalog.state().imported.range(prefix.to_owned()..);
        let sources = sources.map_while(|(source, at)| Some((source.strip_prefix(prefix)?.to_owned(), *at)));
        Ok(sources.collect())
    }
}

impl Import<'_> {
    /// Takes a batch into memory. Call it no more once [`Import::is_full`], nor before a commit that failed is settled.
    pub fn append(&mut self, batch: &Batch) -> Result<(), StoreError> {
        debug_assert!(self.written.is_none(), "a commit is not settled");
        self.head.append(batch)?;
        self.lease.set(self.head.bytes());
        Ok(())
    }

    /// What was appended brings `source` from where [`Store::imported`] is to `to`.
    pub fn advance(&mut self, source: &str, to: u64) -> Result<(), StoreError> {
        match self.steps.get_mut(source) {
            Some(step) => step.to = to,
            None => {
                let from = self.store.imported(source)?;
                self.steps.insert(source.to_owned(), ImportStep { from, to });
            }
        }
        Ok(())
    }

    /// [`Store::imported`], with what was appended here.
    pub fn imported(&self, source: &str) -> Result<u64, StoreError> {
        self.steps.get(source).map_or_else(|| self.store.imported(source), |step| Ok(step.to))
    }

    /// [`Import::imported`] of all sources whose names begin with `prefix`, by the rest of them.
    pub fn imported_under(&self, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut sources = self.store.imported_under(prefix)?;
        let steps = self.steps.range(prefix.to_owned()..);
        sources.extend(steps.map_while(|(source, step)| Some((source.strip_prefix(prefix)?.to_owned(), step.to))));
        Ok(sources)
    }

    /// Whether it holds as much as a head that is cut.
    pub fn is_full(&self) -> bool {
        self.head.bytes() >= self.store.core.options.head_cut_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Makes all of it durable and visible, in one step; then it is empty again. After an error that is not [`Kind::AlreadyExists`]
    /// nobody knows, and calling again settles it; after that one another import was first, and nothing of this one is kept.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        let core = &self.store.core;
        let mut upkeep = self.store.upkeep()?;
        let written = match self.written.take() {
            Some(written) => written,
            None => {
                let steps = self.steps.clone();
                core.write_blocks(&self.head, |entries| Change::import(&*core.random, entries, steps))?
            }
        };
        let committed = upkeep.catalog.commit(&written.change);
        match &committed {
            Ok(()) => core.change_view(|view| view.blocks.extend(written.blocks)),
            Err(error) if error.kind == Kind::AlreadyExists => {
                written.blocks.iter().for_each(|stored| blocks::delete(&*core.objects, &stored.name));
            }
            Err(_) => {
                self.written = Some(written);
                return committed;
            }
        }
        // sent once more, the change would be refused as another's and its blocks be deleted
        self.head = core.new_head();
        self.steps.clear();
        self.lease.set(0);
        committed
    }
}
