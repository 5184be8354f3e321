//! OTLP of every version that was released, written by OpenTelemetry's own code: testdata/otlp. All files say the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ingest::{Batch, Dictionaries, IngestError, IngestErrorKind, Otlp, otlp, stamped_limits};

use crate::{RECEIVED, harmed, input};

const FILES: [&str; 8] = [
    "proto_1.5.pb",
    "proto_1.6.pb",
    "proto_1.7.pb",
    "proto_1.8.pb",
    "proto_1.9.pb",
    "proto_1.10.pb",
    "proto_1.11.pb",
    "collector.pb",
];
const TIME: i64 = 1_768_492_800_000_000_000;

fn payload(file: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/otlp")).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn decoded(bytes: &[u8]) -> Result<Otlp, IngestError> {
    otlp(bytes, RECEIVED, &stamped_limits(), &Dictionaries::default())
}

fn read(bytes: &[u8]) -> Otlp {
    let mut read = decoded(bytes).unwrap_or_else(|error| panic!("{error}"));
    read.batch = read.batch.without_dictionary();
    read.batch.check().unwrap_or_else(|defect| panic!("{defect}"));
    read
}

/// `type{series} time stack {labels} value`, a line a sample.
fn told(batch: &Batch) -> BTreeSet<String> {
    let text = |ix: u32| batch.symbols.strings.get_str(ix).into_owned();
    let symbols = &batch.symbols;
    let mut told = BTreeSet::new();
    for profile in 0..batch.profiles.len() {
        let stream = &batch.streams[batch.profiles.stream[profile] as usize];
        let series: Vec<String> = stream.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for sample in batch.profiles.samples(profile) {
            let frames = batch.stacks.get(batch.samples.stack[sample]).iter().map(|&location| {
                let lines = symbols.locations.lines(location).map(|line| {
                    let function = symbols.lines.function[line] as usize;
                    let (name, file) = (symbols.functions.name[function], symbols.functions.filename[function]);
                    format!("{}@{}:{}", text(name), text(file), symbols.lines.line[line])
                });
                let mapping = symbols.locations.mapping[location as usize] as usize;
                let (file, build) = (text(symbols.mappings.file[mapping]), text(symbols.mappings.build_id[mapping]));
                let address = symbols.locations.address[location as usize];
                format!("{file}[{build}]+{address} {}", lines.collect::<Vec<_>>().join(","))
            });
            let set = batch.samples.label_set.get(sample).copied().unwrap_or(0);
            let mut labels: Vec<String> = batch
                .label_sets
                .rows(set)
                .map(|row| {
                    let sets = &batch.label_sets;
                    let value = if sets.str[row] == 0 { sets.num[row].to_string() } else { text(sets.str[row]) };
                    format!("{}={value}", text(sets.key[row]))
                })
                .collect();
            labels.sort();
            told.insert(format!(
                "{}{{{}}} +{} {} {{{}}} {}",
                stream.profile_type(0),
                series.join(","),
                batch.samples.time[sample] - TIME,
                frames.collect::<Vec<_>>().join(" < "),
                labels.join(","),
                batch.samples.values[sample],
            ));
        }
    }
    told
}

#[test]
fn every_version_of_the_protocol_tells_the_same() {
    let link = "span_id=3031323334353637,thread_id=42,thread_name=worker,trace_id=30313233343536373839616263646566";
    let (main, work) = ("/usr/bin/app[abcd]+612 main@main.rs:7", "/usr/bin/app[abcd]+712 work@work.rs:9");
    let mut wanted = BTreeSet::new();
    for (kind, scale) in [("samples:count", 1), ("cpu:nanoseconds", 10)] {
        let series = format!("old_profiler:{kind}:cpu:nanoseconds:delta{{service_name=shop}}");
        wanted.insert(format!("{series} +0 {work} < {main} {{process_pid=7,{link}}} {}", 3 * scale));
        for stamp in [1, 2] {
            wanted.insert(format!("{series} +{stamp} {main} {{process_pid=7}} {scale}"));
        }
    }
    for file in FILES {
        let Otlp { batch, rejected, reason } = read(&payload(file));
        assert_eq!((rejected, reason.as_str()), (0, ""), "{file}");
        assert_eq!(told(&batch), wanted, "{file}");
    }
}

#[test]
fn the_recorded_exports_are_read_whole_and_one_of_an_older_layout_too() {
    for file in ["basic", "noattr", "ts_only", "ts_values", "unnamed", "nondelta", "odd_types", "layout19"] {
        let Otlp { batch, rejected, reason } = read(&input(&format!("otlp_{file}.otlp.pb")));
        assert_eq!((rejected, reason.as_str()), (0, ""), "{file}");
        assert!(batch.samples.values.iter().all(|&value| value > 0), "{file}: {:?}", batch.samples.values);
        let named = batch.symbols.functions.name.iter().all(|&name| name != 0);
        assert!(named, "{file}: functions are read at their own index");
    }
    let basic = read(&input("otlp_basic.otlp.pb")).batch;
    assert_eq!(basic.samples.values, [2, 3, 4, 5, 3, 4, 5, 6, 4, 5, 6, 7]);
}

/// A message of protocol buffers, by hand.
fn field(number: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut len = body.len();
    while len >= 0x80 {
        out.push(len as u8 | 0x80);
        len >>= 7;
    }
    out.push(len as u8);
    out.extend_from_slice(body);
    out
}

fn varint(number: u8, value: u8) -> Vec<u8> {
    vec![number << 3, value]
}

/// Proto 1.10: profiles of the given bodies over a dictionary of one stack, `main`.
fn request(profiles: &[Vec<u8>]) -> Vec<u8> {
    request_with(&[], profiles)
}

/// The same, with more entries at the end of the tables.
fn request_with(more: &[Vec<u8>], profiles: &[Vec<u8>]) -> Vec<u8> {
    let strings = ["", "samples", "count", "main"].map(|text| field(5, text.as_bytes())).concat();
    let tables = [field(1, b""), field(3, b""), field(4, b""), field(6, b""), field(2, b""), field(7, b"")].concat();
    let function = field(3, &varint(1, 3));
    let location = field(2, &field(3, &varint(1, 1)));
    let stack = field(7, &field(1, &[1]));
    let dictionary = field(2, &[tables, function, location, stack, strings, more.concat()].concat());
    let profiles: Vec<u8> = profiles.iter().flat_map(|profile| field(2, profile)).collect();
    [field(1, &field(2, &profiles)), dictionary].concat()
}

fn small(sample: &[u8]) -> Vec<u8> {
    let kind = [varint(1, 1), varint(2, 2)].concat();
    [field(1, &kind), field(2, sample), field(5, b"")].concat()
}

#[test]
fn a_bad_profile_is_counted_and_the_others_are_kept() {
    let good = small(&[varint(1, 1), field(4, &[5])].concat());
    let bad = small(&[varint(1, 9), field(4, &[5])].concat());
    let Otlp { batch, rejected, reason } = read(&request(&[good.clone(), bad.clone(), good]));
    assert_eq!(batch.samples.values, [5, 5]);
    assert_eq!(rejected, 1);
    assert_eq!(reason, "invalid request: invalid profile: sample stack index 9 out of bounds");
    let error = decoded(&request(&[bad])).expect_err("nothing of it is sound");
    assert_eq!((error.kind, error.message), (IngestErrorKind::InvalidArgument, reason));
}

#[test]
fn an_entry_that_is_not_sound_is_an_error_of_what_points_to_it_and_of_nothing_else() {
    let function = |body: &[u8]| field(3, body);
    let location = |body: &[u8]| field(2, body);
    let line = |function: u8| field(3, &varint(1, function));
    let defects = [
        (vec![location(&varint(1, 9))], "location mapping index 9 out of bounds"),
        (vec![location(&[line(1), line(9)].concat())], "location line function id 9 out of bounds at line 1"),
        (vec![function(&varint(3, 99)), location(&line(2))], "function filename index 99 out of bounds"),
    ];
    for (mut entries, defect) in defects {
        entries.push(field(7, &field(1, &[1, 2])));
        let sample = |stack| small(&[varint(1, stack), field(4, &[5])].concat());
        let Otlp { batch, rejected, reason } = read(&request_with(&entries, &[sample(1), sample(2)]));
        assert_eq!((batch.samples.values, rejected), (vec![5], 1), "{defect}");
        assert_eq!(reason, format!("invalid request: invalid dictionary: {defect}"));
        let Otlp { rejected, .. } = read(&request_with(&entries, &[sample(1)]));
        assert_eq!(rejected, 0, "nobody points to it: {defect}");
    }
}

#[test]
fn fields_are_read_in_any_order_and_the_last_of_a_kind_counts() {
    // function 2: file `count`, start line 7, name `samples`, then `main`; location 2: a line, address 9, then 8
    let function = field(3, &[varint(3, 2), varint(4, 7), varint(1, 1), varint(1, 3)].concat());
    let line = field(3, &[varint(2, 40), varint(1, 2), varint(3, 6), varint(2, 41)].concat());
    let location = field(2, &[line, varint(2, 9), varint(2, 8)].concat());
    let stack = field(7, &field(1, &[2]));
    let batch =
        read(&request_with(&[function, location, stack], &[small(&[varint(1, 2), field(4, &[5])].concat())])).batch;
    let (symbols, text) = (&batch.symbols, |ix: u32| batch.symbols.strings.get_str(ix).into_owned());
    let [name, _, file] = symbols.functions.texts(0).map(text);
    assert_eq!((name.as_str(), file.as_str(), symbols.functions.start_line[0]), ("main", "count", 7));
    assert_eq!((symbols.locations.address[0], symbols.lines.line[0], symbols.lines.column[0]), (8, 41, 6));
}

#[test]
fn a_profile_without_a_time_gets_that_of_its_samples_or_of_its_receipt() {
    let without = small(&[varint(1, 1), field(4, &[5])].concat());
    assert_eq!(read(&request(&[without])).batch.profiles.time, [RECEIVED]);
    let stamps: Vec<u8> = [TIME + 7, TIME + 3, 12].iter().flat_map(|time: &i64| time.to_le_bytes()).collect();
    let stamped = small(&[varint(1, 1), field(5, &stamps)].concat());
    let batch = read(&request(&[stamped])).batch;
    assert_eq!(batch.samples.time, [TIME + 7, TIME + 3, TIME + 3], "a clock that was not set is not believed");
    assert_eq!((batch.profiles.time, batch.profiles.time_max), (vec![TIME + 3], vec![TIME + 7]));
    assert_eq!(batch.samples.values, [1, 1, 1]);
}

#[test]
fn a_request_that_is_cut_off_or_harmed_anywhere_is_refused_or_sound() {
    let mut sound = 0;
    for file in FILES {
        let bytes = payload(file);
        let cut = (0..bytes.len()).map(|end| bytes[..end].to_vec());
        for (round, harmed) in cut.chain(harmed(&bytes, 2_000)).enumerate() {
            if let Ok(read) = decoded(&harmed) {
                read.batch.check().unwrap_or_else(|defect| panic!("{file}, round {round}: {defect}"));
                sound += 1;
            }
        }
    }
    assert!(sound > 100, "{sound}");
}
