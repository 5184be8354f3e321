//! Wire <-> domain: gRPC, gRPC-Web, REST, metrics, self-profiling and the UI, on one listener. Messages come in, plain
//! requests go to `ingest`, `store`, `query` and `scrape`, and plain answers go out as messages.
//!
//! It never decides what a query means, how a profile is stored or what is scraped; no wire or Arrow type leaves it.
//! Nothing is global: the caller passes store, engine, scraper's handle and metrics registry.
//!
//! The way of a request: [`listener`](Listener) (a connection, any protocol) → `front` (gRPC-Web, gRPC or plain HTTP)
//! → `grpc` (count, bound, lease memory, deadline, catch panics; every RPC passes here, REST's too) → `api` (one file per
//! service) → `writer` or the query engine, on `work`'s blocking threads.
//!
//! Map: `listener` accept and drain · `tls` certificates that change · `front` sorting · `grpc` the common front of all RPCs · `api` the services ·
//! `rest` JSON under `/api` · `otlp_http` OTLP without gRPC · `plain` metrics, pprof, UI · `arrow` reports as Arrow · `nested` and `callgraph` as messages that are
//! written in one pass (`encoded`, `frame_meta`) · `writer` into the store · `known` stacks that agents need not send again ·
//! `work` bounded blocking work · `metrics` what is counted · [`selfprofile`] its own CPU profile ·
//! [`go_time`] times as Go writes them · `proto` generated messages.

mod api;
mod arrow;
mod callgraph;
mod encoded;
mod frame_meta;
mod front;
pub mod go_time;
mod grpc;
mod known;
mod listener;
mod metrics;
mod nested;
mod otlp_http;
mod plain;
mod proto;
mod rest;
pub mod selfprofile;
mod server;
#[cfg(test)]
mod test_vectors;
#[cfg(test)]
mod tests;
mod tls;
mod work;
mod writer;

pub use crate::writer::{Replay, Writer};
pub use grpc::stack::RpcLimits;
pub use listener::{ListenError, ListenOptions, Listener};
pub use plain::HeapProfiler;
pub use server::{Server, ServerOptions, SetupError, forwarding_writer, serve_profiles, writer};
pub use tls::{Tls, TlsError, TlsFiles};
