//! Bytes at rest: a corpus cut into one block, everything included.

use crate::corpus::{self, Payload};
use crate::fixture::Stored;
use crate::measure::{Bar, line};

pub fn run() {
    println!("rest: bytes of one block per sample, symbols and metadata included");
    check("fleet (10,000 profiles)", corpus::fleet(10_000), Bar::AtMost(2.0));
    check("fleet:1000", corpus::fleet(1_000), Bar::None);
    check("heaps:600 (four values a sample)", corpus::heaps(600), Bar::None);
}

fn check(name: &str, payloads: impl Iterator<Item = Payload>, bar: Bar) {
    let stored = Stored::open();
    let samples = stored.fill(payloads);
    let head = stored.store.status().head_bytes;
    stored.store.flush().expect("a disk that takes it");
    let status = stored.store.status();
    assert_eq!(status.blocks, 1, "one window, one block");
    line(&format!("{name}: block"), status.block_bytes as f64 / samples as f64, "B/sample", bar);
    line(&format!("{name}: head before"), head as f64 / samples as f64, "B/sample", Bar::None);
}
