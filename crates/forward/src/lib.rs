//! Calls to another server of Parca's API: the one that profiles are shared on, or handed on to.
//!
//! Messages are bytes here: what is in them is known where they were made. It never decodes a profile.
//!
//! Map: [`upstream`] the connection, its TLS and its credentials · [`spool`] what waits, on disk · [`forwarder`] the way from the one
//! to the other, with its retries · [`metrics`] what is counted.

pub mod forwarder;
pub mod metrics;
pub mod spool;
pub mod upstream;

pub use forwarder::{Forwarder, Method};
pub use metrics::{Metrics, code_name};
pub use spool::{Spool, SpoolOptions};
pub use upstream::{Token, Upstream, UpstreamOptions};
