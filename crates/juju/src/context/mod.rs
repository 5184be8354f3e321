//! A test context: a charm's function, run for one event over a [`State`], with the whole outcome to look at.
//!
//! It is the very function that production runs. Hook tools are answered in memory with Juju's leader rules and error texts;
//! the event goes through the environment's variables, as Juju sets them. What could not be in a real model is refused
//! with [`Impossible`] before the charm runs, so that no test passes on a world that there is not.
//!
//! ```
//! use juju::context::{Context, on};
//! use juju::memory::{Meta, State};
//! use juju::{Bags, Desired, DesiredBags, Snapshot, Status, ToolError, Unit};
//!
//! // A charm that tells each of its clients a greeting, and is blocked without any.
//! fn reconcile(snapshot: &Snapshot) -> Desired {
//!     let mut desired = Desired::default();
//!     for client in snapshot.relations("clients") {
//!         let bags = DesiredBags { app: [("greeting".to_owned(), "hello".to_owned())].into(), ..client.into() };
//!         desired.bags.insert(client.id, bags);
//!     }
//!     desired.unit_status.push(match desired.bags.len() {
//!         0 => Status::blocked("nobody to greet"),
//!         clients => Status::active(format!("{clients} greeted")),
//!     });
//!     desired
//! }
//!
//! fn charm(unit: &Unit<'_>) -> Result<(), ToolError> {
//!     unit.settle(&[("clients", Bags { local_app: true, ..Bags::NONE })], reconcile).map(drop)
//! }
//!
//! let meta = Meta::from_charmcraft("{name: greeter, provides: {clients: {interface: greeting}}}").unwrap();
//! let context = Context::new(meta, charm);
//!
//! // Build a state, run an event, look at the outcome.
//! let state = State::new(context.meta()).relation(4, "clients", "web").remote_unit(4, "web/0", []);
//! let outcome = context.run(on::relation_joined(4, "web/0"), &state)?;
//! assert_eq!(outcome.result, Ok(()));
//! assert_eq!(outcome.state.local_app(4)["greeting"], "hello");
//! assert_eq!(outcome.state.unit_status, Status::active("1 greeted"));
//!
//! // What an outcome leaves behind is the next state; nothing is written twice.
//! let again = context.run(juju::Event::UpdateStatus, &outcome.state)?;
//! assert_eq!(again.writes().count(), 0);
//!
//! // An application's bag is the leader's.
//! let follower = context.run(juju::Event::UpdateStatus, &state.clone().leader(false))?;
//! assert!(follower.state.local_app(4).is_empty());
//!
//! // Nobody joins a relation that there is not.
//! let why = context.run(on::relation_joined(5, "web/0"), &state).unwrap_err();
//! assert_eq!(why.to_string(), "there is no relation 5");
//! # Ok::<(), juju::context::Impossible>(())
//! ```
//!
//! A hook that fails leaves nothing but what Juju does at once: statuses, and the workload's version.
//!
//! ```
//! use juju::agent::Whose;
//! use juju::context::Context;
//! use juju::memory::{Meta, State};
//! use juju::{Event, Port, Status, Unit};
//!
//! let charm = |unit: &Unit<'_>| {
//!     unit.juju.set_ports(&[Port::tcp(80)].into()).unwrap();
//!     unit.juju.set_status(Whose::Unit, &Status::maintenance("half done")).unwrap();
//!     Err("the disk is full")
//! };
//! let context = Context::new(Meta::from_charmcraft("{name: clumsy}").unwrap(), charm);
//! let outcome = context.run(Event::Start, &State::new(context.meta()))?;
//! assert_eq!(outcome.result, Err("the disk is full"));
//! assert!(outcome.state.ports.is_empty());
//! assert_eq!(outcome.state.unit_status, Status::maintenance("half done"));
//! # Ok::<(), juju::context::Impossible>(())
//! ```
//!
//! A workload lives in a [`MemoryPebble`], which the test fills, gives to a container, and looks at afterwards.
//!
//! ```
//! use std::rc::Rc;
//!
//! use juju::context::{Context, on};
//! use juju::memory::{Meta, State};
//! use juju::pebble::{MemoryPebble, Pebble, PebbleError, ServiceAction, ServiceStatus, WriteFile};
//! use juju::{Unit, yaml};
//!
//! let charm = |unit: &Unit<'_>| {
//!     let web = unit.container("web");
//!     web.write_file("/etc/web.conf", b"port = 80", &WriteFile { make_dirs: true, ..WriteFile::default() })?;
//!     let layer = yaml::parse("services: {web: {override: replace, command: serve, startup: enabled}}").unwrap();
//!     web.add_layer("web", &layer, true)?;
//!     web.do_services(ServiceAction::Replan, &[])?;
//!     Ok::<(), PebbleError>(())
//! };
//! let pebble = Rc::new(MemoryPebble::new());
//! let meta = Meta::from_charmcraft("{name: site, containers: {web: {}}}").unwrap();
//! let context = Context::new(meta, charm).with_container("web", pebble.clone());
//!
//! let state = State::new(context.meta());
//! assert_eq!(context.run(on::pebble_ready("web"), &state)?.result, Ok(()));
//! assert_eq!(pebble.services(&["web"]).unwrap()[0].current, ServiceStatus::Active);
//! assert_eq!(pebble.read_file("/etc/web.conf").unwrap(), b"port = 80");
//!
//! // The container goes down: the hook fails, and no event of the container comes.
//! pebble.set_up(false);
//! assert!(context.run(juju::Event::UpdateStatus, &state)?.result.is_err());
//! assert!(context.run(on::pebble_ready("web"), &state).is_err());
//! # Ok::<(), juju::context::Impossible>(())
//! ```
//!
//! Map: [`on`] what happens · `consistency` what cannot.

mod consistency;
pub mod on;

use std::collections::BTreeMap;
use std::rc::Rc;

pub use consistency::Impossible;
pub use on::Trigger;

use crate::agent::Juju;
use crate::event::Dispatch;
use crate::log::{JujuLog, Lines, MAX_LEVEL};
use crate::memory::{ActionOutcome, Call, Finished, MemoryTools, Meta, State};
use crate::pebble::{MemoryPebble, Pebble};
use crate::run::Unit;

type Charm<'c, E> = dyn Fn(&Unit<'_>) -> Result<(), E> + 'c;

/// A charm to be tested: what it declares, and its function.
pub struct Context<'c, E> {
    meta: Meta,
    charm: Box<Charm<'c, E>>,
    containers: BTreeMap<String, Rc<dyn Pebble>>,
    variables: BTreeMap<String, String>,
}

/// What an event led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<E> {
    /// What the charm ended with. An error fails the hook, and what it wrote is taken back, but for statuses and the
    /// workload's version; nothing in a container is.
    pub result: Result<(), E>,
    pub state: State,
    /// Level and message of each line that Juju was given.
    pub log: Vec<(String, String)>,
    /// All calls of hook tools but `juju-log`, in order.
    pub calls: Vec<Call>,
    /// `None` where the event is no action. A charm that ends with an error fails it.
    pub action: Option<ActionOutcome>,
    /// A reboot was asked for; true: at once.
    pub reboot: Option<bool>,
    /// Storage asked for, `name=count`.
    pub storage_added: Vec<String>,
}

impl<E> Outcome<E> {
    /// The calls that changed something.
    pub fn writes(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.is_write())
    }

    /// Whether a line of this level holds that text.
    pub fn logged(&self, level: &str, text: &str) -> bool {
        self.log.iter().any(|(of, message)| of == level && message.contains(text))
    }
}

impl<'c, E> Context<'c, E> {
    pub fn new(meta: Meta, charm: impl Fn(&Unit<'_>) -> Result<(), E> + 'c) -> Context<'c, E> {
        Context { meta, charm: Box::new(charm), containers: BTreeMap::new(), variables: BTreeMap::new() }
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// Gives a container its Pebble, and with it all that the container holds; it lasts from one run to the next. A declared
    /// container without one is down. A [`MemoryPebble`] starts no program; the real one is as good.
    #[must_use]
    pub fn with_container(mut self, name: &str, pebble: Rc<dyn Pebble>) -> Context<'c, E> {
        self.containers.insert(name.to_owned(), pebble);
        self
    }

    /// Adds a variable to the environment of the charm.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Context<'c, E> {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs the charm for an event over a state, which stays as it is.
    ///
    /// In a departed event the unit that goes is no longer listed, but its bag can be read: it is moved in the outcome's state.
    ///
    /// # Errors
    /// The state cannot be, or the event cannot be in it. That the charm fails is an [`Outcome`].
    pub fn run(&self, trigger: impl Into<Trigger>, state: &State) -> Result<Outcome<E>, Impossible> {
        let trigger = trigger.into();
        consistency::check(&self.meta, state, &trigger, &self.containers)?;
        let mut state = state.clone();
        trigger.come(&mut state);
        let mut variables = trigger.variables(&state);
        variables.extend(self.variables.clone());
        let variable = |name: &str| variables.get(name).cloned();
        let dispatch = Dispatch::from_vars(variable).map_err(|error| Impossible(vec![error.to_string()]))?;

        let version = state.workload_version.clone();
        let tools = MemoryTools::new(self.meta.clone(), state, trigger.origin(&self.meta));
        let juju = Juju::in_memory(&tools, Some(version));
        let containers = |name: &str| -> Rc<dyn Pebble> {
            self.containers.get(name).cloned().unwrap_or_else(|| Rc::new(MemoryPebble::down()))
        };
        let unit = Unit::new(&juju, &dispatch, &variable, &containers);
        let lines = Lines::default();
        let log = JujuLog::new(lines.clone(), MAX_LEVEL);
        let result = tracing::subscriber::with_default(log, || (self.charm)(&unit));
        lines.flush(&juju).map_err(|error| Impossible(vec![error.to_string()]))?;

        let Finished { state, log, calls, mut action, reboot, storage_added } = tools.finish(result.is_ok());
        if let (Some(action), true) = (&mut action, result.is_err()) {
            action.failed.get_or_insert_with(|| "exit status 1".to_owned());
        }
        Ok(Outcome { result, state, log, calls, action, reboot, storage_added })
    }
}
