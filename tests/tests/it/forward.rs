//! A server in front of another one: what it takes arrives there, whatever happens to either.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use e2e::{Place, Recorder, Server, free_address, pprof, raw, recorded::testdata, wire};
use tonic::Code;

const START: i64 = 1_768_464_000;
const LABELS: [(&str, &str); 2] = [("__name__", pprof::NAME), ("job", "e2e")];

/// Flags of a server that hands on to `address`.
fn to(address: std::net::SocketAddr) -> Vec<String> {
    vec!["--mode=forwarder".into(), format!("--store-address={address}"), "--insecure".into()]
}

async fn forwarder(place: &Place, flags: &[String]) -> Server {
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    Server::start(place, &flags).await
}

/// Waits until nothing waits any more.
async fn drained(forwarder: &Server) {
    let end = Instant::now() + Duration::from_secs(90);
    while forwarder.figure("decima_forward_buffer_messages") != Some(0.0) {
        assert!(Instant::now() < end, "{}\n{}", forwarder.metrics(), forwarder.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Two stacks that differ from second to second.
fn profile(second: i64) -> Vec<u8> {
    pprof::cpu(START + second, &[(vec![1, 2, 3], second + 1), (vec![4, second as u64 % 50, 7], 1)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_forwarder_takes_arrives_though_both_servers_are_killed() {
    const ROUNDS: i64 = 8;
    let (upstream_place, forwarder_place) = (Place::new(""), Place::new(""));
    let address = free_address();
    let flags = to(address);
    let mut front = forwarder(&forwarder_place, &flags).await;
    let mut taken = BTreeMap::new();
    let (mut second, mut kills) = (0, 0);
    let mut upstream = None;
    for round in 0..ROUNDS {
        // the other server comes and goes while profiles come in: an odd round is killed under way, an even one begins without it
        for step in 0..40 {
            if step == 10 && upstream.is_none() {
                upstream = Some(Server::start_at(&upstream_place, address, &[]).await);
            }
            if step == 30
                && round % 2 == 1
                && let Some(running) = upstream.take()
            {
                Server::kill(running);
                kills += 1;
            }
            if step == 35 && round % 4 >= 2 {
                front.kill();
                kills += 1;
                front = forwarder(&forwarder_place, &flags).await;
            }
            front
                .client()
                .write(&LABELS, profile(second))
                .await
                .expect("taken, whether the other server is there or not");
            taken.insert(START + second, second + 2);
            second += 1;
        }
    }
    let upstream = match upstream {
        Some(running) => running,
        None => Server::start_at(&upstream_place, address, &[]).await,
    };
    drained(&front).await;
    let arrived: BTreeMap<i64, i64> =
        upstream.client().values(pprof::CALLS, START, START + second).await.expect("values").into_iter().collect();
    let lost: Vec<_> = taken.keys().filter(|time| !arrived.contains_key(time)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    let repeated = taken.iter().filter(|(time, count)| arrived[time] != **count);
    let repeated: Vec<_> = repeated.map(|(time, count)| (time - START, count, arrived[time])).collect();
    println!("{second} profiles, {kills} kills, repeated: {repeated:?}");
    assert!(repeated.iter().all(|(_, count, arrived)| *arrived == 2 * **count), "{repeated:?}");
    assert!(repeated.len() <= kills, "at most the one under way for each kill: {repeated:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_goes_through_a_forwarder_as_if_it_came_at_once() {
    let (direct_place, far_place, forwarder_place) = (Place::new(""), Place::new(""), Place::new(""));
    let direct = Server::start(&direct_place, &[]).await;
    let address = free_address();
    let front = forwarder(&forwarder_place, &to(address)).await;
    for server in [&direct, &front] {
        let client = server.client();
        client.write(&LABELS, profile(1)).await.expect("WriteRaw");
        client.write_arrow(testdata("conformance/inputs/v2_cpu.arrow")).await.expect("WriteArrow");
        let (samples, locations) = ("conformance/inputs/v1_samples.arrow", "conformance/inputs/v1_locations.arrow");
        client.write_v1(testdata(samples), testdata(locations)).await.expect("Write");
        client.export(&testdata("conformance/inputs/otlp_basic.otlp.pb")).await.expect("OTLP over gRPC");
        let json = [("Content-Type", "application/json"), ("User-Agent", "uploader/1.2 curl/8.0")];
        let (status, body) =
            raw::http_with("POST", &server.url("/v1development/profiles"), &json, &testdata("otlp/collector.json"));
        assert_eq!(status, 200, "OTLP over HTTP: {body}");
        let (status, body) = raw::http_with("POST", &server.url("/api/profiles/writeraw"), &json, b"{\"series\": []}");
        assert_eq!(status, 200, "WriteRaw over REST: {body}");
        for protocol in ["otlp", "pprof"] {
            let of = format!("protocol=\"{protocol}\",kind=\"uploader\",version=\"1.2\",result=\"accepted\"");
            assert_eq!(
                server.figure(&format!("decima_sender_writes_total{{{of}}}")),
                Some(1.0),
                "{protocol} over HTTP"
            );
        }
        // what is no profile is refused at once, by whom it is given to
        let refused = client.write_arrow(testdata("conformance/inputs/v2_bad_value.arrow")).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let refused = client.write(&LABELS, b"nonsense".to_vec()).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_eq!(front.figure("decima_forward_buffer_messages"), Some(5.0));
    let far = Server::start_at(&far_place, address, &[]).await;
    drained(&front).await;
    let types = direct.client().types().await.expect("types");
    assert_eq!(types.len(), 7, "{types:?}");
    assert_eq!(far.client().types().await.expect("types"), types);
    for selector in &types {
        let mut totals = Vec::new();
        for server in [&direct, &far] {
            let merged = server.client().merge(selector, 1, 4_000_000_000, wire::REPORT_FLAMEGRAPH_ARROW).await;
            totals.push(merged.expect("merged").total);
        }
        assert!(totals[0] > 0 && totals[0] == totals[1], "{selector}: {totals:?}");
    }
    // OTLP came over gRPC and over HTTP
    for (method, sent) in [("WriteRaw", 1.0), ("WriteArrow", 1.0), ("Write", 1.0), ("Export", 2.0)] {
        let row = format!("decima_forward_messages_total{{grpc_method=\"{method}\",result=\"sent\"}}");
        assert_eq!(front.figure(&row), Some(sent), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_refuses_what_is_new_keeps_what_is_old_and_goes_on_when_the_server_is_back() {
    let (far_place, forwarder_place) = (Place::new(""), Place::new(""));
    let address = free_address();
    let flags = [to(address), vec!["--forward-buffer-size=100000".into()]].concat();
    let front = forwarder(&forwarder_place, &flags).await;
    let mut taken = Vec::new();
    let refused = loop {
        let second = taken.len() as i64;
        match front.client().write(&LABELS, profile(second)).await {
            Ok(()) => taken.push((START + second, second + 2)),
            Err(status) => break status,
        }
        assert!(taken.len() < 5_000, "the buffer has no end");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("the buffer is full"), "{refused}");
    assert!(refused.metadata().contains_key("grpc-retry-pushback-ms"), "{refused:?}");
    let far = Server::start_at(&far_place, address, &[]).await;
    drained(&front).await;
    let arrived = far.client().values(pprof::CALLS, START, START + 10_000).await.expect("values");
    assert_eq!(arrived, taken);
    front.client().write(&LABELS, profile(9_000)).await.expect("room again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_hands_on_what_it_scrapes_with_its_labels() {
    let workload_place = Place::new("");
    let workload_address = free_address();
    let _workload = Server::demo_workload(&workload_place, workload_address);
    let place = Place::new(&format!(
        "
  - job_name: shop
    scrape_interval: 1s
    scrape_timeout: 3s
    static_configs: [{{targets: ['{workload_address}']}}]
    profiling_config:
      pprof_config:
        process_cpu: {{enabled: true, delta: true, path: /debug/pprof/profile}}
        mutex: {{enabled: false}}
        block: {{enabled: false}}
        goroutine: {{enabled: false}}
        memory: {{enabled: false}}
"
    ));
    let far_place = Place::new("");
    let far = Server::start(&far_place, &[]).await;
    let address = format!("--store-address={}", far.address);
    let flags = ["--mode=scraper-only", &address, "--insecure", "--external-label=cluster=c1;job=never"];
    let front = Server::start(&place, &flags).await;
    let end = Instant::now() + Duration::from_secs(60);
    let query = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta{cluster=\"c1\",job=\"shop\"}";
    loop {
        let merged = far.client().merge(query, 1, 4_000_000_000, wire::REPORT_FLAMEGRAPH_ARROW).await.expect("merged");
        if merged.total > 0 {
            break;
        }
        assert!(Instant::now() < end, "{}", front.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let targets = front.client().targets().await.expect("targets");
    assert_eq!(targets.iter().map(|target| target.health).collect::<Vec<_>>(), [wire::HEALTH_GOOD]);
    let unserved = front.client().has_data().await.expect_err("nothing is kept here");
    assert_eq!(unserved.code(), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debuginfo_passes_through_a_forwarder_and_waits_for_nobody() {
    let (far_place, forwarder_place) = (Place::new(""), Place::new(""));
    let address = free_address();
    let front = forwarder(&forwarder_place, &to(address)).await;
    let away = front.client().should_upload("abcdef0123456789").await.expect_err("the other server is away");
    assert_eq!(away.code(), Code::Unavailable, "{away}");
    let far = Server::start_at(&far_place, address, &[]).await;
    let end = Instant::now() + Duration::from_secs(30);
    let client = front.client();
    while client.should_upload("abcdef0123456789").await.is_err() {
        assert!(Instant::now() < end, "{}", front.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let file = testdata("conformance/inputs/demo.elf");
    assert!(client.should_upload("abcdef0123456789").await.expect("answered").0);
    let instructions = client.initiate_upload("abcdef0123456789", file.len()).await.expect("wanted");
    assert_eq!(client.upload(&instructions, &file).await.expect("uploaded"), file.len() as u64);
    client.finish_upload(&instructions).await.expect("finished");
    let (wanted, _) = far.client().should_upload("abcdef0123456789").await.expect("answered");
    assert!(!wanted, "the other server has it now");
    let refused = client.initiate_upload("../../escaped", 5).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument, "the other server's words come back: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_forwarder_carries_its_token_and_its_headers() {
    let recorder = Recorder::start().await;
    let place = Place::new("");
    fs::write(place.path().join("token"), "of the file\n").expect("written");
    for (token, wanted) in
        [("--bearer-token=of the flag", "Bearer of the flag"), ("--bearer-token-file=token", "Bearer of the file")]
    {
        let more = [token.to_owned(), "--grpc-headers=X-Scope-OrgID=team;x-region=north".to_owned()];
        let front = forwarder(&place, &[to(recorder.address), more.into()].concat()).await;
        front.client().write(&LABELS, profile(1)).await.expect("taken");
        drained(&front).await;
        let (samples, locations) =
            (testdata("conformance/inputs/v1_samples.arrow"), testdata("conformance/inputs/v1_locations.arrow"));
        front.client().write_v1(samples, locations).await.expect("taken");
        drained(&front).await;
        let calls = recorder.calls();
        let paths: Vec<_> = calls.iter().filter_map(|(path, _)| path.rsplit('/').next()).collect();
        assert_eq!(paths, ["WriteRaw", "Write"]);
        for (path, headers) in &calls {
            for (name, wanted) in [("authorization", wanted), ("x-scope-orgid", "team"), ("x-region", "north")] {
                let values: Vec<_> = headers.get_all(name).iter().collect();
                assert_eq!(values, [wanted], "{path}: {name}");
            }
        }
        assert!(!front.log().contains("of the f"), "no token is in the log:\n{}", front.log());
    }
}

/// A certificate for `localhost` in `tls.crt`, as `openssl req -x509` makes it, with its key in `tls.key`.
fn write_certificate(place: &Place) {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    fs::write(place.path().join("tls.crt"), certificate.pem()).expect("written");
    fs::write(place.path().join("tls.key"), key.serialize_pem()).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_a_server_is_trusted_by_the_systems_authorities_or_in_any_case_if_a_flag_says_so() {
    let far_place = Place::new("");
    write_certificate(&far_place);
    let far = Server::start_with_tls(&far_place, &["--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key"]);
    let port = far.address.port();
    let (by_name, by_number) =
        (format!("--store-address=localhost:{port}"), format!("--store-address=127.0.0.1:{port}"));
    let certificate = far_place.path().join("tls.crt");
    let known = [("SSL_CERT_FILE", certificate.to_str().expect("a path in UTF-8"))];
    for (flags, variables, refused) in [
        (vec![by_name.as_str()], &known[..], None),
        (vec![&by_name], &[][..], Some("invalid peer certificate")),
        (vec![&by_name, "--insecure-skip-verify"], &[], None),
        (vec![&by_number], &known, Some("not valid for name")),
        (vec![&by_number, "--insecure-skip-verify"], &[], None),
    ] {
        let place = Place::new("");
        let front = Server::start_with(&place, &[&["--mode=forwarder"], &flags[..]].concat(), variables).await;
        front.client().write(&LABELS, profile(1)).await.expect("taken");
        let Some(says) = refused else {
            drained(&front).await;
            let sent = "decima_forward_messages_total{grpc_method=\"WriteRaw\",result=\"sent\"}";
            assert_eq!(front.metric(sent), 1.0, "{flags:?}");
            continue;
        };
        let end = Instant::now() + Duration::from_secs(30);
        while front.figure("decima_forward_attempt_failures_total{grpc_code=\"Unavailable\"}") < Some(2.0) {
            assert!(Instant::now() < end, "{flags:?}: {}\n{}", front.metrics(), front.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(front.metric("decima_forward_buffer_messages"), 1.0, "{flags:?}: it waits");
        assert!(front.log().contains(says), "{flags:?}: {}", front.log());
    }
}
