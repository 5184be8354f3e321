use std::fmt;
use std::io;

use super::types::Change;

/// Why a call failed: Pebble's `kind` where it says one, else from the status, else what happened on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// There is no socket, or nobody listens: the container is not up.
    Unreachable,
    /// No answer in time, or what was waited for did not come (504).
    Timeout,
    /// The answer is not what Pebble says, or larger than the bound.
    Protocol,
    /// `not-found`, or 404
    NotFound,
    /// `permission-denied`, or 403
    PermissionDenied,
    /// `generic-file-error`
    GenericFileError,
    /// `login-required`, or 401
    LoginRequired,
    /// `no-default-services`
    NoDefaultServices,
    /// `system-restart`
    SystemRestart,
    /// `daemon-restart`
    DaemonRestart,
    /// 400 without a kind: what was asked makes no sense to Pebble.
    BadRequest,
    /// Any other status, or a kind that is newer than this client.
    Other,
    /// A change came to its end with an error; [`PebbleError::change`] has it.
    ChangeFailed,
}

/// A call to Pebble that failed.
#[derive(Clone, Debug, PartialEq)]
pub struct PebbleError {
    pub kind: ErrorKind,
    /// Pebble's own words where it said some.
    pub message: String,
    /// The HTTP status, if there was an answer. File operations report their errors under 200.
    pub status: Option<u16>,
    /// For [`ErrorKind::ChangeFailed`].
    pub change: Option<Box<Change>>,
}

impl PebbleError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> PebbleError {
        PebbleError { kind, message: message.into(), status: None, change: None }
    }

    pub(super) fn protocol(message: impl Into<String>) -> PebbleError {
        PebbleError::new(ErrorKind::Protocol, message)
    }

    /// An error that Pebble answered.
    pub(super) fn answered(status: u16, kind: &str, message: impl Into<String>) -> PebbleError {
        let kind = match (kind, status) {
            ("not-found", _) | ("", 404) => ErrorKind::NotFound,
            ("permission-denied", _) | ("", 403) => ErrorKind::PermissionDenied,
            ("generic-file-error", _) => ErrorKind::GenericFileError,
            ("login-required", _) | ("", 401) => ErrorKind::LoginRequired,
            ("no-default-services", _) => ErrorKind::NoDefaultServices,
            ("system-restart", _) => ErrorKind::SystemRestart,
            ("daemon-restart", _) => ErrorKind::DaemonRestart,
            ("", 400) => ErrorKind::BadRequest,
            ("", 504) => ErrorKind::Timeout,
            _ => ErrorKind::Other,
        };
        PebbleError { kind, message: message.into(), status: Some(status), change: None }
    }

    pub(super) fn of_io(error: &io::Error, doing: &str) -> PebbleError {
        let kind = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ErrorKind::Unreachable,
            // a read that met its deadline is WouldBlock on Linux
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ErrorKind::Timeout,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            // it went away while it answered
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => {
                ErrorKind::Unreachable
            }
            _ => ErrorKind::Protocol,
        };
        let message = match kind {
            ErrorKind::Timeout => format!("{doing}: no answer in time"),
            _ => format!("{doing}: {error}"),
        };
        PebbleError::new(kind, message)
    }

    /// The error of a change, if it ended with one: its own words, and the logs of its tasks.
    pub fn of_change(change: &Change) -> Option<PebbleError> {
        let error = change.err.as_deref().filter(|text| !text.is_empty())?;
        let mut message = error.trim_end().to_owned();
        for task in change.tasks.iter().filter(|task| !task.log.is_empty()) {
            message += &format!("\n----- Logs from task {} -----\n{}", task.id, task.log.join("\n"));
        }
        let change = Some(Box::new(change.clone()));
        Some(PebbleError { kind: ErrorKind::ChangeFailed, message, status: None, change })
    }
}

impl fmt::Display for PebbleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for PebbleError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_pebble_s_is_one_of_ours_and_without_one_the_status_decides() {
        for (kind, status, ours) in [
            ("not-found", 200, ErrorKind::NotFound),
            ("permission-denied", 200, ErrorKind::PermissionDenied),
            ("generic-file-error", 200, ErrorKind::GenericFileError),
            ("login-required", 401, ErrorKind::LoginRequired),
            ("no-default-services", 400, ErrorKind::NoDefaultServices),
            ("system-restart", 503, ErrorKind::SystemRestart),
            ("daemon-restart", 503, ErrorKind::DaemonRestart),
            ("", 400, ErrorKind::BadRequest),
            ("", 401, ErrorKind::LoginRequired),
            ("", 403, ErrorKind::PermissionDenied),
            ("", 404, ErrorKind::NotFound),
            ("", 504, ErrorKind::Timeout),
            ("", 500, ErrorKind::Other),
            ("of a newer Pebble", 404, ErrorKind::Other),
        ] {
            let error = PebbleError::answered(status, kind, "why");
            assert_eq!((error.kind, error.status, error.to_string().as_str()), (ours, Some(status), "why"), "{kind}");
        }
    }

    #[test]
    fn what_the_socket_says_tells_a_container_that_is_away_from_one_that_hangs() {
        for (io, ours) in [
            (io::ErrorKind::NotFound, ErrorKind::Unreachable),
            (io::ErrorKind::ConnectionRefused, ErrorKind::Unreachable),
            (io::ErrorKind::UnexpectedEof, ErrorKind::Unreachable),
            (io::ErrorKind::WouldBlock, ErrorKind::Timeout),
            (io::ErrorKind::PermissionDenied, ErrorKind::PermissionDenied),
            (io::ErrorKind::InvalidData, ErrorKind::Protocol),
        ] {
            assert_eq!(PebbleError::of_io(&io.into(), "GET /").kind, ours, "{io:?}");
        }
        let hangs = PebbleError::of_io(&io::ErrorKind::TimedOut.into(), "GET /v1/plan");
        assert_eq!(hangs.to_string(), "GET /v1/plan: no answer in time");
    }
}
