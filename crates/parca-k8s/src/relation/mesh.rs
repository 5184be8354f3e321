//! `service-mesh`, `require-cmr-mesh` and `provide-cmr-mesh`: who may reach us inside a service mesh, and the labels that
//! bring our pods into it.
//!
//! A cross-model relation shows a made-up application name; the application there tells its real name and model through
//! `provide-cmr-mesh`, and we tell ours through `require-cmr-mesh`.

use std::collections::{BTreeMap, BTreeSet};

use juju::json::Json;
use juju::model::{AppName, Bag, Relation};

use super::{bag, current, json_text};
use crate::identity::{GRPC_PORT, HTTP_PORT, Identity};

/// The endpoints whose applications may reach us, and the port for each.
pub const GRANTS: [(&str, u16); 3] =
    [("grafana-source", HTTP_PORT), ("parca-store-endpoint", GRPC_PORT), ("self-profiling-endpoint", HTTP_PORT)];

/// An application as the mesh knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    pub namespace: String,
    pub app: String,
}

/// Who the applications of other models really are, by the name that they have in this one. A relation that makes no sense is
/// passed over with a warning.
pub fn remote_workloads<'a>(provide_cmr: impl IntoIterator<Item = &'a Relation>) -> BTreeMap<AppName, Workload> {
    let mut workloads = BTreeMap::new();
    for relation in provide_cmr {
        let (Some(app), Some(text)) = (&relation.app, relation.app_data.get("cmr_data")) else { continue };
        let data = Json::parse(text).unwrap_or_default();
        let field = |key| data.get(key).and_then(Json::as_str).filter(|value| !value.is_empty());
        match (field("juju_model_name"), field("app_name")) {
            (Some(namespace), Some(name)) => {
                let workload = Workload { namespace: namespace.to_owned(), app: name.to_owned() };
                workloads.insert(app.clone(), workload);
            }
            _ => tracing::warn!(relation = relation.key(), text, "passed over cmr_data without model or application"),
        }
    }
    workloads
}

/// Our application's bag on `service-mesh`. `granted` are the relations of [`GRANTS`] with the port of each.
pub fn app_bag<'a>(
    relation: &Relation,
    identity: &Identity,
    granted: impl IntoIterator<Item = (&'a Relation, u16)>,
    remote: &BTreeMap<AppName, Workload>,
) -> Bag {
    let wished = policies(identity, granted, remote);
    let text = current(relation.local_app.as_ref(), "policies");
    // the order of policies means nothing: relations come in another order from another charm
    let as_set = |policies: &Json| policies.as_array().map(|all| all.iter().map(sorted_text).collect::<BTreeSet<_>>());
    let same = text.and_then(|text| Json::parse(text).ok()).is_some_and(|now| as_set(&now) == as_set(&wished));
    let text = text.filter(|_| same).map_or_else(|| wished.dumps(), str::to_owned);
    bag([("policies", text)])
}

fn policies<'a>(
    identity: &Identity,
    granted: impl IntoIterator<Item = (&'a Relation, u16)>,
    remote: &BTreeMap<AppName, Workload>,
) -> Json {
    let mut policies = Vec::new();
    for (relation, port) in granted {
        let Some(app) = &relation.app else { continue };
        let (namespace, name) = match remote.get(app) {
            Some(workload) => (workload.namespace.as_str(), workload.app.as_str()),
            None => (identity.model.name.as_str(), app.as_str()),
        };
        let endpoint = Json::object([
            ("hosts", Json::Null),
            ("ports", Json::from([i64::from(port)])),
            ("methods", Json::Null),
            ("paths", Json::Null),
        ]);
        let policy = Json::object([
            ("source_namespace", Json::from(namespace)),
            ("source_app_name", Json::from(name)),
            ("target_namespace", Json::from(identity.model.name.as_str())),
            ("target_app_name", Json::from(identity.app())),
            ("target_selector_labels", Json::Null),
            ("target_service", Json::Null),
            ("target_type", Json::from("app")),
            ("endpoints", Json::from([endpoint])),
        ]);
        // two relations to one application need one policy
        if !policies.contains(&policy) {
            policies.push(policy);
        }
    }
    Json::Array(policies)
}

fn sorted_text(value: &Json) -> String {
    match value {
        Json::Object(members) => {
            let mut members: Vec<_> =
                members.iter().map(|(key, value)| format!("{key:?}:{}", sorted_text(value))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(items) => format!("[{}]", items.iter().map(sorted_text).collect::<Vec<_>>().join(",")),
        other => other.dumps(),
    }
}

/// Our application's bag on `require-cmr-mesh`: who we are.
pub fn cmr_bag(relation: &Relation, identity: &Identity) -> Bag {
    let data = Json::object([
        ("app_name", Json::from(identity.app())),
        ("juju_model_name", Json::from(identity.model.name.as_str())),
    ]);
    bag([("cmr_data", json_text(current(relation.local_app.as_ref(), "cmr_data"), &data))])
}

/// The labels that the mesh wants on our pods and service. Empty until it says so, and, with a warning, where its data cannot be
/// read.
pub fn labels(relation: &Relation) -> BTreeMap<String, String> {
    let Some(text) = relation.app_data.get("labels") else { return BTreeMap::new() };
    let labels = Json::parse(text).ok();
    let labels = labels.as_ref().and_then(Json::as_object).and_then(|labels| {
        labels.iter().map(|(label, value)| Some((label.clone(), value.as_str()?.to_owned()))).collect::<Option<_>>()
    });
    labels.unwrap_or_else(|| {
        tracing::warn!(relation = relation.key(), text, "passed over labels that are no mapping of texts");
        BTreeMap::new()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn mesh() -> Relation {
        Relation::new(30, "service-mesh", "beacon")
    }

    fn far_grafana() -> Relation {
        let mut relation = Relation::new(31, "provide-cmr-mesh", "grafana");
        relation.app_data = bag([("cmr_data", r#"{"app_name": "far-grafana", "juju_model_name": "far"}"#.to_owned())]);
        relation
    }

    #[test]
    fn vectors_of_the_mesh_are_the_recorded_policies() {
        let recording = Recording::open("mesh-policies");
        let (grafana, agent) =
            (Relation::new(8, "grafana-source", "grafana"), Relation::new(7, "parca-store-endpoint", "parca-agent"));
        let far = [far_grafana()];
        type Step<'a> = (&'a [(&'a Relation, u16)], &'a [Relation]);
        let steps: [Step<'_>; 5] = [
            (&[], &[]),
            (&[(&grafana, HTTP_PORT)], &[]),
            (&[(&grafana, HTTP_PORT), (&agent, GRPC_PORT)], &[]),
            (&[(&grafana, HTTP_PORT), (&agent, GRPC_PORT)], &far),
            (&[(&grafana, HTTP_PORT)], &far),
        ];
        for (step, (granted, far)) in steps.into_iter().enumerate() {
            let ours = app_bag(&mesh(), &recorded(), granted.iter().copied(), &remote_workloads(far));
            assert_eq!(Some(ours), recording.bag(step, "30", "app"), "step {step}");
        }
    }

    #[test]
    fn policies_follow_when_the_other_models_relation_goes() {
        let grafana = Relation::new(8, "grafana-source", "grafana");
        let ours = app_bag(&mesh(), &recorded(), [(&grafana, HTTP_PORT)], &BTreeMap::new());
        assert!(ours["policies"].contains(r#"{"source_namespace": "lens", "source_app_name": "grafana""#));
    }

    #[test]
    fn policies_in_another_order_are_left_alone() {
        let (a, b) = (Relation::new(1, "grafana-source", "a"), Relation::new(2, "grafana-source", "b"));
        let of = |relation: &Relation, granted: [&Relation; 2]| {
            app_bag(relation, &recorded(), granted.map(|granted| (granted, HTTP_PORT)), &BTreeMap::new())
        };
        let mut mesh = mesh();
        let other = of(&mesh, [&b, &a]);
        assert_ne!(other, of(&mesh, [&a, &b]));
        mesh.local_app = Some(other.clone());
        assert_eq!(of(&mesh, [&a, &b]), other);
    }

    #[test]
    fn one_application_on_two_relations_needs_one_policy() {
        let twice = [Relation::new(1, "grafana-source", "a"), Relation::new(2, "grafana-source", "a")];
        let ours = policies(&recorded(), twice.iter().map(|relation| (relation, 1)), &BTreeMap::new());
        assert_eq!(ours.as_array().map(<[Json]>::len), Some(1));
    }

    #[test]
    fn vectors_of_who_we_are_to_another_model() {
        let relation = Relation::new(32, "require-cmr-mesh", "far-beacon");
        assert_eq!(Some(cmr_bag(&relation, &recorded())), Recording::open("mesh-require-cmr").bag(0, "32", "app"));
    }

    #[test]
    fn data_that_makes_no_sense_is_passed_over() {
        for text in ["", "{", "[]", "{}", r#"{"app_name": "a"}"#, r#"{"app_name": 1, "juju_model_name": "m"}"#] {
            let mut relation = far_grafana();
            relation.app_data = bag([("cmr_data", text.to_owned())]);
            assert_eq!(remote_workloads([&relation]), BTreeMap::new(), "{text}");
        }
        for text in ["{", "[]", r#"{"a": 1}"#, "3"] {
            let mut relation = mesh();
            relation.app_data = bag([("labels", text.to_owned())]);
            assert_eq!(labels(&relation), BTreeMap::new(), "{text}");
        }
    }

    #[test]
    fn the_meshs_labels_are_read() {
        let mut relation = mesh();
        assert_eq!(labels(&relation), BTreeMap::new());
        relation.app_data = bag([("labels", r#"{"istio.io/dataplane-mode": "ambient"}"#.to_owned())]);
        assert_eq!(labels(&relation), [("istio.io/dataplane-mode".to_owned(), "ambient".to_owned())].into());
    }
}
