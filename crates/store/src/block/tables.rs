//! Tables as Arrow IPC streams, one after the other in `symbols.arrows`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch, StringArray,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow::ipc::{CompressionType, MetadataVersion};
use profile::Strings;

use super::file::VerifiedFile;
use super::meta::{PartitionMeta, TableMeta};
use crate::error::{Kind, ReadError, StoreError};

/// Rows of one record batch: a reader that wants little decompresses little.
const BATCH_ROWS: usize = 64 << 10;

/// zstd 3 and more win little on these columns and cost twice as much.
const ZSTD_LEVEL: i32 = 1;

/// Appends tables to `out` and notes where they are.
pub(crate) struct TableWriter<'a> {
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) tables: BTreeMap<String, TableMeta>,
}

pub(crate) fn write_failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::new(Kind::Io, "block", format!("encoding failed: {error}"))
}

impl TableWriter<'_> {
    /// Columns of equal length; a table without rows is left out.
    pub(crate) fn write(&mut self, name: &str, columns: Vec<(&str, ArrayRef)>) -> Result<(), StoreError> {
        let rows = columns.first().map_or(0, |(_, column)| column.len());
        if rows == 0 {
            return Ok(());
        }
        let offset = self.out.len() as u64;
        self.write_stream(columns, rows).map_err(write_failed)?;
        let bytes = self.out.len() as u64 - offset;
        self.tables.insert(name.to_owned(), TableMeta { offset, bytes, rows: rows as u64 });
        Ok(())
    }

    fn write_stream(&mut self, columns: Vec<(&str, ArrayRef)>, rows: usize) -> Result<(), ArrowError> {
        let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), false);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect())?;
        let options = IpcWriteOptions::try_new(8, false, MetadataVersion::V5)?
            .try_with_compression(Some(CompressionType::ZSTD))?
            .try_with_compression_level(Some(ZSTD_LEVEL))?;
        let mut writer = StreamWriter::try_new_with_options(&mut *self.out, &schema, options)?;
        for start in (0..rows).step_by(BATCH_ROWS) {
            writer.write(&batch.slice(start, BATCH_ROWS.min(rows - start)))?;
        }
        writer.finish()
    }
}

pub(crate) fn primitive<T: ArrowPrimitiveType>(values: &[T::Native]) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::from_iter_values(values.iter().copied()))
}

pub(crate) fn strings(strings: &Strings) -> Result<ArrayRef, StoreError> {
    let texts = (0..strings.len() as u32).map(|ix| std::str::from_utf8(strings.get(ix)));
    // every string was made valid when it was interned
    let texts: Vec<&str> = texts.collect::<Result<_, _>>().map_err(write_failed)?;
    Ok(Arc::new(StringArray::from(texts)))
}

pub(crate) fn keys(keys: &[u128]) -> Result<ArrayRef, StoreError> {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.to_be_bytes()).collect();
    FixedSizeBinaryArray::try_new(16, bytes.into(), None).map(|array| Arc::new(array) as ArrayRef).map_err(write_failed)
}

/// One table of a partition, read whole.
pub(crate) struct Table<'a> {
    file: &'a VerifiedFile,
    name: &'static str,
    batches: Vec<RecordBatch>,
    rows: usize,
}

/// Reads a table; one that the partition does not have is empty. Of its columns only `columns` are
/// decompressed; none means all.
pub(crate) fn read<'a>(
    file: &'a VerifiedFile,
    partition: &PartitionMeta,
    name: &'static str,
    columns: &[&str],
) -> Result<Table<'a>, ReadError> {
    let mut table = Table { file, name, batches: Vec::new(), rows: 0 };
    let Some(at) = partition.tables.get(name) else { return Ok(table) };
    let bytes = file.read(at.offset, at.bytes)?;
    let corrupt = |error: ArrowError| file.corrupt(format!("table {name}: {error}"));
    let mut reader = StreamReader::try_new(&bytes[..], None).map_err(corrupt)?;
    if !columns.is_empty() {
        let schema = reader.schema();
        let wanted = columns.iter().filter_map(|column| schema.index_of(column).ok()).collect();
        reader = StreamReader::try_new(&bytes[..], Some(wanted)).map_err(corrupt)?;
    }
    for batch in reader {
        let batch = batch.map_err(corrupt)?;
        table.rows += batch.num_rows();
        table.batches.push(batch);
    }
    if table.rows as u64 != at.rows {
        return Err(file.corrupt(format!("table {name} has {} rows and not {}", table.rows, at.rows)));
    }
    Ok(table)
}

impl Table<'_> {
    fn columns(&self, name: &str) -> Result<impl Iterator<Item = &ArrayRef>, ReadError> {
        if let Some(batch) = self.batches.first()
            && batch.column_by_name(name).is_none()
        {
            return Err(self.corrupt(name, "is missing"));
        }
        Ok(self.batches.iter().filter_map(move |batch| batch.column_by_name(name)))
    }

    fn corrupt(&self, column: &str, what: &str) -> ReadError {
        self.file.corrupt(format!("table {}, column {column} {what}", self.name))
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn primitive<T: ArrowPrimitiveType>(&self, name: &str) -> Result<Vec<T::Native>, ReadError> {
        let mut values = Vec::with_capacity(self.rows);
        for column in self.columns(name)? {
            let column = column.as_primitive_opt::<T>().filter(|column| column.null_count() == 0);
            values.extend_from_slice(column.ok_or_else(|| self.corrupt(name, "is of another type"))?.values());
        }
        Ok(values)
    }

    pub(crate) fn strings(&self, name: &str) -> Result<Strings, ReadError> {
        let mut strings = Strings::default();
        strings.spans.reserve(self.rows);
        for column in self.columns(name)? {
            let column = column.as_string_opt::<i32>().ok_or_else(|| self.corrupt(name, "is of another type"))?;
            let offsets = column.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            let base = strings.bytes.len();
            if base + (last - first) > u32::MAX as usize {
                return Err(self.corrupt(name, "is too large"));
            }
            strings.bytes.extend_from_slice(&column.value_data()[first..last]);
            strings.spans.extend(offsets.windows(2).map(|pair| {
                let (start, end) = (pair[0] as usize - first, pair[1] as usize - first);
                ((base + start) as u32, (end - start) as u32)
            }));
        }
        Ok(strings)
    }

    pub(crate) fn keys(&self, name: &str) -> Result<Vec<u128>, ReadError> {
        let mut keys = Vec::with_capacity(self.rows);
        for column in self.columns(name)? {
            let column = column.as_fixed_size_binary_opt().filter(|column| column.value_length() == 16);
            let column = column.ok_or_else(|| self.corrupt(name, "is of another type"))?;
            for ix in 0..column.len() {
                let mut key = [0; 16];
                key.copy_from_slice(column.value(ix));
                keys.push(u128::from_be_bytes(key));
            }
        }
        Ok(keys)
    }
}
