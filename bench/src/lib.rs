//! Benchmarks: deterministic corpora, and figures that are ratios taken in one run.

pub mod corpus;
