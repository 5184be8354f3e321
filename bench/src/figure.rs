//! The figures, one module for each table of docs/benchmarks.md.

pub mod agent;
pub mod catalogue;
pub mod charm;
pub mod decode;
pub mod import;
pub mod ingest;
pub mod query;
pub mod reports;
pub mod rest;
pub mod server;
