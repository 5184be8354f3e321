//! Flame graphs, tables and pprofs against the oracle.

use std::collections::{BTreeMap, BTreeSet};

use query::report::FrameColumns;
use query::request::{DiffSide, QueryOptions};
use query::{Context, Engine, EngineOptions, FlameGraph, QueryReply, QueryRequest, Report, Selection, Table, View};

use crate::functions::check_frames;
use crate::memory::MemorySource;
use crate::oracle::{Columns, Node, Row, label, value};
use crate::random::{Location, Profile, Random, Sample, batches, profiles};

const TYPE_CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";
const TYPE_SAMPLES: &str = "process_cpu:samples:count:cpu:nanoseconds:delta";

pub fn engine(seed: u64, profiles: &[Profile]) -> Engine {
    Engine::new(MemorySource::new(batches(seed, profiles)), EngineOptions { threads: 2, ..EngineOptions::default() })
}

fn merge(query: &str, (start, end): (i64, i64)) -> Selection {
    Selection::Merge { query: query.to_owned(), start: Some(start), end: Some(end) }
}

pub fn ask(engine: &Engine, options: QueryOptions, report_type: i32, threshold: f32) -> QueryReply {
    ask_for(engine, options, report_type, threshold, View::default())
}

pub fn ask_for(engine: &Engine, options: QueryOptions, report_type: i32, threshold: f32, view: View) -> QueryReply {
    let mode = match options {
        QueryOptions::Select(Selection::Single { .. }) => 0,
        QueryOptions::Diff { .. } => 1,
        QueryOptions::Select(Selection::Merge { .. }) => 2,
    };
    let node_trim_threshold = Some(threshold);
    let request = QueryRequest { mode, options: Some(options), report_type, node_trim_threshold, source: None, view };
    engine.query(&Context::default(), &request).expect("an answer")
}

/// A random question: selector text, value, range, and which samples it means.
pub struct Question {
    pub query: String,
    pub value: usize,
    pub range: (i64, i64),
    endpoint: Option<&'static str>,
    zone: Option<&'static str>,
}

impl Question {
    pub fn random(random: &mut Random) -> Self {
        let value = random.below(2);
        let endpoint = random.chance(3).then_some("GET");
        let zone = random.chance(4).then(|| *random.pick(&["eu", "moon", ""]));
        let mut matchers = Vec::new();
        matchers.extend(endpoint.map(|value| format!("endpoint=\"{value}\"")));
        matchers.extend(zone.map(|value| format!("zone=\"{value}\"")));
        let profile_type = if value == 0 { TYPE_SAMPLES } else { TYPE_CPU };
        let second = crate::random::SECOND;
        let start = (1_000 + random.below(40) as i64) * second;
        let range = (start, start + random.below(50) as i64 * second);
        Self { query: format!("{profile_type}{{{}}}", matchers.join(",")), value, range, endpoint, zone }
    }

    pub fn each(&self, profiles: &[Profile], mut visit: impl FnMut(&[Location], i64)) {
        self.each_sample(profiles, |_, sample, value| visit(&sample.stack, value));
    }

    /// With what else is known of each: its profile and labels.
    pub fn each_sample(&self, profiles: &[Profile], mut visit: impl FnMut(&Profile, &Sample, i64)) {
        for profile in profiles {
            if profile.time < self.range.0 || profile.time > self.range.1 {
                continue;
            }
            for sample in &profile.samples {
                let is = |name, wanted: Option<&str>| {
                    wanted.is_none_or(|wanted| label(profile, sample, name).unwrap_or("") == wanted)
                };
                if is("endpoint", self.endpoint)
                    && is("zone", self.zone)
                    && let Some(value) = value(profile, sample, self.value, self.value == 0)
                {
                    visit(profile, sample, value);
                }
            }
        }
    }

    pub fn selection(&self) -> Selection {
        merge(&self.query, self.range)
    }
}

/// What a row is said to be; frames alone do not say whether it is inlined.
pub fn frame(frames: &FrameColumns, row: usize) -> Columns {
    let text = |column: &query::report::TextColumn| {
        column.get(row).map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"))
    };
    Columns {
        name: text(&frames.function_name),
        file: text(&frames.mapping_file),
        build_id: text(&frames.mapping_build_id),
        address: number(&frames.location_address, row),
        line: number(&frames.location_line, row),
        inlined: None,
        start_line: number(&frames.function_startline, row),
        system_name: text(&frames.function_system_name),
        filename: text(&frames.function_file_name),
    }
}

fn number<T: Copy>(column: &query::report::Column<T>, row: usize) -> Option<T> {
    column.valid[row].then(|| column.values[row])
}

fn columns(graph: &FlameGraph, row: usize) -> Option<Columns> {
    (row > 0).then(|| Columns { inlined: number(&graph.inlined, row), ..frame(&graph.frames, row) })
}

pub fn rows(graph: &FlameGraph) -> Vec<Row> {
    let row = |row: usize| Row {
        depth: graph.depth[row],
        columns: columns(graph, row),
        cumulative: graph.cumulative[row],
        flat: graph.flat[row],
        diff: graph.diff[row],
    };
    (0..graph.len()).map(row).collect()
}

/// A preorder as text in which the order of siblings is that of their own text.
pub fn canonical(rows: &[Row]) -> String {
    fn node(rows: &[Row], at: &mut usize) -> String {
        let row = &rows[*at];
        *at += 1;
        let mut children = Vec::new();
        while rows.get(*at).is_some_and(|child| child.depth > row.depth) {
            children.push(node(rows, at));
        }
        children.sort();
        format!("{row:?}\n{}", children.concat())
    }
    node(rows, &mut 0)
}

fn flame_graph(reply: QueryReply) -> (FlameGraph, i64) {
    match reply.report {
        Report::FlameGraph(graph) => (graph, reply.total),
        other => panic!("not a flame graph: {other:?}"),
    }
}

/// What holds for every flame graph.
pub fn check(graph: &FlameGraph) {
    assert_eq!(graph.parent[0], -1);
    for row in 0..graph.len() {
        let mut offset = graph.value_offset[row];
        for &child in graph.children.get(row) {
            let child = child as usize;
            assert_eq!(graph.parent[child], row as i32);
            assert_eq!(graph.depth[child], graph.depth[row] + 1);
            assert_eq!(graph.value_offset[child], offset);
            assert!(graph.cumulative[child] > 0);
            offset += graph.cumulative[child];
        }
    }
    assert_eq!(graph.children.items.len(), graph.len() - 1);
}

#[test]
fn a_merged_flame_graph_is_the_tree_that_one_builds_sample_by_sample() {
    for seed in 0..400 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0xF1A);
        let question = Question::random(&mut random);
        let threshold = *random.pick(&[0.0, 0.0, 10.0, 40.0]);
        let mut tree = Node::default();
        let mut total = 0;
        question.each(&profiles, |stack, value| {
            tree.add(stack, value, 0);
            total += value;
        });
        let (expected, trimmed) = tree.rows(f64::from(threshold) / 100.0);
        let (graph, actual_total) = flame_graph(ask(&engine, QueryOptions::Select(question.selection()), 5, threshold));
        check(&graph);
        assert_eq!(canonical(&rows(&graph)), canonical(&expected), "seed {seed}: {}", question.query);
        assert_eq!((actual_total, graph.trimmed, graph.height), (total, trimmed, tree.height()), "seed {seed}");
    }
}

#[test]
fn an_absolute_diff_is_what_is_compared_less_its_base() {
    for seed in 0..300 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0xD1F);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let mut tree = Node::default();
        compare.each(&profiles, |stack, value| tree.add(stack, value, value));
        base.each(&profiles, |stack, value| tree.add(stack, 0, -value));
        let (expected, _) = tree.rows(0.0);
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: true };
        let (graph, _) = flame_graph(ask(&engine, diff.clone(), 5, 0.0));
        check(&graph);
        assert_eq!(canonical(&rows(&graph)), canonical(&expected), "seed {seed}");

        let Report::Table(table) = ask(&engine, diff, 7, 0.0).report else { panic!("not a table") };
        check_table(&table, &tree, seed);
    }
}

fn check_table(table: &Table, tree: &Node, seed: u64) {
    #[derive(Debug, Default, PartialEq)]
    struct Sums {
        values: [i64; 4],
        callers: BTreeSet<String>,
    }
    fn add(node: &Node, caller: Option<&str>, rows: &mut BTreeMap<String, Sums>) {
        for (name, child) in &node.children {
            let name = format!("{name:?}");
            let sums = rows.entry(name.clone()).or_default();
            let values = [child.cumulative(), child.cumulative_diff(), child.flat, child.diff];
            (0..4).for_each(|column| sums.values[column] += values[column]);
            sums.callers.extend(caller.map(str::to_owned));
            add(child, Some(&name), rows);
        }
    }
    let mut expected = BTreeMap::new();
    add(tree, None, &mut expected);

    let text = |column: &query::report::TextColumn, row: usize| {
        column.get(row).map(|text| String::from_utf8(text.to_vec()).expect("UTF-8"))
    };
    let name = |row: usize| match text(&table.frames.function_name, row) {
        Some(name) => format!("{:?}", crate::oracle::FrameName::Named(name)),
        None => {
            let file = text(&table.frames.mapping_file, row);
            let binary = text(&table.frames.mapping_build_id, row).or(file.clone()).unwrap_or_default();
            let base = if file.is_some() { crate::random::START } else { 0 };
            let address = table.frames.location_address.values[row] - base;
            format!("{:?}", crate::oracle::FrameName::Nameless(binary, address))
        }
    };
    assert!(table.cumulative.is_sorted_by(|a, b| a >= b));
    let mut actual = BTreeMap::new();
    let mut callees = BTreeSet::new();
    for row in 0..table.len() {
        let diff = table.cumulative_diff.values[row];
        let values = [table.cumulative[row], diff, table.flat[row], table.flat_diff[row]];
        let callers = table.callers.get(row).iter().map(|&caller| name(caller as usize)).collect();
        callees.extend(table.callees.get(row).iter().map(|&callee| (row as i64, callee)));
        assert!(actual.insert(name(row), Sums { values, callers }).is_none(), "seed {seed}: one row per frame");
    }
    assert_eq!(actual, expected, "seed {seed}");
    let calls = (0..table.len()).flat_map(|row| table.callers.get(row).iter().map(move |&caller| (caller, row as i64)));
    assert_eq!(calls.collect::<BTreeSet<_>>(), callees, "seed {seed}: callees are callers turned round");
}

#[test]
fn a_table_sums_each_frame_wherever_it_stands() {
    for seed in 0..300 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let question = Question::random(&mut Random::new(seed ^ 0x7AB));
        let mut tree = Node::default();
        question.each(&profiles, |stack, value| tree.add(stack, value, 0));
        let Report::Table(table) = ask(&engine, QueryOptions::Select(question.selection()), 7, 0.0).report else {
            panic!("not a table")
        };
        check_frames(&table.frames, &tree, seed);
        assert!(table.cumulative_diff.valid.iter().all(|valid| !valid), "nothing is compared");
        check_table(&table, &tree, seed);
    }
}

#[test]
fn a_node_budget_keeps_the_largest_and_counts_the_rest_as_trimmed() {
    let by_labels = View { group_by: vec!["labels.job".to_owned(), "labels.endpoint".to_owned()], ..View::default() };
    for (seed, view) in (0..200).flat_map(|seed| [(seed, View::default()), (seed, by_labels.clone())]) {
        let profiles = profiles(seed);
        let all = engine(seed, &profiles);
        // of one type some values are negative, of the other none
        let profile_type = if seed % 2 == 0 { TYPE_CPU } else { TYPE_SAMPLES };
        let selection = QueryOptions::Select(merge(profile_type, (0, i64::MAX)));
        let (full, _) = flame_graph(ask_for(&all, selection.clone(), 5, 0.0, view.clone()));
        for budget in [1, 2, 5, full.len(), full.len() + 1] {
            let options = EngineOptions { node_budget: budget, threads: 1 + budget % 2, ..EngineOptions::default() };
            let engine = Engine::new(MemorySource::new(batches(seed, &profiles)), options);
            let (graph, _) = flame_graph(ask_for(&engine, selection.clone(), 5, 0.0, view.clone()));
            check(&graph);
            assert!(graph.len() <= budget.max(1), "seed {seed}");
            if profile_type == TYPE_SAMPLES {
                assert_eq!(graph.len(), budget.min(full.len()), "seed {seed}: no child is larger than its parent");
            }
            if budget >= full.len() {
                assert_eq!(graph, full, "seed {seed}: a budget that suffices changes nothing");
            }
            let shown_at_top = |graph: &FlameGraph| graph.cumulative[0];
            let gone_at_top = shown_at_top(&full) - shown_at_top(&graph);
            assert!(graph.trimmed - full.trimmed >= gone_at_top, "seed {seed}: what is not shown is counted");
            let smallest = graph.cumulative[1..].iter().min().copied().unwrap_or(i64::MAX);
            // negative values can make a child larger than its parent: it goes with its parent
            let mut least = full.cumulative.clone();
            least[0] = i64::MAX;
            (1..full.len()).for_each(|row| least[row] = least[row].min(least[full.parent[row] as usize]));
            let larger = least[1..].iter().filter(|&&value| value > smallest).count();
            assert!(larger < graph.len().max(2), "seed {seed}: none larger than the smallest shown is missing");
        }
    }
}
