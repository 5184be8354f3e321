//! Where scraped profiles go: the seam between scraping and storage, which this crate knows nothing of.

use std::fmt;
use std::future::Future;

use bytes::Bytes;

/// One profile as a target sent it.
#[derive(Clone, Debug)]
pub struct Scraped {
    /// The name of the scrape job, for logs and metrics.
    pub job: String,
    /// The target's public labels and `__name__`, sorted by name, each name once, no empty value.
    pub labels: Vec<(String, String)>,
    /// pprof, compressed or not, as received; reduced to `keep_sample_type` where the job says so. Never empty.
    pub body: Bytes,
    /// When the scrape began, in nanoseconds since the Unix epoch.
    pub receive_time_ns: i64,
    /// `normalized_addresses` of the job: addresses are already relative to their mapping.
    pub normalized_addresses: bool,
}

/// What a sink says about a profile that it has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of samples in the profile.
    pub samples: u64,
}

/// Why a sink refused a profile. The text is shown to the user as the target's last error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkError {
    /// The bytes are not a profile that can be stored; the same bytes will be refused again.
    Invalid(String),
    /// There is no room now: memory, disk or queue. The next scrape may succeed.
    Overloaded(String),
    /// The store failed.
    Failed(String),
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SinkError::Invalid(message) | SinkError::Overloaded(message) | SinkError::Failed(message) => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for SinkError {}

/// Takes scraped profiles. `Ok` means durable.
///
/// The scraper runs each write in a task of its own, waits at most the job's `scrape_timeout` for it and then drops the
/// future: a sink that hands its work to a blocking thread may still store a profile whose write was given up.
pub trait Sink: Send + Sync + 'static {
    /// Stores one profile. Called from many tasks at once, at most once at a time per target.
    fn write(&self, scrape: Scraped) -> impl Future<Output = Result<Written, SinkError>> + Send;
}
