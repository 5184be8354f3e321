//! Which blocks exist, and what part of each writer's log they cover.
//!
//! A log of numbered manifests in the object store, each written with create-if-absent: of two writers
//! that want the same number one wins, and the other reads the winner's and takes the next. A snapshot
//! now and then holds the sum of all manifests up to its number.
//!
//! **No number at or below the newest snapshot is ever written.** Manifests that two snapshots have made
//! redundant are deleted only after a grace longer than the longest commit, so that a slow writer finds
//! its number taken and not free again.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::error::{Kind, StoreError};
use crate::objects::Objects;
use crate::options::StoreOptions;
use crate::random::Random;
use crate::record::WalPosition;

pub(crate) const FOLDER: &str = "catalog";

/// Other writers may win this many numbers in a row before a commit gives up for now.
const ATTEMPTS: usize = 32;

/// The log's only shard so far. The format has room for more, so that parts of a head can be cut alone.
const SHARD: u32 = 0;

/// Sources whose import is remembered: some 50 bytes each, in memory and in every snapshot.
const SOURCES_MAX: usize = 1 << 20;

/// What the catalog says about a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockEntry {
    /// ns since the epoch, earliest and latest sample.
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    /// All files together.
    pub(crate) bytes: u64,
    /// CRC32C of `meta.json`, which holds those of the other files.
    pub(crate) meta_crc32c: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QuarantineEntry {
    pub(crate) reason: String,
    /// ns since the epoch.
    pub(crate) since: i64,
}

/// All manifests up to one number, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CatalogState {
    /// By name; quarantined ones too.
    pub(crate) blocks: BTreeMap<String, BlockEntry>,
    /// Writer -> shard -> sequence number of the last write in blocks.
    covered: BTreeMap<String, BTreeMap<u32, u64>>,
    pub(crate) quarantined: BTreeMap<String, QuarantineEntry>,
    /// Source of an import -> how far it is in blocks. It stays when the blocks go.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) imported: BTreeMap<String, u64>,
}

/// How much further the import of a source is in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImportStep {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// What one manifest adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    add: BTreeMap<String, BlockEntry>,
    /// Of the manifest's writer, by shard.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    covered: BTreeMap<u32, u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    quarantine: BTreeMap<String, QuarantineEntry>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    imported: BTreeMap<String, ImportStep>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Manifest {
    number: u64,
    writer: String,
    /// Names the change: whoever does not know whether it got through finds it again by this.
    nonce: u64,
    /// ns since the epoch.
    time: i64,
    change: Changes,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Snapshot {
    number: u64,
    /// ns since the epoch.
    time: i64,
    state: CatalogState,
}

/// A change that keeps its name over all attempts to commit it, so that it is made once.
pub(crate) struct Change {
    nonce: u64,
    changes: Changes,
}

impl Change {
    /// That `blocks` hold all writes up to `covered`.
    pub(crate) fn cut(
        random: &dyn Random,
        blocks: BTreeMap<String, BlockEntry>,
        covered: WalPosition,
    ) -> Result<Self, StoreError> {
        let covered = BTreeMap::from([(SHARD, covered.0)]);
        let changes = Changes { add: blocks, covered, ..Changes::default() };
        Ok(Self { nonce: random.u64()?, changes })
    }

    pub(crate) fn quarantine(random: &dyn Random, block: String, entry: QuarantineEntry) -> Result<Self, StoreError> {
        let changes = Changes { quarantine: BTreeMap::from([(block, entry)]), ..Changes::default() };
        Ok(Self { nonce: random.u64()?, changes })
    }

    /// That `blocks` hold these steps of an import. The change is refused where another import took one of them.
    pub(crate) fn import(
        random: &dyn Random,
        blocks: BTreeMap<String, BlockEntry>,
        steps: BTreeMap<String, ImportStep>,
    ) -> Result<Self, StoreError> {
        let changes = Changes { add: blocks, imported: steps, ..Changes::default() };
        Ok(Self { nonce: random.u64()?, changes })
    }
}

pub(crate) struct Catalog {
    objects: Arc<dyn Objects>,
    clock: Arc<dyn Clock>,
    writer: String,
    snapshot_every: u64,
    /// ns
    grace: i64,
    state: CatalogState,
    /// Of the last manifest in `state`; 0 for none.
    number: u64,
    /// Number and time of the newest snapshot; 0 for none.
    snapshot: (u64, i64),
    /// Nothing of the log is replayed yet, so what earlier runs of this writer did is history; later it
    /// would be the work of a second process.
    opening: bool,
    /// Changes of this run whose fate was once unknown -> whether they were found in the log since.
    uncertain: BTreeMap<u64, bool>,
}

impl Catalog {
    /// Reads the newest snapshot that is whole and the manifests after it.
    pub(crate) fn open(
        objects: Arc<dyn Objects>,
        clock: Arc<dyn Clock>,
        writer: String,
        options: &StoreOptions,
    ) -> Result<Self, StoreError> {
        let mut catalog = Self {
            objects,
            clock,
            writer,
            snapshot_every: options.snapshot_every.max(1),
            grace: i64::try_from(options.manifest_grace.as_nanos()).unwrap_or(i64::MAX),
            state: CatalogState::default(),
            number: 0,
            snapshot: (0, 0),
            opening: true,
            uncertain: BTreeMap::new(),
        };
        let listing = catalog.list()?;
        for number in listing.snapshots.iter().rev() {
            match catalog.load_snapshot(*number) {
                Ok(()) => break,
                // an older one and the manifests after it say the same
                Err(error) if error.kind == Kind::Corrupt => tracing::warn!(%error, "a snapshot is passed over"),
                Err(error) => return Err(error),
            }
        }
        catalog.follow(&listing)?;
        catalog.opening = false;
        Ok(catalog)
    }

    pub(crate) fn state(&self) -> &CatalogState {
        &self.state
    }

    /// Of the last manifest in [`Catalog::state`]; 0 for none.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// How far this writer's log is in blocks.
    pub(crate) fn covered(&self) -> WalPosition {
        let shards = self.state.covered.get(&self.writer);
        WalPosition(shards.and_then(|shards| shards.values().min().copied()).unwrap_or(0))
    }

    /// Takes the next number without changing anything, so that no commit of an earlier run that is still
    /// on its way can come true any more. Call it before the log is replayed; until then what this writer
    /// finds of its own is history.
    pub(crate) fn fence(&mut self, random: &dyn Random) -> Result<(), StoreError> {
        let nothing = Change { nonce: random.u64()?, changes: Changes::default() };
        self.opening = true;
        let fenced = self.commit(&nothing);
        self.opening = false;
        fenced
    }

    /// Makes `change` once, however often this is called with it. After an error it may have been made or
    /// not; calling again with the same change settles it.
    pub(crate) fn commit(&mut self, change: &Change) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            self.refresh()?;
            if self.uncertain.get(&change.nonce) == Some(&true) {
                self.uncertain.remove(&change.nonce);
                return Ok(());
            }
            self.check_imported(change)?;
            let manifest = Manifest {
                number: self.number + 1,
                writer: self.writer.clone(),
                nonce: change.nonce,
                time: self.clock.now_ns(),
                change: change.changes.clone(),
            };
            let name = file::manifest_name(manifest.number);
            match self.objects.create(&name, &file::encode(&manifest)?) {
                Ok(()) => {
                    self.uncertain.remove(&change.nonce);
                    self.apply(manifest);
                    self.snapshot_if_due();
                    return Ok(());
                }
                Err(error) => {
                    self.uncertain.entry(change.nonce).or_insert(false);
                    if error.kind != Kind::AlreadyExists && !self.is_at(&manifest) {
                        return Err(error);
                    }
                }
            }
        }
        let what = format!("other writers were first {ATTEMPTS} times in a row");
        Err(StoreError::new(Kind::Overloaded, self.objects.describe(FOLDER), what))
    }

    /// Whether all steps of imports begin where the catalog is.
    fn check_imported(&self, change: &Change) -> Result<(), StoreError> {
        let steps = &change.changes.imported;
        let known = &self.state.imported;
        let at = || self.objects.describe(FOLDER);
        if let Some((source, _)) =
            steps.iter().find(|(source, step)| known.get(*source).copied().unwrap_or(0) != step.from)
        {
            let what = format!("another import has brought in {source} meanwhile");
            return Err(StoreError::new(Kind::AlreadyExists, at(), what));
        }
        let new = steps.keys().filter(|source| !known.contains_key(*source)).count();
        if new > 0 && known.len() + new > SOURCES_MAX {
            let what =
                format!("imports of {SOURCES_MAX} sources are remembered, which is the limit; merge files first");
            return Err(StoreError::new(Kind::Invalid, at(), what));
        }
        Ok(())
    }

    /// Whether this very manifest is there after all.
    fn is_at(&self, manifest: &Manifest) -> bool {
        let found = self.read_manifest(manifest.number);
        found.is_ok_and(|found| found.writer == manifest.writer && found.nonce == manifest.nonce)
    }

    /// Takes over what others have committed.
    pub(crate) fn refresh(&mut self) -> Result<(), StoreError> {
        let listing = self.list()?;
        self.follow(&listing)
    }

    fn follow(&mut self, listing: &Listing) -> Result<(), StoreError> {
        let newest = listing.newest();
        while self.number < newest {
            let next = self.number + 1;
            if listing.manifests.binary_search(&next).is_err() {
                // only a snapshot can know what a deleted manifest said
                match listing.snapshots.iter().rev().find(|number| **number > self.number) {
                    Some(number) => self.load_snapshot(*number)?,
                    None => {
                        let at = self.objects.describe(&file::manifest_name(next));
                        let what = format!(
                            "is missing, and {newest} is there; without it the catalog would forget blocks. \
                             Restore the file from a backup"
                        );
                        return Err(StoreError::new(Kind::Corrupt, at, what));
                    }
                }
                continue;
            }
            let manifest = self.read_manifest(next)?;
            if manifest.writer == self.writer {
                match self.uncertain.get_mut(&manifest.nonce) {
                    Some(landed) => *landed = true,
                    None if self.opening => {}
                    None => {
                        let what = "was written by this writer but not by this process; the head would count \
                                    its writes twice. Restart the server";
                        let at = self.objects.describe(&file::manifest_name(next));
                        return Err(StoreError::new(Kind::Closed, at, what));
                    }
                }
            }
            self.apply(manifest);
        }
        Ok(())
    }

    fn apply(&mut self, manifest: Manifest) {
        let Changes { add, covered, quarantine, imported } = manifest.change;
        self.number = manifest.number;
        self.state.blocks.extend(add);
        self.state.quarantined.extend(quarantine);
        self.state.imported.extend(imported.into_iter().map(|(source, step)| (source, step.to)));
        let shards = self.state.covered.entry(manifest.writer).or_default();
        for (shard, sequence) in covered {
            let known = shards.entry(shard).or_default();
            *known = sequence.max(*known);
        }
    }

    fn snapshot_if_due(&mut self) {
        if self.number - self.snapshot.0 < self.snapshot_every {
            return;
        }
        let snapshot = Snapshot { number: self.number, time: self.clock.now_ns(), state: self.state.clone() };
        let written =
            file::encode(&snapshot).and_then(|bytes| self.objects.create(&file::snapshot_name(self.number), &bytes));
        match written {
            Ok(()) => self.snapshot = (snapshot.number, snapshot.time),
            // the manifests say the same, and the next commit tries again
            Err(error) => tracing::warn!(%error, "no snapshot of the catalog"),
        }
    }

    /// Deletes what the snapshot before the newest has made redundant, once the newest is old enough.
    pub(crate) fn tend(&mut self) -> Result<(), StoreError> {
        let (newest, time) = self.snapshot;
        if newest == 0 || self.clock.now_ns().saturating_sub(time) <= self.grace {
            return Ok(());
        }
        let listing = self.list()?;
        let Some(kept) = listing.snapshots.iter().copied().rfind(|number| *number < newest) else { return Ok(()) };
        for number in listing.manifests.iter().filter(|number| **number <= kept) {
            self.objects.delete(&file::manifest_name(*number))?;
        }
        for number in listing.snapshots.iter().filter(|number| **number < kept) {
            self.objects.delete(&file::snapshot_name(*number))?;
        }
        Ok(())
    }

    fn load_snapshot(&mut self, number: u64) -> Result<(), StoreError> {
        let name = file::snapshot_name(number);
        let at = self.objects.describe(&name);
        let snapshot: Snapshot = file::decode(&at, &self.objects.get(&name)?)?;
        if snapshot.number != number {
            return Err(StoreError::new(Kind::Corrupt, at, format!("says it is snapshot {}", snapshot.number)));
        }
        self.number = number;
        self.snapshot = (number, snapshot.time);
        self.state = snapshot.state;
        Ok(())
    }

    fn read_manifest(&self, number: u64) -> Result<Manifest, StoreError> {
        let name = file::manifest_name(number);
        let at = self.objects.describe(&name);
        let manifest: Manifest = file::decode(&at, &self.objects.get(&name)?)?;
        if manifest.number != number {
            return Err(StoreError::new(Kind::Corrupt, at, format!("says it is manifest {}", manifest.number)));
        }
        Ok(manifest)
    }

    fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for entry in self.objects.list(FOLDER)? {
            match file::parse_name(&entry.name) {
                Some(file::Name::Manifest(number)) => listing.manifests.push(number),
                Some(file::Name::Snapshot(number)) => listing.snapshots.push(number),
                None => {}
            }
        }
        listing.manifests.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }
}

/// Numbers, ascending.
#[derive(Default)]
struct Listing {
    manifests: Vec<u64>,
    snapshots: Vec<u64>,
}

impl Listing {
    fn newest(&self) -> u64 {
        let last = |numbers: &[u64]| numbers.last().copied().unwrap_or(0);
        last(&self.manifests).max(last(&self.snapshots))
    }
}
