//! Profiles that are cut off, skewed or lie, by every protocol: each is refused with a reason, and nobody else notices.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use e2e::{Client, Place, Server, pprof, raw, recorded::testdata};
use tonic::{Code, Status};

const START: i64 = 1_768_464_000;
const LABELS: [(&str, &str); 2] = [("__name__", pprof::NAME), ("job", "e2e")];

/// A good neighbour that writes all the while.
async fn neighbour(client: Client, until: tokio::sync::watch::Receiver<bool>) -> i64 {
    let mut written = 0;
    while !*until.borrow() {
        let profile = pprof::cpu(START + written, &[(vec![1, 2, 3], 1)]);
        client.write(&LABELS, profile).await.expect("a good profile is taken");
        written += 1;
    }
    written
}

fn refused(what: &str, result: Result<(), Status>) {
    let status = result.expect_err(what);
    assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status}");
    assert!(!status.message().is_empty() && !status.message().contains("panick"), "{what}: {status}");
}

/// `bytes` with the four behind the first continuation mark, the length of the schema, set to `length`.
fn schema_length(mut bytes: Vec<u8>, length: u32) -> Vec<u8> {
    assert_eq!(bytes[..4], [0xff; 4]);
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

/// An export of proto 1.10 of which the first `profiles` have a sample that names stack 99 of 3.
fn skewed(profiles: usize) -> Vec<u8> {
    let mut bytes = testdata("otlp/proto_1.10.pb");
    // of the second sample: field 2 of 24 bytes, and in it the stack's index
    let sample = [0x12, 0x18, 0x08, 0x02, 0x22];
    let places: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(&sample)).collect();
    assert_eq!(places.len(), 2, "a sample a profile");
    for at in places.into_iter().take(profiles) {
        bytes[at + 3] = 99;
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_that_are_cut_off_skewed_or_lie_are_refused_and_no_one_else_notices() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    let client = server.client();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let good = tokio::spawn(neighbour(server.client(), stopped));

    let arrow = testdata("conformance/inputs/v2_cpu.arrow");
    for end in [0, 1, 7, 8, 100, arrow.len() / 2, arrow.len() - 200] {
        refused(&format!("Arrow cut at {end}"), client.write_arrow(arrow[..end].to_vec()).await);
    }
    for file in ["bad_value", "bad_duration", "bad_stacktrace", "bad_timestamp", "bad_nometa", "bad_nov9"] {
        let message = testdata(&format!("conformance/inputs/v2_{file}.arrow"));
        refused(&format!("a schema with {file}"), client.write_arrow(message).await);
    }
    refused("an index beyond its dictionary", client.write_arrow(testdata("arrow/v2_wrong_index.arrow")).await);
    for length in [u32::MAX, i32::MAX as u32, 0x4000_0000, 1] {
        refused(&format!("a schema of {length} bytes"), client.write_arrow(schema_length(arrow.clone(), length)).await);
    }

    let (samples, locations) =
        (testdata("conformance/inputs/v1_samples.arrow"), testdata("conformance/inputs/v1_locations.arrow"));
    refused("half of the stacks", client.write_v1(samples.clone(), locations[..locations.len() / 2].to_vec()).await);
    refused("stacks of absurd length", client.write_v1(samples.clone(), schema_length(locations, u32::MAX - 7)).await);

    for version in ["1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11"] {
        let export = testdata(&format!("otlp/proto_{version}.pb"));
        let headers = [("Content-Type", "application/x-protobuf")];
        let (status, body) =
            raw::http_with("POST", &server.url("/v1development/profiles"), &headers, &export[..export.len() - 3]);
        assert_eq!(status, 400, "proto {version}, cut off: {body}");
    }
    let (status, body) = raw::http_with(
        "POST",
        &server.url("/v1development/profiles"),
        &[("Content-Type", "application/x-protobuf")],
        &skewed(1),
    );
    assert_eq!(status, 200, "one of two profiles is sound");
    assert!(body.contains("stack index 99 out of bounds"), "{body:?}");
    refused("an export without a sound profile", client.export(&skewed(2)).await);

    let metrics = server.metrics();
    for protocol in ["arrow-v1", "arrow-v2", "otlp"] {
        let row = format!("decima_sender_writes_total{{protocol=\"{protocol}\",");
        let refusals = metrics.lines().filter(|line| line.starts_with(&row) && line.contains("result=\"refused\""));
        assert!(refusals.count() > 0, "{protocol}: {metrics}");
    }
    stop.send(true).expect("the neighbour listens");
    let written = good.await.expect("no panic");
    assert!(server.is_running(), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let stored = client.values(pprof::CALLS, START, START + 100_000).await.expect("values");
    assert!(written > 3 && stored.len() as i64 == written, "{written} written, {} stored", stored.len());
    let types = client.types().await.expect("types");
    assert!(
        types.iter().all(|kind| !kind.starts_with("parca_agent")),
        "nothing of what was refused is stored: {types:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_stop_midway_hold_nobody_up_and_leave_nothing() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    let client = server.client();
    let mut silent = Vec::new();
    for _ in 0..20 {
        // a body that never comes, of OTLP and of gRPC's first bytes
        let mut stream = TcpStream::connect(server.address).expect("connected");
        write!(
            stream,
            "POST /v1development/profiles HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000000\r\n\r\nabc"
        )
        .expect("sent");
        silent.push(stream);
        let mut stream = TcpStream::connect(server.address).expect("connected");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0").expect("sent");
        silent.push(stream);
    }
    let begun = Instant::now();
    client.write(&LABELS, pprof::cpu(START, &[(vec![1], 1)])).await.expect("taken meanwhile");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // one that asks for stacks, hears which, and goes away
    let samples = testdata("conformance/inputs/v1_samples.arrow");
    let gone = client.begin_v1(samples.clone()).await.expect("asked for stacks");
    drop(gone);
    drop(silent);
    client.write_v1(samples, testdata("conformance/inputs/v1_locations.arrow")).await.expect("the next one is taken");
    let types = client.types().await.expect("types");
    assert_eq!(types.len(), 3, "the good one's two types and the agent's: {types:?}");
    let end = Instant::now() + Duration::from_secs(20);
    while server.figure("decima_memory_account_bytes{account=\"requests\"}") != Some(0.0) {
        assert!(Instant::now() < end, "memory of requests that nobody sends is given back:\n{}", server.metrics());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(server.is_running(), "{}", server.log());
}
