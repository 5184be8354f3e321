//! Errors of the store: what, where, and whether trying again can help.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Someone has to make room, or a cut has to free the WAL: neither takes less.
const DISK_FULL_RETRY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file's bytes are not what was written; the part is quarantined.
    Corrupt,
    /// The file or directory is newer than this program understands.
    TooNew,
    /// Over the memory bound or the disk cannot keep up; the same write may succeed later.
    Overloaded,
    /// No space left on the device.
    DiskFull,
    ReadOnly,
    /// Another process holds the directory.
    InUse,
    NotFound,
    /// Create-if-absent found it there.
    AlreadyExists,
    Cancelled,
    /// The store is closing or has failed for good.
    Closed,
    Io,
    Invalid,
}

/// `at` names the file or object; `retry_after` is set where trying again can help.
#[derive(Clone, Debug)]
pub struct StoreError {
    pub kind: Kind,
    pub at: String,
    pub what: String,
    pub retry_after: Option<Duration>,
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// A read fails for the same reasons and in the same words.
pub type ReadError = StoreError;

impl StoreError {
    pub fn new(kind: Kind, at: impl Into<String>, what: impl Into<String>) -> Self {
        Self { kind, at: at.into(), what: what.into(), retry_after: None, source: None }
    }

    /// What the operating system said, sorted into a [`Kind`]; `what` is what was tried.
    pub fn io(at: impl Into<String>, what: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::DiskFull,
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Kind::ReadOnly,
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::AlreadyExists => Kind::AlreadyExists,
            _ => Kind::Io,
        };
        let retry_after = (kind == Kind::DiskFull).then_some(DISK_FULL_RETRY);
        Self { kind, at: at.into(), what: what.into(), retry_after, source: Some(Arc::new(source)) }
    }

    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub fn disk_full(at: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Kind::DiskFull, at, what).retry_after(DISK_FULL_RETRY)
    }

    pub fn cancelled() -> Self {
        Self::new(Kind::Cancelled, "query", "cancelled")
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
