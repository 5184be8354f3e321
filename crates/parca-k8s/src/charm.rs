//! One dispatch: read, reconcile, apply; then the trace of it.
//!
//! [`reconcile`] is pure. What it does not decide is done here in one fixed order, so that a hook that fails has said as much as
//! it could: the mesh's labels in Kubernetes, then all that Juju is told, then the trace.

use std::collections::BTreeSet;
use std::path::Path;

use juju::agent::Bags;
use juju::{Desired, Dispatch, Juju, Port, Snapshot, Status, ToolError};

use crate::Identity;
use crate::bags::{self, MeshLabels, Reach};
use crate::http::Resolve;
use crate::identity::{GRPC_PORT, HTTP_PORT};
use crate::kubernetes::{self, Account, Workload};
use crate::relation::tracing::{Protocol, endpoint};
use crate::traces::{self, Trace};

const OURS: Bags = Bags { local_app: true, ..Bags::NONE };

/// Every endpoint whose relations count, and what is read of each.
pub const ENDPOINTS: [(&str, Bags); 14] = [
    ("catalogue", OURS),
    ("charm-tracing", Bags { app_data: true, ..OURS }),
    ("grafana-dashboard", OURS),
    ("grafana-source", Bags { local_unit: true, ..OURS }),
    ("logging", Bags { units: true, unit_data: true, ..OURS }),
    ("metrics-endpoint", Bags { local_unit: true, ..OURS }),
    ("parca-peers", Bags::UNITS),
    ("parca-store-endpoint", OURS),
    ("provide-cmr-mesh", Bags::APP),
    ("require-cmr-mesh", OURS),
    ("self-profiling-endpoint", OURS),
    ("service-mesh", Bags { app_data: true, ..OURS }),
    ("slos", OURS),
    ("workload-tracing", Bags { app_data: true, ..OURS }),
];

/// What a dispatch meets outside of Juju.
pub struct Outside<'a> {
    /// The unit's fully qualified name.
    pub fqdn: String,
    pub resolve: Resolve<'a>,
    /// Variables of the environment: where Kubernetes is.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The folder of the service account.
    pub account: &'a Path,
}

/// Does what the event asks for, which is the same for all events: brings about what should be.
///
/// # Errors
/// A hook tool that failed: the hook has to end with an error, so that Juju tries it again.
pub fn dispatch(juju: &Juju<'_>, dispatch: &Dispatch, outside: &Outside<'_>) -> Result<(), ToolError> {
    let mut trace = Trace::begin(&dispatch.event.name());
    let identity = Identity { model: dispatch.model.clone(), unit: dispatch.unit.clone(), fqdn: outside.fqdn.clone() };
    let snapshot = spanned(&mut trace, "read", || Snapshot::read(juju, dispatch, &ENDPOINTS))?;
    let mut desired = reconcile(&snapshot, &identity);
    if let Err(error) = spanned(&mut trace, "mesh labels", || label(&snapshot, &identity, outside)) {
        tracing::warn!(%error, "the mesh's labels are not settled");
        desired.unit_status.push(error.status(identity.app()));
    }
    let applied = spanned(&mut trace, "apply", || juju::apply(juju, dispatch, &desired));
    if let Some(mut trace) = trace {
        trace.end(applied.as_ref().err().map(ToString::to_string));
        send(&trace, &snapshot, &identity, outside);
    }
    applied.map(drop)
}

/// What should be. Writes nothing, asks nobody.
pub fn reconcile(snapshot: &Snapshot, identity: &Identity) -> Desired {
    let mut desired = Desired::default();
    if is_scaled(snapshot) {
        let app = identity.app();
        let message = format!("You can't scale up {app}. Deploy a new application instead.");
        desired.unit_status.push(Status::blocked(message));
        return desired;
    }
    desired.ports = Some(BTreeSet::from([Port::tcp(GRPC_PORT), Port::tcp(HTTP_PORT)]));
    let reach = Reach { identity, ca: None, external: None };
    bags::desire(snapshot, reach, &mut desired);
    desired
}

/// There are other units. Parca keeps no state in common with others, so each would have a part of the profiles.
fn is_scaled(snapshot: &Snapshot) -> bool {
    snapshot.relation("parca-peers").is_some_and(|peers| !peers.units.is_empty())
}

fn label(snapshot: &Snapshot, identity: &Identity, outside: &Outside<'_>) -> Result<(), kubernetes::Error> {
    let wish = bags::mesh_labels(snapshot);
    if wish == MeshLabels::Leave || is_scaled(snapshot) {
        return Ok(());
    }
    let account = Account::read(outside.variable, outside.account)?;
    let mut workload = Workload::new(&account, &identity.model.name, identity.app(), outside.resolve)?;
    match wish {
        MeshLabels::Leave => Ok(()),
        MeshLabels::Settle(labels) => workload.settle(&labels),
        MeshLabels::Clear => workload.clear(),
    }
}

/// Sends the trace where the charm-tracing relation says. A trace that is lost is worth a line, not a hook.
fn send(trace: &Trace, snapshot: &Snapshot, identity: &Identity, outside: &Outside<'_>) {
    let receivers = snapshot.relations("charm-tracing");
    let Some(endpoint) = receivers.filter_map(|relation| endpoint(relation, Protocol::OtlpHttp)).next() else { return };
    if let Err(why) = traces::export(trace, identity, &endpoint, &[], outside.resolve) {
        tracing::info!(why, "the charm's trace is lost");
    }
}

fn spanned<T, E: std::fmt::Display>(
    trace: &mut Option<Trace>,
    name: &str,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    match trace {
        Some(trace) => trace.span(name, work),
        None => work(),
    }
}
