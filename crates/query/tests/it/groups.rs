//! Reports by labels: a tree per group of label values, against one that is built sample by sample.

use std::collections::{BTreeMap, BTreeSet};

use profile::Labels;
use query::request::{DiffSide, QueryOptions};
use query::{
    Context, Engine, EngineOptions, ErrorKind, FlameGraph, QueryError, QueryReply, QueryRequest, Report, Selection,
    View,
};

use crate::memory::MemorySource;
use crate::oracle::{Columns, FrameName, Node, Row, label};
use crate::random::{Line, Location, Profile, Random, SECOND, Sample, batch, profiles};
use crate::reports::{Question, ask_for, canonical, check, engine, rows};
use crate::views::{seen, view};

/// Names of one to four labels, one of which no sample has, in any order.
fn names(random: &mut Random) -> Vec<String> {
    let mut names = vec!["job", "zone", "endpoint", "none"];
    let mut some = Vec::new();
    for _ in 0..1 + random.below(4) {
        some.push(names.remove(random.below(names.len())).to_owned());
    }
    some
}

fn by_labels(random: &mut Random, names: &[String]) -> View {
    let mut view = view(random);
    view.group_by.extend(names.iter().map(|name| format!("labels.{name}")));
    // named twice
    view.group_by.push(format!("labels.{}", names[0]));
    view
}

type Values = Vec<Option<String>>;

fn values(names: &[String], profile: &Profile, sample: &Sample) -> Values {
    names.iter().map(|name| label(profile, sample, name).map(str::to_owned)).collect()
}

fn tag(values: &[Option<String>]) -> String {
    format!("labels {values:?}")
}

fn no_columns(name: Option<String>) -> Columns {
    Columns {
        name,
        file: None,
        build_id: None,
        address: None,
        line: None,
        inlined: None,
        start_line: None,
        system_name: None,
        filename: None,
    }
}

/// One tree of all groups: what has a label lies below a node that bears its labels as its name.
fn grafted(groups: BTreeMap<Values, Node>) -> Node {
    let mut root = Node::default();
    for (values, mut node) in groups {
        if values.iter().all(Option::is_none) {
            node.children.append(&mut root.children);
            root = node;
        } else {
            node.columns = Some(no_columns(Some(tag(&values))));
            root.children.insert(FrameName::Named(tag(&values)), node);
        }
    }
    root
}

/// What has no frame is in a group's total, and nowhere else.
fn without_flat_groups(rows: &mut [Row]) {
    let is_group = |row: &Row| {
        row.columns
            .as_ref()
            .is_some_and(|columns| columns.name.as_ref().is_some_and(|name| name.starts_with("labels ")))
    };
    rows.iter_mut().filter(|row| is_group(row)).for_each(|row| row.flat = 0);
}

/// The values of all `names` in a row.
fn row_values(graph: &FlameGraph, names: &[String], row: usize) -> Values {
    let value = |name: &String| {
        let column = graph.labels.iter().find(|column| column.name == *name)?;
        column.values.get(row).map(|value| String::from_utf8(value.to_vec()).expect("UTF-8"))
    };
    names.iter().map(value).collect()
}

/// Rows in which a group's own bears its labels as its name, after a check of all label columns.
fn tagged(graph: &FlameGraph, names: &[String]) -> Vec<Row> {
    let mut rows = rows(graph);
    for (row, said) in rows.iter_mut().enumerate() {
        let values = row_values(graph, names, row);
        if graph.labels_only[row] {
            assert_eq!(said.depth, 1);
            assert!(values.iter().any(Option::is_some), "a row of labels has some");
            assert_eq!(said.columns, Some(no_columns(None)), "and is nothing else");
            said.columns = Some(no_columns(Some(tag(&values))));
        } else if let Ok(parent) = usize::try_from(graph.parent[row]) {
            assert_eq!(values, row_values(graph, names, parent), "rows have the labels of what they lie below");
        } else {
            assert!(values.iter().all(Option::is_none), "the root has none");
        }
    }
    rows
}

#[test]
fn a_flame_graph_by_labels_has_the_tree_of_each_group_below_its_labels() {
    let (mut grouped, mut ungrouped) = (0, 0);
    for seed in 0..800 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x96B);
        let question = Question::random(&mut random);
        let names = names(&mut random);
        let view = by_labels(&mut random, &names);
        let threshold = *random.pick(&[0.0, 0.0, 20.0]);
        let mut groups: BTreeMap<Values, Node> = BTreeMap::new();
        let (mut total, mut filtered) = (0, 0);
        question.each_sample(&profiles, |profile, sample, value| match seen(&view, &sample.stack, false) {
            Some(stack) => {
                let group = groups.entry(values(&names, profile, sample)).or_default();
                group.add_by(&stack, value, 0, &view.group_by);
                total += value;
            }
            None => filtered += value,
        });
        let has = |label: usize| groups.keys().any(|values| values[label].is_some());
        let columns: Vec<&String> = (0..names.len()).filter(|&label| has(label)).map(|label| &names[label]).collect();
        grouped += usize::from(columns.len() > 1 && groups.len() > 2);
        ungrouped += usize::from(columns.is_empty());

        let tree = grafted(groups.clone());
        let (mut expected, trimmed) = tree.rows(f64::from(threshold) / 100.0);
        without_flat_groups(&mut expected);
        let reply = ask_for(&engine, QueryOptions::Select(question.selection()), 5, threshold, view.clone());
        let QueryReply { report: Report::FlameGraph(graph), .. } = &reply else { panic!("not a flame graph") };
        check(graph);
        assert_eq!(graph.labels.iter().map(|column| &column.name).collect::<Vec<_>>(), columns, "seed {seed}");
        assert_eq!(canonical(&tagged(graph, &names)), canonical(&expected), "seed {seed}: {view:?}");
        let actual = (reply.total, reply.filtered, graph.trimmed, graph.height);
        assert_eq!(actual, (total, filtered, trimmed, tree.height()), "seed {seed}: {view:?}");
    }
    assert!(grouped > 30 && ungrouped > 30, "{grouped} grouped, {ungrouped} not");
}

#[test]
fn a_comparison_by_labels_compares_each_group_with_itself() {
    for seed in 0..400 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x96D);
        let (base, compare) = (Question::random(&mut random), Question::random(&mut random));
        let names = names(&mut random);
        let view = by_labels(&mut random, &names);
        let mut groups: BTreeMap<Values, Node> = BTreeMap::new();
        for (question, sign) in [(&compare, 1), (&base, 0)] {
            question.each_sample(&profiles, |profile, sample, value| {
                if let Some(stack) = seen(&view, &sample.stack, true) {
                    let diff = if sign == 1 { value } else { -value };
                    let group = groups.entry(values(&names, profile, sample)).or_default();
                    group.add_by(&stack, value * sign, diff, &view.group_by);
                }
            });
        }
        let (mut expected, _) = grafted(groups).rows(0.0);
        without_flat_groups(&mut expected);
        let side = |question: &Question| Some(DiffSide { merge: true, selection: Some(question.selection()) });
        let diff = QueryOptions::Diff { base: side(&base), compare: side(&compare), absolute: true };
        let reply = ask_for(&engine, diff, 5, 0.0, view.clone());
        let QueryReply { report: Report::FlameGraph(graph), .. } = &reply else { panic!("not a flame graph") };
        check(graph);
        assert_eq!(canonical(&tagged(graph, &names)), canonical(&expected), "seed {seed}: {view:?}");
    }
}

#[test]
fn a_pprof_by_labels_has_a_sample_for_every_stack_of_every_group() {
    let mut labelled = 0;
    for seed in 0..300 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x96F);
        let question = Question::random(&mut random);
        let names = names(&mut random);
        let view = by_labels(&mut random, &names);
        let mut sums: BTreeMap<(BTreeSet<(String, String)>, String), i64> = BTreeMap::new();
        question.each_sample(&profiles, |profile, sample, value| {
            let stack = seen(&view, &sample.stack, false).filter(|stack| !stack.is_empty());
            if let Some(stack) = stack {
                let values = names.iter().cloned().zip(values(&names, profile, sample));
                let labels = values.filter_map(|(name, value)| Some((name, value?))).collect();
                *sums.entry((labels, format!("{stack:?}"))).or_default() += value;
            }
        });
        let mut expected: Vec<_> = sums.into_iter().map(|((labels, _), value)| (labels, value)).collect();
        expected.sort();
        let reply = ask_for(&engine, QueryOptions::Select(question.selection()), 1, 0.0, view.clone());
        let Report::Pprof(bytes) = reply.report else { panic!("not a pprof") };
        let limits = profile::pprof::Limits::default();
        let mut scratch = profile::pprof::Scratch::default();
        let ids = profile::pprof::Ids::Sequential;
        let pprof = profile::pprof::decode(&bytes, ids, &limits, &mut scratch).expect("a pprof");
        let text = |string: u32| pprof.symbols.strings.get_str(string).into_owned();
        let mut actual: Vec<(BTreeSet<(String, String)>, i64)> = (0..pprof.samples())
            .map(|sample| {
                let set = pprof.label_set.get(sample).copied().unwrap_or(0);
                let rows = pprof.label_sets.rows(set);
                let pairs = rows.map(|row| (text(pprof.label_sets.key[row]), text(pprof.label_sets.str[row])));
                (pairs.collect(), pprof.values[sample])
            })
            .collect();
        actual.sort();
        labelled += usize::from(actual.iter().any(|(labels, _)| labels.len() > 1));
        assert_eq!(actual, expected, "seed {seed}: {view:?}");
    }
    assert!(labelled > 20, "{labelled} with several labels");
}

#[test]
fn reports_that_have_no_place_for_labels_are_what_they_are_without() {
    for seed in 0..20 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let question = Question::random(&mut Random::new(seed));
        let group_by = vec!["labels.job".to_owned(), "labels.endpoint".to_owned(), "timestamp".to_owned()];
        for report_type in [0, 2, 3, 4, 7, 8] {
            let ask = |view| ask_for(&engine, QueryOptions::Select(question.selection()), report_type, 0.0, view);
            let by_labels = ask(View { group_by: group_by.clone(), ..View::default() });
            assert_eq!(by_labels, ask(View::default()), "seed {seed}, report {report_type}");
        }
    }
}

#[test]
fn more_groups_than_a_graph_may_have_and_more_sums_than_there_is_memory_for_are_refused_with_advice() {
    let profiles: Vec<Profile> = (0..20).flat_map(profiles).collect();
    let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta".to_owned();
    let everything = Selection::Merge { query, start: Some(0), end: Some(i64::MAX) };
    let ask = |options, report_type, labels: &[&str]| {
        let view = View { group_by: labels.iter().map(|&label| label.to_owned()).collect(), ..View::default() };
        let options_of = Some(QueryOptions::Select(everything.clone()));
        let (node_trim_threshold, source) = (None, None);
        let request = QueryRequest { mode: 2, options: options_of, report_type, node_trim_threshold, source, view };
        Engine::new(MemorySource::new(vec![batch(&profiles)]), options).query(&Context::default(), &request)
    };
    for report_type in [1, 5, 9] {
        let few = EngineOptions { series_max: 2, ..EngineOptions::default() };
        let error = ask(few, report_type, &["labels.job", "labels.zone"]).expect_err("too many");
        assert_eq!(error.kind, ErrorKind::ResourceExhausted, "{error}");
        assert!(error.message.contains("more than 2 groups"), "{error}");
    }
    // enough for the sums by stack, not for those by group
    let with = |kib: u64| EngineOptions { memory_bytes: kib << 10, ..EngineOptions::default() };
    let small = (1..).map(with).find(|&options| ask(options, 5, &[]).is_ok()).expect("some");
    let error = ask(small, 5, &["labels.job"]).expect_err("no room");
    assert_eq!(error.kind, ErrorKind::ResourceExhausted);
    assert!(error.message.contains("ask for less"), "{error}");
}

/// Everything by job, of profiles that lie in one part or in several.
fn by_job(parts: &[&[Profile]], report_type: i32, options: EngineOptions) -> Result<QueryReply, QueryError> {
    let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta".to_owned();
    let everything = Selection::Merge { query, start: Some(0), end: Some(i64::MAX) };
    let request = QueryRequest {
        mode: 2,
        options: Some(QueryOptions::Select(everything)),
        report_type,
        node_trim_threshold: None,
        source: None,
        view: View { group_by: vec!["labels.job".to_owned()], ..View::default() },
    };
    let source = MemorySource::new(parts.iter().map(|profiles| batch(profiles)));
    Engine::new(source, options).query(&Context::default(), &request)
}

fn one_sample(job: Option<String>, depth: u64) -> Profile {
    let frame = Line { function: Some(("main", "main", "a.go", 1)), line: 1 };
    let location = |address| Location { binary: None, address, lines: vec![frame.clone()] };
    Profile {
        labels: Labels::from_pairs(job.map(|job| ("job".to_owned(), job))),
        delta: true,
        time: 1_000 * SECOND,
        duration: SECOND,
        period: 1,
        samples: vec![Sample { stack: (0..depth).map(location).collect(), values: [1, 1], labels: Vec::new() }],
    }
}

#[test]
fn groups_are_as_many_in_several_parts_as_in_one() {
    let all: Vec<Profile> = [Some("a"), Some("b"), None].map(|job| one_sample(job.map(str::to_owned), 2)).to_vec();
    for report_type in [1, 5] {
        for parts in [vec![&all[..]], vec![&all[..2], &all[2..]], vec![&all[..1], &all[1..]]] {
            for most in 1..5 {
                let options = EngineOptions { series_max: most, ..EngineOptions::default() };
                let answer = by_job(&parts, report_type, options);
                assert_eq!(answer.is_ok(), most >= 3, "report {report_type}, {} parts, at most {most}", parts.len());
            }
        }
    }
}

#[test]
fn a_pprof_by_labels_is_refused_with_advice_where_its_stacks_do_not_fit() {
    // as many sums: what differs is how long a stack each of them repeats
    let profiles = |depth| (0..200).map(|job| one_sample(Some(job.to_string()), depth)).collect::<Vec<_>>();
    let options = EngineOptions { memory_bytes: 1 << 19, ..EngineOptions::default() };
    by_job(&[&profiles(2)], 1, options).expect("room for short stacks");
    let error = by_job(&[&profiles(500)], 1, options).expect_err("no room");
    assert_eq!(error.kind, ErrorKind::ResourceExhausted);
    assert!(error.message.contains("ask for less"), "{error}");
    by_job(&[&profiles(500)], 1, EngineOptions::default()).expect("room for long ones");
}
