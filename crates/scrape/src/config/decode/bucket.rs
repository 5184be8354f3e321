//! `object_storage`.

use super::super::error::Problem;
use super::super::{Bucket, Storage};
use super::reader::Reader;
use crate::yaml::{Mark, NodeIx};

/// Bucket types that Parca knows beside `FILESYSTEM`.
const REMOTE_BUCKETS: [&str; 9] = ["GCS", "S3", "AZURE", "SWIFT", "COS", "ALIYUNOSS", "BOS", "OCI", "OBS"];

const OBJECT_STORAGE_KEYS: [&str; 1] = ["bucket"];
const BUCKET_KEYS: [&str; 3] = ["type", "config", "prefix"];
const FILESYSTEM_KEYS: [&str; 1] = ["directory"];

/// The bucket; `None` if there is none, or if an issue was found.
pub(super) fn object_storage(reader: &mut Reader, node: NodeIx) -> Option<Bucket> {
    let mut bucket = None;
    for entry in reader.mapping(node, "object_storage")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "bucket" => bucket = bucket_config(reader, entry.value, entry.mark),
            _ => reader.unknown_key(&entry, &OBJECT_STORAGE_KEYS),
        });
    }
    bucket
}

fn bucket_config(reader: &mut Reader, node: NodeIx, mark: Mark) -> Option<Bucket> {
    let issues_before = reader.issue_count();
    let mut kind = String::new();
    let mut kind_mark = mark;
    let mut prefix = String::new();
    let mut config = None;
    for entry in reader.mapping(node, "a bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "type" => {
                kind_mark = entry.mark;
                reader.string_into(entry.value, &mut kind);
            }
            "prefix" => reader.string_into(entry.value, &mut prefix),
            "config" => config = Some(entry.clone()),
            _ => reader.unknown_key(&entry, &BUCKET_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    if kind.is_empty() {
        reader.invalid(kind_mark, "type", "cannot be blank (supported: FILESYSTEM)");
    }
    let blank = config.as_ref().is_none_or(|entry| reader.is_blank(entry.value));
    if blank {
        reader.invalid(config.as_ref().map_or(mark, |entry| entry.mark), "config", "cannot be blank");
    }
    let config = config.filter(|_| !blank && !kind.is_empty())?;

    let upper = kind.to_ascii_uppercase();
    if REMOTE_BUCKETS.contains(&upper.as_str()) {
        let message = format!("{upper} is not yet supported (supported: FILESYSTEM)");
        reader.issue_below(kind_mark, "type", Problem::NotYetSupported, message);
        return None;
    }
    if upper != "FILESYSTEM" {
        reader.invalid(kind_mark, "type", format!("bucket with type {kind} is not supported (supported: FILESYSTEM)"));
        return None;
    }
    let directory = reader.within(&config, |reader| filesystem_directory(reader, config.value, config.mark))?;
    Some(Bucket { prefix, storage: Storage::Filesystem { directory } })
}

fn filesystem_directory(reader: &mut Reader, node: NodeIx, mark: Mark) -> Option<String> {
    let issues_before = reader.issue_count();
    let mut directory = String::new();
    for entry in reader.mapping(node, "the config of a FILESYSTEM bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "directory" => reader.string_into(entry.value, &mut directory),
            _ => reader.unknown_key(&entry, &FILESYSTEM_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    if directory.is_empty() {
        reader.invalid(mark, "directory", "cannot be blank");
        return None;
    }
    Some(directory)
}
