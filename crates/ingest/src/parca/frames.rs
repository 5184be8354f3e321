//! Locations as the agent writes them: structs, behind a dictionary in v2 and plain in v1.
//!
//! A column is read whole, from its first row to its last, when the first of its rows is named: its rows become numbers that follow
//! each other, so that whatever names a row knows its number. Columns of texts, of functions and of locations are each read
//! once a message, in loops that ask once how a column is encoded.

use std::borrow::Cow;
use std::ops::Range;

use profile::NONE;
use profile::dictionary::Line;

use crate::arrow::{At, Column, Cursor, Lists, Places, malformed, no_key};
use crate::error::IngestError;
use crate::shared::{NO_TEXT, Shared};
use crate::tables::{Map, relative, within};

/// What the columns of one message became.
#[derive(Default)]
pub(super) struct Frames<'s> {
    locations: Firsts<'s>,
    functions: Firsts<'s>,
    texts: Firsts<'s>,
    /// Which of `lines` a column became.
    line_columns: Firsts<'s>,
    lines: Vec<Lines<'s>>,
    /// Rows of all of them.
    line_rows: usize,
}

/// Columns that were read, each with the number of its first row: a message has a handful.
struct Firsts<'s> {
    few: Vec<(*const Column<'s>, u32)>,
    more: Map<*const Column<'s>, u32>,
}

const FEW: usize = 8;

impl Default for Firsts<'_> {
    fn default() -> Self {
        Self { few: Vec::with_capacity(FEW), more: Map::default() }
    }
}

impl<'s> Firsts<'s> {
    #[inline(always)]
    fn get(&self, column: &Column<'s>) -> Option<u32> {
        let known = self.few.iter().find(|(known, _)| std::ptr::eq(*known, column));
        match known {
            Some((_, first)) => Some(*first),
            None => self.more.get(&std::ptr::from_ref(column)).copied(),
        }
    }

    fn set(&mut self, column: &Column<'s>, first: u32) {
        if self.few.len() < FEW {
            self.few.push((column, first));
        } else {
            self.more.insert(column, first);
        }
    }
}

/// A column of lines.
struct Lines<'s> {
    line: Numbers<'s>,
    column: Numbers<'s>,
    /// Each row's, or [`NONE`].
    function: Vec<u32>,
}

impl Lines<'_> {
    #[inline(always)]
    fn get(&self, row: usize) -> Line {
        let number = |numbers: &Numbers<'_>| i64::from_le_bytes(numbers[row]);
        Line { function: self.function[row], line: number(&self.line), column: number(&self.column) }
    }
}

/// Numbers of eight bytes.
type Numbers<'s> = Cow<'s, [[u8; 8]]>;

/// The numbers of all rows; 0 for null, and where there is no column.
fn numbers<'s>(column: Option<&Column<'s>>, rows: usize) -> Result<Numbers<'s>, IngestError> {
    let Some(column) = column else { return Ok(vec![[0; 8]; rows].into()) };
    if let Some(plain) = column.plain_numbers() {
        return Ok(plain[..rows].into());
    }
    let number = |at: Option<At<'_, 's>>| Ok(at.map_or(Ok(0), At::number)?.to_le_bytes());
    by_runs(column, rows, number).map(Cow::Owned)
}

/// The number of each of `rows` rows of `column`: `first` gives that of the first row of the column where its value lies. `none` for
/// null, and where there is no column.
fn places<'c, 's>(
    column: Option<&'c Column<'s>>,
    rows: usize,
    none: u32,
    mut first: impl FnMut(&'c Column<'s>) -> Result<u32, IngestError>,
) -> Result<Vec<u32>, IngestError> {
    match column.map(Places::of) {
        None => Ok(vec![none; rows]),
        Some(Places::Own(column)) => {
            let first = first(column)?;
            Ok((first..first + rows as u32).collect())
        }
        Some(Places::Keys(keys, values)) => {
            let (keys, first) = (&keys[..rows], first(values)?);
            let key = |key: &[u8; 4]| u32::from_le_bytes(*key);
            if let Some(outside) = keys.iter().map(key).max().filter(|&key| key as usize >= values.len()) {
                return Err(no_key(outside as i32));
            }
            Ok(keys.iter().map(|bytes| first + key(bytes)).collect())
        }
        Some(Places::Any(column)) => by_runs(column, rows, |at| match at {
            Some(at) => Ok(first(at.column)? + at.row as u32),
            None => Ok(none),
        }),
    }
}

/// What `of` makes of each of `rows` rows of `column`, asked once a run.
fn by_runs<'c, 's, T: Clone>(
    column: &'c Column<'s>,
    rows: usize,
    mut of: impl FnMut(Option<At<'c, 's>>) -> Result<T, IngestError>,
) -> Result<Vec<T>, IngestError> {
    let (mut all, mut cursor) = (Vec::with_capacity(rows), Cursor::default());
    while all.len() < rows {
        let (at, end) = column.run_at(all.len(), &mut cursor)?;
        all.resize(end.min(rows), of(at)?);
    }
    Ok(all)
}

impl<'s> Frames<'s> {
    /// The locations at `range` of `items` into `out`, leaf first as they are sent.
    pub(super) fn stack(
        &mut self,
        tables: &mut Shared<'s>,
        items: &Column<'s>,
        range: Range<usize>,
        out: &mut Vec<u32>,
    ) -> Result<(), IngestError> {
        within("frames of one stack", range.len(), tables.limits.stack_depth)?;
        out.clear();
        let places = Places::of(items);
        if let Places::Keys(keys, values) = places
            && let Some(keys) = keys.get(range.clone())
        {
            let first = self.locations(tables, values)?;
            for key in keys {
                let row = u32::from_le_bytes(*key);
                if row as usize >= values.len() {
                    return Err(no_key(row as i32));
                }
                out.push(first + row);
            }
            return Ok(());
        }
        for row in range {
            // a frame of which nothing is known is none
            let Some(at) = places.at(row)? else { continue };
            out.push(self.locations(tables, at.column)? + at.row as u32);
        }
        Ok(())
    }

    /// The number of the first row of a column of locations.
    #[inline(always)]
    fn locations(&mut self, tables: &mut Shared<'s>, column: &Column<'s>) -> Result<u32, IngestError> {
        match self.locations.get(column) {
            Some(first) => Ok(first),
            None => self.read_locations(tables, column),
        }
    }

    fn read_locations(&mut self, tables: &mut Shared<'s>, column: &Column<'s>) -> Result<u32, IngestError> {
        let rows = column.len();
        within("locations", rows, tables.limits.locations)?;
        let address = column.field("address").ok_or_else(|| malformed("validate record: locations have no address"))?;
        let address = numbers(Some(address), rows)?;
        // v1 only
        let ranges = match ["mapping_start", "mapping_limit", "mapping_offset"].map(|name| column.field(name)) {
            [Some(start), Some(limit), Some(offset)] => {
                Some([numbers(Some(start), rows)?, numbers(Some(limit), rows)?, numbers(Some(offset), rows)?])
            }
            _ => None,
        };
        let file = self.texts(tables, column.field("mapping_file"), rows)?;
        let build_id = self.texts(tables, column.field("mapping_build_id"), rows)?;
        let lines = column.field("lines").map(Lists::of);
        let first = tables.begin_locations(rows)?;
        // neighbours share it
        let mut mapping = ([NO_TEXT; 2], NONE);
        for row in 0..rows {
            if !column.is_valid(row) {
                tables.location(NONE, 0)?;
                continue;
            }
            let range = match &ranges {
                Some(ranges) => [0, 1, 2].map(|of| u64::from_le_bytes(ranges[of][row])),
                None => [0; 3],
            };
            let texts = [file[row], build_id[row]];
            if texts != mapping.0 {
                mapping = (texts, tables.mapping(texts[0], texts[1], range)?);
            }
            if let Some(lines) = lines
                && let Some((range, items)) = lines.get(row)?
            {
                within("lines of one location", range.len(), tables.limits.stack_depth)?;
                let places = Places::of(items);
                for row in range {
                    if let Some(at) = places.at(row)? {
                        let line = self.lines_of(tables, at.column)?.get(at.row);
                        tables.line(line)?;
                    }
                }
            }
            tables.location(mapping.1, relative(u64::from_le_bytes(address[row]), range))?;
        }
        self.locations.set(column, first);
        Ok(first)
    }

    #[inline(always)]
    fn lines_of(&mut self, tables: &mut Shared<'s>, column: &Column<'s>) -> Result<&Lines<'s>, IngestError> {
        let ix = match self.line_columns.get(column) {
            Some(ix) => ix,
            None => self.read_lines(tables, column)?,
        };
        Ok(&self.lines[ix as usize])
    }

    fn read_lines(&mut self, tables: &mut Shared<'s>, column: &Column<'s>) -> Result<u32, IngestError> {
        let rows = column.len();
        self.line_rows += rows;
        within("lines", self.line_rows, tables.limits.lines)?;
        let function = match column.field("function") {
            // v2's: a struct behind a dictionary
            Some(functions) => places(Some(functions), rows, NONE, |functions| match self.functions.get(functions) {
                Some(first) => Ok(first),
                None => self.read_functions(tables, functions, FUNCTION),
            })?,
            // v1's: its fields are the line's
            None => {
                let first = self.read_functions(tables, column, LINE_FUNCTION)?;
                (first..first + rows as u32).collect()
            }
        };
        let [line, number] = ["line", "column"].map(|name| numbers(column.field(name), rows));
        self.lines.push(Lines { line: line?, column: number?, function });
        let ix = self.lines.len() as u32 - 1;
        self.line_columns.set(column, ix);
        Ok(ix)
    }

    /// The number of the first row of a column that has functions in the fields `names`.
    fn read_functions(
        &mut self,
        tables: &mut Shared<'s>,
        column: &Column<'s>,
        [name, system_name, file, start_line]: [&str; 4],
    ) -> Result<u32, IngestError> {
        let rows = column.len();
        within("functions", rows, tables.limits.functions)?;
        let file = self.texts(tables, column.field(file), rows)?;
        let system_name = self.texts(tables, column.field(system_name), rows)?;
        let name = self.texts(tables, column.field(name), rows)?;
        let start_line = numbers(column.field(start_line), rows)?;
        let first = tables.begin_functions(rows)?;
        for row in 0..rows {
            tables.function([name[row], system_name[row], file[row]], i64::from_le_bytes(start_line[row]))?;
        }
        self.functions.set(column, first);
        Ok(first)
    }

    /// The number of each row's text: the empty one's for null, and where there is no column.
    fn texts(
        &mut self,
        tables: &mut Shared<'s>,
        column: Option<&Column<'s>>,
        rows: usize,
    ) -> Result<Vec<u32>, IngestError> {
        places(column, rows, NO_TEXT, |column| match self.texts.get(column) {
            Some(first) => Ok(first),
            None => {
                let first = tables.begin_texts(column.len())?;
                column.each_text(|text| tables.text(text).map(|_| ()))?;
                self.texts.set(column, first);
                Ok(first)
            }
        })
    }
}

/// Fields of a function, and of a line of v1.
const FUNCTION: [&str; 4] = ["name", "system_name", "filename", "start_line"];
const LINE_FUNCTION: [&str; 4] = ["function_name", "function_system_name", "function_filename", "function_start_line"];
