//! What is said of functions, and who calls whom, against the oracle's tree.

use std::collections::{BTreeMap, BTreeSet};

use query::report::FrameColumns;
use query::request::{DiffSide, QueryOptions};
use query::{CallGraph, Report, Top};

use crate::oracle::{Columns, FrameName, Node};
use crate::random::{Random, START, profiles};
use crate::reports::{Question, ask, engine, frame};

const TOP: i32 = 2;
const CALL_GRAPH: i32 = 3;

/// Per frame: cumulative, flat, change of the cumulative; and the value of each call.
#[derive(Debug, Default, PartialEq)]
struct Functions {
    sums: BTreeMap<String, [i64; 3]>,
    calls: BTreeMap<(String, String), i64>,
}

impl Functions {
    fn of(tree: &Node) -> Self {
        let mut functions = Self::default();
        functions.add(tree, None);
        functions
    }

    fn add(&mut self, node: &Node, caller: Option<&str>) {
        for (name, child) in &node.children {
            let name = format!("{name:?}");
            let sums = self.sums.entry(name.clone()).or_default();
            for (sum, value) in sums.iter_mut().zip([child.cumulative(), child.flat, child.cumulative_diff()]) {
                *sum += value;
            }
            if let Some(caller) = caller {
                *self.calls.entry((caller.to_owned(), name.clone())).or_default() += child.cumulative();
            }
            self.add(child, Some(&name));
        }
    }
}

fn name(frames: &FrameColumns, row: usize) -> String {
    let text = |column: &query::report::TextColumn| {
        column.get(row).map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"))
    };
    let name = match text(&frames.function_name) {
        Some(name) => FrameName::Named(name),
        None => {
            let file = text(&frames.mapping_file);
            let base = if file.is_some() { START } else { 0 };
            let binary = text(&frames.mapping_build_id).or(file).unwrap_or_default();
            FrameName::Nameless(binary, frames.location_address.values[row] - base)
        }
    };
    format!("{name:?}")
}

/// What is said of each row is what some frame of its name says.
pub fn check_frames(frames: &FrameColumns, tree: &Node, seed: u64) {
    fn collect(node: &Node, said: &mut BTreeSet<(String, Columns)>) {
        for (name, child) in &node.children {
            said.extend(child.said.iter().map(|columns| (format!("{name:?}"), columns.clone())));
            collect(child, said);
        }
    }
    let mut said = BTreeSet::new();
    collect(tree, &mut said);
    for row in 0..frames.location_address.values.len() {
        let columns = frame(frames, row);
        // whether a frame is inlined is no column of these reports
        let is_said = |inlined| said.contains(&(name(frames, row), Columns { inlined, ..columns.clone() }));
        assert!(is_said(Some(false)) || is_said(Some(true)), "seed {seed}: no frame says {columns:?}");
    }
}

fn top(report: Report) -> Top {
    match report {
        Report::Top(top) => top,
        other => panic!("not a top list: {other:?}"),
    }
}

fn check_top(top: &Top, tree: &Node, seed: u64) {
    let rows = 0..top.flat.len();
    let actual: BTreeMap<String, [i64; 3]> =
        rows.map(|row| (name(&top.frames, row), [top.cumulative[row], top.flat[row], top.diff[row]])).collect();
    assert_eq!(actual.len(), top.flat.len(), "seed {seed}: one row per function");
    assert_eq!(actual, Functions::of(tree).sums, "seed {seed}");
    check_frames(&top.frames, tree, seed);
    assert!(top.flat.is_sorted_by(|a, b| a >= b), "seed {seed}");
}

#[test]
fn a_top_list_holds_what_each_function_costs_and_its_flat_values_are_all_there_is() {
    for seed in 0..300 {
        let profiles = profiles(seed);
        let question = Question::random(&mut Random::new(seed ^ 0x709));
        let mut tree = Node::default();
        question.each(&profiles, |stack, value| tree.add(stack, value, 0));
        let reply = ask(&engine(seed, &profiles), QueryOptions::Select(question.selection()), TOP, 0.0);
        let total = reply.total;
        let top = top(reply.report);
        check_top(&top, &tree, seed);
        // what has no frame is in the total alone
        assert_eq!(top.flat.iter().sum::<i64>() + tree.flat, total, "seed {seed}");
    }
}

#[test]
fn a_top_list_of_a_difference_tells_by_how_much_each_function_changed() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let mut random = Random::new(seed ^ 0x70D);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let mut tree = Node::default();
        compare.each(&profiles, |stack, value| tree.add(stack, value, value));
        base.each(&profiles, |stack, value| tree.add(stack, 0, -value));
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: true };
        check_top(&top(ask(&engine(seed, &profiles), diff, TOP, 0.0).report), &tree, seed);
    }
}

/// Folds small functions one at a time, on maps of names.
fn fold(functions: &mut Functions, total: i64) -> BTreeMap<(bool, String, String), i64> {
    type Edges = BTreeMap<(bool, String, String), i64>;
    let small = |sums: &[i64; 3]| (sums[0] as f64) < total as f64 * f64::from(0.005_f32);
    let calls = &functions.calls;
    // the smallest first, so that of functions that call each other in a circle the largest stays
    let mut by_size: Vec<(&String, &[i64; 3])> = functions.sums.iter().collect();
    by_size.sort_by_key(|(name, sums)| (sums[0], std::cmp::Reverse(*name)));
    let foldable: Vec<String> = by_size
        .iter()
        .filter(|(name, sums)| {
            let callers = calls.keys().filter(|(_, callee)| callee == *name).count();
            small(sums) && callers == 1 && calls.keys().any(|(caller, _)| caller == *name)
        })
        .map(|(name, _)| (*name).clone())
        .collect();
    let mut edges: Edges =
        calls.iter().map(|((caller, callee), &value)| ((false, caller.clone(), callee.clone()), value)).collect();
    for name in foldable {
        let Some((_, caller, _)) = edges.keys().find(|(_, _, callee)| *callee == name).cloned() else { continue };
        if caller == name {
            continue;
        }
        functions.sums.remove(&name);
        let mut next = Edges::new();
        for ((collapsed, from, to), value) in edges {
            if to != name {
                let key = if from == name { (true, caller.clone(), to) } else { (collapsed, from, to) };
                *next.entry(key).or_default() += value;
            }
        }
        edges = next;
    }
    edges
}

fn check_call_graph(graph: &CallGraph, tree: &Node, seed: u64) {
    check_frames(&graph.frames, tree, seed);
    let names: Vec<String> = (0..graph.node_cumulative.len()).map(|row| name(&graph.frames, row)).collect();
    let mut expected = Functions::of(tree);
    let edges = fold(&mut expected, graph.cumulative);
    let sums = names.iter().zip(graph.node_cumulative.iter().zip(&graph.node_flat));
    let actual: BTreeMap<&str, (i64, i64)> =
        sums.map(|(name, (&cumulative, &flat))| (name.as_str(), (cumulative, flat))).collect();
    let expected: BTreeMap<&str, (i64, i64)> =
        expected.sums.iter().map(|(name, sums)| (name.as_str(), (sums[0], sums[1]))).collect();
    assert_eq!(actual, expected, "seed {seed}");
    let end = |row: u32| names[row as usize].clone();
    let actual: BTreeMap<_, i64> = graph
        .edges
        .iter()
        .map(|edge| ((edge.is_collapsed, end(edge.caller), end(edge.callee)), edge.cumulative))
        .collect();
    assert_eq!(actual.len(), graph.edges.len(), "seed {seed}: each call once");
    assert!(graph.edges.is_sorted(), "seed {seed}: in order");
    assert_eq!(actual, edges, "seed {seed}");
}

#[test]
fn a_call_graph_holds_every_call_and_folds_what_is_too_small_to_be_shown() {
    let mut folded = 0;
    for seed in 0..300 {
        let profiles = profiles(seed);
        let question = Question::random(&mut Random::new(seed ^ 0xCA1));
        let mut tree = Node::default();
        question.each(&profiles, |stack, value| tree.add(stack, value, 0));
        let reply = ask(&engine(seed, &profiles), QueryOptions::Select(question.selection()), CALL_GRAPH, 0.0);
        let Report::CallGraph(graph) = reply.report else { panic!("not a call graph") };
        assert_eq!((graph.cumulative, reply.total), (tree.cumulative(), tree.cumulative()), "seed {seed}");
        folded += usize::from(graph.edges.iter().any(|edge| edge.is_collapsed));
        check_call_graph(&graph, &tree, seed);
    }
    assert!(folded > 0, "no graph had anything to fold");
}
