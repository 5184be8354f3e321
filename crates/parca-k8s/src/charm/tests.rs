//! What a dispatch says to the outside: its trace, and the mesh's labels in Kubernetes.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use juju::event::Event;
use juju::memory::{Finished, MemoryTools, Meta, Origin, Owner, SecretState, State};
use juju::model::{Bag, RelationId};
use juju::pebble::MemoryPebble;
use juju::status::StatusKind;

use super::*;
use crate::http::test_server::{Shows, TestServer};
use crate::identity::tests::recorded;
use crate::relation::certificates::tests as authority;

fn meta() -> Meta {
    Meta::from_charmcraft(include_str!("../../../../charm/charmcraft.yaml")).unwrap()
}

fn no_names(_: &str, _: u16, _: Duration) -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other("no names here"))
}

/// One dispatch in memory. There is no Kubernetes, and the container is down.
fn run(state: State, event: Event) -> Finished {
    run_with(state, event, &|_| None, Path::new("/nowhere"))
}

fn run_with(state: State, event: Event, variable: &dyn Fn(&str) -> Option<String>, account: &Path) -> Finished {
    let dispatch_of = Dispatch::new(event, state.unit.clone(), state.model.clone());
    let version = Some(state.workload_version.clone());
    let tools = MemoryTools::new(meta(), state, Origin::default());
    let fqdn = format!("parca-k8s-0.parca-k8s-endpoints.{}.svc.cluster.local", dispatch_of.model.name);
    let pebble = &MemoryPebble::down();
    let outside = Outside { fqdn, resolve: &no_names, variable, account, pebble };
    let result = dispatch(&Juju::in_memory(&tools, version), &dispatch_of, &outside);
    result.expect("the hook ends well");
    tools.finish(true)
}

fn with_receiver(endpoint: &str) -> State {
    let receivers = format!(r#"[{{"protocol": {{"name": "otlp_http", "type": "http"}}, "url": "{endpoint}"}}]"#);
    let state = State::new(&meta()).relation(22, "charm-tracing", "tempo");
    state.remote_app_data(22, [("receivers", receivers.as_str())])
}

#[test]
fn a_receiver_gets_one_trace_per_dispatch() {
    let receiver = TestServer::start(Shows::Nothing, |_| (200, String::new()));
    let mut state = with_receiver(&format!("http://{}", receiver.address));
    for (events, event) in [Event::Start, Event::ConfigChanged, Event::UpdateStatus].into_iter().enumerate() {
        let name = event.name();
        state = run(state, event).state;
        let asked = receiver.asked();
        assert_eq!(asked.len(), events + 1, "one trace per dispatch");
        assert!(
            asked[events].body.windows(name.len()).any(|part| part == name.as_bytes()),
            "{name} is not in its trace"
        );
    }
}

#[test]
fn a_receiver_that_is_dead_costs_at_most_its_time_and_the_hook_ends_well() {
    // takes the connection and never answers; nobody listens; a name that nobody knows
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = [silent.local_addr().unwrap().to_string(), closed.to_string(), "tempo.test:4318".to_owned()];
    let timed = |state: State| {
        let begun = Instant::now();
        run(state, Event::ConfigChanged);
        begun.elapsed()
    };
    for endpoint in dead {
        let without = timed(State::new(&meta()).relation(22, "charm-tracing", "tempo"));
        let cost = timed(with_receiver(&format!("http://{endpoint}"))).saturating_sub(without);
        println!("a receiver that is dead at {endpoint} costs {cost:?}");
        // what a busy machine adds
        assert!(cost < traces::TIME_LIMIT + Duration::from_millis(100), "{endpoint}: {cost:?}");
    }
}

#[test]
fn a_receiver_over_https_is_trusted_if_the_authority_of_our_certificate_signed_its_own() {
    let receiver = TestServer::start(Shows::Signed, |_| (200, String::new()));
    let traces = |ca: &str| {
        let mut signed = authority::signed();
        signed.ca = ca.trim().to_owned();
        let told = authority::relation(&signed, &[]);
        let key = Bag::from([("private-key".to_owned(), signed.key.pem().to_owned())]);
        let label = "afd8c2bccf834997afce12c2706d2ede-private-key-0-certificates";
        let mut state = with_receiver(&format!("https://{}", receiver.address)).relation(20, "certificates", "ca");
        state = state.secret(SecretState::new("9m4e2mr0ui3e8a215n4g", Owner::Unit, label, key));
        state.model = recorded().model;
        let bags = state.relations.get_mut(&RelationId(20)).unwrap();
        bags.remote_app_data = told.app_data;
        bags.local_unit.extend(told.local_unit.unwrap());
        let before = receiver.asked().len();
        run(state, Event::ConfigChanged);
        receiver.asked().len() - before
    };
    assert_eq!(traces(&receiver.ca), 1);
    let stranger = authority::signed().ca;
    assert_eq!(traces(&stranger), 0);
}

#[test]
fn a_mesh_that_is_not_trusted_blocks_the_unit_and_the_hook_ends_well() {
    let labelled = || {
        let state = State::new(&meta()).relation(30, "service-mesh", "beacon");
        state.remote_app_data(30, [("labels", r#"{"istio.io/dataplane-mode": "ambient"}"#)])
    };
    // no account at all
    let finished = run(labelled(), Event::ConfigChanged);
    assert_eq!(finished.state.unit_status, Status::blocked("run: juju trust parca-k8s --scope=cluster"));
    assert_eq!(finished.state.local_app(30)["policies"], "[]", "the rest is done all the same");

    // an account that may not
    let forbidding = TestServer::start(Shows::Authority, |_| (403, r#"{"message": "forbidden"}"#.to_owned()));
    let account = tempfile::tempdir().unwrap();
    std::fs::write(account.path().join("token"), "t").unwrap();
    std::fs::write(account.path().join("ca.crt"), &forbidding.ca).unwrap();
    let address = forbidding.address;
    let variable = move |name: &str| match name {
        "KUBERNETES_SERVICE_HOST" => Some(address.ip().to_string()),
        "KUBERNETES_SERVICE_PORT" => Some(address.port().to_string()),
        _ => None,
    };
    let finished = run_with(labelled(), Event::ConfigChanged, &variable, account.path());
    assert_eq!(finished.state.unit_status, Status::blocked("run: juju trust parca-k8s --scope=cluster"));

    // a mesh that says nothing: Kubernetes is not asked
    let before = forbidding.asked().len();
    let quiet = State::new(&meta()).relation(30, "service-mesh", "beacon");
    let finished = run_with(quiet, Event::ConfigChanged, &variable, account.path());
    assert_ne!(finished.state.unit_status.kind, StatusKind::Blocked);
    assert_eq!(forbidding.asked().len(), before);
}
