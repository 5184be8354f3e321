use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Juju;
use crate::tools::ToolError;

/// What one process argument may hold is 128 KiB on Linux.
const ARGUMENT_MAX: usize = 100 * 1024;

/// A text for people as one argument of a process: cut where it would be too long, and without NUL, where an argument ends.
pub(super) fn argument(text: &str) -> Cow<'_, str> {
    let text = &text[..text.floor_char_boundary(ARGUMENT_MAX)];
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

impl Juju<'_> {
    /// The parameters of the action that runs, defaults included.
    pub fn action_params(&self) -> Result<BTreeMap<String, Value>, ToolError> {
        let params: Option<BTreeMap<String, Value>> = self.read_as("action-get", &[])?;
        Ok(params.unwrap_or_default())
    }

    /// Sets results of the action. Keys are lower-case letters, digits and hyphens; a dot makes a level below.
    pub fn action_set(&self, results: &BTreeMap<String, String>) -> Result<(), ToolError> {
        if results.is_empty() {
            return Ok(());
        }
        let pairs: Vec<String> = results.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut args = vec!["--"];
        args.extend(pairs.iter().map(String::as_str));
        self.run_named("action-set", &args, None, || "action-set".to_owned()).map(drop)
    }

    /// Lets the action fail, with a reason. The hook may end well all the same.
    pub fn action_fail(&self, why: &str) -> Result<(), ToolError> {
        self.run("action-fail", &["--", &argument(why)], None).map(drop)
    }

    /// Tells whoever runs the action how it goes.
    pub fn action_log(&self, message: &str) -> Result<(), ToolError> {
        self.run("action-log", &["--", &argument(message)], None).map(drop)
    }

    /// Writes to Juju's log, in as many messages as it takes. Prefer `tracing`, which gathers lines: see [`crate::log`].
    pub fn log(&self, level: tracing::Level, message: &str) -> Result<(), ToolError> {
        let level = match level {
            tracing::Level::ERROR => "ERROR",
            tracing::Level::WARN => "WARNING",
            tracing::Level::INFO => "INFO",
            tracing::Level::DEBUG => "DEBUG",
            tracing::Level::TRACE => "TRACE",
        };
        let mut rest = message;
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.floor_char_boundary(ARGUMENT_MAX));
            let part = argument(part);
            self.run_named("juju-log", &["--log-level", level, "--", &part], None, || "juju-log".to_owned())?;
            rest = after;
        }
        Ok(())
    }
}
