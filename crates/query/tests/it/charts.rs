//! Flame charts against bars put together one sample at a time.

use std::collections::BTreeSet;

use profile::Batch;
use query::request::QueryOptions;
use query::{Context, Engine, EngineOptions, ErrorKind, FlameGraph, QueryRequest, Report, Selection, View};

use crate::memory::MemorySource;
use crate::oracle::{FrameName, frames, label};
use crate::random::{Location, Profile, Random, batch, profiles};
use crate::views::{seen, view};

const TYPE_SAMPLES: &str = "process_cpu:samples:count:cpu:nanoseconds:delta";

/// A time, a stack, what it is worth, and its endpoint.
type Stamped = (i64, Vec<Location>, i64, Option<String>);

/// Stamps every sample with a time that no other has; samples in order of time with what they are worth.
fn stamped(seed: u64, profiles: &[Profile]) -> (Vec<Batch>, Vec<Stamped>) {
    let mut random = Random::new(seed ^ 0xC4A);
    let mut taken = BTreeSet::new();
    let mut all = Vec::new();
    let batches = profiles.iter().map(|profile| {
        let mut batch = batch(std::slice::from_ref(profile));
        for sample in &profile.samples {
            let mut time = 1_000 + random.below(1_500) as i64;
            while !taken.insert(time) {
                time += 1;
            }
            batch.samples.time.push(time);
            if sample.values[0] != 0 {
                let endpoint = label(profile, sample, "endpoint").map(str::to_owned);
                all.push((time, sample.stack.clone(), sample.values[0] * profile.period, endpoint));
            }
        }
        let times = &batch.samples.time;
        batch.profiles.time = vec![times.iter().copied().min().unwrap_or(1_000)];
        batch.profiles.time_max = vec![times.iter().copied().max().unwrap_or(1_000)];
        batch
    });
    let batches = batches.collect();
    all.sort();
    (batches, all)
}

#[derive(Debug, Default)]
struct Bar {
    name: Option<FrameName>,
    begin: i64,
    cumulative: i64,
    flat: i64,
    children: Vec<Bar>,
}

impl Bar {
    fn add(&mut self, is_root: bool, names: &[FrameName], time: i64, value: i64) {
        self.cumulative += value;
        let Some((name, rest)) = names.split_first() else {
            self.flat += value;
            return;
        };
        let latest = self.children.iter().rposition(|child| child.name.as_ref() == Some(name));
        let latest = latest.filter(|&child| is_root || child + 1 == self.children.len());
        let goes_on = latest.filter(|&child| {
            let child = &self.children[child];
            time <= child.begin + child.cumulative
        });
        let child = goes_on.unwrap_or_else(|| {
            self.children.push(Bar { name: Some(name.clone()), begin: time, ..Bar::default() });
            self.children.len() - 1
        });
        self.children[child].add(false, rest, time, value);
    }

    /// The bar below which those of a group begin; it never ends.
    fn group(&mut self, endpoint: &str, time: i64, value: i64) -> &mut Self {
        self.cumulative += value;
        let name = FrameName::Named(format!("endpoint {endpoint}"));
        let known = self.children.iter().position(|child| child.name.as_ref() == Some(&name));
        let group = known.unwrap_or_else(|| {
            self.children.push(Self { name: Some(name), begin: time, ..Self::default() });
            self.children.len() - 1
        });
        &mut self.children[group]
    }

    fn rows(&self, depth: u32, rows: &mut Vec<(u32, String, i64, i64, i64)>) {
        let name = self.name.as_ref().map_or_else(String::new, |name| match name {
            FrameName::Named(name) => name.clone(),
            FrameName::Nameless(..) => "?".to_owned(),
        });
        rows.push((depth, name, self.begin, self.cumulative, self.flat));
        self.children.iter().for_each(|child| child.rows(depth + 1, rows));
    }
}

fn rows(graph: &FlameGraph) -> Vec<(u32, String, i64, i64, i64)> {
    let row = |row: usize| {
        let name = graph.frames.function_name.get(row).map(|name| String::from_utf8_lossy(name).into_owned());
        let name = name.unwrap_or_else(|| if row == 0 { String::new() } else { "?".to_owned() });
        (graph.depth[row], name, graph.timestamp[row], graph.cumulative[row], graph.flat[row])
    };
    (0..graph.len()).map(row).collect()
}

fn request(range: (i64, i64), view: View) -> QueryRequest {
    let merge = Selection::Merge { query: TYPE_SAMPLES.to_owned(), start: Some(range.0), end: Some(range.1) };
    let options = Some(QueryOptions::Select(merge));
    QueryRequest { mode: 2, options, report_type: 9, node_trim_threshold: None, source: None, view }
}

fn engine(batches: Vec<Batch>) -> Engine {
    Engine::new(MemorySource::new(batches), EngineOptions { threads: 2, ..EngineOptions::default() })
}

#[test]
fn a_chart_puts_stacks_one_after_the_other_and_joins_what_goes_on() {
    let mut joined = 0;
    for seed in 0..300 {
        let profiles = profiles(seed);
        let (batches, samples) = stamped(seed, &profiles);
        let range = *Random::new(seed).pick(&[(0, i64::MAX), (1_200, 1_900)]);
        let mut tree = Bar::default();
        let mut total = 0;
        for (time, stack, value, _) in samples.iter().filter(|(time, ..)| (range.0..=range.1).contains(time)) {
            let names: Vec<FrameName> = stack.iter().rev().flat_map(frames).map(|(name, _)| name).collect();
            tree.add(true, &names, *time, *value);
            total += value;
        }
        tree.cumulative -= tree.flat;
        tree.flat = 0;
        let mut expected = Vec::new();
        tree.rows(0, &mut expected);
        let reply = engine(batches).query(&Context::default(), &request(range, View::default())).expect("a chart");
        let Report::FlameGraph(graph) = reply.report else { panic!("not a chart") };
        assert_eq!(rows(&graph), expected, "seed {seed}");
        assert_eq!((reply.total, graph.trimmed), (total, 0), "seed {seed}");
        joined += usize::from((1..graph.len()).any(|row| graph.cumulative[row] > 3 * 10));
        let shown: i64 = graph.flat.iter().sum();
        assert_eq!(shown, graph.cumulative[0], "seed {seed}: every sample with a frame ends in a bar");
    }
    assert!(joined > 0, "no bar went on over several samples");
}

#[test]
fn a_chart_shows_what_filters_leave_and_a_group_of_labels_in_a_bar_of_its_own() {
    let (mut filtered_some, mut grouped_some) = (0, 0);
    for seed in 0..400 {
        let profiles = profiles(seed);
        let (batches, samples) = stamped(seed, &profiles);
        let mut random = Random::new(seed ^ 0xC4B);
        let mut view = view(&mut random);
        let by_labels = random.chance(2);
        view.group_by = Vec::new();
        if by_labels {
            view.group_by.push("labels.endpoint".to_owned());
        }
        let mut tree = Bar::default();
        let (mut total, mut filtered) = (0, 0);
        for (time, stack, value, endpoint) in &samples {
            let Some(stack) = seen(&view, stack, false) else {
                filtered += value;
                continue;
            };
            total += value;
            let names: Vec<FrameName> = stack.iter().rev().flat_map(frames).map(|(name, _)| name).collect();
            match endpoint.as_deref().filter(|_| by_labels) {
                Some(endpoint) => {
                    let group = tree.group(endpoint, *time, *value);
                    group.add(true, &names, *time, *value);
                    group.flat = 0;
                }
                None => tree.add(true, &names, *time, *value),
            }
        }
        tree.cumulative -= tree.flat;
        tree.flat = 0;
        let mut expected = Vec::new();
        tree.rows(0, &mut expected);
        // a flame graph over time is a chart
        let mut request = request((0, i64::MAX), view.clone());
        if random.chance(2) {
            request.report_type = 5;
            request.view.group_by.push("timestamp".to_owned());
        }
        let reply = engine(batches).query(&Context::default(), &request).expect("a chart");
        let Report::FlameGraph(graph) = reply.report else { panic!("not a chart") };
        let mut actual = rows(&graph);
        for (row, said) in actual.iter_mut().enumerate().filter(|(row, _)| graph.labels_only[*row]) {
            let endpoint = graph.labels[0].values.get(row).expect("its label");
            said.1 = format!("endpoint {}", String::from_utf8_lossy(endpoint));
        }
        assert_eq!(actual, expected, "seed {seed}: {view:?}");
        assert_eq!((reply.total, reply.filtered), (total, filtered), "seed {seed}: {view:?}");
        filtered_some += usize::from(filtered != 0 && total != 0);
        grouped_some += usize::from(graph.labels_only.contains(&true));
    }
    assert!(filtered_some > 50 && grouped_some > 50, "{filtered_some} filtered, {grouped_some} grouped");
}

#[test]
fn two_stacks_at_one_time_are_refused_where_they_share_a_frame() {
    let mut refused = 0;
    for seed in 0..100 {
        let profiles = profiles(seed);
        let batches: Vec<Batch> = profiles.iter().map(|profile| batch(std::slice::from_ref(profile))).collect();
        let mut seen: BTreeSet<(i64, FrameName)> = BTreeSet::new();
        let mut stacks = BTreeSet::new();
        let shares = profiles.iter().enumerate().any(|(part, profile)| {
            profile.samples.iter().filter(|sample| sample.values[0] != 0).any(|sample| {
                let outermost = sample.stack.last().map(|location| frames(location)[0].0.clone());
                let is_new = stacks.insert((part, &sample.stack));
                outermost.is_some_and(|name| is_new && !seen.insert((profile.time, name)))
            })
        });
        match engine(batches).query(&Context::default(), &request((0, i64::MAX), View::default())) {
            Ok(_) => assert!(!shares, "seed {seed}"),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Internal);
                assert!(error.message.contains("multiple samples for the same timestamp"), "{}", error.message);
                assert!(shares, "seed {seed}");
                refused += 1;
            }
        }
    }
    assert!((1..100).contains(&refused), "{refused} of 100 were refused");
}
