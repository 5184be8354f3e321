//! The blocks that a Parca leaves in its bucket: Parquet files with a row per sample and sample type, symbols in every row.
//!
//! Only what Parca's store (FrostDB, by parquet-go) writes is read, by a reader of its own: a foreign file without
//! checksums of the whole may say anything, and here nothing is reserved on the word of a length, nothing panics, and a defect
//! costs no more than the rest of its row group. Memory does not grow with the file but by its footer.
//!
//! Map: [`footer`] where the columns' pages lie, in [`thrift`] · [`column`] pages to values, by [`encoding`] · [`location`] Parca's
//! own encoding of a frame · [`schema`] which column means what · [`rows`] samples to profiles.

mod column;
mod encoding;
mod footer;
mod location;
mod rows;
mod schema;
mod thrift;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use profile::Batch;

use footer::Footer;
use location::{LAYOUTS, Layout, Location};
use rows::Rows;
use schema::{Open, Schema};

/// Row groups that are looked at until only one layout of their locations is left.
const PROBED_MAX: usize = 16;

/// A file that is read in pieces.
pub trait BlockFile {
    fn bytes(&self) -> u64;
    /// All of `range`, which lies within the file. The error is a sentence that names the file.
    fn read(&self, range: Range<u64>) -> Result<Vec<u8>, String>;
}

impl dyn BlockFile + '_ {
    fn range(&self, range: Range<u64>) -> Result<Vec<u8>, Defect> {
        let wanted = range.end.saturating_sub(range.start);
        let bytes = self.read(range).map_err(|what| Defect { kind: BlockDefect::Unread, what })?;
        if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(Defect::broken("the file is cut off")) }
    }
}

/// What is wrong with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    pub kind: BlockDefect,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockDefect {
    /// The file contradicts itself.
    Broken,
    /// A Parquet file, but nothing that a Parca whose blocks are known here writes: a later version of this program may know it.
    Unknown,
    /// It cannot be read just now: nothing is said about its content.
    Unread,
}

impl Defect {
    fn broken(what: impl Into<String>) -> Self {
        Self { kind: BlockDefect::Broken, what: what.into() }
    }

    fn unknown(what: impl Into<String>) -> Self {
        Self { kind: BlockDefect::Unknown, what: what.into() }
    }

    fn within(self, column: &str) -> Self {
        Self { what: format!("column {column:?}: {}", self.what), ..self }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Defect {}

/// Some rows of a block.
#[derive(Debug, Default)]
pub struct Piece {
    pub batch: Batch,
    /// Rows of the file that this piece is made of, those that were left out included.
    pub rows: u64,
    /// Of these, the rows that cannot be read, and why: the first reason.
    pub left_out: u64,
    pub reason: Option<String>,
    /// Where these are among the file's rows, in order.
    pub gaps: Vec<Range<u64>>,
}

impl Piece {
    fn leave_out(&mut self, rows: Range<u64>, reason: String) {
        let count = rows.end - rows.start;
        self.rows += count;
        self.left_out += count;
        self.reason.get_or_insert(reason);
        match self.gaps.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => self.gaps.push(rows),
        }
    }
}

/// A block, read from its first row to its last.
///
/// - Rows of the same name, types, labels, period, duration and time form a profile, with one sample type: rows do not say which
///   belong to one sample.
/// - Where a type's samples have a time each, as an agent's have, those of ten seconds form a profile of stamped samples. Labels that
///   say where a sample was taken are then the series', the others the samples'.
/// - Addresses become relative to their mapping, and a function without a name gets one of its system name.
pub struct BlockReader<'f> {
    file: &'f dyn BlockFile,
    footer: Footer,
    schema: Arc<Schema>,
    /// Found when the first row is read: who has the rows already reads no page.
    layout: Option<Layout>,
    group: usize,
    open: Option<Open<'f>>,
    /// Rows of the groups before.
    before: u64,
    /// Rows of the group that were read.
    row: u64,
    /// Where it ends, in rows of the file; then nothing is left out either.
    only_to: Option<u64>,
    /// Why it ends here: of no use any more, since its columns are no longer at one row.
    stopped: Option<Defect>,
}

impl<'f> BlockReader<'f> {
    /// Reads the file's footer and nothing else.
    pub fn open(file: &'f dyn BlockFile) -> Result<Self, Defect> {
        let footer = Footer::read(file)?;
        let schema = Arc::new(Schema::of(&footer.columns)?);
        Ok(Self {
            file,
            footer,
            schema,
            layout: None,
            group: 0,
            open: None,
            before: 0,
            row: 0,
            only_to: None,
            stopped: None,
        })
    }

    /// What the file says of itself at its end, which no other file says. It is given away, so ask once.
    pub fn take_footer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.footer.raw)
    }

    /// All rows of the file.
    pub fn rows(&self) -> u64 {
        self.footer.groups.iter().map(|group| group.rows).sum()
    }

    /// Passes over the first rows of the file, which an earlier reader has given, wherever this one is. Whole row groups are not read.
    ///
    /// # Errors
    /// As of [`BlockReader::next_piece`]: rows that are broken are passed over like others.
    pub fn skip(&mut self, mut rows: u64) -> Result<(), Defect> {
        (self.open, self.group, self.before, self.row) = (None, 0, 0, 0);
        (self.only_to, self.stopped) = (None, None);
        while let Some(group) = self.footer.groups.get(self.group) {
            let left = group.rows - self.row;
            if rows < left {
                break;
            }
            rows -= left;
            self.next_group();
        }
        let mut nothing = Rows::new(&self.schema);
        while rows > 0 {
            match self.read_row(&mut nothing) {
                Ok(Some(_)) => rows -= 1,
                Ok(None) => return Ok(()),
                Err(defect) if defect.kind != BlockDefect::Broken => return Err(self.stop(defect)),
                Err(_) => {
                    let group_rows = self.footer.groups.get(self.group).map_or(0, |group| group.rows);
                    let left = group_rows.saturating_sub(self.row);
                    rows = rows.saturating_sub(left);
                    self.next_group();
                }
            }
            if nothing.is_full() {
                nothing = Rows::new(&self.schema);
            }
        }
        Ok(())
    }

    /// Only these rows of the file are read, wherever this reader is, and none of them is left out: at the first that cannot be read it
    /// ends, for whatever reason.
    ///
    /// # Errors
    /// As of [`BlockReader::next_piece`], also where the rows before are broken so that it cannot be told where these begin.
    pub fn only(&mut self, rows: Range<u64>) -> Result<(), Defect> {
        self.skip(rows.start)?;
        if self.before + self.row != rows.start {
            return Err(self.stop(Defect::broken(format!("row group {}: rows before are broken", self.group))));
        }
        self.only_to = Some(rows.end);
        Ok(())
    }

    /// The next rows, some ten thousands of them; `None` at the end.
    ///
    /// # Errors
    /// [`BlockDefect::Unread`] and [`BlockDefect::Unknown`], behind the last row that can be read now and by this program; from then on
    /// each time. What is broken is left out of a piece, which says so.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, Defect> {
        if let Some(defect) = &self.stopped {
            return Err(defect.clone());
        }
        let mut rows = Rows::new(&self.schema);
        let mut piece = Piece::default();
        loop {
            let full = rows.is_full() || piece.rows >= rows::READ_MAX;
            let ends = if !full || rows.is_over_full() { Ok(full) } else { self.is_at_a_boundary(&rows) };
            let row = ends.and_then(|ends| if ends { Ok(None) } else { self.read_row(&mut rows) });
            let is_whole = self.only_to.is_some();
            match row.map_err(|defect| self.told(defect)) {
                Ok(Some(None)) => piece.rows += 1,
                Ok(Some(Some(reason))) if !is_whole => {
                    let end = self.before + self.row;
                    piece.leave_out(end - 1..end, reason);
                }
                Ok(None) => break,
                Err(defect) if !is_whole && defect.kind == BlockDefect::Broken => {
                    let begin = self.before + self.row;
                    self.next_group();
                    piece.leave_out(begin..self.before, defect.what);
                }
                Ok(Some(Some(reason))) => return self.end(piece, rows, Defect::broken(reason)),
                Err(defect) => return self.end(piece, rows, defect),
            }
        }
        if piece.rows == 0 {
            return Ok(None);
        }
        piece.batch = rows.into_batch();
        Ok(Some(piece))
    }

    /// What was read before `defect`, or that where there was nothing.
    fn end(&mut self, mut piece: Piece, rows: Rows, defect: Defect) -> Result<Option<Piece>, Defect> {
        let defect = self.stop(defect);
        if piece.rows == 0 {
            return Err(defect);
        }
        piece.batch = rows.into_batch();
        Ok(Some(piece))
    }

    /// What is broken, with the row group that it breaks.
    fn told(&self, defect: Defect) -> Defect {
        match defect.kind {
            BlockDefect::Broken => Defect { what: format!("row group {}: {defect}", self.group), ..defect },
            BlockDefect::Unknown | BlockDefect::Unread => defect,
        }
    }

    fn stop(&mut self, defect: Defect) -> Defect {
        self.stopped = Some(defect.clone());
        defect
    }

    /// Whether the next row begins another profile than the last one.
    fn is_at_a_boundary(&mut self, rows: &Rows) -> Result<bool, Defect> {
        match &mut self.open {
            Some(open) => Ok(Some(open.peek_time()?) != rows.last_time()),
            None => Ok(false),
        }
    }

    /// Reads a row; with the reason if it had to be left out. `None` at the end of the file.
    fn read_row(&mut self, rows: &mut Rows) -> Result<Option<Option<String>>, Defect> {
        loop {
            let Some(group) = self.footer.groups.get(self.group) else { return Ok(None) };
            if self.only_to.is_some_and(|end| self.before + self.row >= end) {
                return Ok(None);
            }
            if self.row == group.rows {
                self.next_group();
                continue;
            }
            let layout = match self.layout {
                Some(layout) => layout,
                None => *self.layout.insert(layout(self.file, &self.footer, &self.schema)?),
            };
            let open = match &mut self.open {
                Some(open) => open,
                none => {
                    rows.begin_group();
                    none.insert(self.schema.open(self.file, &self.footer, self.group)?)
                }
            };
            let left_out = rows.read(open, layout)?;
            self.row += 1;
            if self.row == group.rows {
                self.next_group();
            }
            return Ok(Some(left_out));
        }
    }

    fn next_group(&mut self) {
        self.open = None;
        self.before += self.footer.groups.get(self.group).map_or(0, |group| group.rows);
        self.group += 1;
        self.row = 0;
    }
}

/// The first layout that reads the locations of the first row groups.
fn layout(file: &dyn BlockFile, footer: &Footer, schema: &Schema) -> Result<Layout, Defect> {
    let mut left = LAYOUTS.to_vec();
    for group in 0..footer.groups.len().min(PROBED_MAX) {
        // what is broken here is told when it is read
        let Ok(mut column) = schema.stacks(file, footer, group) else { continue };
        let mut seen = (0, Vec::new());
        for _ in 0..footer.groups[group].rows {
            let read = column.list(|column, at| {
                if seen.0 != at.table {
                    seen = (at.table, Vec::new());
                }
                let number = at.number as usize;
                if seen.1.len() <= number {
                    seen.1.resize(number + 1, false);
                }
                let bytes = column.text(at).unwrap_or_default();
                if !std::mem::replace(&mut seen.1[number], true) {
                    // one that nothing reads says nothing of the others
                    if left.iter().any(|layout| reads(bytes, *layout)) {
                        left.retain(|layout| reads(bytes, *layout));
                    }
                }
                Ok(())
            });
            match read {
                Ok(()) => {}
                Err(defect) if defect.kind == BlockDefect::Unread => return Err(defect),
                Err(_) => break,
            }
        }
        if left.len() == 1 {
            break;
        }
    }
    Ok(left[0])
}

fn reads(bytes: &[u8], layout: Layout) -> bool {
    location::decode(bytes, layout, &mut Location::default()).is_some()
}

/// An unsigned LEB128 number and its length; `None` where it is cut off or does not fit.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().enumerate().take(10) {
        if at == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}
