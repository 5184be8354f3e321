//! A refresh from the newest Python charm: what it left on every relation stands, but for what docs/compatibility.md lists.

use std::collections::BTreeSet;

use juju::memory::State;
use juju::{Bag, Event, RelationId};

use super::dispatch::{run, writes};
use super::recorded::{Moment, moments};

const COMPATIBILITY: &str = include_str!("../../../../docs/compatibility.md");

/// The heading of the list.
const LIST: &str = "### What a refresh writes anew";

/// Endpoint and key of each row of the list.
fn listed() -> BTreeSet<(String, String)> {
    let (_, list) = COMPATIBILITY.split_once(LIST).expect("the list is there");
    let rows =
        list.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let cell = |row: &str, n| row.split('|').nth(n).expect("a cell").trim().trim_matches('`').to_owned();
    rows.map(|row| (cell(row, 1), cell(row, 2))).collect()
}

/// A value of one of our bags that was written anew.
struct Rewritten {
    /// Endpoint and key.
    at: (String, String),
    /// Empty: it was not there.
    before: String,
    after: String,
}

/// What a refresh writes into our bags.
fn refresh(mut state: State) -> Vec<Rewritten> {
    let mut found = Vec::new();
    for event in [Event::UpgradeCharm, Event::ConfigChanged] {
        let before = state.relations.clone();
        let finished = run(state, event);
        let known = found.len();
        for (id, after) in &finished.state.relations {
            let before = &before[id];
            for (before, after) in [(&before.local_app, &after.local_app), (&before.local_unit, &after.local_unit)] {
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                let told = |bag: &Bag, key| bag.get(key).cloned().unwrap_or_default();
                found.extend(keys.into_iter().filter(|key| before.get(*key) != after.get(*key)).map(|key| Rewritten {
                    at: (finished.state.relations[id].endpoint.clone(), key.clone()),
                    before: told(before, key),
                    after: told(after, key),
                }));
            }
        }
        let sets = writes(&finished).into_iter().filter(|call| call.tool == "relation-set").count();
        assert_eq!(sets == 0, found.len() == known, "{sets} calls of relation-set");
        state = finished.state;
    }
    found
}

/// Endpoints on which the Python charm speaks at that relation's own events only. A scenario that begins with the relation in
/// place has no such event, and its bag stays empty.
const SILENT: [&str; 6] = ["catalogue", "grafana-dashboard", "logging", "require-cmr-mesh", "s3", "service-mesh"];

/// The Python charm does not write the catalogue's URL again when an ingress comes. No recording has both, so this takes the ingress
/// of one into the other.
fn after_an_ingress_came(moments: &[Moment]) -> Moment {
    let with = |endpoint: &str| {
        let found = moments.iter().find(|moment| {
            moment.scenario == endpoint
                && moment.state.relations.values().any(|relation| !relation.local_app.is_empty())
        });
        found.unwrap_or_else(|| panic!("a recording of {endpoint}"))
    };
    let mut state = with("catalogue").state.clone();
    let ingress = with("ingress-https").state.relations.iter().find(|(_, relation)| relation.endpoint == "ingress");
    state.relations.extend(ingress.map(|(id, relation)| (*id, relation.clone())));
    Moment { scenario: "catalogue".to_owned(), step: "an ingress came".to_owned(), state }
}

#[test]
fn vectors_of_a_refresh_write_nothing_but_what_is_listed() {
    let (listed, mut moments) = (listed(), moments());
    moments.push(after_an_ingress_came(&moments));
    let (mut met, mut played, mut values) = (BTreeSet::new(), 0, 0);
    for Moment { scenario, step, state } in moments {
        let bags = |id: &RelationId| state.local_app(id.0).len() + state.local_unit(id.0).len();
        let said: usize = state.relations.keys().map(bags).sum();
        if said == 0 {
            continue;
        }
        let was_silent = |endpoint: &str| {
            let mut of_endpoint = state.relations.values().filter(|relation| relation.endpoint == endpoint);
            SILENT.contains(&endpoint) && of_endpoint.all(|relation| relation.local_app.is_empty())
        };
        for Rewritten { at, before, after } in refresh(state.clone()) {
            if !was_silent(&at.0) {
                assert!(listed.contains(&at), "{scenario}, {step}: {at:?} was {before:?}, and is {after:?}");
                met.insert(at);
            }
        }
        (played, values) = (played + 1, values + said);
    }
    println!("vectors of a refresh: {played} worlds with {values} values in bags, 0 written anew but {met:?}");
    assert!(played >= 80, "{played}");
    assert_eq!(met, listed, "what is listed occurs");
}
