//! A world in which everything that may go wrong does, and that a seed repeats.

mod disk;
mod objects;
mod run;
mod writes;

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

pub(crate) use disk::SimDisk;
pub(crate) use objects::SimObjects;
pub(crate) use writes::{FIRST_TIME, REFUSED, SimDecoder, ids, ids_by_samples, write};

use crate::clock::Clock;
use crate::error::StoreError;
use crate::random::Random;

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.u64() % bound
    }

    /// True once in `times`.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

pub(crate) struct SimRandom(Mutex<Rng>);

impl SimRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(Rng::new(seed)))
    }
}

impl Random for SimRandom {
    fn u64(&self) -> Result<u64, StoreError> {
        Ok(self.0.lock().expect("not poisoned").u64())
    }
}

/// Stands still until told.
pub(crate) struct SimClock(AtomicI64);

impl SimClock {
    pub(crate) fn new(now_ns: i64) -> Self {
        Self(AtomicI64::new(now_ns))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as i64, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed) as u64)
    }
}
