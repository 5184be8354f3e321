//! Values per line of a file, against sums over every sample.

use std::collections::BTreeMap;

use query::request::{DiffSide, QueryOptions};
use query::{Context, QueryRequest, Report, SourceLines, SourceReference, View};

use crate::random::{Location, Random, profiles};
use crate::reports::{Question, engine};
use crate::views::{seen, view};

fn ask(engine: &query::Engine, options: QueryOptions, reference: &SourceReference) -> (SourceLines, i64) {
    let (lines, reply) = ask_for(engine, options, reference, View::default());
    (lines, reply.0)
}

/// The lines, the total, and what is filtered.
fn ask_for(
    engine: &query::Engine,
    options: QueryOptions,
    reference: &SourceReference,
    view: View,
) -> (SourceLines, (i64, i64)) {
    let mode = if matches!(options, QueryOptions::Diff { .. }) { 1 } else { 2 };
    let source = Some(reference.clone());
    let request =
        QueryRequest { mode, options: Some(options), report_type: 6, node_trim_threshold: None, source, view };
    let reply = engine.query(&Context::default(), &request).expect("an answer");
    match reply.report {
        Report::Source(lines) => (lines, (reply.total, reply.filtered)),
        other => panic!("not a source: {other:?}"),
    }
}

type Lines = BTreeMap<(String, i64), [i64; 2]>;

fn add(lines: &mut Lines, reference: &SourceReference, stack: &[Location], value: i64) {
    for (depth, location) in stack.iter().enumerate() {
        let build_id = location.binary.map_or("", |(_, build_id)| build_id);
        if !reference.build_id.is_empty() && reference.build_id != build_id {
            continue;
        }
        for (inlined, line) in location.lines.iter().enumerate() {
            if let Some((_, _, filename, _)) = line.function
                && filename == reference.filename
            {
                let sums = lines.entry((filename.to_owned(), line.line)).or_default();
                sums[0] += value;
                sums[1] += if (depth, inlined) == (0, 0) { value } else { 0 };
            }
        }
    }
}

fn rows(lines: &SourceLines) -> Lines {
    let rows = 0..lines.line.len();
    let key = |row: usize| {
        let filename = lines.filename.get(row).expect("a file");
        (String::from_utf8(filename.to_vec()).expect("UTF-8"), lines.line[row])
    };
    let map: Lines = rows.map(|row| (key(row), [lines.cumulative[row], lines.flat[row]])).collect();
    assert_eq!(map.len(), lines.line.len(), "each line once");
    assert!((1..lines.line.len()).all(|row| key(row - 1) < key(row)), "in order");
    map
}

fn reference(random: &mut Random) -> SourceReference {
    let build_id = (*random.pick(&["", "", "aa11", "bb22", "cc33"])).to_owned();
    SourceReference { build_id, filename: (*random.pick(&["a.go", "b.go", "c.go", ""])).to_owned() }
}

#[test]
fn each_line_holds_what_every_frame_at_it_adds_up_to() {
    let mut found = 0;
    for seed in 0..300 {
        let profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x50C);
        let (question, reference) = (Question::random(&mut random), reference(&mut random));
        let mut expected = Lines::new();
        let mut total = 0;
        question.each(&profiles, |stack, value| {
            add(&mut expected, &reference, stack, value);
            total += value;
        });
        let engine = engine(seed, &profiles);
        let (lines, actual_total) = ask(&engine, QueryOptions::Select(question.selection()), &reference);
        assert_eq!(rows(&lines), expected, "seed {seed}");
        assert_eq!(actual_total, total, "seed {seed}");
        found += expected.len();
    }
    assert!(found > 50, "{found} lines");
}

#[test]
fn lines_are_those_of_the_stacks_that_filters_leave() {
    let (mut found, mut filtered_some) = (0, 0);
    for seed in 0..400 {
        let profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x50E);
        let (question, reference) = (Question::random(&mut random), reference(&mut random));
        let view = view(&mut random);
        let mut expected = Lines::new();
        let (mut total, mut filtered) = (0, 0);
        question.each(&profiles, |stack, value| match seen(&view, stack, false) {
            Some(stack) => {
                add(&mut expected, &reference, &stack, value);
                total += value;
            }
            None => filtered += value,
        });
        let options = QueryOptions::Select(question.selection());
        let (lines, values) = ask_for(&engine(seed, &profiles), options, &reference, view.clone());
        assert_eq!(rows(&lines), expected, "seed {seed}: {view:?}");
        assert_eq!(values, (total, filtered), "seed {seed}: {view:?}");
        found += expected.len();
        filtered_some += usize::from(filtered != 0);
    }
    assert!(found > 50 && filtered_some > 50, "{found} lines, {filtered_some} filtered");
}

#[test]
fn of_a_difference_values_are_those_of_what_is_compared_and_lines_those_of_both() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x50D);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let reference = reference(&mut random);
        let mut expected = Lines::new();
        compare.each(&profiles, |stack, value| add(&mut expected, &reference, stack, value));
        base.each(&profiles, |stack, _| add(&mut expected, &reference, stack, 0));
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: seed % 2 == 0 };
        assert_eq!(rows(&ask(&engine(seed, &profiles), diff, &reference).0), expected, "seed {seed}");
    }
}
