//! A server whose blocks, catalog and debuginfo lie in a real S3 server.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{Client, Fault, FaultyProxy, Place, S3Server, Server, pprof};
use tonic::Code;

/// 15 January 2026, 08:00.
const START: i64 = 1_768_464_000;

/// The least memory that there is: the head is cut into blocks after every few MiB.
const FLAGS: [&str; 1] = ["--storage-active-memory=67108864"];

const PATIENCE: Duration = Duration::from_secs(120);

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
    let (place_a, place_b) = (Place::with_config(&config), Place::with_config(&config));
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
    let third = Server::start(&Place::with_config(&config), &[]).await;
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
    let place = Place::with_config(&s3.object_storage(proxy.address, ""));
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
    let place = Place::with_config(&s3.object_storage(proxy.address, "p"));
    let exited = Server::refused(&place, e2e::free_address(), &[], None);
    assert_eq!(exited.status.code(), Some(1), "{exited:?}");
    assert!(exited.log.contains("s3://profiles/p/") && exited.log.contains("403"), "{}", exited.log);
    assert!(!exited.log.contains(e2e::SECRET_KEY), "{}", exited.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_ones_own_is_believed_and_no_other() {
    let (s3, other) = (S3Server::start_with_tls(), S3Server::start_with_tls());
    let config = s3.object_storage(s3.address, "");
    let server = Server::start(&Place::with_config(&config), &FLAGS).await;
    let client = server.client();
    let instructions = client.initiate_upload("feed01", 5).await.expect("initiated");
    assert_eq!(client.upload(&instructions, b"\x7fELF1").await.expect("uploaded"), 5);
    assert_eq!(fs::read(s3.objects().join("debuginfo/feed01/debuginfo")).expect("the object"), b"\x7fELF1");
    drop(server);
    // the certificate is another's
    let place = Place::with_config(&other.object_storage(s3.address, ""));
    let yaml = fs::read_to_string(place.path().join("parca.yaml")).expect("a file");
    assert!(yaml.contains("ca_file"), "{yaml}");
    let exited = Server::refused(&place, e2e::free_address(), &[], None);
    assert_eq!(exited.status.code(), Some(1), "{exited:?}");
    assert!(exited.log.contains("certificate"), "{}", exited.log);
}

/// What one of several processes was told, and what it has not been told yet.
#[derive(Default)]
struct Told {
    acknowledged: BTreeSet<i64>,
    /// Sent last, before a kill: there or not.
    in_doubt: BTreeSet<i64>,
}

/// Writes one profile after the other, `step` seconds apart, until the server is gone.
async fn write_on(client: Client, next: Arc<AtomicI64>, step: i64, told: Arc<Mutex<Told>>) {
    loop {
        let second = next.fetch_add(step, Ordering::Relaxed);
        told.lock().expect("no panic").in_doubt.insert(second);
        loop {
            match client.write(&[("__name__", pprof::NAME)], profile(second)).await {
                Ok(()) => break,
                Err(status) if status.code() == Code::ResourceExhausted => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(_gone) => return,
            }
        }
        let mut told = told.lock().expect("no panic");
        told.in_doubt.remove(&second);
        told.acknowledged.insert(second);
    }
}

/// Asks all the time, until the server is gone: nothing is counted twice, nothing that was there goes, and what this process has
/// acknowledged is there. Gives how often it was answered.
async fn ask_on(client: Client, own: Arc<Mutex<Told>>, is_gone: Arc<AtomicBool>) -> usize {
    let mut seen = BTreeSet::new();
    let mut answers = 0;
    while !is_gone.load(Ordering::Relaxed) {
        let acknowledged = own.lock().expect("no panic").acknowledged.clone();
        match client.values(pprof::CALLS, START - 10, START + 1_000_000).await {
            Ok(values) => {
                assert!(
                    values.iter().all(|(_, value)| *value == 1000),
                    "a profile counted twice, or in part: {values:?}"
                );
                let now: BTreeSet<i64> = values.iter().map(|(time, _)| time - START).collect();
                assert_eq!(now.len(), values.len(), "a second stands twice");
                let lost: Vec<&i64> = seen.union(&acknowledged).filter(|second| !now.contains(second)).collect();
                assert!(lost.is_empty(), "{lost:?} are gone");
                seen = now;
                answers += 1;
            }
            // a block of the other's that the bucket does not give just now, or the kill
            Err(status) => assert!(
                [Code::Unavailable, Code::ResourceExhausted, Code::Unknown, Code::Cancelled].contains(&status.code()),
                "{status}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_write_and_are_asked_at_once_over_a_bad_way_and_kills_and_nothing_is_lost_or_counted_twice() {
    const ROUNDS: usize = 3;
    let s3 = S3Server::start();
    let proxies = [FaultyProxy::new(s3.address), FaultyProxy::new(s3.address)];
    let places: Vec<Place> =
        proxies.iter().map(|proxy| Place::with_config(&s3.object_storage(proxy.address, "p"))).collect();
    let told: [Arc<Mutex<Told>>; 2] = Default::default();
    // the one writes even seconds and the other odd ones: the same hours, and blocks that overlap
    let next = [Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(1))];
    let manifests = || s3.names("p/catalog").len();
    let mut answers = 0;
    for round in 0..ROUNDS {
        let servers = [Server::start(&places[0], &FLAGS).await, Server::start(&places[1], &FLAGS).await];
        for (number, proxy) in proxies.iter().enumerate() {
            let mut numbers = (round * 2 + number) as u64 + 1;
            proxy.plan(move |_| {
                numbers = numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                match (numbers >> 33) % 50 {
                    0 => Fault::Status(500),
                    1 => Fault::Status(503),
                    2 => Fault::LostReply,
                    3 => Fault::HalfRequest,
                    4 => Fault::HalfReply,
                    5 => Fault::Delay(Duration::from_millis(300)),
                    _ => Fault::None,
                }
            });
        }
        let is_gone = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        let mut askers = Vec::new();
        for (number, server) in servers.iter().enumerate() {
            writers.push(tokio::spawn(write_on(server.client(), next[number].clone(), 2, told[number].clone())));
            askers.push(tokio::spawn(ask_on(server.client(), told[number].clone(), is_gone.clone())));
        }
        let (before, end) = (manifests(), Instant::now() + PATIENCE);
        while manifests() < before + 4 {
            assert!(Instant::now() < end, "round {round}: {:?}\n{}", s3.names("p/catalog"), servers[0].log());
            assert!(askers.iter().all(|asker| !asker.is_finished()), "an answer was wrong: {round}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for server in servers {
            server.kill();
        }
        proxies.iter().for_each(FaultyProxy::heal);
        is_gone.store(true, Ordering::Relaxed);
        for asker in askers {
            answers += asker.await.expect("right answers");
        }
        for writer in writers {
            writer.await.expect("it ends with its server");
        }
    }
    let happened = proxies.iter().map(FaultyProxy::happened).collect::<Vec<_>>();
    proxies.iter().for_each(FaultyProxy::heal);
    // each has its own, once; and of the other's no more than that
    let mut known = BTreeSet::new();
    for (number, place) in places.iter().enumerate() {
        let server = Server::start(place, &[]).await;
        let values = server.client().values(pprof::CALLS, START - 10, START + 1_000_000).await.expect("values");
        assert!(values.iter().all(|(_, value)| *value == 1000), "{values:?}");
        let seen: BTreeSet<i64> = values.iter().map(|(time, _)| time - START).collect();
        assert_eq!(seen.len(), values.len());
        let own = told[number].lock().expect("no panic");
        let lost: Vec<&i64> = own.acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "process {number}: {lost:?}");
        known.extend(own.acknowledged.iter().chain(&own.in_doubt).copied());
        let other = told[1 - number].lock().expect("no panic");
        let strange: Vec<&i64> = seen
            .iter()
            .filter(|second| {
                [&own, &other].iter().all(|told| !told.acknowledged.contains(second) && !told.in_doubt.contains(second))
            })
            .collect();
        assert!(strange.is_empty(), "never written: {strange:?}");
    }
    println!(
        "{} profiles, {} manifests, {answers} answers, {ROUNDS} kills of each; {happened:?}",
        known.len(),
        manifests()
    );
    assert!(answers > 20, "{answers}");
    let kinds = |happened: &std::collections::BTreeMap<&str, u64>| happened.len();
    assert!(happened.iter().map(kinds).sum::<usize>() >= 8, "too few kinds of faults: {happened:?}");
}
