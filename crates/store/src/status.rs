//! What the store tells about itself, for metrics, the UI and the log.

use crate::budget::AccountStatus;

/// Counts since the start unless said otherwise.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// bytes, all generations
    pub head_bytes: u64,
    /// Head generations: 1, or 2 while one is being cut.
    pub head_generations: u64,
    /// ns since the epoch of the oldest write in the head.
    pub head_oldest: Option<i64>,
    /// bytes reserved on disk
    pub wal_bytes: u64,
    pub wal_segments: u64,
    pub wal_syncs: u64,
    /// Failed writes or syncs of the WAL.
    pub wal_failures: u64,
    /// Writes acknowledged, and the profiles' payload in them (bytes).
    pub writes: u64,
    pub written_bytes: u64,
    /// Writes refused because the head, the queue or the WAL was full.
    pub writes_refused: u64,
    /// Now.
    pub blocks: u64,
    /// bytes, now
    pub block_bytes: u64,
    pub cuts: u64,
    pub cut_failures: u64,
    pub quarantined: Vec<Quarantined>,
    /// Files in `rejected/`, now.
    pub rejected_records: u64,
    /// The last error of the WAL, a cut or the catalog, with its time (ns since the epoch).
    pub last_error: Option<(i64, String)>,
    pub accounts: Vec<AccountStatus>,
    /// bytes
    pub memory_used: u64,
    /// bytes
    pub memory_total: u64,
}

/// A block that is left out of all answers; its files stay where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The block's name.
    pub block: String,
    pub reason: String,
    /// ns since the epoch.
    pub since: i64,
}

/// What opening found.
#[derive(Clone, Debug, Default)]
pub struct OpenReport {
    pub blocks: u64,
    pub quarantined: Vec<Quarantined>,
    /// Writes taken over from the WAL into the head.
    pub replayed_writes: u64,
    /// Writes that the catalog says are in blocks already.
    pub skipped_writes: u64,
    /// Records that no longer decode, moved to `rejected/`.
    pub rejected_records: u64,
    /// Bytes at the end of segments that were written but never finished: cut off.
    pub torn_bytes: u64,
    /// Bytes between good records that are none: damage.
    pub damaged_bytes: u64,
    /// What went wrong but did not stop the start, in words.
    pub warnings: Vec<String>,
}
