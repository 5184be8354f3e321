//! One dispatch: what it asks, what it writes. The container is down, so that only Juju is spoken to.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use juju::event::{ActionEvent, Event};
use juju::memory::{Call, Finished, MemoryTools, Meta, Origin, State};
use juju::pebble::Client;
use juju::{Dispatch, Juju, Status};
use parca_k8s::charm::{self, ENDPOINTS, Outside};

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

pub(crate) fn run(state: State, event: Event) -> Finished {
    let dispatch = Dispatch::new(event, state.unit.clone(), state.model.clone());
    let (version, fqdn) = (Some(state.workload_version.clone()), fqdn(&state));
    let action = dispatch.event.action().map(|_| serde_json::Map::new());
    let tools = MemoryTools::new(meta(), state, Origin { action, ..Origin::default() });
    let outside = Outside {
        fqdn,
        resolve: &no_names,
        variable: &|_| None,
        account: Path::new("/nowhere"),
        pebble: &Client::new("/nowhere/pebble.socket"),
    };
    charm::dispatch(&Juju::in_memory(&tools, version), &dispatch, &outside).expect("the hook ends well");
    tools.finish(true)
}

/// Every endpoint related once, the mesh apart, which would ask Kubernetes.
fn related() -> State {
    let endpoints = ENDPOINTS.iter().map(|(endpoint, _)| *endpoint).filter(|endpoint| *endpoint != "parca-peers");
    (1..).zip(endpoints).fold(State::new(&meta()), |state, (id, endpoint)| state.relation(id, endpoint, "other"))
}

pub(crate) fn writes(finished: &Finished) -> Vec<&Call> {
    finished.calls.iter().filter(|call| call.is_write()).collect()
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
    // a new pod
    let second = run(first.state.clone(), Event::UpgradeCharm);
    assert_eq!(second.state.local_unit(20)["certificate_signing_requests"], request);
    assert!(writes(&second).is_empty(), "{:?}", writes(&second));
}

#[test]
fn a_container_that_is_down_is_waited_for_and_the_action_answers_all_the_same() {
    let action = Event::Action(ActionEvent { name: "list-endpoints".to_owned(), uuid: "1".to_owned() });
    let finished = run(State::new(&meta()).leader(true), action);
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
