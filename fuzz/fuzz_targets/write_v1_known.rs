//! Any bytes to this decoder: no panic, and what it takes is sound.
#![no_main]

#[path = "../../crates/ingest/tests/it/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    property::write_v1_known(bytes);
});
