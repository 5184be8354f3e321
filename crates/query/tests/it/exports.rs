//! What is exported as pprof, and what a merge is said to be made of, against sums by stack.

use std::collections::{BTreeMap, BTreeSet};

use profile::NONE;
use profile::pprof::{Ids, Limits, Pprof, Scratch, decode};
use query::request::{DiffSide, QueryOptions};
use query::{Report, Selection};

use crate::random::{Line, Location, Random, SECOND, profiles, sample_types};
use crate::reports::{Question, ask, engine};

const PPROF: i32 = 1;
const METADATA: i32 = 8;

/// Stack, leaf first, and labels, each as text.
type Stacks = BTreeMap<(Vec<String>, Vec<String>), i64>;

fn text(location: &Location) -> String {
    let Location { binary, address, lines } = location;
    let (file, build_id) = binary.unwrap_or_default();
    let line = |Line { function, line }: &Line| match function {
        Some((name, system_name, filename, start_line)) => {
            format!("{name} {system_name} {filename} {start_line} {line}")
        }
        None => format!("{line}"),
    };
    format!("{file} {build_id} {address:x} {:?}", lines.iter().map(line).collect::<Vec<_>>())
}

fn stack(locations: &[Location]) -> Vec<String> {
    locations.iter().map(text).collect()
}

fn pprof(report: Report) -> Pprof {
    let Report::Pprof(bytes) = report else { panic!("not a pprof") };
    decode(&bytes, Ids::Sequential, &Limits::default(), &mut Scratch::default()).expect("a sound pprof")
}

fn location(pprof: &Pprof, location: u32) -> String {
    let symbols = &pprof.symbols;
    let string = |row: u32| symbols.strings.get_str(row).into_owned();
    let mut address = symbols.locations.address[location as usize];
    let mapping = symbols.locations.mapping[location as usize];
    let (mut file, mut build_id) = (String::new(), String::new());
    if mapping != NONE {
        let (mappings, row) = (&symbols.mappings, mapping as usize);
        (file, build_id) = (string(mappings.file[row]), string(mappings.build_id[row]));
        assert!((mappings.start[row]..mappings.limit[row]).contains(&address), "in its mapping");
        address = address - mappings.start[row] + mappings.offset[row];
    }
    let functions = &symbols.functions;
    let line = |line: usize| match symbols.lines.function[line] {
        NONE => format!("{}", symbols.lines.line[line]),
        function => {
            let row = function as usize;
            let texts = [functions.name[row], functions.system_name[row], functions.filename[row]].map(string);
            format!("{} {} {}", texts.join(" "), functions.start_line[row], symbols.lines.line[line])
        }
    };
    format!("{file} {build_id} {address:x} {:?}", symbols.locations.lines(location).map(line).collect::<Vec<_>>())
}

/// What the samples say together, and how many there are.
fn sums(pprof: &Pprof) -> (Stacks, usize) {
    let mut sums = Stacks::new();
    for sample in 0..pprof.samples() {
        let stack = pprof.stacks.get(sample as u32).iter().map(|&row| location(pprof, row)).collect();
        let mut labels = Vec::new();
        if let Some(&set) = pprof.label_set.get(sample) {
            let string = |row: u32| pprof.symbols.strings.get_str(row).into_owned();
            let rows = pprof.label_sets.rows(set);
            labels.extend(rows.map(|row| {
                let (key, value) = (pprof.label_sets.key[row], pprof.label_sets.str[row]);
                format!("{}={}", string(key), string(value))
            }));
        }
        *sums.entry((stack, labels)).or_default() += pprof.values[sample];
    }
    (sums, pprof.samples())
}

#[test]
fn a_merged_pprof_holds_every_stack_once_with_its_sum() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let question = Question::random(&mut Random::new(seed ^ 0x990));
        let mut expected = Stacks::new();
        question.each(&profiles, |locations, value| {
            if !locations.is_empty() {
                *expected.entry((stack(locations), vec![])).or_default() += value;
            }
        });
        let reply = ask(&engine(seed, &profiles), QueryOptions::Select(question.selection()), PPROF, 0.0);
        let pprof = pprof(reply.report);
        let (actual, samples) = sums(&pprof);
        assert_eq!(actual, expected, "seed {seed}");
        assert_eq!(samples, expected.len(), "seed {seed}: each stack once");
        assert_eq!((pprof.time, pprof.duration, pprof.period), (question.range.0, 0, 0), "seed {seed}");
    }
}

#[test]
fn a_pprof_of_a_difference_holds_what_each_stack_gained_or_lost() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x99D);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let mut expected = Stacks::new();
        for (question, sign) in [(&compare, 1), (&base, -1)] {
            question.each(&profiles, |locations, value| {
                if !locations.is_empty() {
                    *expected.entry((stack(locations), vec![])).or_default() += sign * value;
                }
            });
        }
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: true };
        let (actual, samples) = sums(&pprof(ask(&engine(seed, &profiles), diff, PPROF, 0.0).report));
        assert_eq!(actual, expected, "seed {seed}");
        assert_eq!(samples, expected.len(), "seed {seed}: each stack once");
    }
}

#[test]
fn one_profile_is_exported_with_its_times_and_the_labels_of_its_samples() {
    let mut whole = 0;
    for seed in 0..300 {
        let mut profiles = profiles(seed);
        // no two at one time
        for (row, profile) in profiles.iter_mut().enumerate() {
            profile.time += row as i64 * 100 * SECOND;
        }
        let mut random = Random::new(seed ^ 0x951);
        let value = random.below(2);
        let profile = &profiles[random.below(profiles.len())];
        let mut expected = Stacks::new();
        for sample in profile.samples.iter().filter(|sample| sample.values[value] != 0) {
            let labels = sample.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            *expected.entry((stack(&sample.stack), labels)).or_default() += sample.values[value];
        }
        if expected.is_empty() {
            continue;
        }
        whole += 1;
        let kind = &sample_types()[value];
        let query = format!("process_cpu:{}:{}:cpu:nanoseconds:delta", kind.kind, kind.unit);
        let selection = Selection::Single { query, time: Some(profile.time) };
        let reply = ask(&engine(seed, &profiles), QueryOptions::Select(selection), PPROF, 0.0);
        let pprof = pprof(reply.report);
        assert_eq!(sums(&pprof).0, expected, "seed {seed}");
        let times = (pprof.time, pprof.duration, pprof.period);
        assert_eq!(times, (profile.time, profile.duration, profile.period), "seed {seed}");
    }
    assert!(whole > 200, "{whole} profiles had anything to export");
}

#[test]
fn a_merge_is_said_to_be_made_of_the_binaries_of_its_stacks_and_the_labels_of_its_samples() {
    for seed in 0..300 {
        let profiles = profiles(seed);
        let question = Question::random(&mut Random::new(seed ^ 0x3E7));
        let mut files = BTreeSet::new();
        let mut needed: BTreeSet<String> = BTreeSet::new();
        question.each_sample(&profiles, |profile, sample, _| {
            files.extend(sample.stack.iter().map(|location| location.binary.unwrap_or_default().0.to_owned()));
            needed.extend(profile.labels.iter().map(|(name, _)| name.to_owned()));
            needed.extend(sample.labels.iter().map(|(name, _)| (*name).to_owned()));
        });
        let reply = ask(&engine(seed, &profiles), QueryOptions::Select(question.selection()), METADATA, 0.0);
        let Report::Metadata(Some(metadata)) = reply.report else { panic!("no metadata") };
        assert_eq!(metadata.mapping_files, files.into_iter().collect::<Vec<_>>(), "seed {seed}");
        let labels: BTreeSet<String> = metadata.labels.iter().cloned().collect();
        assert!(labels.is_superset(&needed), "seed {seed}: {labels:?} lack some of {needed:?}");
        let mut known: BTreeSet<String> = BTreeSet::new();
        for profile in &profiles {
            known.extend(profile.labels.iter().map(|(name, _)| name.to_owned()));
            known.extend(profile.samples.iter().flat_map(|sample| &sample.labels).map(|(name, _)| (*name).to_owned()));
        }
        assert!(labels.is_subset(&known), "seed {seed}: {labels:?} are not all among {known:?}");
        assert!(metadata.labels.is_sorted(), "seed {seed}");
    }
}
