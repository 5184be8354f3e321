//! From what was read to what shall stand in our bags: the relations by which others reach and watch Decima, and by which it
//! hands on profiles, logs, traces and its place in a mesh.

use std::collections::BTreeMap;

use juju::event::RelationEventKind;
use juju::model::{Bag, Relation};
use juju::{Desired, Snapshot};

use crate::Identity;
use crate::identity::HTTP_PORT;
use crate::keys;
use crate::relation::prometheus_scrape::Scheme;
use crate::relation::slos::Objectives;
use crate::relation::tracing::Protocol;
use crate::relation::{
    catalogue, grafana_dashboard, grafana_source, ingress, logging, mesh, profiling, prometheus_scrape, s3, slos,
    store, tracing,
};
use crate::status;

/// Where Decima is reached.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    pub identity: &'a Identity,
    /// The certificate of the authority that signed ours, in PEM, where the port speaks TLS.
    pub ca: Option<&'a str>,
    /// What the ingress says, where there is one.
    pub external: Option<External<'a>>,
}

/// Where the ingress is.
#[derive(Clone, Copy, Debug)]
pub struct External<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// A name or an address.
    pub host: &'a str,
}

impl External<'_> {
    /// `https://profiles.example.com:7994`
    pub fn url(&self) -> String {
        format!("{}://{}:{HTTP_PORT}", self.scheme, self.host)
    }
}

impl Reach<'_> {
    /// Where agents push profiles, and whether without TLS.
    fn store(&self) -> (&str, bool) {
        match &self.external {
            Some(external) => (external.host, external.scheme != "https"),
            None => (&self.identity.fqdn, self.ca.is_none()),
        }
    }

    /// Where people find the screen.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        self.external.unwrap_or(External { scheme, host: &self.identity.fqdn }).url()
    }
}

/// Adds to `desired` our bags on all of these relations, and what the unit's status says about them.
pub fn desire(snapshot: &Snapshot, reach: Reach<'_>, desired: &mut Desired) {
    let identity = reach.identity;
    for relation in snapshot.relations("metrics-endpoint") {
        set_unit(
            desired,
            relation,
            prometheus_scrape::unit_bag(identity, reach.external.map(|external| external.host)),
        );
    }
    for relation in snapshot.relations("grafana-source") {
        set_unit(desired, relation, grafana_source::unit_bag());
    }
    for relation in snapshot.relations("self-profiling-endpoint") {
        set_unit(desired, relation, profiling::unit_bag(identity));
    }
    // what follows is the leader's, as the bags are
    if !snapshot.leader {
        return;
    }
    let external = reach.external.map(|external| external.url());
    let scheme = reach.ca.map_or(Scheme::Http, |ca| Scheme::Https { ca });
    let mut set = |endpoint, bag: &dyn Fn(&Relation) -> Bag| {
        for relation in snapshot.relations(endpoint) {
            let wish = bag(relation);
            bags(desired, relation).app.extend(wish);
        }
    };
    set("metrics-endpoint", &|relation| prometheus_scrape::app_bag(relation, identity, scheme));
    set("grafana-source", &|relation| {
        grafana_source::app_bag(relation, identity, reach.ca.is_some(), external.as_deref())
    });
    set("grafana-dashboard", &|relation| grafana_dashboard::app_bag(relation, identity, new_uuid));
    set("ingress", &|relation| ingress::app_bag(relation, identity, reach.ca.is_some()));
    set("self-profiling-endpoint", &|relation| profiling::app_bag(relation, identity, reach.ca));
    let (host, insecure) = reach.store();
    set("parca-store-endpoint", &|_| store::app_bag(host, insecure));
    set("s3", &|_| s3::app_bag());
    set("catalogue", &|_| catalogue::app_bag(&reach.url()));
    set("logging", &|relation| logging::app_bag(relation, identity));
    set("charm-tracing", &|relation| tracing::app_bag(relation, Protocol::OtlpHttp));
    set("workload-tracing", &|relation| tracing::app_bag(relation, Protocol::OtlpGrpc));
    set("require-cmr-mesh", &|relation| mesh::cmr_bag(relation, identity));
    let remote = mesh::remote_workloads(snapshot.relations("provide-cmr-mesh"));
    set("service-mesh", &|relation| mesh::app_bag(relation, identity, granted(snapshot), &remote));
    desire_slos(snapshot, identity, desired);
}

fn desire_slos(snapshot: &Snapshot, identity: &Identity, desired: &mut Desired) {
    if snapshot.relation("slos").is_none() {
        return;
    }
    let config = &snapshot.config;
    let read = || {
        let own: String = config.get_or("slos", String::new()).map_err(|error| error.to_string())?;
        let errors = config.get_or("slo-errors-target", 99.0).map_err(|error| error.to_string())?;
        let latency = config.get_or("slo-latency-target", 99.0).map_err(|error| error.to_string())?;
        slos::specifications(Objectives { own: &own, errors, latency }, identity).map_err(|error| error.to_string())
    };
    match read() {
        Ok(specifications) => {
            for relation in snapshot.relations("slos") {
                let wish = slos::app_bag(relation, &specifications);
                bags(desired, relation).app.extend(wish);
            }
        }
        // what stands in the bags stays
        Err(why) => desired.unit_status.push(status::wrong_option(why)),
    }
}

/// The relations whose applications may reach us, with the port for each.
fn granted(snapshot: &Snapshot) -> impl Iterator<Item = (&Relation, u16)> {
    mesh::GRANTS.iter().flat_map(|(endpoint, port)| snapshot.relations(endpoint).map(|relation| (relation, *port)))
}

fn set_unit(desired: &mut Desired, relation: &Relation, wish: Bag) {
    bags(desired, relation).unit.extend(wish);
}

fn bags<'a>(desired: &'a mut Desired, relation: &Relation) -> &'a mut juju::DesiredBags {
    let bags = desired.bags.entry(relation.id).or_default();
    bags.endpoint.clone_from(&relation.endpoint);
    bags
}

/// Empty where the system has no random numbers: it only has to differ from the one before.
fn new_uuid() -> String {
    keys::random_uuid().unwrap_or_default()
}

/// What there is to do about the mesh's labels in Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeshLabels {
    /// There is no mesh, or it said nothing: the Kubernetes API is not asked.
    Leave,
    /// Pods and service shall have exactly these of ours.
    Settle(BTreeMap<String, String>),
    /// The mesh is gone: none of ours.
    Clear,
}

/// Every unit does it: they share the objects, and the first one is enough.
pub fn mesh_labels(snapshot: &Snapshot) -> MeshLabels {
    let event = snapshot.event().relation("service-mesh").map(|event| event.kind);
    match snapshot.relation("service-mesh").map(mesh::labels) {
        Some(labels) if !labels.is_empty() || event == Some(RelationEventKind::Changed) => MeshLabels::Settle(labels),
        None if event == Some(RelationEventKind::Broken) => MeshLabels::Clear,
        _ => MeshLabels::Leave,
    }
}

#[cfg(test)]
mod tests;
