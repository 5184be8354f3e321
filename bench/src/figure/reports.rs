//! Every kind of report on fleet:1000 (10^6 samples, 40,000 stacks), and every way to look at a flame graph: CPU in the
//! engine, from the head and from a block; CPU, memory and reply of the server, over gRPC. The server's memory is RSS, with an
//! allocator that gives back what is freed, in a process that has answered the same before.

use std::time::Duration;

use bytes::Bytes;
use query::filter::{Criteria, Filter, TextCondition, TextOperator};
use query::report::TextColumn;
use query::request::{QueryOptions, QueryRequest, Selection, SourceReference};
use query::{Context, Engine, EngineOptions, Report, View};

use crate::client::{QUERY, call, connect, write_all};
use crate::corpus::{self, Payload};
use crate::fixture::{Stored, gunzip_speed};
use crate::measure::{Bar, RUNS, in_process, line, median, medians_of_all, milliseconds};
use crate::process::Server;
use crate::wire::{self, CPU, Length};

/// A flame chart is not among them: all stacks of a scraped profile share a time, and a chart shows one at a time.
const REPORTS: [(&str, i32); 9] = [
    ("0 nested flame graph", 0),
    ("1 pprof, packed", 1),
    ("2 top list", 2),
    ("3 call graph", 3),
    ("4 nested flame graph with tables", 4),
    ("5 flame graph", 5),
    ("6 lines of a file", 6),
    ("7 table", 7),
    ("8 metadata", 8),
];

/// To glibc and to jemalloc: what is of some size goes back to the system when it is freed.
const GIVE_BACK: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
    ("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0"),
];

/// Reports between two looks at the clock, which ticks every 10 ms.
const REPEATS: u32 = 10;

const MB: f64 = 1e6;
const MEMORY_BAR: f64 = 32.0 * (1 << 20) as f64;

pub fn run() {
    println!("reports: fleet:1000, every kind and every view, default node budget");
    let bar = Bar::AtMost(100.0 / gunzip_speed());
    let questions = in_the_engine(bar);
    match Server::binary() {
        Ok(binary) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let payloads: Vec<Payload> = corpus::fleet(1_000).collect();
            let packed: Vec<Bytes> = payloads.iter().map(|payload| Bytes::from(payload.gzip())).collect();
            let server = Server::start_with(&binary, &GIVE_BACK);
            runtime.block_on(write_all(&server, &payloads, &packed));
            drop((payloads, packed));
            runtime.block_on(over_grpc(&server, &questions));
        }
        Err(missing) => println!("  of the server not taken: {missing}"),
    }
}

/// A report, and how it looks at stacks.
struct Question {
    name: String,
    request: QueryRequest,
}

/// Gives what was asked.
fn in_the_engine(bar: Bar) -> Vec<Question> {
    let stored = Stored::open();
    stored.fill(corpus::fleet(1_000));
    let mut questions = Vec::new();
    for place in ["head", "block"] {
        if place == "block" {
            stored.store.flush().expect("a disk that takes it");
        }
        let engine = Engine::new(stored.store.clone(), EngineOptions::default());
        let ask = |request: &QueryRequest| engine.query(&Context::default(), request).expect("an answer");
        let Report::Top(top) = ask(&report(2, "")).report else { panic!("not a top list") };
        questions = questions_about(&first(&top.frames.function_name), &first(&top.frames.function_file_name));
        let times = medians_of_all(questions.len(), |question| in_process(|| ask(&questions[question].request)));
        for (question, time) in questions.iter().zip(times) {
            line(&format!("{place}: {}", question.name), milliseconds(time), "ms CPU", bar);
        }
    }
    questions
}

fn first(column: &TextColumn) -> String {
    String::from_utf8_lossy(column.get(0).expect("a text")).into_owned()
}

async fn over_grpc(server: &Server, questions: &[Question]) {
    let mut grpc = connect(server).await;
    for Question { name, request } in questions {
        let request = on_the_wire(request);
        let mut reply = Length::default();
        let mut times: Vec<Duration> = Vec::new();
        let mut memory: Vec<u64> = Vec::new();
        for run in 0..=RUNS {
            let before = server.cpu();
            for _ in 0..REPEATS {
                server.forget_peak();
                let held = server.memory("VmRSS");
                reply = call(&mut grpc, QUERY, request.clone()).await.expect("an answer");
                let peak = server.memory("VmHWM").saturating_sub(held);
                if run > 0 {
                    memory.push(peak);
                }
            }
            if run > 0 {
                times.push((server.cpu() - before) / REPEATS);
            }
        }
        let bytes = reply.bytes as f64;
        line(&format!("server: {name}, with encoding"), milliseconds(median(times)), "ms CPU", Bar::None);
        line(&format!("server: {name}, reply"), bytes / MB, "MB", Bar::None);
        let most = (MEMORY_BAR + 2.0 * bytes) / MB;
        line(&format!("server: {name}, above idle"), median(memory) as f64 / MB, "MB", Bar::AtMost(most));
    }
}

/// `report_type` over the CPU time of all that was written.
pub fn report(report_type: i32, file: &str) -> QueryRequest {
    QueryRequest {
        mode: 2,
        options: Some(QueryOptions::Select(Selection::Merge {
            query: CPU.to_owned(),
            start: Some(0),
            end: Some(i64::MAX),
        })),
        report_type,
        node_trim_threshold: None,
        source: Some(SourceReference { build_id: String::new(), filename: file.to_owned() }),
        view: View::default(),
    }
}

/// Every kind of report, and every view of a flame graph.
fn questions_about(function: &str, file: &str) -> Vec<Question> {
    let kinds =
        REPORTS.map(|(name, report_type)| Question { name: name.to_owned(), request: report(report_type, file) });
    let looking = |report_type: i32, what: &str, view: View| Question {
        name: format!("{report_type} {what}"),
        request: QueryRequest { view, ..report(report_type, file) },
    };
    let condition = |operator, text: &str, negated| Criteria {
        function_name: Some(TextCondition { operator, text: text.to_owned(), negated }),
        ..Criteria::default()
    };
    let stacks = |negated| Filter::Stack(condition(TextOperator::Contains, "ledger", negated));
    let frames = Filter::Frame(vec![condition(TextOperator::StartsWith, "runtime.", true)]);
    let filter = |filter| View { filters: vec![filter], ..View::default() };
    let cut_at = |invert| View { sandwich_by: function.to_owned(), invert, ..View::default() };
    let by = |field: &str| View { group_by: vec![field.to_owned()], ..View::default() };
    let views = [
        looking(5, "of stacks with a function", filter(stacks(false))),
        looking(5, "of stacks without it", filter(stacks(true))),
        looking(5, "without the frames of a package", filter(frames.clone())),
        looking(5, "upside down", View { invert: true, ..View::default() }),
        looking(5, "of what a function calls", cut_at(false)),
        looking(5, "of what calls it", cut_at(true)),
        looking(5, "by file", by("function_file_name")),
        looking(5, "by address", by("location_address")),
        looking(5, "by service", by("labels.service")),
        looking(5, "by pod", by("labels.pod")),
        looking(1, "by service", by("labels.service")),
        looking(7, "without the frames of a package", filter(frames)),
        looking(7, "of what calls a function", cut_at(true)),
    ];
    kinds.into_iter().chain(views).collect()
}

/// The same as a client of the server asks for it.
fn on_the_wire(request: &QueryRequest) -> wire::QueryRequest {
    let view = &request.view;
    let criteria = |criteria: &Criteria| {
        let TextCondition { operator, text, negated } = criteria.function_name.clone().expect("a function's name");
        let condition = match (operator, negated) {
            (TextOperator::Contains, false) => wire::TextCondition { contains: Some(text), ..Default::default() },
            (TextOperator::Contains, true) => wire::TextCondition { not_contains: Some(text), ..Default::default() },
            (TextOperator::StartsWith, true) => {
                wire::TextCondition { not_starts_with: Some(text), ..Default::default() }
            }
            other => panic!("no question has {other:?}"),
        };
        Some(wire::Criteria { criteria: Some(wire::FunctionName { condition: Some(condition) }) })
    };
    let filter = |filter: &Filter| match filter {
        Filter::Stack(all) => wire::Filter { stack: criteria(all), frame: None },
        Filter::Frame(any) => wire::Filter { stack: None, frame: criteria(&any[0]) },
    };
    wire::QueryRequest {
        source_reference: request
            .source
            .as_ref()
            .map(|source| wire::SourceReference { filename: source.filename.clone() }),
        group_by: Some(wire::GroupBy { fields: view.group_by.clone() }),
        invert_call_stack: view.invert,
        filter: view.filters.iter().map(filter).collect(),
        sandwich_by_function: view.sandwich_by.clone(),
        ..wire::QueryRequest::merge_of_everything(request.report_type)
    }
}
