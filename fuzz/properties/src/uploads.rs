//! What agents upload, and what a bucket keeps of it.

use std::sync::OnceLock;

use bucket::{Bucket, Options, Provider};
use store::Budget;
use symbolize::metadata::{Debuginfo, metadata_name, object_name};
use symbolize::{BuildId, DebuginfoType, SourceError, SourceOptions, Sources};
use tokio::runtime::Runtime;

/// Small, so that the limits are met.
const OPTIONS: SourceOptions = SourceOptions { file_bytes_max: 64 << 10, archive_bytes_max: 4 << 20 };

struct Place {
    runtime: Runtime,
    sources: Sources,
    budget: Budget,
    folder: tempfile::TempDir,
}

fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let provider = Provider::Filesystem { directory: folder.path().display().to_string() };
        let options = Options { prefix: String::new(), provider };
        let bucket = Bucket::connect(&options, bucket::Metrics::unregistered("fuzz")).expect("a bucket");
        let budget = Budget::new(1 << 30);
        let sources = Sources::new(bucket, OPTIONS, budget.account("sources", 1 << 30));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        Place { runtime, sources, budget, folder }
    })
}

/// An archive of sources: a file is found by all of its names alike, is no larger than it may be, and no memory stays leased.
pub fn archive(bytes: &[u8]) -> bool {
    let place = place();
    // one archive for each thread that asks
    let build_id = format!("feed-{:?}", std::thread::current().id()).replace(['(', ')'], "-");
    let folder = place.folder.path().join("debuginfo").join(&build_id);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("sources"), bytes).expect("written");
    let find = |name: &str| place.runtime.block_on(place.sources.find(&build_id, name, &|| true));
    let mut taken = false;
    for name in ["main.c", "src/main.go", "a/very/long/name"] {
        let found = find(name);
        let again = find(&format!("/{name}"));
        match (&found, &again) {
            (Ok(found), Ok(again)) => {
                assert_eq!(found, again);
                assert!(found.as_ref().is_none_or(|file| file.len() as u64 <= OPTIONS.file_bytes_max));
                taken |= found.is_some();
            }
            (Err(one), Err(other)) => {
                assert_eq!(one.to_string(), other.to_string());
                assert!(!matches!(one, SourceError::GivenUp));
            }
            _ => panic!("{name}: {found:?}, with a slash {again:?}"),
        }
    }
    assert_eq!(place.budget.used(), 0, "memory is leased for as long as a file is looked for");
    taken
}

/// Metadata beside an upload: what is read means the same when it is written and read again.
pub fn metadata(bytes: &[u8]) -> bool {
    match Debuginfo::from_json(bytes) {
        Ok(known) => {
            let written = known.to_json().expect("written");
            assert_eq!(Debuginfo::from_json(&written).expect("read again"), known);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

const KINDS: [DebuginfoType; 4] =
    [DebuginfoType::Debuginfo, DebuginfoType::Executable, DebuginfoType::Sources, DebuginfoType::SourceMap];

/// A build ID: its objects lie below it, and none of them is an object of another.
pub fn build_id(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Ok(id) = BuildId::parse(&text) else { return false };
    let mut names: Vec<String> =
        KINDS.iter().flat_map(|&kind| [object_name(&id, kind), metadata_name(&id, kind)]).collect();
    for name in &names {
        let below = name.strip_prefix("debuginfo/").and_then(|name| name.strip_prefix(id.as_str()));
        let object = below.and_then(|below| below.strip_prefix('/')).expect("below its build ID");
        // what an object of another build ID could be called is no build ID itself
        assert!(!object.contains('/') && BuildId::parse(&format!("{text}/{object}")).is_err());
        assert!(name.split('/').all(|part| !part.is_empty() && !part.bytes().all(|byte| byte == b'.')), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 2 * KINDS.len());
    true
}
