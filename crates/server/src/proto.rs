//! The wire's messages, compiled from `proto/` by `build.rs`. They never leave this crate.

#![allow(clippy::all, dead_code, reason = "generated; the contract has more messages than are answered so far")]

include!(concat!(env!("OUT_DIR"), "/generated.rs"));

/// A `FileDescriptorSet` of every service, with HTTP options: for reflection and the REST gateway.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Descriptors of all services of the contract, and of health and reflection.
pub(crate) fn pool() -> Result<prost_reflect::DescriptorPool, prost_reflect::DescriptorError> {
    let mut pool = prost_reflect::DescriptorPool::decode(DESCRIPTORS)?;
    for extra in [
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ] {
        pool.decode_file_descriptor_set(extra)?;
    }
    Ok(pool)
}
