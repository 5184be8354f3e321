//! Statuses, and how the worst of several is found.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kind of a status, least urgent first, so that the greatest of several is the one to show.
///
/// The order is that of ops' collect-status: error, blocked, maintenance, waiting, active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusKind {
    /// Juju's own: nothing was set yet. A charm cannot set it.
    Unknown,
    Active,
    Waiting,
    Maintenance,
    Blocked,
    /// Juju's own: a hook failed. A charm cannot set it.
    Error,
    /// Juju's own: the unit is gone. A charm cannot set it.
    Terminated,
}

impl StatusKind {
    pub fn as_str(self) -> &'static str {
        match self {
            StatusKind::Unknown => "unknown",
            StatusKind::Active => "active",
            StatusKind::Waiting => "waiting",
            StatusKind::Maintenance => "maintenance",
            StatusKind::Blocked => "blocked",
            StatusKind::Error => "error",
            StatusKind::Terminated => "terminated",
        }
    }

    /// Whether `status-set` takes it.
    pub fn settable(self) -> bool {
        matches!(self, StatusKind::Active | StatusKind::Waiting | StatusKind::Maintenance | StatusKind::Blocked)
    }
}

impl fmt::Display for StatusKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StatusKind {
    type Err = String;

    fn from_str(text: &str) -> Result<StatusKind, String> {
        use StatusKind::*;
        [Unknown, Active, Waiting, Maintenance, Blocked, Error, Terminated]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a status"))
    }
}

/// A status of a unit or of an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    #[serde(rename = "status")]
    pub kind: StatusKind,
    #[serde(default)]
    pub message: String,
}

impl Status {
    pub fn active(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Active, message: message.into() }
    }

    pub fn waiting(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Waiting, message: message.into() }
    }

    pub fn maintenance(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Maintenance, message: message.into() }
    }

    pub fn blocked(message: impl Into<String>) -> Status {
        Status { kind: StatusKind::Blocked, message: message.into() }
    }

    /// The most urgent of several statuses; of equally urgent ones the first. `None` of none.
    ///
    /// ```
    /// use juju::Status;
    /// let worst = Status::worst([Status::active("ready"), Status::blocked("relate it"), Status::waiting("for a peer")]);
    /// assert_eq!(worst, Some(Status::blocked("relate it")));
    /// ```
    pub fn worst(statuses: impl IntoIterator<Item = Status>) -> Option<Status> {
        // `max_by_key` would keep the last of equals
        statuses.into_iter().reduce(|worst, next| if next.kind > worst.kind { next } else { worst })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}
