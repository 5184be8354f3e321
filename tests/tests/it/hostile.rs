//! Clients that lie, stop halfway, or cannot take what they asked for: an error of their own, and nobody else notices.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use e2e::{Client, Place, Server, pprof, raw, wire};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

const START: i64 = 1_768_464_000;

const QUERY: &str = "/parca.query.v1alpha1.QueryService/Query";

/// A unary method of each service, and the two that take streams.
const METHODS: [&str; 12] = [
    QUERY,
    "/parca.query.v1alpha1.QueryService/QueryRange",
    "/parca.query.v1alpha1.QueryService/Labels",
    "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw",
    "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow",
    "/parca.profilestore.v1alpha1.ProfileStoreService/Write",
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
    "/parca.debuginfo.v1alpha1.DebuginfoService/Upload",
    "/parca.debuginfo.v1alpha1.DebuginfoService/InitiateUpload",
    "/parca.scrape.v1alpha1.ScrapeService/Targets",
    "/parca.telemetry.v1alpha1.TelemetryService/ReportPanic",
    "/grpc.health.v1.Health/Check",
];

/// Stores what a query can work on: `seconds` profiles of 400 stacks.
async fn fill(client: &Client, seconds: i64) {
    for second in 0..seconds {
        let stacks: Vec<(Vec<u64>, i64)> = (0..400)
            .map(|stack| ((0..20).map(|level| (stack + second as u64) % 997 * 31 + level).collect(), 1))
            .collect();
        client.write(&[("__name__", pprof::NAME)], pprof::cpu(START + second, &stacks)).await.expect("written");
    }
}

async fn still_answers(server: &mut Server, profiles: usize) {
    assert!(server.is_running(), "{}", server.log());
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let values = server.client().values(pprof::CALLS, START, START + 10_000).await.expect("an answer");
    assert_eq!(values.len(), profiles);
}

/// The first of [`lies`] are about frames: no method takes them.
const OF_FRAMES: usize = 6;

/// What no length in it is true, or no end comes.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let nested = [vec![0x0a; 20_000], vec![0]].concat();
    vec![
        ("4 GiB in a frame", raw::frame_of_length(u32::MAX, b"abc")),
        ("a byte more than a message may have", raw::frame_of_length((64 << 20) + 1, b"abc")),
        ("a thousand bytes, and ten come", raw::frame_of_length(1000, &[0; 10])),
        ("a frame that ends in its length", vec![0, 0, 0]),
        ("packed, and is not", [vec![1, 0, 0, 0, 5], b"plain".to_vec()].concat()),
        ("packed in no known way", [vec![7, 0, 0, 0, 5], b"plain".to_vec()].concat()),
        ("a field of 2^63 bytes", raw::frame(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3])),
        ("a field of 2 GiB", raw::frame(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x07, 1, 2, 3])),
        ("a number without an end", raw::frame(&[0xff; 40])),
        ("messages in messages without an end", raw::frame(&nested)),
        ("groups in groups without an end", raw::frame(&[0x0b; 20_000])),
        ("a wire type that there is not", raw::frame(&[0x0f, 0x0f])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_lengths_are_errors_of_their_own_call_and_take_no_memory() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    let client = server.client();
    fill(&client, 3).await;
    let before = server.peak_memory();
    let mut codes = std::collections::BTreeMap::new();
    for method in METHODS {
        for (number, (what, body)) in lies().into_iter().enumerate() {
            match client.send(method, tokio_stream::iter([body])).await {
                Ok(_) if number < OF_FRAMES => panic!("{method} takes {what}"),
                // a field that the method does not know may be passed over
                Ok(_) => *codes.entry("OK".to_owned()).or_insert(0) += 1,
                Err(status) => {
                    assert!(!status.message().is_empty(), "{method}: {what}");
                    assert!(
                        status.code() != Code::Ok && !status.message().contains("panicked"),
                        "{method}: {what}: {status}"
                    );
                    assert!(status.code() != Code::DeadlineExceeded, "{method}: {what}: {status}");
                    *codes.entry(format!("{:?}", status.code())).or_insert(0) += 1;
                }
            }
        }
        for (what, code) in [(0, Code::ResourceExhausted), (1, Code::ResourceExhausted)] {
            let refused =
                client.send(method, tokio_stream::iter([lies()[what].1.clone()])).await.expect_err("too large");
            assert_eq!(refused.code(), code, "{method}: {refused}");
        }
    }
    println!("{codes:?}");
    let grown = server.peak_memory() - before;
    assert!(grown < 32 << 20, "{grown} bytes for nothing");
    still_answers(&mut server, 3).await;
}

/// In the trailers behind a message, or in the head where there is none.
fn has_grpc_status(reply: &raw::Reply) -> bool {
    reply.head.contains("\r\ngrpc-status: ") || reply.body.contains("grpc-status:")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absurd_lengths_over_grpc_web_and_plain_http_are_refused_as_well() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    fill(&server.client(), 3).await;
    let before = server.peak_memory();
    let at = format!("http://{}", server.address());
    let web = [("Content-Type", "application/grpc-web+proto")];
    for method in [QUERY, "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw"] {
        for (what, body) in lies() {
            for (url, kind) in [(format!("{at}{method}"), &web), (format!("{at}/some/prefix/api{method}"), &web)] {
                let reply = raw::http_whole("POST", &url, kind, &body);
                assert_eq!(reply.status, 200, "{what}: {reply:?}");
                assert!(has_grpc_status(&reply) && !reply.body.contains("panicked"), "{what}: {reply:?}");
            }
        }
        let text = [("Content-Type", "application/grpc-web-text")];
        for body in [&b"!!!! no base64"[..], b"AAAA", b"//////////8="] {
            let reply = raw::http_whole("POST", &format!("{at}{method}"), &text, body);
            let refused = (400..500).contains(&reply.status);
            assert!(refused || reply.status == 200 && has_grpc_status(&reply), "{reply:?}");
        }
    }
    let types = "query=x&start=99999999-01-01T00:00:00Z&end=x";
    let many: String = (0..5000).map(|number| format!("match=a{number}&")).collect();
    for (path, expected) in [
        (format!("/api/profiles/query_range?{types}"), vec![400]),
        ("/api/profiles/query_range?step=999999999999999999999h".to_owned(), vec![400]),
        ("/api/profiles/query?mode=77&reportType=-1".to_owned(), vec![400]),
        (format!("/api/profiles/labels?{many}"), vec![200, 400, 414, 431]),
        (format!("/api/profiles/labels/{}/values", "%41".repeat(3000)), vec![200, 400, 414, 431]),
        (format!("/api/profiles/labels?{}", "a.".repeat(20_000)), vec![200, 400, 414, 431]),
        ("/api/profiles/labels/%ff%fe%00/values".to_owned(), vec![200, 400]),
        (format!("/{}", "x/".repeat(200_000)), vec![400, 414, 431]),
    ] {
        let (status, reply) = raw::http("GET", &format!("{at}{path}"), b"");
        assert!(expected.contains(&status), "{}: {status} {reply}", &path[..path.len().min(100)]);
    }
    let json = [("Content-Type", "application/json")];
    let deep = format!("{}{}", "{\"queryRequest\":".repeat(5000), "}".repeat(5000));
    for body in [deep.as_str(), &"[".repeat(100_000), "{\"description\": \"\\ud800\"}", "nonsense"] {
        let (status, reply) = raw::http_with("POST", &format!("{at}/api/profiles/share"), &json, body.as_bytes());
        assert!((400..500).contains(&status), "{status} {reply}");
    }
    // a body that says it is an exabyte
    for (path, length) in
        [("/api/profiles/writeraw", "1152921504606846976"), ("/v1development/profiles", "68719476736")]
    {
        let mut connection = TcpStream::connect(server.address()).expect("connected");
        connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"
        );
        connection.write_all(head.as_bytes()).expect("sent");
        let mut reply = [0; 64];
        let read = connection.read(&mut reply).expect("an answer before the body has come");
        let reply = String::from_utf8_lossy(&reply[..read]);
        assert!(
            ["413", "429", "400"].iter().any(|status| reply.starts_with(&format!("HTTP/1.1 {status}"))),
            "{path}: {reply}"
        );
    }
    let grown = server.peak_memory() - before;
    assert!(grown < 64 << 20, "{grown} bytes for nothing");
    still_answers(&mut server, 3).await;
}

/// Waits until no call is under way any more, and nothing is leased for one.
async fn until_idle(server: &Server) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let leased = server.metric("decima_memory_account_bytes{account=\"requests\"}");
        let started = server.metric("grpc_server_started_total");
        let handled = server.metric("grpc_server_handled_total");
        if leased == 0.0 && started == handled {
            return;
        }
        assert!(Instant::now() < end, "{leased} bytes leased, {started} calls begun, {handled} ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_halfway_through_a_call_costs_nothing_that_stays() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    let client = server.client();
    fill(&client, 20).await;
    // half of a message, and then nothing; half of a stream; the answer is never waited for
    for method in METHODS {
        for length in [10, 1 << 20, 30 << 20] {
            let (pieces, sent) = mpsc::channel(1);
            let call = {
                let (client, sent) = (client.clone(), ReceiverStream::new(sent));
                tokio::spawn(async move { client.send(method, sent).await })
            };
            let whole = raw::frame(&vec![0; length]);
            // the server may have refused it already
            let _ = pieces.send(whole[..5 + length / 2].to_vec()).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            call.abort();
        }
    }
    // a question that takes a while, and a client that is gone before the answer
    let merge = wire::MergeProfile {
        query: pprof::CALLS.to_owned(),
        start: Some(wire::Timestamp::of_seconds(START)),
        end: Some(wire::Timestamp::of_seconds(START + 1000)),
    };
    for patience in [0, 1, 3, 10, 30, 100] {
        let request = wire::QueryRequest {
            mode: wire::MODE_MERGE,
            merge: Some(merge.clone()),
            report_type: wire::REPORT_PPROF,
            ..wire::QueryRequest::default()
        };
        let call = client.call::<_, wire::QueryResponse>(QUERY, request);
        let _ = tokio::time::timeout(Duration::from_millis(patience), call).await;
    }
    // connections that are cut, without a word and in the middle of one
    for bytes in [0, 10, 24, 40, 60] {
        let mut connection = TcpStream::connect(server.address()).expect("connected");
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x20\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff";
        connection.write_all(&preface[..bytes.min(preface.len())]).expect("sent");
    }
    until_idle(&server).await;
    still_answers(&mut server, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_larger_than_the_clients_limit_is_the_clients_error_and_its_connection_goes_on() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    let client = server.client();
    fill(&client, 20).await;
    let merged = client.merge(pprof::CALLS, START, START + 100, wire::REPORT_FLAMEGRAPH_ARROW).await.expect("merged");
    let Some(wire::Report::FlamegraphArrow(arrow)) = merged.report else { panic!("no flame graph") };
    assert!(arrow.record.len() > 10_000, "{}", arrow.record.len());
    let small = client.clone().with_limit(10_000);
    for _ in 0..3 {
        let refused = small.merge(pprof::CALLS, START, START + 100, wire::REPORT_FLAMEGRAPH_ARROW).await;
        let refused = refused.expect_err("larger than 10,000 bytes");
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
        // the same connection
        assert!(small.has_data().await.expect("an answer"));
        assert_eq!(small.values(pprof::CALLS, START, START + 3).await.expect("values").len(), 4);
    }
    until_idle(&server).await;
    still_answers(&mut server, 20).await;
}
