//! Blocks: immutable directories of Parquet and Arrow files (docs/format.md).
//!
//! [`Head::cut`](crate::Head::cut) makes them, [`Block`] reads them: little at a time, verified, and
//! cached within the store's memory budget.
//!
//! Map: [`meta`] meta.json · [`contents`] its types and labels · [`cut`] head -> block · [`subset`] what of a head goes into one ·
//! [`profiles`], [`samples`], [`symbols`] (as [`tables`]) the three kinds of file · [`file`] verified reads ·
//! [`scan`] rows of a samples file · [`cache`] what was read · [`part`] what a query sees.

mod cache;
mod contents;
mod cut;
mod file;
mod meta;
mod part;
mod profiles;
mod samples;
mod scan;
mod subset;
mod symbols;
mod tables;

use std::sync::{Arc, OnceLock};

pub use cache::BlockCache;
pub use contents::{Contents, LABEL_VALUES_MAX, LabelValues, TypeContents};
pub use cut::{CutBlock, SAMPLE_FILES_MAX};
pub use meta::{BlockFile, BlockMeta, CHECKSUM_CHUNK_BYTES, FORMAT_VERSION, PartitionMeta, SampleFileMeta, TableMeta};

use crate::error::{Kind, ReadError, StoreError};
use crate::objects::Objects;
use crate::part::Part;
use cache::Item;
use file::VerifiedFile;
use part::BlockPart;
use profiles::{PROFILES_FILE, ProfileRows};

/// One block that is open for reading. Cheap to open: files are read when something of them is asked for.
pub struct Block {
    shared: Arc<Shared>,
}

/// What a block and its parts have in common.
pub(crate) struct Shared {
    folder: Arc<str>,
    meta: BlockMeta,
    cache: Arc<BlockCache>,
    profiles: Arc<VerifiedFile>,
    symbols: Arc<VerifiedFile>,
    /// By `meta.sample_files`.
    samples: Vec<Arc<VerifiedFile>>,
    defect: OnceLock<StoreError>,
}

impl Block {
    /// `folder` holds the files in `objects`. [`Kind::Corrupt`] when `meta` does not describe a block.
    pub fn open(
        objects: Arc<dyn Objects>,
        folder: &str,
        meta: BlockMeta,
        cache: Arc<BlockCache>,
    ) -> Result<Self, StoreError> {
        let file = |name: &str| match meta.files.iter().find(|file| file.name == name) {
            Some(file) => VerifiedFile::new(objects.clone(), folder, file).map(Arc::new),
            None => {
                let at = objects.describe(&format!("{folder}/meta.json"));
                Err(StoreError::new(Kind::Corrupt, at, format!("lists no file {name}")))
            }
        };
        let shared = Shared {
            folder: folder.into(),
            profiles: file(PROFILES_FILE)?,
            symbols: file(cut::SYMBOLS_FILE)?,
            samples: meta.sample_files.iter().map(|of| file(&of.name)).collect::<Result<_, _>>()?,
            meta,
            cache,
            defect: OnceLock::new(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn meta(&self) -> &BlockMeta {
        &self.shared.meta
    }

    /// The partitions of `tenant` within `range` (ns, both ends included; `None` is all), each complete.
    /// Reads `profiles.parquet` unless it is cached.
    pub fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Result<Vec<Arc<dyn Part>>, ReadError> {
        let meta = &self.shared.meta;
        let within = |min: i64, max: i64| range.is_none_or(|(start, end)| min <= end && max >= start);
        if tenant != meta.tenant || !within(meta.min_time, meta.max_time) {
            return Ok(Vec::new());
        }
        let all: Arc<Vec<Arc<ProfileRows>>> = self.shared.noting(self.shared.cached(Item::Profiles, || {
            let read = profiles::read(&self.shared.profiles, meta)?;
            let bytes = read.iter().map(|rows| rows.bytes()).sum();
            Ok((read, bytes))
        }))?;
        let wanted = meta.partitions.iter().zip(&*all).enumerate();
        let wanted = wanted.filter(|(_, (partition, _))| within(partition.min_time, partition.max_time));
        let part = |(ix, (_, rows)): (usize, (&PartitionMeta, &Arc<ProfileRows>))| {
            Arc::new(BlockPart { block: self.shared.clone(), partition: ix as u32, rows: rows.clone() })
                as Arc<dyn Part>
        };
        Ok(wanted.map(part).collect())
    }

    /// The first defect that any read of it has met; it stays. The store polls this and quarantines.
    pub fn defect(&self) -> Option<StoreError> {
        self.shared.defect.get().cloned()
    }

    /// Drops what the cache holds of it: it is replaced or deleted.
    pub fn forget(&self) {
        self.shared.cache.forget(&self.shared.folder);
    }
}

impl Shared {
    fn cached<T: Send + Sync + 'static>(
        &self,
        item: Item,
        load: impl FnOnce() -> Result<(T, usize), ReadError>,
    ) -> Result<Arc<T>, ReadError> {
        self.cache.get(&self.folder, item, load)
    }

    /// Passes `result` on and keeps the first defect in it.
    fn noting<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(error) = &result
            && error.kind == Kind::Corrupt
        {
            self.defect.get_or_init(|| error.clone());
        }
        result
    }
}

#[cfg(test)]
mod tests;
