//! Single profiles, and differences that are brought to one total, against the oracle's tree.

use query::request::{DiffSide, QueryOptions};
use query::{Context, ErrorKind, QueryRequest, Report, Selection, View};

use crate::oracle::{Node, value};
use crate::random::{Random, profiles, sample_types};
use crate::reports::{Question, ask, canonical, engine, rows};

const FLAME_GRAPH: i32 = 5;
const MILLISECOND: i64 = 1_000_000;

#[test]
fn a_single_profile_is_what_was_measured_at_its_millisecond_and_its_counts_stay_counts() {
    let mut found = 0;
    for seed in 0..300 {
        let mut profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x516);
        // within a millisecond, some at its edges
        let begin = 1_700_000_000_000 * MILLISECOND;
        for profile in &mut profiles {
            profile.time = begin + [-1, 0, 5, MILLISECOND - 1, MILLISECOND][random.below(5)];
        }
        let column = random.below(2);
        let mut tree = Node::default();
        let mut total = 0;
        for profile in profiles.iter().filter(|profile| (begin..begin + MILLISECOND).contains(&profile.time)) {
            for sample in &profile.samples {
                if let Some(value) = value(profile, sample, column, false) {
                    tree.add(&sample.stack, value, 0);
                    total += value;
                }
            }
        }
        let kind = &sample_types()[column];
        let query = format!("process_cpu:{}:{}:cpu:nanoseconds:delta", kind.kind, kind.unit);
        let selection = Selection::Single { query, time: Some(begin + random.below(MILLISECOND as usize) as i64) };
        let request = QueryRequest {
            mode: 0,
            options: Some(QueryOptions::Select(selection)),
            report_type: FLAME_GRAPH,
            node_trim_threshold: None,
            source: None,
            view: View::default(),
        };
        match engine(seed, &profiles).query(&Context::default(), &request) {
            Ok(reply) => {
                found += 1;
                assert_eq!(reply.total, total, "seed {seed}");
                let Report::FlameGraph(graph) = reply.report else { panic!("not a flame graph") };
                assert_eq!(graph.unit, kind.unit, "seed {seed}");
                assert_eq!(canonical(&rows(&graph)), canonical(&tree.rows(0.0).0), "seed {seed}");
            }
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::NotFound, "seed {seed}: {error}");
                assert!(tree.children.is_empty(), "seed {seed}: there is something");
            }
        }
    }
    assert!(found > 100, "{found} profiles were found");
}

#[test]
fn a_relative_difference_brings_the_base_to_the_total_of_what_is_compared() {
    let mut scaled = 0;
    for seed in 0..300 {
        let mut profiles = profiles(seed);
        // so large that what is cut off of each stack does not matter
        for sample in profiles.iter_mut().flat_map(|profile| &mut profile.samples) {
            sample.values = sample.values.map(|value| value * 1_000_003);
        }
        let mut random = Random::new(seed ^ 0x5CA);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let (mut before, mut after) = (0, 0);
        let mut tree = Node::default();
        compare.each(&profiles, |stack, value| {
            tree.add(stack, value, 0);
            after += value;
        });
        // the oracle's change is the base's value, not scaled
        base.each(&profiles, |stack, value| {
            tree.add(stack, 0, value);
            before += value;
        });
        let scale = if before > 0 && after > 0 { after as f64 / before as f64 } else { 1.0 };
        scaled += usize::from(scale != 1.0);
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: false };
        let reply = ask(&engine(seed, &profiles), diff, FLAME_GRAPH, 0.0);
        assert_eq!(reply.total, after, "seed {seed}");
        let Report::FlameGraph(graph) = reply.report else { panic!("not a flame graph") };
        let mut actual = rows(&graph);
        let (mut expected, _) = tree.rows(0.0);
        let shown = expected.len() > 1;
        // the root of the report shows its children's sum, and its change is that of everything
        for row in expected.iter_mut().filter(|_| shown) {
            let value = if row.depth == 0 { after } else { row.cumulative };
            row.diff = (value as f64 - row.diff as f64 * scale) as i64;
        }
        // a stack of a part is cut off by less than 1
        let unit = 1_000_000;
        let rounded = |rows: &mut Vec<crate::oracle::Row>| {
            rows.iter_mut().for_each(|row| row.diff = (row.diff as f64 / unit as f64).round() as i64);
        };
        rounded(&mut actual);
        rounded(&mut expected);
        assert_eq!(canonical(&actual), canonical(&expected), "seed {seed}");
    }
    assert!(scaled > 50, "{scaled} had totals that differ");
}
