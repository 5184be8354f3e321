//! The agent's two Arrow protocols: recorded messages, against the stacks that Parca answered with after them and the verdicts
//! that it gave.

use std::collections::BTreeMap;

use ingest::{Batch, Dictionaries, IngestError, IngestErrorKind, stamped_limits, v1};
use profile::NONE;
use serde_json::Value;

use crate::{RECEIVED, conformance, harmed, input};

type Stacks = BTreeMap<String, i64>;

/// `function name|system name|file|start line:line` of each line of a location, or its address: as the recordings write it.
fn location(batch: &Batch, location: u32, names: bool) -> String {
    let text = |ix: u32| batch.symbols.strings.get_str(ix).into_owned();
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let (locations, lines, functions) = (&batch.symbols.locations, &batch.symbols.lines, &batch.symbols.functions);
    let location = location as usize;
    let start = if location == 0 { 0 } else { locations.line_end[location - 1] as usize };
    let lines: Vec<String> = (start..locations.line_end[location] as usize)
        .map(|line| {
            let function = lines.function[line] as usize;
            let name = if names { text(functions.name[function]) } else { String::new() };
            let (system, file) = (text(functions.system_name[function]), text(functions.filename[function]));
            format!("{name}|{system}|{file}|{}:{}", functions.start_line[function], lines.line[line])
        })
        .collect();
    let (file, build) = match locations.mapping[location] {
        NONE => (String::new(), String::new()),
        mapping => {
            let mappings = &batch.symbols.mappings;
            (text(mappings.file[mapping as usize]), text(mappings.build_id[mapping as usize]))
        }
    };
    let what = match lines.is_empty() {
        true => format!("{:#x}", locations.address[location]),
        false => format!("[{}]", lines.join("; ")),
    };
    format!("{} {} {what}", or_dash(file), or_dash(build))
}

/// Values times the period, by stack, of the profiles of this type.
fn stacks(batch: &Batch, kind: &str, names: bool) -> Stacks {
    batch.check().expect("a sound batch");
    let mut stacks = Stacks::new();
    for profile in 0..batch.profiles.len() {
        let stream = &batch.streams[batch.profiles.stream[profile] as usize];
        if stream.profile_type(0).to_string() != kind {
            continue;
        }
        for sample in batch.profiles.samples(profile) {
            let stack = batch.stacks.get(batch.samples.stack[sample]);
            // an export of Parca's leaves out what has no stack
            if stack.is_empty() {
                continue;
            }
            let text: Vec<String> = stack.iter().map(|&ix| location(batch, ix, names)).collect();
            let value = batch.samples.values[sample] * batch.profiles.period[profile];
            *stacks.entry(text.join("\n")).or_default() += value;
        }
    }
    stacks
}

fn recorded(id: &str) -> Stacks {
    let path = format!("expect/{id}.json");
    let answer: Value = serde_json::from_slice(&conformance(&path)).expect("JSON");
    let recorded = answer["pprof"]["stacks"].as_object().expect("stacks");
    recorded.iter().map(|(stack, values)| (stack.clone(), values[0].as_i64().expect("a number"))).collect()
}

fn write_v1(samples: &[u8], locations: &[u8]) -> Result<Batch, IngestError> {
    v1::ask(samples, &stamped_limits(), v1::nothing_known)?;
    let (payload, dictionaries) = (v1::join(samples, locations), Dictionaries::default());
    v1::write(&payload, RECEIVED, &stamped_limits(), &dictionaries, None).map(Batch::without_dictionary)
}

fn write_v2(message: &[u8]) -> Result<Batch, IngestError> {
    let dictionaries = Dictionaries::default();
    ingest::write_arrow(message, RECEIVED, &stamped_limits(), &dictionaries).map(Batch::without_dictionary)
}

#[test]
fn a_message_of_v2_gives_the_stacks_that_parca_answers_with() {
    let batch = write_v2(&input("v2_cpu.arrow")).expect("a sound message");
    let kind = "parca_agent:samples:count:cpu:nanoseconds:delta";
    assert_eq!(stacks(&batch, kind, false), recorded("agent.parca_agent-pprof"));
    let batch = write_v2(&input("v2_two_batches.arrow")).expect("a sound message");
    let kind = "two:samples:count:cpu:nanoseconds:delta";
    // of two record batches Parca reads the first; the second has the same values
    let twice: Stacks = recorded("agent.two-pprof").into_iter().map(|(stack, value)| (stack, value * 2)).collect();
    assert_eq!(stacks(&batch, kind, false), twice);
}

#[test]
fn functions_of_v2_are_named_by_what_their_linker_names_mean() {
    let batch = write_v2(&input("v2_cpu.arrow")).expect("a sound message");
    let functions = &batch.symbols.functions;
    let text = |ix: u32| batch.symbols.strings.get_str(ix).into_owned();
    let names: BTreeMap<String, String> =
        (0..functions.len()).map(|ix| (text(functions.system_name[ix]), text(functions.name[ix]))).collect();
    assert!(names.values().all(|name| !name.is_empty()), "{names:?}");
    assert_eq!(names["_ZN3foo3barEi"], "foo::bar");
    assert_eq!(names["_RNvCs1234_7mycrate3foo"], "mycrate::foo");
    assert_eq!(names["do_syscall_64"], "do_syscall_64");
}

#[test]
fn a_write_of_v1_gives_the_stacks_that_parca_answers_with() {
    let batch = write_v1(&input("v1_samples.arrow"), &input("v1_locations.arrow")).expect("a sound write");
    let kind = "parca_agent_v1:samples:count:cpu:nanoseconds:delta";
    assert_eq!(stacks(&batch, kind, true), recorded("agent.parca_agent_v1-pprof"));
}

#[test]
fn labels_that_all_samples_share_are_the_series_and_the_others_the_samples() {
    let batch = write_v2(&input("v2_cpu.arrow")).expect("a sound message");
    let names = |stream: &profile::Stream| stream.labels.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
    let of_series = names(&batch.streams[0]);
    let keys: std::collections::BTreeSet<String> =
        batch.label_sets.key.iter().map(|&key| batch.symbols.strings.get_str(key).into_owned()).collect();
    assert!(of_series.contains(&"node".to_owned()), "{of_series:?}");
    assert!(keys.iter().all(|key| !of_series.contains(key)), "{keys:?} and {of_series:?}");
    assert!(!keys.is_empty());
    assert_eq!(batch.samples.label_set.len(), batch.samples.stack.len());
    assert_eq!(batch.samples.time.len(), batch.samples.stack.len(), "stamped");
}

/// The cases of the recording that a decoder answers, by the verdicts that Parca gave.
#[test]
fn bad_messages_are_refused_with_the_recorded_code_and_words() {
    let cases = String::from_utf8(conformance("cases.jsonl")).expect("text");
    let mut judged = 0;
    for case in cases.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        let id = case["id"].as_str().expect("an id");
        let rpc = case["rpc"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let answer = match (id.split('/').next(), rpc) {
            (Some("arrow"), "WriteArrow") => write_v2(&payload(&case["request"]["ipcBuffer"])),
            (Some("write-v1"), "Write") => match case["requests"].as_array().expect("requests").as_slice() {
                [samples, locations] => write_v1(&payload(&samples["record"]), &payload(&locations["record"])),
                // what such a client does next is the server's to judge
                [samples] => match v1::ask(&payload(&samples["record"]), &stamped_limits(), v1::nothing_known) {
                    Ok(_) => continue,
                    Err(error) => Err(error),
                },
                _ => continue,
            },
            _ => continue,
        };
        judged += 1;
        let wanted = &case["error"];
        match answer {
            Ok(batch) => {
                batch.check().unwrap_or_else(|defect| panic!("{id}: {defect}"));
                assert!(wanted.is_null(), "{id}: {wanted}");
            }
            Err(error) => {
                assert_eq!(wanted["code"], "INVALID_ARGUMENT", "{id}: {error}");
                assert_eq!(error.kind, IngestErrorKind::InvalidArgument, "{id}: {error}");
                let told = wanted["message"].as_str().expect("words");
                // where in the bytes a reader gives up is its own affair
                if !told.contains("unexpected EOF") {
                    assert_eq!(error.message, told, "{id}");
                }
            }
        }
    }
    println!("{judged} recorded messages judged");
    assert_eq!(judged, 22);
}

fn payload(value: &Value) -> Vec<u8> {
    use base64::Engine;
    if let Some(text) = value.as_str() {
        return base64::prelude::BASE64_STANDARD.decode(text).expect("base64");
    }
    let mut bytes = input(value["@file"].as_str().expect("a file"));
    if let Some(take) = value["take"].as_u64() {
        bytes.truncate(take as usize);
    }
    bytes
}

#[test]
fn an_index_beyond_its_dictionary_is_refused_though_all_lengths_are_right() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/arrow/v2_wrong_index.arrow");
    let error = write_v2(&std::fs::read(path).expect("a file")).expect_err("refused");
    assert_eq!(error.kind, IngestErrorKind::InvalidArgument, "{error}");
}

#[test]
fn a_message_that_is_cut_off_or_harmed_anywhere_is_refused_or_sound() {
    for file in ["v2_cpu.arrow", "v2_memory.arrow", "v2_two_batches.arrow"] {
        let bytes = input(file);
        for end in 0..bytes.len() {
            if let Ok(batch) = write_v2(&bytes[..end]) {
                batch.check().unwrap_or_else(|defect| panic!("{file} cut at {end}: {defect}"));
            }
        }
        for (round, harmed) in harmed(&bytes, 2_000).enumerate() {
            if let Ok(batch) = write_v2(&harmed) {
                batch.check().unwrap_or_else(|defect| panic!("{file}, round {round}: {defect}"));
            }
        }
    }
    let (samples, locations) = (input("v1_samples.arrow"), input("v1_locations.arrow"));
    for (round, harmed) in harmed(&samples, 1_000).enumerate() {
        if let Ok(batch) = write_v1(&harmed, &locations) {
            batch.check().unwrap_or_else(|defect| panic!("v1 samples, round {round}: {defect}"));
        }
    }
    for (round, harmed) in harmed(&locations, 1_000).enumerate() {
        if let Ok(batch) = write_v1(&samples, &harmed) {
            batch.check().unwrap_or_else(|defect| panic!("v1 locations, round {round}: {defect}"));
        }
    }
}

/// What is in a dictionary already makes no difference: neither to what a message says nor to whether it is taken.
#[test]
fn a_message_says_the_same_and_fares_the_same_whatever_came_before_it() {
    let files = ["v2_cpu.arrow", "v2_two_batches.arrow"];
    let shared = Dictionaries::default();
    let small = ingest::Limits { strings: 30, locations: 9, frames: 40, ..stamped_limits() };
    let mut refused = 0;
    for round in 0..3 {
        for file in files {
            let message = input(file);
            let alone = write_v2(&message).expect("a sound message");
            let among = ingest::write_arrow(&message, RECEIVED, &stamped_limits(), &shared).expect("a sound message");
            let kind = |batch: &Batch| batch.streams[0].profile_type(0).to_string();
            assert_eq!(kind(&among), kind(&alone));
            let among = among.without_dictionary();
            assert_eq!(stacks(&among, &kind(&among), false), stacks(&alone, &kind(&alone), false), "{file}, {round}");
            let fresh = ingest::write_arrow(&message, RECEIVED, &small, &Dictionaries::default());
            let known = ingest::write_arrow(&message, RECEIVED, &small, &shared);
            refused += usize::from(fresh.is_err());
            assert_eq!(fresh.map_err(|error| error.to_string()).err(), known.map_err(|error| error.to_string()).err());
        }
    }
    assert!(refused > 0, "the small limits are met");
    assert!(shared.bytes() > 0 && Dictionaries::default().bytes() == 0);
}
