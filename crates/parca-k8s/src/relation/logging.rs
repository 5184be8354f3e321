//! `logging` (`loki_push_api`): Pebble forwards the workload's logs to every unit of every related Loki.
//!
//! Each Loki unit says its own address. A target that ended cannot be taken out of Pebble's plan, only switched off.

use std::collections::BTreeMap;

use juju::json::{Json, Object};
use juju::model::{Bag, Relation, UnitName};

use super::{bag, current, json_text};
use crate::identity::{CHARM, Identity};

/// Where a target that ended points to, as the Python charm writes it.
const REMOVED: &str = "(removed)";

/// Our application's bag: who we are, and no alerts.
pub fn app_bag(relation: &Relation, identity: &Identity) -> Bag {
    let text = |key: &'static str, value: Json| (key, json_text(current(relation.local_app.as_ref(), key), &value));
    bag([text("metadata", identity.metadata()), text("alert_rules", Json::Object(Object::new()))])
}

/// The addresses that Loki's units say, by unit. A unit that says none yet is left out, one that makes no sense with a warning.
pub fn endpoints<'a>(relations: impl IntoIterator<Item = &'a Relation>) -> BTreeMap<UnitName, String> {
    let mut endpoints = BTreeMap::new();
    for relation in relations {
        for (unit, bag) in &relation.units {
            let Some(text) = bag.get("endpoint") else { continue };
            match Json::parse(text).ok().as_ref().and_then(|endpoint| endpoint.get("url")?.as_str()) {
                Some(url) if !url.is_empty() => {
                    endpoints.insert(unit.clone(), url.to_owned());
                }
                _ => tracing::warn!(relation = relation.key(), %unit, text, "passed over an endpoint without url"),
            }
        }
    }
    endpoints
}

/// The layer that Pebble still needs, to be combined into its plan; `None` where the plan is right. `present` is the plan's
/// `log-targets`. Targets that are not named like a unit are not ours and are left alone.
pub fn layer(endpoints: &BTreeMap<UnitName, String>, present: &Object, identity: &Identity) -> Option<Json> {
    let wished = endpoints.iter().map(|(unit, url)| (unit.to_string(), target(url, identity)));
    let ended = present
        .iter()
        .filter(|(name, _)| name.parse::<UnitName>().is_ok_and(|unit| !endpoints.contains_key(&unit)))
        .map(|(name, _)| (name.clone(), ended()));
    let differs = |(name, target): &(String, Json)| !present.get(name).is_some_and(|now| covers(now, target));
    let targets: Object = wished.chain(ended).filter(differs).collect();
    (!targets.is_empty()).then(|| Json::object([("log-targets", Json::Object(targets))]))
}

/// Pebble's plan may say more than we do, such as labels of a target that ended.
fn covers(now: &Json, wished: &Json) -> bool {
    let Some(wished) = wished.as_object() else { return false };
    wished.iter().all(|(key, value)| now.get(key) == Some(value))
}

fn target(url: &str, identity: &Identity) -> Json {
    let mut labels = vec![("product".to_owned(), Json::from("Juju")), ("charm".to_owned(), Json::from(CHARM))];
    labels.extend([
        ("juju_model".to_owned(), Json::from(identity.model.name.as_str())),
        ("juju_model_uuid".to_owned(), Json::from(identity.model.uuid.as_str())),
        ("juju_application".to_owned(), Json::from(identity.app())),
        ("juju_unit".to_owned(), Json::from(identity.unit.to_string())),
        ("job".to_owned(), Json::from(format!("juju_{}", identity.identifier()))),
    ]);
    Json::object([
        ("override", Json::from("replace")),
        ("type", Json::from("loki")),
        ("location", Json::from(url)),
        ("services", Json::from(["all"])),
        ("labels", Json::object(labels)),
    ])
}

fn ended() -> Json {
    Json::object([
        ("override", Json::from("replace")),
        ("type", Json::from("loki")),
        ("location", Json::from(REMOVED)),
        ("services", Json::from(["-all"])),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn loki(id: u32, units: &[(&str, &str)]) -> Relation {
        let mut relation = Relation::new(id, "logging", "loki");
        for (unit, url) in units {
            let endpoint = Json::object([("url", Json::from(*url))]).dumps();
            relation.units.insert(unit.parse().unwrap(), bag([("endpoint", endpoint)]));
        }
        relation
    }

    const FIRST: (&str, &str) = ("loki/0", "http://loki-0.loki:3100/loki/api/v1/push");
    const SECOND: (&str, &str) = ("loki/1", "http://loki-1.loki:3100/loki/api/v1/push");

    /// Combines as Pebble does: each target of the layer replaces the plan's.
    fn add(plan: &mut Object, relations: &[Relation]) -> bool {
        let Some(layer) = layer(&endpoints(relations), plan, &recorded()) else { return false };
        let targets = layer.get("log-targets").unwrap().as_object().unwrap().clone();
        plan.extend(targets);
        true
    }

    fn recorded_targets(recording: &Recording, step: usize) -> Object {
        recording.at(step, &["containers", "parca", "plan", "log-targets"]).unwrap().as_object().unwrap().clone()
    }

    #[test]
    fn vectors_of_logging_are_the_recorded_bags_and_targets() {
        let recording = Recording::open("logging-flow");
        assert_eq!(Some(app_bag(&loki(23, &[FIRST]), &recorded())), recording.bag(0, "23", "app"));
        let mut plan = Object::new();
        for (step, units) in [&[FIRST][..], &[FIRST, SECOND], &[SECOND]].iter().enumerate() {
            assert!(add(&mut plan, &[loki(23, units)]));
            assert_eq!(plan, recorded_targets(&recording, step), "step {step}");
            assert!(!add(&mut plan, &[loki(23, units)]), "the second time there is nothing to do");
        }
        // a restart loses all layers
        let mut plan = Object::new();
        assert!(add(&mut plan, &[loki(23, &[SECOND])]));
        assert_eq!(plan, recorded_targets(&recording, 3));
    }

    #[test]
    fn the_last_target_that_ends_is_switched_off() {
        let mut plan = Object::new();
        assert!(add(&mut plan, &[loki(23, &[FIRST])]));
        assert!(add(&mut plan, &[]));
        assert_eq!(plan["loki/0"].get("services"), Some(&Json::from(["-all"])));
        assert!(!add(&mut plan, &[]));
    }

    #[test]
    fn several_lokis_get_the_logs() {
        let mut plan = Object::new();
        add(&mut plan, &[loki(23, &[FIRST]), loki(24, &[("far/3", "http://far/push")])]);
        assert_eq!(plan.keys().collect::<Vec<_>>(), ["far/3", "loki/0"]);
    }

    #[test]
    fn targets_of_others_are_left_alone() {
        let mut plan = Object::new();
        plan.insert("syslog".to_owned(), Json::object([("location", Json::from("udp://h:1"))]));
        assert!(!add(&mut plan, &[]));
    }

    #[test]
    fn endpoints_that_make_no_sense_are_passed_over() {
        let mut relation = loki(23, &[FIRST, ("loki/2", "")]);
        for (unit, text) in [("loki/3", "{"), ("loki/4", "[]"), ("loki/5", "{\"url\": 3}")] {
            relation.units.insert(unit.parse().unwrap(), bag([("endpoint", text.to_owned())]));
        }
        relation.units.insert("loki/6".parse().unwrap(), Bag::new());
        let found = endpoints([&relation]);
        assert_eq!(found.keys().map(ToString::to_string).collect::<Vec<_>>(), ["loki/0"]);
    }

    #[test]
    fn a_bag_that_means_the_same_is_left_alone() {
        let mut relation = loki(23, &[]);
        relation.local_app = Some(bag([("alert_rules", "{ }".to_owned())]));
        assert_eq!(app_bag(&relation, &recorded())["alert_rules"], "{ }");
    }
}
