//! The built binary over gRPC: what it takes in, answers, and holds. CPU and memory are the server process's alone.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::client::{QUERY, call, connect, write_all};
use crate::corpus::{self, Payload};
use crate::measure::{self, Bar, RUNS, line, mb_per_second, median_of, on_thread};
use crate::peer;
use crate::process::Server;
use crate::wire::{QueryRequest, QueryResponse};

/// Merges between two looks at the clock, which ticks every 10 ms.
const MERGES: u32 = 20;

const MB: f64 = 1e6;

pub fn run() {
    println!("server: the binary over gRPC, CPU and memory of its process");
    let binary = match Server::binary() {
        Ok(binary) => binary,
        Err(missing) => return println!("  not taken: {missing}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");

    let mut ready: Vec<Duration> = (0..RUNS).map(|_| Server::start(&binary).ready).collect();
    ready.sort();
    line("ready with an empty store", ready[RUNS / 2].as_secs_f64() * 1e3, "ms", Bar::AtMost(100.0));
    let idle = Server::start(&binary);
    std::thread::sleep(Duration::from_secs(10));
    line("RSS after 10 s idle", idle.memory("VmRSS") as f64 / MB, "MB", Bar::AtMost(40.0));
    drop(idle);

    let payloads: Vec<Payload> = corpus::fleet(1_000).collect();
    let bytes: usize = payloads.iter().map(|payload| payload.raw.len()).sum();
    let packed: Vec<Bytes> = payloads.iter().map(|payload| Bytes::from(payload.gzip())).collect();
    let mut buffer = Vec::new();
    let gunzip = median_of(|| {
        on_thread(|| {
            let pairs = payloads.iter().zip(&packed);
            pairs.for_each(|(payload, packed)| peer::gunzip(packed, payload.raw.len(), &mut buffer));
        })
    });
    let speed = measure::speed(bytes, gunzip);

    let sent: i64 = payloads.iter().map(|payload| cpu_nanoseconds(&payload.raw)).sum();

    let mut ingests = Vec::new();
    let mut peaks = Vec::new();
    let mut merges = Vec::new();
    let mut reply = 0;
    for _ in 0..RUNS {
        let server = Server::start(&binary);
        let before = server.cpu();
        runtime.block_on(write_all(&server, &payloads, &packed));
        ingests.push(server.cpu() - before);
        peaks.push(server.memory("VmHWM"));
        // once, so that trees are built; a server that drops data would be fast
        let (total, _) = runtime.block_on(merge(&server, 1));
        assert_eq!(total, sent, "all that was acknowledged is found");
        let before = server.cpu();
        let (_, table) = runtime.block_on(merge(&server, MERGES));
        merges.push((server.cpu() - before) / MERGES);
        reply = table;
    }
    ingests.sort();
    peaks.sort();
    merges.sort();
    let rate = mb_per_second(bytes, ingests[RUNS / 2]);
    line("WriteRaw of fleet:1000", rate, "MB/CPU-s", Bar::AtLeast(100.0 * speed));
    line("WriteRaw of fleet:1000 / gunzip", rate / mb_per_second(bytes, gunzip), "x", Bar::None);
    line("peak RSS while it comes in", peaks[RUNS / 2] as f64 / MB, "MB", Bar::AtMost(300.0));
    let merge = merges[RUNS / 2].as_secs_f64() * 1e3;
    line("merge of it to an Arrow flame graph", merge, "ms", Bar::AtMost(100.0 / speed));
    line("reply", reply as f64 / MB, "MB", Bar::None);
}

/// The second value of all samples, as the peer's decoder reads it.
fn cpu_nanoseconds(raw: &[u8]) -> i64 {
    let profile = peer::proto::Profile::decode(raw).expect("a sound profile");
    profile.sample.iter().map(|sample| sample.value[1]).sum()
}

/// Asks `times` for the flame graph of everything; gives its total and the bytes of the table.
async fn merge(server: &Server, times: u32) -> (i64, usize) {
    let mut grpc = connect(server).await;
    let mut answer = (0, 0);
    for _ in 0..times {
        let request = QueryRequest::merge_of_everything(5);
        let reply: QueryResponse = call(&mut grpc, QUERY, request).await.expect("an answer");
        let table = reply.flamegraph_arrow.map_or(0, |table| table.record.len());
        answer = (reply.total, table);
    }
    answer
}
