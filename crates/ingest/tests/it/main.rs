//! Wire formats from outside: recorded messages and verdicts, case by case, and bytes that no sender would send.

mod arrow;
mod block;
mod encodings;
mod known;
mod otlp;
mod property;

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ingest::{Batch, IngestErrorKind, Limits, Scratch};
use profile::NONE;
use serde_json::Value;

/// Stands for a payload that has no time of its own.
const RECEIVED: i64 = 1_768_478_400_000_000_000;

fn vectors(file: &str) -> String {
    let folder = std::env::var_os("DECIMA_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors")), PathBuf::from);
    let path = folder.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file of the conformance suite.
fn conformance(file: &str) -> Vec<u8> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/conformance")).join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn input(file: &str) -> Vec<u8> {
    conformance(&format!("inputs/{file}"))
}

/// Values by stack, with all that is said of its frames.
fn told(batch: &Batch) -> BTreeMap<Vec<String>, i64> {
    batch.check().expect("a sound batch");
    let symbols = &batch.symbols;
    let text = |ix: u32| symbols.strings.get_str(ix).into_owned();
    let mut told = BTreeMap::new();
    for (sample, &stack) in batch.samples.stack.iter().enumerate() {
        let frames = batch.stacks.get(stack).iter().map(|&location| {
            let mapping = match symbols.locations.mapping[location as usize] {
                NONE => [String::new(), String::new()],
                of => [symbols.mappings.file[of as usize], symbols.mappings.build_id[of as usize]].map(text),
            };
            let lines: Vec<String> = (symbols.locations.lines(location))
                .map(|line| {
                    let function = match symbols.lines.function[line] {
                        NONE => None,
                        of => {
                            let names = symbols.functions.texts(of as usize).map(text);
                            Some((names, symbols.functions.start_line[of as usize]))
                        }
                    };
                    format!("{function:?} {} {}", symbols.lines.line[line], symbols.lines.column[line])
                })
                .collect();
            format!("{mapping:?} {} {lines:?}", symbols.locations.address[location as usize])
        });
        *told.entry(frames.collect()).or_default() += batch.samples.values[sample];
    }
    told
}

/// `bytes` with one to three of them flipped, dropped, added or repeated, `rounds` times over; the same each run.
fn harmed(bytes: &[u8], rounds: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = bytes.len() as u64 + 1;
    let mut below = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n.max(1)
    };
    (0..rounds).map(move |_| {
        let mut harmed = bytes.to_vec();
        for _ in 0..1 + below(3) {
            let at = below(harmed.len());
            match below(5) {
                0 | 1 if at < harmed.len() => harmed[at] ^= 1 << below(8),
                2 => harmed.truncate(at),
                3 => harmed.insert(at, below(256) as u8),
                _ => {
                    let end = (at + below(30)).min(harmed.len());
                    let copy = harmed[at..end].to_vec();
                    harmed.splice(at..at, copy);
                }
            }
        }
        harmed
    })
}

/// A fuzz target: a folder of its corpus, and what must hold.
type Target = (&'static str, fn(&[u8]) -> bool);

#[test]
fn no_bytes_of_the_fuzz_corpora_panic_or_make_an_unsound_batch() {
    let targets: [Target; 5] = [
        ("write_arrow", property::write_arrow),
        ("write_v1", property::write_v1),
        ("write_v1_known", property::write_v1_known),
        ("otlp", property::otlp),
        ("parca_block", property::parca_block),
    ];
    for (target, holds) in targets {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus")).join(target);
        let mut taken = 0;
        for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let bytes = std::fs::read(file.expect("an entry").path()).expect("a file of the corpus");
            taken += usize::from(holds(&bytes));
            for harmed in harmed(&bytes, 200) {
                holds(&harmed);
            }
        }
        assert!(taken > 0, "{target}: nothing of the corpus is taken");
    }
}

/// Rows as Parca would store them: one per sample and type with a value other than 0.
fn rows(batch: &Batch) -> usize {
    batch.samples.values.iter().filter(|&&value| value != 0).count()
}

/// Differences that are meant, each with the reason that docs/compatibility.md gives. All refuse the profile
/// with the recorded code.
fn explained(ours: &str, recorded: &str) -> Option<&'static str> {
    if ours.contains(" index -") {
        return Some(
            "a negative index is refused where it stands; Parca passes over it and dies of it or finds another defect",
        );
    }
    if ours.contains("invalid buildid index") && recorded.contains("invalid buildid index") {
        return Some("the index that is named is the build ID's; Parca prints the file name's");
    }
    None
}

/// The pairs of a case; `None` where one is not UTF-8, which the transport refuses before us.
fn labels(input: &Value) -> Option<Vec<(String, String)>> {
    let pairs = input["labels"].as_array()?;
    pairs.iter().map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned()))).collect()
}

#[test]
fn pprof_validate_vectors() {
    let (mut cases, mut transport, mut meant, mut differences) = (0, 0, 0, Vec::new());
    let mut scratch = Scratch::default();
    for line in vectors("pprof_validate.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a JSON object a line");
        let expect = &case["expect"]["write_raw"];
        let payload = BASE64_STANDARD.decode(case["input"]["profile"].as_str().expect("base64")).expect("base64");
        cases += 1;
        let Some(labels) = labels(&case["input"]) else {
            assert_eq!(expect["code"], "InvalidArgument");
            transport += 1;
            continue;
        };
        let executables = case["input"]["executable_infos"].as_u64().unwrap_or(0) as usize;
        let answer = ingest::pprof(labels, &payload, RECEIVED, &Limits::default(), &mut scratch);
        let sound = match &answer {
            // said by the API, which sees the executables beside the profile
            Ok(batch) if executables > 0 && executables != batch.symbols.mappings.len() => {
                expect["code"] == "InvalidArgument"
            }
            Ok(batch) => {
                batch.check().unwrap_or_else(|defect| panic!("{}: {defect}", case["id"]));
                expect["ok"] == true && expect["rows"] == rows(batch)
            }
            // Parca's process dies of these: a clear refusal is right
            Err(error) if expect.get("panic").is_some() => error.kind == IngestErrorKind::InvalidArgument,
            Err(error) => {
                let code = format!("{:?}", error.kind);
                // the words of a broken protobuf depend on the decoder; its prefix and all else do not
                let message = expect["message"].as_str().unwrap_or_default();
                let same = match message.strip_prefix("failed to parse profile: ") {
                    Some(_) => error.message.starts_with("failed to parse profile: "),
                    None => error.message == message,
                };
                let meant_to_differ = !same && explained(&error.message, message).is_some();
                meant += usize::from(meant_to_differ);
                expect["code"] == code.as_str() && (same || meant_to_differ)
            }
        };
        if !sound {
            let answer =
                answer.map(|batch| rows(&batch)).map_err(|error| format!("{:?}: {}", error.kind, error.message));
            differences.push(format!("{} {}: {answer:?}, recorded {expect}", case["id"], case["note"]));
        }
    }
    println!(
        "pprof_validate: {cases} cases, {transport} refused by the transport, {meant} differ as explained, {} unexplained differences",
        differences.len()
    );
    assert!(cases > 0);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
