//! The head over time: one generation is written, an older one may be on its way into blocks.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use profile::Batch;

use crate::budget::Lease;
use crate::clock::Clock;
use crate::error::StoreError;
use crate::head::Head;

/// A head, and who still writes to it.
pub(super) struct Generation {
    pub(super) head: Head,
    state: Mutex<State>,
    idle: Condvar,
}

struct State {
    /// Writes that have a position in the log and are not in the head yet.
    under_way: u64,
    /// Follows the head's bytes.
    lease: Lease,
    oldest: Option<Oldest>,
}

/// Of the first write.
#[derive(Clone, Copy)]
pub(super) struct Oldest {
    /// ns since the epoch
    pub(super) wall: i64,
    pub(super) monotonic: Duration,
}

impl Generation {
    pub(super) fn new(hash_key: [u64; 2], lease: Lease) -> Self {
        let state = State { under_way: 0, lease, oldest: None };
        Self { head: Head::new(hash_key), state: Mutex::new(state), idle: Condvar::new() }
    }

    /// Announces a write, so that nobody cuts this generation without it.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.lock().under_way += 1;
        UnderWay { generation: self.clone() }
    }

    /// Returns when all announced writes are in the head or have failed. Only for a generation that no
    /// new write is announced to.
    pub(super) fn wait_idle(&self) {
        let mut state = self.lock();
        while state.under_way > 0 {
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// `received`: ns since the epoch.
    pub(super) fn append(&self, batch: &Batch, received: i64, clock: &dyn Clock) -> Result<(), StoreError> {
        self.head.append(batch)?;
        let mut state = self.lock();
        state.lease.set(self.head.bytes());
        if state.oldest.is_none() {
            let age = clock.now_ns().saturating_sub(received).max(0);
            let monotonic = clock.monotonic().saturating_sub(Duration::from_nanos(age.unsigned_abs()));
            state.oldest = Some(Oldest { wall: received, monotonic });
        }
        Ok(())
    }

    pub(super) fn oldest(&self) -> Option<Oldest> {
        self.lock().oldest
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write between its position in the log and its place in the head.
pub(super) struct UnderWay {
    pub(super) generation: Arc<Generation>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.generation.lock();
        state.under_way -= 1;
        if state.under_way == 0 {
            self.generation.idle.notify_all();
        }
    }
}
