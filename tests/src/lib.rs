//! Drives the built binary as a user does: processes, ports, signals, files, gRPC. Knows none of our crates, so that what it
//! sends and expects comes from the wire contract alone.
//!
//! Every wait has an end, only processes that were started here are ended, and only loopback is spoken to.
//!
//! Map: [`Server`] a running `decima` · [`Client`] its gRPC services · [`wire`] their messages · [`pprof`] made-up profiles ·
//! [`Stub`] a scrape target that misbehaves · [`Mounts`] file systems of its own.

mod client;
mod mounts;
pub mod pprof;
mod server;
mod stub;
pub mod wire;

pub use client::Client;
pub use mounts::Mounts;
pub use server::{Exited, Place, Server, binary, free_address};
pub use stub::Stub;
