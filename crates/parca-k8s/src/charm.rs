//! One dispatch: read, reconcile, apply; then the trace of it.
//!
//! [`reconcile`] is pure. What it does not decide is done here in one fixed order, so that a hook that fails has said as much as
//! it could: the certificate, the mesh's labels in Kubernetes, the workload, then all that Juju is told, then the trace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use juju::agent::Bags;
use juju::pebble::{Pebble, PebbleError};
use juju::{Desired, DesiredBags, Dispatch, Event, Juju, Port, Snapshot, Status, ToolError};

use crate::Identity;
use crate::bags::{self, MeshLabels, Reach};
use crate::certificates::{self, Tls};
use crate::http::Resolve;
use crate::identity::{GRPC_PORT, HTTP_PORT};
use crate::keys::KeyError;
use crate::kubernetes::{self, Account};
use crate::relation::tracing::{Protocol, endpoint};
use crate::relation::{ingress, logging, profiling, s3, store};
use crate::status;
use crate::traces::{self, Trace};
use crate::workload::{CONTAINER, Certificate, Settled, Workload};

const OURS: Bags = Bags { local_app: true, ..Bags::NONE };

/// Every endpoint whose relations count, and what is read of each.
pub const ENDPOINTS: [(&str, Bags); 19] = [
    ("catalogue", OURS),
    ("certificates", Bags { app_data: true, local_unit: true, ..Bags::NONE }),
    ("charm-tracing", Bags { app_data: true, ..OURS }),
    ("external-parca-store-endpoint", Bags::APP),
    ("grafana-dashboard", OURS),
    ("grafana-source", Bags { local_unit: true, ..OURS }),
    ("ingress", Bags { app_data: true, ..OURS }),
    ("logging", Bags { units: true, unit_data: true, ..OURS }),
    ("metrics-endpoint", Bags { local_unit: true, ..OURS }),
    ("parca-peers", Bags::UNITS),
    ("parca-store-endpoint", OURS),
    ("profiling-endpoint", Bags::REMOTE),
    ("provide-cmr-mesh", Bags::APP),
    ("require-cmr-mesh", OURS),
    ("s3", Bags { app_data: true, ..OURS }),
    ("self-profiling-endpoint", Bags { local_unit: true, ..OURS }),
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
    /// The workload's container.
    pub pebble: &'a dyn Pebble,
}

/// Why a hook has to end with an error, so that Juju tries it again.
#[derive(Debug)]
pub enum Failure {
    Tool(ToolError),
    Pebble(PebbleError),
    Key(KeyError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Tool(error) => error.fmt(f),
            Failure::Key(error) => error.fmt(f),
            Failure::Pebble(error) => write!(f, "container {CONTAINER}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<ToolError> for Failure {
    fn from(error: ToolError) -> Failure {
        Failure::Tool(error)
    }
}

impl From<certificates::Error> for Failure {
    fn from(error: certificates::Error) -> Failure {
        match error {
            certificates::Error::Tool(error) => Failure::Tool(error),
            certificates::Error::Key(error) => Failure::Key(error),
        }
    }
}

impl From<PebbleError> for Failure {
    fn from(error: PebbleError) -> Failure {
        Failure::Pebble(error)
    }
}

/// What should be: all that Juju is told, and the workload, which is left alone while there are other units.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    pub desired: Desired,
    pub workload: Option<Workload>,
    /// Results of the action, if this is one.
    pub results: BTreeMap<String, String>,
}

/// Does what the event asks for, which is the same for all events: brings about what should be.
///
/// # Errors
/// See [`Failure`].
pub fn dispatch(juju: &Juju<'_>, dispatch: &Dispatch, outside: &Outside<'_>) -> Result<(), Failure> {
    let mut trace = Trace::begin(&dispatch.event.name());
    let identity = Identity { model: dispatch.model.clone(), unit: dispatch.unit.clone(), fqdn: outside.fqdn.clone() };
    let snapshot = spanned(&mut trace, "read", || Snapshot::read(juju, dispatch, &ENDPOINTS))?;
    let tls = match is_scaled(&snapshot) {
        true => Ok(Tls::default()),
        false => spanned(&mut trace, "certificates", || {
            certificates::settle(juju, &snapshot, &identity).map_err(Failure::from)
        }),
    };
    let authority =
        tls.as_ref().ok().and_then(|tls| tls.certificate.as_ref()).map(|certificate| certificate.ca.clone());
    let done = tls.and_then(|tls| act(juju, &snapshot, &identity, &tls, outside, &mut trace));
    if let Some(mut trace) = trace {
        trace.end(done.as_ref().err().map(ToString::to_string));
        send(&trace, &snapshot, &identity, authority.as_deref(), outside);
    }
    done
}

fn act(
    juju: &Juju<'_>,
    snapshot: &Snapshot,
    identity: &Identity,
    tls: &Tls,
    outside: &Outside<'_>,
    trace: &mut Option<Trace>,
) -> Result<(), Failure> {
    let Wish { mut desired, workload, results } = reconcile(snapshot, identity, tls);
    if let Err(error) = spanned(trace, "mesh labels", || label(snapshot, identity, outside)) {
        tracing::warn!(%error, "the mesh's labels are not settled");
        desired.unit_status.push(error.status(identity.app()));
    }
    if let Some(workload) = workload {
        let settled = spanned(trace, "workload", || workload.settle(outside.pebble, identity))?;
        tell(settled, &mut desired);
    }
    spanned(trace, "apply", || {
        juju.action_set(&results)?;
        juju::apply(juju, &snapshot.dispatch, &desired)
    })?;
    Ok(())
}

/// What should be, with the certificate that our ports have. Writes nothing, asks nobody.
pub fn reconcile(snapshot: &Snapshot, identity: &Identity, tls: &Tls) -> Wish {
    let mut desired = Desired::default();
    if is_scaled(snapshot) {
        desired.unit_status.push(status::scaled_up(identity.app()));
        return Wish { desired, ..Wish::default() };
    }
    let external = snapshot.relation("ingress").and_then(ingress::external);
    let reach = Reach { identity, ca: tls.certificate.as_ref().map(|certificate| certificate.ca.as_str()), external };
    desired.ports = Some(BTreeSet::from([Port::tcp(GRPC_PORT), Port::tcp(HTTP_PORT)]));
    desired.unit_status.push(status::ready(&reach.url()));
    bags::desire(snapshot, reach, &mut desired);
    if let Some((id, bag)) = &tls.bag {
        let bags = DesiredBags { endpoint: "certificates".to_owned(), unit: bag.clone(), ..DesiredBags::default() };
        desired.bags.insert(*id, bags);
    }
    let results = match snapshot.event().action() {
        Some(action) if action.name == "list-endpoints" => endpoints(reach),
        _ => BTreeMap::new(),
    };
    let workload = workload(snapshot, identity, tls.serving.clone(), &mut desired);
    Wish { desired, workload: Some(workload), results }
}

fn workload(
    snapshot: &Snapshot,
    identity: &Identity,
    certificate: Option<Certificate>,
    desired: &mut Desired,
) -> Workload {
    let mut blocked = |status: Status| desired.unit_status.push(status);
    let config = &snapshot.config;
    let persistence = config.get_or("enable-persistence", false).unwrap_or_else(|error| {
        blocked(status::wrong_option(error));
        false
    });
    let memory = config.get_or("memory-storage-limit", 0).unwrap_or_else(|error| {
        blocked(status::wrong_option(error));
        0
    });
    let store = store::remote(snapshot.relations("external-parca-store-endpoint")).unwrap_or_else(|status| {
        blocked(status);
        None
    });
    let mut jobs = profiling::jobs(snapshot.relations("profiling-endpoint"));
    if snapshot.relation("self-profiling-endpoint").is_none() {
        jobs.push(profiling::own_job(identity, certificate.as_ref().map(|certificate| certificate.ca.as_str())));
        jobs = parca_scrape::fit(jobs);
    }
    let receivers = snapshot.relations("workload-tracing");
    Workload {
        persistence,
        memory,
        jobs,
        bucket: s3::bucket(snapshot.relations("s3")),
        store,
        certificate,
        otlp: receivers.filter_map(|relation| endpoint(relation, Protocol::OtlpGrpc)).next(),
        logs: logging::endpoints(snapshot.relations("logging")),
        logs_are_news: snapshot.event().relation("logging").is_some() || matches!(snapshot.event(), Event::Pebble(_)),
    }
}

/// The results of `list-endpoints`. As in the Python charm, the direct URL has the scheme of the ingress where that ends TLS.
fn endpoints(reach: Reach<'_>) -> BTreeMap<String, String> {
    let fqdn = &reach.identity.fqdn;
    let https = reach.ca.is_some() || reach.external.is_some_and(|external| external.scheme == "https");
    let scheme = if https { "https" } else { "http" };
    let mut results = vec![
        ("direct-http-url", format!("{scheme}://{fqdn}:{HTTP_PORT}")),
        ("direct-grpc-url", format!("{fqdn}:{GRPC_PORT}")),
    ];
    if let Some(external) = reach.external {
        results.push(("ingressed-http-url", external.url()));
        results.push(("ingressed-grpc-url", format!("{}:{GRPC_PORT}", external.host)));
    }
    results.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Adds what the workload is like to what Juju is told.
fn tell(settled: Settled, desired: &mut Desired) {
    match settled {
        Settled::Running { version } => desired.workload_version = version,
        Settled::Down => {
            desired.unit_status.push(status::container_down());
        }
        Settled::Failing(why) => {
            tracing::error!(why, "the workload does not stay up");
            desired.unit_status.push(status::workload_fails());
        }
    }
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
    let mut workload = kubernetes::Workload::new(&account, &identity.model.name, identity.app(), outside.resolve)?;
    match wish {
        MeshLabels::Leave => Ok(()),
        MeshLabels::Settle(labels) => workload.settle(&labels),
        MeshLabels::Clear => workload.clear(),
    }
}

/// Sends the trace where the charm-tracing relation says; over https only to a receiver whose certificate the authority signed that
/// signed ours. A trace that is lost is worth a line, not a hook.
fn send(trace: &Trace, snapshot: &Snapshot, identity: &Identity, authority: Option<&str>, outside: &Outside<'_>) {
    let receivers = snapshot.relations("charm-tracing");
    let Some(endpoint) = receivers.filter_map(|relation| endpoint(relation, Protocol::OtlpHttp)).next() else { return };
    let authorities: Vec<&str> = authority.into_iter().collect();
    if let Err(why) = traces::export(trace, identity, &endpoint, &authorities, outside.resolve) {
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

#[cfg(test)]
mod tests;
