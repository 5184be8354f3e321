//! The blocks in a Parca's bucket: `blocks/parca/stacktraces/<ULID>/data.parquet`, one for each life of its store.

use std::ops::Range;

use ingest::{BlockDefect, BlockFile, BlockReader};
use store::{Objects, StoreError};

use crate::report::LeftOut;
use crate::{Importer, name_of};

/// Of Parca's one table in its one database.
pub const FOLDER: &str = "blocks/parca/stacktraces";

const FILE: &str = "data.parquet";

/// Between a block's name and the rows of a gap in it.
const GAP: &str = "-gap-";

/// Of one block, that are remembered so that they are tried again; one more is told for ever.
const GAPS_MAX: usize = 1_000;

/// Rows of a block that an import could not read.
struct Gap {
    rows: Range<u64>,
    /// Of these, from their beginning, rows that a later one brought in.
    brought: u64,
}

impl Gap {
    /// What [`gap_name`] says, and how far it is by the store; `None` where that cannot be.
    fn named(name: &str, at: u64) -> Option<Self> {
        let (begin, end) = name.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (rows, brought) = (number(begin)?..number(end)?, at.checked_sub(1)?);
        (brought <= rows.end.checked_sub(rows.start)?).then_some(Self { rows, brought })
    }

    /// Rows.
    fn missing(&self) -> u64 {
        self.rows.end - self.rows.start - self.brought
    }
}

/// Those of one block.
#[derive(Default)]
struct Gaps {
    known: usize,
    /// Not all of whose rows are there.
    open: Vec<Gap>,
    /// Rows that were brought in by imports before this one.
    closed: u64,
}

impl Gaps {
    /// Rows.
    fn missing(&self) -> u64 {
        self.open.iter().map(Gap::missing).sum()
    }
}

/// Under which it is remembered: at 1, and one more for each of its rows that were brought in since.
fn gap_name(source: &str, rows: &Range<u64>) -> String {
    format!("{source}{GAP}{:x}-{:x}", rows.start, rows.end)
}

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
    /// Brings in `blocks` of `bucket`. A block is named by its ULID, size and footer, so a copy of the bucket is
    /// the same; what an earlier import could not read of it is tried again.
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
        let mut gaps = self.gaps(&source)?;
        let (was_lost, mut reason) = (gaps.missing(), None);
        for gap in &mut gaps.open {
            if let Err(defect) = self.close(&mut reader, &source, gap)? {
                reason = reason.or(Some(defect));
            }
            self.progress(&at, number, of);
        }
        let brought = |gaps: &Gaps| gaps.closed + was_lost - gaps.missing();
        if done >= rows {
            *if was_lost > gaps.missing() { &mut self.pending.read } else { &mut self.pending.known } += 1;
            self.lose(at, lost.saturating_sub(brought(&gaps)), reason);
            return Ok(());
        }
        let mut piece = reader.skip(done).and_then(|()| reader.next_piece());
        let mut not_yet = 0;
        loop {
            match piece {
                Ok(Some(read)) => {
                    done += read.rows;
                    lost += read.left_out;
                    reason = reason.or(read.reason);
                    let room = GAPS_MAX.saturating_sub(gaps.known);
                    let new: Vec<String> = read.gaps.iter().take(room).map(|gap| gap_name(&source, gap)).collect();
                    gaps.known += new.len();
                    let steps = [(source.as_str(), done), (&torn, lost)];
                    let steps: Vec<_> = steps.into_iter().chain(new.iter().map(|gap| (gap.as_str(), 1))).collect();
                    self.take(&read.batch, &steps)?;
                    self.progress(&at, number, of);
                }
                Ok(None) => {
                    self.pending.read += 1;
                    break;
                }
                Err(defect) => {
                    debug_assert_ne!(defect.kind, BlockDefect::Broken);
                    // not remembered, so that another import, or one by a later version, goes on here
                    not_yet = rows - done;
                    reason = Some(defect.what);
                    break;
                }
            }
            piece = reader.next_piece();
        }
        self.lose(at, not_yet + lost.saturating_sub(brought(&gaps)), reason);
        Ok(())
    }

    /// What earlier imports have left out of a block.
    fn gaps(&mut self, source: &str) -> Result<Gaps, StoreError> {
        let mut gaps = Gaps::default();
        for (name, at) in self.imported_under(&format!("{source}{GAP}"))? {
            let Some(gap) = Gap::named(&name, at) else { continue };
            gaps.known += 1;
            gaps.closed = gaps.closed.saturating_add(gap.brought);
            if gap.missing() > 0 {
                gaps.open.push(gap);
            }
        }
        Ok(gaps)
    }

    /// Brings in what can be read of `gap` now: the block may have been restored. The inner error says why there is still some left.
    fn close(
        &mut self,
        reader: &mut BlockReader<'_>,
        source: &str,
        gap: &mut Gap,
    ) -> Result<Result<(), String>, StoreError> {
        let name = gap_name(source, &gap.rows);
        let mut piece = reader.only(gap.rows.start + gap.brought..gap.rows.end).and_then(|()| reader.next_piece());
        loop {
            match piece {
                Ok(Some(read)) => {
                    gap.brought += read.rows;
                    self.take(&read.batch, &[(&name, 1 + gap.brought)])?;
                }
                Ok(None) => return Ok(Ok(())),
                Err(defect) => return Ok(Err(defect.what)),
            }
            piece = reader.next_piece();
        }
    }

    /// Tells of rows that are not in the store; without a reason it was an earlier import that met them.
    fn lose(&mut self, source: String, rows: u64, reason: Option<String>) {
        if rows > 0 {
            let reason = reason.unwrap_or_else(|| "an earlier import could not read them".to_owned());
            self.pending.leave_out(LeftOut { source, rows: Some(rows), reason });
        }
    }
}
