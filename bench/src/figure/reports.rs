//! Every kind of report on fleet:1000 (10^6 samples, 40,000 stacks): CPU in the engine, from the head and from a block;
//! CPU, memory and reply of the server, over gRPC. The server's memory is RSS, with an allocator that gives back what
//! is freed, in a process that has answered the same before.

use std::time::Duration;

use bytes::Bytes;
use query::request::{QueryOptions, QueryRequest, Selection, SourceReference};
use query::{Context, Engine, EngineOptions, Report, View};

use crate::client::{QUERY, call, connect, write_all};
use crate::corpus::{self, Payload};
use crate::fixture::{Stored, gunzip_speed};
use crate::measure::{Bar, RUNS, in_process, line, medians, milliseconds};
use crate::process::Server;
use crate::wire::{self, Length};

const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";

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
    println!("reports: fleet:1000, every kind, default node budget");
    let bar = Bar::AtMost(100.0 / gunzip_speed());
    let file = in_the_engine(bar);
    match Server::binary() {
        Ok(binary) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let payloads: Vec<Payload> = corpus::fleet(1_000).collect();
            let packed: Vec<Bytes> = payloads.iter().map(|payload| Bytes::from(payload.gzip())).collect();
            let server = Server::start_with(&binary, &GIVE_BACK);
            runtime.block_on(write_all(&server, &payloads, &packed));
            runtime.block_on(over_grpc(&server, &file));
        }
        Err(missing) => println!("  of the server not taken: {missing}"),
    }
}

/// Gives the file of the function on top of the list.
fn in_the_engine(bar: Bar) -> String {
    let stored = Stored::open();
    stored.fill(corpus::fleet(1_000));
    let mut file = String::new();
    for place in ["head", "block"] {
        if place == "block" {
            stored.store.flush().expect("a disk that takes it");
        }
        let engine = Engine::new(stored.store.clone(), EngineOptions::default());
        let context = Context::default();
        let ask = |report_type: i32, file: &str| engine.query(&context, &report(report_type, file)).expect("an answer");
        let Report::Top(top) = ask(2, "").report else { panic!("not a top list") };
        file = String::from_utf8_lossy(top.frames.function_file_name.get(0).expect("a file")).into_owned();
        let mut works = REPORTS.map(|(_, report_type)| {
            let (ask, file) = (&ask, &file);
            move || in_process(|| ask(report_type, file))
        });
        let times = medians(works.each_mut().map(|work| work as &mut dyn FnMut() -> Duration));
        for ((name, _), time) in REPORTS.iter().zip(times) {
            line(&format!("{place}: {name}"), milliseconds(time), "ms CPU", bar);
        }
    }
    file
}

async fn over_grpc(server: &Server, file: &str) {
    let mut grpc = connect(server).await;
    for (name, report_type) in REPORTS {
        let request = wire::QueryRequest {
            source_reference: Some(wire::SourceReference { filename: file.to_owned() }),
            ..wire::QueryRequest::merge_of_everything(report_type)
        };
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
        times.sort();
        memory.sort();
        let peak = memory[memory.len() / 2] as f64;
        let bytes = reply.bytes as f64;
        line(&format!("server: {name}, with encoding"), milliseconds(times[RUNS / 2]), "ms CPU", Bar::None);
        line(&format!("server: {name}, reply"), bytes / MB, "MB", Bar::None);
        let most = (MEMORY_BAR + 2.0 * bytes) / MB;
        line(&format!("server: {name}, above idle"), peak / MB, "MB", Bar::AtMost(most));
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
