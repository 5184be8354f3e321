//! `profiles.parquet`: a row per profile, sorted by partition, stream, time.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray,
    UInt32Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Field, Int32Type, Int64Type, Schema, UInt32Type, UInt64Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use profile::{Labels, Stream, ValueType};

use super::file::{Source, VerifiedFile, from_parquet};
use super::meta::{BlockMeta, PartitionMeta};
use super::samples::properties;
use super::tables::write_failed;
use crate::error::{ReadError, StoreError};
use crate::part::ProfileTable;

pub(crate) const PROFILES_FILE: &str = "profiles.parquet";

/// The rows of one partition, with where their samples are.
#[derive(Default)]
pub(crate) struct ProfileRows {
    /// Rows of `table.stream` are counted from the partition's first stream.
    pub(crate) streams: Vec<Stream>,
    pub(crate) table: ProfileTable,
    /// Row in the block's sample files.
    pub(crate) file: Vec<u32>,
    pub(crate) first_row: Vec<u64>,
    /// Row in the partition's exports.
    pub(crate) export: Vec<u32>,
    /// Parallel to `table.totals`: by what the first value is multiplied, where that gives this one.
    pub(crate) scale: Vec<Option<i64>>,
}

impl ProfileRows {
    /// Which sample types the profile has, as rows of `totals`, `nonzero` and `scale`.
    pub(crate) fn values(&self, row: usize) -> std::ops::Range<usize> {
        let start = if row == 0 { 0 } else { self.table.total_end[row - 1] as usize };
        start..self.table.total_end[row] as usize
    }

    pub(crate) fn bytes(&self) -> usize {
        let of_stream = |stream: &Stream| {
            let labels: usize = stream.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
            labels + stream.sample_types.len() * 64 + size_of::<Stream>()
        };
        self.table.len() * 72 + self.table.totals.len() * 28 + self.streams.iter().map(of_stream).sum::<usize>()
    }
}

/// A column whose values come from few streams: one entry per stream, one key per profile.
fn per_stream(keys: &[u32], values: impl Iterator<Item = String>) -> Result<ArrayRef, StoreError> {
    let keys = arrow::array::Int32Array::from_iter_values(keys.iter().map(|&key| key as i32));
    let values: ArrayRef = Arc::new(StringArray::from_iter_values(values));
    let array = DictionaryArray::<Int32Type>::try_new(keys, values).map_err(write_failed)?;
    Ok(Arc::new(array))
}

fn list(name: &str, ends: &[u32], values: ArrayRef, nullable: bool) -> Result<ArrayRef, StoreError> {
    let offsets: Vec<i32> = std::iter::once(0).chain(ends.iter().map(|&end| end as i32)).collect();
    let field = Arc::new(Field::new(name, values.data_type().clone(), nullable));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ListArray::try_new(field, offsets, values, None).map(|array| Arc::new(array) as ArrayRef).map_err(write_failed)
}

fn type_names(types: &[ValueType]) -> Vec<[&str; 2]> {
    types.iter().map(|of| [&*of.kind, &*of.unit]).collect()
}

pub(crate) struct ProfileWriter {
    writer: Option<ArrowWriter<Vec<u8>>>,
    partition: u32,
    first_stream: u32,
}

impl ProfileWriter {
    pub(crate) fn new() -> Self {
        Self { writer: None, partition: 0, first_stream: 0 }
    }

    /// The block-wide number of the next partition's first stream.
    pub(crate) fn first_stream(&self) -> u32 {
        self.first_stream
    }

    pub(crate) fn write(&mut self, rows: &ProfileRows) -> Result<(), StoreError> {
        let ProfileTable { stream, time, time_max, duration, period, samples, total_end, totals, nonzero } =
            &rows.table;
        let json = |value: serde_json::Result<String>| value.unwrap_or_default();
        let streams = || rows.streams.iter();
        let labels_of = |of: &Stream| {
            let map: serde_json::Map<String, serde_json::Value> =
                of.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
            json(serde_json::to_string(&map))
        };
        let types_of = |of: &Stream| json(serde_json::to_string(&type_names(&of.sample_types)));
        let i64s = |column: &[i64]| Arc::new(Int64Array::from(column.to_vec())) as ArrayRef;
        let u32s = |column: &[u32]| Arc::new(UInt32Array::from(column.to_vec())) as ArrayRef;
        let streams_of_block: Vec<u32> = stream.iter().map(|&stream| stream + self.first_stream).collect();
        let delta: BooleanArray = stream.iter().map(|&ix| Some(rows.streams[ix as usize].delta)).collect();
        let scales: ArrayRef = Arc::new(Int64Array::from(rows.scale.clone()));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("partition", u32s(&vec![self.partition; stream.len()])),
            ("stream", u32s(&streams_of_block)),
            ("name", per_stream(stream, streams().map(|of| of.name.clone()))?),
            ("labels", per_stream(stream, streams().map(labels_of))?),
            ("period_type", per_stream(stream, streams().map(|of| of.period_type.kind.clone()))?),
            ("period_unit", per_stream(stream, streams().map(|of| of.period_type.unit.clone()))?),
            ("delta", Arc::new(delta)),
            ("sample_types", per_stream(stream, streams().map(types_of))?),
            ("time", i64s(time)),
            ("time_max", i64s(time_max)),
            ("duration", i64s(duration)),
            ("period", i64s(period)),
            ("samples", u32s(samples)),
            ("file", u32s(&rows.file)),
            ("first_row", Arc::new(UInt64Array::from(rows.first_row.clone()))),
            ("export", u32s(&rows.export)),
            ("totals", list("total", total_end, i64s(totals), false)?),
            ("nonzero", list("nonzero", total_end, u32s(nonzero), false)?),
            ("scales", list("scale", total_end, scales, true)?),
        ];
        let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), false);
        let schema = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        let batch = RecordBatch::try_new(schema.clone(), columns).map_err(write_failed)?;
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties().build()));
                self.writer.insert(writer.map_err(write_failed)?)
            }
        };
        writer.write(&batch).map_err(write_failed)?;
        self.partition += 1;
        self.first_stream += rows.streams.len() as u32;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>, StoreError> {
        match self.writer {
            Some(writer) => writer.into_inner().map_err(write_failed),
            None => Ok(Vec::new()),
        }
    }
}

/// All rows of a block, by partition.
pub(crate) fn read(file: &Arc<VerifiedFile>, meta: &BlockMeta) -> Result<Vec<Arc<ProfileRows>>, ReadError> {
    let source = Source { file: file.clone(), held: Some((0, file.read(0, file.bytes())?)) };
    let builder = ParquetRecordBatchReaderBuilder::try_new(source).map_err(|error| from_parquet(file, error))?;
    let reader = builder.with_batch_size(8 << 10).build().map_err(|error| from_parquet(file, error))?;
    let mut partitions = meta.partitions.iter();
    let mut done: Vec<Arc<ProfileRows>> = Vec::with_capacity(meta.partitions.len());
    let mut open = Reading::new(file, meta, partitions.next());
    for batch in reader {
        let batch = batch.map_err(|error| file.corrupt(error.to_string()))?;
        let mut start = 0;
        while start < batch.num_rows() {
            if open.missing() == 0 {
                done.push(Arc::new(open.finish()));
                open = Reading::new(file, meta, partitions.next());
                if open.partition.is_none() {
                    return Err(file.corrupt("has more rows than meta.json says"));
                }
                continue;
            }
            let rows = open.missing().min(batch.num_rows() - start);
            open.take(&batch.slice(start, rows))?;
            start += rows;
        }
    }
    while open.partition.is_some() {
        if open.missing() > 0 {
            return Err(file.corrupt("has fewer rows than meta.json says"));
        }
        done.push(Arc::new(open.finish()));
        open = Reading::new(file, meta, partitions.next());
    }
    Ok(done)
}

/// The partition being read.
struct Reading<'a> {
    file: &'a VerifiedFile,
    meta: &'a BlockMeta,
    partition: Option<&'a PartitionMeta>,
    rows: ProfileRows,
    last_stream: Option<u32>,
}

impl<'a> Reading<'a> {
    fn new(file: &'a VerifiedFile, meta: &'a BlockMeta, partition: Option<&'a PartitionMeta>) -> Self {
        Self { file, meta, partition, rows: ProfileRows::default(), last_stream: None }
    }

    fn missing(&self) -> usize {
        self.partition.map_or(0, |partition| partition.profiles as usize - self.rows.table.len())
    }

    fn finish(&mut self) -> ProfileRows {
        std::mem::take(&mut self.rows)
    }

    fn column<'b>(&self, batch: &'b RecordBatch, name: &str) -> Result<&'b ArrayRef, ReadError> {
        batch.column_by_name(name).ok_or_else(|| self.file.corrupt(format!("has no column {name}")))
    }

    fn of_type(&self, name: &str) -> ReadError {
        self.file.corrupt(format!("column {name} is of another type"))
    }

    fn primitive<T: ArrowPrimitiveType>(&self, batch: &RecordBatch, name: &str) -> Result<Vec<T::Native>, ReadError> {
        let column = self.column(batch, name)?.as_primitive_opt::<T>().ok_or_else(|| self.of_type(name))?;
        Ok(column.values().to_vec())
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), ReadError> {
        let stream = self.primitive::<UInt32Type>(batch, "stream")?;
        for (row, &stream) in stream.iter().enumerate() {
            if self.last_stream != Some(stream) {
                let next = self.stream(batch, row)?;
                self.rows.streams.push(next);
                self.last_stream = Some(stream);
            }
            self.rows.table.stream.push(self.rows.streams.len() as u32 - 1);
        }
        let time = self.primitive::<Int64Type>(batch, "time")?;
        let time_max = self.primitive::<Int64Type>(batch, "time_max")?;
        let duration = self.primitive::<Int64Type>(batch, "duration")?;
        let period = self.primitive::<Int64Type>(batch, "period")?;
        let samples = self.primitive::<UInt32Type>(batch, "samples")?;
        let file = self.primitive::<UInt32Type>(batch, "file")?;
        let first_row = self.primitive::<UInt64Type>(batch, "first_row")?;
        let export = self.primitive::<UInt32Type>(batch, "export")?;
        let (totals, ends) = self.list(batch, "totals")?;
        let totals = totals.as_primitive_opt::<Int64Type>().ok_or_else(|| self.of_type("totals"))?;
        let (nonzero, nonzero_ends) = self.list(batch, "nonzero")?;
        let nonzero = nonzero.as_primitive_opt::<UInt32Type>().ok_or_else(|| self.of_type("nonzero"))?;
        let (scales, scale_ends) = self.list(batch, "scales")?;
        let scales = scales.as_primitive_opt::<Int64Type>().ok_or_else(|| self.of_type("scales"))?;
        if nonzero_ends != ends || scale_ends != ends {
            return Err(self.file.corrupt("the lists of a profile differ in length"));
        }

        let before = self.rows.table.len() - stream.len();
        let base = self.rows.table.totals.len() as u32;
        let rows = &mut self.rows;
        let table = &mut rows.table;
        table.time.extend(time);
        table.time_max.extend(time_max);
        table.duration.extend(duration);
        table.period.extend(period);
        table.samples.extend(samples);
        table.totals.extend_from_slice(totals.values());
        table.nonzero.extend_from_slice(nonzero.values());
        table.total_end.extend(ends.iter().map(|end| base + end));
        rows.file.extend(file);
        rows.first_row.extend(first_row);
        rows.export.extend(export);
        rows.scale.extend(scales.iter());
        (before..self.rows.table.len()).try_for_each(|row| self.check(row))
    }

    /// The run of values of each row, and its end.
    fn list(&self, batch: &RecordBatch, name: &str) -> Result<(ArrayRef, Vec<u32>), ReadError> {
        let list = self.column(batch, name)?.as_list_opt::<i32>().ok_or_else(|| self.of_type(name))?;
        let offsets = list.value_offsets();
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        let values = list.values().slice(first as usize, (last - first) as usize);
        Ok((values, offsets[1..].iter().map(|&end| (end - first) as u32).collect()))
    }

    /// That row `row` points at rows which are there.
    fn check(&self, row: usize) -> Result<(), ReadError> {
        let (rows, table) = (&self.rows, &self.rows.table);
        let types = rows.streams[table.stream[row] as usize].sample_types.len();
        let file = self.meta.sample_files.get(rows.file[row] as usize);
        let fits = file.is_some_and(|file| {
            let per_sample = if file.is_generic() { types as u64 } else { 1 };
            let end = rows.first_row[row].checked_add(u64::from(table.samples[row]) * per_sample);
            let typed = file.is_generic()
                || (file.columns.len() == types
                    && file.columns.first().is_some_and(|column| column.is_some())
                    && rows
                        .values(row)
                        .zip(&file.columns)
                        .all(|(at, column)| column.is_some() || rows.scale[at].is_some()));
            typed && end.is_some_and(|end| end <= file.rows)
        });
        match fits && rows.values(row).len() == types && table.time[row] <= table.time_max[row] {
            true => Ok(()),
            false => Err(self.file.corrupt(format!(
                "profile {row} of partition {:?} points nowhere",
                self.partition.map(|of| &of.service)
            ))),
        }
    }

    fn text<'b>(&self, batch: &'b RecordBatch, name: &str, row: usize) -> Result<&'b str, ReadError> {
        let column = self.column(batch, name)?;
        if let Some(column) = column.as_dictionary_opt::<Int32Type>()
            && let (Some(key), Some(values)) = (column.key(row), column.values().as_string_opt::<i32>())
        {
            return Ok(values.value(key));
        }
        match column.data_type() {
            DataType::Utf8 => Ok(column.as_string::<i32>().value(row)),
            _ => Err(self.of_type(name)),
        }
    }

    fn stream(&self, batch: &RecordBatch, row: usize) -> Result<Stream, ReadError> {
        let corrupt = |error: serde_json::Error| self.file.corrupt(format!("labels or types of a stream: {error}"));
        let labels: std::collections::BTreeMap<String, String> =
            serde_json::from_str(self.text(batch, "labels", row)?).map_err(corrupt)?;
        let types: Vec<(String, String)> =
            serde_json::from_str(self.text(batch, "sample_types", row)?).map_err(corrupt)?;
        let delta = self.column(batch, "delta")?.as_boolean_opt().ok_or_else(|| self.of_type("delta"))?.value(row);
        Ok(Stream {
            tenant: self.meta.tenant.clone(),
            name: self.text(batch, "name", row)?.to_owned(),
            labels: Labels::from_pairs(labels),
            period_type: ValueType::new(self.text(batch, "period_type", row)?, self.text(batch, "period_unit", row)?),
            delta,
            sample_types: types.into_iter().map(|(kind, unit)| ValueType::new(kind, unit)).collect(),
        })
    }
}
