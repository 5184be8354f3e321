//! Runs hook tools from a list, as a charm would, and writes down their answers:
//!
//!     hook_tools CALLS.json ANSWERS.json EXIT_CODE
//!
//! `CALLS.json` is a list of `[tool, [argument, …], standard input or null]`, `ANSWERS.json` one of
//! `[exit code, standard output, standard error]`. The exit code decides what becomes of the writes.

use std::error::Error;
use std::process::ExitCode;

use juju::HookTools;
use juju::tools::SpawnedTools;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(calls), Some(answers), Some(code)) = (args.next(), args.next(), args.next()) else {
        return Err("usage: hook_tools CALLS.json ANSWERS.json EXIT_CODE".into());
    };
    let calls: Vec<(String, Vec<String>, Option<String>)> = serde_json::from_slice(&std::fs::read(calls)?)?;
    let mut told = Vec::with_capacity(calls.len());
    for (tool, args, stdin) in calls {
        let output = SpawnedTools.call(&tool, &args, stdin.as_deref())?;
        told.push((output.code, output.stdout, output.stderr));
    }
    std::fs::write(answers, serde_json::to_vec(&told)?)?;
    Ok(ExitCode::from(code.parse::<u8>()?))
}
