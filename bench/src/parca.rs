//! Blocks as a Parca leaves them in its bucket, written by the `parquet` crate.

use std::collections::BTreeMap;
use std::sync::Arc;

use ingest::{Limits, Scratch};
use parquet::basic::{Encoding, Type};
use parquet::column::reader::get_typed_column_reader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use profile::{Batch, NONE};

use crate::corpus::Payload;

/// Parca's own default.
const GROUP_ROWS: usize = 8_192;

/// A block, and how many rows it has.
pub struct Block {
    pub bytes: Vec<u8>,
    pub rows: usize,
}

struct Row {
    types: [Arc<str>; 5],
    labels: Arc<BTreeMap<String, String>>,
    duration: i64,
    period: i64,
    time: i64,
    value: i64,
    stack: Arc<[ByteArray]>,
}

/// What a Parca that received `payloads` writes at its end: a row per sample and type.
pub fn block(payloads: impl Iterator<Item = Payload>) -> Block {
    let mut scratch = Scratch::default();
    let mut rows = Vec::new();
    for payload in payloads {
        let decoded = ingest::pprof(payload.labels, &payload.raw, payload.time, &Limits::default(), &mut scratch);
        add_rows(&decoded.expect("a sound profile"), &mut rows);
    }
    rows.sort_by(|a, b| (&a.types, a.time).cmp(&(&b.types, b.time)));
    Block { bytes: write(&rows), rows: rows.len() }
}

fn add_rows(batch: &Batch, rows: &mut Vec<Row>) {
    let locations: Vec<ByteArray> =
        (0..batch.symbols.locations.len()).map(|at| ByteArray::from(location(batch, at))).collect();
    for profile in 0..batch.profiles.len() {
        let stream = &batch.streams[batch.profiles.stream[profile] as usize];
        let labels = stream.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let labels: Arc<BTreeMap<_, _>> = Arc::new(labels.collect());
        let types: Vec<[Arc<str>; 5]> = stream
            .sample_types
            .iter()
            .map(|of| [&stream.name, &of.kind, &of.unit, &stream.period_type.kind, &stream.period_type.unit])
            .map(|texts| texts.map(|text| text.as_str().into()))
            .collect();
        for sample in batch.profiles.samples(profile) {
            let run = batch.stacks.get(batch.samples.stack[sample]);
            let stack: Arc<[ByteArray]> = run.iter().map(|&at| locations[at as usize].clone()).collect();
            for (types, &value) in types.iter().zip(&batch.samples.values[sample * types.len()..]) {
                rows.push(Row {
                    types: types.clone(),
                    labels: labels.clone(),
                    duration: batch.profiles.duration[profile],
                    period: batch.profiles.period[profile],
                    time: batch.profiles.time[profile],
                    value,
                    stack: stack.clone(),
                });
            }
        }
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// As Parca 0.28 encodes it.
fn location(batch: &Batch, at: usize) -> Vec<u8> {
    let symbols = &batch.symbols;
    let text = |out: &mut Vec<u8>, ix: u32| {
        let text = symbols.strings.get(ix);
        number(out, text.len() as u64);
        out.extend_from_slice(text);
    };
    let mut out = Vec::new();
    number(&mut out, symbols.locations.address[at]);
    let lines = symbols.locations.lines(at as u32);
    number(&mut out, lines.len() as u64);
    match symbols.locations.mapping[at] {
        NONE => out.push(0),
        row => {
            let row = row as usize;
            out.push(1);
            text(&mut out, symbols.mappings.build_id[row]);
            text(&mut out, symbols.mappings.file[row]);
            out.extend([0, 0, 0]);
        }
    }
    for row in lines {
        number(&mut out, symbols.lines.line[row] as u64);
        out.push(0);
        match symbols.lines.function[row] {
            NONE => out.push(0),
            function => {
                let (of, function) = (&symbols.functions, function as usize);
                out.push(1);
                number(&mut out, of.start_line[function] as u64);
                text(&mut out, of.name[function]);
                text(&mut out, of.system_name[function]);
                text(&mut out, of.filename[function]);
            }
        }
    }
    out
}

fn write(rows: &[Row]) -> Vec<u8> {
    let names: std::collections::BTreeSet<&str> =
        rows.iter().flat_map(|row| row.labels.keys().map(String::as_str)).collect();
    let labels: String = names.iter().map(|name| format!("optional binary labels.{name} (UTF8);")).collect();
    let schema = format!(
        "message parca {{ required int64 duration; {labels} required binary name (UTF8); required int64 period;
         required binary period_type (UTF8); required binary period_unit (UTF8); required binary sample_type (UTF8);
         required binary sample_unit (UTF8); repeated binary stacktrace (UTF8); required int64 time_nanos;
         required int64 timestamp; required int64 value; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let mut properties = WriterProperties::builder();
    for name in ["value", "timestamp", "time_nanos"] {
        let path = ColumnPath::new(vec![name.to_owned()]);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    // parquet-go keeps on with a dictionary however large it grows
    properties = properties.set_dictionary_page_size_limit(1 << 30);
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).expect("a writer");
    for rows in rows.chunks(GROUP_ROWS) {
        write_group(&mut writer, rows);
    }
    writer.into_inner().expect("written")
}

fn write_group(writer: &mut SerializedFileWriter<Vec<u8>>, rows: &[Row]) {
    let names: Vec<String> = writer.schema_descr().columns().iter().map(|column| column.name().to_owned()).collect();
    let mut group = writer.next_row_group().expect("a row group");
    for name in &names {
        let mut column = group.next_column().expect("a column").expect("as many as there are names");
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(column) => {
                let value = |row: &Row| match name.as_str() {
                    "duration" => row.duration,
                    "period" => row.period,
                    "time_nanos" => row.time,
                    "timestamp" => row.time / 1_000_000,
                    _ => row.value,
                };
                column.write_batch(&rows.iter().map(value).collect::<Vec<_>>(), None, None).expect("written");
            }
            ColumnWriter::ByteArrayColumnWriter(column) if name == "stacktrace" => {
                let values: Vec<ByteArray> = rows.iter().flat_map(|row| row.stack.iter().cloned()).collect();
                let levels = rows.iter().flat_map(|row| (0..row.stack.len().max(1)).map(move |at| (row, at)));
                let (present, continues): (Vec<i16>, Vec<i16>) =
                    levels.map(|(row, at)| (i16::from(!row.stack.is_empty()), i16::from(at > 0))).unzip();
                column.write_batch(&values, Some(&present), Some(&continues)).expect("written");
            }
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let place = ["name", "sample_type", "sample_unit", "period_type", "period_unit"];
                let text = |row: &Row| match place.iter().position(|of| of == name) {
                    Some(at) => Some(ByteArray::from(&*row.types[at])),
                    None => row.labels.get(name.trim_start_matches("labels.")).map(|value| value.as_str().into()),
                };
                let texts: Vec<Option<ByteArray>> = rows.iter().map(text).collect();
                let present: Vec<i16> = texts.iter().map(|text| i16::from(text.is_some())).collect();
                let values: Vec<ByteArray> = texts.into_iter().flatten().collect();
                let levels = name.starts_with("labels.").then_some(&*present);
                column.write_batch(&values, levels, None).expect("written");
            }
            _ => panic!("a column {name} of another type"),
        }
        column.close().expect("closed");
    }
    group.close().expect("closed");
}

/// The peer: every value of the block through the `parquet` crate, thrown away.
pub fn read_all(block: &Block) -> usize {
    let reader = SerializedFileReader::new(bytes::Bytes::from(block.bytes.clone())).expect("a file");
    let mut values = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).expect("a row group");
        for column in 0..group.num_columns() {
            let is_number = group.metadata().column(column).column_type() == Type::INT64;
            let reader = group.get_column_reader(column).expect("a column");
            let (mut present, mut continues) = (Vec::new(), Vec::new());
            if is_number {
                let mut out = Vec::new();
                let mut reader = get_typed_column_reader::<Int64Type>(reader);
                reader.read_records(GROUP_ROWS, None, None, &mut out).expect("read");
                values += out.len();
            } else {
                let mut out = Vec::new();
                let mut reader = get_typed_column_reader::<ByteArrayType>(reader);
                reader.read_records(GROUP_ROWS, Some(&mut present), Some(&mut continues), &mut out).expect("read");
                values += out.len();
            }
        }
    }
    values
}
