//! Looks words up.

use std::collections::BTreeMap;
use std::hint::black_box;

use super::{Clock, in_slices};

/// Documents of the collection.
const DOCUMENTS: u32 = 400;

pub(super) fn work(clock: &Clock) {
    let documents: Vec<String> = (0..DOCUMENTS).map(write_document).collect();
    let index = build_index(&documents);
    let mut query = 0_u32;
    in_slices(clock, 0.3, || {
        let indexed = clock.minute() % 3 != 2;
        for _ in 0..50 {
            query = query.wrapping_add(7);
            let word = format!("w{}", query % 97);
            let found = if indexed { search_index(&index, &word) } else { search_without_index(&documents, &word) };
            black_box(rank_results(found));
        }
    });
}

fn write_document(number: u32) -> String {
    (0..60).map(|word| format!("w{}", (number * 31 + word * word) % 97)).collect::<Vec<_>>().join(" ")
}

#[inline(never)]
fn build_index(documents: &[String]) -> BTreeMap<String, Vec<u32>> {
    let mut index = BTreeMap::<String, Vec<u32>>::new();
    for (number, document) in documents.iter().enumerate() {
        for word in document.split(' ') {
            index.entry(word.to_owned()).or_default().push(number as u32);
        }
    }
    index
}

#[inline(never)]
fn search_index(index: &BTreeMap<String, Vec<u32>>, word: &str) -> Vec<u32> {
    index.get(word).cloned().unwrap_or_default()
}

#[inline(never)]
fn search_without_index(documents: &[String], word: &str) -> Vec<u32> {
    let hits = documents.iter().enumerate().filter(|(_, document)| contains_word(document, word));
    hits.map(|(number, _)| number as u32).collect()
}

#[inline(never)]
fn contains_word(document: &str, word: &str) -> bool {
    black_box(document.split(' ').any(|candidate| candidate == word))
}

#[inline(never)]
fn rank_results(mut found: Vec<u32>) -> Vec<u32> {
    found.sort_unstable_by_key(|number| black_box(number.wrapping_mul(2_654_435_761)));
    found.dedup();
    found
}
