//! The figures, one module for each table of docs/benchmarks.md.

pub mod decode;
