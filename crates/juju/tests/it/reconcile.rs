//! The applier over arbitrary states: what is wished comes about, nothing else is touched, and a second run writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use juju::apply::apply;
use juju::context::Context;
use juju::desired::Protocol;
use juju::memory::{Meta, State};
use juju::model::RelationId;
use juju::{Bag, Bags, Desired, DesiredBags, Event, Port, Status, ToolError, Unit};
use proptest::prelude::*;

/// The relations of the state, and one that is not there.
const RELATIONS: [(u32, &str); 4] = [(0, "cluster"), (3, "db"), (5, "web"), (99, "web")];
const KEYS: [&str; 5] = ["host", "port", "egress-subnets", "ünï", "a b"];

fn meta() -> Meta {
    Meta::from_charmcraft(
        "{name: mine, requires: {db: {interface: pg}}, provides: {web: {interface: http}}, peers: {cluster: {interface: mine}}}",
    )
    .unwrap()
}

/// A bag as it may be wished: an empty value takes a key away.
fn wish() -> impl Strategy<Value = Bag> {
    let value = prop_oneof![1 => Just(String::new()), 3 => any::<String>(), 1 => Just("x".to_owned())];
    proptest::collection::btree_map(proptest::sample::select(&KEYS[..]).prop_map(str::to_owned), value, 0..4)
}

/// A bag as it may be.
fn bag() -> impl Strategy<Value = Bag> {
    wish().prop_map(|bag| bag.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

fn ports() -> impl Strategy<Value = BTreeSet<Port>> {
    let port = (0u16..3, 1u16..5, 0u16..3).prop_map(|(protocol, from, more)| match protocol {
        0 => Port { protocol: Protocol::Icmp, from: 0, to: 0 },
        1 => Port { protocol: Protocol::Tcp, from, to: from + more },
        _ => Port { protocol: Protocol::Udp, from, to: from + more },
    });
    proptest::collection::btree_set(port, 0..4)
}

fn statuses() -> impl Strategy<Value = Vec<Status>> {
    let kinds: Vec<fn(String) -> Status> = vec![Status::active, Status::waiting, Status::maintenance, Status::blocked];
    let status = (proptest::sample::select(kinds), any::<String>()).prop_map(|(kind, message)| kind(message));
    proptest::collection::vec(status, 0..4)
}

fn states() -> impl Strategy<Value = State> {
    let bags = proptest::collection::vec((bag(), bag()), 3);
    (bags, ports(), any::<bool>(), statuses(), "[0-9.]{0,3}").prop_map(|(bags, ports, leader, statuses, version)| {
        let mut state = State::new(&meta()).relation(3, "db", "pg").relation(5, "web", "site").leader(leader);
        for (relation, (app, unit)) in state.relations.values_mut().zip(bags) {
            relation.local_app = app;
            relation.local_unit.extend(unit);
        }
        state.ports = ports;
        state.workload_version = version;
        if let [unit, app, ..] = &statuses[..] {
            (state.unit_status, state.app_status) = (unit.clone(), app.clone());
        }
        state
    })
}

fn wishes() -> impl Strategy<Value = Desired> {
    let bags = proptest::collection::vec(proptest::option::of((wish(), wish())), RELATIONS.len());
    (bags, proptest::option::of(ports()), statuses(), statuses(), proptest::option::of("[0-9.]{0,3}")).prop_map(
        |(bags, ports, unit_status, app_status, workload_version)| {
            let bags = RELATIONS.iter().zip(bags).filter_map(|((id, endpoint), bags)| {
                let (unit, app) = bags?;
                Some((RelationId(*id), DesiredBags { endpoint: (*endpoint).to_owned(), unit, app }))
            });
            Desired { bags: bags.collect(), ports, unit_status, app_status, workload_version, ..Desired::default() }
        },
    )
}

/// What should come of it, told one key at a time.
fn expected(before: &State, desired: &Desired) -> State {
    let mut after = before.clone();
    for (id, wish) in &desired.bags {
        let Some(relation) = after.relations.get_mut(id) else { continue };
        let put = |bag: &mut Bag, wish: &Bag| {
            for (key, value) in wish {
                bag.insert(key.clone(), value.clone());
                bag.retain(|_, value| !value.is_empty());
            }
        };
        put(&mut relation.local_unit, &wish.unit);
        if before.leader {
            put(&mut relation.local_app, &wish.app);
        }
    }
    let worst = |statuses: &[Status], now: &Status| {
        let order = ["blocked", "maintenance", "waiting", "active"];
        let found = order.iter().find_map(|kind| statuses.iter().find(|status| status.kind.as_str() == *kind));
        found.unwrap_or(now).clone()
    };
    after.unit_status = worst(&desired.unit_status, &before.unit_status);
    if before.leader {
        after.app_status = worst(&desired.app_status, &before.app_status);
    }
    if let Some(ports) = &desired.ports {
        after.ports.clone_from(ports);
    }
    if let Some(version) = &desired.workload_version {
        after.workload_version.clone_from(version);
    }
    // A message is an argument of a process, which holds no NUL.
    for status in [&mut after.unit_status, &mut after.app_status] {
        status.message = status.message.replace('\0', "\u{fffd}");
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_wished_comes_about_and_is_written_once(mut state in states(), desired in wishes()) {
        // nothing got there that a charm cannot have put there
        for status in [&mut state.unit_status, &mut state.app_status] {
            status.message = status.message.replace('\0', "");
        }
        let charm = |unit: &Unit<'_>| apply(unit.juju, unit.dispatch, &desired).map(drop);
        let context = Context::new(meta(), charm);
        let first = context.run(Event::ConfigChanged, &state).unwrap();
        prop_assert_eq!(&first.result, &Ok(()));
        prop_assert_eq!(&first.state, &expected(&state, &desired));

        let second = context.run(Event::UpdateStatus, &first.state).unwrap();
        prop_assert_eq!(&second.result, &Ok(()));
        prop_assert_eq!(second.writes().collect::<Vec<_>>(), Vec::<&juju::memory::Call>::new());
        prop_assert_eq!(&second.state, &first.state);
        // and nothing is asked twice
        let mut asked = BTreeMap::new();
        for call in first.calls.iter().filter(|call| !call.is_write()) {
            let times = asked.entry((&call.tool, &call.args)).or_insert(0);
            *times += 1;
            prop_assert_eq!(*times, 1, "{:?}", call);
        }
    }
}

/// A charm that says of each relation what the other side says, so that what it wishes hangs on all that it reads.
fn mirror(unit: &Unit<'_>) -> Result<(), ToolError> {
    let endpoints = [("db", Bags::ALL), ("web", Bags::ALL), ("cluster", Bags::ALL)];
    let applied = unit.settle(&endpoints, |snapshot| {
        let mut desired = Desired::default();
        for relation in snapshot.relations.keys().flat_map(|endpoint| snapshot.relations(endpoint)) {
            let unit = relation.units.values().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
            let bags = DesiredBags { unit, app: relation.app_data.clone(), ..relation.into() };
            desired.unit_status.push(Status::waiting(format!("{} units of {}", relation.units.len(), relation.key())));
            desired.bags.insert(relation.id, bags);
        }
        desired
    })?;
    tracing::info!(nothing = applied.is_nothing(), "applied");
    Ok(())
}

proptest! {
    #[test]
    fn a_charm_that_reconciles_twice_writes_nothing_the_second_time(
        state in states(), remote in proptest::collection::vec((bag(), bag()), 3),
    ) {
        let mut state = state;
        for (relation, (app, unit)) in state.relations.values_mut().zip(remote) {
            let name = format!("{}/10", relation.remote_app).parse().unwrap();
            relation.remote_units.insert(name, unit);
            // what an application says to its peers is its own bag
            if relation.remote_app != "mine" {
                relation.remote_app_data = app;
            }
        }
        let context = Context::new(meta(), mirror);
        let first = context.run(Event::ConfigChanged, &state).unwrap();
        prop_assert_eq!(&first.result, &Ok(()));
        let second = context.run(Event::UpdateStatus, &first.state).unwrap();
        prop_assert_eq!(second.writes().count(), 0, "{:?}", second.calls);
        prop_assert!(second.logged("INFO", "applied nothing=true"), "{:?}", second.log);
        prop_assert_eq!(&second.state, &first.state);
    }
}
