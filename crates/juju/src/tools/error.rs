use std::fmt;

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
    /// Flags or arguments that the tool does not take: exit code 2, or a value that Juju refuses.
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
    /// The tool's name, with its first arguments where they tell what was asked.
    pub call: String,
    /// The exit code; -1 where the tool could not be run.
    pub code: i32,
    /// What it wrote to stderr, without `ERROR ` and line end.
    pub message: String,
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.call, self.message)
    }
}

impl std::error::Error for ToolError {}
