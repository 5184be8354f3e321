//! Stacks that need not be sent again: what is kept of a write must say the same as if they had been.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::StreamWriter;
use ingest::{Batch, Dictionaries, IngestError, stamped_limits, v1};
use proptest::prelude::*;

use crate::{RECEIVED, input, told};

const SCOPE: u64 = 1;

/// A mapping, an address and a function; 0 is none.
type Frame = (u8, u64, u8);

/// What a sender knows of a stack: the content that it has by now, and whether it says that nothing is missing.
#[derive(Clone, Debug)]
struct Stack {
    frames: Vec<Frame>,
    complete: bool,
}

type Stacks = BTreeMap<u8, Stack>;

fn name(id: u8) -> Vec<u8> {
    // 0 has an ID that is nobody's to keep
    if id == 0 { b"short".to_vec() } else { vec![id; 16] }
}

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let version = [("parca_write_schema_version".to_owned(), "v1".to_owned())];
    let schema = Arc::new(Schema::new_with_metadata(fields, version.into()));
    let columns = columns.into_iter().map(|(_, array)| array).collect();
    let record = RecordBatch::try_new(schema.clone(), columns).expect("columns of one length");
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a stream");
    writer.write(&record).expect("written");
    writer.into_inner().expect("ended")
}

fn samples(rows: &[(u8, i64)]) -> Vec<u8> {
    let text = |value: &str| -> ArrayRef { Arc::new(StringArray::from(vec![value; rows.len()])) };
    let number = |value: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![value; rows.len()])) };
    stream(vec![
        ("labels.node", text("n1")),
        ("stacktrace_id", Arc::new(BinaryArray::from_iter_values(rows.iter().map(|(id, _)| name(*id))))),
        ("value", Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, value)| *value)))),
        ("producer", text("agent")),
        ("sample_type", text("samples")),
        ("sample_unit", text("count")),
        ("period_type", text("cpu")),
        ("period_unit", text("nanoseconds")),
        ("temporality", text("delta")),
        ("period", number(1)),
        ("duration", number(1_000_000_000)),
        ("timestamp", number(RECEIVED)),
    ])
}

fn list(items: StructArray, lengths: impl Iterator<Item = usize>, nulls: Option<NullBuffer>) -> ArrayRef {
    let field = Arc::new(Field::new("item", items.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Arc::new(ListArray::try_new(field, offsets, Arc::new(items), nulls).expect("lists within the items"))
}

fn structure(fields: Vec<(&str, ArrayRef)>) -> StructArray {
    let pairs: Vec<(Arc<Field>, ArrayRef)> = fields
        .into_iter()
        .map(|(name, array)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array))
        .collect();
    StructArray::from(pairs)
}

/// What an agent answers when it is asked for `ids`.
fn locations(stacks: &Stacks, ids: &[u8]) -> Vec<u8> {
    let sent: Vec<&Stack> = ids.iter().map(|id| &stacks[id]).collect();
    let frames: Vec<Frame> = sent.iter().flat_map(|stack| stack.frames.iter().copied()).collect();
    let optional = |of: &dyn Fn(&Frame) -> Option<String>| -> ArrayRef {
        Arc::new(frames.iter().map(of).collect::<StringArray>())
    };
    let lines: Vec<u8> = frames.iter().map(|frame| frame.2).filter(|function| *function != 0).collect();
    let text = |of: &dyn Fn(u8) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(lines.iter().map(|function| of(*function))))
    };
    let line = structure(vec![
        ("line", Arc::new(Int64Array::from_iter_values(lines.iter().map(|function| i64::from(*function) - 3)))),
        // of some only the linker's name is known
        ("function_name", text(&|function| if function % 2 == 0 { format!("f{function}") } else { String::new() })),
        ("function_system_name", text(&|function| format!("_ZN1x2f{function}Ev"))),
        ("function_filename", text(&|function| format!("/src/{function}.c"))),
        ("function_start_line", Arc::new(Int64Array::from(vec![-1; lines.len()]))),
    ]);
    let zeros = || -> ArrayRef { Arc::new(UInt64Array::from(vec![0; frames.len()])) };
    let location = structure(vec![
        ("address", Arc::new(UInt64Array::from_iter_values(frames.iter().map(|frame| frame.1)))),
        ("mapping_start", Arc::new(UInt64Array::from_iter_values(frames.iter().map(|frame| u64::from(frame.0) * 16)))),
        ("mapping_limit", zeros()),
        ("mapping_offset", zeros()),
        ("mapping_file", optional(&|frame| (frame.0 > 0).then(|| format!("lib{}.so", frame.0)))),
        ("mapping_build_id", optional(&|frame| (frame.0 > 1).then(|| format!("b{}", frame.0)))),
        ("lines", list(line, frames.iter().map(|frame| usize::from(frame.2 != 0)), None)),
    ]);
    // an agent sends null for a stack without frames
    let nulls: NullBuffer = sent.iter().map(|stack| !stack.frames.is_empty()).collect();
    stream(vec![
        ("stacktrace_id", Arc::new(BinaryArray::from_iter_values(ids.iter().map(|id| name(*id))))),
        ("is_complete", Arc::new(BooleanArray::from_iter(sent.iter().map(|stack| Some(stack.complete))))),
        ("locations", list(location, sent.iter().map(|stack| stack.frames.len()), Some(nulls))),
    ])
}

/// The IDs that a question asks for.
fn asked_for(question: &[u8]) -> Vec<Vec<u8>> {
    let mut ids = Vec::new();
    for record in arrow::ipc::reader::StreamReader::try_new(question, None).expect("an IPC stream") {
        let record = record.expect("a record");
        assert_eq!((record.num_columns(), record.schema().field(0).name().as_str()), (1, "stacktrace_id"));
        let column = record.column(0).as_any().downcast_ref::<BinaryArray>().expect("binary");
        ids.extend(column.iter().map(|id| id.expect("no null").to_vec()));
    }
    ids
}

/// A server's half of a write, as the server does it: what it would log, and how many stacks it asked for.
fn write_v1(payload: &[u8], list: Option<&mut Vec<u8>>) -> Result<Batch, IngestError> {
    v1::write(payload, RECEIVED, &stamped_limits(), &Dictionaries::default(), list).map(Batch::without_dictionary)
}

fn write_known(payload: &[u8], list: Option<&mut Vec<u8>>) -> Result<Batch, IngestError> {
    let dictionaries = Dictionaries::default();
    v1::write_with_known(payload, RECEIVED, &stamped_limits(), &dictionaries, list).map(Batch::without_dictionary)
}

fn write(known: &mut v1::Known, scope: u64, stacks: &Stacks, rows: &[(u8, i64)], now: i64) -> (Batch, Vec<u8>) {
    let samples = samples(rows);
    let limits = stamped_limits();
    let asked = v1::ask(&samples, &limits, |ids| known.find(scope, ids, now, 1 << 20)).expect("sound samples");
    let wanted: Vec<u8> = asked_for(&asked.question).iter().map(|id| if id.len() == 16 { id[0] } else { 0 }).collect();
    assert_eq!(wanted.len(), asked.unknown);
    // between the two halves anything may be forgotten
    let sent = locations(stacks, &wanted);
    let mut list = Vec::new();
    let payload = match asked.list.is_empty() {
        true => v1::join(&samples, &sent),
        false => v1::join_with_known(&samples, &sent, &asked.list),
    };
    let decode = |list: Option<&mut Vec<u8>>| match asked.list.is_empty() {
        true => write_v1(&payload, list),
        false => write_known(&payload, list),
    };
    let batch = decode(Some(&mut list)).expect("a sound write");
    known.learn(scope, &list, now).expect("our own list");
    // what the log has needs nothing else: a replay tells the same, whatever is known by then
    assert_eq!(told(&decode(None).expect("a sound record")), told(&batch));
    (batch, wanted)
}

fn plainly(stacks: &Stacks, rows: &[(u8, i64)]) -> Batch {
    let ids: Vec<u8> = stacks.keys().copied().collect();
    let payload = v1::join(&samples(rows), &locations(stacks, &ids));
    write_v1(&payload, None).expect("a sound write")
}

#[test]
fn stacks_that_were_sent_once_are_asked_for_no_more_and_the_record_has_them_still() {
    let (samples, locations) = (input("v1_samples.arrow"), input("v1_locations.arrow"));
    let limits = stamped_limits();
    let mut known = v1::Known::new(1 << 20);
    let first = v1::ask(&samples, &limits, |ids| known.find(SCOPE, ids, 1, 1 << 20)).expect("sound samples");
    assert_eq!((asked_for(&first.question).len(), first.known, first.list.len()), (6, 0, 0));
    let mut list = Vec::new();
    let plain = write_v1(&v1::join(&samples, &locations), Some(&mut list)).expect("a sound write");
    known.learn(SCOPE, &list, 1).expect("our own list");
    let second = v1::ask(&samples, &limits, |ids| known.find(SCOPE, ids, 2, 1 << 20)).expect("sound samples");
    assert_eq!((asked_for(&second.question).len(), second.known, second.unknown), (0, 6, 0));
    // the answer of an agent that is asked for nothing, as its library writes it
    let nothing = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/arrow/v1_no_locations.arrow"));
    let record = v1::join_with_known(&samples, &nothing.expect("a file"), &second.list);
    let again = write_known(&record, None).expect("a sound record");
    assert_eq!(told(&again), told(&plain));
    println!("stacks: {} bytes as sent, {} as kept", locations.len(), second.list.len());
    // another sender has sent none of them
    let other = v1::ask(&samples, &limits, |ids| known.find(SCOPE + 1, ids, 2, 1 << 20)).expect("sound samples");
    assert_eq!((other.question, other.known), (first.question, 0));
}

#[test]
fn a_stack_that_is_not_complete_yet_is_asked_for_again() {
    let mut known = v1::Known::new(1 << 20);
    let mut stacks: Stacks = [(5, Stack { frames: vec![(2, 7, 0)], complete: false })].into();
    assert_eq!(write(&mut known, SCOPE, &stacks, &[(5, 1)], 1).1, [5]);
    stacks.insert(5, Stack { frames: vec![(2, 7, 4)], complete: true });
    let (batch, wanted) = write(&mut known, SCOPE, &stacks, &[(5, 1)], 2);
    assert_eq!((told(&batch), wanted), (told(&plainly(&stacks, &[(5, 1)])), vec![5]));
    assert!(write(&mut known, SCOPE, &stacks, &[(5, 1)], 3).1.is_empty());
}

#[test]
fn of_a_stack_that_is_sent_though_it_was_known_what_was_sent_counts() {
    let mut known = v1::Known::new(1 << 20);
    let before: Stacks = [(5, Stack { frames: vec![(2, 7, 2)], complete: true })].into();
    write(&mut known, SCOPE, &before, &[(5, 1)], 1);
    let after: Stacks = [(5, Stack { frames: vec![(3, 8, 4), (1, 2, 0)], complete: true })].into();
    let samples = samples(&[(5, 3)]);
    let limits = stamped_limits();
    let asked = v1::ask(&samples, &limits, |ids| known.find(SCOPE, ids, 2, 1 << 20)).expect("sound samples");
    let record = v1::join_with_known(&samples, &locations(&after, &[5]), &asked.list);
    let batch = write_known(&record, None).expect("a sound record");
    assert_eq!(told(&batch), told(&plainly(&after, &[(5, 3)])));
}

fn stacks() -> impl Strategy<Value = Stacks> {
    let frames = prop::collection::vec((0..4u8, 0..6u64, 0..6u8), 0..8);
    let stack = (frames, prop::bool::weighted(0.8)).prop_map(|(frames, complete)| Stack { frames, complete });
    prop::collection::vec(stack, 25).prop_map(|stacks| (0..25).zip(stacks).collect())
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        sender: usize,
        rows: Vec<(u8, i64)>,
    },
    /// What the agent knows of a stack that it had not told completely.
    Completed {
        sender: usize,
        id: u8,
    },
    /// Nothing is known any more.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = prop::collection::vec((0..25u8, 1..9i64), 1..12);
    prop_oneof![
        8 => (0..2usize, rows).prop_map(|(sender, rows)| Step::Write { sender, rows }),
        2 => (0..2usize, 0..25u8).prop_map(|(sender, id)| Step::Completed { sender, id }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The oracle is told all stacks every time. The two senders use the same IDs for stacks of their own.
    #[test]
    fn a_write_says_the_same_whatever_was_known_forgotten_or_lost(
        mut senders in [stacks(), stacks()],
        bytes_max in prop_oneof![Just(0), 1_000..6_000u64, Just(1 << 20)],
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut known = v1::Known::new(bytes_max);
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Write { sender, rows } => {
                    let (batch, _) = write(&mut known, sender as u64, &senders[sender], &rows, now as i64);
                    prop_assert_eq!(told(&batch), told(&plainly(&senders[sender], &rows)));
                    prop_assert!(known.bytes() <= bytes_max);
                }
                Step::Completed { sender, id } => {
                    let stack = senders[sender].get_mut(&id).expect("a stack");
                    if !stack.complete {
                        stack.complete = true;
                        stack.frames.push((3, 9, 4));
                    }
                }
                Step::Restart => known = v1::Known::new(bytes_max),
            }
        }
    }
}
