//! Any bytes to this reader: no panic, and what it takes is sound.
#![no_main]

#[path = "../../crates/juju/tests/it/fuzz/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    property::dispatch(bytes);
});
