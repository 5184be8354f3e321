//! Manifests and snapshots as objects.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FOLDER;
use crate::error::{Kind, StoreError};
use crate::wal::crc32c;

/// The newest version of catalog files that this program reads, and the one that it writes.
const VERSION: u32 = 0;

const MAGIC: &str = "decima-catalog";

pub(super) enum Name {
    Manifest(u64),
    Snapshot(u64),
}

pub(super) fn manifest_name(number: u64) -> String {
    format!("{FOLDER}/{number:020}.manifest")
}

pub(super) fn snapshot_name(number: u64) -> String {
    format!("{FOLDER}/{number:020}.snapshot")
}

/// `None` for a file that is none of ours. The last number there is names none: nothing could follow it.
pub(super) fn parse_name(name: &str) -> Option<Name> {
    let (number, kind) = name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('.')?;
    let is_number = number.len() == 20 && number.bytes().all(|b| b.is_ascii_digit());
    let parsed = number.parse().ok().filter(|parsed| is_number && *parsed < u64::MAX)?;
    match kind {
        "manifest" => Some(Name::Manifest(parsed)),
        "snapshot" => Some(Name::Snapshot(parsed)),
        _ => None,
    }
}

/// ```text
/// decima-catalog <version> <CRC32C of the JSON, 8 hexadecimal digits>\n
/// <JSON>
/// ```
pub(super) fn encode(content: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(content)
        .map_err(|error| StoreError::new(Kind::Invalid, FOLDER, format!("cannot be written as JSON: {error}")))?;
    let mut file = format!("{MAGIC} {VERSION} {:08x}\n", crc32c(&json)).into_bytes();
    file.extend_from_slice(&json);
    Ok(file)
}

pub(super) fn decode<T: DeserializeOwned>(at: &str, file: &[u8]) -> Result<T, StoreError> {
    let corrupt = |what: &str| StoreError::new(Kind::Corrupt, at, what);
    let line_end = file.iter().position(|byte| *byte == b'\n').ok_or_else(|| corrupt("has no first line"))?;
    let line = std::str::from_utf8(&file[..line_end]).map_err(|_| corrupt("its first line is not text"))?;
    let mut words = line.split(' ');
    let (magic, version, crc) = (words.next(), words.next(), words.next());
    if magic != Some(MAGIC) {
        return Err(corrupt("is not a file of the catalog"));
    }
    let version: u32 =
        version.and_then(|version| version.parse().ok()).ok_or_else(|| corrupt("its version is not a number"))?;
    if version > VERSION {
        let what =
            format!("is of version {version}, and this program knows versions up to {VERSION}; it is left as it is");
        return Err(StoreError::new(Kind::TooNew, at, what));
    }
    let json = &file[line_end + 1..];
    let crc = crc.and_then(|crc| u32::from_str_radix(crc, 16).ok()).ok_or_else(|| corrupt("has no checksum"))?;
    if crc != crc32c(json) {
        return Err(corrupt("its bytes are not what was written (the checksum differs)"));
    }
    serde_json::from_slice(json).map_err(|error| corrupt(&format!("does not parse: {error}")))
}
