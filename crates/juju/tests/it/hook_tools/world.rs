//! The worlds in which calls are made, for both sides, and what is compared of them afterwards.

use std::collections::BTreeMap;

use juju::memory::{Finished, Meta, Owner, SecretState, State};
use juju::model::RelationId;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::calls::{Call, KEYS, call, pick};

/// What the simulator calls the secrets that `mine/0` makes, in order.
pub(super) const OWN_SECRETS: [&str; 6] = [
    "65n4e2b8n3tg1jsdbg82",
    "fnmfm7d7hvlnr98hqin3",
    "oegkikjng7ejj9oe0geb",
    "ko4tjsj2s2jocrmk6aij",
    "lbd65t4ikgcp5o1js4hf",
    "a6rbagbg75s00j3ldg2s",
];
pub(super) const FOREIGN_SECRET: &str = "9m4e2mr0ui3e8a215n4g";

/// What the simulator takes as a charm's metadata and options.
pub(super) fn metadata() -> Value {
    json!({
        "name": "mine",
        "requires": {"db": {"interface": "pg", "limit": 1}},
        "provides": {"web": {"interface": "http"}},
        "peers": {"cluster": {"interface": "mine"}},
        "extra-bindings": {"admin": null},
        "storage": {"data": {"type": "filesystem"}},
        "resources": {"blob": {"type": "file"}},
    })
}

pub(super) fn options() -> Value {
    json!({
        "flag": {"type": "boolean", "default": false},
        "level": {"type": "float", "default": 99.0},
        "count": {"type": "int"},
        "text": {"type": "string", "default": "as it is"},
        "unset": {"type": "string"},
    })
}

#[derive(Clone, Debug)]
pub(super) struct Case {
    state: Value,
    pub(super) calls: Vec<Call>,
    pub(super) exit: u8,
    pub(super) relation: Option<u32>,
    pub(super) remote_unit: Option<String>,
    pub(super) params: Option<Value>,
}

impl Case {
    pub(super) fn to_json(&self) -> Value {
        json!({
            "state": self.state, "calls": self.calls, "exit": self.exit, "relation": self.relation,
            "remote_unit": self.remote_unit, "action": self.params.as_ref().map(|_| "greet"), "params": self.params,
        })
    }

    /// The same world for the in-memory side, read from what the simulator gets.
    pub(super) fn state(&self, meta: &Meta) -> State {
        let given = &self.state;
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        let bag = |v: &Value| -> BTreeMap<String, String> {
            v.as_object().unwrap().iter().map(|(k, v)| (k.clone(), text(v))).collect()
        };
        let mut state = State::new(meta).leader(given["leader"] == true);
        state.config = serde_json::from_value(given["config"].clone()).unwrap();
        for r in given["relations"].as_array().unwrap() {
            let id = u32::try_from(r["id"].as_u64().unwrap()).unwrap();
            let app = r["app"].as_str().unwrap_or("mine");
            state = state.relation(id, r["endpoint"].as_str().unwrap(), app);
            let relation = state.relations.get_mut(&RelationId(id)).unwrap();
            relation.remote_app_data = bag(&r["app_data"]);
            relation.local_app = bag(&r["local_app"]);
            relation.local_unit.extend(bag(&r["local_unit"]));
            relation.remote_units =
                r["units"].as_object().unwrap().iter().map(|(u, d)| (u.parse().unwrap(), bag(d))).collect();
        }
        for s in given["secrets"].as_array().unwrap() {
            let owner = Owner::Other(text(&s["owner"]));
            state = state.secret(SecretState::new(&text(&s["id"]), owner, &text(&s["label"]), bag(&s["content"])));
        }
        state.planned_units = u32::try_from(given["planned_units"].as_u64().unwrap()).unwrap();
        state.resources = bag(&given["resources"]);
        state.secret_ids = OWN_SECRETS.map(str::to_owned).into();
        state.credential = (given["trust"] == true).then(|| given["cloud_spec"].clone());
        state
    }
}

pub(super) fn case(file: &str) -> BoxedStrategy<Case> {
    let bag = || proptest::collection::btree_map(pick(KEYS), pick(&["1", "hello", "é", "two\nlines"]), 0..3);
    let pg = (bag(), bag(), bag(), bag(), bag(), any::<bool>()).prop_map(|(app, own_app, own_unit, a, b, second)| {
        let mut units = json!({"pg/0": a});
        if second {
            units["pg/10"] = json!(b);
        }
        json!({"id": 3, "endpoint": "db", "app": "pg", "app_data": app, "units": units, "local_app": own_app, "local_unit": own_unit})
    });
    let web = bag().prop_map(|own| {
        json!({"id": 5, "endpoint": "web", "app": "other", "app_data": {}, "units": {}, "local_app": own, "local_unit": {}})
    });
    let second = bag().prop_map(|app| {
        json!({"id": 12, "endpoint": "db", "app": "other", "app_data": app, "units": {"other/2": {}}, "local_app": {}, "local_unit": {}})
    });
    let config = (
        proptest::option::of(any::<bool>()),
        proptest::option::of(prop_oneof![Just(1.0), Just(2.5), Just(-3.0)]),
        proptest::option::of(-5i64..5),
    )
        .prop_map(|(flag, level, count)| {
            let mut config = json!({});
            if let Some(v) = flag {
                config["flag"] = json!(v);
            }
            if let Some(v) = level {
                config["level"] = json!(v);
            }
            if let Some(v) = count {
                config["count"] = json!(v);
            }
            config
        });
    let relations =
        (proptest::option::weighted(0.9, pg), proptest::option::of(web), proptest::option::weighted(0.3, second));
    let world = (relations, config, any::<bool>(), any::<bool>(), any::<bool>(), 1u32..4).prop_map(
        |((pg, web, second), config, leader, trust, foreign, planned_units)| {
            let peer = json!({"id": 0, "endpoint": "cluster", "app_data": {}, "units": {"mine/1": {"k": "peer"}},
                "local_app": {"shared": "yes"}, "local_unit": {}});
            let relations: Vec<Value> = [Some(peer), pg, web, second].into_iter().flatten().collect();
            let secret = json!({"id": FOREIGN_SECRET, "owner": "pg", "label": "theirs", "content": {"token": "t"}});
            let secrets: Vec<Value> = foreign.then_some(secret).into_iter().collect();
            json!({
                "app": "mine", "unit": 0, "leader": leader, "trust": trust, "cloud_spec": {"type": "kubernetes"},
                "model": {"name": "testing", "uuid": "f2c1a0de-5b7e-4b52-9c5e-2d1f6a7b8c90"},
                "config": config, "relations": relations, "secrets": secrets, "planned_units": planned_units,
                "resources": {"blob": "/srv/blob"}, "metadata": metadata(), "config_options": options(),
            })
        },
    );
    let origin = prop_oneof![
        2 => Just((None, None)),
        1 => Just((Some(json!({"name": "Ann", "deep": {"er": 3}})), None)),
        2 => Just((None, Some("pg/0".to_owned()))),
        1 => Just((None, Some(String::new()))),
    ];
    let calls = proptest::collection::vec(call(file), 1..14);
    (world, origin, calls, prop_oneof![3 => Just(0u8), 1 => Just(1u8)])
        .prop_map(|(state, (params, remote), calls, exit)| {
            let related = state["relations"].as_array().unwrap().iter().any(|r| r["id"] == 3);
            let relation = (remote.is_some() && related).then_some(3);
            let remote_unit = remote.filter(|unit| relation.is_some() && !unit.is_empty());
            Case { state, calls, exit, relation, remote_unit, params }
        })
        .boxed()
}

/// What is compared of the world afterwards, in the simulator's form.
pub(super) fn world_of(done: &Finished) -> Value {
    let state = &done.state;
    let relations: Map<String, Value> = state
        .relations
        .iter()
        .map(|(id, r)| {
            let units = |units: &BTreeMap<juju::UnitName, juju::Bag>| -> Value {
                units.iter().map(|(u, b)| (u.to_string(), json!(b))).collect::<Map<_, _>>().into()
            };
            let body = json!({
                "endpoint": r.endpoint, "remote_app": r.remote_app, "remote_app_data": r.remote_app_data,
                "units": units(&r.remote_units), "gone_units": units(&r.gone_units),
                "local_app": r.local_app, "local_unit": r.local_unit,
            });
            (id.to_string(), body)
        })
        .collect();
    let secrets: Vec<Value> = state
        .secrets
        .iter()
        .map(|s| {
            let owner = match &s.owner {
                Owner::Unit => "unit",
                Owner::Application => "application",
                Owner::Other(app) => app,
            };
            let grants: Vec<Value> = s
                .grants
                .iter()
                .map(|g| {
                    let parts = [("relation", json!(g.relation)), ("app", json!(g.app)), ("unit", json!(g.unit))];
                    parts.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.to_owned(), v)).collect()
                })
                .collect();
            let revisions: Map<String, Value> = s.revisions.iter().map(|(n, v)| (n.to_string(), json!(v))).collect();
            json!({
                "id": s.id, "owner": owner, "label": s.label, "description": s.description, "rotate": s.rotate,
                "expire": s.expire, "grants": grants, "revisions": revisions, "tracked": s.tracked, "latest": s.latest,
            })
        })
        .collect();
    let mut ports: Vec<String> = state.ports.iter().map(ToString::to_string).collect();
    ports.sort();
    let action = done.action.as_ref().map(|a| {
        json!({"results": a.results, "failed": a.failed.is_some(), "message": a.failed.clone().unwrap_or_default(), "log": a.log})
    });
    json!({
        "relations": relations, "secrets": secrets, "ports": ports, "state": state.stored,
        "unit_status": state.unit_status, "app_status": state.app_status, "version": state.workload_version,
        "log": done.log, "action": action,
    })
}

/// The same of what the simulator wrote.
pub(super) fn world_of_simulator(out: &Value) -> Value {
    let keep = |from: &Value, keys: &[&str]| -> Value {
        keys.iter().map(|k| ((*k).to_owned(), from[*k].clone())).collect::<Map<_, _>>().into()
    };
    let relation = ["endpoint", "remote_app", "remote_app_data", "units", "gone_units", "local_app", "local_unit"];
    let secret =
        ["id", "owner", "label", "description", "rotate", "expire", "grants", "revisions", "tracked", "latest"];
    let relations: Map<String, Value> =
        out["relations"].as_object().unwrap().iter().map(|(id, r)| (id.clone(), keep(r, &relation))).collect();
    // In an object, and so without their order; that is seen in the answers of `secret-ids`.
    let secrets: Vec<Value> = out["secrets"].as_object().unwrap().values().map(|s| keep(s, &secret)).collect();
    let mut ports: Vec<String> = serde_json::from_value(out["ports"].clone()).unwrap();
    ports.sort();
    let action = match &out["_action"] {
        Value::Null => Value::Null,
        action => keep(action, &["results", "failed", "message", "log"]),
    };
    json!({
        "relations": relations, "secrets": secrets, "ports": ports, "state": out["state"],
        "unit_status": out["unit_status"], "app_status": out["app_status"], "version": out["version"],
        "log": out["_log"], "action": action,
    })
}
