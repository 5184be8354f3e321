//! What a bucket promises, held by S3, and by a folder, which is held to the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bucket::{Bucket, Kind, Metrics, Options, Provider};
use bytes::Bytes;
use e2e::{Fault, FaultyProxy, S3Server};

use crate::options;

pub fn connect(options: &Options) -> Bucket {
    Bucket::connect(options, Metrics::unregistered("test")).expect("a bucket")
}

/// The same bucket behind a prefix and without one, so that the two see each other's objects.
pub async fn holds_the_contract(behind_prefix: &Bucket, whole: &Bucket) {
    let bucket = behind_prefix;
    assert!(bucket.get("a/b", 10).await.expect("an answer").is_none());
    assert!(bucket.list("a").await.expect("an answer").is_empty());
    bucket.create("a/b", Bytes::from_static(b"one")).await.expect("created");
    let taken = bucket.create("a/b", Bytes::from_static(b"two")).await.expect_err("taken");
    assert_eq!(taken.kind, Kind::AlreadyExists, "{taken}");
    let (bytes, first) = bucket.get("a/b", 10).await.expect("read").expect("there");
    assert_eq!(bytes, "one");
    assert!(bucket.replace("a/b", Bytes::from_static(b"two"), Some(first.clone())).await.expect("an answer"));
    assert!(!bucket.replace("a/b", Bytes::from_static(b"three"), Some(first)).await.expect("an answer"));
    assert!(!bucket.replace("a/b", Bytes::from_static(b"four"), None).await.expect("an answer"));
    assert!(bucket.replace("a/new", Bytes::from_static(b"five"), None).await.expect("an answer"));
    assert_eq!(bucket.get("a/b", 10).await.expect("read").expect("there").0, "two");
    assert_eq!(bucket.get("a/b", 2).await.expect_err("too large").kind, Kind::Invalid);
    assert_eq!(bucket.get_range("a/b", 1..3).await.expect("a range"), "wo");
    assert_eq!(bucket.get_range("a/b", 1..9).await.expect_err("short").kind, Kind::Corrupt);
    assert_eq!(bucket.get_range("a/nothing", 1..9).await.expect_err("absent").kind, Kind::NotFound);
    assert_eq!(bucket.size("a/b").await.expect("an answer"), Some(3));
    assert_eq!(bucket.size("a/nothing").await.expect("an answer"), None);

    bucket.create("ab/c", Bytes::from_static(b"beside")).await.expect("created");
    let names = |entries: Vec<store::objects::ObjectEntry>| -> Vec<(String, u64)> {
        entries.into_iter().map(|entry| (entry.name, entry.bytes)).collect()
    };
    let listed = names(bucket.list("a").await.expect("a list"));
    assert_eq!(listed, [("a/b".to_owned(), 3), ("a/new".to_owned(), 4)]);
    assert_eq!(bucket.list("").await.expect("a list").len(), 3);
    let listed = names(whole.list("deep").await.expect("a list"));
    assert_eq!(listed[0], ("deep/er/a/b".to_owned(), 3), "{listed:?}");

    bucket.delete("a/b").await.expect("deleted");
    bucket.delete("a/b").await.expect("deleting nothing is no error");
    assert_eq!(bucket.size("a/b").await.expect("an answer"), None);
}

#[tokio::test]
async fn s3_holds_the_contract() {
    let s3 = S3Server::start();
    holds_the_contract(&connect(&options(s3.address, "/deep/er/", 3)), &connect(&options(s3.address, "", 3))).await;
}

#[tokio::test]
async fn a_folder_holds_the_contract() {
    let directory = tempfile::tempdir().expect("a directory");
    let options = |prefix: &str| Options {
        prefix: prefix.to_owned(),
        provider: Provider::Filesystem { directory: directory.path().display().to_string() },
    };
    holds_the_contract(&connect(&options("deep/er")), &connect(&options(""))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_a_name_at_once_one_does() {
    let s3 = S3Server::start();
    let bucket = connect(&options(s3.address, "", 3));
    for round in 0..5 {
        let name = format!("catalog/{round}");
        let tasks: Vec<_> = (0..16_u8)
            .map(|who| {
                let (bucket, name) = (bucket.clone(), name.clone());
                tokio::spawn(async move { bucket.create(&name, Bytes::from(vec![who; 100])).await })
            })
            .collect();
        let mut winners = Vec::new();
        for (who, task) in tasks.into_iter().enumerate() {
            match task.await.expect("no panic") {
                Ok(()) => winners.push(who),
                // S3 may say 409 to one of two that write at the same moment: the name is taken just now
                Err(error) => assert_eq!(error.kind, Kind::AlreadyExists, "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let (bytes, _) = bucket.get(&name, 1000).await.expect("read").expect("there");
        assert_eq!(bytes, vec![winners[0] as u8; 100]);
    }
}

/// Bytes that differ from place to place.
fn content(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect::<Vec<u8>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_upload_arrives_whole_or_not_at_all() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let bucket = connect(&options(proxy.address, "", 3));
    let content = content(17 << 20);

    // parts are refused, delayed, cut off and unanswered, one after the other
    let mut parts = 0;
    proxy.plan(move |asked| {
        parts += u32::from(asked.method == "PUT");
        match (asked.method, parts) {
            ("PUT", 1) => Fault::Status(503),
            ("PUT", 3) => Fault::HalfRequest,
            ("PUT", 5) => Fault::LostReply,
            _ => Fault::None,
        }
    });
    let mut writer = bucket.writer("debuginfo/abc/debuginfo").await.expect("a writer");
    for chunk in content.chunks(1 << 20) {
        writer.write(Bytes::copy_from_slice(chunk)).await.expect("written");
        assert_eq!(bucket.size("debuginfo/abc/debuginfo").await.expect("an answer"), None);
    }
    writer.finish().await.expect("finished");
    let (read, _) = bucket.get("debuginfo/abc/debuginfo", 32 << 20).await.expect("read").expect("there");
    assert!(read == content, "the object is what was written");
    let happened = proxy.happened();
    assert!(["status", "half request", "lost reply"].iter().all(|fault| happened[fault] == 1), "{happened:?}");

    // one that is given up, and one that the server refuses to its end
    let mut given_up = bucket.writer("given/up").await.expect("a writer");
    given_up.write(content.clone()).await.expect("written");
    drop(given_up);
    proxy.plan(|asked| if asked.method == "PUT" { Fault::Status(500) } else { Fault::None });
    let mut refused = bucket.writer("refused").await.expect("a writer");
    let outcome = match refused.write(content.clone()).await {
        Ok(()) => refused.finish().await,
        Err(error) => Err(error),
    };
    let error = outcome.expect_err("the parts were refused");
    assert!(error.retry_after.is_some(), "{error}");
    proxy.heal();
    assert_eq!(s3.names(""), ["debuginfo/abc/debuginfo"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_refuses_is_told_with_the_object_and_its_word() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let bucket = connect(&options(proxy.address, "p", 1));
    let told = [(403, Kind::ReadOnly, false), (500, Kind::Io, true), (503, Kind::Io, true)];
    for (status, kind, retryable) in told {
        proxy.plan(move |_| Fault::Status(status));
        let error = bucket.get("a/b", 10).await.map(drop).expect_err("refused");
        assert_eq!((error.kind, error.retry_after.is_some()), (kind, retryable), "{error}");
        let text = error.to_string();
        assert!(text.contains("s3://profiles/p/a/b") && text.contains(&status.to_string()), "{text}");
        assert!(!text.contains(e2e::SECRET_KEY), "{text}");
        let error = bucket.create("a/b", Bytes::from_static(b"x")).await.expect_err("refused");
        assert_eq!(error.kind, kind, "{error}");
    }
    assert_eq!(s3.names(""), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_reply_is_no_object_and_a_slow_one_is_given_up() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let bucket = connect(&options(proxy.address, "", 1));
    let content = content(1 << 20);
    bucket.create("a", content.clone()).await.expect("created");
    // half once is asked for again; half always is an error, never half an object
    proxy.plan(|asked| if asked.number == 0 { Fault::HalfReply } else { Fault::None });
    match bucket.get("a", 2 << 20).await {
        Ok(found) => assert!(found.expect("there").0 == content),
        Err(error) => assert_eq!(error.kind, Kind::Io, "{error}"),
    }
    proxy.plan(|_| Fault::HalfReply);
    let error = bucket.get("a", 2 << 20).await.map(drop).expect_err("half");
    assert!(error.retry_after.is_some(), "{error}");
    let error = bucket.get_range("a", 0..1 << 20).await.map(drop).expect_err("half");
    assert!(error.retry_after.is_some(), "{error}");
    proxy.plan(|_| Fault::Delay(std::time::Duration::from_secs(4)));
    let started = std::time::Instant::now();
    let error = bucket.get("a", 2 << 20).await.map(drop).expect_err("too slow");
    assert!(error.retry_after.is_some() && started.elapsed().as_secs() < 20, "{error}");
    proxy.heal();
    assert!(bucket.get("a", 2 << 20).await.expect("read").expect("there").0 == content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_upload_is_paid_from_is_held_until_its_parts_are_gone() {
    let s3 = S3Server::start();
    let proxy = FaultyProxy::new(s3.address);
    let bucket = connect(&options(proxy.address, "", 3));
    let given_up = Arc::new(AtomicBool::new(false));
    let seen = given_up.clone();
    proxy.plan(move |asked| {
        seen.fetch_or(asked.method == "DELETE", Ordering::SeqCst);
        if asked.method == "PUT" { Fault::Delay(Duration::from_millis(500)) } else { Fault::None }
    });
    let lease = Arc::new(());
    let mut writer = bucket.writer("given/up").await.expect("a writer").hold(lease.clone());
    writer.write(content(6 << 20)).await.expect("a part is on its way");
    drop(writer);
    assert!(!given_up.load(Ordering::SeqCst) && Arc::strong_count(&lease) == 2, "the part is in memory");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Arc::strong_count(&lease) == 2 {
        assert!(Instant::now() < deadline, "it is held for ever");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(given_up.load(Ordering::SeqCst), "it was let go before the upload was given up");
    // one that ends well, and one that was never begun
    proxy.heal();
    let mut writer = bucket.writer("whole").await.expect("a writer").hold(lease.clone());
    writer.write(content(6 << 20)).await.expect("written");
    writer.finish().await.expect("finished");
    drop(bucket.writer("nothing").await.expect("a writer").hold(lease.clone()));
    assert_eq!(Arc::strong_count(&lease), 1);
    assert_eq!(s3.names(""), ["whole"]);
}
