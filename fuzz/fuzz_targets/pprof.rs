//! Any bytes as a profile: no panic, no lost field.
#![no_main]

#[path = "../../crates/profile/tests/it/property.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    property::holds(bytes);
});
