//! Wire <-> domain.

pub mod proto;
