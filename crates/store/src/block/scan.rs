//! Reading rows of a samples file: only the columns and pages that are asked for.

use std::ops::Range;
use std::sync::Arc;

use parquet::column::page::PageReader;
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{DataType, Int32Type, Int64Type};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;

use super::file::{Source, VerifiedFile, from_parquet};
use crate::error::ReadError;

/// Rows decoded at once: the columns of a piece stay in the L2 cache, and a query is asked that often
/// whether to go on.
const PIECE_ROWS: usize = 16 << 10;

/// Where at least one in this many rows of a row group is wanted, its column is read with one read.
const DENSE: u64 = 8;

pub(crate) fn read_footer(file: &Arc<VerifiedFile>) -> Result<ParquetMetaData, ReadError> {
    let source = Source { file: file.clone(), held: None };
    ParquetMetaDataReader::new()
        .with_column_index_policy(PageIndexPolicy::Skip)
        .with_offset_index_policy(PageIndexPolicy::Required)
        .parse_and_finish(&source)
        .map_err(|error| from_parquet(file, error))
}

/// One column of one row group, read forward.
struct Column<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
}

impl<T: DataType> Column<T> {
    fn open(
        file: &Arc<VerifiedFile>,
        footer: &ParquetMetaData,
        group: usize,
        column: usize,
        dense: bool,
    ) -> Result<Self, ReadError> {
        let broken = |what: &str| file.corrupt(format!("column {column} of row group {group} {what}"));
        let rows = footer.row_group(group);
        if column >= rows.num_columns() {
            return Err(broken("is not there"));
        }
        let chunk = rows.column(column);
        if chunk.column_type() != T::get_physical_type() || chunk.column_descr().max_def_level() != 0 {
            return Err(broken("is of another type"));
        }
        let pages = footer
            .offset_index()
            .and_then(|index| index.get(group)?.get(column))
            .map(|of| of.page_locations().clone())
            .ok_or_else(|| broken("has no page index"))?;
        let held = match dense {
            true => {
                let (start, len) = chunk.byte_range();
                Some((start, file.read(start, len)?))
            }
            false => None,
        };
        let source = Arc::new(Source { file: file.clone(), held });
        let pages: Box<dyn PageReader> = Box::new(
            SerializedPageReader::new(source, chunk, rows.num_rows() as usize, Some(pages))
                .map_err(|error| from_parquet(file, error))?,
        );
        let reader = get_typed_column_reader::<T>(get_column_reader(chunk.column_descr_ptr(), pages));
        Ok(Self { reader, values: Vec::with_capacity(PIECE_ROWS) })
    }

    fn skip(&mut self, file: &VerifiedFile, rows: usize) -> Result<(), ReadError> {
        match self.reader.skip_records(rows).map_err(|error| from_parquet(file, error))? {
            skipped if skipped == rows => Ok(()),
            _ => Err(file.corrupt("a column ends early")),
        }
    }

    fn read(&mut self, file: &VerifiedFile, rows: usize) -> Result<(), ReadError> {
        self.values.clear();
        let read = self.reader.read_records(rows, None, None, &mut self.values);
        match read.map_err(|error| from_parquet(file, error))?.1 {
            read if read == rows => Ok(()),
            _ => Err(file.corrupt("a column ends early")),
        }
    }
}

/// Rows `first..first + stack.len()` of a file. Columns that were not asked for are empty. Stored `u32`
/// come as `i32` with the same bits.
pub(crate) struct Piece<'a> {
    pub(crate) first: u64,
    pub(crate) stack: &'a [i32],
    pub(crate) label_set: &'a [i32],
    pub(crate) time: &'a [i64],
    pub(crate) value: &'a [i64],
}

/// Which columns to read beside the stack.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) value: usize,
    pub(crate) label_set: bool,
    pub(crate) time: bool,
}

/// Reads the rows of `ranges`, which ascend and do not overlap, piece by piece.
pub(crate) fn scan(
    file: &Arc<VerifiedFile>,
    footer: &ParquetMetaData,
    columns: Columns,
    ranges: &[Range<u64>],
    go_on: &dyn Fn() -> bool,
    mut each: impl FnMut(Piece<'_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut group_start = 0u64;
    let mut ranges = ranges.iter().filter(|range| !range.is_empty()).cloned().peekable();
    for group in 0..footer.num_row_groups() {
        let group_end = group_start + footer.row_group(group).num_rows() as u64;
        // the stretches of this row group, in rows from its start
        let mut wanted: Vec<Range<u64>> = Vec::new();
        while let Some(range) = ranges.peek_mut().filter(|range| range.start < group_end) {
            wanted.push(range.start - group_start..range.end.min(group_end) - group_start);
            if range.end > group_end {
                range.start = group_end;
                break;
            }
            ranges.next();
        }
        if !wanted.is_empty() {
            let rows: u64 = wanted.iter().map(|range| range.end - range.start).sum();
            let dense = rows * DENSE >= group_end - group_start;
            let open_i32 = |column| Column::<Int32Type>::open(file, footer, group, column, dense);
            let open_i64 = |column| Column::<Int64Type>::open(file, footer, group, column, dense);
            let mut stack = open_i32(super::samples::STACK)?;
            let mut value = open_i64(columns.value)?;
            let mut label_set = columns.label_set.then(|| open_i32(super::samples::LABEL_SET)).transpose()?;
            let mut time = columns.time.then(|| open_i64(super::samples::TIME)).transpose()?;
            let mut at = 0u64;
            for range in wanted {
                let skip = (range.start - at) as usize;
                if skip > 0 {
                    stack.skip(file, skip)?;
                    value.skip(file, skip)?;
                    label_set.iter_mut().try_for_each(|column| column.skip(file, skip))?;
                    time.iter_mut().try_for_each(|column| column.skip(file, skip))?;
                }
                at = range.start;
                while at < range.end {
                    if !go_on() {
                        return Err(ReadError::cancelled());
                    }
                    let rows = (range.end - at).min(PIECE_ROWS as u64) as usize;
                    stack.read(file, rows)?;
                    value.read(file, rows)?;
                    label_set.iter_mut().try_for_each(|column| column.read(file, rows))?;
                    time.iter_mut().try_for_each(|column| column.read(file, rows))?;
                    each(Piece {
                        first: group_start + at,
                        stack: &stack.values,
                        label_set: label_set.as_ref().map_or(&[], |column| &column.values),
                        time: time.as_ref().map_or(&[], |column| &column.values),
                        value: &value.values,
                    })?;
                    at += rows as u64;
                }
            }
        }
        group_start = group_end;
    }
    match ranges.next() {
        Some(_) => Err(file.corrupt("has fewer rows than profiles.parquet says")),
        None => Ok(()),
    }
}
