//! pprof bytes to columns, all fields, against a plain prost decode of the same bytes.

use profile::pprof::{Ids, Limits, Scratch, decode_message};
use prost::Message;

use crate::corpus::{self, Payload};
use crate::measure::{Bar, line, mb_per_second, medians, on_thread};
use crate::peer;

/// Both sides read uncompressed bytes, one profile after the other on one thread, and drop what they made.
/// Ours copies the bytes first, because its result owns them as the strings; prost copies each string.
pub fn run() {
    println!("decode: pprof bytes to columns, thread CPU");
    check("fleet", corpus::fleet(200).collect(), 3.0);
    check("heaps", corpus::heaps(60).collect(), 2.5);
    check("big-merge", corpus::big_merge(64).collect(), 2.5);
}

fn check(name: &str, payloads: Vec<Payload>, bar: f64) {
    let bytes: usize = payloads.iter().map(|payload| payload.raw.len()).sum();
    let packed: Vec<Vec<u8>> = payloads.iter().map(Payload::gzip).collect();
    let limits = Limits::default();
    let mut scratch = Scratch::default();
    let mut buffer = Vec::new();
    let [ours, prost, gunzip] = medians([
        &mut || {
            on_thread(|| {
                for payload in &payloads {
                    let columns = decode_message(payload.raw.clone(), Ids::Sequential, &limits, &mut scratch);
                    std::hint::black_box(columns.expect("a sound profile"));
                }
            })
        },
        &mut || {
            on_thread(|| {
                for payload in &payloads {
                    let profile = peer::proto::Profile::decode(payload.raw.as_slice()).expect("a sound profile");
                    std::hint::black_box(profile);
                }
            })
        },
        &mut || {
            on_thread(|| {
                for (payload, packed) in payloads.iter().zip(&packed) {
                    peer::gunzip(packed, payload.raw.len(), &mut buffer);
                }
            })
        },
    ]);
    line(&format!("{name}: decode"), mb_per_second(bytes, ours), "MB/CPU-s", Bar::None);
    line(&format!("{name}: prost"), mb_per_second(bytes, prost), "MB/CPU-s", Bar::None);
    line(&format!("{name}: gunzip, libdeflate"), mb_per_second(bytes, gunzip), "MB/CPU-s", Bar::None);
    line(&format!("{name}: decode / prost"), prost.as_secs_f64() / ours.as_secs_f64(), "x", Bar::AtLeast(bar));
}
