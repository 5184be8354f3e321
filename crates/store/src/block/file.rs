//! Reads of a block's file, verified against the checksums of `meta.json`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::meta::{BlockFile, CHECKSUM_CHUNK_BYTES};
use crate::error::{Kind, ReadError, StoreError};
use crate::objects::Objects;
use crate::wal::crc32c;

/// One file. Each piece is verified when it is first read; later reads trust the disk.
pub(crate) struct VerifiedFile {
    objects: Arc<dyn Objects>,
    name: String,
    file: BlockFile,
    verified: Vec<AtomicBool>,
}

impl VerifiedFile {
    /// The file as `meta.json` describes it, in the block's `folder`.
    pub(crate) fn new(objects: Arc<dyn Objects>, folder: &str, file: &BlockFile) -> Result<Self, ReadError> {
        let name = format!("{folder}/{}", file.name);
        let chunks = file.bytes.div_ceil(CHECKSUM_CHUNK_BYTES);
        if chunks != file.chunks.len() as u64 {
            return Err(StoreError::new(Kind::Corrupt, name, "meta.json lists another number of checksums"));
        }
        let verified = file.chunks.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Self { objects, name, file: file.clone(), verified })
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> ReadError {
        StoreError::new(Kind::Corrupt, self.objects.describe(&self.name), what)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.file.bytes
    }

    pub(crate) fn read(&self, offset: u64, len: u64) -> Result<Bytes, ReadError> {
        let end = offset.checked_add(len).filter(|end| *end <= self.file.bytes);
        let Some(end) = end else {
            return Err(self.corrupt(format!("{len} bytes at {offset} lie past the end, {}", self.file.bytes)));
        };
        if len == 0 {
            return Ok(Bytes::new());
        }
        let chunks = (offset / CHECKSUM_CHUNK_BYTES) as usize..end.div_ceil(CHECKSUM_CHUNK_BYTES) as usize;
        if self.verified[chunks.clone()].iter().all(|chunk| chunk.load(Ordering::Relaxed)) {
            return self.get(offset, len);
        }
        let start = chunks.start as u64 * CHECKSUM_CHUNK_BYTES;
        let stop = (chunks.end as u64 * CHECKSUM_CHUNK_BYTES).min(self.file.bytes);
        let whole = self.get(start, stop - start)?;
        for (ix, piece) in chunks.zip(whole.chunks(CHECKSUM_CHUNK_BYTES as usize)) {
            if crc32c(piece) != self.file.chunks[ix] {
                let at = ix as u64 * CHECKSUM_CHUNK_BYTES;
                return Err(self.corrupt(format!("checksum mismatch in the {} bytes at {at}", piece.len())));
            }
            self.verified[ix].store(true, Ordering::Relaxed);
        }
        let skip = (offset - start) as usize;
        Ok(whole.slice(skip..skip + len as usize))
    }

    fn get(&self, offset: u64, len: u64) -> Result<Bytes, ReadError> {
        let bytes = self.objects.get_range(&self.name, offset..offset + len)?;
        match bytes.len() as u64 == len {
            true => Ok(bytes),
            false => Err(self.corrupt(format!("{} of {len} bytes at {offset} are there", bytes.len()))),
        }
    }
}

/// The file, or a stretch of it already in memory, as Parquet's readers want it.
pub(crate) struct Source {
    pub(crate) file: Arc<VerifiedFile>,
    /// Where the stretch begins, and the stretch.
    pub(crate) held: Option<(u64, Bytes)>,
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.file.bytes()
    }
}

/// Carries a [`ReadError`] through Parquet's own error type.
pub(crate) fn into_parquet(error: ReadError) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// What went wrong below Parquet, or else a defect of the file.
pub(crate) fn from_parquet(file: &VerifiedFile, error: ParquetError) -> ReadError {
    match error {
        ParquetError::External(inner) => match inner.downcast::<StoreError>() {
            Ok(error) => *error,
            Err(other) => file.corrupt(other.to_string()),
        },
        other => file.corrupt(other.to_string()),
    }
}

impl ChunkReader for Source {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        // only page headers are read this way, and only where there is no page index
        let len = (self.file.bytes().saturating_sub(start)).min(CHECKSUM_CHUNK_BYTES);
        Ok(self.get_bytes(start, len as usize)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if let Some((at, held)) = &self.held {
            let inside = start.checked_sub(*at).map(|skip| skip as usize);
            if let Some(skip) = inside.filter(|skip| skip + length <= held.len()) {
                return Ok(held.slice(skip..skip + length));
            }
        }
        self.file.read(start, length as u64).map_err(into_parquet)
    }
}
