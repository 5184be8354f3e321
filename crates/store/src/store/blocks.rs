//! Blocks as the store keeps them: named, listed in the catalog, checked.

use std::sync::Arc;

use crate::block::{Block, BlockCache, BlockMeta, CutBlock};
use crate::catalog::BlockEntry;
use crate::error::{Kind, StoreError};
use crate::listing::{Known, Names};
use crate::objects::Objects;
use crate::wal::crc32c;

pub(super) const FOLDER: &str = "blocks";

const META: &str = "meta.json";

/// Read at once when a file's checksum is verified.
const VERIFY_BYTES: u64 = 1 << 20;

/// A block that answers.
pub(super) struct StoredBlock {
    pub(super) name: String,
    pub(super) entry: BlockEntry,
    pub(super) block: Block,
    /// Its types and labels, if it tells them.
    pub(super) known: Option<Known>,
}

fn folder(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// The block that an object belongs to.
pub(super) fn name_of_object(object: &str) -> Option<&str> {
    object.strip_prefix(FOLDER)?.strip_prefix('/')?.split('/').next()
}

/// Puts a block's files and, last, its `meta.json`. It counts only when the catalog names it.
pub(super) fn write(
    objects: &Arc<dyn Objects>,
    cache: &Arc<BlockCache>,
    names: &Names,
    name: String,
    mut cut: CutBlock,
) -> Result<Arc<StoredBlock>, StoreError> {
    let folder = folder(&name);
    let meta_json = cut.meta.to_json()?;
    let mut bytes = meta_json.len() as u64;
    for (file, content) in &cut.files {
        objects.create(&format!("{folder}/{file}"), content)?;
        bytes += content.len() as u64;
    }
    objects.create(&format!("{folder}/{META}"), &meta_json)?;
    let entry =
        BlockEntry { min_time: cut.meta.min_time, max_time: cut.meta.max_time, bytes, meta_crc32c: crc32c(&meta_json) };
    let known = known(names, &mut cut.meta);
    let block = Block::open(objects.clone(), &folder, cut.meta, cache.clone())?;
    Ok(Arc::new(StoredBlock { name, entry, block, known }))
}

/// Reads `meta.json` and checks it against the catalog.
pub(super) fn open(
    objects: &Arc<dyn Objects>,
    cache: &Arc<BlockCache>,
    names: &Names,
    name: &str,
    entry: &BlockEntry,
) -> Result<Arc<StoredBlock>, StoreError> {
    let folder = folder(name);
    let meta_name = format!("{folder}/{META}");
    let at = objects.describe(&meta_name);
    let meta_json = objects.get(&meta_name).map_err(|mut error| {
        if error.kind == Kind::NotFound {
            error.kind = Kind::Corrupt;
        }
        error
    })?;
    if crc32c(&meta_json) != entry.meta_crc32c {
        return Err(StoreError::new(Kind::Corrupt, at, "its bytes are not what was written (the checksum differs)"));
    }
    let mut meta = BlockMeta::from_json(&at, &meta_json)?;
    let known = known(names, &mut meta);
    let block = Block::open(objects.clone(), &folder, meta, cache.clone())?;
    Ok(Arc::new(StoredBlock { name: name.to_owned(), entry: entry.clone(), block, known }))
}

/// Moves the block's types and labels to those of all blocks.
fn known(names: &Names, meta: &mut BlockMeta) -> Option<Known> {
    meta.contents.take().and_then(|contents| names.add(&contents))
}

/// Reads every file of the block. [`Kind::Corrupt`] names the first that is not what was written.
pub(super) fn verify(objects: &dyn Objects, stored: &StoredBlock) -> Result<(), StoreError> {
    for file in &stored.block.meta().files {
        let name = format!("{}/{}", folder(&stored.name), file.name);
        let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
        let mut at = 0;
        while at < file.bytes {
            let end = file.bytes.min(at + VERIFY_BYTES);
            let read = objects.get_range(&name, at..end);
            digest.update(&read.map_err(|mut error| {
                if error.kind == Kind::NotFound {
                    error.kind = Kind::Corrupt;
                }
                error
            })?);
            at = end;
        }
        if digest.finalize() as u32 != file.crc32c {
            let what = "its bytes are not what was written (the checksum differs)";
            return Err(StoreError::new(Kind::Corrupt, objects.describe(&name), what));
        }
    }
    Ok(())
}

/// As far as it goes: a file that stays is in no catalog and is deleted at the next start.
pub(super) fn delete(objects: &dyn Objects, name: &str) {
    let deleted = objects.list(&folder(name)).and_then(|files| {
        for file in files {
            objects.delete(&file.name)?;
        }
        Ok(())
    });
    if let Err(error) = deleted {
        tracing::warn!(%error, block = name, "an unfinished block stays for now");
    }
}
