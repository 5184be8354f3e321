//! Checks: they run when they are refreshed. By themselves they would run once in their period, which here never ends.

use std::collections::BTreeMap;

use super::changes::TaskAt;
use super::go::{self, quote};
use super::schema::Fields;
use super::{Ended, Programs, Twin};
use crate::pebble::types::{CheckAction, CheckInfo, CheckLevel, CheckRefresh, CheckStatus, Startup};
use crate::pebble::{Exec, PebbleError, Result};

#[derive(Clone, Debug)]
pub(super) struct Check {
    level: Option<CheckLevel>,
    enabled: bool,
    status: CheckStatus,
    successes: u64,
    failures: u64,
    threshold: u64,
    /// The change in which it runs; `None`: it does not.
    running: Option<Running>,
    previous: Option<usize>,
}

#[derive(Clone, Debug)]
struct Running {
    change: usize,
    config: Fields,
    /// It was down and is looked at until it is up again.
    recovering: bool,
    /// As the change's own task counts them.
    successes: u64,
    failures: u64,
}

/// When the task of a new change begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    AtOnce,
    WithTheNext,
}

/// The lines of output that an error has.
const LAST_LINES: usize = 5;

fn is_enabled(config: &Fields) -> bool {
    config.text("startup") != "disabled"
}

fn kind(config: &Fields) -> &'static str {
    let kinds = [("http", "HTTP"), ("tcp", "TCP"), ("exec", "exec")];
    kinds.into_iter().find(|(field, _)| config.nested(field).is_some()).map_or("<unknown>", |(_, told)| told)
}

fn threshold(config: &Fields) -> u64 {
    config.number("threshold").and_then(|threshold| u64::try_from(threshold).ok()).unwrap_or(0)
}

impl Twin {
    /// A check's settings with those of the service that it names.
    fn with_context(&self, config: &Fields) -> Fields {
        let context = config.nested("exec").map(|exec| exec.text("service-context")).unwrap_or_default();
        let Some(service) = self.plan.services.get(context) else { return config.clone() };
        let mut config = config.clone();
        if let Some(exec) = config.nested_mut("exec") {
            super::take_context(exec, service);
        }
        config
    }

    /// Makes the change in which a check runs.
    fn run_check(
        &mut self,
        name: &str,
        config: Fields,
        recovering: bool,
        counts: (u64, u64),
        begin: Begin,
    ) -> Result<Running> {
        let (word, change_kind) = if recovering { ("Recover", "recover-check") } else { ("Perform", "perform-check") };
        let summary = format!("{word} {} check {}", kind(&config), quote(name));
        let data = BTreeMap::from([("check-name".to_owned(), name.to_owned())]);
        let change = self.begin(change_kind, summary.clone(), &[(change_kind, summary)], None, data)?;
        let at = TaskAt { change, task: 0 };
        match begin {
            Begin::AtOnce => self.set_status(at, "Doing"),
            Begin::WithTheNext => self.pending.push(at),
        }
        let (successes, failures) = counts;
        Ok(Running { change, config, recovering, successes, failures })
    }

    /// What is known of a check from now on. It is not running, or it is in this change.
    fn set_check(
        &mut self,
        name: &str,
        config: &Fields,
        running: Option<Running>,
        previous: Option<usize>,
        (successes, failures): (u64, u64),
    ) {
        let threshold = threshold(config);
        let level = match config.text("level") {
            "alive" => Some(CheckLevel::Alive),
            "ready" => Some(CheckLevel::Ready),
            _ => None,
        };
        let status = match &running {
            None => CheckStatus::Inactive,
            Some(_) if failures >= threshold => CheckStatus::Down,
            Some(_) => CheckStatus::Up,
        };
        let enabled = is_enabled(config);
        let check = Check { level, enabled, status, successes, failures, threshold, running, previous };
        self.checks.insert(name.to_owned(), check);
    }

    /// Starts a check anew.
    fn begin_check(&mut self, name: &str, config: &Fields, with_context: bool, begin: Begin) -> Result<()> {
        let used = if with_context { self.with_context(config) } else { config.clone() };
        let running = self.run_check(name, used, false, (0, 0), begin)?;
        self.set_check(name, config, Some(running), None, (0, 0));
        Ok(())
    }

    fn end_check(&mut self, running: &Running) {
        self.end_task(TaskAt { change: running.change, task: 0 });
    }

    /// Ends a task of a check. What was not begun never is.
    pub(super) fn end_task(&mut self, at: TaskAt) {
        if self.is_pending(at) {
            self.pending.retain(|pending| *pending != at);
            self.set_status(at, "Hold");
            self.begin_pending();
            return;
        }
        for status in ["Abort", "Done"] {
            self.set_status(at, status);
        }
    }

    pub(super) fn is_pending(&self, at: TaskAt) -> bool {
        self.pending.contains(&at)
    }

    /// Whether it is to run, and its task has not begun.
    pub(super) fn is_check_pending(&self, name: &str) -> bool {
        let running = self.checks.get(name).and_then(|check| check.running.as_ref());
        running.is_some_and(|running| self.is_pending(TaskAt { change: running.change, task: 0 }))
    }

    pub(super) fn begin_pending(&mut self) {
        for at in std::mem::take(&mut self.pending) {
            self.set_status(at, "Doing");
        }
    }

    /// The plan is another one: checks that it changed run anew, and so do those that did not run, even if they were stopped.
    pub(super) fn plan_changed(&mut self) -> Result<()> {
        let plan = self.plan.checks.clone();
        for (name, config) in &plan {
            let running = self.checks.get(name).and_then(|check| check.running.clone());
            match running {
                Some(running) => {
                    let same = self.with_context(config) == running.config;
                    // one that shall not start by itself any more goes on as it was
                    let left_alone = !is_enabled(config) && is_enabled(&running.config);
                    if !same && !left_alone {
                        self.end_check(&running);
                        self.begin_check(name, config, true, Begin::AtOnce)?;
                    }
                }
                None if is_enabled(config) => self.begin_check(name, config, true, Begin::AtOnce)?,
                None => self.set_check(name, config, None, None, (0, 0)),
            }
        }
        Ok(())
    }

    /// Starts enabled checks that do not run. Pebble begins them with the next change that has tasks: the one of this replan, if
    /// a service has to start or stop.
    pub(super) fn replan_checks(&mut self) -> Result<()> {
        let plan = self.plan.checks.clone();
        for (name, config) in &plan {
            if is_enabled(config) && self.checks.get(name).is_some_and(|check| check.running.is_none()) {
                self.begin_check(name, config, false, Begin::WithTheNext)?;
            }
        }
        Ok(())
    }

    pub(super) fn change_checks(&mut self, action: CheckAction, names: &[&str]) -> Result<Vec<String>> {
        let verb = match action {
            CheckAction::Start => "start",
            CheckAction::Stop => "stop",
        };
        let refused = |message: String| Err(PebbleError::answered(400, "", message));
        if names.is_empty() {
            return refused(format!("must specify checks for {verb} action"));
        }
        let mut missing: Vec<&str> =
            names.iter().copied().filter(|name| !self.plan.checks.contains_key(*name)).collect();
        if !missing.is_empty() {
            missing.sort_unstable();
            return refused(format!("cannot {verb} checks: cannot find checks in plan: {}", missing.join(", ")));
        }
        let mut changed = Vec::new();
        for &name in names {
            let (Some(config), Some(check)) = (self.plan.checks.get(name).cloned(), self.checks.get(name).cloned())
            else {
                continue;
            };
            match (action, check.running) {
                (CheckAction::Start, None) => self.begin_check(name, &config, false, Begin::AtOnce)?,
                (CheckAction::Stop, Some(running)) => {
                    self.end_check(&running);
                    self.set_check(name, &config, None, check.previous, (check.successes, check.failures));
                }
                _ => continue,
            }
            changed.push(name.to_owned());
        }
        self.begin_pending();
        changed.sort();
        Ok(changed)
    }

    pub(super) fn checks(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<Vec<CheckInfo>> {
        if level == Some(CheckLevel::Unknown) {
            return Err(PebbleError::answered(400, "", "level must be \"alive\" or \"ready\""));
        }
        let wanted = go::comma_separated(names);
        let known = self.checks.iter();
        Ok(known
            .filter(|(name, check)| {
                (level.is_none() || check.level == level) && (wanted.is_empty() || wanted.contains(name))
            })
            .map(|(name, check)| self.info(name, check))
            .collect())
    }

    fn info(&self, name: &str, check: &Check) -> CheckInfo {
        CheckInfo {
            name: name.to_owned(),
            level: check.level,
            startup: if check.enabled { Startup::Enabled } else { Startup::Disabled },
            status: check.status,
            successes: Some(check.successes),
            failures: check.failures,
            threshold: check.threshold,
            change_id: check.running.as_ref().map(|running| self.changes.id(running.change)),
            prev_change_id: check.previous.map(|change| self.changes.id(change)),
        }
    }

    pub(super) fn health(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<bool> {
        // `ready` includes `alive`
        let wide = self.checks(level.filter(|level| *level != CheckLevel::Ready), names)?;
        let counts = |check: &&CheckInfo| level != Some(CheckLevel::Ready) || check.level.is_some();
        Ok(!wide.iter().filter(counts).any(|check| check.status == CheckStatus::Down))
    }

    pub(super) fn refresh_check(&mut self, programs: &Programs, name: &str) -> Result<CheckRefresh> {
        if name.is_empty() {
            return Err(PebbleError::answered(400, "", "must specify check name"));
        }
        let missing = || PebbleError::answered(404, "", format!("cannot find check with name {}", quote(name)));
        let planned = self.plan.checks.get(name).ok_or_else(missing)?.clone();
        let running = self.checks.get(name).and_then(|check| check.running.clone());
        let used = running.as_ref().map_or(&planned, |running| &running.config);
        let outcome = self.probe(programs, name, used);
        if let Some(running) = running {
            self.count(name, running, outcome.as_ref().err())?;
        }
        let info = self.checks.get(name).map(|check| self.info(name, check)).ok_or_else(missing)?;
        Ok(CheckRefresh { info, error: outcome.err().unwrap_or_default() })
    }

    /// Runs it.
    ///
    /// # Errors
    /// Why it failed.
    fn probe(&self, programs: &Programs, name: &str, config: &Fields) -> std::result::Result<(), String> {
        let Some(exec) = config.nested("exec") else { return (programs.probes)(name) };
        let words = go::split_words(exec.text("command")).map_err(|why| format!("cannot parse command: {why}"))?;
        self.accounts.of_fields(exec)?;
        let program = words.first().map(String::as_str).unwrap_or_default();
        let Some(run) = programs.execs.get(program) else {
            return Err(if program.contains('/') {
                format!("fork/exec {program}: no such file or directory")
            } else {
                format!("exec: {}: executable file not found in $PATH", quote(program))
            });
        };
        let command = Exec {
            environment: exec.map("environment").cloned().unwrap_or_default(),
            working_dir: Some(exec.text("working-dir").to_owned()).filter(|dir| !dir.is_empty()),
            split_stderr: false,
            ..Exec::new(words)
        };
        let output = match run(&command) {
            Ended::Exit(output) if output.exit_code == 0 => return Ok(()),
            Ended::Exit(output) => output,
            Ended::TimedOut => {
                let timeout = config.duration("timeout").unwrap_or(3_000_000_000);
                return Err(format!("check timed out after {}", go::duration_text(timeout)));
            }
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let mut lines: Vec<&str> = text.trim().split('\n').collect();
        if lines.len() > LAST_LINES {
            lines.drain(..lines.len() - LAST_LINES - 1);
            lines[0] = "(...)";
        }
        let details = lines.join("\n");
        let why = format!("exit status {}", output.exit_code);
        Err(if details.is_empty() { why } else { format!("{why}; {details}") })
    }

    /// Counts how a check that runs went.
    fn count(&mut self, name: &str, mut running: Running, failure: Option<&String>) -> Result<()> {
        let now = self.now;
        let at = TaskAt { change: running.change, task: 0 };
        let config = running.config.clone();
        let previous = self.checks.get(name).and_then(|check| check.previous);
        match failure {
            Some(why) => {
                running.failures += 1;
                let down = running.failures >= threshold(&config);
                self.changes.log(at, "ERROR", why, now);
                if down && !running.recovering {
                    self.check_failed(name);
                    self.set_status(at, "Error");
                    let counts = (running.successes, running.failures);
                    let change = running.change;
                    let recovering = self.run_check(name, config.clone(), true, counts, Begin::AtOnce)?;
                    self.set_check(name, &config, Some(recovering), Some(change), counts);
                    return Ok(());
                }
            }
            None if running.recovering => {
                self.set_status(at, "Done");
                let change = running.change;
                let performing = self.run_check(name, config.clone(), false, (0, 0), Begin::AtOnce)?;
                self.set_check(name, &config, Some(performing), Some(change), (1, 0));
                return Ok(());
            }
            None => {
                running.successes += 1;
                if running.failures > 0 {
                    let s = if running.failures == 1 { "" } else { "s" };
                    let line = format!("succeeded after {} failure{s}", running.failures);
                    self.changes.log(at, "INFO", &line, now);
                    running.failures = 0;
                }
            }
        }
        let counts = (running.successes, running.failures);
        self.set_check(name, &config, Some(running), previous, counts);
        Ok(())
    }
}
