//! Every limit of the store, with its default.

use std::time::Duration;

const MIB: u64 = 1 << 20;
const SECOND_NS: i64 = 1_000_000_000;

#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Bytes for everything that takes leases from [`crate::Budget`]: head, requests, queries, caches.
    pub memory_bytes: u64,
    /// Bytes of all head generations together. Writes are refused above it (retryable).
    pub head_bytes_max: u64,
    /// The head is cut into blocks when it holds this many bytes. Half of `head_bytes_max`, so that one
    /// generation can fill while the other is written.
    pub head_cut_bytes: u64,
    /// ... or when its oldest write is this old.
    pub head_cut_age: Duration,
    /// ... or when the WAL holds this many bytes, which bounds the time a restart takes
    /// (replay reads a few hundred MB per second).
    pub wal_cut_bytes: u64,
    /// Writes are refused when the WAL holds this many bytes (retryable).
    pub wal_bytes_max: u64,
    /// Reserved on disk at once. A larger write gets a segment of its own.
    pub segment_bytes: u64,
    /// Writes that wait for the next sync may hold this many bytes; more are refused (retryable). A single
    /// write larger than this is let through when nothing else waits.
    pub queue_bytes_max: u64,
    /// Writes are refused when the disk has fewer bytes left, so that the head can still be cut and the
    /// WAL be freed.
    pub disk_free_min: u64,
    /// Bytes of decoded symbols, trees and profiles of blocks that are kept for the next query.
    pub block_cache_bytes: u64,
    /// Bytes of the names of types and labels of all blocks. A block beyond is asked itself, which is slower.
    pub names_bytes_max: u64,
    /// One block covers at most one aligned window of this many ns.
    pub block_window_ns: i64,
    /// A snapshot of the catalog is written every so many manifests.
    pub snapshot_every: u64,
    /// Manifests that a snapshot has made redundant are deleted after this long; longer than the longest
    /// commit and query.
    pub manifest_grace: Duration,
    /// How often to look for what other processes wrote to the same bucket: one listing each time.
    pub catalog_refresh: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 1024 * MIB,
            head_bytes_max: 128 * MIB,
            head_cut_bytes: 64 * MIB,
            head_cut_age: Duration::from_secs(3600),
            wal_cut_bytes: 1024 * MIB,
            wal_bytes_max: 4096 * MIB,
            segment_bytes: 32 * MIB,
            queue_bytes_max: 64 * MIB,
            disk_free_min: 64 * MIB,
            block_cache_bytes: 256 * MIB,
            names_bytes_max: 64 * MIB,
            block_window_ns: 3600 * SECOND_NS,
            snapshot_every: 64,
            manifest_grace: Duration::from_secs(3600),
            catalog_refresh: Duration::from_secs(5),
        }
    }
}
