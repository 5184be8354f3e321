//! Benchmarks: deterministic corpora, and figures that are ratios taken in one run.
//!
//! `cargo run --release -p bench` takes every figure of docs/benchmarks.md, `-- decode rest` only those. A figure is
//! the median of [`measure::RUNS`] runs, in CPU time, with a peer measured beside it on the same bytes: prost,
//! libdeflate or a bare loop. Nothing here is linked into the server or the charm.
//!
//! Map: [`corpus`] what is measured · [`stamped`] some of it as agents send it · [`measure`] how · [`peer`] what it is held
//! against · [`fixture`] a store to write to · [`parca`] blocks as a Parca leaves them · [`process`] the built server as a child, [`client`] and [`wire`] what is said to it · [`figure`] a module for each
//! table of docs/benchmarks.md.

pub mod client;
pub mod corpus;
pub mod figure;
pub mod fixture;
pub mod measure;
pub mod parca;
pub mod peer;
pub mod process;
pub mod stamped;
pub mod wire;
