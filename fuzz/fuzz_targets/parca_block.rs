//! Any bytes as a block of a Parca's bucket: no panic, and what is read of it is sound.
#![no_main]

#[path = "../../crates/ingest/tests/it/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    property::parca_block(bytes);
});
