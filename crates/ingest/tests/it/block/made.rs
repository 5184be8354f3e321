//! Made-up blocks, written by another implementation of Parquet, with the rows that they are made of.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::{Held, Rows};

const START: i64 = 1_768_478_400_000_000_000;
const LABELS: [&str; 4] = ["job", "thread", "pod", "__hidden"];
const TYPES: [[&str; 5]; 3] = [
    ["memory", "inuse_space", "bytes", "space", "bytes"],
    ["process_cpu", "cpu", "nanoseconds", "cpu", "nanoseconds"],
    ["process_cpu", "samples", "count", "cpu", "nanoseconds"],
];

#[derive(Clone, Copy)]
pub struct Shape {
    pub rows: usize,
    pub group_rows: usize,
    /// Which of Parca's ways to encode a location: 0 the newest.
    pub layout: usize,
    /// Each sample has a time of its own.
    pub stamped: bool,
    /// Times in ns, not in ms alone.
    pub nanos: bool,
    pub second_version: bool,
    pub dictionary: bool,
    pub zstd: bool,
    pub page_rows: usize,
    /// Stacks that go beyond a small dictionary are encoded as no Parca does it.
    pub foreign: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            rows: 300,
            group_rows: 120,
            layout: 0,
            stamped: false,
            nanos: true,
            second_version: false,
            dictionary: true,
            zstd: false,
            page_rows: 50,
            foreign: false,
        }
    }
}

impl Shape {
    pub fn random(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(77) + 5);
        Self {
            rows: rng.below(1_500) as usize,
            group_rows: 1 + rng.below(400) as usize,
            layout: rng.below(3) as usize,
            stamped: rng.below(3) == 0,
            nanos: rng.below(4) != 0,
            second_version: rng.below(2) == 0,
            dictionary: rng.below(3) != 0,
            zstd: rng.below(2) == 0,
            page_rows: 1 + rng.below(200) as usize,
            foreign: false,
        }
    }
}

/// A row as it is written, and what must come of it.
pub struct Row {
    types: [&'static str; 5],
    labels: [Option<String>; LABELS.len()],
    duration: i64,
    period: i64,
    time: i64,
    value: i64,
    frames: Vec<(Vec<u8>, String)>,
}

pub struct Block {
    pub file: Held,
    pub rows: Vec<Row>,
}

impl Block {
    /// What the rows in `range` stand for.
    pub fn rows_of(&self, range: Range<usize>) -> Rows {
        let mut rows = Rows::new();
        for row in self.rows[range].iter().filter(|row| row.value != 0) {
            let [name, sample_type, sample_unit, period_type, period_unit] = row.types;
            let delta = if row.duration != 0 { ":delta" } else { "" };
            let labels = LABELS.iter().zip(&row.labels);
            let labels: BTreeMap<String, String> = labels
                .filter(|(name, _)| !name.starts_with("__"))
                .filter_map(|(name, value)| {
                    Some(((*name).to_owned(), value.clone().filter(|value| !value.is_empty())?))
                })
                .collect();
            let key = (
                format!("{name}:{sample_type}:{sample_unit}:{period_type}:{period_unit}{delta}"),
                labels.into_iter().collect(),
                [row.time, row.duration, row.period],
                row.frames.iter().map(|(_, text)| text.clone()).collect(),
            );
            *rows.entry(key).or_default() += row.value;
        }
        rows
    }
}

struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

pub fn block(seed: u64, shape: Shape) -> Block {
    let mut rng = Rng(seed);
    let mut rows: Vec<Row> = (0..shape.rows).map(|_| row(&mut rng, shape)).collect();
    rows.sort_by(|a, b| (a.types, a.time).cmp(&(b.types, b.time)));
    let file = Held(write(&rows, shape));
    Block { file, rows }
}

fn row(rng: &mut Rng, shape: Shape) -> Row {
    let types = TYPES[rng.below(3) as usize];
    let delta = types[0] == "process_cpu";
    let scale = if shape.nanos { 1 } else { 1_000_000 };
    let time = if shape.stamped {
        START + rng.below(60_000_000_000 / scale as u64) as i64 * scale
    } else {
        START + rng.below(5) as i64 * 10_000_000_000
    };
    let label = |rng: &mut Rng, most: u64| {
        let value = rng.below(most);
        (value > 0).then(|| if value == 1 { String::new() } else { format!("v{value}") })
    };
    Row {
        types,
        labels: [label(rng, 5), label(rng, 40), label(rng, 3), label(rng, 3)],
        duration: if delta { 10_000_000_000 } else { 0 },
        period: 1 + rng.below(2) as i64 * 10,
        time,
        value: rng.below(2_000) as i64 - 500,
        frames: (0..rng.below(6)).map(|_| frame(rng, shape.layout)).collect(),
    }
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

/// A location as Parca encodes it, and as [`super::rows`] tells it.
fn frame(rng: &mut Rng, layout: usize) -> (Vec<u8>, String) {
    let (stable, column) = (layout == 2, layout == 0);
    let mut out = Vec::new();
    let address = 0x1000 + rng.below(40) * 16;
    let is_stable = stable && rng.below(2) == 0;
    let (mapped, lines) = (rng.below(4) != 0, rng.below(3));
    number(&mut out, address);
    if stable {
        out.push(u8::from(is_stable));
    }
    number(&mut out, lines);
    out.push(u8::from(mapped));
    let (mut shown, mut mapping) = (address, String::new());
    if mapped {
        let (build_id, file) = (format!("id{}", rng.below(2)), format!("/bin/{}", rng.below(2)));
        let (start, offset) = (0x1000 * rng.below(2), rng.below(2) * 8);
        text(&mut out, &build_id);
        text(&mut out, &file);
        number(&mut out, start);
        number(&mut out, 0x4000);
        number(&mut out, offset);
        if !is_stable {
            shown = address.wrapping_sub(start).wrapping_add(offset);
        }
        mapping = format!("{file} {build_id}");
    }
    let mut told = Vec::new();
    for _ in 0..lines {
        let line = rng.below(200) as i64 - 20;
        number(&mut out, line as u64);
        let at = if column { rng.below(3) } else { 0 };
        if column {
            number(&mut out, at);
        }
        let named = rng.below(5) != 0;
        out.push(u8::from(named));
        let function = if named {
            // of an agent's frame there is the linker's name alone, in either place
            let linker = || "_ZN3foo3barEv".to_owned();
            let (name, system) = match rng.below(4) {
                0 => (String::new(), linker()),
                1 => (linker(), String::new()),
                other => (format!("f{other}"), format!("sys{other}")),
            };
            let is_linkers = name.is_empty() || system.is_empty();
            number(&mut out, 3);
            text(&mut out, &name);
            text(&mut out, &system);
            text(&mut out, "a.c");
            let (name, system) = if is_linkers { ("foo::bar".to_owned(), linker()) } else { (name, system) };
            format!("{name} {system} a.c 3")
        } else {
            "-".to_owned()
        };
        told.push(format!("{function}:{line}:{at}"));
    }
    (out, format!("{shown:x} {mapping} {}", told.join(",")))
}

fn write(rows: &[Row], shape: Shape) -> Vec<u8> {
    let labels: String = LABELS.iter().map(|name| format!("optional binary labels.{name} (UTF8);\n")).collect();
    let nanos = if shape.nanos { "required int64 time_nanos;" } else { "" };
    let schema = format!(
        "message parca {{ required int64 duration; {labels} required binary name (UTF8); required int64 period;
         required binary period_type (UTF8); required binary period_unit (UTF8); required binary sample_type (UTF8);
         required binary sample_unit (UTF8); repeated binary stacktrace (UTF8); {nanos} required int64 timestamp;
         required int64 value; }}"
    );
    let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
    let version = if shape.second_version { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
    let mut properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_dictionary_enabled(shape.dictionary)
        .set_compression(if shape.zstd { Compression::ZSTD(Default::default()) } else { Compression::UNCOMPRESSED })
        .set_write_batch_size(shape.page_rows)
        .set_data_page_row_count_limit(shape.page_rows);
    if shape.foreign {
        properties = properties.set_dictionary_page_size_limit(1_000);
    }
    for column in schema.get_fields() {
        let is_number = column.get_physical_type() == parquet::basic::Type::INT64;
        let path = parquet::schema::types::ColumnPath::new(vec![column.name().to_owned()]);
        // what Parca's numbers have beside a dictionary; its texts have none
        let encoding = if is_number { Encoding::DELTA_BINARY_PACKED } else { Encoding::PLAIN };
        let is_foreign = shape.foreign && column.name() == "stacktrace";
        let encoding = if is_foreign { Encoding::DELTA_LENGTH_BYTE_ARRAY } else { encoding };
        properties = properties.set_column_encoding(path.clone(), encoding);
        if matches!(column.name(), "value" | "timestamp" | "time_nanos") {
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).expect("a writer");
    for rows in rows.chunks(shape.group_rows) {
        write_group(&mut writer, rows);
    }
    writer.into_inner().expect("written")
}

fn write_group(writer: &mut SerializedFileWriter<Vec<u8>>, rows: &[Row]) {
    let names: Vec<String> = writer.schema_descr().columns().iter().map(|column| column.name().to_owned()).collect();
    let mut group = writer.next_row_group().expect("a row group");
    let mut names = names.iter();
    while let Some(mut column) = group.next_column().expect("a column") {
        let name = names.next().expect("a name").as_str();
        match column.untyped() {
            ColumnWriter::Int64ColumnWriter(column) => {
                let values: Vec<i64> = rows
                    .iter()
                    .map(|row| match name {
                        "duration" => row.duration,
                        "period" => row.period,
                        "time_nanos" => row.time,
                        "timestamp" => row.time / 1_000_000,
                        _ => row.value,
                    })
                    .collect();
                column.write_batch(&values, None, None).expect("written");
            }
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let (mut values, mut present, mut continues) = (Vec::new(), Vec::new(), Vec::new());
                for row in rows {
                    match texts(row, name) {
                        None => {
                            values.extend(row.frames.iter().map(|(bytes, _)| ByteArray::from(bytes.clone())));
                            present.extend((0..row.frames.len().max(1)).map(|_| i16::from(!row.frames.is_empty())));
                            continues.extend((0..row.frames.len().max(1)).map(|at| i16::from(at > 0)));
                        }
                        Some(text) => {
                            present.push(i16::from(text.is_some()));
                            values.extend(text.map(ByteArray::from));
                        }
                    }
                }
                let nullable = name.starts_with("labels.");
                let is_list = name == "stacktrace";
                column
                    .write_batch(&values, (nullable || is_list).then_some(&*present), is_list.then_some(&*continues))
                    .expect("written");
            }
            _ => panic!("a column {name} of another type"),
        }
        column.close().expect("closed");
    }
    group.close().expect("closed");
}

/// A row's text in a column of texts; `None` for the stacks.
fn texts<'r>(row: &'r Row, column: &str) -> Option<Option<&'r str>> {
    let [name, sample_type, sample_unit, period_type, period_unit] = row.types;
    Some(match column {
        "stacktrace" => return None,
        "name" => Some(name),
        "sample_type" => Some(sample_type),
        "sample_unit" => Some(sample_unit),
        "period_type" => Some(period_type),
        "period_unit" => Some(period_unit),
        label => {
            let at = LABELS.iter().position(|name| label.ends_with(name)).expect("a label");
            row.labels[at].as_deref()
        }
    })
}

/// A Parquet file of somebody else's.
pub fn other_file() -> Vec<u8> {
    let schema = Arc::new(parse_message_type("message other { required int64 a; }").expect("a schema"));
    let writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).expect("a writer");
    writer.into_inner().expect("written")
}
