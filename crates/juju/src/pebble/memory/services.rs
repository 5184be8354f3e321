//! Services: their states, and what starting and stopping does to them.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::{Along, TaskAt};
use super::go::{self, quote};
use super::order::{self, Lanes};
use super::schema::Fields;
use super::{Programs, Twin, layer};
use crate::pebble::types::{LogEntry, ServiceAction, ServiceInfo, ServiceStatus, Startup};
use crate::pebble::{ChangeId, PebbleError, Result};

/// What a service's output keeps here.
const LOG_LINES_MAX: usize = 1000;

/// What a task's log gets of a service that failed.
const LAST_LINES: usize = 20;

/// How a service's program behaves when it is started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    output: Vec<String>,
    handles: Vec<String>,
    exits: Option<i32>,
    missing: bool,
}

impl Run {
    /// It stays up until it is stopped or meets a signal.
    pub fn stays() -> Run {
        Run::default()
    }

    /// It ends at once, with this exit code.
    pub fn exits(code: i32) -> Run {
        Run { exits: Some(code), ..Run::default() }
    }

    /// There is no such program.
    pub fn missing() -> Run {
        Run { missing: true, ..Run::default() }
    }

    /// Lines that it writes.
    #[must_use]
    pub fn writing<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Run {
        self.output.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Signals, such as `SIGHUP`, that do not end it.
    #[must_use]
    pub fn handling<S: Into<String>>(mut self, signals: impl IntoIterator<Item = S>) -> Run {
        self.handles.extend(signals.into_iter().map(Into::into));
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Backoff,
    Exited,
}

impl State {
    fn status(self) -> ServiceStatus {
        match self {
            State::Running => ServiceStatus::Active,
            State::Stopped => ServiceStatus::Inactive,
            State::Backoff => ServiceStatus::Backoff,
            State::Exited => ServiceStatus::Error,
        }
    }
}

/// A service that was started once.
#[derive(Clone, Debug)]
pub(super) struct Service {
    state: State,
    /// As it was when it was last started.
    config: Fields,
    since: i64,
    /// How long it waits, in `Backoff`, and until when.
    backoff: i64,
    restart_at: i64,
    /// Signals that do not end it.
    handles: Vec<String>,
    /// When each line was written.
    output: Vec<(i64, String)>,
}

impl Service {
    fn enter(&mut self, state: State, now: i64) {
        if self.state.status() != state.status() {
            self.since = now;
        }
        self.state = state;
    }
}

const SIGNALS: [(&str, i32); 31] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGILL", 4),
    ("SIGTRAP", 5),
    ("SIGABRT", 6),
    ("SIGBUS", 7),
    ("SIGFPE", 8),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGSEGV", 11),
    ("SIGUSR2", 12),
    ("SIGPIPE", 13),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGSTKFLT", 16),
    ("SIGCHLD", 17),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGTTIN", 21),
    ("SIGTTOU", 22),
    ("SIGURG", 23),
    ("SIGXCPU", 24),
    ("SIGXFSZ", 25),
    ("SIGVTALRM", 26),
    ("SIGPROF", 27),
    ("SIGWINCH", 28),
    ("SIGIO", 29),
    ("SIGPWR", 30),
    ("SIGSYS", 31),
];

/// These stop a process, wake it, or do nothing.
const HARMLESS: [&str; 8] = ["SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH"];

fn bad_request(message: impl Into<String>) -> PebbleError {
    PebbleError::answered(400, "", message)
}

/// `start` as `Start`.
fn title(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase().to_string() + chars.as_str()).unwrap_or_default()
}

fn verb(action: ServiceAction) -> &'static str {
    match action {
        ServiceAction::Start => "start",
        ServiceAction::Stop => "stop",
        ServiceAction::Restart => "restart",
        ServiceAction::Autostart => "autostart",
        ServiceAction::Replan => "replan",
    }
}

/// What there is to do for an action: lanes to stop, then lanes to start.
struct Work {
    stop: Lanes,
    start: Lanes,
    /// How many services the summary counts.
    count: usize,
}

impl Twin {
    pub(super) fn services(&self, names: &[&str]) -> Vec<ServiceInfo> {
        let wanted = go::comma_separated(names);
        let known = self.plan.services.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
        known
            .map(|(name, config)| {
                let service = self.services.get(name);
                let enabled = config.text("startup") == "enabled";
                ServiceInfo {
                    name: name.clone(),
                    startup: if enabled { Startup::Enabled } else { Startup::Disabled },
                    current: service.map_or(ServiceStatus::Inactive, |service| service.state.status()),
                    current_since: service.map(|service| go::rfc3339(service.since)),
                }
            })
            .collect()
    }

    pub(super) fn change_services(
        &mut self,
        programs: &Programs,
        action: ServiceAction,
        names: &[&str],
    ) -> Result<ChangeId> {
        let verb = verb(action);
        let mut names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        match action {
            ServiceAction::Autostart | ServiceAction::Replan if !names.is_empty() => {
                return Err(bad_request(format!("{verb} accepts no service names")));
            }
            ServiceAction::Autostart => {
                let enabled = self.enabled();
                let lanes = order::to_start(&self.plan.services, &enabled);
                names = lanes.map_err(|why| PebbleError::answered(500, "", why))?.concat();
                if names.is_empty() {
                    return Err(PebbleError::answered(400, "no-default-services", "no default services"));
                }
            }
            ServiceAction::Replan => {}
            _ if names.is_empty() => {
                return Err(bad_request(format!("must specify services for {verb} action")));
            }
            _ => {}
        }
        let work = self.work(action, &names);
        let Work { stop, start, count } = work.map_err(|why| bad_request(format!("cannot {verb} services: {why}")))?;
        if action == ServiceAction::Replan {
            let affected: BTreeSet<_> = stop.iter().chain(&start).flatten().cloned().collect();
            names = affected.into_iter().collect();
            self.replan_checks()?;
        }
        let tasks: Vec<(&str, String)> = [("stop", &stop), ("start", &start)]
            .into_iter()
            .flat_map(|(kind, lanes)| {
                let summary = move |name: &String| (kind, format!("{} service {}", title(kind), quote(name)));
                lanes.iter().flatten().map(summary)
            })
            .collect();
        let count = if action == ServiceAction::Replan { names.len() } else { count };
        let summary = match names.first() {
            _ if tasks.is_empty() => format!("{} - no services", title(verb)),
            None => String::new(),
            Some(first) if count == 1 => format!("{} service {}", title(verb), quote(first)),
            Some(first) => format!("{} service {} and {} more", title(verb), quote(first), count.saturating_sub(1)),
        };
        let about = (!tasks.is_empty()).then_some(names);
        let change = self.begin(verb, summary, &tasks, about, BTreeMap::new())?;
        let mut task = 0;
        for (lanes, is_stop) in [(stop, true), (start, false)] {
            for lane in lanes {
                let mut failed = false;
                for name in lane {
                    let at = TaskAt { change, task };
                    task += 1;
                    // what waits for a task that failed is not begun
                    if failed {
                        self.set_status(at, "Hold");
                        continue;
                    }
                    self.set_status(at, "Doing");
                    let done = if is_stop {
                        self.stop(&name, at);
                        Ok(())
                    } else {
                        self.start(programs, &name, at)
                    };
                    match done {
                        Ok(()) => self.set_status(at, "Done"),
                        Err(why) => {
                            failed = true;
                            self.changes.log(at, "ERROR", &why, self.now);
                            self.set_status(at, "Error");
                        }
                    }
                }
            }
        }
        Ok(self.changes.id(change))
    }

    fn enabled(&self) -> Vec<String> {
        let services = self.plan.services.iter();
        services.filter(|(_, config)| config.text("startup") == "enabled").map(|(name, _)| name.clone()).collect()
    }

    fn work(&mut self, action: ServiceAction, names: &[String]) -> std::result::Result<Work, String> {
        let services = &self.plan.services;
        let count = |lanes: &Lanes| lanes.iter().map(Vec::len).sum();
        Ok(match action {
            ServiceAction::Start | ServiceAction::Autostart => {
                let start = order::to_start(services, names)?;
                Work { count: count(&start), stop: Vec::new(), start }
            }
            ServiceAction::Stop => {
                let stop = order::to_stop(services, names)?;
                Work { count: count(&stop), stop, start: Vec::new() }
            }
            ServiceAction::Restart => {
                let mut stop = order::to_stop(services, names)?;
                // those alone that are named, and not what requires them
                stop.iter_mut().for_each(|lane| lane.retain(|name| names.contains(name)));
                let start = order::to_start(services, names)?;
                Work { count: count(&start), stop, start }
            }
            ServiceAction::Replan => {
                let mut changed = Vec::new();
                for (name, service) in &mut self.services {
                    let Some(config) = self.plan.services.get(name).filter(|config| **config != service.config) else {
                        continue;
                    };
                    service.config = config.clone();
                    changed.push(name.clone());
                }
                let stop = order::to_stop(services, &changed)?;
                changed.extend(self.enabled());
                let start = order::to_start(&self.plan.services, &changed)?;
                Work { stop, start, count: 0 }
            }
        })
    }

    /// # Errors
    /// Why the task failed.
    fn start(&mut self, programs: &Programs, name: &str, at: TaskAt) -> std::result::Result<(), String> {
        let now = self.now;
        let config = self.plan.services.get(name);
        let config = config.ok_or_else(|| format!("cannot find service {} in plan", quote(name)))?.clone();
        let service = self.services.entry(name.to_owned()).or_insert_with(|| Service {
            state: State::Exited,
            config: Fields::default(),
            since: now,
            backoff: 0,
            restart_at: 0,
            handles: Vec::new(),
            output: Vec::new(),
        });
        service.config = config;
        if service.state == State::Running {
            self.changes.log(at, "INFO", &format!("Service {} already started.", quote(name)), now);
            return Ok(());
        }
        service.backoff = 0;
        match self.launch(programs, name) {
            Err(why) => {
                self.enter(name, State::Stopped);
                Err(why)
            }
            Ok(None) => {
                self.enter(name, State::Running);
                Ok(())
            }
            Ok(Some(code)) => {
                let last = last_lines(&self.services[name].output);
                self.changes.log(at, "INFO", &format!("Most recent service output:\n{last}"), now);
                let action = self.exited(name, code);
                Err(format!("service start attempt: exited quickly with code {code}, will {action}"))
            }
        }
    }

    fn enter(&mut self, name: &str, state: State) {
        let now = self.now;
        if let Some(service) = self.services.get_mut(name) {
            service.enter(state, now);
        }
    }

    /// Starts the program. `Some`: it ended at once, with this code.
    fn launch(&mut self, programs: &Programs, name: &str) -> std::result::Result<Option<i32>, String> {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return Ok(None) };
        self.accounts.of_fields(&service.config)?;
        let words = layer::command(name, service.config.text("command"))?;
        let run = (programs.services)(&words);
        let program = words.first().map(String::as_str).unwrap_or_default();
        if run.missing {
            return Err(if program.contains('/') {
                format!("cannot start service: fork/exec {program}: no such file or directory")
            } else {
                format!("cannot start service: exec: {}: executable file not found in $PATH", quote(program))
            });
        }
        service.output.extend(run.output.into_iter().map(|line| (now, line)));
        let excess = service.output.len().saturating_sub(LOG_LINES_MAX);
        service.output.drain(..excess);
        service.handles = run.handles;
        Ok(run.exits)
    }

    /// A service's program has ended. Returns what is done about it.
    fn exited(&mut self, name: &str, code: i32) -> String {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return String::new() };
        let told = service.config.text(if code == 0 { "on-success" } else { "on-failure" }).to_owned();
        let action = if told.is_empty() { "restart".to_owned() } else { told };
        match action.as_str() {
            "restart" => service.wait(now),
            "ignore" if code == 0 => service.enter(State::Stopped, now),
            "ignore" => service.enter(State::Exited, now),
            _ => {
                service.enter(State::Exited, now);
                self.is_up = false;
            }
        }
        action
    }

    fn stop(&mut self, name: &str, at: TaskAt) {
        let now = self.now;
        let named = quote(name);
        let told = match self.services.get_mut(name) {
            None => Some(format!("Service {named} has never been started.")),
            Some(service) => {
                let before = service.state;
                service.enter(State::Stopped, now);
                match before {
                    State::Running | State::Backoff => None,
                    State::Stopped => Some(format!("Service {named} already stopped.")),
                    State::Exited => Some(format!("Service {named} had already exited.")),
                }
            }
        };
        if let Some(told) = told {
            self.changes.log(at, "INFO", &told, now);
        }
    }

    /// Starts those again whose time to wait is over.
    pub(super) fn restart_due(&mut self, programs: &Programs) {
        let is_due = |service: &Service| service.state == State::Backoff && service.restart_at <= self.now;
        let due: Vec<String> =
            self.services.iter().filter(|(_, service)| is_due(service)).map(|(name, _)| name.clone()).collect();
        for name in due {
            match self.launch(programs, &name) {
                Ok(None) => self.enter(&name, State::Running),
                Ok(Some(code)) => drop(self.exited(&name, code)),
                // Pebble does not try again
                Err(_) => {
                    if let Some(service) = self.services.get_mut(&name) {
                        service.restart_at = i64::MAX;
                    }
                }
            }
        }
    }

    pub(super) fn send_signal(&mut self, signal: &str, names: &[&str]) -> Result<()> {
        if names.is_empty() {
            return Err(bad_request("must specify one or more services"));
        }
        let number = SIGNALS.iter().find(|(name, _)| *name == signal).map(|(_, number)| *number);
        let mut wrong = Vec::new();
        for &name in names {
            let running = self.services.get(name).filter(|service| service.state == State::Running);
            let why = match (running, number) {
                (None, _) => "service is not running".to_owned(),
                (Some(_), None) => format!("invalid signal name {}", quote(signal)),
                (Some(service), Some(number)) => {
                    let survives = HARMLESS.contains(&signal)
                        || signal != "SIGKILL" && service.handles.iter().any(|handled| handled == signal);
                    if !survives {
                        self.exited(name, 128 + number);
                    }
                    continue;
                }
            };
            wrong.push(format!("cannot send signal to {}: {why}", quote(name)));
        }
        if wrong.is_empty() { Ok(()) } else { Err(PebbleError::answered(500, "", wrong.join("; "))) }
    }

    /// What services do about a check that went down.
    pub(super) fn check_failed(&mut self, check: &str) {
        let now = self.now;
        for service in self.services.values_mut() {
            let action = service.config.map("on-check-failure").and_then(|actions| actions.get(check));
            match (action.map(String::as_str), service.state) {
                (Some("restart"), State::Running | State::Exited) => service.wait(now),
                (Some("shutdown" | "success-shutdown"), State::Running | State::Backoff | State::Exited) => {
                    self.is_up = false;
                }
                _ => {}
            }
        }
    }

    pub(super) fn logs(&self, names: &[&str], count: Option<u32>) -> Vec<LogEntry> {
        let wanted = go::comma_separated(names);
        let known = |name: &String| {
            if wanted.is_empty() { self.plan.services.contains_key(name) } else { wanted.contains(name) }
        };
        let mut lines: Vec<(i64, &str, &str)> = self
            .services
            .iter()
            .filter(|(name, _)| known(name))
            .flat_map(|(name, service)| {
                service.output.iter().map(move |(time, line)| (*time, name.as_str(), line.as_str()))
            })
            .collect();
        lines.sort_by_key(|(time, ..)| *time);
        let skip = lines.len().saturating_sub(count.unwrap_or(30) as usize);
        lines
            .into_iter()
            .skip(skip)
            .map(|(time, service, message)| LogEntry {
                time: go::rfc3339(time),
                service: service.to_owned(),
                message: message.to_owned(),
            })
            .collect()
    }

    pub(super) fn begin(
        &mut self,
        kind: &str,
        summary: String,
        tasks: &[(&str, String)],
        services: Option<Vec<String>>,
        notice_data: BTreeMap<String, String>,
    ) -> Result<usize> {
        let mut along = Along { notices: &mut self.notices, now: self.now };
        self.changes.begin(kind, summary, tasks, services, notice_data, &mut along)
    }

    pub(super) fn set_status(&mut self, at: TaskAt, status: &str) {
        // what makes Pebble look at one task makes it look at all
        if matches!(status, "Doing" | "Abort") {
            self.begin_pending();
        }
        let mut along = Along { notices: &mut self.notices, now: self.now };
        self.changes.set_status(at, status, &mut along);
    }
}

impl Service {
    /// Waits before it is started again, longer each time.
    fn wait(&mut self, now: i64) {
        self.backoff = layer::backoff(&self.config, self.backoff);
        self.restart_at = now.saturating_add(self.backoff);
        self.enter(State::Backoff, now);
    }
}

fn last_lines(output: &[(i64, String)]) -> String {
    let mut lines: Vec<&str> =
        output[output.len().saturating_sub(LAST_LINES + 1)..].iter().map(|(_, line)| line.as_str()).collect();
    if lines.len() > LAST_LINES {
        lines[0] = "(...)";
    }
    if lines.is_empty() {
        lines.push("");
    }
    lines.into_iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
