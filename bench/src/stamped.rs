//! The corpus [`agent`](crate::corpus::agent) as agents and collectors send it: the profiles of a node and ten seconds in one message, in
//! Arrow v2, Arrow v1 or OTLP (proto 1.10). Made from the pprofs, so that all say the same.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, GenericListViewArray, Int32Array,
    Int64Array, ListArray, RecordBatch, RunArray, StringArray, StringViewArray, StructArray, TimestampNanosecondArray,
    UInt32Array, UInt64Array,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, UInt32Type};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use prost::Message as _;

use crate::corpus::{Message, Payload};
use crate::peer::proto::Profile;

/// Profiles of a message: 13 samples each, 780 in all.
pub const PROFILES: usize = 60;

const LABELS: [&str; 3] = ["node", "pod", "comm"];

/// The profiles of one message, with what they share once.
#[derive(Default)]
struct Gathered {
    profiles: Vec<Gathering>,
    /// Of all profiles, one after the other: stack and value.
    rows: Vec<(u32, i64)>,
    /// Leaf first.
    stacks: Vec<Vec<u32>>,
    locations: Vec<Location>,
    functions: Vec<Function>,
    mappings: Vec<[String; 2]>,
}

struct Gathering {
    labels: [String; LABELS.len()],
    time: i64,
    duration: i64,
    period: i64,
    rows: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Location {
    mapping: u32,
    /// From the mapping's start on.
    address: u64,
    line: Option<(u32, i64)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Function {
    system_name: String,
    file: String,
    start_line: i64,
}

/// The number of `item`, which is new or known.
fn number<T: Clone + Eq + std::hash::Hash>(known: &mut HashMap<T, u32>, all: &mut Vec<T>, item: T) -> u32 {
    *known.entry(item.clone()).or_insert_with(|| {
        all.push(item);
        all.len() as u32 - 1
    })
}

impl Gathered {
    fn of(payloads: &[Payload]) -> Self {
        let mut gathered = Self::default();
        let (mut stacks, mut locations) = (HashMap::new(), HashMap::new());
        let (mut functions, mut mappings) = (HashMap::new(), HashMap::new());
        for payload in payloads {
            let profile = Profile::decode(payload.raw.as_slice()).expect("a sound profile");
            let text = |ix: i64| profile.string_table[ix as usize].clone();
            let label = |name: &str| {
                let found = payload.labels.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone()).expect("a label")
            };
            for sample in &profile.sample {
                let stack: Vec<u32> = (sample.location_id.iter())
                    .map(|id| {
                        let location = &profile.location[*id as usize - 1];
                        let mapping = &profile.mapping[location.mapping_id as usize - 1];
                        let (start, names) = (mapping.memory_start, [text(mapping.filename), text(mapping.build_id)]);
                        let line = location.line.first().map(|line| {
                            let function = &profile.function[line.function_id as usize - 1];
                            let function = Function {
                                system_name: text(function.system_name),
                                file: text(function.filename),
                                start_line: function.start_line,
                            };
                            (number(&mut functions, &mut gathered.functions, function), line.line)
                        });
                        let mapping = number(&mut mappings, &mut gathered.mappings, names);
                        let location = Location { mapping, address: location.address - start, line };
                        number(&mut locations, &mut gathered.locations, location)
                    })
                    .collect();
                let stack = number(&mut stacks, &mut gathered.stacks, stack);
                gathered.rows.push((stack, sample.value[0]));
            }
            gathered.profiles.push(Gathering {
                labels: LABELS.map(label),
                time: profile.time_nanos,
                duration: profile.duration_nanos,
                period: profile.period,
                rows: profile.sample.len(),
            });
        }
        gathered
    }
}

/// A field of its own for an array, as the agent's writer names it.
fn field(name: &str, array: &ArrayRef, nullable: bool) -> Arc<Field> {
    Arc::new(Field::new(name, array.data_type().clone(), nullable))
}

fn structure(fields: Vec<(&str, ArrayRef, bool)>) -> StructArray {
    let pairs: Vec<(Arc<Field>, ArrayRef)> =
        fields.into_iter().map(|(name, array, nullable)| (field(name, &array, nullable), array)).collect();
    StructArray::from(pairs)
}

fn dictionary(keys: impl Iterator<Item = u32>, values: ArrayRef) -> ArrayRef {
    let keys: UInt32Array = keys.collect();
    Arc::new(DictionaryArray::<UInt32Type>::try_new(keys, values).expect("keys within the values"))
}

/// Texts by number, each once.
fn texts<'a>(of: impl Iterator<Item = &'a str>) -> ArrayRef {
    let (mut known, mut all) = (HashMap::new(), Vec::new());
    let keys: Vec<u32> = of.map(|text| number(&mut known, &mut all, text)).collect();
    dictionary(keys.into_iter(), Arc::new(StringArray::from(all)))
}

fn list_view(items: ArrayRef, ranges: impl Iterator<Item = (i32, i32)>) -> ArrayRef {
    let (offsets, sizes): (Vec<i32>, Vec<i32>) = ranges.unzip();
    let item = field("item", &items, true);
    let (offsets, sizes) = (ScalarBuffer::from(offsets), ScalarBuffer::from(sizes));
    Arc::new(GenericListViewArray::<i32>::try_new(item, offsets, sizes, items, None).expect("lists within the items"))
}

fn runs(ends: &Int32Array, values: ArrayRef) -> ArrayRef {
    Arc::new(RunArray::<Int32Type>::try_new(ends, &values).expect("a value a run"))
}

/// An IPC stream of one record.
fn stream(fields: Vec<Arc<Field>>, arrays: Vec<ArrayRef>, version: &str, packed: bool) -> Vec<u8> {
    let version = [("parca_write_schema_version".to_owned(), version.to_owned())];
    let schema = Arc::new(Schema::new_with_metadata(fields, version.into()));
    let record = RecordBatch::try_new(schema.clone(), arrays).expect("columns of one length");
    let compression = packed.then_some(CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::default().try_with_compression(compression).expect("LZ4");
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).expect("a stream");
    writer.write(&record).expect("written");
    writer.into_inner().expect("ended")
}

/// Of each row, which stack.
fn id(stack: u32) -> [u8; 16] {
    (u128::from(stack) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_le_bytes()
}

/// A name for what a stack is, the same in every message.
fn content_id(gathered: &Gathered, stack: &[u32]) -> [u8; 16] {
    let mut halves = [0u64; 2];
    for (seed, half) in halves.iter_mut().enumerate() {
        let mut hasher = std::hash::DefaultHasher::new();
        seed.hash(&mut hasher);
        for location in stack {
            let location = &gathered.locations[*location as usize];
            (&gathered.mappings[location.mapping as usize], location.address).hash(&mut hasher);
        }
        *half = hasher.finish();
    }
    [halves[0].to_le_bytes(), halves[1].to_le_bytes()].concat().try_into().expect("16 bytes")
}

/// Binary behind a dictionary in runs, as v1 has all its texts.
fn text_runs<'a>(rows: impl Iterator<Item = &'a [u8]>) -> ArrayRef {
    let (mut ends, mut values, mut end) = (Vec::new(), Vec::<&[u8]>::new(), 0);
    for row in rows {
        end += 1;
        if values.last() == Some(&row) {
            ends.pop();
        } else {
            values.push(row);
        }
        ends.push(end);
    }
    let (mut known, mut all) = (HashMap::new(), Vec::new());
    let keys: Vec<u32> = values.into_iter().map(|text| number(&mut known, &mut all, text)).collect();
    let texts = dictionary(keys.into_iter(), Arc::new(BinaryArray::from_iter_values(all)));
    runs(&Int32Array::from(ends), texts)
}

fn list(items: StructArray, lengths: impl Iterator<Item = usize>) -> ArrayRef {
    let items: ArrayRef = Arc::new(items);
    let item = field("item", &items, true);
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::try_new(item, offsets, items, None).expect("lists within the items"))
}

/// The two messages of `Write`: samples, and those of their stacks that are not `known`, which are from then on.
pub fn arrow_v1(payloads: &[Payload], known: &mut HashSet<[u8; 16]>) -> [Vec<u8>; 2] {
    let gathered = Gathered::of(payloads);
    let Gathered { profiles, rows, stacks, locations, functions, mappings } = &gathered;
    let ids: Vec<[u8; 16]> = stacks.iter().map(|stack| content_id(&gathered, stack)).collect();
    let (sent, stacks): (Vec<[u8; 16]>, Vec<&Vec<u32>>) =
        ids.iter().zip(stacks).filter(|(id, _)| known.insert(**id)).map(|(id, stack)| (*id, stack)).unzip();
    let of_rows = |value: &dyn Fn(&Gathering) -> i64| -> ArrayRef {
        let values = profiles.iter().flat_map(|profile| std::iter::repeat_n(value(profile), profile.rows));
        Arc::new(Int64Array::from_iter_values(values))
    };
    let text = |value: &'static str| text_runs(std::iter::repeat_n(value.as_bytes(), rows.len()));
    let names = LABELS.map(|label| format!("labels.{label}"));
    let mut columns: Vec<(&str, ArrayRef, bool)> = Vec::new();
    for (ix, name) in names.iter().enumerate() {
        let values =
            profiles.iter().flat_map(|profile| std::iter::repeat_n(profile.labels[ix].as_bytes(), profile.rows));
        columns.push((name, text_runs(values), true));
    }
    columns.extend([
        ("stacktrace_id", text_runs(rows.iter().map(|(stack, _)| &ids[*stack as usize][..])), false),
        ("value", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, value)| *value))) as ArrayRef, false),
        ("producer", text("parca_agent"), false),
        ("sample_type", text("samples"), false),
        ("sample_unit", text("count"), false),
        ("period_type", text("cpu"), false),
        ("period_unit", text("nanoseconds"), false),
        ("temporality", text("delta"), false),
        ("period", of_rows(&|profile| profile.period), false),
        ("duration", of_rows(&|profile| profile.duration), false),
        ("timestamp", of_rows(&|profile| profile.time), false),
    ]);
    let fields = columns.iter().map(|(name, array, nullable)| field(name, array, *nullable)).collect();
    let samples = stream(fields, columns.into_iter().map(|(_, array, _)| array).collect(), "v1", false);

    let frames: Vec<&Location> =
        stacks.iter().copied().flatten().map(|location| &locations[*location as usize]).collect();
    let lines: Vec<(&Function, i64)> = (frames.iter())
        .filter_map(|location| location.line.map(|(function, line)| (&functions[function as usize], line)))
        .collect();
    let named = |of: &dyn Fn(&Function) -> &[u8]| -> ArrayRef {
        let (mut known, mut all) = (HashMap::new(), Vec::new());
        let keys: Vec<u32> = lines.iter().map(|(function, _)| number(&mut known, &mut all, of(function))).collect();
        dictionary(keys.into_iter(), Arc::new(BinaryArray::from_iter_values(all)))
    };
    let line = structure(vec![
        ("line", Arc::new(Int64Array::from_iter_values(lines.iter().map(|(_, line)| *line))), false),
        ("function_name", named(&|_| b""), false),
        ("function_system_name", named(&|function| function.system_name.as_bytes()), false),
        ("function_filename", text_runs(lines.iter().map(|(function, _)| function.file.as_bytes())), false),
        (
            "function_start_line",
            Arc::new(Int64Array::from_iter_values(lines.iter().map(|(function, _)| function.start_line))),
            false,
        ),
    ]);
    let zeros = || -> ArrayRef {
        let (ends, values) = if frames.is_empty() { (vec![], vec![]) } else { (vec![frames.len() as i32], vec![0]) };
        runs(&Int32Array::from(ends), Arc::new(UInt64Array::from(values)))
    };
    let mapped = |ix: usize| text_runs(frames.iter().map(|at| mappings[at.mapping as usize][ix].as_bytes()));
    let location = structure(vec![
        ("address", Arc::new(UInt64Array::from_iter_values(frames.iter().map(|at| at.address))), false),
        ("frame_type", text_runs(frames.iter().map(|_| &b"native"[..])), false),
        ("mapping_start", zeros(), false),
        ("mapping_limit", zeros(), false),
        ("mapping_offset", zeros(), false),
        ("mapping_file", mapped(0), false),
        ("mapping_build_id", mapped(1), false),
        ("lines", list(line, frames.iter().map(|at| usize::from(at.line.is_some()))), false),
    ]);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("stacktrace_id", Arc::new(BinaryArray::from_iter_values(&sent))),
        ("is_complete", Arc::new(BooleanArray::from(vec![true; sent.len()]))),
        ("locations", list(location, stacks.iter().map(|stack| stack.len()))),
    ];
    let fields = columns.iter().map(|(name, array)| field(name, array, false)).collect();
    let locations = stream(fields, columns.into_iter().map(|(_, array)| array).collect(), "v1", false);
    [samples, locations]
}

/// The IPC stream of `WriteArrow`, its buffers packed with LZ4.
pub fn arrow_v2(payloads: &[Payload]) -> Vec<u8> {
    let gathered = Gathered::of(payloads);
    let Gathered { profiles, rows, stacks, locations, functions, mappings } = &gathered;
    let ends: Int32Array = (profiles.iter())
        .scan(0, |end, profile| {
            *end += profile.rows as i32;
            Some(*end)
        })
        .collect();
    let all = Int32Array::from(vec![rows.len() as i32]);
    let labels = (LABELS.iter().enumerate()).map(|(ix, name)| {
        let values = texts(profiles.iter().map(|profile| profile.labels[ix].as_str()));
        (*name, runs(&ends, values), true)
    });

    let files = |of: &dyn Fn(&Location) -> usize| {
        texts(locations.iter().map(|at| mappings[at.mapping as usize][of(at)].as_str()))
    };
    let function = structure(vec![
        (
            "system_name",
            Arc::new(StringViewArray::from_iter_values(functions.iter().map(|function| &function.system_name))),
            true,
        ),
        ("filename", texts(functions.iter().map(|function| function.file.as_str())), true),
        (
            "start_line",
            Arc::new(UInt64Array::from_iter_values(functions.iter().map(|function| function.start_line as u64))),
            false,
        ),
    ]);
    let lines: Vec<(u32, i64)> = locations.iter().filter_map(|location| location.line).collect();
    let line = structure(vec![
        ("line", Arc::new(UInt64Array::from_iter_values(lines.iter().map(|(_, line)| *line as u64))), false),
        ("column", Arc::new(UInt64Array::from(vec![0; lines.len()])), false),
        ("function", dictionary(lines.iter().map(|(function, _)| *function), Arc::new(function)), false),
    ]);
    let mut next = 0;
    let line_of = locations.iter().map(|location| {
        let (begin, len) = (next, i32::from(location.line.is_some()));
        next += len;
        (begin, len)
    });
    let location = structure(vec![
        ("address", Arc::new(UInt64Array::from_iter_values(locations.iter().map(|location| location.address))), false),
        ("frame_type", texts(locations.iter().map(|_| "native")), true),
        ("mapping_file", files(&|_| 0), true),
        ("mapping_build_id", files(&|_| 1), true),
        ("lines", list_view(Arc::new(line), line_of), true),
    ]);
    let frames = dictionary(stacks.iter().flatten().copied(), Arc::new(location));
    let mut end = 0;
    let ranges: Vec<(i32, i32)> = (stacks.iter())
        .map(|stack| {
            let begin = end;
            end += stack.len() as i32;
            (begin, stack.len() as i32)
        })
        .collect();
    let stacktrace = list_view(frames, rows.iter().map(|(stack, _)| ranges[*stack as usize]));
    let ids = rows.iter().map(|(stack, _)| id(*stack));
    let ids: ArrayRef = Arc::new(FixedSizeBinaryArray::try_from_iter(ids).expect("16 bytes each"));

    let text = |value: &str| runs(&all, Arc::new(StringArray::from(vec![value])));
    let first = &profiles[0];
    let times = profiles.iter().flat_map(|profile| std::iter::repeat_n(profile.time, profile.rows));
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("labels", Arc::new(structure(labels.collect())), false),
        ("stacktrace", stacktrace, true),
        ("value", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, value)| *value))), false),
        ("producer", text("parca_agent"), false),
        ("sample_type", text("samples"), false),
        ("sample_unit", text("count"), false),
        ("period_type", text("cpu"), false),
        ("period_unit", text("nanoseconds"), false),
        ("temporality", text("delta"), true),
        ("period", runs(&all, Arc::new(Int64Array::from(vec![first.period]))), false),
        ("duration", runs(&all, Arc::new(UInt64Array::from(vec![first.duration as u64]))), false),
        ("timestamp", Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC")), false),
    ];
    let mut fields: Vec<Arc<Field>> =
        columns.iter().map(|(name, array, nullable)| field(name, array, *nullable)).collect();
    let mut arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array, _)| array).collect();
    let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())];
    let id = Field::new("stacktrace_id", DataType::FixedSizeBinary(16), false).with_metadata(uuid.into());
    fields.insert(2, Arc::new(id));
    arrays.insert(2, ids);
    stream(fields, arrays, "v2", true)
}

/// An `ExportProfilesServiceRequest` of proto 1.10, a resource a pod.
pub fn otlp(payloads: &[Payload]) -> Vec<u8> {
    let gathered = Gathered::of(payloads);
    let Gathered { profiles, rows, stacks, locations, functions, mappings } = &gathered;
    let (mut known, mut strings) = (HashMap::new(), Vec::new());
    let mut string = |text: &str| u64::from(number(&mut known, &mut strings, text.to_owned()));
    string("");
    let mut scratch = Message::default();
    let mut dictionary = Message::default();
    // each table begins with an entry that says nothing
    for table in [1, 2, 3, 4, 6, 7] {
        dictionary.bytes(table, &[]);
    }
    let text_value = |text: &str| {
        let mut value = Message::default();
        value.bytes(1, text.as_bytes());
        value.0
    };
    // build IDs are attributes 1.., threads' names behind them
    let mut attribute = |key: &str, text: &str, string: &mut dyn FnMut(&str) -> u64| {
        let mut message = Message::default();
        message.uint(1, string(key));
        message.bytes(2, &text_value(text));
        dictionary.bytes(6, &message.0);
    };
    for [_, build_id] in mappings {
        attribute("process.executable.build_id.gnu", build_id, &mut string);
    }
    let (mut known_names, mut names) = (HashMap::new(), Vec::new());
    let name_of: Vec<u32> =
        profiles.iter().map(|profile| number(&mut known_names, &mut names, profile.labels[2].clone())).collect();
    for name in &names {
        attribute("comm", name, &mut string);
    }
    for (ix, [file, _]) in mappings.iter().enumerate() {
        let mut message = Message::default();
        message.uint(4, string(file));
        message.packed(5, std::iter::once(ix as u64 + 1), &mut scratch);
        dictionary.bytes(1, &message.0);
    }
    for location in locations {
        let mut message = Message::default();
        message.uint(1, u64::from(location.mapping) + 1);
        message.uint(2, location.address);
        if let Some((function, line)) = location.line {
            let mut inner = Message::default();
            inner.uint(1, u64::from(function) + 1);
            inner.uint(2, line as u64);
            message.bytes(3, &inner.0);
        }
        dictionary.bytes(2, &message.0);
    }
    for Function { system_name, file, start_line } in functions {
        let mut message = Message::default();
        message.uint(1, string(system_name));
        message.uint(2, string(system_name));
        message.uint(3, string(file));
        message.uint(4, *start_line as u64);
        dictionary.bytes(3, &message.0);
    }
    for stack in stacks {
        let mut message = Message::default();
        message.packed(1, stack.iter().map(|location| u64::from(*location) + 1), &mut scratch);
        dictionary.bytes(7, &message.0);
    }
    let mut value_type = |kind: &str, unit: &str| {
        let mut message = Message::default();
        message.uint(1, string(kind));
        message.uint(2, string(unit));
        message.0
    };
    let (sample_type, period_type) = (value_type("samples", "count"), value_type("cpu", "nanoseconds"));

    let mut request = Message::default();
    let mut rows = rows.iter();
    for (profile, name) in profiles.iter().zip(name_of) {
        let mut resource = Message::default();
        for (label, value) in LABELS.iter().zip(&profile.labels).take(2) {
            let mut pair = Message::default();
            pair.bytes(1, label.as_bytes());
            pair.bytes(2, &text_value(value));
            resource.bytes(1, &pair.0);
        }
        let mut message = Message::default();
        message.bytes(1, &sample_type);
        for (stack, value) in rows.by_ref().take(profile.rows) {
            let mut sample = Message::default();
            sample.uint(1, u64::from(*stack) + 1);
            sample.packed(2, std::iter::once(mappings.len() as u64 + 1 + u64::from(name)), &mut scratch);
            sample.packed(4, std::iter::once(*value as u64), &mut scratch);
            message.bytes(2, &sample.0);
        }
        message.varint(3 << 3 | 1);
        message.0.extend_from_slice(&profile.time.to_le_bytes());
        message.uint(4, profile.duration as u64);
        message.bytes(5, &period_type);
        message.uint(6, profile.period as u64);
        let mut scope = Message::default();
        let mut inner = Message::default();
        inner.bytes(1, b"parca_agent");
        scope.bytes(1, &inner.0);
        scope.bytes(2, &message.0);
        let mut of_resource = Message::default();
        of_resource.bytes(1, &resource.0);
        of_resource.bytes(2, &scope.0);
        request.bytes(1, &of_resource.0);
    }
    for text in &strings {
        dictionary.bytes(5, text.as_bytes());
    }
    request.bytes(2, &dictionary.0);
    request.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ingest::{Batch, Limits, Scratch, stamped_limits};

    use super::*;
    use crate::corpus;

    /// Values by series and stack; a stack is the system names and addresses of its frames.
    fn told(batches: &[Batch]) -> BTreeMap<String, i64> {
        let mut told = BTreeMap::new();
        for batch in batches.iter().cloned().map(Batch::without_dictionary) {
            let text = |ix: u32| batch.symbols.strings.get_str(ix).into_owned();
            let symbols = &batch.symbols;
            for profile in 0..batch.profiles.len() {
                let stream = &batch.streams[batch.profiles.stream[profile] as usize];
                for sample in batch.profiles.samples(profile) {
                    let mut labels: BTreeMap<String, String> =
                        stream.labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                    let set = batch.samples.label_set.get(sample).copied().unwrap_or(0);
                    for row in batch.label_sets.rows(set) {
                        labels.insert(text(batch.label_sets.key[row]), text(batch.label_sets.str[row]));
                    }
                    let frames = batch.stacks.get(batch.samples.stack[sample]).iter().map(|&location| {
                        let lines = symbols
                            .locations
                            .lines(location)
                            .map(|line| text(symbols.functions.system_name[symbols.lines.function[line] as usize]));
                        let mapping = symbols.locations.mapping[location as usize] as usize;
                        let build_id = text(symbols.mappings.build_id[mapping]);
                        let address = symbols.locations.address[location as usize];
                        format!("{build_id}+{address} {}", lines.collect::<String>())
                    });
                    let key =
                        format!("{} {labels:?} {}", stream.profile_type(0), frames.collect::<Vec<_>>().join(" < "));
                    *told.entry(key).or_default() += batch.samples.values[sample];
                }
            }
        }
        told
    }

    #[test]
    fn all_forms_of_the_corpus_say_the_same() {
        let payloads: Vec<Payload> = corpus::agent(PROFILES).collect();
        let limits = Limits::default();
        let pprofs: Vec<Batch> = (payloads.iter())
            .map(|payload| {
                let (labels, time) = (payload.labels.clone(), payload.time);
                ingest::pprof(labels, &payload.raw, time, &limits, &mut Scratch::default()).expect("a profile")
            })
            .collect();
        let wanted = told(&pprofs);
        assert!(wanted.len() > 500, "{}", wanted.len());
        // one after the other into one dictionary
        let dictionaries = ingest::Dictionaries::default();
        let v2 = ingest::write_arrow(&arrow_v2(&payloads), 0, &stamped_limits(), &dictionaries).expect("a message");
        assert_eq!(v2.samples.values.len(), 780);
        assert_eq!(told(&[v2]), wanted);
        let [samples, locations] = arrow_v1(&payloads, &mut HashSet::new());
        let v1 = ingest::v1::write(&ingest::v1::join(&samples, &locations), 0, &stamped_limits(), &dictionaries, None);
        assert_eq!(told(&[v1.expect("a write")]), wanted);
        let export = ingest::otlp(&otlp(&payloads), 0, &stamped_limits(), &dictionaries).expect("an export");
        assert_eq!((export.rejected, export.batch.samples.values.len()), (0, 780));
        assert_eq!(told(&[export.batch]), wanted);
    }
}
