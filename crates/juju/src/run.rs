//! One run of a charm, from the environment to the exit code.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::rc::Rc;

use crate::agent::Juju;
use crate::apply::{Applied, Endpoints, apply};
use crate::desired::Desired;
use crate::event::Dispatch;
use crate::log::{JujuLog, Lines, MAX_LEVEL};
use crate::pebble::{Client, Pebble};
use crate::snapshot::Snapshot;
use crate::tools::{SpawnedTools, ToolError};

/// The unit in one dispatch: all that a charm speaks to. A charm is a function of it, in production and in a test alike.
pub struct Unit<'a> {
    pub juju: &'a Juju<'a>,
    pub dispatch: &'a Dispatch,
    variables: &'a dyn Fn(&str) -> Option<String>,
    containers: &'a dyn Fn(&str) -> Rc<dyn Pebble>,
}

impl<'a> Unit<'a> {
    /// A unit whose variables of the environment and whose workload containers are found by these functions.
    pub fn new(
        juju: &'a Juju<'a>,
        dispatch: &'a Dispatch,
        variables: &'a dyn Fn(&str) -> Option<String>,
        containers: &'a dyn Fn(&str) -> Rc<dyn Pebble>,
    ) -> Unit<'a> {
        Unit { juju, dispatch, variables, containers }
    }

    /// The Pebble of a workload container. It is there even if the container is not: its calls then fail.
    pub fn container(&self, name: &str) -> Rc<dyn Pebble> {
        (self.containers)(name)
    }

    /// A variable of the environment, such as where Kubernetes is. Empty is absent.
    pub fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    /// What there is to most charms: reads `endpoints`, asks `reconcile` what should be, and brings that about.
    ///
    /// # Errors
    /// A hook tool that failed: see [`apply`](crate::apply()).
    pub fn settle(
        &self,
        endpoints: Endpoints<'_>,
        reconcile: impl FnOnce(&Snapshot) -> Desired,
    ) -> Result<Applied, ToolError> {
        let snapshot = Snapshot::read(self.juju, self.dispatch, endpoints)?;
        apply(self.juju, self.dispatch, &reconcile(&snapshot))
    }
}

/// Runs a charm for the event that the variables describe. This is all that `main` has to do:
///
/// ```no_run
/// use juju::{Desired, Status, ToolError, Unit};
///
/// fn charm(unit: &Unit<'_>) -> Result<(), ToolError> {
///     unit.settle(&[], |_| Desired { unit_status: vec![Status::active("")], ..Desired::default() }).map(drop)
/// }
///
/// fn main() -> std::process::ExitCode {
///     juju::run(|name| std::env::var(name).ok(), charm)
/// }
/// ```
///
/// What `tracing` is told while the charm runs, on any thread, goes to Juju's log, also if it fails or panics; unless a
/// subscriber for the whole process is there already, which is left alone. An error is written to standard error, which Juju
/// logs too; the exit code is then 1, Juju takes back what was not yet settled, and tries the hook again.
pub fn run<E: Display>(
    variable: impl Fn(&str) -> Option<String>,
    charm: impl FnOnce(&Unit<'_>) -> Result<(), E>,
) -> ExitCode {
    let dispatch = match Dispatch::from_vars(&variable) {
        Ok(dispatch) => dispatch,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let juju = Juju::new(&SpawnedTools, &dispatch);
    let containers = |name: &str| -> Rc<dyn Pebble> { Rc::new(Client::of_container(name)) };
    let unit = Unit::new(&juju, &dispatch, &variable, &containers);
    let lines = Lines::default();
    // fails where the program has a subscriber of its own
    let _ = tracing::subscriber::set_global_default(JujuLog::new(lines.clone(), MAX_LEVEL));
    // only to send the lines: the panic goes on
    let done = catch_unwind(AssertUnwindSafe(|| charm(&unit)));
    if let Err(error) = lines.flush(&juju) {
        eprintln!("{error}");
    }
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(panic) => resume_unwind(panic),
    }
}
