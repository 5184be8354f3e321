//! Gzipped pprof to durable, in process: unpack, decode, WAL with `fdatasync`, head.

use std::time::Duration;

use bytes::Bytes;
use ingest::{Limits, Scratch};

use crate::corpus::{self, Payload};
use crate::fixture::{self, Stored};
use crate::measure::{self, Bar, in_process, line, mb_per_second, medians, on_thread};
use crate::peer;

/// Profiles in one write: what waits together for a sync when many senders are busy.
const WRITE: usize = 32;

/// One thread; CPU of the whole process, so that nothing a store did elsewhere would be missed. `cut` is what it
/// costs later to turn the head into a block; the bars are about durability.
pub fn run() {
    println!("ingest: gzipped pprof to durable, in process, process CPU, {WRITE} profiles a sync");
    check("fleet:1000", corpus::fleet(1_000).collect(), true);
    check("heaps:60", corpus::heaps(60).collect(), false);
    check("big-merge:160", corpus::big_merge(160).collect(), false);
    check("agent:1500", corpus::agent(1_500).collect(), false);
}

fn check(name: &str, payloads: Vec<Payload>, barred: bool) {
    let bytes: usize = payloads.iter().map(|payload| payload.raw.len()).sum();
    let packed: Vec<Bytes> = payloads.iter().map(|payload| Bytes::from(payload.gzip())).collect();
    let mut buffer = Vec::new();
    let mut cuts: Vec<Duration> = Vec::new();
    let [durable, gunzip] = medians([
        &mut || {
            let stored = Stored::open();
            let (mut scratch, limits) = (Scratch::default(), Limits::default());
            let durable = in_process(|| {
                for (payloads, packed) in payloads.chunks(WRITE).zip(packed.chunks(WRITE)) {
                    let writes = payloads.iter().zip(packed).map(|(payload, packed)| {
                        let batch = ingest::pprof(payload.labels.clone(), packed, payload.time, &limits, &mut scratch);
                        (fixture::record(payload, packed.clone()), batch.expect("a sound profile"))
                    });
                    stored.store.write(writes.collect()).expect("a disk that takes it");
                }
            });
            cuts.push(in_process(|| stored.store.flush().expect("a disk that takes it")));
            durable
        },
        &mut || {
            on_thread(|| {
                for (payload, packed) in payloads.iter().zip(&packed) {
                    peer::gunzip(packed, payload.raw.len(), &mut buffer);
                }
            })
        },
    ]);
    cuts.sort();
    let speed = measure::speed(bytes, gunzip);
    let (rate, ratio) = match barred {
        true => (Bar::AtLeast(200.0 * speed), Bar::AtLeast(0.25)),
        false => (Bar::None, Bar::None),
    };
    line(&format!("{name}: to durable"), mb_per_second(bytes, durable), "MB/CPU-s", rate);
    line(&format!("{name}: gunzip, libdeflate"), mb_per_second(bytes, gunzip), "MB/CPU-s", Bar::None);
    line(&format!("{name}: to durable / gunzip"), gunzip.as_secs_f64() / durable.as_secs_f64(), "x", ratio);
    let settled = durable + cuts[cuts.len() / 2];
    line(&format!("{name}: to durable and cut into a block"), mb_per_second(bytes, settled), "MB/CPU-s", Bar::None);
}
