//! What is acknowledged survives `kill -9`, once.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{Client, Place, Server, pprof};
use tonic::Code;

const KILLS: usize = 20;

/// Each writes into a series of its own, one profile after the other.
const WRITERS: usize = 4;

/// 15 January 2026, 08:00. A writer's profiles are one second apart from here on.
const START: i64 = 1_768_464_000;

/// The least memory that there is: the head is cut into blocks after every few MiB.
const FLAGS: [&str; 1] = ["--storage-active-memory=67108864"];

/// What one writer knows of its profiles.
#[derive(Default)]
struct Written {
    /// By time: the count of the profile that was acknowledged.
    acknowledged: BTreeMap<i64, i64>,
    /// Sent last, before a crash, and not answered: it may be there or not.
    in_doubt: Option<(i64, i64)>,
    next: i64,
}

/// Random enough, and the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Five hundred of 20,000 stacks, so that most are new to a head while a merge of everything stays small.
fn profile(numbers: &mut Numbers, time: i64) -> (Vec<u8>, i64) {
    let stacks: Vec<(Vec<u64>, i64)> = (0..500)
        .map(|_| {
            let path = numbers.below(20_000);
            // Leaf first: from the root on, two frames say where the stack goes and the rest follows from them.
            let mut frames: Vec<u64> = (0..10).map(|level| 1000 + level * 100 + path % 100).collect();
            frames.extend([path / 100 % 100, 100 + path / 10_000]);
            (frames, 1 + numbers.below(9) as i64)
        })
        .collect();
    (pprof::cpu(time, &stacks), stacks.iter().map(|(_, count)| count).sum())
}

/// Writes until the server is gone.
async fn write(client: Client, writer: usize, written: Arc<Mutex<Written>>, seed: u64) {
    let mut numbers = Numbers(seed);
    let name = writer.to_string();
    loop {
        let time = {
            let mut written = written.lock().expect("no panic");
            written.next += 1;
            START + written.next
        };
        let (profile, count) = profile(&mut numbers, time);
        written.lock().expect("no panic").in_doubt = Some((time, count));
        let answer = client.write(&[("__name__", pprof::NAME), ("writer", &name)], profile).await;
        let code = answer.map_or_else(|status| status.code(), |()| Code::Ok);
        match code {
            Code::Ok => {
                let mut written = written.lock().expect("no panic");
                written.in_doubt = None;
                written.acknowledged.insert(time, count);
            }
            // Too much at once: nothing of it was stored.
            Code::ResourceExhausted => {
                written.lock().expect("no panic").in_doubt = None;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            _ => {
                assert_ne!(code, Code::InvalidArgument, "the profiles of this test are good");
                return;
            }
        }
    }
}

/// Manifests in the catalog so far: one more means that a block has just been committed.
fn manifests(data: &Path) -> usize {
    fs::read_dir(data.join("catalog")).map_or(0, |entries| entries.count())
}

/// Holds what the server has of a writer's series against what it was told. Profiles in doubt are settled: from now on they
/// must be there, or not.
async fn verify(client: &Client, writer: usize, written: &Mutex<Written>) {
    let query = |profile_type: &str| format!("{profile_type}{{writer=\"{writer}\"}}");
    let end = START + written.lock().expect("no panic").next;
    let counts = client.values(&query(pprof::CALLS), START, end).await.expect("values");
    let nanoseconds = client.values(&query(pprof::CPU), START, end).await.expect("cpu time");
    let mut written = written.lock().expect("no panic");
    if let Some((time, count)) = written.in_doubt.take()
        && counts.iter().any(|&(at, _)| at == time)
    {
        written.acknowledged.insert(time, count);
    }
    let expected: Vec<(i64, i64)> = written.acknowledged.iter().map(|(&time, &count)| (time, count)).collect();
    assert_eq!(counts, expected, "calls of writer {writer}");
    let expected: Vec<(i64, i64)> = expected.iter().map(|&(time, count)| (time, count * 10_000_000)).collect();
    assert_eq!(nanoseconds, expected, "cpu time of writer {writer}");
}

/// Totals of all writers together, per type, by merging everything.
async fn verify_totals(client: &Client, written: &[Arc<Mutex<Written>>]) -> i64 {
    let lock = |writer: &Arc<Mutex<Written>>| writer.lock().expect("no panic").acknowledged.values().sum::<i64>();
    let total: i64 = written.iter().map(lock).sum();
    let end = START + 1_000_000;
    for (profile_type, expected) in [(pprof::CALLS, total), (pprof::CPU, total * 10_000_000)] {
        let merged = client.merge(profile_type, START, end, e2e::wire::REPORT_FLAMEGRAPH_ARROW).await.expect("merge");
        assert_eq!(merged.total, expected, "{profile_type}");
    }
    total
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_profile_is_there_exactly_once_after_twenty_kills() {
    let place = Place::new("");
    let written: Vec<Arc<Mutex<Written>>> = (0..WRITERS).map(|_| Arc::default()).collect();
    let mut numbers = Numbers(42);
    let mut kills_at_commit = 0;
    for kill in 0..KILLS {
        let server = Server::start(&place, &FLAGS).await;
        for (writer, written) in written.iter().enumerate() {
            verify(&server.client(), writer, written).await;
        }
        let before = manifests(&place.data());
        let writers: Vec<_> = (written.iter().enumerate())
            .map(|(writer, written)| {
                let seed = (kill * WRITERS + writer) as u64;
                tokio::spawn(write(server.client(), writer, written.clone(), seed))
            })
            .collect();
        // Every other time the moment is right behind the commit of a block, before the log is truncated.
        let started = Instant::now();
        let latest = Duration::from_millis(200 + numbers.below(1300));
        let at_commit = kill % 2 == 1;
        let committed = AtomicBool::new(false);
        while started.elapsed() < if at_commit { Duration::from_secs(15) } else { latest } {
            if at_commit && manifests(&place.data()) > before {
                committed.store(true, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_micros(numbers.below(3000))).await;
                break;
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        kills_at_commit += usize::from(committed.into_inner());
        server.kill();
        for writer in writers {
            tokio::time::timeout(Duration::from_secs(60), writer).await.expect("ends with the server").expect("writes");
        }
    }

    // The last words are those of servers that have room for a merge of everything.
    let server = Server::start(&place, &[]).await;
    for (writer, written) in written.iter().enumerate() {
        verify(&server.client(), writer, written).await;
    }
    let total = verify_totals(&server.client(), &written).await;
    let profiles: usize = written.iter().map(|written| written.lock().expect("no panic").acknowledged.len()).sum();
    println!("{profiles} profiles, {total} calls, {KILLS} kills, {kills_at_commit} of them at the commit of a block");
    assert!(kills_at_commit >= 3, "only {kills_at_commit} kills came with a commit: the cuts are too rare");

    // A clean stop loses as little.
    let exited = server.stop();
    assert!(exited.status.success(), "{exited:?}");
    let server = Server::start(&place, &[]).await;
    for (writer, written) in written.iter().enumerate() {
        verify(&server.client(), writer, written).await;
    }
    verify_totals(&server.client(), &written).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_of_the_log_costs_nothing_that_was_acknowledged() {
    let place = Place::new("");
    let server = Server::start(&place, &[]).await;
    let client = server.client();
    for second in 0..10 {
        let profile = pprof::cpu(START + second, &[(vec![1, 2, 3], second + 1)]);
        client.write(&[("__name__", pprof::NAME)], profile).await.expect("written");
    }
    server.kill();
    let segments = files_below(&place.data().join("wal"));
    assert!(!segments.is_empty(), "the log is empty");
    for segment in segments {
        // What a crash leaves behind the last whole record: a piece of another.
        let file = fs::OpenOptions::new().append(true).open(&segment).expect("a segment");
        std::io::Write::write_all(&mut &file, &[0xA5; 777]).expect("appended");
    }
    let server = Server::start(&place, &[]).await;
    let values = server.client().values(pprof::CALLS, START, START + 9).await.expect("values");
    assert_eq!(values, (0..10).map(|second| (START + second, second + 1)).collect::<Vec<_>>());
}

fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        if entry.file_type().expect("a type").is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}
