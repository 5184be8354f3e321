//! A Pebble in memory, for tests: the layers, services, files, checks, notices and identities of one container, with Pebble's
//! own errors.
//!
//! It is held to the real one by random sequences of calls to both (`tests/it/pebble`). What differs by intent: programs are
//! functions of the test, so nothing is ever started; a change is done when the call returns; the clock moves by a millisecond a
//! call and by [`MemoryPebble::advance`]; checks run when they are refreshed; there are no symlinks and no sections besides
//! `services`, `checks` and `log-targets`; no permission stops Pebble, which is root if nothing else is said.
//!
//! ```
//! use juju::pebble::{MemoryPebble, Pebble, ServiceAction, ServiceStatus};
//!
//! let pebble = MemoryPebble::new();
//! let layer = juju::yaml::parse("services: {web: {override: replace, command: serve, startup: enabled}}").unwrap();
//! pebble.add_layer("base", &layer, false).unwrap();
//! pebble.do_services(ServiceAction::Replan, &[]).unwrap();
//! assert_eq!(pebble.services(&["web"]).unwrap()[0].current, ServiceStatus::Active);
//! ```

mod accounts;
mod changes;
mod checks;
mod files;
mod go;
mod identities;
mod layer;
mod notices;
mod order;
mod schema;
mod services;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use accounts::Accounts;
use changes::{Changes, TaskAt};
use files::Files;
use go::quote;
use identities::Identities;
use layer::{Plan, Refusal};
use notices::Notices;
use schema::{Fields, Value};
pub use services::Run;

use super::types::*;
use super::{CALL_TIMEOUT, ErrorKind, Exec, ExecOutput, Pebble, PebbleError, Result};
use crate::json::Json;

/// 2026-01-01.
const BEGINNING: i64 = 1_767_225_600_000_000_000;

/// What a call takes.
const TICK: i64 = 1_000_000;

/// Where commands run that name no folder.
const HOME: &str = "/";

/// How a command came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Exit(ExecOutput),
    /// It was ended when its timeout was over.
    TimedOut,
}

impl From<ExecOutput> for Ended {
    fn from(output: ExecOutput) -> Ended {
        Ended::Exit(output)
    }
}

type Behaviour = dyn Fn(&[String]) -> Run;
type Command = dyn Fn(&Exec) -> Ended;
type Probe = dyn Fn(&str) -> std::result::Result<(), String>;

/// What stands for the programs of the container.
struct Programs {
    /// How a service with this command behaves.
    services: Box<Behaviour>,
    /// Commands by the name of their program.
    execs: BTreeMap<String, Box<Command>>,
    /// How a check over HTTP or TCP, by its name, goes.
    probes: Box<Probe>,
}

/// What Pebble keeps.
struct Twin {
    now: i64,
    is_up: bool,
    accounts: Accounts,
    plan: Plan,
    services: BTreeMap<String, services::Service>,
    changes: Changes,
    checks: BTreeMap<String, checks::Check>,
    /// Tasks of checks that Pebble begins when it next has something to do.
    pending: Vec<TaskAt>,
    files: Files,
    notices: Notices,
    identities: Identities,
}

/// A Pebble in memory.
pub struct MemoryPebble {
    programs: Programs,
    twin: RefCell<Twin>,
    waited: Cell<Duration>,
}

impl fmt::Debug for MemoryPebble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPebble").finish_non_exhaustive()
    }
}

impl Default for MemoryPebble {
    fn default() -> MemoryPebble {
        MemoryPebble::new()
    }
}

impl MemoryPebble {
    /// A container that is up, with an empty root, without layers. Services stay up; there are no commands; checks over the
    /// network go well.
    pub fn new() -> MemoryPebble {
        let accounts = Accounts::default();
        let programs =
            Programs { services: Box::new(|_| Run::stays()), execs: BTreeMap::new(), probes: Box::new(|_| Ok(())) };
        let twin = Twin {
            now: BEGINNING,
            is_up: true,
            files: Files::new(&accounts, BEGINNING),
            accounts,
            plan: Plan::default(),
            services: BTreeMap::new(),
            changes: Changes::default(),
            checks: BTreeMap::new(),
            pending: Vec::new(),
            notices: Notices::default(),
            identities: Identities::default(),
        };
        MemoryPebble { programs, twin: RefCell::new(twin), waited: Cell::new(Duration::ZERO) }
    }

    /// A container that is not up yet.
    pub fn down() -> MemoryPebble {
        let pebble = MemoryPebble::new();
        pebble.set_up(false);
        pebble
    }

    /// Says how services behave, by the words of their command.
    #[must_use]
    pub fn with_services(mut self, behaviour: impl Fn(&[String]) -> Run + 'static) -> MemoryPebble {
        self.programs.services = Box::new(behaviour);
        self
    }

    /// Adds a program that commands and checks can run. It gets the command with the environment, user and folder of its service
    /// context.
    #[must_use]
    pub fn with_program<E: Into<Ended>>(mut self, program: &str, run: impl Fn(&Exec) -> E + 'static) -> MemoryPebble {
        self.programs.execs.insert(program.to_owned(), Box::new(move |command| run(command).into()));
        self
    }

    /// Says how checks over HTTP and TCP go, by their name; an error is its words.
    #[must_use]
    pub fn with_probes(mut self, probe: impl Fn(&str) -> std::result::Result<(), String> + 'static) -> MemoryPebble {
        self.programs.probes = Box::new(probe);
        self
    }

    /// Adds a user with a group of the same name and ID.
    #[must_use]
    pub fn with_user(mut self, name: &str, user_id: u32, group: &str, group_id: u32) -> MemoryPebble {
        let accounts = &mut self.twin.get_mut().accounts;
        accounts.users.push((name.to_owned(), user_id, group_id));
        accounts.groups.push((group.to_owned(), group_id));
        self
    }

    /// Pebble runs as this user and group instead of root.
    #[must_use]
    pub fn running_as(mut self, user_id: u32, group_id: u32) -> MemoryPebble {
        let twin = self.twin.get_mut();
        (twin.accounts.user_id, twin.accounts.group_id) = (user_id, group_id);
        twin.files = Files::new(&twin.accounts, twin.now);
        self
    }

    /// The container goes down: every call fails until it is up again. What Pebble keeps stays.
    pub fn set_up(&self, is_up: bool) {
        self.twin.borrow_mut().is_up = is_up;
    }

    /// Lets time go by: services that wait to be started again are.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX / 4);
        let twin = &mut *self.twin.borrow_mut();
        twin.now = twin.now.saturating_add(by);
        twin.restart_due(&self.programs);
    }

    /// What calls would have waited in all for what did not come.
    pub fn waited(&self) -> Duration {
        self.waited.get()
    }

    fn wait(&self, by: Duration) {
        self.waited.set(self.waited.get() + by);
        self.advance(by);
    }

    fn call<T>(&self, work: impl FnOnce(&mut Twin) -> Result<T>) -> Result<T> {
        let twin = &mut *self.twin.borrow_mut();
        if !twin.is_up {
            return Err(PebbleError::new(ErrorKind::Unreachable, "the container is down"));
        }
        twin.now += TICK;
        twin.restart_due(&self.programs);
        work(twin)
    }
}

/// Settings of a service under those of a command or check that runs in its context.
fn take_context(fields: &mut Fields, service: &Fields) {
    let mut environment = service.map("environment").cloned().unwrap_or_default();
    environment.extend(fields.map("environment").cloned().unwrap_or_default());
    fields.set("environment", Value::Map(environment));
    for name in ["user-id", "group-id"] {
        if let (None, Some(id)) = (fields.number(name), service.number(name)) {
            fields.set(name, Value::Number(id));
        }
    }
    for name in ["user", "group", "working-dir"] {
        if fields.text(name).is_empty() && !service.text(name).is_empty() {
            fields.set(name, Value::Text(service.text(name).to_owned()));
        }
    }
}

fn named(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

impl Twin {
    /// The command as it will run, and the position of the change that runs it.
    fn begin_exec(&mut self, command: &Exec, programs: &Programs) -> Result<(Exec, usize)> {
        let refused = |message: String| PebbleError::answered(400, "", message);
        let program = command.command.first().ok_or_else(|| refused("must specify command".to_owned()))?;
        if !programs.execs.contains_key(program) {
            return Err(refused(format!("cannot find executable {}", quote(program))));
        }
        let mut command = command.clone();
        if let Some(context) = command.service_context.as_deref().filter(|name| !name.is_empty()) {
            let service = self.plan.services.get(context);
            let service = service.ok_or_else(|| refused(format!("context service {} not found", quote(context))))?;
            let mut environment = service.map("environment").cloned().unwrap_or_default();
            environment.append(&mut command.environment);
            command.environment = environment;
            let owner = &mut command.owner;
            owner.user_id = owner.user_id.or(service.id("user-id"));
            owner.group_id = owner.group_id.or(service.id("group-id"));
            owner.user = owner.user.take().or_else(|| named(service.text("user")));
            owner.group = owner.group.take().or_else(|| named(service.text("group")));
            command.working_dir = command.working_dir.take().or_else(|| named(service.text("working-dir")));
        }
        self.accounts.of_owner(&command.owner).map_err(refused)?;
        let (what, folder) = match command.working_dir.as_deref().filter(|folder| !folder.is_empty()) {
            Some(folder) => ("working directory", folder.to_owned()),
            None => ("home directory", HOME.to_owned()),
        };
        let possible = self.files.check_working_dir(what, &folder);
        possible.map_err(|why| PebbleError::answered(500, "", format!("cannot call exec: {why}")))?;
        command.working_dir = Some(folder);
        let summary = format!("Execute command {}", quote(&command.command[0]));
        let change = self.begin("exec", summary.clone(), &[("exec", summary)], None, BTreeMap::new())?;
        self.set_status(TaskAt { change, task: 0 }, "Doing");
        Ok((command, change))
    }

    fn end_exec(&mut self, change: usize, command: &Exec, ended: Ended) -> Result<ExecOutput> {
        let at = TaskAt { change, task: 0 };
        let output = match ended {
            Ended::Exit(mut output) => {
                if !command.split_stderr {
                    output.stdout.append(&mut output.stderr);
                }
                self.changes.set_data(at, "exit-code", i64::from(output.exit_code).into());
                self.set_status(at, "Done");
                output
            }
            Ended::TimedOut => {
                self.changes.set_data(at, "exit-code", (-1).into());
                let timeout = i64::try_from(command.timeout.as_nanos()).unwrap_or(i64::MAX);
                let why = format!("timed out after {}: context deadline exceeded", go::duration_text(timeout));
                self.changes.log(at, "ERROR", &why, self.now);
                self.set_status(at, "Error");
                ExecOutput::default()
            }
        };
        let change = self.changes.get(&self.changes.id(change))?;
        PebbleError::of_change(&change).map_or(Ok(output), Err)
    }
}

impl Pebble for MemoryPebble {
    fn system_info(&self) -> Result<SystemInfo> {
        self.call(|_| {
            let boot_id = "00000000-0000-4000-8000-000000000000".to_owned();
            Ok(SystemInfo { version: "v1.32.1".to_owned(), boot_id })
        })
    }

    fn plan(&self) -> Result<Json> {
        self.call(|twin| Ok(twin.plan.to_json()))
    }

    fn add_layer(&self, label: &str, layer: &Json, combine: bool) -> Result<()> {
        self.call(|twin| {
            let refused = |message: String| PebbleError::answered(400, "", message);
            if label.is_empty() {
                return Err(refused("label must be set".to_owned()));
            }
            let read = layer::read(label, layer, &twin.accounts);
            let layer = read.map_err(|why| refused(format!("cannot parse layer YAML: {why}")))?;
            twin.plan.add(layer, combine).map_err(|why| match why {
                Refusal::Format(message) => refused(message),
                Refusal::Place(message) => PebbleError::answered(500, "", message),
            })?;
            twin.plan_changed()
        })
    }

    fn services(&self, names: &[&str]) -> Result<Vec<ServiceInfo>> {
        self.call(|twin| Ok(twin.services(names)))
    }

    fn change_services(&self, action: ServiceAction, names: &[&str]) -> Result<ChangeId> {
        self.call(|twin| twin.change_services(&self.programs, action, names))
    }

    fn changes(&self, select: ChangesSelect, service: Option<&str>) -> Result<Vec<Change>> {
        self.call(|twin| Ok(twin.changes.select(select, service)))
    }

    fn change(&self, id: &ChangeId) -> Result<Change> {
        self.call(|twin| twin.changes.get(id))
    }

    fn wait_change(&self, id: &ChangeId, timeout: Duration) -> Result<Change> {
        let change = self.call(|twin| twin.changes.get(id))?;
        if change.ready {
            return Ok(change);
        }
        self.wait(timeout);
        let timeout = go::duration_text(i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX));
        Err(PebbleError::answered(504, "", format!("timed out waiting for change after {timeout}")))
    }

    fn abort_change(&self, id: &ChangeId) -> Result<Change> {
        self.call(|twin| {
            let at = TaskAt { change: twin.changes.abortable(id)?, task: 0 };
            if twin.is_pending(at) {
                twin.end_task(at);
                return twin.changes.get(id);
            }
            twin.set_status(at, "Abort");
            let aborted = twin.changes.get(id);
            twin.set_status(at, "Done");
            aborted
        })
    }

    fn list_files(&self, path: &str, pattern: Option<&str>, itself: bool) -> Result<Vec<FileInfo>> {
        self.call(|twin| twin.files.list(path, pattern, itself, &twin.accounts))
    }

    fn read_file(&self, path: &str) -> Result<Vec<u8>> {
        self.call(|twin| twin.files.read(path))
    }

    fn write_file(&self, path: &str, content: &[u8], options: &WriteFile) -> Result<()> {
        self.call(|twin| twin.files.write(path, content, options, &twin.accounts, twin.now))
    }

    fn make_dir(&self, path: &str, options: &MakeDir) -> Result<()> {
        self.call(|twin| twin.files.make_dir(path, options, &twin.accounts, twin.now))
    }

    fn remove_path(&self, path: &str, recursive: bool) -> Result<()> {
        self.call(|twin| twin.files.remove(path, recursive))
    }

    fn exec(&self, command: &Exec) -> Result<ExecOutput> {
        let (command, change) = self.call(|twin| twin.begin_exec(command, &self.programs))?;
        let program = command.command.first().map(String::as_str).unwrap_or_default();
        // outside of the twin: a program may call Pebble
        let ended = match self.programs.execs.get(program) {
            Some(run) => run(&command),
            None => return Err(PebbleError::new(ErrorKind::BadRequest, "the program went away")),
        };
        self.call(|twin| twin.end_exec(change, &command, ended))
    }

    fn checks(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<Vec<CheckInfo>> {
        self.call(|twin| twin.checks(level, names))
    }

    fn change_checks(&self, action: CheckAction, names: &[&str]) -> Result<Vec<String>> {
        self.call(|twin| twin.change_checks(action, names))
    }

    fn refresh_check(&self, name: &str) -> Result<CheckRefresh> {
        // Pebble hands it to the task, which does not listen before it is begun
        if self.call(|twin| Ok(twin.is_check_pending(name)))? {
            self.wait(CALL_TIMEOUT);
            return Err(PebbleError::new(ErrorKind::Timeout, "POST /v1/checks/refresh: no answer in time"));
        }
        self.call(|twin| twin.refresh_check(&self.programs, name))
    }

    fn health(&self, level: Option<CheckLevel>, names: &[&str]) -> Result<bool> {
        self.call(|twin| twin.health(level, names))
    }

    fn notices(&self, select: &NoticesSelect) -> Result<Vec<Notice>> {
        let found = self.call(|twin| twin.notices.select(select, twin.accounts.user_id, twin.now))?;
        if let (true, Some(wait)) = (found.is_empty(), select.wait) {
            self.wait(wait);
        }
        Ok(found)
    }

    fn notice(&self, id: &str) -> Result<Notice> {
        let id = super::client::check_id(id)?;
        self.call(|twin| twin.notices.get(id))
    }

    fn notify(&self, key: &str, data: &[(&str, &str)], repeat_after: Option<Duration>) -> Result<String> {
        self.call(|twin| twin.notices.add(twin.accounts.user_id, key, data, repeat_after, twin.now))
    }

    fn logs(&self, services: &[&str], count: Option<u32>) -> Result<Vec<LogEntry>> {
        self.call(|twin| Ok(twin.logs(services, count)))
    }

    fn identities(&self) -> Result<BTreeMap<String, Identity>> {
        self.call(|twin| Ok(twin.identities.all()))
    }

    fn change_identities(&self, action: IdentityAction, identities: &[(&str, Option<&Identity>)]) -> Result<()> {
        self.call(|twin| twin.identities.change(action, identities))
    }

    fn send_signal(&self, signal: &str, services: &[&str]) -> Result<()> {
        self.call(|twin| twin.send_signal(signal, services))
    }
}
