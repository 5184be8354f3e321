//! Brings profiles that lie elsewhere into a store: the blocks in a Parca's bucket, and files of pprof.
//!
//! It never changes what it reads, and decodes nothing itself: that is `ingest`'s. What came in goes into blocks at once and is
//! remembered with them, so the same thing is never brought in twice, and an import that was ended at any moment goes on where its
//! blocks end. What cannot be read is reported and costs nothing else. Calls block; memory is one head of the store and one batch.
//!
//! Map: [`parca`] blocks of a bucket · [`files`] pprof · [`report`] what came in, and what did not.

pub mod files;
pub mod parca;
pub mod report;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use ingest::Batch;
use store::{Import, Kind, Store, StoreError};

pub use files::FileOptions;
pub use report::{LeftOut, Report};

/// Commits to a bucket that does not answer are tried again so often; the bucket's client has tried for a minute each time.
const ATTEMPTS: u32 = 5;

/// Before the second attempt; doubled each time.
const RETRY: Duration = Duration::from_secs(1);

/// Between two words about how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// How far an import is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// What is being read.
    pub source: &'a str,
    /// Its place among `sources`, from 1 on; 0 where their number is not known.
    pub number: usize,
    pub sources: usize,
    /// Samples that came in so far, from all sources.
    pub samples: u64,
}

/// An import under way.
pub struct Importer<'s> {
    /// `None`: everything is read and nothing kept.
    store: Option<&'s Store>,
    import: Option<Import<'s>>,
    /// What `import` holds beyond `report`.
    pending: Report,
    report: Report,
    tell: Box<dyn FnMut(Progress<'_>) + 's>,
    told: Instant,
}

impl<'s> Importer<'s> {
    /// `tell` is called every few seconds. Without a store everything is read and counted, and nothing kept.
    pub fn new(store: Option<&'s Store>, tell: impl FnMut(Progress<'_>) + 's) -> Self {
        Self {
            store,
            import: None,
            pending: Report::default(),
            report: Report::default(),
            tell: Box::new(tell),
            told: Instant::now(),
        }
    }

    /// Makes the rest durable.
    ///
    /// # Errors
    /// As of all calls here: of the store that is written to, and of nothing that is read. What was committed before stays.
    pub fn finish(mut self) -> Result<Report, StoreError> {
        self.commit()?;
        Ok(self.report)
    }

    /// How far `source` is in the store, or in what is on its way there.
    fn imported(&mut self, source: &str) -> Result<u64, StoreError> {
        match self.store {
            Some(store) => self.import.get_or_insert_with(|| store.import()).imported(source),
            None => Ok(0),
        }
    }

    /// The same for all sources whose names begin with `prefix`, by the rest of their names.
    fn imported_under(&mut self, prefix: &str) -> Result<BTreeMap<String, u64>, StoreError> {
        match self.store {
            Some(store) => self.import.get_or_insert_with(|| store.import()).imported_under(prefix),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Takes a batch, which brings each source of `steps` as far as it says, all in one commit. What is at 0 makes no step.
    fn take(&mut self, batch: &Batch, steps: &[(&str, u64)]) -> Result<(), StoreError> {
        if let Some(store) = self.store {
            let import = self.import.get_or_insert_with(|| store.import());
            import.append(batch)?;
            for &(source, to) in steps.iter().filter(|(_, to)| *to > 0) {
                import.advance(source, to)?;
            }
        }
        self.pending.add(batch);
        if self.import.as_ref().is_some_and(Import::is_full) {
            self.commit()?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(mut import) = self.import.take().filter(|import| !import.is_empty()) {
            let mut wait = RETRY;
            for attempt in 1.. {
                match import.commit() {
                    Ok(()) => break,
                    Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                        thread::sleep(wait);
                        wait *= 2;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.report.merge(std::mem::take(&mut self.pending));
        Ok(())
    }

    fn progress(&mut self, source: &str, number: usize, sources: usize) {
        if self.told.elapsed() < PROGRESS_INTERVAL {
            return;
        }
        self.told = Instant::now();
        let samples = self.report.samples() + self.pending.samples();
        (self.tell)(Progress { source, number, sources, samples });
    }
}

fn may_pass(error: &StoreError) -> bool {
    error.retry_after.is_some() || matches!(error.kind, Kind::Io | Kind::Overloaded)
}

/// Names a source by its content. 128 bits in hexadecimal.
fn name_of(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
