//! Writing `samples-*.parquet`: a row per sample, sorted by partition, stream, profile, stack.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use profile::ValueType;

use super::meta::SampleFileMeta;
use super::tables::write_failed;
use crate::error::StoreError;

/// Columns before the values; the generic file's type comes behind the value.
pub(crate) const STACK: usize = 2;
pub(crate) const TIME: usize = 1;
pub(crate) const LABEL_SET: usize = 3;
pub(crate) const FIRST_VALUE: usize = 4;

/// Rows of a row group, and of a page: small pages let a reader skip, and smaller ones win nothing
/// (docs/format.md).
const ROW_GROUP_ROWS: usize = 1 << 20;
const PAGE_ROWS: usize = 16 << 10;
/// Rows handed to the Parquet writer at once.
const BATCH_ROWS: usize = 32 << 10;

pub(crate) fn properties() -> WriterPropertiesBuilder {
    // 1 is within a few percent of 3 and 9, and cheapest to write
    let level = ZstdLevel::try_new(1).unwrap_or_default();
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("decima".to_owned())
}

/// One samples file in the making.
pub(crate) struct SampleWriter {
    writer: ArrowWriter<Vec<u8>>,
    schema: SchemaRef,
    name: String,
    types: Vec<String>,
    columns: Vec<Option<u32>>,
    /// Which of the sample types have a column.
    stored: Vec<usize>,
    stream: Vec<u32>,
    time: Vec<i64>,
    stack: Vec<u32>,
    label_set: Vec<u32>,
    values: Vec<Vec<i64>>,
    /// In the generic file only.
    value_type: Vec<Arc<str>>,
    rows: u64,
}

impl SampleWriter {
    /// `scaled`: per sample type whether all profiles have it as a scale of the first.
    pub(crate) fn new(ix: usize, types: &[ValueType], scaled: &[bool]) -> Result<Self, StoreError> {
        let names: Vec<String> = types.iter().map(|of| format!("{}/{}", of.kind, of.unit)).collect();
        let mut columns = Vec::new();
        let mut stored = Vec::new();
        for (value, &scaled) in scaled.iter().enumerate() {
            columns.push((!scaled).then(|| (FIRST_VALUE + stored.len()) as u32));
            if !scaled {
                stored.push(value);
            }
        }
        let of_file: String =
            names.join("-").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // the number keeps names apart, the types are for the reader's eye
        let name = format!("samples-{ix}-{}.parquet", &of_file[..of_file.len().min(60)]);
        let mut value_names: Vec<String> = Vec::new();
        for &value in &stored {
            let name = names[value].clone();
            let taken = value_names.contains(&name) || RESERVED.contains(&name.as_str());
            value_names.push(if taken { format!("{name}#{value}") } else { name });
        }
        let value_fields = value_names.into_iter().map(|name| Field::new(name, DataType::Int64, false));
        Self::with(name, names, columns, stored, value_fields.collect())
    }

    /// The file for sets of sample types beyond the bound: a row per sample and type.
    pub(crate) fn generic(ix: usize) -> Result<Self, StoreError> {
        let fields = vec![Field::new("value", DataType::Int64, false), Field::new("type", DataType::Utf8, false)];
        Self::with(format!("samples-{ix}-generic.parquet"), Vec::new(), Vec::new(), vec![0], fields)
    }

    fn with(
        name: String,
        types: Vec<String>,
        columns: Vec<Option<u32>>,
        stored: Vec<usize>,
        value_fields: Vec<Field>,
    ) -> Result<Self, StoreError> {
        let mut fields = vec![
            Field::new("stream", DataType::UInt32, false),
            Field::new("time", DataType::Int64, false),
            Field::new("stack", DataType::UInt32, false),
            Field::new("label_set", DataType::UInt32, false),
        ];
        fields.extend(value_fields);
        let schema = Arc::new(Schema::new(fields));
        let stack = ColumnPath::from("stack");
        let page = EnabledStatistics::Page;
        let properties = properties()
            .set_column_dictionary_enabled(stack.clone(), false)
            .set_column_encoding(stack, Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(ColumnPath::from("stream"), page)
            .set_column_statistics_enabled(ColumnPath::from("time"), page)
            .build();
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), schema.clone(), options).map_err(write_failed)?;
        let values = vec![Vec::new(); stored.len()];
        Ok(Self {
            writer,
            schema,
            name,
            types,
            columns,
            stored,
            stream: Vec::new(),
            time: Vec::new(),
            stack: Vec::new(),
            label_set: Vec::new(),
            values,
            value_type: Vec::new(),
            rows: 0,
        })
    }

    /// Rows so far: the next profile's first row.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    #[inline]
    pub(crate) fn push(&mut self, stream: u32, time: i64, stack: u32, label_set: u32, row: &[i64]) {
        self.push_key(stream, time, stack, label_set);
        for (column, &value) in self.values.iter_mut().zip(&self.stored) {
            column.push(row[value]);
        }
    }

    /// A row of the generic file.
    pub(crate) fn push_typed(&mut self, stream: u32, time: i64, stack: u32, label_set: u32, value: i64, of: &Arc<str>) {
        self.push_key(stream, time, stack, label_set);
        self.values[0].push(value);
        self.value_type.push(of.clone());
    }

    #[inline]
    fn push_key(&mut self, stream: u32, time: i64, stack: u32, label_set: u32) {
        self.stream.push(stream);
        self.time.push(time);
        self.stack.push(stack);
        self.label_set.push(label_set);
        self.rows += 1;
    }

    /// Writes what has gathered, if it is enough. Call it now and then, at least once per profile.
    pub(crate) fn flush_full(&mut self) -> Result<(), StoreError> {
        if self.stream.len() < BATCH_ROWS { Ok(()) } else { self.flush().map_err(write_failed) }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        let take = |column: &mut Vec<u32>| Arc::new(UInt32Array::from(std::mem::take(column))) as ArrayRef;
        let take_i64 = |column: &mut Vec<i64>| Arc::new(Int64Array::from(std::mem::take(column))) as ArrayRef;
        let mut columns =
            vec![take(&mut self.stream), take_i64(&mut self.time), take(&mut self.stack), take(&mut self.label_set)];
        columns.extend(self.values.iter_mut().map(take_i64));
        if columns.len() < self.schema.fields().len() {
            let types = std::mem::take(&mut self.value_type);
            columns.push(Arc::new(StringArray::from_iter_values(types.iter().map(|of| &**of))));
        }
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// The file's description and bytes.
    pub(crate) fn finish(mut self) -> Result<(SampleFileMeta, Vec<u8>), StoreError> {
        self.flush().map_err(write_failed)?;
        let bytes = self.writer.into_inner().map_err(write_failed)?;
        Ok((SampleFileMeta { name: self.name, types: self.types, columns: self.columns, rows: self.rows }, bytes))
    }
}

/// Column names that no sample type may take.
const RESERVED: [&str; 4] = ["stream", "time", "stack", "label_set"];
