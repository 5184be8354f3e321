//! The client of Pebble, the service manager in each workload container: plain HTTP over its Unix socket.
//!
//! [`Pebble`] is what a charm talks to. [`Client`] is the real one: a connection per request, bounded answers, and a deadline for
//! each call, so that a container that hangs costs a hook seconds and not its life. What Pebble does takes effect at once; nothing
//! here is undone when the hook fails.
//!
//! Map: [`types`] what is asked and answered · [`error`] what goes wrong · `client` each call · `exec` commands and their streams ·
//! `http`, `websocket`, `multipart` the wire, as far as Pebble needs it · `memory` a Pebble for tests.

mod client;
mod error;
mod exec;
mod http;
mod memory;
mod multipart;
mod types;
mod websocket;

use std::time::Duration;

pub use client::Client;
pub use error::{ErrorKind, PebbleError};
pub use exec::{Exec, ExecOutput, Running, Signaller};
pub use memory::{Ended, MemoryPebble, Run};
pub use types::*;

use crate::json::Json;

pub type Result<T> = std::result::Result<T, PebbleError>;

/// How long a call may take, other than those that wait for something: as in ops.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long [`Pebble::do_services`] waits for a change: as in ops.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// A Pebble: the real one, or one in memory.
///
/// Paths are absolute. Every call may fail with [`ErrorKind::Unreachable`] while the container is not up.
pub trait Pebble {
    /// Answers as soon as the container is up: ops calls that `can_connect`.
    fn system_info(&self) -> Result<SystemInfo>;

    /// The combination of all layers, `{}` when there is none.
    fn plan(&self) -> Result<Json>;

    /// Adds a layer, or combines it with the one of the same label. Each service, check and log target in it must say
    /// `override: merge` or `replace`. Takes effect with the next start or replan; log targets at once.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`]: the layer makes no sense, or the label is taken and `combine` is false.
    fn add_layer(&self, label: &str, layer: &Json, combine: bool) -> Result<()>;

    /// The services of these names, or all; sorted by name. Names that nobody knows are left out.
    fn services(&self, names: &[&str]) -> Result<Vec<ServiceInfo>>;

    /// Asks for a change and returns at once. `Autostart` and `Replan` take no names.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`] for a name that nobody knows; [`ErrorKind::NoDefaultServices`].
    fn change_services(&self, action: ServiceAction, names: &[&str]) -> Result<ChangeId>;

    /// Changes in the order in which they began; those of one service, if named. Pebble forgets old ones.
    fn changes(&self, select: ChangesSelect, service: Option<&str>) -> Result<Vec<Change>>;

    fn change(&self, id: &ChangeId) -> Result<Change>;

    /// Waits until a change is ready, whether it went well or not.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`]: it goes on without us.
    fn wait_change(&self, id: &ChangeId, timeout: Duration) -> Result<Change>;

    /// Asks that a change stops where it is.
    fn abort_change(&self, id: &ChangeId) -> Result<Change>;

    /// What is in a directory, sorted by name; or only the entry of `path` itself, if it is no directory or `itself` is set.
    /// `pattern` is a glob for names.
    fn list_files(&self, path: &str, pattern: Option<&str>, itself: bool) -> Result<Vec<FileInfo>>;

    /// The content of a regular file.
    fn read_file(&self, path: &str) -> Result<Vec<u8>>;

    /// Writes a file, whole or not at all.
    fn write_file(&self, path: &str, content: &[u8], options: &WriteFile) -> Result<()>;

    fn make_dir(&self, path: &str, options: &MakeDir) -> Result<()>;

    /// Removes a file or an empty directory; with `recursive` whatever is there, and nothing being there is no error.
    fn remove_path(&self, path: &str, recursive: bool) -> Result<()>;

    /// Runs a command to its end. An exit code other than 0 is no error.
    ///
    /// # Errors
    /// [`ErrorKind::BadRequest`]: there is no such program; [`ErrorKind::ChangeFailed`]: among others, it was ended by its timeout;
    /// [`ErrorKind::Timeout`]: something that it left behind holds its output open.
    fn exec(&self, command: &Exec) -> Result<ExecOutput>;

    /// Checks of these names, or all; with `level` only those of that level.
    fn checks(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<Vec<CheckInfo>>;

    /// Starts or stops checks; returns the names of those for which that changed something.
    fn change_checks(&self, action: CheckAction, names: &[&str]) -> Result<Vec<String>>;

    /// Runs a check now.
    fn refresh_check(&self, name: &str) -> Result<CheckRefresh>;

    /// Whether no check (of that level, of these names) is down. `Ready` includes `Alive`.
    fn health(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<bool>;

    fn notices(&self, select: &NoticesSelect) -> Result<Vec<Notice>>;

    fn notice(&self, id: &str) -> Result<Notice>;

    /// Records a custom notice, `example.com/path` by its key; returns its ID. Wakes the charm, unless it was recorded less
    /// than `repeat_after` ago.
    fn notify(&self, key: &str, data: &[(&str, &str)], repeat_after: Option<Duration>) -> Result<String>;

    /// The last `count` lines of what services wrote, of these services or all; Pebble's default is 30.
    fn logs(&self, services: &[&str], count: Option<u32>) -> Result<Vec<LogEntry>>;

    /// Who may talk to Pebble, by name.
    fn identities(&self) -> Result<std::collections::BTreeMap<String, Identity>>;

    /// For [`IdentityAction::Remove`] and to remove by [`IdentityAction::Replace`], the identity is `None`.
    fn change_identities(&self, action: IdentityAction, identities: &[(&str, Option<&Identity>)]) -> Result<()>;

    /// Sends a signal, such as `SIGHUP`, to running services.
    fn send_signal(&self, signal: &str, services: &[&str]) -> Result<()>;

    /// Whether the container is up. Only that it is not there, or not yet, is `false`.
    ///
    /// # Errors
    /// Anything else: it is there and does not answer as Pebble does.
    fn is_up(&self) -> Result<bool> {
        match self.system_info() {
            Ok(_) => Ok(true),
            Err(error) if error.kind == ErrorKind::Unreachable => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks for a change of services and waits until it is done, up to [`CHANGE_TIMEOUT`]. A start takes at least a second:
    /// that long a service must stay up.
    ///
    /// # Errors
    /// [`ErrorKind::ChangeFailed`], with what the tasks logged.
    fn do_services(&self, action: ServiceAction, names: &[&str]) -> Result<Change> {
        let id = self.change_services(action, names)?;
        let change = self.wait_change(&id, CHANGE_TIMEOUT)?;
        match PebbleError::of_change(&change) {
            Some(error) => Err(error),
            None => Ok(change),
        }
    }

    /// [`Pebble::read_file`], with `None` where there is no such file.
    fn read_file_if_there(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.read_file(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
