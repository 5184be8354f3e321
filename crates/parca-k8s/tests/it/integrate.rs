//! docs/charm/integrate.md has every relation of the charm, as charmcraft.yaml declares it, with the keys that are really written.

use std::collections::{BTreeMap, BTreeSet};

use juju::Event;

use super::continuity::left_by_python;
use super::dispatch::{meta, run};

const PAGE: &str = include_str!("../../../../docs/charm/integrate.md");

struct Row<'a> {
    interface: &'a str,
    role: &'a str,
    limit: &'a str,
    /// `unit KEY` for those of the unit.
    writes: BTreeSet<String>,
}

/// The table, by endpoint.
fn table() -> BTreeMap<&'static str, Row<'static>> {
    let rows =
        PAGE.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [endpoint, interface, role, limit, writes, _, without] = cells.as_slice() else {
            panic!("7 cells: {line}")
        };
        assert!(!without.is_empty(), "{endpoint} does not say what is without it");
        let writes = writes.split(", ").filter(|key| !key.is_empty()).map(|key| key.replace('`', "")).collect();
        let row = Row { interface: interface.trim_matches('`'), role, limit, writes };
        (endpoint.trim_matches('`'), row)
    };
    rows.map(row).collect()
}

#[test]
fn the_table_of_relations_is_the_charms_declaration() {
    let (meta, mut table) = (meta(), table());
    for (role, endpoints) in [("peers", &meta.peers), ("requires", &meta.requires), ("provides", &meta.provides)] {
        for (name, endpoint) in endpoints {
            let row = table.remove(name.as_str()).unwrap_or_else(|| panic!("no row for {name}"));
            assert_eq!((row.interface, row.role), (endpoint.interface.as_str(), role), "{name}");
            // there is one relation of peers, whatever is declared
            let limit = endpoint.limit.filter(|_| role != "peers").map(|limit| limit.to_string()).unwrap_or_default();
            assert_eq!(row.limit, limit, "{name}");
        }
    }
    assert_eq!(table.keys().collect::<Vec<_>>(), Vec::<&&str>::new(), "there are no such endpoints");
}

#[test]
fn the_table_of_relations_has_the_keys_that_are_written_and_no_others() {
    let (meta, table) = (meta(), table());
    // with a key and a certificate, which take time to make
    let mut state = left_by_python();
    for (endpoint, id) in meta.requires.keys().chain(meta.provides.keys()).zip(40..) {
        if endpoint != "certificates" {
            state = state.relation(id, endpoint, "other").remote_unit(id, "other/0", []);
        }
    }
    let state = run(state, Event::ConfigChanged).state;
    let mut written: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (id, relation) in &state.relations {
        let unit = state.local_unit(id.0).into_keys().map(|key| format!("unit {key}"));
        written.entry(&relation.endpoint).or_default().extend(relation.local_app.keys().cloned().chain(unit));
    }
    let told: BTreeMap<&str, BTreeSet<String>> = table.into_iter().map(|(name, row)| (name, row.writes)).collect();
    assert_eq!(told, written);
}
