//! A refresh from the Python charm with a certificate: what Python made and kept stays, to the byte.
//!
//! The fixture is a scenario of the simulator, where https of the workload itself is looked at.

use juju::json::Json;
use juju::memory::{Owner, SecretState, State};
use juju::{Bag, Event};

use super::dispatch::{Finished, meta, run, writes};

/// The unit that the Python charm left: key, request and certificate in its secrets and bags.
pub(crate) fn left_by_python() -> State {
    let scenario = juju::yaml::parse(include_str!("../../../../testdata/scenarios/workload/refresh-back.yaml"));
    let initial = scenario.expect("a scenario").get("initial").expect("what it begins with").clone();
    let listed = |key: &str| initial.get(key).and_then(Json::as_array).expect(key).to_vec();
    let text = |of: &Json, key: &str| of.get(key).and_then(Json::as_str).expect(key).to_owned();
    let bag = |of: &Json, key: &str| -> Bag {
        let members = of.get(key).and_then(Json::as_object).expect(key).iter();
        members.map(|(key, value)| (key.clone(), value.as_str().expect("a text").to_owned())).collect()
    };
    let mut state = State::new(&meta());
    state.model.name = "lens".to_owned();
    for secret in listed("secrets") {
        let (id, label) = (text(&secret, "id"), text(&secret, "label"));
        let mut kept = SecretState::new(&id, Owner::Unit, &label, bag(&secret, "content"));
        kept.expire = secret.get("expire").and_then(Json::as_str).map(str::to_owned);
        state = state.secret(kept);
    }
    for relation in listed("relations") {
        let id = relation.get("id").and_then(|id| id.dumps().parse().ok()).expect("an id");
        state = state.relation(id, &text(&relation, "endpoint"), &text(&relation, "app"));
        for unit in relation.get("units").and_then(Json::as_array).expect("units") {
            state = state.remote_unit(id, unit.as_str().expect("a name"), []);
        }
        let bags = state.relations.get_mut(&juju::RelationId(id)).expect("just made");
        bags.remote_app_data = bag(&relation, "app_data");
        bags.local_unit.extend(bag(&relation, "local_unit"));
    }
    state
}

fn wrote(finished: &Finished, tools: &[&str]) -> Vec<String> {
    let written = writes(finished).into_iter().filter(|call| tools.contains(&call.tool.as_str()));
    written.map(|call| format!("{} {}", call.tool, call.args.join(" "))).collect()
}

const SECRETS: [&str; 5] = ["secret-add", "secret-set", "secret-remove", "secret-grant", "secret-revoke"];

#[test]
fn a_refresh_with_pythons_key_request_and_certificate_writes_no_secret_and_no_bag() {
    let before = left_by_python();
    let mut state = before.clone();
    let (mut secrets, mut bags) = (Vec::new(), Vec::new());
    let events = [Event::UpgradeCharm, Event::ConfigChanged, Event::Start, Event::UpdateStatus];
    for event in events {
        let finished = run(state, event);
        secrets.extend(wrote(&finished, &SECRETS));
        bags.extend(wrote(&finished, &["relation-set"]));
        state = finished.state;
    }
    println!("a refresh over 4 dispatches: {} writes of secrets, {} of bags", secrets.len(), bags.len());
    assert_eq!((secrets, bags), (Vec::new(), Vec::new()));
    assert_eq!((&state.secrets, &state.relations), (&before.secrets, &before.relations));
    // were it not found, a new key would have been made
    let key = &state.secrets[0].revisions[&1]["private-key"];
    assert!(key.starts_with("-----BEGIN RSA PRIVATE KEY-----\nMIIE"), "RSA 2048 as Python writes it");
}

#[test]
fn https_goes_on_meanwhile() {
    let state = left_by_python().relation(31, "catalogue", "catalogue");
    let told = run(state, Event::UpgradeCharm).state.local_app(31)["url"].clone();
    assert!(told.starts_with("https://parca-k8s-0."), "{told}");
}

#[test]
fn a_fixture_without_the_certificate_in_its_secret_is_told_apart() {
    let mut state = left_by_python();
    state.secrets.truncate(1);
    let finished = run(state, Event::UpgradeCharm);
    assert_eq!(wrote(&finished, &SECRETS).len(), 1, "it is kept again");
    let mut state = left_by_python();
    state.secrets.clear();
    let finished = run(state, Event::UpgradeCharm);
    assert_eq!(wrote(&finished, &["relation-set"]).len(), 1, "another key asks for another certificate");
}
