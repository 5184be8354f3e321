//! One dispatch: what it asks, what it writes. The container is down, so that only Juju is spoken to.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use juju::context::{Context, Outcome, Trigger, on};
use juju::memory::{Call, Meta, State};
use juju::{Event, RelationId, Status, Unit};
use parca_k8s::charm::{self, ENDPOINTS, Failure, Outside};
use parca_k8s::workload::CONTAINER;

const FQDN: &str = "parca-k8s-0.parca-k8s-endpoints.testing.svc.cluster.local";

/// In Kubernetes, a unit's fully qualified name has its model's name for a namespace.
fn fqdn(state: &State) -> String {
    FQDN.replace("testing", &state.model.name)
}

pub(crate) fn meta() -> Meta {
    Meta::from_charmcraft(include_str!("../../../../charm/charmcraft.yaml")).expect("a charm")
}

fn no_names(_: &str, _: u16, _: Duration) -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other("no names here"))
}

pub(crate) type Finished = Outcome<Failure>;

/// The event as Juju would bring it; what no real model has is refused.
pub(crate) fn run(state: State, event: impl Into<Trigger>) -> Finished {
    let fqdn = fqdn(&state);
    let context = Context::new(meta(), |unit: &Unit<'_>| {
        let outside = Outside {
            fqdn: fqdn.clone(),
            resolve: &no_names,
            variable: &|_| None,
            account: Path::new("/nowhere"),
            pebble: &*unit.container(CONTAINER),
        };
        charm::dispatch(unit.juju, unit.dispatch, &outside)
    });
    let finished = context.run(event, &state).expect("a model that can be");
    finished.result.as_ref().expect("the hook ends well");
    finished
}

/// Every endpoint related once, the mesh apart, which would ask Kubernetes.
fn related() -> State {
    let endpoints = ENDPOINTS.iter().map(|(endpoint, _)| *endpoint).filter(|endpoint| *endpoint != "parca-peers");
    (1..).zip(endpoints).fold(State::new(&meta()), |state, (id, endpoint)| state.relation(id, endpoint, "other"))
}

pub(crate) fn writes(finished: &Finished) -> Vec<&Call> {
    finished.writes().collect()
}

#[test]
fn every_endpoint_that_is_read_is_declared() {
    let meta = meta();
    for (endpoint, _) in ENDPOINTS {
        assert!(meta.has_endpoint(endpoint), "{endpoint}");
    }
}

#[test]
fn an_idle_dispatch_takes_at_most_24_calls_repeats_none_and_writes_nothing() {
    let settled = run(State::new(&meta()).leader(true), Event::ConfigChanged).state;
    let idle = run(settled.clone(), Event::UpdateStatus);
    assert!(writes(&idle).is_empty(), "{:?}", writes(&idle));
    assert_eq!(idle.state, settled);
    let mut asked: Vec<_> = idle.calls.iter().map(|call| (&call.tool, &call.args)).collect();
    println!("an idle dispatch: {} calls of hook tools", asked.len());
    assert!(asked.len() <= 24, "{asked:?}");
    let calls = asked.len();
    asked.sort();
    asked.dedup();
    assert_eq!(asked.len(), calls, "a call was repeated");
    let listed: Vec<_> = idle.calls.iter().filter(|call| call.tool == "relation-ids").map(|call| &call.args).collect();
    assert_eq!(listed.len(), ENDPOINTS.len(), "one relation-ids per endpoint that is read: {listed:?}");
    assert!(listed.iter().all(|args| ENDPOINTS.iter().any(|(endpoint, _)| args.iter().any(|arg| arg == endpoint))));
}

#[test]
fn a_second_dispatch_writes_nothing_with_every_endpoint_related() {
    for leader in [true, false] {
        let first = run(related().leader(leader), Event::ConfigChanged);
        assert!(!writes(&first).is_empty());
        let second = run(first.state.clone(), Event::UpdateStatus);
        assert!(writes(&second).is_empty(), "{:?}", writes(&second));
        assert_eq!(second.state, first.state);
    }
}

#[test]
fn the_key_that_was_made_is_found_again() {
    let state = State::new(&meta()).relation(20, "certificates", "authority");
    let first = run(state, Event::ConfigChanged);
    let request = first.state.local_unit(20)["certificate_signing_requests"].clone();
    assert!(request.contains("BEGIN CERTIFICATE REQUEST"), "{request}");
    let bag = &first.state.relations[&RelationId(20)].local_unit;
    assert!(
        first.state.juju_keys().iter().all(|(key, value)| bag.get(key) == Some(value)),
        "Juju's keys stay: {bag:?}"
    );
    // a new pod
    let second = run(first.state.clone(), Event::UpgradeCharm);
    assert_eq!(second.state.local_unit(20)["certificate_signing_requests"], request);
    assert!(writes(&second).is_empty(), "{:?}", writes(&second));
}

#[test]
fn a_container_that_is_down_is_waited_for_and_the_action_answers_all_the_same() {
    let finished = run(State::new(&meta()).leader(true), on::action("list-endpoints"));
    assert_eq!(finished.state.unit_status, Status::waiting("Waiting for containers: ['parca']..."));
    let results = finished.action.expect("an action").results;
    assert_eq!(results["direct-http-url"], format!("http://{FQDN}:7994"));
    assert_eq!(results["direct-grpc-url"], format!("{FQDN}:7993"));
    assert_eq!(results.len(), 2);
}

#[test]
fn a_unit_that_is_not_alone_is_blocked_and_says_nothing() {
    let finished = run(related().leader(true).planned_units(2), Event::ConfigChanged);
    let message = "You can't scale up parca-k8s. Deploy a new application instead.";
    assert_eq!(finished.state.unit_status, Status::blocked(message));
    assert!(writes(&finished).iter().all(|call| call.tool == "status-set"), "{:?}", writes(&finished));
}
