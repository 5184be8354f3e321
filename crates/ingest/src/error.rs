use std::fmt;

/// Why a payload was refused. Displays as the message for the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestError {
    pub kind: IngestErrorKind,
    pub message: String,
}

/// What Parca's API answers with (gRPC codes of the same names).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IngestErrorKind {
    InvalidArgument,
    /// Parca returns plain errors for these, which gRPC calls Unknown; clients see the same.
    Unknown,
    /// Over a bound of [`profile::pprof::Limits`].
    ResourceExhausted,
}

impl IngestError {
    pub(crate) fn new(kind: IngestErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The same, with what was being done in front.
    pub(crate) fn within(self, context: &str) -> Self {
        Self { message: format!("{context}: {}", self.message), ..self }
    }
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for IngestError {}
