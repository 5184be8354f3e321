//! Why a query was refused or failed, in the kinds of gRPC and the words of Parca.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    InvalidArgument,
    NotFound,
    Unimplemented,
    DeadlineExceeded,
    Cancelled,
    /// Over a limit; a smaller question, or the same one later, may be answered.
    ResourceExhausted,
    /// The store failed.
    Internal,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    pub kind: ErrorKind,
    pub message: String,
}

impl QueryError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Parca's words for a range without rows.
    pub(crate) fn no_data() -> Self {
        Self::new(
            ErrorKind::NotFound,
            "No data found for the query, try a different query or time range or no data has been written to be queried yet.",
        )
    }

    /// Parca's words for a single profile that is not there.
    pub(crate) fn no_profile() -> Self {
        Self::new(ErrorKind::NotFound, "could not find profile at requested time and selectors")
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for QueryError {}

impl From<store::error::StoreError> for QueryError {
    fn from(error: store::error::StoreError) -> Self {
        let kind = match error.kind {
            store::error::Kind::Cancelled => ErrorKind::Cancelled,
            store::error::Kind::Overloaded => ErrorKind::ResourceExhausted,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}
