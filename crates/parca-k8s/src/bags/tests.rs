use juju::event::RelationEvent;
use juju::model::{Config, ConfigValue, RelationId};
use juju::{AppName, Dispatch, Event, Status};
use proptest::prelude::*;

use super::*;
use crate::identity::tests::recorded;

fn snapshot(leader: bool, relations: Vec<Relation>) -> Snapshot {
    let mut by_endpoint: BTreeMap<String, Vec<Relation>> = BTreeMap::new();
    for relation in relations {
        by_endpoint.entry(relation.endpoint.clone()).or_default().push(relation);
    }
    let identity = recorded();
    Snapshot {
        dispatch: Dispatch::new(Event::ConfigChanged, identity.unit, identity.model),
        leader,
        config: Config::default(),
        params: BTreeMap::new(),
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
    assert_eq!(desired.unit_status, [Status::blocked(message)]);
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_in_any_bag_panics(
        text in r#"[\[\]{}":, \\n\\ua-z0-9/+=-]{0,40}"#,
        key in prop::sample::select(vec!["labels", "cmr_data", "receivers", "endpoint", "policies", "dashboards", "slos", "scrape_jobs"]),
        other in ".{0,20}",
    ) {
        let relations = all().into_iter().chain([Relation::new(40, "provide-cmr-mesh", "far")]).map(|mut relation| {
            let bag: Bag = [(key.to_owned(), text.clone()), (other.clone(), text.clone())].into();
            relation.units.insert("other/0".parse().unwrap(), bag.clone());
            relation.app_data = bag.clone();
            relation.local_app = Some(bag);
            relation
        });
        let snapshot = snapshot(true, relations.collect());
        let first = desired(&snapshot);
        let _ = mesh_labels(&snapshot);
        let lokis = logging::endpoints(snapshot.relations("logging"));
        let _ = logging::layer(&lokis, &Default::default(), &recorded());
        for relation in snapshot.relations("charm-tracing") {
            let _ = tracing::endpoint(relation, Protocol::OtlpHttp);
        }
        prop_assert!(first.bags.len() >= ENDPOINTS.len());
    }
}
