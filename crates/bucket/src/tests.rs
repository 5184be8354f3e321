//! A bucket in a folder; the tests of a real S3 server are in the end-to-end tests.

use super::*;

fn bucket(directory: &std::path::Path) -> Bucket {
    let provider = Provider::Filesystem { directory: directory.display().to_string() };
    let options = Options { prefix: "parca".into(), provider };
    Bucket::connect(&options, Metrics::unregistered("test")).expect("a bucket")
}

#[tokio::test]
async fn reading_creates_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let bucket = bucket(directory.path());
    assert!(bucket.get("a/b", 10).await.expect("an answer").is_none());
    assert_eq!(bucket.size("a").await.expect("an answer"), None);
    assert!(bucket.list("").await.expect("an answer").is_empty());
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0);
}

#[tokio::test]
async fn an_object_is_created_once_and_replaced_only_by_who_has_seen_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let bucket = bucket(directory.path());
    bucket.create("a/b", Bytes::from_static(b"one")).await.expect("created");
    let taken = bucket.create("a/b", Bytes::from_static(b"two")).await.expect_err("taken");
    assert_eq!(taken.kind, Kind::AlreadyExists);
    let (bytes, first) = bucket.get("a/b", 10).await.expect("read").expect("there");
    assert_eq!(bytes, "one");
    assert!(bucket.replace("a/b", Bytes::from_static(b"two"), Some(first.clone())).await.expect("an answer"));
    assert!(!bucket.replace("a/b", Bytes::from_static(b"three"), Some(first)).await.expect("an answer"));
    assert!(!bucket.replace("a/b", Bytes::from_static(b"four"), None).await.expect("an answer"));
    assert_eq!(bucket.get("a/b", 10).await.expect("read").expect("there").0, "two");
    assert_eq!(bucket.get("a/b", 2).await.expect_err("too large").kind, Kind::Invalid);
    assert_eq!(bucket.get_range("a/b", 1..3).await.expect("a range"), "wo");
    assert_eq!(bucket.get_range("a/b", 1..9).await.expect_err("short").kind, Kind::Corrupt);
}

#[tokio::test]
async fn nothing_of_an_upload_is_seen_until_it_is_finished() {
    let directory = tempfile::tempdir().expect("a directory");
    let bucket = bucket(directory.path());
    let mut given_up = bucket.writer("x/y").await.expect("a writer");
    given_up.write(Bytes::from_static(b"half")).await.expect("written");
    assert_eq!(bucket.size("x/y").await.expect("an answer"), None);
    drop(given_up);
    let mut writer = bucket.writer("x/y").await.expect("a writer");
    writer.write(Bytes::from_static(b"who")).await.expect("written");
    writer.write(Bytes::from_static(b"le")).await.expect("written");
    writer.finish().await.expect("finished");
    assert_eq!(bucket.get("x/y", 10).await.expect("read").expect("there").0, "whole");
    let left = bucket.list("tmp").await.expect("a list");
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_name_that_leaves_the_folder_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let bucket = bucket(directory.path());
    for name in ["../x", "a/../../x", "/x", "a//b", "", "a/./b", "a\0b"] {
        let refused = bucket.create(name, Bytes::new()).await.expect_err("refused");
        assert_eq!(refused.kind, Kind::Invalid, "{name:?}");
    }
}
