//! Reports as Arrow IPC streams of one batch with LZ4 buffers, in the columns and types that Parca's readers
//! (its UI, Grafana's datasource) assert without asking.
//!
//! Strings are dictionaries taken over from the report as they are; no row's string is touched.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, Int32Array, ListArray,
    PrimitiveArray, RecordBatch, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, Field, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use query::report::{Column, Dictionary, FlameGraph, FrameColumns, Lists, SourceLines, Table, TextColumn};

/// A flame graph, a row per node, row 0 the root.
pub(crate) fn flame_graph(graph: FlameGraph) -> Result<Vec<u8>, ArrowError> {
    let rows = graph.len();
    let FrameColumns {
        location_address,
        mapping_file,
        mapping_build_id,
        location_line,
        function_startline,
        function_name,
        function_system_name,
        function_file_name,
    } = graph.frames;
    let timestamp = if graph.timestamp.is_empty() { vec![0; rows] } else { graph.timestamp };
    let depth = graph.depth.into_iter().map(i64::from).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("labels_only", Arc::new(BooleanArray::new(graph.labels_only.into(), None))),
        ("location_address", primitive::<UInt64Type>(location_address)),
        ("mapping_file", bytes(mapping_file)?),
        ("mapping_build_id", bytes(mapping_build_id)?),
        ("location_line", unsigned(location_line.values, Some(location_line.valid))),
        ("inlined", Arc::new(BooleanArray::new(graph.inlined.values.into(), nulls(graph.inlined.valid)))),
        ("function_startline", unsigned(function_startline.values, Some(function_startline.valid))),
        ("function_name", bytes(function_name)?),
        ("function_system_name", bytes(function_system_name)?),
        ("function_file_name", bytes(function_file_name)?),
        ("children", lists::<UInt32Type>(graph.children)?),
        ("parent", Arc::new(Int32Array::from(graph.parent))),
        ("cumulative", unsigned(graph.cumulative, None)),
        ("flat", signed_or_unsigned(graph.flat)),
        ("diff", signed(graph.diff)),
        ("timestamp", Arc::new(PrimitiveArray::<Int64Type>::from(timestamp))),
        ("depth", unsigned(depth, None)),
        ("value_offset", unsigned(graph.value_offset, None)),
    ];
    let names: Vec<String> = graph.labels.iter().map(|label| format!("labels.{}", label.name)).collect();
    for (name, label) in names.iter().zip(graph.labels) {
        columns.push((name, bytes(label.values)?));
    }
    stream(columns)
}

/// A table, a row per function or nameless address.
pub(crate) fn table(table: Table) -> Result<Vec<u8>, ArrowError> {
    let frames = table.frames;
    stream(vec![
        ("mapping_file", text(frames.mapping_file)?),
        ("mapping_build_id", text(frames.mapping_build_id)?),
        ("location_address", primitive::<UInt64Type>(frames.location_address)),
        ("location_line", primitive::<Int64Type>(frames.location_line)),
        ("function_startline", primitive::<Int64Type>(frames.function_startline)),
        ("function_name", text(frames.function_name)?),
        ("function_system_name", text(frames.function_system_name)?),
        ("function_file_name", text(frames.function_file_name)?),
        ("cumulative", Arc::new(PrimitiveArray::<Int64Type>::from(table.cumulative))),
        ("cumulative_diff", primitive::<Int64Type>(table.cumulative_diff)),
        ("flat", Arc::new(PrimitiveArray::<Int64Type>::from(table.flat))),
        ("flat_diff", Arc::new(PrimitiveArray::<Int64Type>::from(table.flat_diff))),
        ("callers", lists::<Int64Type>(table.callers)?),
        ("callees", lists::<Int64Type>(table.callees)?),
    ])
}

/// Values per line of a file.
pub(crate) fn source(lines: SourceLines) -> Result<Vec<u8>, ArrowError> {
    stream(vec![
        ("filename", text(lines.filename)?),
        ("line_number", Arc::new(PrimitiveArray::<Int64Type>::from(lines.line))),
        ("cumulative", Arc::new(PrimitiveArray::<Int64Type>::from(lines.cumulative))),
        ("flat", Arc::new(PrimitiveArray::<Int64Type>::from(lines.flat))),
    ])
}

fn stream(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>, ArrowError> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable() || *name == "inlined"))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, array)| array).collect())?;
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options)?;
    writer.write(&batch)?;
    writer.into_inner()
}

fn nulls(valid: Vec<bool>) -> Option<NullBuffer> {
    Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0)
}

fn primitive<T: ArrowPrimitiveType>(column: Column<T::Native>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(column.values), nulls(column.valid)))
}

/// The narrowest unsigned integers that hold the values; one below 0 becomes 0 (no line, no place, is negative).
fn unsigned(values: Vec<i64>, valid: Option<Vec<bool>>) -> ArrayRef {
    let nulls = valid.and_then(nulls);
    let max = values.iter().copied().max().unwrap_or(0);
    if max <= i64::from(u8::MAX) {
        narrow::<UInt8Type>(&values, nulls, |value| value.max(0) as u8)
    } else if max <= i64::from(u16::MAX) {
        narrow::<UInt16Type>(&values, nulls, |value| value.max(0) as u16)
    } else if max <= i64::from(u32::MAX) {
        narrow::<UInt32Type>(&values, nulls, |value| value.max(0) as u32)
    } else {
        narrow::<UInt64Type>(&values, nulls, |value| value.max(0) as u64)
    }
}

/// The narrowest signed integers that hold the values.
fn signed(values: Vec<i64>) -> ArrayRef {
    let (min, max) = values.iter().fold((0, 0), |(min, max), value| (min.min(*value), max.max(*value)));
    let within = |low: i64, high: i64| min >= low && max <= high;
    if within(i8::MIN.into(), i8::MAX.into()) {
        narrow::<Int8Type>(&values, None, |value| value as i8)
    } else if within(i16::MIN.into(), i16::MAX.into()) {
        narrow::<Int16Type>(&values, None, |value| value as i16)
    } else if within(i32::MIN.into(), i32::MAX.into()) {
        narrow::<Int32Type>(&values, None, |value| value as i32)
    } else {
        Arc::new(PrimitiveArray::<Int64Type>::from(values))
    }
}

/// Unsigned as in Parca, unless a value is negative, which Parca cannot show.
fn signed_or_unsigned(values: Vec<i64>) -> ArrayRef {
    if values.iter().any(|value| *value < 0) { signed(values) } else { unsigned(values, None) }
}

fn narrow<T: ArrowPrimitiveType>(
    values: &[i64],
    nulls: Option<NullBuffer>,
    cast: impl Fn(i64) -> T::Native,
) -> ArrayRef {
    let narrowed: Vec<T::Native> = values.iter().map(|value| cast(*value)).collect();
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(narrowed), nulls))
}

/// Dictionary<Int32, Binary>
fn bytes(column: TextColumn) -> Result<ArrayRef, ArrowError> {
    let Dictionary { offsets, values } = column.dictionary;
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    let values = BinaryArray::try_new(offsets, Buffer::from_vec(values), None)?;
    dictionary(column.keys, Arc::new(values))
}

/// Dictionary<Int32, Utf8>; bytes that are not UTF-8 are replaced.
fn text(column: TextColumn) -> Result<ArrayRef, ArrowError> {
    let Dictionary { offsets, values } = column.dictionary;
    let lossy = |offsets: &[i32], values: &[u8]| {
        let strings = offsets.windows(2).map(|span| {
            let bytes = values.get(span[0] as usize..span[1] as usize).unwrap_or_default();
            Some(String::from_utf8_lossy(bytes).into_owned())
        });
        strings.collect::<StringArray>()
    };
    let spans = OffsetBuffer::new(ScalarBuffer::from(offsets.clone()));
    let strings = match StringArray::try_new(spans, Buffer::from(values.as_slice()), None) {
        Ok(strings) => strings,
        Err(_) => lossy(&offsets, &values),
    };
    dictionary(column.keys, Arc::new(strings))
}

/// A key below 0 is null.
fn dictionary(keys: Vec<i32>, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let valid: Vec<bool> = keys.iter().map(|key| *key >= 0).collect();
    let keys = PrimitiveArray::<Int32Type>::new(ScalarBuffer::from(keys), nulls(valid));
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

fn lists<T: ArrowPrimitiveType>(lists: Lists<T::Native>) -> Result<ArrayRef, ArrowError>
where
    T::Native: ArrowNativeType,
{
    let items = PrimitiveArray::<T>::new(ScalarBuffer::from(lists.items), None);
    let item = Arc::new(Field::new("item", T::DATA_TYPE, true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(lists.offsets));
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(items), None)?))
}

#[cfg(test)]
#[path = "arrow/tests.rs"]
mod tests;
