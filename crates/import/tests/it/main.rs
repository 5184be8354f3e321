//! Imports into a real store: a recorded bucket, and folders of files.

mod torn;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use import::{FileOptions, Importer, Report, parca};
use ingest::{Batch, Limits, Scratch};
use store::{Environment, LocalDisk, LocalObjects, Objects, Record, ReplayDecoder, Store, StoreOptions};

/// The log of these stores is never written.
struct Nothing;

impl ReplayDecoder for Nothing {
    fn decode(&self, _: &Record) -> Result<Batch, String> {
        Err("nothing is in the log".to_owned())
    }
}

fn open(directory: &Path) -> Store {
    open_with(StoreOptions::default(), directory)
}

fn open_with(options: StoreOptions, directory: &Path) -> Store {
    let environment = Environment::local(directory).expect("a directory");
    Store::open(options, environment, Arc::new(Nothing)).expect("a store").0
}

fn testdata(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(path)
}

/// Through a copy: a store's objects in a folder make folders there.
fn recorded_bucket(place: &Path) -> LocalObjects {
    for ulid in ["01M84B9R9HDCD5AVG83YRS19JS", "01M84B9RH5XD9K114B7EH7W2K5"] {
        let name = format!("{}/{ulid}/data.parquet", parca::FOLDER);
        let target = place.join(&name);
        fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        fs::copy(testdata("import-parca/bucket").join(&name), target).expect("copied");
    }
    LocalObjects::open(Arc::new(LocalDisk::open(place).expect("a folder"))).expect("a folder")
}

fn blocks(store: Option<&Store>, bucket: &dyn Objects) -> Report {
    let mut importer = Importer::new(store, |_| {});
    let found = parca::find(bucket).expect("a listing");
    importer.blocks(bucket, &found).expect("imported");
    importer.finish().expect("imported")
}

fn files(store: &Store, path: &Path, options: &FileOptions) -> Report {
    let mut importer = Importer::new(Some(store), |_| {});
    importer.files(path, options).expect("imported");
    importer.finish().expect("imported")
}

/// Profiles in parts of the store, and the sum of their values.
fn held(store: &Store) -> (usize, i128) {
    let parts = store.parts("", None);
    let profiles = parts.iter().map(|part| part.profiles().len()).sum();
    let total = parts.iter().flat_map(|part| part.profiles().totals.clone()).map(i128::from).sum();
    (profiles, total)
}

#[test]
fn a_recorded_bucket_gives_the_totals_of_what_was_written_to_it_and_a_second_time_nothing() {
    let place = tempfile::tempdir().expect("a directory");
    let bucket = recorded_bucket(&place.path().join("bucket"));
    let store = open(&place.path().join("data"));
    let report = blocks(Some(&store), &bucket);
    assert!(report.is_whole() && report.read == 2 && report.known == 0, "{report}");
    assert_eq!(report.types.len(), 17, "{report}");

    // three of the profiles of one type, as they were sent
    let name = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";
    let (mut samples, mut total) = (0, 0);
    for number in 0..3 {
        let payload = fs::read(testdata(&format!("conformance/inputs/cpu_web_a_0{number}.pb.gz"))).expect("an input");
        let labels = vec![("__name__".to_owned(), "process_cpu".to_owned())];
        let batch = ingest::pprof(labels, &payload, 0, &Limits::default(), &mut Scratch::default()).expect("a pprof");
        let value = batch.streams[0].sample_types.iter().position(|of| of.kind == "cpu").expect("the type");
        let width = batch.streams[0].sample_types.len();
        let values = batch.samples.values.iter().skip(value).step_by(width);
        samples += values.clone().filter(|&&value| value != 0).count() as u64;
        total += values.map(|&value| i128::from(value)).sum::<i128>();
    }
    let of = report.types[name];
    assert_eq!((of.profiles, of.samples, of.total), (3, samples, total));

    let all: i128 = report.types.values().map(|of| of.total).sum();
    let profiles: u64 = report.types.values().map(|of| of.profiles).sum();
    assert_eq!(held(&store), (profiles as usize, all));
    let again = blocks(Some(&store), &bucket);
    assert!(again.types.is_empty() && again.known == 2, "{again}");
    store.close();
    drop(store);
    let store = open(&place.path().join("data"));
    assert_eq!(blocks(Some(&store), &bucket).known, 2);
    assert_eq!(held(&store), (profiles as usize, all));
    assert_eq!(blocks(None, &bucket).types, report.types, "a dry run counts the same");
}

#[test]
fn a_file_that_is_there_twice_comes_in_once_and_under_other_labels_again() {
    let place = tempfile::tempdir().expect("a directory");
    let folder = place.path().join("old");
    fs::create_dir_all(folder.join("copies")).expect("a folder");
    for name in ["a.pb.gz", "copies/b.pb.gz"] {
        fs::copy(testdata("conformance/inputs/heap_web_00.pb.gz"), folder.join(name)).expect("copied");
    }
    fs::write(folder.join("c.pb.gz"), "no profile").expect("written");
    fs::write(folder.join("README"), "no profile either").expect("written");
    let store = open(&place.path().join("data"));
    let first = files(&store, &folder, &FileOptions::default());
    assert_eq!((first.read, first.known, first.passed_over, first.left_out.len()), (1, 1, 1, 1), "{first}");
    assert!(first.types.keys().all(|name| name.starts_with("memory:")), "{first}");
    assert!(first.left_out[0].source.ends_with("c.pb.gz"), "{first}");
    let labels = vec![("job".to_owned(), "web".to_owned())];
    let other = files(&store, &folder.join("a.pb.gz"), &FileOptions { labels, name: Some("heap".to_owned()) });
    assert_eq!((other.read, other.known), (1, 0), "{other}");
    assert!(other.types.keys().all(|name| name.starts_with("heap:")), "{other}");
    let streams: Vec<_> = store.parts("", None).iter().flat_map(|part| part.streams().to_vec()).collect();
    assert!(streams.iter().any(|stream| stream.name == "heap" && stream.labels.get("job") == Some("web")));
}
