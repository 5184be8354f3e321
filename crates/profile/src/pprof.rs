//! The pprof codec.
