//! Stores that share one S3 bucket while a good part of their requests fails: nothing is lost, nothing counts twice.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bucket::{BlockingObjects, Metrics};
use bytes::Bytes;
use e2e::{Fault, FaultyProxy, S3Server};
use profile::pprof::{Limits, Scratch};
use store::{Environment, Kind, Objects, Record, ReplayDecoder, Store, StoreOptions};

use crate::options;

/// 15 January 2026, 08:00, in seconds.
const START: i64 = 1_768_464_000;

/// Profile `id` is told by its time and by its value.
fn write(id: u64) -> (Record, profile::Batch) {
    let stacks = [(vec![id % 50, 100 + id % 7, 1000], id as i64 + 1)];
    let record = Record {
        kind: 1,
        version: 1,
        tenant: String::new(),
        receive_time: 0,
        sender: "test".to_owned(),
        labels: vec![("__name__".to_owned(), e2e::pprof::NAME.to_owned())],
        payload: Bytes::from(e2e::pprof::cpu(START + id as i64 * 60, &stacks)),
    };
    let batch = Pprof.decode(&record).expect("a profile");
    (record, batch)
}

struct Pprof;

impl ReplayDecoder for Pprof {
    fn decode(&self, record: &Record) -> Result<profile::Batch, String> {
        let limits = Limits::default();
        ingest::pprof(record.labels.clone(), &record.payload, 0, &limits, &mut Scratch::default())
            .map_err(|error| error.to_string())
    }
}

fn open(data: &Path, address: SocketAddr) -> Result<Store, store::StoreError> {
    let mut environment = Environment::local(data)?;
    let objects = BlockingObjects::connect(&options(address, "decima", 1), Metrics::unregistered("test"))?;
    environment.objects = Some(Arc::new(objects));
    let options = StoreOptions {
        segment_bytes: 1 << 16,
        disk_free_min: 0,
        snapshot_every: 4,
        catalog_refresh: Duration::ZERO,
        manifest_grace: Duration::from_secs(60),
        ..StoreOptions::default()
    };
    Ok(Store::open(options, environment, Arc::new(Pprof))?.0)
}

/// The ids that a store answers with, as often as it does, by totals.
fn ids(store: &Store) -> Vec<u64> {
    let mut ids = Vec::new();
    for part in store.parts("", None) {
        let profiles = part.profiles();
        for row in 0..profiles.len() {
            let id = (profiles.time[row] / 1_000_000_000 - START) as u64 / 60;
            assert_eq!(profiles.total(row, 0).0, id as i64 + 1, "{}", part.name());
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids
}

/// Random enough, and the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Calls `attempt` until it succeeds, which it must soon.
fn insist<T>(what: &str, mut attempt: impl FnMut() -> Result<T, store::StoreError>) -> T {
    let end = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(std::time::Instant::now() < end, "{what}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn stores_on_a_bucket_that_fails_in_every_way_lose_no_profile_and_count_none_twice() {
    const PROCESSES: u64 = 3;
    const ROUNDS: u64 = 10;
    const WRITES: u64 = 5;
    let s3 = S3Server::start();
    let proxies: Vec<FaultyProxy> = (0..PROCESSES).map(|_| FaultyProxy::new(s3.address)).collect();
    let place = tempfile::tempdir().expect("a folder");
    let data = |process: u64| place.path().join(format!("data-{process}"));
    for (process, proxy) in proxies.iter().enumerate() {
        let mut numbers = Numbers(process as u64 + 1);
        proxy.plan(move |_| match numbers.below(40) {
            0 | 1 => Fault::Status(500),
            2 => Fault::Status(503),
            3 => Fault::Status(403),
            4 | 5 => Fault::LostReply,
            6 => Fault::HalfRequest,
            7 => Fault::HalfReply,
            8 | 9 => Fault::Delay(Duration::from_millis(50)),
            _ => Fault::None,
        });
    }
    std::thread::scope(|scope| {
        for (process, proxy) in proxies.iter().enumerate() {
            let data = data(process as u64);
            scope.spawn(move || {
                let mut numbers = Numbers(100 + process as u64);
                let mut store = insist("open", || open(&data, proxy.address));
                for round in 0..ROUNDS {
                    let from = (process as u64 * ROUNDS + round) * WRITES;
                    for id in from..from + WRITES {
                        // the log is local: no fault of the bucket reaches a writer
                        store.write(vec![write(id)]).expect("acknowledged");
                    }
                    // these may fail: what counts is that they do no harm
                    let _ = store.flush();
                    let _ = store.maintain();
                    if numbers.below(3) == 0 {
                        drop(store);
                        store = insist("open again", || open(&data, proxy.address));
                    }
                }
                insist("flush", || store.flush());
            });
        }
    });
    let mut happened = std::collections::BTreeMap::new();
    for proxy in &proxies {
        proxy.heal();
        proxy.happened().into_iter().for_each(|(what, times)| *happened.entry(what).or_insert(0) += times);
    }
    println!("{happened:?}");
    assert!(happened.len() == 6 && happened.values().all(|times| *times > 3), "{happened:?}");

    let written: Vec<u64> = (0..PROCESSES * ROUNDS * WRITES).collect();
    for process in 0..PROCESSES {
        let store = open(&data(process), proxies[0].address).expect("open");
        store.maintain().expect("housekeeping");
        assert_eq!(ids(&store), written, "process {process} sees all of it");
        assert!(store.status().quarantined.is_empty(), "{:?}", store.status().quarantined);
    }
    let late = open(&data(PROCESSES), s3.address).expect("open");
    assert_eq!(ids(&late), written, "and so does one that comes later");
}

/// The one request on which all hangs: the manifest that names the blocks.
#[test]
fn a_commit_whose_answer_is_lost_is_made_once() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let place = tempfile::tempdir().expect("a folder");
    for (round, fault) in [Fault::LostReply, Fault::HalfRequest, Fault::Status(500)].into_iter().enumerate() {
        for failures in 1..=3 {
            let data = place.path().join(format!("{round}-{failures}"));
            let s3_before = ids(&open(&place.path().join("reader"), s3.address).expect("open")).len() as u64;
            let store = open(&data, proxy.address).expect("open");
            let id = 10 * round as u64 + failures;
            store.write(vec![write(id)]).expect("acknowledged");
            let mut left = failures;
            proxy.plan(move |asked| {
                let is_commit = asked.method == "PUT" && asked.path.contains("/catalog/");
                if is_commit && left > 0 {
                    left -= 1;
                    return fault;
                }
                Fault::None
            });
            insist("flush", || store.flush());
            proxy.heal();
            let times = |store: &Store| ids(store).iter().filter(|found| **found == id).count();
            assert_eq!(times(&store), 1, "{fault:?} {failures} times");
            drop(store);
            // another machine: it has only what the bucket says
            let reader = open(&place.path().join("reader"), s3.address).expect("open");
            assert_eq!(times(&reader), 1, "{fault:?} {failures} times");
            assert_eq!(ids(&reader).len() as u64, s3_before + 1);
            drop(reader);
            // and the same machine after a crash: its log says the same once more, and it is not counted again
            assert_eq!(times(&open(&data, s3.address).expect("open")), 1, "{fault:?} {failures} times");
        }
    }
    println!("{:?}", proxy.happened());
    assert!(proxy.happened()["lost reply"] >= 3, "{:?}", proxy.happened());
}

#[test]
fn a_bucket_that_gives_a_name_twice_is_refused() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let objects = BlockingObjects::connect(&options(proxy.address, "p", 1), Metrics::unregistered("test"));
    let objects = objects.expect("a bucket");
    objects.check_conditional_create(7).expect("versitygw refuses a name that is taken");
    assert_eq!(s3.names(""), [""; 0], "nothing stays of the trial");
    // one that takes no notice of the condition: to the second as to the first it says that all went well
    let mut puts = 0;
    proxy.plan(move |asked| {
        puts += u32::from(asked.method == "PUT");
        if asked.method == "PUT" && puts == 2 { Fault::Status(200) } else { Fault::None }
    });
    let refused = objects.check_conditional_create(8).expect_err("it gave the name twice");
    assert_eq!(refused.kind, Kind::Invalid);
    let told = refused.to_string();
    assert!(told.contains("s3://profiles/p/") && told.contains("If-None-Match"), "{told}");
    assert_eq!(s3.names(""), [""; 0], "nothing stays of the trial");
}

#[test]
fn a_bucket_that_nobody_answers_for_is_away_for_now() {
    let nobody = BlockingObjects::connect(&options(e2e::free_address(), "", 0), Metrics::unregistered("test"));
    let error = nobody.expect("a bucket").create("a", b"x").expect_err("nobody is there");
    assert!(error.kind == Kind::Io && error.retry_after.is_some(), "{error}");
}
