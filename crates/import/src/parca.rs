//! The blocks in a Parca's bucket: `blocks/parca/stacktraces/<ULID>/data.parquet`, one for each life of its store.

use std::ops::Range;

use ingest::{BlockDefect, BlockFile, BlockReader};
use store::{Objects, StoreError};

use crate::report::LeftOut;
use crate::{Importer, name_of};

/// Of Parca's one table in its one database.
pub const FOLDER: &str = "blocks/parca/stacktraces";

const FILE: &str = "data.parquet";

/// A block that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    name: String,
    ulid: String,
    bytes: u64,
}

/// The blocks of a bucket, in order of their age.
pub fn find(bucket: &dyn Objects) -> Result<Vec<Found>, StoreError> {
    let objects = bucket.list(FOLDER)?;
    let found = objects.into_iter().filter_map(|object| {
        let (ulid, file) = object.name.strip_prefix(FOLDER)?.strip_prefix('/')?.split_once('/')?;
        let ulid = (file == FILE).then(|| ulid.to_owned())?;
        Some(Found { ulid, name: object.name, bytes: object.bytes })
    });
    Ok(found.collect())
}

struct ObjectFile<'o> {
    bucket: &'o dyn Objects,
    found: &'o Found,
}

impl BlockFile for ObjectFile<'_> {
    fn bytes(&self) -> u64 {
        self.found.bytes
    }

    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, String> {
        let bytes = self.bucket.get_range(&self.found.name, range).map_err(|error| error.to_string())?;
        Ok(bytes.into())
    }
}

impl Importer<'_> {
    /// Brings in `blocks` of `bucket`. A block is named by its ULID, size and footer, so a copy of the bucket is the same.
    pub fn blocks(&mut self, bucket: &dyn Objects, blocks: &[Found]) -> Result<(), StoreError> {
        for (at, found) in blocks.iter().enumerate() {
            self.block(bucket, found, at + 1, blocks.len())?;
        }
        Ok(())
    }

    fn block(&mut self, bucket: &dyn Objects, found: &Found, number: usize, of: usize) -> Result<(), StoreError> {
        let file = ObjectFile { bucket, found };
        let at = bucket.describe(&found.name);
        let mut reader = match BlockReader::open(&file) {
            Ok(reader) => reader,
            Err(defect) => {
                self.pending.leave_out(LeftOut { source: at, rows: None, reason: defect.what });
                return Ok(());
            }
        };
        let size = found.bytes.to_le_bytes();
        let source = name_of(&[b"parca-block", found.ulid.as_bytes(), &size, &reader.take_footer()]);
        let rows = reader.rows();
        let mut done = self.imported(&source)?;
        // rows up to there that could not be read: told by every import, also where the one that met them did not get to its report
        let torn = format!("{source}-left-out");
        let mut lost = self.imported(&torn)?;
        if done >= rows {
            self.pending.known += 1;
            self.lose(at, lost, None);
            return Ok(());
        }
        let mut reason = None;
        let mut piece = reader.skip(done).and_then(|()| reader.next_piece());
        loop {
            match piece {
                Ok(Some(read)) => {
                    done += read.rows;
                    lost += read.left_out;
                    reason = reason.or(read.reason);
                    self.take(&read.batch, &[(&source, done), (&torn, lost)])?;
                    self.progress(&at, number, of);
                }
                Ok(None) => {
                    self.pending.read += 1;
                    break;
                }
                Err(defect) => {
                    debug_assert_ne!(defect.kind, BlockDefect::Broken);
                    // not remembered, so that another import, or one by a later version, goes on here
                    lost += rows - done;
                    reason = Some(defect.what);
                    break;
                }
            }
            piece = reader.next_piece();
        }
        self.lose(at, lost, reason);
        Ok(())
    }

    /// Tells of rows that are not in the store; without a reason it was an earlier import that met them.
    fn lose(&mut self, source: String, rows: u64, reason: Option<String>) {
        if rows > 0 {
            let reason = reason.unwrap_or_else(|| "an earlier import could not read them".to_owned());
            self.pending.leave_out(LeftOut { source, rows: Some(rows), reason });
        }
    }
}
