//! Flame graphs as nested messages show every node, against the oracle's tree.

use query::request::{DiffSide, QueryOptions};
use query::{NestedFlameGraph, Report};

use crate::oracle::{Node, Row};
use crate::random::{Random, profiles};
use crate::reports::{Question, ask, canonical, engine, rows};

fn nested(report: Report) -> NestedFlameGraph {
    match report {
        Report::NestedFlameGraph(nested) => nested,
        other => panic!("not a nested flame graph: {other:?}"),
    }
}

/// Every node, but for those below `percent` of their parents.
fn expected(node: &Node, depth: u32, percent: f64, rows: &mut Vec<Row>, trimmed: &mut i64) {
    let (cumulative, diff) = (node.cumulative(), node.cumulative_diff());
    rows.push(Row { depth, columns: node.columns.clone(), cumulative, flat: node.flat, diff });
    for child in node.children.values() {
        if percent > 0.0 && (child.cumulative() as f64) < cumulative as f64 * percent / 100.0 {
            *trimmed += child.cumulative();
        } else {
            expected(child, depth + 1, percent, rows, trimmed);
        }
    }
}

#[test]
fn a_nested_flame_graph_shows_every_node_and_its_root_everything() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x4E5);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let mut tree = Node::default();
        let mut longest = 0;
        compare.each(&profiles, |stack, value| {
            tree.add(stack, value, value);
            longest = longest.max(stack.len());
        });
        base.each(&profiles, |stack, value| {
            tree.add(stack, 0, -value);
            longest = longest.max(stack.len());
        });
        let (mut all, mut trimmed) = (Vec::new(), 0);
        expected(&tree, 0, 0.0, &mut all, &mut trimmed);
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: true };
        for (report_type, threshold) in [(0, 0.0), (0, 30.0), (4, 0.0)] {
            let reply = ask(&engine, diff.clone(), report_type, threshold);
            let nested = nested(reply.report);
            assert_eq!(canonical(&rows(&nested.graph)), canonical(&all), "seed {seed}");
            assert_eq!((nested.tables, nested.trims, nested.graph.trimmed), (report_type == 4, false, 0));
            assert_eq!(nested.graph.height, longest as i32 + 1, "seed {seed}: locations, inlined frames or not");
        }
    }
}

#[test]
fn a_table_flame_graph_leaves_out_what_is_less_than_the_threshold() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x4E6);
        let question = Question::random(&mut random);
        let threshold = *random.pick(&[1.0_f32, 20.0, 50.0]);
        let mut tree = Node::default();
        question.each(&profiles, |stack, value| tree.add(stack, value, 0));
        let (mut kept, mut trimmed) = (Vec::new(), 0);
        expected(&tree, 0, f64::from(threshold), &mut kept, &mut trimmed);
        let reply = ask(&engine(seed, &profiles), QueryOptions::Select(question.selection()), 4, threshold);
        let nested = nested(reply.report);
        assert_eq!(canonical(&rows(&nested.graph)), canonical(&kept), "seed {seed}");
        assert_eq!((nested.graph.trimmed, nested.trims), (trimmed, true), "seed {seed}");
    }
}
