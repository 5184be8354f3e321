//! Any bytes: no panic, and what is taken is sound.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    fuzz_properties::ingest_request(bytes);
});
