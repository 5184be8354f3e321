//! Commands that run in a workload container, with their streams.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::client::{Client, go_duration};
use super::error::PebbleError;
use super::types::{ChangeId, Owner};
use super::websocket::{self, Message, Reader, Writer};
use super::{CALL_TIMEOUT, Pebble, Result};
use crate::json::Json;

/// Of stdout, and of stderr, when they are collected.
const OUTPUT_BYTES_MAX: usize = 16 << 20;

/// Pebble needs a moment to end what ran too long, and to tell us so.
const TIMEOUT_GRACE: Duration = Duration::from_secs(2);

/// Half of what Pebble can take at once.
const STDIN_MESSAGE_BYTES: usize = 64 << 10;

/// A command to run. `Exec::new(["nginx", "-s", "reload"])` and, where the defaults do not fit, struct update.
#[derive(Clone, Debug, PartialEq)]
pub struct Exec {
    /// The program, by path or name, and its arguments.
    pub command: Vec<String>,
    /// Environment, user and directory are those of this service, where nothing else is said.
    pub service_context: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub working_dir: Option<String>,
    pub owner: Owner,
    /// After that it is killed, and the call fails. 30 s by default.
    pub timeout: Duration,
    pub stdin: Vec<u8>,
    /// Otherwise what goes to stderr comes with stdout.
    pub split_stderr: bool,
}

impl Exec {
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Exec {
        Exec {
            command: command.into_iter().map(Into::into).collect(),
            service_context: None,
            environment: BTreeMap::new(),
            working_dir: None,
            owner: Owner::default(),
            timeout: Duration::from_secs(30),
            stdin: Vec::new(),
            split_stderr: true,
        }
    }
}

/// What a command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// 128 and more: it was ended by the signal of that number less 128.
    pub exit_code: i32,
    pub stdout: Vec<u8>,
    /// Empty without [`Exec::split_stderr`].
    pub stderr: Vec<u8>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Payload<'a> {
    command: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    service_context: Option<&'a str>,
    environment: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    working_dir: Option<&'a str>,
    timeout: String,
    split_stderr: bool,
    #[serde(flatten)]
    owner: &'a Owner,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Started {
    task_id: String,
}

/// A command that runs. Dropping it closes its streams; it may run on until its timeout.
#[derive(Debug)]
pub struct Running {
    client: Client,
    change: ChangeId,
    deadline: Instant,
    stdin: Writer,
    stdout: Reader,
    stderr: Option<Reader>,
    control: Arc<Mutex<Writer>>,
    // read by nobody, but its end would be the end of the connection
    _control: Reader,
}

/// Sends signals to a command that runs, from any thread.
#[derive(Clone, Debug)]
pub struct Signaller(Arc<Mutex<Writer>>);

impl Signaller {
    /// `name` is one such as `SIGTERM`. Nothing is said of whether it arrived.
    pub fn signal(&self, name: &str) -> Result<()> {
        let message =
            Json::object([("command", Json::from("signal")), ("signal", Json::object([("name", Json::from(name))]))]);
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        to.set_deadline(Instant::now() + CALL_TIMEOUT);
        to.write_text(&message.dumps()).map_err(|error| PebbleError::of_io(&error, "signal"))
    }
}

impl Client {
    /// Starts a command. Its streams are connected when this returns; its stdin is given to [`Running::communicate`].
    ///
    /// # Errors
    /// As [`Pebble::exec`].
    pub fn start(&self, command: &Exec) -> Result<Running> {
        let payload = Payload {
            command: &command.command,
            service_context: command.service_context.as_deref(),
            environment: &command.environment,
            working_dir: command.working_dir.as_deref(),
            timeout: go_duration(command.timeout),
            split_stderr: command.split_stderr,
            owner: &command.owner,
        };
        let (change, started) = self.post_async::<Started>("/v1/exec", &payload)?;
        let started = started.ok_or_else(|| PebbleError::protocol("a command without a task"))?;
        let connect = |id: &str| {
            let target = format!("/v1/tasks/{}/websocket/{id}", started.task_id);
            websocket::connect(self.socket(), &target, Instant::now() + CALL_TIMEOUT)
        };
        let (control_reader, control) = connect("control")?;
        let (mut stdout, mut stdin) = connect("stdio")?;
        let mut stderr = command.split_stderr.then(|| connect("stderr")).transpose()?.map(|(reader, _)| reader);
        let deadline = Instant::now() + command.timeout + TIMEOUT_GRACE;
        stdin.set_deadline(deadline);
        stdout.set_deadline(deadline);
        if let Some(stderr) = &mut stderr {
            stderr.set_deadline(deadline);
        }
        Ok(Running {
            client: self.clone(),
            change,
            deadline,
            stdin,
            stdout,
            stderr,
            control: Arc::new(Mutex::new(control)),
            _control: control_reader,
        })
    }

    /// [`Pebble::exec`].
    pub(super) fn run(&self, command: &Exec) -> Result<ExecOutput> {
        let (mut stdout, mut stderr) = (Bounded::default(), Bounded::default());
        let exit_code = self.start(command)?.communicate(&command.stdin, &mut stdout, &mut stderr)?;
        Ok(ExecOutput { exit_code, stdout: stdout.0, stderr: stderr.0 })
    }
}

impl Running {
    pub fn signaller(&self) -> Signaller {
        Signaller(self.control.clone())
    }

    /// Writes all of `stdin` and closes it, passes on what comes, and waits for the end: the exit code.
    ///
    /// # Errors
    /// As [`Pebble::exec`]; or one of the writers failed.
    pub fn communicate(
        self,
        stdin: &[u8],
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
    ) -> Result<i32> {
        let Running { client, change, deadline, stdin: mut to, stdout: mut from, stderr: from_errors, .. } = self;
        let (out, errors) = thread::scope(|scope| {
            // a command may end without reading all of it: that is no error
            scope.spawn(move || drop(send(&mut to, stdin)));
            let errors = from_errors.map(|mut from| scope.spawn(move || receive(&mut from, stderr)));
            let out = receive(&mut from, stdout);
            if out.is_err() {
                from.shut_down();
            }
            let errors = errors.map_or(Ok(()), |thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("what takes stderr panicked")))
            });
            (out, errors)
        });
        for (result, stream) in [(out, "stdout"), (errors, "stderr")] {
            result.map_err(|error| PebbleError::of_io(&error, stream))?;
        }
        let remaining = deadline.saturating_duration_since(Instant::now());
        let change = client.wait_change(&change, remaining.max(TIMEOUT_GRACE))?;
        if let Some(error) = PebbleError::of_change(&change) {
            return Err(error);
        }
        match change.tasks.first().and_then(|task| task.data.get("exit-code")) {
            Some(Json::Number(code)) => Ok(code.as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(-1)),
            _ => Err(PebbleError::protocol("a command that ended without an exit code")),
        }
    }
}

fn send(to: &mut Writer, stdin: &[u8]) -> io::Result<()> {
    for piece in stdin.chunks(STDIN_MESSAGE_BYTES) {
        to.write_binary(piece)?;
    }
    to.write_text("{\"command\":\"end\"}")
}

/// Passes on what comes until the stream's end.
fn receive(from: &mut Reader, to: &mut (dyn Write + Send)) -> io::Result<()> {
    loop {
        match from.read() {
            Ok(Message::Binary(bytes)) => to.write_all(&bytes)?,
            // the only command there is says that it is the end
            Ok(Message::Text | Message::Close) => return Ok(()),
            // Pebble gave it up; the change says why
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

#[derive(Default)]
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {OUTPUT_BYTES_MAX} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
