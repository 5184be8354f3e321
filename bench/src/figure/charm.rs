//! An idle dispatch of the packed charm in a simulated unit with a real Pebble, beside a dispatch that only spawns the same hook tools.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::measure::{Bar, line, median, medians, milliseconds};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What of the charm's hooks is timed. The first one may still have something to do.
const IDLE: &str = "hooks/update-status";

pub fn run() {
    println!("charm: an idle dispatch in a simulated unit, wall time");
    if let Err(missing) = take() {
        println!("  not taken: {missing}");
    }
}

fn take() -> Result<(), String> {
    let charm = there("target/charm/parca-k8s_amd64.charm", "scripts/charm")?;
    let peer = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("hook-tools-only");
    let unit = Unit {
        python: there("target/python/bin/python", "scripts/need python")?,
        client: there("target/jujusim/client", "scripts/need jujusim")?,
        pebble: there("target/pebble/pebble", "scripts/need pebble")?,
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;

    let said = folder.path().join("said");
    unit.run(&charm, Some(&said))?;
    let calls = calls_of_last(&said.join("dispatches"))?;

    // the same charm, but for its program
    let only = folder.path().join("hook-tools-only");
    unit.python(&["-m", "zipfile", "-e", text(&charm), text(&only)])?;
    let copied = fs::copy(&peer, only.join("dispatch")).and_then(|_| fs::write(only.join("calls"), &calls));
    copied.map_err(|error| format!("{}: {error}", peer.display()))?;

    // fails on the first round, if at all
    unit.run(&only, None)?;
    let idle = |charm: &Path| median(unit.run(charm, None).expect("it ran before"));
    let [ours, spawned] = medians([&mut || idle(&charm), &mut || idle(&only)]);
    line("hook tools that it calls", calls.lines().count() as f64, "", Bar::AtMost(24.0));
    line("a dispatch that only spawns them", milliseconds(spawned), "ms", Bar::None);
    line("the charm's dispatch", milliseconds(ours), "ms", Bar::None);
    line("the charm's / only spawned", ours.as_secs_f64() / spawned.as_secs_f64(), "x", Bar::AtMost(2.0));
    Ok(())
}

/// The simulator, and what it needs.
struct Unit {
    python: PathBuf,
    client: PathBuf,
    pebble: PathBuf,
}

impl Unit {
    /// Plays `bench/idle.yaml` on a charm: the time of each idle dispatch. What they said is left in `said`.
    fn run(&self, charm: &Path, said: Option<&Path>) -> Result<Vec<Duration>, String> {
        let (simulator, scenario) = (project("tests/jujusim/jujusim"), project("bench/idle.yaml"));
        let mut arguments = vec!["-B", text(&simulator), "run", "--charm", text(charm), "--pebble", text(&self.pebble)];
        arguments.extend(["--scenario", text(&scenario), "--out", "/dev/null"]);
        arguments.extend(said.iter().flat_map(|folder| ["--keep-logs", text(folder)]));
        let output = self.python(&arguments)?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let times = told.lines().filter_map(|line| line.strip_prefix(IDLE)?.trim().strip_suffix(" s")?.parse().ok());
        let times: Vec<Duration> = times.skip(1).map(Duration::from_secs_f64).collect();
        if times.is_empty() { Err(format!("no dispatch was timed: {told}")) } else { Ok(times) }
    }

    fn python(&self, arguments: &[&str]) -> Result<Output, String> {
        let mut command = Command::new(&self.python);
        command.args(arguments).env("JUJUSIM_CLIENT", &self.client).env("JUJUSIM_TIMES", "1");
        let output = command.output().map_err(|error| format!("{}: {error}", self.python.display()))?;
        if output.status.success() { Ok(output) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }
}

/// The calls of the last dispatch, as the simulator wrote them down.
fn calls_of_last(dispatches: &Path) -> Result<String, String> {
    let entries = fs::read_dir(dispatches).map_err(|error| error.to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let last = files.filter(|file| file.extension().is_some_and(|extension| extension == "calls")).max();
    fs::read_to_string(last.ok_or("the simulator kept no calls")?).map_err(|error| error.to_string())
}

fn project(path: &str) -> PathBuf {
    Path::new(PROJECT).join(path)
}

fn there(path: &str, made_by: &str) -> Result<PathBuf, String> {
    let path = project(path);
    if path.exists() { Ok(path) } else { Err(format!("{} is not there: {made_by}", path.display())) }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
