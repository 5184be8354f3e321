//! Reading what a charm looks at, and bringing about what it wishes.

use std::collections::BTreeMap;

use crate::agent::{Bags, Juju, Side, Whose};
use crate::desired::Desired;
use crate::event::{Dispatch, Event, RelationEventKind};
use crate::model::Bag;
use crate::snapshot::{Snapshot, Unreadable};
use crate::status::Status;
use crate::tools::ToolError;

/// What a charm looks at: its endpoints, and what it reads of their relations.
pub type Endpoints<'a> = &'a [(&'a str, Bags)];

impl Snapshot {
    /// Reads the model, leadership, the configuration, the relations of `endpoints`, and an action's parameters.
    ///
    /// A relation that cannot be read, because it is gone or closed to us, is left out with a warning and listed under
    /// [`Snapshot::unreadable`]. A relation that this very event breaks is marked so.
    pub fn read(juju: &Juju<'_>, dispatch: &Dispatch, endpoints: Endpoints<'_>) -> Result<Snapshot, ToolError> {
        let breaking = match &dispatch.event {
            Event::Relation(e) if e.kind == RelationEventKind::Broken => Some(e.id),
            _ => None,
        };
        let mut relations = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (endpoint, parts) in endpoints {
            let mut found = Vec::new();
            for id in juju.relation_ids(endpoint)? {
                // What is being broken has no say any more, and is often closed already.
                let parts = if breaking == Some(id) { Bags::NONE } else { *parts };
                let open = |app: Option<&_>| juju.app_bag_is_open(&dispatch.unit, app);
                match juju.relation(endpoint, id, parts, &dispatch.unit, open) {
                    Ok(mut relation) => {
                        relation.broken = breaking == Some(id);
                        found.push(relation);
                    }
                    Err(why) if why.relation_is_gone() => {
                        tracing::warn!(relation = %format_args!("{endpoint}:{id}"), error = %why, "passed over a relation that cannot be read");
                        unreadable.push(Unreadable { endpoint: (*endpoint).to_owned(), id, why });
                    }
                    Err(error) => return Err(error),
                }
            }
            relations.insert((*endpoint).to_owned(), found);
        }
        let leader = juju.is_leader()?;
        let config = juju.config()?;
        let params = if dispatch.event.action().is_some() { juju.action_params()? } else { BTreeMap::new() };
        Ok(Snapshot { dispatch: dispatch.clone(), leader, config, params, relations, unreadable })
    }
}

/// What the applier had to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// `endpoint:id`, the bag, and what was written into it.
    pub bags: Vec<(String, Side, Bag)>,
    pub ports: bool,
    pub workload_version: bool,
    pub statuses: Vec<(Whose, Status)>,
}

impl Applied {
    /// Nothing had to be written: the world is as it was wished.
    pub fn is_nothing(&self) -> bool {
        *self == Applied::default()
    }
}

/// Brings about what is wished: reads what is there, and writes only what differs.
///
/// A bag of an application and the application's status are the leader's; for other units they are passed over. So is, with a
/// warning, a relation that is gone or closed to us.
///
/// # Errors
/// A hook tool that failed otherwise. What was written before it is then taken back by Juju if the hook ends with an error,
/// but not statuses and the workload's version, which is why they come last.
pub fn apply(juju: &Juju<'_>, dispatch: &Dispatch, desired: &Desired) -> Result<Applied, ToolError> {
    let mut applied = Applied::default();
    let own = &dispatch.unit;
    for (id, bags) in &desired.bags {
        for (side, wish) in [(Side::Unit, &bags.unit), (Side::App, &bags.app)] {
            if wish.is_empty() || side == Side::App && !juju.is_leader()? {
                continue;
            }
            let key = format!("{}:{id}", bags.endpoint);
            match juju.relation_set(*id, own, side, wish) {
                Ok(changes) if changes.is_empty() => {}
                Ok(changes) => applied.bags.push((key, side, changes)),
                Err(why) if why.relation_is_gone() => {
                    tracing::warn!(relation = key, error = %why, "passed over a relation that cannot be written");
                }
                Err(error) => return Err(error),
            }
        }
    }
    if dispatch.event.action().is_some() {
        juju.action_set(&desired.answer.results)?;
        if let Some(why) = &desired.answer.failed {
            juju.action_fail(why)?;
        }
    }
    if let Some(ports) = &desired.ports {
        applied.ports = juju.set_ports(ports)?;
    }
    if let Some(version) = &desired.workload_version {
        applied.workload_version = juju.set_workload_version(version)?;
    }
    for (whose, candidates) in [(Whose::App, &desired.app_status), (Whose::Unit, &desired.unit_status)] {
        let Some(status) = Status::worst(candidates.iter().cloned()) else { continue };
        if whose == Whose::App && !juju.is_leader()? {
            continue;
        }
        if juju.set_status(whose, &status)? {
            applied.statuses.push((whose, status));
        }
    }
    Ok(applied)
}
