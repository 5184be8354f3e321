//! The corpora of the fuzz targets, and each of their files harmed in hundreds of ways.

use std::collections::BTreeSet;
use std::path::Path;

use fuzz_properties::*;

/// `bytes` with one to three of them flipped, dropped, added or repeated, `rounds` times over; the same each run.
fn harmed(bytes: &[u8], rounds: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = bytes.len() as u64 + 1;
    let mut below = move |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n.max(1)
    };
    (0..rounds).map(move |_| {
        let mut harmed = bytes.to_vec();
        for _ in 0..1 + below(3) {
            let at = below(harmed.len());
            match below(5) {
                0 | 1 if at < harmed.len() => harmed[at] ^= 1 << below(8),
                2 => harmed.truncate(at),
                3 => harmed.insert(at, below(256) as u8),
                _ => {
                    let end = (at + below(30)).min(harmed.len());
                    let copy = harmed[at..end].to_vec();
                    harmed.splice(at..at, copy);
                }
            }
        }
        harmed
    })
}

/// The corpus of a fuzz target, and each of its files harmed `rounds` times.
fn holds_for(target: &str, rounds: usize, holds: fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let (mut files, mut taken) = (0, 0);
    for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let bytes = std::fs::read(file.expect("an entry").path()).expect("a file of the corpus");
        files += 1;
        taken += usize::from(holds(&bytes));
        for harmed in harmed(&bytes, rounds) {
            holds(&harmed);
        }
    }
    println!("{target}: {files} files, of which {taken} are taken, each harmed {rounds} times");
    assert!(taken > 0 && taken < files, "{target}: {taken} of {files} files are taken");
}

#[test]
fn any_archive_of_sources_is_searched_or_refused() {
    holds_for("archive", 300, archive);
}

#[test]
fn any_metadata_of_a_bucket_is_kept_or_refused() {
    holds_for("metadata", 1000, metadata);
}

#[test]
fn any_build_id_stays_in_its_place_or_is_refused() {
    holds_for("build_id", 1000, build_id);
}

#[test]
fn any_configuration_is_read_or_refused() {
    holds_for("configuration", 300, configuration);
}

#[test]
fn any_selector_is_read_or_refused() {
    holds_for("selector", 1000, selector);
}

#[test]
fn any_expression_matches_within_its_subject_or_is_refused() {
    holds_for("regexp", 300, regexp);
}

#[test]
fn any_segment_of_the_log_is_replayed_as_it_is_written_or_refused() {
    holds_for("wal_segment", 1000, wal_segment);
}

#[test]
fn any_catalog_is_read_or_refused_and_never_changed() {
    holds_for("catalog", 1000, catalog);
}

#[test]
fn any_block_answers_or_is_left_out() {
    holds_for("block", 200, block);
}

#[test]
fn any_buffer_of_a_forwarder_gives_what_is_whole_in_it_once_and_takes_more() {
    holds_for("spool", 1000, spool);
}

#[test]
fn any_request_that_brings_something_in_is_answered_or_refused() {
    holds_for("ingest_request", 300, ingest_request);
}

#[test]
fn any_request_of_the_query_api_is_answered_or_refused() {
    holds_for("query_request", 500, query_request);
}

/// No build here looks at the targets: they have a workspace of their own.
#[test]
fn every_target_is_declared_has_a_corpus_and_leaves_these_properties_to_the_workspace() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(fuzz.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        let paths = entries.map(|entry| entry.expect("an entry").path());
        paths.map(|path| path.file_stem().expect("a name").to_str().expect("text").to_owned()).collect()
    };
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    let declared: BTreeSet<String> = (manifest.split("[[bin]]").skip(1))
        .map(|bin| bin.split('"').nth(1).expect("a name").to_owned())
        .inspect(|name| assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}"))
        .collect();
    assert_eq!(declared, names("fuzz_targets"));
    assert_eq!(declared, names("corpus"));
    // or cargo builds none of them
    assert!(manifest.contains("[workspace]\nexclude = [\"properties\"]"));
}
