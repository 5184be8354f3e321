//! What is asked of Pebble and what it answers, in its own terms. Times are RFC 3339 texts, as Pebble writes them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json::Json;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SystemInfo {
    pub version: String,
    /// New with each start of the machine.
    #[serde(default)]
    pub boot_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Startup {
    Enabled,
    Disabled,
    /// Newer than this client.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceStatus {
    Active,
    Inactive,
    /// It ended too soon and will be started again.
    Backoff,
    Error,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceInfo {
    pub name: String,
    pub startup: Startup,
    pub current: ServiceStatus,
    /// Absent for a service that was never started.
    pub current_since: Option<String>,
}

impl ServiceInfo {
    /// Running, or about to be started again.
    pub fn is_running(&self) -> bool {
        self.current == ServiceStatus::Active
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAction {
    Start,
    Stop,
    Restart,
    /// Starts all enabled services.
    Autostart,
    /// Stops services whose configuration changed or went, starts those again and all enabled ones.
    Replan,
}

/// A change's ID: lower-case letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(pub(super) String);

impl ChangeId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for ChangeId {
    type Err = super::PebbleError;

    /// # Errors
    /// It is no ID: [`ErrorKind::BadRequest`](super::ErrorKind::BadRequest).
    fn from_str(text: &str) -> Result<ChangeId, super::PebbleError> {
        Ok(ChangeId(super::client::check_id(text)?.to_owned()))
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangesSelect {
    All,
    /// Pebble's default.
    #[default]
    InProgress,
    Ready,
}

/// Something that Pebble does over a time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    pub id: ChangeId,
    /// `start`, `stop`, `replan`, `exec`, `perform-check` …
    pub kind: String,
    pub summary: String,
    /// `Do`, `Doing`, `Done`, `Error`, `Abort`, `Undo`, `Hold`, `Wait` …
    pub status: String,
    /// It will not go on by itself.
    pub ready: bool,
    pub err: Option<String>,
    #[serde(default)]
    pub tasks: Vec<Task>,
    pub spawn_time: String,
    pub ready_time: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Task {
    pub id: String,
    pub kind: String,
    pub summary: String,
    pub status: String,
    #[serde(default)]
    pub log: Vec<String>,
    #[serde(default)]
    pub data: BTreeMap<String, Json>,
}

/// Who owns what is made: an ID or a name each, both only if they match. Nothing: whom Pebble runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Owner {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteFile {
    pub make_dirs: bool,
    /// Nine bits; of directories that are made it is 0755 always.
    pub permissions: u32,
    pub owner: Owner,
}

impl Default for WriteFile {
    fn default() -> WriteFile {
        WriteFile { make_dirs: false, permissions: 0o644, owner: Owner::default() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakeDir {
    /// Makes what is missing above it; that it is there already is then no error.
    pub make_parents: bool,
    pub permissions: u32,
    pub owner: Owner,
}

impl Default for MakeDir {
    fn default() -> MakeDir {
        MakeDir { make_parents: false, permissions: 0o755, owner: Owner::default() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileType {
    File,
    Directory,
    Symlink,
    Socket,
    NamedPipe,
    Device,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileInfo {
    pub path: String,
    pub name: String,
    #[serde(rename = "type")]
    pub file_type: FileType,
    /// In bytes; of regular files only.
    pub size: Option<u64>,
    /// Octal digits, such as `644`.
    pub permissions: String,
    /// To the second.
    pub last_modified: String,
    pub user_id: Option<u32>,
    #[serde(default)]
    pub user: String,
    pub group_id: Option<u32>,
    #[serde(default)]
    pub group: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckLevel {
    Alive,
    Ready,
    #[serde(other)]
    Unknown,
}

impl CheckLevel {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            CheckLevel::Alive => "alive",
            CheckLevel::Ready => "ready",
            CheckLevel::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    Up,
    /// It failed as often as its threshold says.
    Down,
    Inactive,
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckAction {
    Start,
    Stop,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckInfo {
    pub name: String,
    pub level: Option<CheckLevel>,
    pub startup: Startup,
    pub status: CheckStatus,
    #[serde(default)]
    pub successes: Option<u64>,
    /// In a row.
    #[serde(default)]
    pub failures: u64,
    #[serde(default)]
    pub threshold: u64,
    pub change_id: Option<ChangeId>,
    pub prev_change_id: Option<ChangeId>,
}

/// What came of a check that was run by [`Pebble::refresh_check`](super::Pebble::refresh_check).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CheckRefresh {
    pub info: CheckInfo,
    /// Empty if it went well.
    #[serde(default)]
    pub error: String,
}

/// Which notices; nothing set: all of this user's and public ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoticesSelect {
    /// Those of all users; for admins.
    pub all_users: bool,
    pub user_id: Option<u32>,
    /// `custom`, `change-update`, `warning`
    pub types: Vec<String>,
    pub keys: Vec<String>,
    /// Those that were last repeated after this time.
    pub after: Option<String>,
    /// Waits that long for one, if there is none.
    pub wait: Option<std::time::Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    pub id: String,
    /// Whose it is; `None`: public.
    pub user_id: Option<u32>,
    #[serde(rename = "type")]
    pub notice_type: String,
    pub key: String,
    pub first_occurred: String,
    pub last_occurred: String,
    pub last_repeated: String,
    pub occurrences: u64,
    #[serde(default)]
    pub last_data: BTreeMap<String, String>,
    /// As Go writes durations: `1h30m0s`.
    pub repeat_after: Option<String>,
    pub expire_after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LogEntry {
    pub time: String,
    pub service: String,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityAction {
    Add,
    Update,
    /// Adds or updates; removes where the identity is `None`.
    Replace,
    Remove,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    Admin,
    Read,
    Metrics,
    Untrusted,
    #[serde(other)]
    Unknown,
}

/// How one proves to be somebody: at least one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub access: Access,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalIdentity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicIdentity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<CertIdentity>,
}

/// Whose user ID is at the other end of the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LocalIdentity {
    pub user_id: u32,
}

/// Pebble answers `*****` for the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BasicIdentity {
    /// Hashed with sha512-crypt.
    pub password: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertIdentity {
    pub pem: String,
}
