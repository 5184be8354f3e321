use std::sync::atomic::{AtomicI64, Ordering};

use bucket::{Options, Provider};

use super::*;

/// Stands still until it is moved.
struct Hand(AtomicI64);

impl Clock for Hand {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed).unsigned_abs())
    }
}

struct Rig {
    uploads: Uploads,
    bucket: Bucket,
    clock: Arc<Hand>,
    _directory: tempfile::TempDir,
}

fn rig(options: UploadOptions) -> Rig {
    let directory = tempfile::tempdir().expect("a directory");
    let provider = Provider::Filesystem { directory: directory.path().display().to_string() };
    let options_of_bucket = Options { prefix: String::new(), provider };
    let bucket = Bucket::connect(&options_of_bucket, bucket::Metrics::unregistered("test")).expect("a bucket");
    let clock = Arc::new(Hand(AtomicI64::new(1_768_478_400 * NANOS_PER_SECOND)));
    let memory = store::Budget::new(1 << 20).account("uploads", 1 << 20);
    let uploads = Uploads::new(bucket.clone(), options, clock.clone(), memory, Metrics::default()).expect("uploads");
    Rig { uploads, bucket, clock, _directory: directory }
}

fn asked(build_id: &str) -> Asked<'_> {
    Asked { build_id, kind: DebuginfoType::Debuginfo, hash: "h", force: false }
}

const ELF: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0and more";

async fn send(uploads: &Uploads, id: &str, upload: &str, bytes: &'static [u8]) -> Result<u64, UploadError> {
    let mut receiver = uploads.receive(id, upload, DebuginfoType::Debuginfo).await?;
    for chunk in bytes.chunks(5) {
        receiver.write(Bytes::from_static(chunk)).await?;
    }
    receiver.finish().await
}

#[tokio::test]
async fn an_upload_that_was_given_up_may_be_tried_again_when_it_is_stale() {
    let rig = rig(UploadOptions::default());
    let first = rig.uploads.initiate(asked("feed"), 10).await.expect("wanted");
    let again = rig.uploads.should_initiate(asked("feed")).await.expect("a decision");
    assert_eq!(again, Decision { wanted: false, reason: reason::IN_PROGRESS });
    rig.clock.0.fetch_add((900 + 120) * NANOS_PER_SECOND, Ordering::Relaxed);
    assert!(!rig.uploads.should_initiate(asked("feed")).await.expect("a decision").wanted);
    rig.clock.0.fetch_add(1, Ordering::Relaxed);
    let stale = rig.uploads.should_initiate(asked("feed")).await.expect("a decision");
    assert_eq!(stale, Decision { wanted: true, reason: reason::STALE });
    let second = rig.uploads.initiate(asked("feed"), 10).await.expect("wanted");
    assert_ne!(first.upload_id, second.upload_id);
    assert!(matches!(send(&rig.uploads, "feed", &first.upload_id, ELF).await, Err(UploadError::Invalid(_))));
    assert_eq!(send(&rig.uploads, "feed", &second.upload_id, ELF).await.expect("sent"), ELF.len() as u64);
}

#[tokio::test]
async fn an_upload_longer_than_any_may_be_is_refused_whatever_was_announced_and_nothing_of_it_stays() {
    let rig = rig(UploadOptions { bytes_max: 12, ..UploadOptions::default() });
    let upload = rig.uploads.initiate(asked("feed"), 10).await.expect("wanted").upload_id;
    let refused = send(&rig.uploads, "feed", &upload, ELF).await.expect_err("too long");
    assert!(matches!(&refused, UploadError::Invalid(text) if text.contains("maximum allowed size 12")), "{refused}");
    let names: Vec<String> = rig.bucket.list("").await.expect("a list").into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["debuginfo/feed/metadata"]);
    let unfinished = rig.uploads.finish("feed", &upload, DebuginfoType::Debuginfo).await.expect_err("nothing is there");
    assert!(matches!(unfinished, UploadError::Precondition(_)), "{unfinished}");
}

#[tokio::test]
async fn what_is_no_elf_file_is_marked_and_only_another_is_taken() {
    let rig = rig(UploadOptions::default());
    let upload = rig.uploads.initiate(asked("feed"), 10).await.expect("wanted").upload_id;
    send(&rig.uploads, "feed", &upload, b"not an elf, though long enough").await.expect("sent");
    rig.uploads.finish("feed", &upload, DebuginfoType::Debuginfo).await.expect("finished");
    let decision = |hash: &'static str| rig.uploads.should_initiate(Asked { hash, ..asked("feed") });
    assert_eq!(decision("").await.expect("a decision").reason, reason::INVALID);
    assert_eq!(decision("h").await.expect("a decision"), Decision { wanted: false, reason: reason::EQUAL });
    assert_eq!(decision("other").await.expect("a decision"), Decision { wanted: true, reason: reason::NOT_EQUAL });
    let same = rig.uploads.initiate(asked("feed"), 10).await.expect_err("the same");
    assert!(matches!(same, UploadError::AlreadyExists(_)), "{same}");
}

#[tokio::test]
async fn a_source_map_and_debuginfo_of_one_build_id_are_apart_and_parcas_place_is_read() {
    let rig = rig(UploadOptions::default());
    let parcas = r#"{"buildId":"feed","source":"SOURCE_UPLOAD","upload":{"id":"u","hash":"h","state":"STATE_UPLOADED"},
                     "type":"DEBUGINFO_TYPE_SOURCE_MAP"}"#;
    rig.bucket.create("debuginfo/feed/metadata", Bytes::from_static(parcas.as_bytes())).await.expect("created");
    let of = |kind| rig.uploads.should_initiate(Asked { kind, ..asked("feed") });
    assert_eq!(of(DebuginfoType::SourceMap).await.expect("a decision").reason, reason::EXISTS);
    assert_eq!(of(DebuginfoType::Debuginfo).await.expect("a decision").reason, reason::FIRST_TIME);
    rig.uploads.initiate(asked("feed"), 10).await.expect("wanted");
    assert_eq!(of(DebuginfoType::Debuginfo).await.expect("a decision").reason, reason::IN_PROGRESS);
}

#[tokio::test]
async fn of_two_that_initiate_at_once_one_wins() {
    let rig = rig(UploadOptions::default());
    let uploads = Arc::new(rig.uploads);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let uploads = uploads.clone();
            tokio::spawn(async move { uploads.initiate(asked("feed"), 10).await.is_ok() })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.expect("no panic"));
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn metadata_that_nobody_can_read_is_an_error_that_names_it() {
    let rig = rig(UploadOptions::default());
    rig.bucket.create("debuginfo/feed/metadata", Bytes::from_static(b"{")).await.expect("created");
    let error = rig.uploads.should_initiate(asked("feed")).await.expect_err("unreadable");
    assert!(matches!(&error, UploadError::Internal(text) if text.contains("debuginfo/feed/metadata")), "{error}");
}

#[tokio::test]
async fn uploads_at_once_are_bounded() {
    let rig = rig(UploadOptions { at_once: 1, ..UploadOptions::default() });
    let one = rig.uploads.initiate(asked("one"), 10).await.expect("wanted").upload_id;
    let two = rig.uploads.initiate(asked("two"), 10).await.expect("wanted").upload_id;
    let held = rig.uploads.receive("one", &one, DebuginfoType::Debuginfo).await.expect("a receiver");
    assert!(matches!(rig.uploads.receive("two", &two, DebuginfoType::Debuginfo).await, Err(UploadError::Busy(..))));
    drop(held);
    assert!(rig.uploads.receive("two", &two, DebuginfoType::Debuginfo).await.is_ok());
}
