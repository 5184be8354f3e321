//! Randomness, so that a simulation is repeatable.

use crate::error::{Kind, StoreError};

pub trait Random: Send + Sync {
    /// Unpredictable to those who send data: names and hash keys are made of it.
    fn u64(&self) -> Result<u64, StoreError>;
}

/// The operating system's generator.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn u64(&self) -> Result<u64, StoreError> {
        getrandom::u64().map_err(|error| StoreError::new(Kind::Io, "getrandom", error.to_string()))
    }
}
