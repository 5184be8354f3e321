//! Source files that were uploaded beside a binary: one tar archive per build ID, packed with gzip or zstd.
//!
//! An archive is read in pieces and unpacked as it comes, never kept: of all that is in it, memory holds the one
//! file that was asked for.

mod tar;

use std::fmt;
use std::io::Write;

use bucket::{Bucket, StoreError};
use bytes::Bytes;
use store::Account;

use crate::build_id::BuildId;
use crate::metadata::{DebuginfoType, object_name};
use tar::Finder;

/// Read from the bucket at once. A megabyte is some milliseconds of unpacking.
const PIECE_BYTES: u64 = 1 << 20;

/// What zstd may keep of what it has unpacked: all that its levels up to 19 want, and four times that.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

/// Leased for each archive that is read: a piece, the decoder's window and its tables.
const READING_BYTES: u64 = PIECE_BYTES + (1 << ZSTD_WINDOW_LOG_MAX) + (1 << 20);

#[derive(Clone, Copy, Debug)]
pub struct SourceOptions {
    /// Of one file. Larger than any source, and with room in a reply.
    pub file_bytes_max: u64,
    /// Of an archive, unpacked: what is small when packed may be without end.
    pub archive_bytes_max: u64,
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self { file_bytes_max: 32 << 20, archive_bytes_max: 8 << 30 }
    }
}

#[derive(Clone, Debug)]
pub enum SourceError {
    /// The caller said that nobody waits any more.
    GivenUp,
    /// What was uploaded is no archive that can be read.
    Unreadable(String),
    /// The bucket failed, or there is no memory.
    Store(StoreError),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GivenUp => f.write_str("the search for a source file was given up"),
            Self::Unreadable(what) => write!(f, "the sources cannot be read: {what}; upload them again"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SourceError {}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The archives of one bucket.
pub struct Sources {
    bucket: Bucket,
    options: SourceOptions,
    memory: Account,
}

impl Sources {
    pub fn new(bucket: Bucket, options: SourceOptions, memory: Account) -> Self {
        Self { bucket, options, memory }
    }

    /// Whether sources were uploaded under a build ID. What is no build ID has none.
    pub async fn exist(&self, build_id: &str) -> Result<bool, SourceError> {
        let Ok(id) = BuildId::parse(build_id) else { return Ok(false) };
        Ok(self.bucket.size(&object_name(&id, DebuginfoType::Sources)).await?.is_some())
    }

    /// A file by its name, with or without `/` or `./` in front; `None` if there are no sources or it is not
    /// among them. Between pieces `go_on` is asked.
    ///
    /// Unpacks on the thread that polls it, which should be one that may block.
    pub async fn find(
        &self,
        build_id: &str,
        filename: &str,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<u8>>, SourceError> {
        let Ok(id) = BuildId::parse(build_id) else { return Ok(None) };
        let name = object_name(&id, DebuginfoType::Sources);
        let Some(size) = self.bucket.size(&name).await? else { return Ok(None) };
        let lease = self.memory.lease(READING_BYTES)?;
        let mut finder = Some(Finder::new(filename, self.options, lease));
        let mut unpacker: Option<Unpacker> = None;
        let mut at = 0;
        while at < size {
            if !go_on() {
                return Err(SourceError::GivenUp);
            }
            let end = size.min(at + PIECE_BYTES);
            let piece: Bytes = self.bucket.get_range(&name, at..end).await?;
            at = end;
            if let Some(finder) = finder.take() {
                unpacker = Some(Unpacker::new(&piece, finder)?);
            }
            let Some(unpacker) = &mut unpacker else { break };
            if let Err(error) = unpacker.write(&piece) {
                return match unpacker.finder().take_outcome() {
                    // the finder stops the decoder once it has its file
                    Some(outcome) => outcome.map(Some),
                    None => Err(SourceError::Unreadable(error.to_string())),
                };
            }
        }
        match unpacker {
            None => Err(SourceError::Unreadable("the archive is empty".into())),
            Some(unpacker) => unpacker.finish(),
        }
    }
}

/// A decoder that writes into a finder.
enum Unpacker {
    Gzip(flate2::write::MultiGzDecoder<Finder>),
    Zstd(zstd::stream::write::Decoder<'static, Finder>),
}

impl Unpacker {
    fn new(start: &[u8], finder: Finder) -> Result<Self, SourceError> {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Ok(Self::Gzip(flate2::write::MultiGzDecoder::new(finder))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let unreadable = |error: std::io::Error| SourceError::Unreadable(error.to_string());
                let mut decoder = zstd::stream::write::Decoder::new(finder).map_err(unreadable)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(unreadable)?;
                Ok(Self::Zstd(decoder))
            }
            _ => Err(SourceError::Unreadable("they are packed neither with gzip nor with zstd".into())),
        }
    }

    fn write(&mut self, piece: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(piece),
            Self::Zstd(decoder) => decoder.write_all(piece),
        }
    }

    fn finder(&mut self) -> &mut Finder {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// After the last piece.
    fn finish(mut self) -> Result<Option<Vec<u8>>, SourceError> {
        let flushed = match &mut self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Zstd(decoder) => decoder.flush(),
        };
        let finder = self.finder();
        match (finder.take_outcome(), flushed) {
            (Some(outcome), _) => outcome.map(Some),
            (None, Err(error)) => Err(SourceError::Unreadable(error.to_string())),
            (None, Ok(())) if finder.is_within_a_file() => {
                Err(SourceError::Unreadable("the archive ends in the middle of a file".into()))
            }
            (None, Ok(())) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
