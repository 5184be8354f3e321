//! `dispatch`: the program that Juju runs for every event of the charm.

mod charm;

use std::process::ExitCode;

fn main() -> ExitCode {
    juju::run(|name| std::env::var(name).ok(), charm::charm)
}
