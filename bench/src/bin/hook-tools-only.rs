//! A charm's `dispatch` that spawns hook tools, one after the other, and does nothing else: the peer of the figure `charm`.
//!
//! The tools are named in the file `calls` beside it, a call a line, its words between tabs.

use std::process::{Command, ExitCode, Stdio};

fn main() -> ExitCode {
    let calls = std::fs::read_to_string("calls").expect("the file `calls` in the charm's folder");
    let done = calls.lines().all(|call| {
        let mut words = call.split('\t');
        let mut tool = Command::new(words.next().unwrap_or_default());
        tool.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = tool.spawn().and_then(std::process::Child::wait_with_output);
        output.is_ok_and(|output| output.status.success())
    });
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
