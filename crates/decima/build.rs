//! Names the commit in `--version`; a build outside a repository leaves it empty.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DECIMA_COMMIT");
    let commit = std::env::var("DECIMA_COMMIT").ok().or_else(head).unwrap_or_default();
    println!("cargo::rustc-env=DECIMA_COMMIT={commit}");
}

fn head() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
