//! Hook tools: the programs by which a charm asks and tells its unit agent.
//!
//! [`HookTools`] is the door: arguments in, exit code and text out, as of a process.

mod error;
mod spawned;

use std::io;

pub use error::{ToolError, ToolErrorKind};
pub use spawned::SpawnedTools;

/// What a hook tool answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// 0 for success; 2 for wrong flags and arguments, 1 for what failed while running.
    pub code: i32,
    pub stdout: String,
    /// `ERROR …` and a line end where `code` is not 0.
    pub stderr: String,
}

/// Who runs hook tools: the real ones, spawned, or the in-memory backend.
pub trait HookTools {
    /// Runs `tool` with `args`. `stdin` is what `--file -` reads.
    ///
    /// # Errors
    /// Only if the tool could not be run at all. What a tool refuses is an [`Output`] with its exit code.
    fn call(&self, tool: &str, args: &[String], stdin: Option<&str>) -> io::Result<Output>;
}
