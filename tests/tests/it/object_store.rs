//! A server whose blocks, catalog and debuginfo lie in a real S3 server.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, Instant},
};

use e2e::{Client, Fault, FaultyProxy, Place, S3Server, Server, pprof};
use tonic::Code;

/// 15 January 2026, 08:00.
const START: i64 = 1_768_464_000;

/// The least memory that there is: the head is cut into blocks after every few MiB.
const FLAGS: [&str; 1] = ["--storage-active-memory=67108864"];

const PATIENCE: Duration = Duration::from_secs(120);

fn place(config: &str) -> Place {
    let place = Place::new("");
    place.write_config(config);
    place
}

/// A profile of its own second whose 1000 stacks are all new, so that a head is soon full. Its count is 1000.
fn profile(second: i64) -> Vec<u8> {
    let stacks: Vec<(Vec<u64>, i64)> = (0..1000)
        .map(|stack| {
            let path = (second as u64).wrapping_mul(1000) + stack;
            let mut frames: Vec<u64> = (0..16).map(|level| 1000 + level * 100 + path % 97).collect();
            frames.extend([100 + path / 97 % 97, 300 + path / 9409 % 97, 500 + path / 912_673]);
            (frames, 1)
        })
        .collect();
    pprof::cpu(START + second, &stacks)
}

/// Writes one profile a second from `from` on, until `is_enough`; gives the seconds that were acknowledged.
async fn write_until(client: &Client, from: i64, mut is_enough: impl FnMut() -> bool) -> std::ops::Range<i64> {
    let end = Instant::now() + PATIENCE;
    let mut second = from;
    while !is_enough() {
        assert!(Instant::now() < end, "no block after {} profiles", second - from);
        match client.write(&[("__name__", pprof::NAME)], profile(second)).await {
            Ok(()) => second += 1,
            Err(status) if status.code() == Code::ResourceExhausted => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(status) => panic!("{status}"),
        }
    }
    from..second
}

async fn holds(client: &Client, seconds: std::ops::Range<i64>) {
    let values = client.values(pprof::CALLS, START - 10, START + 100_000).await.expect("values");
    let expected: Vec<(i64, i64)> = seconds.map(|second| (START + second, 1000)).collect();
    assert_eq!(values.len(), expected.len());
    assert_eq!(values, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_a_bucket_over_kills_and_a_third_needs_nothing_but_it() {
    let s3 = S3Server::start();
    let config = s3.object_storage(s3.address, "team/profiles");
    let (place_a, place_b) = (place(&config), place(&config));
    let (a, b) = (Server::start(&place_a, &FLAGS).await, Server::start(&place_b, &FLAGS).await);
    let manifests = || s3.names("team/profiles/catalog").len();
    let before = manifests();
    let of_a = write_until(&a.client(), 0, || manifests() > before).await;
    let in_blocks = s3.names("team/profiles/blocks").len();
    assert!(in_blocks > 0, "{:?}", s3.names(""));

    // what the head of one still holds the other cannot know; what is in blocks it knows after a moment
    let end = Instant::now() + PATIENCE;
    while b.client().values(pprof::CALLS, START, START + 100_000).await.expect("values").is_empty() {
        assert!(Instant::now() < end, "the other process does not see the block:\n{}", b.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let before = manifests();
    let of_b = write_until(&b.client(), of_a.end, || manifests() > before).await;

    // killed, and started on its log and the bucket: each of its own, and what the other has in blocks, once
    a.kill();
    b.kill();
    let (a, b) = (Server::start(&place_a, &FLAGS).await, Server::start(&place_b, &FLAGS).await);
    for (client, own) in [(a.client(), of_a.clone()), (b.client(), of_b.clone())] {
        let values = client.values(pprof::CALLS, START, START + 100_000).await.expect("values");
        assert!(values.iter().all(|(_, value)| *value == 1000), "a second counted twice: {values:?}");
        let missing: Vec<i64> = own.filter(|second| !values.iter().any(|(time, _)| *time == START + second)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
    // stopped, and started without their logs: only what the bucket has, which is what a third has
    a.stop();
    b.stop();
    let third = Server::start(&place(&config), &[]).await;
    let seen = third.client().values(pprof::CALLS, START, START + 100_000).await.expect("values");
    assert!(!seen.is_empty() && seen.iter().all(|(_, value)| *value == 1000), "{seen:?}");
    let merged = third.client().merge(pprof::CALLS, START, START + 100_000, e2e::wire::REPORT_FLAMEGRAPH_ARROW).await;
    assert_eq!(merged.expect("merged").total, seen.len() as i64 * 1000);
    println!("{} + {} profiles; {} in blocks; {} objects", of_a.end, of_b.end - of_b.start, seen.len(), in_blocks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_away_for_a_while_costs_nobody_a_profile() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let place = place(&s3.object_storage(proxy.address, ""));
    let server = Server::start(&place, &FLAGS).await;
    let mut turn = 0;
    proxy.plan(move |asked| {
        turn += 1;
        match (asked.method, turn % 3) {
            ("PUT", 0) => Fault::Status(503),
            ("PUT", 1) => Fault::LostReply,
            ("PUT", _) => Fault::HalfRequest,
            (_, 0) => Fault::HalfReply,
            _ => Fault::None,
        }
    });
    // the log is local: writers notice nothing while blocks cannot be written whole
    let failures = || proxy.happened().values().sum::<u64>() - proxy.happened().get("none").copied().unwrap_or(0);
    let written = write_until(&server.client(), 0, || failures() > 3).await;
    holds(&server.client(), written.clone()).await;
    proxy.heal();
    let end = Instant::now() + PATIENCE;
    while s3.names("blocks").is_empty() || s3.names("catalog").len() < 2 {
        assert!(Instant::now() < end, "{:?}\n{}", s3.names(""), server.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    holds(&server.client(), written.clone()).await;
    server.kill();
    let server = Server::start(&place, &FLAGS).await;
    holds(&server.client(), written).await;
    println!("{:?}", proxy.happened());
}

#[test]
fn a_bucket_that_lets_nobody_in_is_told_at_start() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    proxy.plan(|_| Fault::Status(403));
    let place = place(&s3.object_storage(proxy.address, "p"));
    let exited = Server::refused(&place, e2e::free_address(), &[], None);
    assert_eq!(exited.status.code(), Some(1), "{exited:?}");
    assert!(exited.log.contains("s3://profiles/p/") && exited.log.contains("403"), "{}", exited.log);
    assert!(!exited.log.contains(e2e::SECRET_KEY), "{}", exited.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_ones_own_is_believed_and_no_other() {
    let (s3, other) = (S3Server::start_with_tls(), S3Server::start_with_tls());
    let config = s3.object_storage(s3.address, "");
    let server = Server::start(&place(&config), &FLAGS).await;
    let client = server.client();
    let instructions = client.initiate_upload("feed01", 5).await.expect("initiated");
    assert_eq!(client.upload(&instructions, b"\x7fELF1").await.expect("uploaded"), 5);
    assert_eq!(fs::read(s3.objects().join("debuginfo/feed01/debuginfo")).expect("the object"), b"\x7fELF1");
    drop(server);
    // the certificate is another's
    let place = place(&other.object_storage(s3.address, ""));
    let yaml = fs::read_to_string(place.path().join("parca.yaml")).expect("a file");
    assert!(yaml.contains("ca_file"), "{yaml}");
    let exited = Server::refused(&place, e2e::free_address(), &[], None);
    assert_eq!(exited.status.code(), Some(1), "{exited:?}");
    assert!(exited.log.contains("certificate"), "{}", exited.log);
}

/// Larger than two parts, and an ELF file by its first bytes.
fn executable(bytes: usize) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\x00".to_vec();
    file.extend((file.len()..bytes).map(|at| (at ^ (at >> 8)) as u8));
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debuginfo_goes_to_the_bucket_and_every_process_knows_of_it() {
    let s3 = S3Server::start();
    let config = s3.object_storage(s3.address, "p");
    let (one, other) = (Server::start(&place(&config), &[]).await, Server::start(&place(&config), &[]).await);
    let (one, other) = (one.client(), other.client());
    let file = executable(20 << 20);
    let instructions = one.initiate_upload("abcdef", file.len()).await.expect("initiated");
    assert_eq!(instructions.upload_strategy, e2e::wire::STRATEGY_GRPC);
    let in_progress = "A previous upload is still in-progress and not stale yet (only stale uploads can be retried).";
    assert_eq!(other.should_upload("abcdef").await.expect("an answer"), (false, in_progress.to_owned()));
    // begun with one process, sent to the other, finished with the first
    assert_eq!(other.upload(&instructions, &file).await.expect("uploaded"), file.len() as u64);
    one.finish_upload(&instructions).await.expect("finished");
    let stored = fs::read(s3.objects().join("p/debuginfo/abcdef/debuginfo")).expect("the object");
    assert!(stored == file, "the object is the file");
    let (wanted, reason) = other.should_upload("abcdef").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");
    assert_eq!(s3.names("p/debuginfo"), ["p/debuginfo/abcdef/debuginfo", "p/debuginfo/abcdef/metadata"]);
}

/// As Go's protojson writes it: what an existing Parca leaves in its bucket.
const PARCAS: &str = r#"{
  "buildId":  "feed0001",
  "source":  "SOURCE_UPLOAD",
  "upload":  {
    "id":  "85616e30-2b0f-4edc-b0e4-de03b5718926",
    "hash":  "h1",
    "state":  "STATE_UPLOADED",
    "startedAt":  "2026-01-15T12:00:00.123456789Z",
    "finishedAt":  "2026-01-15T12:00:01Z"
  }
}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_parca_left_in_the_bucket_is_known() {
    let s3 = S3Server::start();
    let folder = s3.objects().join("debuginfo/feed0001");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("metadata"), PARCAS).expect("an object");
    fs::write(folder.join("debuginfo"), executable(100)).expect("an object");
    let server = Server::start(&place(&s3.object_storage(s3.address, "")), &[]).await;
    let client = server.client();
    let (wanted, reason) = client.should_upload("feed0001").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");
    let refused = client.initiate_upload("feed0001", 7).await.expect_err("it is there");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(client.should_upload("feed0002").await.expect("an answer").0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_puts_its_file_to_a_url_that_is_signed_for_it() {
    let s3 = S3Server::start();
    let place = place(&s3.object_storage(s3.address, "p"));
    let server = Server::start(&place, &["--debuginfo-uploads-signed-url", "--debuginfo-upload-max-size=1000"]).await;
    let client = server.client();
    let file = executable(900);
    let instructions = client.initiate_upload("abcdef", file.len()).await.expect("initiated");
    assert_eq!(instructions.upload_strategy, e2e::wire::STRATEGY_SIGNED_URL);
    assert!(!instructions.signed_url.contains(e2e::SECRET_KEY), "{}", instructions.signed_url);
    let through = client.upload(&instructions, &file).await.expect_err("not through the server");
    assert_eq!(through.code(), Code::Unimplemented);
    let early = client.finish_upload(&instructions).await.expect_err("nothing is there");
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");

    // for this object alone, and by this method alone
    let url = &instructions.signed_url;
    assert_eq!(http("PUT", &url.replace("abcdef", "abcde0"), &file), 403);
    assert_eq!(http("DELETE", url, b""), 403);
    assert_eq!(http("PUT", url, &file), 200, "{url}");
    client.finish_upload(&instructions).await.expect("finished");
    assert_eq!(fs::read(s3.objects().join("p/debuginfo/abcdef/debuginfo")).expect("the object"), file);
    let (wanted, reason) = client.should_upload("abcdef").await.expect("an answer");
    assert!(!wanted && reason.contains("already exists"), "{reason}");

    // S3 does not know how long a file may be: one that is too long goes when it is finished
    let liar = client.initiate_upload("abcdee", 10).await.expect("initiated");
    assert_eq!(http("PUT", &liar.signed_url, &executable(2000)), 200);
    let refused = client.finish_upload(&liar).await.expect_err("too long");
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(!Path::new(&s3.objects().join("p/debuginfo/abcdee/debuginfo")).exists());
}

/// The status of one request to an `http://` URL on this machine.
fn http(method: &str, url: &str, body: &[u8]) -> u16 {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut connection = TcpStream::connect(host).expect("connected");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let length = body.len();
    write!(connection, "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n").expect("sent");
    connection.write_all(b"Connection: close\r\n\r\n").expect("sent");
    connection.write_all(body).expect("sent");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("a reply");
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {reply:?}"))
}
