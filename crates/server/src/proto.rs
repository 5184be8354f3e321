//! The wire's messages, compiled from `proto/` by `build.rs`. They never leave this crate.

#![allow(clippy::all, missing_docs)]

include!(concat!(env!("OUT_DIR"), "/generated.rs"));

/// A `FileDescriptorSet` of every service, with HTTP options: for reflection and the REST gateway.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
