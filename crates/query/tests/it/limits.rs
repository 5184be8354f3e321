//! Deadlines, cancellation, and bounds of memory and size.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use profile::Labels;
use query::request::{QueryOptions, RangeRequest};
use query::{Context, Engine, EngineOptions, ErrorKind, QueryError, QueryRequest, Selection};

use crate::memory::MemorySource;
use crate::random::{Line, Location, Profile, SECOND, Sample, batches, profiles};

const TYPE_CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";

fn engine(options: EngineOptions) -> Engine {
    let profiles: Vec<_> = (0..20).flat_map(profiles).collect();
    Engine::new(MemorySource::new(batches(1, &profiles)), options)
}

fn flame_graph(engine: &Engine, context: &Context) -> Result<(), QueryError> {
    let selection = Selection::Merge { query: TYPE_CPU.to_owned(), start: Some(0), end: Some(i64::MAX) };
    let request = QueryRequest {
        mode: 2,
        options: Some(QueryOptions::Select(selection)),
        report_type: 5,
        node_trim_threshold: None,
        source: None,
        view: query::View::default(),
    };
    engine.query(context, &request).map(|_| ())
}

#[test]
fn a_query_past_its_deadline_ends() {
    let context = Context { deadline: Some(Instant::now() - Duration::from_secs(1)), ..Context::default() };
    let error = flame_graph(&engine(EngineOptions::default()), &context).expect_err("too late");
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
}

#[test]
fn a_query_whose_client_is_gone_ends() {
    let context = Context { cancelled: Arc::new(AtomicBool::new(true)), ..Context::default() };
    let error = flame_graph(&engine(EngineOptions::default()), &context).expect_err("cancelled");
    assert_eq!(error.kind, ErrorKind::Cancelled);
}

#[test]
fn a_query_that_needs_more_memory_than_there_is_is_refused_and_gives_all_back() {
    let small = engine(EngineOptions { memory_bytes: 100, ..EngineOptions::default() });
    let error = flame_graph(&small, &Context::default()).expect_err("no room");
    assert_eq!(error.kind, ErrorKind::ResourceExhausted);
    let large = engine(EngineOptions::default());
    for _ in 0..3 {
        flame_graph(&large, &Context::default()).expect("room");
    }
}

#[test]
fn one_profile_that_is_exported_pays_for_its_samples_as_it_is_read() {
    let frame = Line { function: Some(("main", "main", "a.go", 1)), line: 1 };
    let location = |address| Location { binary: None, address, lines: vec![frame.clone()] };
    let sample = Sample { stack: (0..500).map(location).collect(), values: [1, 1], labels: Vec::new() };
    let exported = |samples: usize, options: EngineOptions| {
        let profile = Profile {
            labels: Labels::from_pairs([]),
            delta: true,
            time: 1_000 * SECOND,
            duration: SECOND,
            period: 1,
            samples: vec![sample.clone(); samples],
        };
        let engine = Engine::new(MemorySource::new(batches(1, &[profile])), options);
        let selection = Selection::Single { query: TYPE_CPU.to_owned(), time: Some(1_000 * SECOND) };
        let request = QueryRequest {
            mode: 0,
            options: Some(QueryOptions::Select(selection)),
            report_type: 1,
            node_trim_threshold: None,
            source: None,
            view: query::View::default(),
        };
        engine.query(&Context::default(), &request).map(|_| ())
    };
    let small = EngineOptions { memory_bytes: 2 << 20, ..EngineOptions::default() };
    exported(100, small).expect("room for a few");
    let error = exported(2_000, small).expect_err("no room");
    assert_eq!(error.kind, ErrorKind::ResourceExhausted);
    assert!(error.message.contains("ask for less"), "{error}");
    exported(2_000, EngineOptions::default()).expect("room for many");
}

#[test]
fn more_series_than_a_graph_may_have_are_refused_with_advice() {
    let engine = engine(EngineOptions { series_max: 1, ..EngineOptions::default() });
    let request = RangeRequest {
        query: TYPE_CPU.to_owned(),
        start: Some(0),
        end: Some(i64::MAX),
        step: Some(1_000_000_000),
        limit: 0,
        sum_by: vec!["job".to_owned(), "endpoint".to_owned()],
    };
    let error = engine.query_range(&Context::default(), &request).expect_err("too many");
    assert_eq!(error.kind, ErrorKind::ResourceExhausted);
    assert!(error.message.contains("narrow it down"), "{error}");
}
