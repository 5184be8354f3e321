//! The environment that the test context gives a charm beside the one of the simulator.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use juju::context::{Context, Trigger, on};
use juju::memory::{Meta, State};
use juju::{Event, ToolError, Unit};
use serde_json::json;

use super::hook_tools::project;

/// What is the machinery's own, or is of one place or the other.
const APART: [&str; 7] = [
    "JUJU_CONTEXT_ID",
    "JUJU_AGENT_SOCKET_ADDRESS",
    "JUJU_AGENT_SOCKET_NETWORK",
    "JUJU_API_ADDRESSES",
    "JUJU_CHARM_DIR",
    "JUJU_ACTION_UUID",
    "JUJU_ACTION_TAG",
];

/// What Juju says, without what is empty.
fn said<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    let ours = variables
        .into_iter()
        .filter(|(name, value)| name.starts_with("JUJU_") && !APART.contains(name) && !value.is_empty());
    ours.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn the_environment_of_an_event_is_that_of_the_simulator() {
    let project = project();
    let need = Command::new(project.join("scripts/need")).args(["python", "jujusim"]).output().unwrap();
    assert!(need.status.success(), "scripts/need: {}", String::from_utf8_lossy(&need.stderr));
    let charm = "{name: mine, requires: {db: {interface: pg}}, actions: {greet: {}}}";
    let meta = Meta::from_charmcraft(charm).unwrap();
    let state = State::new(&meta).relation(3, "db", "pg").remote_unit(3, "pg/0", []);
    let mut alone = state.clone();
    alone.relations.get_mut(&3.into()).unwrap().remote_units.clear();

    let folder = tempfile::tempdir().unwrap();
    let world = json!({
        "app": "mine", "model": {"name": state.model.name, "uuid": state.model.uuid}, "metadata": {
            "name": "mine", "requires": {"db": {"interface": "pg"}},
        },
        "relations": [{"id": 3, "endpoint": "db", "app": "pg", "units": {"pg/0": {}}}],
    });
    let at = folder.path().join("state.json");
    fs::write(&at, world.to_string()).unwrap();

    let names = RefCell::new(Vec::<String>::new());
    let seen = RefCell::new(BTreeMap::new());
    let context = Context::new(meta, |unit: &Unit<'_>| {
        let all: Vec<(String, String)> =
            names.borrow().iter().filter_map(|name| Some((name.clone(), unit.variable(name)?))).collect();
        *seen.borrow_mut() = said(all.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok::<(), ToolError>(())
    });
    let of_relation = |hook: &'static str, more: &[&'static str]| [&["--hook", hook, "--relation", "3"], more].concat();
    let unit = ["--remote-unit", "pg/0"];
    let cases: [(Trigger, &State, Vec<&str>); 9] = [
        (Event::UpdateStatus.into(), &state, vec!["--hook", "update-status"]),
        (Event::Unknown("brand-new".to_owned()).into(), &state, vec!["--hook", "brand-new"]),
        (on::relation_created(3), &state, of_relation("db-relation-created", &[])),
        (on::relation_joined(3, "pg/0"), &state, of_relation("db-relation-joined", &unit)),
        (on::relation_changed(3), &state, of_relation("db-relation-changed", &[])),
        (on::relation_changed(3).by("pg/0"), &state, of_relation("db-relation-changed", &unit)),
        (
            on::relation_departed(3, "pg/0").departing("mine/0"),
            &state,
            of_relation("db-relation-departed", &["--remote-unit", "pg/0", "--departing", "mine/0"]),
        ),
        (on::relation_broken(3), &alone, of_relation("db-relation-broken", &[])),
        (on::action("greet"), &state, vec!["--action", "greet"]),
    ];
    for (trigger, state, args) in cases {
        let told = Command::new(project.join("target/python/bin/python"))
            .arg(project.join("tests/jujusim/jujusim"))
            .args(["hook-tools".as_ref(), "--state".as_ref(), at.as_os_str()])
            .args(&args)
            .args([Path::new("--"), Path::new("env"), Path::new("--null")])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        assert!(told.status.success(), "{args:?}: {}", String::from_utf8_lossy(&told.stderr));
        let told = String::from_utf8(told.stdout).unwrap();
        let variables: Vec<(&str, &str)> = told.split('\0').filter_map(|line| line.split_once('=')).collect();
        *names.borrow_mut() = variables.iter().map(|(name, _)| (*name).to_owned()).collect();
        context.run(trigger, state).unwrap().result.unwrap();
        assert_eq!(*seen.borrow(), said(variables), "{args:?}");
    }
}
