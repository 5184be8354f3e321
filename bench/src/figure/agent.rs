//! What agents send, to durable: Arrow v2, OTLP and Arrow v1, 780 samples a message, against the same profiles as gzipped pprof. Of v1
//! once with all stacks each time, and once without those that the node has sent before.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use ingest::{Dictionaries, Limits, Scratch, stamped_limits, v1};
use store::Record;

use crate::client::{call, connect};
use crate::corpus::{self, Payload};
use crate::fixture::{self, Stored};
use crate::measure::{Bar, in_process, line, medians};
use crate::process::Server;
use crate::stamped::{self, PROFILES};
use crate::wire::{Empty, ExportRequest, WriteArrowRequest};

/// Ten rounds of ten seconds from 25 nodes.
const CORPUS: usize = 15_000;

/// pprofs in one write, as in `ingest`: what waits together when 32 senders are busy.
const WRITE: usize = 32;

/// Messages in one write: what waits together when all nodes send theirs.
const NODES: usize = 25;

const MB: f64 = 1e6;

pub fn run() {
    println!(
        "agent: {CORPUS} profiles of agents to durable, process CPU; {PROFILES} profiles, 780 samples a message, {NODES} messages or {WRITE} pprofs a write"
    );
    let payloads: Vec<Payload> = corpus::agent(CORPUS).collect();
    let samples: usize = payloads.iter().map(|payload| payload.samples).sum();
    let pprofs: Vec<Bytes> = payloads.iter().map(|payload| payload.gzip().into()).collect();
    let v2: Vec<Bytes> = payloads.chunks(PROFILES).map(|chunk| stamped::arrow_v2(chunk).into()).collect();
    let otlp: Vec<Bytes> = payloads.chunks(PROFILES).map(|chunk| stamped::otlp(chunk).into()).collect();
    let v1: Vec<[Vec<u8>; 2]> =
        payloads.chunks(PROFILES).map(|chunk| stamped::arrow_v1(chunk, &mut HashSet::new())).collect();
    // what each node has sent
    let mut sent: HashMap<u64, HashSet<[u8; 16]>> = HashMap::new();
    let v1_once: Vec<(u64, [Vec<u8>; 2])> = (payloads.chunks(PROFILES))
        .map(|chunk| (node(&chunk[0]), stamped::arrow_v1(chunk, sent.entry(node(&chunk[0])).or_default())))
        .collect();
    let bytes = |messages: &[Bytes]| messages.iter().map(Bytes::len).sum::<usize>() as f64;
    for (name, messages) in [("gzipped pprof", &pprofs), ("Arrow v2", &v2), ("OTLP", &otlp)] {
        line(&format!("{name}: sent"), bytes(messages) / samples as f64, "B/sample", Bar::None);
    }
    let both =
        |messages: &mut dyn Iterator<Item = &[Vec<u8>; 2]>| messages.flatten().map(Vec::len).sum::<usize>() as f64;
    line("Arrow v1: sent", both(&mut v1.iter()) / samples as f64, "B/sample", Bar::None);
    let once = both(&mut v1_once.iter().map(|(_, messages)| messages));
    line("Arrow v1, known stacks left out: sent", once / samples as f64, "B/sample", Bar::None);
    let limits = stamped_limits();
    let message = |kind: u8, payload: &Bytes| Record { kind, ..fixture::record(&payloads[0], payload.clone()) };
    let [as_pprof, as_v2, as_otlp, v2_decoded, otlp_decoded, as_v1, as_v1_known] = medians([
        &mut || {
            let stored = Stored::open();
            let (mut scratch, limits) = (Scratch::default(), Limits::default());
            in_process(|| {
                for (payloads, packed) in payloads.chunks(WRITE).zip(pprofs.chunks(WRITE)) {
                    let writes = payloads.iter().zip(packed).map(|(payload, packed)| {
                        let batch = ingest::pprof(payload.labels.clone(), packed, payload.time, &limits, &mut scratch);
                        (fixture::record(payload, packed.clone()), batch.expect("a sound profile"))
                    });
                    stored.store.write(writes.collect()).expect("a disk that takes it");
                }
            })
        },
        &mut || {
            let dictionaries = Dictionaries::default();
            let stored = Stored::open();
            in_process(|| {
                for payloads in v2.chunks(NODES) {
                    let writes = payloads.iter().map(|payload| {
                        let batch = ingest::write_arrow(payload, 0, &limits, &dictionaries).expect("a sound message");
                        (message(2, payload), batch)
                    });
                    stored.store.write(writes.collect()).expect("a disk that takes it");
                }
            })
        },
        &mut || {
            let dictionaries = Dictionaries::default();
            let stored = Stored::open();
            in_process(|| {
                for payloads in otlp.chunks(NODES) {
                    let writes = payloads.iter().map(|payload| {
                        let batch = ingest::otlp(payload, 0, &limits, &dictionaries).expect("a sound export").batch;
                        (message(4, payload), batch)
                    });
                    stored.store.write(writes.collect()).expect("a disk that takes it");
                }
            })
        },
        &mut || {
            let dictionaries = Dictionaries::default();
            in_process(|| {
                for payload in &v2 {
                    std::hint::black_box(
                        ingest::write_arrow(payload, 0, &limits, &dictionaries).expect("a sound message"),
                    );
                }
            })
        },
        &mut || {
            let dictionaries = Dictionaries::default();
            in_process(|| {
                for payload in &otlp {
                    std::hint::black_box(ingest::otlp(payload, 0, &limits, &dictionaries).expect("a sound export"));
                }
            })
        },
        &mut || {
            let dictionaries = Dictionaries::default();
            let stored = Stored::open();
            in_process(|| {
                for payloads in v1.chunks(NODES) {
                    let writes = payloads.iter().map(|[samples, locations]| {
                        v1::ask(samples, &limits, v1::nothing_known).expect("sound samples");
                        let payload = Bytes::from(v1::join(samples, locations));
                        let batch = v1::write(&payload, 0, &limits, &dictionaries, None).expect("a sound write");
                        (message(3, &payload), batch)
                    });
                    stored.store.write(writes.collect()).expect("a disk that takes it");
                }
            })
        },
        &mut || {
            let dictionaries = Dictionaries::default();
            let stored = Stored::open();
            let mut known = v1::Known::new(64 << 20);
            in_process(|| {
                for payloads in v1_once.chunks(NODES) {
                    let writes = payloads.iter().map(|(node, [samples, locations])| {
                        let asked = v1::ask(samples, &limits, |ids| known.find(*node, ids, 1, 16 << 20));
                        let list = asked.expect("sound samples").list;
                        let payload = Bytes::from(v1::join_with_known(samples, locations, &list));
                        let mut list = Vec::new();
                        let batch = v1::write_with_known(&payload, 0, &limits, &dictionaries, Some(&mut list))
                            .expect("a sound write");
                        known.learn(*node, &list, 1).expect("our own list");
                        (message(5, &payload), batch)
                    });
                    stored.store.write(writes.collect()).expect("a disk that takes it");
                }
            })
        },
    ]);
    let rate = |time: std::time::Duration| samples as f64 / 1e3 / time.as_secs_f64();
    line("gzipped pprof: to durable", rate(as_pprof), "10^3/CPU-s", Bar::None);
    for (name, durable, decoded) in [("Arrow v2", as_v2, v2_decoded), ("OTLP", as_otlp, otlp_decoded)] {
        line(&format!("{name}: to durable"), rate(durable), "10^3/CPU-s", Bar::None);
        let share = 100.0 * decoded.as_secs_f64() / durable.as_secs_f64();
        line(&format!("{name}: of that, decoding"), share, "%", Bar::None);
        let ratio = as_pprof.as_secs_f64() / durable.as_secs_f64();
        line(&format!("{name}: to durable / as pprof"), ratio, "x", Bar::AtLeast(5.0));
    }
    for (name, durable) in [("Arrow v1", as_v1), ("Arrow v1, known stacks left out", as_v1_known)] {
        line(&format!("{name}: to durable"), rate(durable), "10^3/CPU-s", Bar::None);
        let ratio = as_pprof.as_secs_f64() / durable.as_secs_f64();
        line(&format!("{name}: to durable / as pprof"), ratio, "x", Bar::None);
    }
    memory(&v2, &otlp);
}

/// Whose profile it is.
fn node(payload: &Payload) -> u64 {
    let label = payload.labels.iter().find(|(name, _)| name == "node").map(|(_, value)| value.as_str());
    label.and_then(|value| value.rsplit('-').next()?.parse().ok()).expect("a numbered node")
}

/// What the server's process takes at its peak above what it takes idle, all that it has stored by then included.
fn memory(v2: &[Bytes], otlp: &[Bytes]) {
    let binary = match Server::binary() {
        Ok(binary) => binary,
        Err(missing) => return println!("  memory not taken: {missing}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for name in ["Arrow v2", "OTLP"] {
        let server = Server::start(&binary);
        let idle = server.memory("VmRSS");
        runtime.block_on(async {
            let mut grpc = connect(&server).await;
            for (v2, otlp) in v2.iter().zip(otlp).take(100) {
                match name {
                    "OTLP" => {
                        let path = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
                        let request = <ExportRequest as prost::Message>::decode(otlp.clone()).expect("an export");
                        call::<_, Empty>(&mut grpc, path, request).await.expect("taken");
                    }
                    _ => {
                        let path = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow";
                        let request = WriteArrowRequest { ipc_buffer: v2.clone() };
                        call::<_, Empty>(&mut grpc, path, request).await.expect("taken");
                    }
                }
            }
        });
        let above = server.memory("VmHWM").saturating_sub(idle) as f64 / MB;
        line(&format!("{name}: peak RSS above idle, 100 messages"), above, "MB", Bar::AtMost(67.1));
    }
}
