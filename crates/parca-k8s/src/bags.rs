//! From what was read to what shall stand in our bags: the relations by which others watch Decima, and by which it hands on
//! logs, traces and its place in a mesh.

use std::collections::BTreeMap;

use juju::event::RelationEventKind;
use juju::model::{Bag, Relation};
use juju::{Desired, Snapshot, Status};

use crate::Identity;
use crate::identity::HTTP_PORT;
use crate::relation::prometheus_scrape::Scheme;
use crate::relation::slos::Objectives;
use crate::relation::tracing::Protocol;
use crate::relation::{catalogue, grafana_dashboard, grafana_source, logging, mesh, prometheus_scrape, slos, tracing};

/// Where Decima is reached.
#[derive(Clone, Copy, Debug)]
pub struct Reach<'a> {
    pub identity: &'a Identity,
    /// The certificate of the authority that signed ours, in PEM, where the port speaks TLS.
    pub ca: Option<&'a str>,
    /// The ingress's URL for HTTP, where there is one: `https://profiles.example.com:7994`.
    pub external: Option<&'a str>,
}

impl Reach<'_> {
    /// Where people find the screen.
    pub fn url(&self) -> String {
        let scheme = if self.ca.is_some() { "https" } else { "http" };
        self.external.map_or_else(|| format!("{scheme}://{}:{HTTP_PORT}", self.identity.fqdn), str::to_owned)
    }
}

/// Adds to `desired` our bags on all of these relations, and what the unit's status says about them.
pub fn desire(snapshot: &Snapshot, reach: Reach<'_>, desired: &mut Desired) {
    let identity = reach.identity;
    for relation in snapshot.relations("metrics-endpoint") {
        set_unit(desired, relation, prometheus_scrape::unit_bag(identity));
    }
    for relation in snapshot.relations("grafana-source") {
        set_unit(desired, relation, grafana_source::unit_bag());
    }
    // what follows is the leader's, as the bags are
    if !snapshot.leader {
        return;
    }
    let scheme = reach.ca.map_or(Scheme::Http, |ca| Scheme::Https { ca });
    let mut set = |endpoint, bag: &dyn Fn(&Relation) -> Bag| {
        for relation in snapshot.relations(endpoint) {
            let wish = bag(relation);
            bags(desired, relation).app.extend(wish);
        }
    };
    set("metrics-endpoint", &|relation| prometheus_scrape::app_bag(relation, identity, scheme));
    set("grafana-source", &|relation| grafana_source::app_bag(relation, identity, reach.ca.is_some(), reach.external));
    set("grafana-dashboard", &|relation| grafana_dashboard::app_bag(relation, identity, random_uuid));
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
        Err(why) => desired.unit_status.push(Status::blocked(why)),
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

/// Version 4 of RFC 9562. All zeros where the system has no random numbers: it only has to differ from the one before.
fn random_uuid() -> String {
    let mut bytes = [0; 16];
    // what is left is zeros
    let _ = getrandom::fill(&mut bytes);
    let random = u128::from_be_bytes(bytes);
    let uuid = random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{uuid:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
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
mod tests {
    use std::path::PathBuf;

    use juju::event::{Proxy, RelationEvent};
    use juju::model::{Config, ConfigValue, RelationId};
    use juju::status::StatusKind;
    use juju::{AppName, Dispatch, Event};

    use super::*;
    use crate::identity::tests::recorded;

    fn snapshot(leader: bool, relations: Vec<Relation>) -> Snapshot {
        let mut by_endpoint: BTreeMap<String, Vec<Relation>> = BTreeMap::new();
        for relation in relations {
            by_endpoint.entry(relation.endpoint.clone()).or_default().push(relation);
        }
        let identity = recorded();
        Snapshot {
            dispatch: Dispatch {
                event: Event::ConfigChanged,
                unit: identity.unit,
                model: identity.model,
                charm_dir: PathBuf::new(),
                juju_version: None,
                trace: None,
                proxy: Proxy::default(),
            },
            leader,
            config: Config::default(),
            relations: by_endpoint,
            unreadable: Vec::new(),
        }
    }

    const ENDPOINTS: [&str; 10] = [
        "catalogue",
        "charm-tracing",
        "grafana-dashboard",
        "grafana-source",
        "logging",
        "metrics-endpoint",
        "require-cmr-mesh",
        "service-mesh",
        "slos",
        "workload-tracing",
    ];

    fn all() -> Vec<Relation> {
        ENDPOINTS.iter().enumerate().map(|(id, endpoint)| Relation::new(id as u32, *endpoint, "other")).collect()
    }

    fn desired(snapshot: &Snapshot) -> Desired {
        let identity = recorded();
        let mut desired = Desired::default();
        desire(snapshot, Reach { identity: &identity, ca: None, external: None }, &mut desired);
        desired
    }

    #[test]
    fn the_leader_speaks_on_every_relation_and_a_second_time_says_the_same() {
        let first = desired(&snapshot(true, all()));
        assert_eq!(first.bags.len(), ENDPOINTS.len());
        let relations = all().into_iter().map(|mut relation| {
            relation.local_app = Some(first.bags[&relation.id].app.clone());
            relation
        });
        assert_eq!(desired(&snapshot(true, relations.collect())), first);
    }

    #[test]
    fn a_follower_speaks_in_its_units_bags_only() {
        let desired = desired(&snapshot(false, all()));
        assert!(desired.bags.values().all(|bags| bags.app.is_empty()));
        let spoken: Vec<_> = desired.bags.values().map(|bags| bags.endpoint.as_str()).collect();
        assert_eq!(spoken, ["grafana-source", "metrics-endpoint"]);
    }

    #[test]
    fn a_bad_specification_blocks_the_unit_and_leaves_every_sloths_bag() {
        let mut snapshot = snapshot(true, vec![Relation::new(1, "slos", "a"), Relation::new(2, "slos", "b")]);
        assert_eq!(desired(&snapshot).bags.len(), 2);
        let bad = ConfigValue::String("version: prometheus/v1\nslos: []".to_owned());
        snapshot.config.0.insert("slos".to_owned(), bad);
        let desired = desired(&snapshot);
        assert!(desired.bags.is_empty());
        let message = "option slos: service is missing; slos is empty";
        assert_eq!(desired.unit_status, [Status { kind: StatusKind::Blocked, message: message.to_owned() }]);
    }

    #[test]
    fn policies_are_for_the_applications_that_are_related_now() {
        let policies = |relations: Vec<Relation>| {
            let desired = desired(&snapshot(true, relations));
            desired.bags[&RelationId(30)].app["policies"].matches("source_app_name").count()
        };
        let mesh = || Relation::new(30, "service-mesh", "beacon");
        let mut going = Relation::new(8, "grafana-source", "grafana");
        assert_eq!(policies(vec![mesh(), going.clone(), Relation::new(6, "self-profiling-endpoint", "far")]), 2);
        going.broken = true;
        assert_eq!(policies(vec![mesh(), going]), 0);
    }

    #[test]
    fn kubernetes_is_asked_only_when_the_mesh_has_something_to_say() {
        let event = |kind| {
            let (app, endpoint) = (AppName::new("beacon"), "service-mesh".to_owned());
            Event::Relation(RelationEvent { kind, endpoint, id: RelationId(30), app, unit: None, departing: None })
        };
        let mut mesh = Relation::new(30, "service-mesh", "beacon");
        let mut now = snapshot(true, vec![mesh.clone()]);
        assert_eq!(mesh_labels(&now), MeshLabels::Leave);
        now.dispatch.event = event(RelationEventKind::Changed);
        assert_eq!(mesh_labels(&now), MeshLabels::Settle(BTreeMap::new()));
        mesh.app_data.insert("labels".to_owned(), r#"{"a": "b"}"#.to_owned());
        let mut now = snapshot(false, vec![mesh.clone()]);
        assert_eq!(mesh_labels(&now), MeshLabels::Settle([("a".to_owned(), "b".to_owned())].into()));
        mesh.broken = true;
        now = snapshot(true, vec![mesh]);
        now.dispatch.event = event(RelationEventKind::Broken);
        assert_eq!(mesh_labels(&now), MeshLabels::Clear);
        assert_eq!(mesh_labels(&snapshot(true, Vec::new())), MeshLabels::Leave);
    }

    #[test]
    fn random_uuids_are_of_version_4() {
        let uuid = random_uuid();
        assert_eq!((uuid.len(), &uuid[14..15]), (36, "4"), "{uuid}");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
        assert_ne!(uuid, random_uuid());
    }
}
