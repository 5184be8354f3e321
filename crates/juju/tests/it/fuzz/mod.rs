//! The corpora of the fuzz targets, and each of their files harmed in a thousand ways.

mod property;

use std::path::Path;

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
                3 => harmed.insert(at, below(128) as u8),
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

/// A fuzz target: a folder of its corpus, and what must hold.
type Target = (&'static str, fn(&[u8]) -> bool);

#[test]
fn no_environment_and_no_text_of_the_fuzz_corpora_panics_and_all_survive_the_round_trip() {
    let targets: [Target; 2] = [("juju_dispatch", property::dispatch), ("juju_texts", property::texts)];
    for (target, holds) in targets {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
        let (mut files, mut taken) = (0, 0);
        for file in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            files += 1;
            taken += usize::from(holds(&bytes));
            for harmed in harmed(&bytes, 1_000) {
                holds(&harmed);
            }
        }
        println!("{target}: {files} files, of which {taken} are taken, each harmed 1000 times");
        assert!(taken > 0, "{target}: nothing of the corpus is taken");
    }
}
