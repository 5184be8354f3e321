//! How often samples are read one by one, and how far: once for a question, and no further than its answer needs.

use std::sync::Arc;

use profile::Labels;
use query::request::{LabelsRequest, QueryOptions, RangeRequest, TypesRequest, ValuesRequest};
use query::{Context, Engine, EngineOptions, ErrorKind, QueryError, QueryRequest, Selection, View};
use store::budget::Budget;

use crate::memory::{MemorySource, Watched};
use crate::random::{Profile, SECOND, Sample, batch};

const TYPE_CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";

/// A profile of each job, that of row `i` from `begins[i]` (s) on.
fn part(begins: &[i64]) -> Arc<Watched> {
    part_of(&begins.iter().copied().enumerate().collect::<Vec<_>>())
}

/// A profile of each job and begin (s): four stamped samples, 10 s apart, with an endpoint each. Only the first of all has HEAD.
fn part_of(profiles: &[(usize, i64)]) -> Arc<Watched> {
    let sample = |endpoint| Sample { stack: Vec::new(), values: [1, 10], labels: vec![("endpoint", endpoint)] };
    let profile = |(row, &(job, begin)): (usize, &(usize, i64))| Profile {
        labels: Labels::from_pairs(vec![("job".to_owned(), job.to_string())]),
        delta: true,
        time: begin * SECOND,
        duration: SECOND,
        period: 1,
        samples: ["GET", "PUT", if row == 0 { "HEAD" } else { "GET" }, "DELETE"].map(sample).to_vec(),
    };
    let mut batch = batch(&profiles.iter().enumerate().map(profile).collect::<Vec<_>>());
    let begins = profiles.iter().map(|(_, begin)| begin);
    batch.samples.time =
        begins.clone().flat_map(|begin| (0..4).map(move |sample| (begin + 10 * sample) * SECOND)).collect();
    batch.profiles.time_max = begins.map(|begin| (begin + 30) * SECOND).collect();
    Arc::new(Watched::new(batch))
}

fn engine(part: &Arc<Watched>, options: EngineOptions) -> Engine {
    Engine::new(Arc::new(MemorySource { parts: vec![part.clone()], budget: Budget::new(1 << 30) }), options)
}

fn between(start: i64, end: i64) -> TypesRequest {
    TypesRequest { start: Some(start * SECOND), end: Some(end * SECOND) }
}

#[test]
fn which_types_a_range_that_cuts_profiles_holds_takes_one_read_of_a_part() {
    let part = part(&[1_000; 20]);
    let engine = engine(&part, EngineOptions::default());
    let types = engine.profile_types(&Context::default(), &between(1_005, 1_025)).expect("types");
    assert_eq!(types.len(), 2);
    let (reads, visited) = part.count();
    // every stream's own values have to be seen, but none of what lies behind the last
    assert!(reads == 1 && visited < 160, "{reads} reads of {visited} samples");
    let none = engine.profile_types(&Context::default(), &between(1_001, 1_009)).expect("types");
    assert_eq!(none, [], "between two samples is nothing");
    assert_eq!(part.count(), (1, 160));
}

#[test]
fn a_profile_that_lies_in_the_range_whole_says_without_a_read_that_there_is_data() {
    let part = part(&[1_000, 1_010, 1_000]);
    let engine = engine(&part, EngineOptions::default());
    let has_data = |start, end| engine.has_profile_data(&Context::default(), &between(start, end)).expect("an answer");
    assert!(has_data(1_005, 1_045));
    assert_eq!(part.count().0, 0);
    assert!(has_data(1_005, 1_025));
    let (reads, visited) = part.count();
    assert!(reads == 1 && visited < 24, "{reads} reads of {visited} samples");
    assert!(!has_data(1_001, 1_009));
}

#[test]
fn labels_in_a_range_that_cuts_profiles_take_one_read_for_the_streams_and_one_for_their_samples() {
    let part = part(&[1_000; 20]);
    let engine = engine(&part, EngineOptions::default());
    let values = |label_name: &str| {
        let bounds = between(1_005, 1_025);
        let request = ValuesRequest { bounds, profile_type: String::new(), label_name: label_name.to_owned() };
        engine.values(&Context::default(), &request).expect("values")
    };
    assert_eq!(values("endpoint"), ["GET", "HEAD", "PUT"], "DELETE comes later");
    assert_eq!(part.count().0, 2);
    assert_eq!(values("job").len(), 20);
}

#[test]
fn labels_that_any_profile_shows_cost_few_samples_and_one_that_none_shows_few_reads() {
    // of each of three jobs 100 profiles, a minute apart
    let part = part_of(&(0..300).map(|row| (row % 3, 1_000 + 60 * (row / 3) as i64)).collect::<Vec<_>>());
    let engine = engine(&part, EngineOptions::default());
    let endpoints = |profile_type: &str, (start, end)| {
        let (bounds, profile_type) = (between(start, end), profile_type.to_owned());
        let request = ValuesRequest { bounds, profile_type, label_name: "endpoint".to_owned() };
        engine.values(&Context::default(), &request).expect("values")
    };
    // the range cuts the first profiles: HEAD is in it, and whatever is missing the second ones show
    assert_eq!(endpoints(TYPE_CPU, (1_015, 6_000)), ["DELETE", "GET", "HEAD", "PUT"]);
    let (reads, visited) = part.count();
    assert!(reads <= 2 && visited <= 3 * 3 * 4, "{reads} reads of {visited} samples");
    // HEAD lies before it: of its job each profile has to be read, and once is enough
    assert_eq!(endpoints(TYPE_CPU, (1_055, 9_000)), ["DELETE", "GET", "PUT"]);
    let (reads, visited) = part.count();
    assert!(reads <= 7 && visited <= 99 * 4 + 2 * 4, "{reads} reads of {visited} samples");
    // all types, and the range has whole profiles only
    assert_eq!(endpoints("", (1_055, 9_000)), ["DELETE", "GET", "PUT"]);
}

#[test]
fn streams_that_are_not_asked_about_are_not_read() {
    let part = part(&[1_000; 20]);
    let engine = engine(&part, EngineOptions::default());
    let labels = |matcher: &str| {
        let (profile_type, matchers) = (TYPE_CPU.to_owned(), vec![matcher.to_owned()]);
        let request = LabelsRequest { bounds: between(1_005, 1_025), profile_type, matchers };
        engine.labels(&Context::default(), &request).expect("labels")
    };
    assert!(labels(r#"job="nobody""#).is_empty());
    assert_eq!(part.count(), (0, 0));
    assert_eq!(labels(r#"job="7""#), ["endpoint", "job"]);
    let (reads, visited) = part.count();
    assert!(reads <= 2 && visited <= 8, "{reads} reads of {visited} samples");
}

#[test]
fn nothing_more_is_read_once_an_answer_is_refused() {
    let part = part(&(0..50).map(|job| 1_000 + job).collect::<Vec<_>>());
    let few = EngineOptions { series_max: 2, ..EngineOptions::default() };
    // a group of one stack takes some ten bytes
    let small = EngineOptions { memory_bytes: 64, ..EngineOptions::default() };
    let report = |report_type, labels: &[&str], options| -> Result<(), QueryError> {
        let merge = Selection::Merge { query: TYPE_CPU.to_owned(), start: Some(0), end: Some(i64::MAX) };
        let request = QueryRequest {
            mode: 2,
            options: Some(QueryOptions::Select(merge)),
            report_type,
            node_trim_threshold: None,
            source: None,
            view: View { group_by: labels.iter().map(|&label| label.to_owned()).collect(), ..View::default() },
        };
        engine(&part, options).query(&Context::default(), &request).map(|_| ())
    };
    let range = || {
        let request = RangeRequest {
            query: TYPE_CPU.to_owned(),
            start: Some(0),
            end: Some(i64::MAX),
            step: Some(SECOND),
            limit: 0,
            sum_by: vec!["job".to_owned(), "endpoint".to_owned()],
        };
        engine(&part, few).query_range(&Context::default(), &request).map(|_| ())
    };
    for (what, answer, message) in [
        ("a flame graph of many groups", report(5, &["labels.job"], few), "more than 2 groups"),
        ("a flame graph without memory", report(5, &["labels.job"], small), "ask for less"),
        ("a chart of many groups", report(9, &["labels.job"], few), "more than 2 groups"),
        ("a graph of many series", range(), "more than 2 series"),
    ] {
        let error = answer.expect_err(what);
        assert_eq!(error.kind, ErrorKind::ResourceExhausted, "{what}: {error}");
        assert!(error.message.contains(message), "{what}: {error}");
    }
    // at most the profile whose samples were one too many, and those before it
    let (reads, visited) = part.count();
    assert!(reads == 4 && visited <= 4 * 12, "{reads} reads of {visited} samples");
}
