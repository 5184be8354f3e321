//! The same stacks in every encoding that Arrow has for their columns: what is read must not depend on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, FixedSizeListArray, GenericListArray, GenericListViewArray, Int64Array,
    LargeStringArray, RecordBatch, RunArray, StringArray, StringViewArray, StructArray, UInt32Array, UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UInt32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use ingest::{Dictionaries, stamped_limits};

use crate::{RECEIVED, told};

struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % end as u64) as usize
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn text(&mut self) -> Option<&'static str> {
        [None, Some(""), Some("main"), Some("a_rather_long_name.of_some_function"), Some("é"), Some("/x")]
            [self.below(6)]
    }
}

/// System name, file, start line.
type Function = (Option<&'static str>, Option<&'static str>, Option<i64>);
/// Function, line, column.
type Line = (Option<Function>, Option<i64>, Option<i64>);

#[derive(Clone)]
struct Location {
    address: u64,
    /// File and build ID.
    mapping: [Option<&'static str>; 2],
    lines: Option<Vec<Option<Line>>>,
}

type Stack = Option<Vec<Option<Location>>>;

fn location(rng: &mut Rng) -> Location {
    let number = |rng: &mut Rng| (!rng.one_in(4)).then(|| rng.below(5) as i64 - 1);
    let line = |rng: &mut Rng| {
        let function = (!rng.one_in(4)).then(|| (rng.text(), rng.text(), number(rng)));
        (!rng.one_in(5)).then(|| (function, number(rng), number(rng)))
    };
    let lines = (!rng.one_in(4)).then(|| (0..rng.below(3)).map(|_| line(rng)).collect());
    Location { address: rng.below(3) as u64, mapping: [rng.text(), rng.text()], lines }
}

/// What a reader should make of it.
fn meant(stack: &Stack) -> Vec<String> {
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let frame = |location: &Location| {
        let lines: Vec<String> = (location.lines.iter().flatten().flatten())
            .map(|(function, line, column)| {
                // none of the texts means another name
                let function = function.map(|(name, file, start)| ([name, name, file].map(text), start.unwrap_or(0)));
                format!("{function:?} {} {}", line.unwrap_or(0), column.unwrap_or(0))
            })
            .collect();
        format!("{:?} {} {lines:?}", location.mapping.map(text), location.address)
    };
    stack.iter().flatten().flatten().map(frame).collect()
}

/// Behind a dictionary in some other order, or in runs, or as it is.
fn wrapped(rng: &mut Rng, values: ArrayRef) -> ArrayRef {
    let len = values.len();
    match rng.below(4) {
        // with rows that nothing names, before and behind, if there are any to take
        0 | 1 if len > 0 => {
            let keys: Vec<u32> = (0..len as u32).map(|row| (row + 1) % len as u32).collect();
            let back = UInt32Array::from_iter_values((0..len as u32).map(|row| (row + len as u32 - 1) % len as u32));
            let turned = arrow::compute::take(&values, &UInt32Array::from(keys), None).expect("rows");
            let kind = [DataType::Int8, DataType::UInt16, DataType::Int64, DataType::UInt32][rng.below(4)].clone();
            let keys = if rng.one_in(2) { DataType::UInt32 } else { kind };
            let dictionary: ArrayRef = Arc::new(DictionaryArray::<UInt32Type>::try_new(back, turned).expect("keys"));
            if keys == DataType::UInt32 { dictionary } else { rekeyed(&dictionary, &keys) }
        }
        2 if len > 0 => {
            let same = |row: usize| values.slice(row, 1).to_data() == values.slice(row - 1, 1).to_data();
            // of what is the same some share a run
            let begins: Vec<usize> = (0..len).filter(|&row| row == 0 || !same(row) || rng.one_in(3)).collect();
            let ends = begins[1..].iter().chain([&len]).map(|&end| end as i32);
            let firsts = UInt32Array::from_iter_values(begins.iter().map(|&row| row as u32));
            let firsts = arrow::compute::take(&values, &firsts, None).expect("rows");
            Arc::new(RunArray::<Int32Type>::try_new(&ends.collect(), &firsts).expect("a value a run"))
        }
        _ => values,
    }
}

/// The same with keys of another type.
fn rekeyed(dictionary: &ArrayRef, keys: &DataType) -> ArrayRef {
    let of = dictionary.as_any().downcast_ref::<DictionaryArray<UInt32Type>>().expect("a dictionary");
    if of.values().len() > 100 {
        return dictionary.clone();
    }
    let kind = DataType::Dictionary(Box::new(keys.clone()), Box::new(of.values().data_type().clone()));
    let data = cast(&(Arc::new(of.keys().clone()) as ArrayRef), keys).expect("small keys").to_data();
    let data = data.into_builder().data_type(kind).child_data(vec![of.values().to_data()]);
    arrow::array::make_array(data.build().expect("a dictionary"))
}

fn texts(rng: &mut Rng, values: Vec<Option<&str>>) -> ArrayRef {
    let array: ArrayRef = match rng.below(4) {
        0 => Arc::new(LargeStringArray::from(values)),
        1 => Arc::new(StringViewArray::from(values)),
        2 => cast(&(Arc::new(StringArray::from(values)) as ArrayRef), &DataType::Binary).expect("bytes"),
        _ => Arc::new(StringArray::from(values)),
    };
    wrapped(rng, array)
}

fn numbers(rng: &mut Rng, values: Vec<Option<i64>>) -> ArrayRef {
    let array: ArrayRef = Arc::new(Int64Array::from(values));
    let kind = [DataType::Int64, DataType::Int8, DataType::Int32][rng.below(3)].clone();
    let array = cast(&array, &kind).expect("small numbers");
    wrapped(rng, array)
}

fn structure(fields: Vec<(&str, ArrayRef)>, nulls: Option<NullBuffer>) -> ArrayRef {
    let (fields, arrays): (Vec<Arc<Field>>, Vec<ArrayRef>) =
        fields.into_iter().map(|(name, of)| (Arc::new(Field::new(name, of.data_type().clone(), true)), of)).unzip();
    Arc::new(StructArray::try_new(fields.into(), arrays, nulls).expect("fields of one length"))
}

/// `None` for null; of these there is a bitmap only where one is needed.
fn nulls<T>(rows: &[Option<T>]) -> Option<NullBuffer> {
    rows.iter().any(Option::is_none).then(|| rows.iter().map(Option::is_some).collect())
}

/// Lists of the lengths given; `None` for null.
fn lists(rng: &mut Rng, items: ArrayRef, lengths: &[Option<usize>]) -> ArrayRef {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let nulls = nulls(lengths);
    let sizes: Vec<usize> = lengths.iter().map(|length| length.unwrap_or(0)).collect();
    let starts: Vec<usize> = sizes.iter().scan(0, |at, size| Some(std::mem::replace(at, *at + size))).collect();
    let long = |of: &[usize]| ScalarBuffer::from(of.iter().map(|&of| of as i64).collect::<Vec<_>>());
    let short = |of: &[usize]| ScalarBuffer::from(of.iter().map(|&of| of as i32).collect::<Vec<_>>());
    match rng.below(5) {
        0 => {
            let offsets = OffsetBuffer::<i64>::from_lengths(sizes);
            Arc::new(GenericListArray::try_new(field, offsets, items, nulls).expect("lists"))
        }
        1 => Arc::new(
            GenericListViewArray::<i64>::try_new(field, long(&starts), long(&sizes), items, nulls).expect("lists"),
        ),
        2 => {
            let offsets = OffsetBuffer::<i32>::from_lengths(sizes);
            Arc::new(GenericListArray::try_new(field, offsets, items, nulls).expect("lists"))
        }
        3 if sizes.iter().all(|&size| size == 1) && !sizes.is_empty() => {
            Arc::new(FixedSizeListArray::try_new(field, 1, items, nulls).expect("lists"))
        }
        _ => Arc::new(
            GenericListViewArray::<i32>::try_new(field, short(&starts), short(&sizes), items, nulls).expect("lists"),
        ),
    }
}

fn stacks(rng: &mut Rng, stacks: &[Stack]) -> ArrayRef {
    let frames: Vec<Option<Location>> = stacks.iter().flatten().flatten().cloned().collect();
    // what lies under a null must not be looked at
    let under = location(rng);
    let of = |frame: &Option<Location>| frame.clone().unwrap_or_else(|| under.clone());
    let locations: Vec<Location> = frames.iter().map(of).collect();
    let lines: Vec<Option<Line>> = locations.iter().flat_map(|of| of.lines.iter().flatten().copied()).collect();
    let line_under: Line = (Some((Some("under"), None, None)), Some(9), None);
    let each = |line: &Option<Line>| line.unwrap_or(line_under);
    let functions: Vec<Option<Function>> = lines.iter().map(|line| each(line).0).collect();
    let function_under: Function = (Some("under"), Some("under"), Some(8));
    let function = |of: &Option<Function>| of.unwrap_or(function_under);

    let mut fields = vec![("system_name", texts(rng, functions.iter().map(|of| function(of).0).collect()))];
    fields.push(("filename", texts(rng, functions.iter().map(|of| function(of).1).collect())));
    fields.push(("start_line", numbers(rng, functions.iter().map(|of| function(of).2).collect())));
    let function = structure(fields, nulls(&functions));
    let mut fields = vec![("function", wrapped(rng, function))];
    fields.push(("line", numbers(rng, lines.iter().map(|of| each(of).1).collect())));
    fields.push(("column", numbers(rng, lines.iter().map(|of| each(of).2).collect())));
    let line = structure(fields, nulls(&lines));
    let line = wrapped(rng, line);
    let lengths: Vec<Option<usize>> = locations.iter().map(|of| of.lines.as_ref().map(Vec::len)).collect();
    let mut fields = vec![("lines", lists(rng, line, &lengths))];
    fields.push(("address", Arc::new(UInt64Array::from_iter_values(locations.iter().map(|of| of.address)))));
    fields.push(("mapping_file", texts(rng, locations.iter().map(|of| of.mapping[0]).collect())));
    fields.push(("mapping_build_id", texts(rng, locations.iter().map(|of| of.mapping[1]).collect())));
    let location = structure(fields, nulls(&frames));
    let location = wrapped(rng, location);
    let lengths: Vec<Option<usize>> = stacks.iter().map(|stack| stack.as_ref().map(Vec::len)).collect();
    let stacks = lists(rng, location, &lengths);
    wrapped(rng, stacks)
}

/// A message of v2.
fn message(rng: &mut Rng, rows: &[(Stack, i64)]) -> Vec<u8> {
    let text = |rng: &mut Rng, value: &'static str| texts(rng, vec![Some(value); rows.len()]);
    let number = |rng: &mut Rng, value: i64| numbers(rng, vec![Some(value); rows.len()]);
    let of: Vec<Stack> = rows.iter().map(|(stack, _)| stack.clone()).collect();
    let columns = vec![
        ("stacktrace", stacks(rng, &of)),
        ("stacktrace_id", text(rng, "sixteen_bytes_of")),
        ("value", numbers(rng, rows.iter().map(|(_, value)| Some(*value)).collect())),
        ("producer", text(rng, "agent")),
        ("sample_type", text(rng, "samples")),
        ("sample_unit", text(rng, "count")),
        ("period_type", text(rng, "cpu")),
        ("period_unit", text(rng, "nanoseconds")),
        ("period", number(rng, 1)),
        ("duration", number(rng, 100)),
        ("timestamp", Arc::new(Int64Array::from(vec![RECEIVED; rows.len()]))),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let version = [("parca_write_schema_version".to_owned(), "v2".to_owned())];
    let schema = Arc::new(Schema::new_with_metadata(fields, version.into()));
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    let record = RecordBatch::try_new(schema.clone(), columns).expect("columns of one length");
    let compression = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)][rng.below(3)];
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("compression");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).expect("a stream");
    writer.write(&record).expect("written");
    writer.into_inner().expect("ended")
}

#[test]
fn a_message_says_the_same_however_its_columns_are_encoded() {
    let dictionaries = Dictionaries::default();
    for seed in 0..600 {
        let mut rng = Rng(seed);
        let kinds: Vec<Stack> = (0..1 + rng.below(6))
            .map(|_| {
                let mut frame = |_| (!rng.one_in(6)).then(|| location(&mut rng));
                let frames: Vec<Option<Location>> = (0..(seed as usize) % 4).map(&mut frame).collect();
                (seed % 5 != 0 || !frames.is_empty()).then_some(frames)
            })
            .collect();
        let rows: Vec<(Stack, i64)> =
            (0..1 + rng.below(8)).map(|_| (kinds[rng.below(kinds.len())].clone(), 1 + rng.below(9) as i64)).collect();
        let mut wanted = BTreeMap::new();
        for (stack, value) in &rows {
            *wanted.entry(meant(stack)).or_default() += value;
        }
        let message = message(&mut rng, &rows);
        for dictionaries in [&Dictionaries::default(), &dictionaries] {
            let batch = ingest::write_arrow(&message, RECEIVED, &stamped_limits(), dictionaries)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            assert_eq!(told(&batch.without_dictionary()), wanted, "seed {seed}");
        }
    }
}
