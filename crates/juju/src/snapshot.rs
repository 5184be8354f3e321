//! What a charm looks at: all that one dispatch has read.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::event::{Dispatch, Event};
use crate::model::{AppName, Config, ModelInfo, Relation, RelationId, UnitName};
use crate::tools::ToolError;

/// The model as this unit sees it, read once. A charm's `reconcile` is a pure function of it (and of what the charm adds
/// to it, such as the state of its workload).
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub dispatch: Dispatch,
    pub leader: bool,
    pub config: Config,
    /// The parameters of the action that runs, defaults included. Empty for other events.
    pub params: BTreeMap<String, Value>,
    /// By endpoint; within one in the order of `relation-ids`, which is sorted as text: `x:10` before `x:9`.
    /// An endpoint that was read and has no relation is there, with an empty list.
    pub relations: BTreeMap<String, Vec<Relation>>,
    /// Relations of which a part could not be read. They are passed over, each with a warning in the log.
    pub unreadable: Vec<Unreadable>,
}

/// A relation that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub endpoint: String,
    pub id: RelationId,
    pub why: ToolError,
}

impl Snapshot {
    pub fn event(&self) -> &Event {
        &self.dispatch.event
    }

    pub fn unit(&self) -> &UnitName {
        &self.dispatch.unit
    }

    pub fn app(&self) -> &AppName {
        self.dispatch.unit.app()
    }

    pub fn model(&self) -> &ModelInfo {
        &self.dispatch.model
    }

    /// The relations of an endpoint, without one that is being broken by this very event.
    pub fn relations(&self, endpoint: &str) -> impl Iterator<Item = &Relation> {
        self.relations.get(endpoint).into_iter().flatten().filter(|r| !r.broken)
    }

    /// The first relation of an endpoint, for endpoints that take one.
    pub fn relation(&self, endpoint: &str) -> Option<&Relation> {
        self.relations(endpoint).next()
    }
}
