//! Drives the built binary as a user does: processes, ports, signals, files, gRPC. Knows none of our crates, so that what it
//! sends and expects comes from the wire contract alone.
//!
//! Every wait has an end, only processes that were started here are ended, and only loopback is spoken to.
//!
//! Map: [`Server`] a running `decima` · [`Client`] its gRPC services · [`wire`] their messages · [`pprof`] made-up profiles ·
//! [`recorded`] those of the recordings · [`Stub`] a scrape target that misbehaves · [`Recorder`] a server that keeps how it is called · [`Mounts`] file systems of its own ·
//! [`S3Server`] a real object store · [`FaultyProxy`] a bad way to it · [`Roles`] where a machine of Amazon's gets its keys · [`raw`] requests of any bytes.

mod client;
mod mounts;
pub mod pprof;
mod proxy;
pub mod raw;
pub mod recorded;
mod recorder;
mod roles;
mod s3;
mod server;
mod stub;
pub mod wire;

pub use client::Client;
pub use mounts::Mounts;
pub use proxy::{Asked, Fault, FaultyProxy};
pub use recorder::{Call, Recorder};
pub use roles::Roles;
pub use s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY, tool};
pub use server::{Exited, Place, Server, binary, free_address};
pub use stub::Stub;
