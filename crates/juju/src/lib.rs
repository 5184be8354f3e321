//! A charm SDK: what a charm needs of Juju, typed, without async and with few dependencies.
//!
//! A charm is a pure function from a [`Snapshot`] of the model to the [`Desired`] state; one applier brings that about and
//! writes only what differs. So a charm keeps no state, defers nothing, and a hook that runs twice writes nothing the second
//! time.
//!
//! This crate knows nothing of profiles, never reads the process's environment on its own (it is handed in), talks to nobody but
//! Pebble's Unix sockets and, for [`names`], name servers, and is never async.
//!
//! Map: [`run()`] a charm's `main` · [`event`] why the charm runs · [`environment`] how Juju says so · [`model`] what Juju knows ·
//! [`tools`] hook tools · [`memory`] the same in memory · [`agent`] the same, typed and asked once · [`snapshot`] what was read ·
//! [`desired`] what shall be · [`mod@apply`] from the one to the other · [`status`] statuses and their urgency · [`log`] lines for
//! Juju · [`pebble`] the workload containers · [`names`] hosts' names and addresses · [`context`] a charm's test · [`json`],
//! [`yaml`] the texts in data bags and plans.

pub mod agent;
pub mod apply;
pub mod context;
pub mod desired;
pub mod environment;
pub mod event;
pub mod json;
pub mod log;
pub mod memory;
pub mod model;
pub mod names;
pub mod pebble;
mod run;
pub mod snapshot;
pub mod status;
pub mod tools;
pub mod yaml;

pub use agent::{Bags, Juju, Side, Whose};
pub use apply::{Applied, apply};
pub use desired::{Answer, Desired, DesiredBags, Port};
pub use event::{Dispatch, Event};
pub use model::{AppName, Bag, Config, ModelInfo, Relation, RelationId, UnitName};
pub use run::{Unit, run};
pub use snapshot::Snapshot;
pub use status::Status;
pub use tools::{HookTools, ToolError};

/// The example of the README runs too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
