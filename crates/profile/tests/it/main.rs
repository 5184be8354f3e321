//! The pprof codec from outside: any bytes, and Go's own reader of profiles.

mod go_pprof;
mod property;

use std::path::{Path, PathBuf};

/// Files of `folder`, below the repository's root, whose names end in `end`, by name.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(end));
    files.sort();
    assert!(!files.is_empty(), "{} has no file that ends in {end:?}", folder.display());
    files
}

/// The fuzz target's corpus, and each of its files harmed in a hundred ways.
#[test]
fn no_bytes_of_the_fuzz_corpus_panic_and_all_sound_ones_survive_the_round_trip() {
    let mut sound = 0;
    for file in files("fuzz/corpus/pprof", "") {
        let bytes = std::fs::read(&file).expect("a file of the corpus");
        sound += usize::from(property::holds(&bytes));
        let mut state = bytes.len() as u64 + 1;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n.max(1)
        };
        for _ in 0..100 {
            let mut harmed = bytes.clone();
            for _ in 0..1 + below(3) {
                let at = below(harmed.len());
                match below(4) {
                    0 if at < harmed.len() => harmed[at] ^= 1 << below(8),
                    1 => harmed.truncate(at),
                    2 => harmed.insert(at, below(256) as u8),
                    _ => {
                        let end = (at + below(30)).min(harmed.len());
                        let copy = harmed[at..end].to_vec();
                        harmed.splice(at..at, copy);
                    }
                }
            }
            property::holds(&harmed);
        }
    }
    assert!(sound > 5, "{sound} sound profiles");
}
