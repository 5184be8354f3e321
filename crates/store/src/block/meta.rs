//! `meta.json`: what a block holds, where, and the checksums of its files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::contents::Contents;
use crate::error::{Kind, StoreError};
use crate::wal::crc32c;

/// Version 0 may still change; from 1 on old blocks stay readable.
pub const FORMAT_VERSION: u32 = 0;

/// Checksums cover pieces of this size, so that a part of a file can be verified alone.
pub const CHECKSUM_CHUNK_BYTES: u64 = 256 << 10;

/// The content of `meta.json`. Times are ns since the epoch, both ends included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockMeta {
    pub version: u32,
    pub tenant: String,
    pub min_time: i64,
    pub max_time: i64,
    pub profiles: u64,
    pub samples: u64,
    pub stacks: u64,
    /// Absent in blocks of older programs: their profiles tell.
    #[serde(default)]
    pub contents: Option<Contents>,
    /// In the order of their rows in `profiles.parquet`.
    pub partitions: Vec<PartitionMeta>,
    /// By the `file` column of `profiles.parquet`.
    pub sample_files: Vec<SampleFileMeta>,
    /// All files but `meta.json`.
    pub files: Vec<BlockFile>,
}

/// One service's share of a block: its rows of `profiles.parquet` and its tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionMeta {
    pub service: String,
    pub min_time: i64,
    pub max_time: i64,
    /// First row in `profiles.parquet`.
    pub first_profile: u64,
    pub profiles: u64,
    pub samples: u64,
    pub stacks: u64,
    /// By table name; a table without rows is left out.
    pub tables: BTreeMap<String, TableMeta>,
}

/// One Arrow IPC stream within `symbols.arrows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableMeta {
    /// bytes from the start of the file
    pub offset: u64,
    pub bytes: u64,
    pub rows: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleFileMeta {
    pub name: String,
    /// `type/unit` of each sample type; empty for the generic file, which has a row per sample and type.
    pub types: Vec<String>,
    /// Per sample type its column, or null where every profile's values are a scale times the first's.
    pub columns: Vec<Option<u32>>,
    pub rows: u64,
}

impl SampleFileMeta {
    pub fn is_generic(&self) -> bool {
        self.types.is_empty()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockFile {
    pub name: String,
    pub bytes: u64,
    /// CRC32C of the whole file.
    pub crc32c: u32,
    /// CRC32C of each [`CHECKSUM_CHUNK_BYTES`] of it.
    pub chunks: Vec<u32>,
}

impl BlockFile {
    pub(crate) fn of(name: &str, bytes: &[u8]) -> Self {
        Self {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            crc32c: crc32c(bytes),
            chunks: bytes.chunks(CHECKSUM_CHUNK_BYTES as usize).map(crc32c).collect(),
        }
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl BlockMeta {
    pub fn to_json(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::new(Kind::Io, "meta.json", error.to_string()))
    }

    /// [`Kind::TooNew`] for a version that this program does not know, [`Kind::Corrupt`] for what is no
    /// block's meta.json. `at` names the file in messages.
    pub fn from_json(at: &str, bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = |error: serde_json::Error| StoreError::new(Kind::Corrupt, at, error.to_string());
        let Version { version } = serde_json::from_slice(bytes).map_err(corrupt)?;
        if version > FORMAT_VERSION {
            let what = format!("block format {version} is newer than {FORMAT_VERSION}, the newest known here");
            return Err(StoreError::new(Kind::TooNew, at, what));
        }
        serde_json::from_slice(bytes).map_err(corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_by_name_and_garbage_is_corrupt() {
        let newer = BlockMeta::from_json("b/meta.json", br#"{"version": 7, "anything": []}"#).expect_err("newer");
        assert_eq!(newer.kind, Kind::TooNew);
        assert!(newer.to_string().contains("block format 7"), "{newer}");
        for bytes in [&b"{"[..], b"", b"{}", br#"{"version": 0}"#, br#"{"version": -1}"#] {
            assert_eq!(BlockMeta::from_json("b/meta.json", bytes).expect_err("garbage").kind, Kind::Corrupt);
        }
    }
}
