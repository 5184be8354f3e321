use std::io::{self, Write};
use std::process::{Command, Stdio};

use super::{HookTools, Output};

/// What is written to a new pipe without anybody reading; Linux has 64 KiB.
const PIPE_HOLDS: usize = 32 * 1024;

/// The hook tools that Juju puts on the PATH of a dispatch, each run as a process with this process's environment.
///
/// A tool has no time limit: it waits for the controller, and Juju itself waits for the hook.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpawnedTools;

impl HookTools for SpawnedTools {
    fn call(&self, tool: &str, args: &[String], stdin: Option<&str>) -> io::Result<Output> {
        let mut command = Command::new(tool);
        // no input is a pipe that ends at once: `Stdio::null` wants a /dev/null
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pipe = child.stdin.take();
        let done = std::thread::scope(|scope| {
            if let (Some(text), Some(mut pipe)) = (stdin, pipe) {
                // A tool that ends without reading, because it refuses its flags, breaks the pipe; its exit code tells.
                let mut write = move || drop(pipe.write_all(text.as_bytes()));
                if text.len() <= PIPE_HOLDS {
                    write();
                } else {
                    scope.spawn(write);
                }
            }
            child.wait_with_output()
        })?;
        Ok(Output {
            // killed by a signal: no code, and nothing to believe
            code: done.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&done.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_a_process_with_its_code_and_both_its_streams() {
        let script = "cat; echo \"ERROR no\" >&2; exit 2".to_owned();
        let long = "x".repeat(1 << 20);
        let output = SpawnedTools.call("sh", &["-c".to_owned(), script], Some(&long)).unwrap();
        assert_eq!((output.code, output.stdout.len(), output.stderr.as_str()), (2, 1 << 20, "ERROR no\n"));
    }

    #[test]
    fn a_tool_that_does_not_read_its_input_still_answers() {
        let long = "x".repeat(1 << 20);
        let output = SpawnedTools.call("sh", &["-c".to_owned(), "exec true".to_owned()], Some(&long)).unwrap();
        assert_eq!(output, Output::default());
    }

    #[test]
    fn a_tool_without_input_meets_its_end_at_once() {
        assert_eq!(SpawnedTools.call("cat", &[], None).unwrap(), Output::default());
    }

    #[test]
    fn a_tool_that_is_not_there_is_an_error() {
        let error = SpawnedTools.call("no-such-hook-tool", &[], None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
