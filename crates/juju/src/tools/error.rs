use std::{fmt, io};

use super::Output;

/// Why a hook tool failed. Juju's exit codes tell little, so the kind is found in the text, as ops does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolErrorKind {
    /// `relation not found`: it is gone, or it never was.
    RelationNotFound,
    /// A secret, one of its revisions or a label that is not there, or not for us to see.
    SecretNotFound,
    StorageNotFound,
    ResourceNotFound,
    /// `no network config found for binding`
    NoSuchBinding,
    /// `permission denied`, `cannot write relation settings`
    PermissionDenied,
    /// `this unit is not the leader`
    NotLeader,
    /// `not running an action`
    NotAnAction,
    /// Flags or arguments that the tool does not take: exit code 2.
    Usage,
    /// The tool could not be run, or its answer makes no sense.
    Unusable,
    /// Anything else.
    Failed,
}

/// A hook tool that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolError {
    pub kind: ToolErrorKind,
    /// The tool's name and arguments, without values that may be secret.
    pub call: String,
    /// The exit code; -1 where the tool could not be run.
    pub code: i32,
    /// What it wrote to stderr, without `ERROR ` and line end.
    pub message: String,
}

impl ToolError {
    /// The error of a tool that ended with a code other than 0.
    pub fn of_output(tool: &str, call: String, output: &Output) -> ToolError {
        let message = output.stderr.trim();
        let message = message.strip_prefix("ERROR ").unwrap_or(message);
        let message = if message.is_empty() { format!("exit code {}", output.code) } else { message.to_owned() };
        ToolError { kind: kind(tool, output.code, &message), call, code: output.code, message }
    }

    pub(crate) fn not_run(call: String, error: &io::Error) -> ToolError {
        let message = if error.kind() == io::ErrorKind::NotFound {
            "there is no such hook tool: a charm is started by Juju".to_owned()
        } else {
            error.to_string()
        };
        ToolError { kind: ToolErrorKind::Unusable, call, code: -1, message }
    }

    pub(crate) fn bad_answer(call: String, why: impl fmt::Display) -> ToolError {
        ToolError {
            kind: ToolErrorKind::Unusable,
            call,
            code: 0,
            message: format!("answered what makes no sense: {why}"),
        }
    }

    /// A relation that went away or is closed to us: to be passed over with a warning, not worth a failed hook.
    pub fn relation_is_gone(&self) -> bool {
        matches!(self.kind, ToolErrorKind::RelationNotFound | ToolErrorKind::PermissionDenied)
    }
}

fn kind(tool: &str, code: i32, message: &str) -> ToolErrorKind {
    let has = |part: &str| message.contains(part);
    if has("relation not found") {
        ToolErrorKind::RelationNotFound
    } else if has("not running an action") {
        ToolErrorKind::NotAnAction
    } else if has("not the leader") {
        ToolErrorKind::NotLeader
    } else if has("permission denied") || has("cannot write relation settings") {
        ToolErrorKind::PermissionDenied
    } else if has("no network config found for binding") {
        ToolErrorKind::NoSuchBinding
    } else if has("not found") && tool.starts_with("secret-") {
        ToolErrorKind::SecretNotFound
    } else if has("not found") && tool.starts_with("storage-") {
        ToolErrorKind::StorageNotFound
    } else if has("not found") && tool == "resource-get" {
        ToolErrorKind::ResourceNotFound
    } else if code == 2 {
        ToolErrorKind::Usage
    } else {
        ToolErrorKind::Failed
    }
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.message)
    }
}

impl std::error::Error for ToolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_found_in_what_juju_says() {
        use ToolErrorKind::*;
        for (tool, code, stderr, expected) in [
            ("relation-get", 2, "invalid value \"x:9\" for option -r: relation not found", RelationNotFound),
            ("relation-get", 1, "permission denied", PermissionDenied),
            ("relation-set", 1, "cannot write relation settings", PermissionDenied),
            (
                "credential-get",
                1,
                "cannot access cloud credentials: getting model credentials: permission denied",
                PermissionDenied,
            ),
            ("status-set", 1, "this unit is not the leader", NotLeader),
            ("status-get", 1, "finding application status: this unit is not the leader", NotLeader),
            ("secret-get", 1, "secret \"9m4e2mr0ui3e8a215n4g\" not found", SecretNotFound),
            ("secret-get", 1, "consumer label \"x\" not found", SecretNotFound),
            ("storage-get", 2, "invalid value \"a/1\" for option -s: storage not found", StorageNotFound),
            ("resource-get", 1, "could not download resource: resource \"a/b\" not found", ResourceNotFound),
            ("network-get", 1, "no network config found for binding \"x\"", NoSuchBinding),
            ("action-set", 1, "not running an action", NotAnAction),
            ("status-set", 2, "invalid status \"fine\"", Usage),
            ("relation-ids", 1, "connection is shut down", Failed),
        ] {
            let output = Output { code, stdout: String::new(), stderr: format!("ERROR {stderr}\n") };
            let error = ToolError::of_output(tool, tool.to_owned(), &output);
            assert_eq!((error.kind, error.message.as_str()), (expected, stderr));
        }
    }
}
