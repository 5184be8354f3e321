//! The typed model, area by area: what is read, what is written and what is not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use juju::agent::{NewSecret, SecretChange, SecretOwner, SecretRef, SecretRevision, Whose};
use juju::context::{Context, Outcome, Trigger, on};
use juju::desired::Protocol;
use juju::memory::{Grant, Meta, Owner, SecretState, State};
use juju::model::{ConfigValue, RelationId, StorageType};
use juju::pebble::ErrorKind;
use juju::tools::ToolErrorKind;
use juju::{AppName, Bag, Event, Juju, Port, Side, Status, ToolError, Unit, UnitName};
use serde_json::json;

const CHARM: &str = "
name: mine
requires: {db: {interface: pg}}
provides: {web: {interface: http}}
peers: {cluster: {interface: mine}}
extra-bindings: {admin: }
storage: {data: {type: filesystem}}
resources: {blob: {type: file}}
config:
  options:
    flag: {type: boolean, default: true}
    level: {type: float, default: 99.0}
    port: {type: int, default: 8080}
    name: {type: string}
    key: {type: secret}
actions:
  greet: {params: {name: {type: string, default: you}, loud: {type: boolean}}}
";

fn meta() -> Meta {
    Meta::from_charmcraft(CHARM).unwrap()
}

fn state() -> State {
    State::new(&meta()).relation(3, "db", "pg").remote_unit(3, "pg/10", [("host", "b")]).remote_unit(
        3,
        "pg/9",
        [("host", "a")],
    )
}

fn bag<const N: usize>(pairs: [(&str, &str); N]) -> Bag {
    pairs.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn content(value: &str) -> BTreeMap<String, String> {
    bag([("token", value)])
}

const DB: RelationId = RelationId(3);

/// Runs what a charm does with the agent; a panic in it is one of the test.
fn during(
    trigger: impl Into<Trigger>,
    state: &State,
    charm: impl Fn(&Juju<'_>) -> Result<(), ToolError>,
) -> Outcome<ToolError> {
    let outcome = Context::new(meta(), |unit: &Unit<'_>| charm(unit.juju)).run(trigger, state).unwrap();
    assert_eq!(outcome.result, Ok(()));
    outcome
}

fn run(state: &State, charm: impl Fn(&Juju<'_>) -> Result<(), ToolError>) -> Outcome<ToolError> {
    during(Event::UpdateStatus, state, charm)
}

/// The tools that were run, in order.
fn tools(outcome: &Outcome<ToolError>) -> Vec<&str> {
    outcome.calls.iter().map(|call| call.tool.as_str()).collect()
}

fn own() -> UnitName {
    "mine/0".parse().unwrap()
}

#[test]
fn an_event_brings_its_unit_application_and_relation() {
    let seen = RefCell::new(Vec::new());
    let context = Context::new(meta(), |unit: &Unit<'_>| {
        let e = unit.dispatch.event.relation("db").unwrap().clone();
        seen.borrow_mut().push((
            e.app.unwrap().to_string(),
            e.unit.map(|u| u.to_string()),
            e.departing.map(|u| u.to_string()),
        ));
        Ok::<(), ToolError>(())
    });
    let state = state();
    context.run(on::relation_changed(3), &state).unwrap();
    context.run(on::relation_changed(3).by("pg/10"), &state).unwrap();
    let departed = context.run(on::relation_departed(3, "pg/10"), &state).unwrap();
    let pg =
        |unit: Option<&str>, goes: Option<&str>| ("pg".to_owned(), unit.map(str::to_owned), goes.map(str::to_owned));
    assert_eq!(*seen.borrow(), [pg(None, None), pg(Some("pg/10"), None), pg(Some("pg/10"), Some("pg/10"))]);
    // it is no longer listed, and its bag can still be read
    run(&departed.state, |juju| {
        assert_eq!(juju.relation_units(DB)?, ["pg/9".parse().unwrap()]);
        assert_eq!(juju.unit_bag(DB, &"pg/10".parse().unwrap())?["host"], "b");
        Ok(())
    });
}

#[test]
fn each_read_is_asked_once_in_a_dispatch_and_errors_are_kept_too() {
    let mut state = state();
    state.resources.insert("blob".to_owned(), "/srv/blob".to_owned());
    state.credential = Some(json!({"type": "kubernetes"}));
    state = state.secret(SecretState::new("s", Owner::Unit, "mine", content("t")));
    let all = |juju: &Juju<'_>| {
        juju.is_leader()?;
        juju.config()?;
        juju.status(Whose::Unit)?;
        juju.status(Whose::App)?;
        juju.opened_ports()?;
        juju.network("db", None)?;
        juju.network("db", Some(DB))?;
        juju.goal_state()?;
        juju.cloud_spec()?;
        juju.resource("blob")?;
        juju.resource("other").unwrap_err();
        juju.storage_list("data")?;
        juju.storage("data/0")?;
        juju.state()?;
        juju.relation_ids("db")?;
        juju.relation_units(DB)?;
        juju.relation_app(DB)?;
        juju.relation_model(DB)?;
        juju.unit_bag(DB, &own())?;
        juju.app_bag(DB, own().app())?;
        juju.secret_ids()?;
        juju.secret(SecretRef::Id("s"), SecretRevision::Tracked)?;
        juju.secret(SecretRef::Label("mine"), SecretRevision::Peek)?;
        juju.secret_info(SecretRef::Id("s"))?;
        juju.secret(SecretRef::Label("none"), SecretRevision::Tracked).unwrap_err();
        Ok(())
    };
    let twice = run(&state, |juju| all(juju).and_then(|()| all(juju)));
    assert_eq!(tools(&twice), tools(&run(&state, all)));
    assert_eq!(twice.writes().count(), 0);
    // the next dispatch asks again
    assert_eq!(tools(&run(&twice.state, all)), tools(&twice));
}

#[test]
fn the_configuration_has_types_and_defaults() {
    let state = state().config("name", ConfigValue::String("x".to_owned())).config("port", ConfigValue::Int(70_000));
    run(&state, |juju| {
        let config = juju.config()?;
        assert_eq!(config.get::<bool>("flag"), Ok(Some(true)));
        // Juju writes 99.0 as 99
        assert_eq!(config.get::<f64>("level"), Ok(Some(99.0)));
        assert_eq!(config.get::<String>("name"), Ok(Some("x".to_owned())));
        assert_eq!(config.get::<i64>("port"), Ok(Some(70_000)));
        assert_eq!(config.get::<u32>("port"), Ok(Some(70_000)));
        let error = config.get::<u16>("port").unwrap_err();
        assert_eq!(error.to_string(), "option port is an integer, not a whole number from 0 to 65535");
        // no value and no default
        assert_eq!(config.get::<String>("key"), Ok(None));
        assert_eq!(config.get_or("key", "none".to_owned()), Ok("none".to_owned()));
        assert_eq!(config.get::<bool>("name").unwrap_err().to_string(), "option name is a string, not a boolean");
        Ok(())
    });
}

#[test]
fn relations_are_read_with_units_in_order_and_bags_written_where_they_differ() {
    let outcome = run(&state(), |juju| {
        assert_eq!(juju.relation_ids("db")?, [DB]);
        assert_eq!(juju.relation_ids("web")?, []);
        let units: Vec<String> = juju.relation_units(DB)?.iter().map(UnitName::to_string).collect();
        assert_eq!(units, ["pg/9", "pg/10"]);
        assert_eq!(juju.relation_app(DB)?, AppName::new("pg"));
        assert_eq!(juju.relation_model(DB)?, "f2c1a0de-5b7e-4b52-9c5e-2d1f6a7b8c90");
        assert_eq!(juju.relation_units(RelationId(8)).unwrap_err().kind, ToolErrorKind::RelationNotFound);

        let wish = bag([("port", "80"), ("gone", "")]);
        assert_eq!(juju.relation_set(DB, &own(), Side::Unit, &wish)?, bag([("port", "80")]));
        // what was written is what is read from now on
        assert_eq!(juju.unit_bag(DB, &own())?["port"], "80");
        assert_eq!(juju.relation_set(DB, &own(), Side::Unit, &wish)?, Bag::new());
        assert_eq!(juju.relation_set(DB, &own(), Side::App, &bag([("k", "v")]))?.len(), 1);
        assert_eq!(juju.relation_set(DB, &own(), Side::App, &bag([("k", "")]))?, bag([("k", "")]));
        Ok(())
    });
    assert_eq!(outcome.state.local_unit(3), bag([("port", "80")]));
    assert!(outcome.state.local_app(3).is_empty());
    assert_eq!(outcome.writes().count(), 3);
}

#[test]
fn an_application_s_bag_and_status_are_the_leader_s() {
    let follower = state().leader(false);
    run(&follower, |juju| {
        assert!(!juju.is_leader()?);
        let wish = bag([("k", "v")]);
        let kind = |result: Result<Bag, ToolError>| result.unwrap_err().kind;
        assert_eq!(kind(juju.relation_set(DB, &own(), Side::App, &wish)), ToolErrorKind::PermissionDenied);
        assert_eq!(kind(juju.app_bag(DB, own().app())), ToolErrorKind::PermissionDenied);
        // among peers it can be read, not written
        assert_eq!(juju.app_bag(RelationId(0), own().app())?, Bag::new());
        assert_eq!(kind(juju.relation_set(RelationId(0), &own(), Side::App, &wish)), ToolErrorKind::PermissionDenied);
        let status = juju.set_status(Whose::App, &Status::active("")).unwrap_err();
        assert_eq!(status.kind, ToolErrorKind::NotLeader);
        Ok(())
    });
}

#[test]
fn statuses_are_set_where_they_differ_and_outlive_a_failed_hook() {
    let outcome = run(&state(), |juju| {
        assert!(juju.set_status(Whose::Unit, &Status::active("ready"))?);
        assert!(!juju.set_status(Whose::Unit, &Status::active("ready"))?);
        assert!(juju.set_status(Whose::App, &Status::waiting("for --flags"))?);
        assert_eq!(juju.status(Whose::App)?, Status::waiting("for --flags"));
        // a message from elsewhere may hold anything
        assert!(juju.set_status(Whose::Unit, &Status::blocked(format!("\0{}", "é".repeat(100_000))))?);
        Ok(())
    });
    assert_eq!(outcome.state.app_status, Status::waiting("for --flags"));
    let message = &outcome.state.unit_status.message;
    assert!(message.starts_with("\u{fffd}é") && message.len() < 110_000, "{}", message.len());
    assert_eq!(outcome.writes().count(), 3);

    let failing = Context::new(meta(), |unit: &Unit<'_>| {
        unit.juju.set_status(Whose::Unit, &Status::maintenance("at it"))?;
        unit.juju.set_workload_version("1.2")?;
        unit.juju.set_ports(&[Port::tcp(80)].into())?;
        unit.juju.relation_set(DB, &own(), Side::Unit, &bag([("k", "v")]))?;
        unit.juju.set_state(&bag([("k", "v")]))?;
        unit.juju.relation_units(RelationId(99)).map(drop)
    });
    let outcome = failing.run(Event::Start, &state()).unwrap();
    let error = outcome.result.unwrap_err();
    assert_eq!(error.to_string(), "relation-list -r 99: invalid value \"99\" for option -r: relation not found");
    let left = State { unit_status: Status::maintenance("at it"), workload_version: "1.2".to_owned(), ..state() };
    assert_eq!(outcome.state, left);
}

#[test]
fn the_workload_s_version_is_set_once() {
    let outcome = run(&state(), |juju| {
        assert!(juju.set_workload_version("v1")?);
        assert!(!juju.set_workload_version("v1")?);
        assert!(juju.set_workload_version("v2")?);
        Ok(())
    });
    assert_eq!(outcome.state.workload_version, "v2");
    run(&outcome.state, |juju| {
        assert!(!juju.set_workload_version("v2")?);
        Ok(())
    });
}

#[test]
fn ports_are_opened_and_closed_until_just_those_are_open() {
    let icmp = Port { protocol: Protocol::Icmp, from: 0, to: 0 };
    let range = Port { protocol: Protocol::Udp, from: 8000, to: 8010 };
    let wish = BTreeSet::from([Port::tcp(80), icmp, range]);
    let first = run(&state(), |juju| {
        assert!(juju.set_ports(&wish)?);
        assert!(!juju.set_ports(&wish)?);
        assert_eq!(juju.opened_ports()?, wish);
        Ok(())
    });
    assert_eq!(first.state.ports, wish);
    let second = run(&first.state, |juju| juju.set_ports(&[Port::tcp(80), Port::tcp(81)].into()).map(drop));
    let written: Vec<_> = second.writes().map(|call| (call.tool.as_str(), call.args[0].as_str())).collect();
    assert_eq!(written, [("close-port", "8000-8010/udp"), ("close-port", "icmp"), ("open-port", "81/tcp")]);
}

#[test]
fn networks_have_addresses_to_listen_on_and_to_be_reached_at() {
    run(&state(), |juju| {
        for network in [juju.network("db", Some(DB))?, juju.network("admin", None)?] {
            assert_eq!((network.bind_address(), network.ingress_address()), (Some("10.1.2.3"), Some("10.1.2.3")));
            assert_eq!(network.egress_subnets, ["10.1.2.3/32"]);
        }
        assert_eq!(juju.network("odd", None).unwrap_err().kind, ToolErrorKind::NoSuchBinding);
        Ok(())
    });
}

#[test]
fn the_goal_state_tells_the_units_and_relations_to_come() {
    run(&state().planned_units(3), |juju| {
        let goal = juju.goal_state()?;
        assert_eq!(goal.planned_units(), 3);
        assert_eq!(goal.relations["db"].keys().collect::<Vec<_>>(), ["pg", "pg/10", "pg/9"]);
        assert!(!goal.relations.contains_key("cluster"), "Juju leaves peers out");
        Ok(())
    });
}

#[test]
fn resources_and_storage_are_found_where_they_are() {
    let mut state = state();
    state.resources.insert("blob".to_owned(), "/srv/blob".to_owned());
    let outcome = run(&state, |juju| {
        assert_eq!(juju.resource("blob")?, Path::new("/srv/blob"));
        assert_eq!(juju.resource("other").unwrap_err().kind, ToolErrorKind::ResourceNotFound);
        assert_eq!(juju.storage_list("data")?, ["data/0"]);
        let storage = juju.storage("data/0")?;
        assert_eq!(
            (storage.storage_type, &*storage.location),
            (StorageType::Filesystem, Path::new("/var/lib/juju/storage/data/0"))
        );
        assert_eq!(juju.storage("data/1").unwrap_err().kind, ToolErrorKind::StorageNotFound);
        juju.storage_add("data", 2)
    });
    assert_eq!(outcome.storage_added, ["data=2"]);
}

#[test]
fn the_cloud_s_credential_needs_trust_and_is_never_written_out() {
    let mut state = state();
    run(&state, |juju| {
        assert_eq!(juju.cloud_spec().unwrap_err().kind, ToolErrorKind::PermissionDenied);
        Ok(())
    });
    state.credential = Some(json!({
        "type": "kubernetes", "name": "k8s", "endpoint": "https://10.1.1.1:16443", "cacertificates": null,
        "credential": {"auth-type": "oauth2", "attrs": {"Token": "very-secret"}, "redacted": ["x"]},
    }));
    run(&state, |juju| {
        let cloud = juju.cloud_spec()?;
        assert_eq!((&*cloud.r#type, &*cloud.name, &*cloud.region), ("kubernetes", "k8s", ""));
        let credential = cloud.credential.as_ref().unwrap();
        assert_eq!((&*credential.auth_type, &*credential.attributes["Token"]), ("oauth2", "very-secret"));
        assert!(format!("{cloud:?}").contains("Token") && !format!("{cloud:?}").contains("very-secret"));
        Ok(())
    });
}

#[test]
fn the_charm_s_own_state_is_kept_by_juju() {
    let outcome = run(&state(), |juju| {
        assert!(juju.set_state(&bag([("a", "1"), ("b", "two\nlines")]))?);
        assert!(!juju.set_state(&bag([("a", "1")]))?);
        assert!(juju.delete_state("a")?);
        assert!(!juju.delete_state("a")?);
        assert_eq!(juju.state()?, bag([("b", "two\nlines")]));
        Ok(())
    });
    assert_eq!(outcome.state.stored, bag([("b", "two\nlines")]));
    assert_eq!(outcome.writes().count(), 2);
}

#[test]
fn an_action_has_parameters_results_a_log_and_may_fail() {
    let greet = || on::action("greet").param("loud", true);
    let outcome = during(greet(), &state(), |juju| {
        assert_eq!(
            juju.action_params()?,
            BTreeMap::from([("name".to_owned(), json!("you")), ("loud".to_owned(), json!(true))])
        );
        juju.action_log("half done\0")?;
        juju.action_set(&bag([("greeting", "hello=you"), ("deep.er", "x")]))?;
        juju.action_fail("no breath")
    });
    let action = outcome.action.unwrap();
    assert_eq!(json!(action.results), json!({"greeting": "hello=you", "deep": {"er": "x"}}));
    assert_eq!((action.failed.as_deref(), &*action.log), (Some("no breath"), &["half done\u{fffd}".to_owned()][..]));

    // elsewhere there is no action
    run(&state(), |juju| {
        assert_eq!(juju.action_params().unwrap_err().kind, ToolErrorKind::NotAnAction);
        Ok(())
    });
    // a charm that fails lets its action fail
    let failing = Context::new(meta(), |_: &Unit<'_>| Err("broken"));
    let outcome = failing.run(greet(), &state()).unwrap();
    assert_eq!(outcome.action.unwrap().failed.as_deref(), Some("exit status 1"));
    // nor does an action reboot the machine
    let reboot = |juju: &Juju<'_>| juju.reboot(true);
    assert_eq!(run(&state(), reboot).reboot, Some(true));
    during(greet(), &state(), |juju| {
        juju.reboot(false).unwrap_err();
        Ok(())
    });
}

#[test]
fn a_secret_of_ours_is_made_changed_granted_and_removed_where_that_differs() {
    let secret = NewSecret {
        content: content("t1"),
        owner: SecretOwner::Unit,
        label: Some("mine".to_owned()),
        description: None,
        expire: None,
        rotate: None,
    };
    assert!(!format!("{secret:?}").contains("t1"));
    let made = run(&state(), |juju| juju.secret_add(&secret).map(drop));
    let id = made.state.secrets[0].id.clone();
    // the content went by a file, not by an argument that everybody sees
    assert!(!made.calls.iter().flat_map(|call| &call.args).any(|arg| arg.contains("t1")), "{:?}", made.calls);

    let changed = run(&made.state, |juju| {
        let change = |value: &str| SecretChange { content: Some(content(value)), ..SecretChange::default() };
        assert!(!juju.secret_set(&id, &change("t1"))?);
        assert!(juju.secret_set(&id, &change("t2"))?);
        let label = SecretChange { label: Some("mine".to_owned()), ..SecretChange::default() };
        assert!(!juju.secret_set(&id, &label)?);
        assert!(juju.secret_grant(&id, DB, None)?);
        assert!(!juju.secret_grant(&id, DB, None)?);
        let unit = "pg/9".parse().unwrap();
        assert!(juju.secret_grant(&id, DB, Some(&unit))?);
        assert!(juju.secret_revoke(&id, DB, Some(&unit))?);
        assert!(!juju.secret_revoke(&id, DB, Some(&unit))?);
        Ok(())
    });
    let secret = &changed.state.secrets[0];
    let grant = Grant { relation: Some(DB), app: Some("pg".to_owned()), unit: None };
    assert_eq!((secret.latest, &secret.grants), (2, &vec![grant]));

    let read = run(&changed.state, |juju| {
        let info = juju.secret_info(SecretRef::Label("mine"))?;
        assert_eq!((&*info.id, info.revision, info.owner, info.access.len()), (&*id, 2, SecretOwner::Unit, 1));
        // we read what we read before, until we refresh
        let get = |revision| juju.secret(SecretRef::Id(&id), revision);
        assert_eq!(get(SecretRevision::Tracked)?, content("t1"));
        assert_eq!(get(SecretRevision::Peek)?, content("t2"));
        assert_eq!(get(SecretRevision::Tracked)?, content("t1"));
        assert_eq!(get(SecretRevision::Refresh)?, content("t2"));
        assert_eq!(get(SecretRevision::Tracked)?, content("t2"));
        juju.secret_remove(&id, Some(1))
    });
    assert_eq!(read.state.secrets[0].revisions.keys().collect::<Vec<_>>(), [&2]);
    let gone = run(&read.state, |juju| juju.secret_remove(&id, None));
    assert!(gone.state.secrets.is_empty());
}

#[test]
fn an_application_s_secret_is_the_leader_s_and_somebody_else_s_gets_a_label_of_ours() {
    let state = state()
        .secret(SecretState::new("app", Owner::Application, "ours", content("a")))
        .secret(SecretState::new("their", Owner::Other("pg".to_owned()), "", content("b")));
    run(&state.clone().leader(false), |juju| {
        assert_eq!(juju.secret_ids()?, Vec::<String>::new());
        assert_eq!(juju.secret_remove("app", None).unwrap_err().kind, ToolErrorKind::NotLeader);
        Ok(())
    });
    let outcome = run(&state, |juju| {
        assert_eq!(juju.secret_ids()?, ["app"]);
        let by_label = || juju.secret(SecretRef::Label("database"), SecretRevision::Tracked);
        assert_eq!(by_label().unwrap_err().kind, ToolErrorKind::SecretNotFound);
        let labelled = SecretRef::Labelled { id: "secret:their", label: "database" };
        assert_eq!(juju.secret(labelled, SecretRevision::Tracked)?, content("b"));
        assert_eq!(by_label()?, content("b"));
        assert_eq!(juju.secret_info(SecretRef::Id("their")).unwrap_err().kind, ToolErrorKind::SecretNotFound);
        Ok(())
    });
    // events name it by that label
    let changed = Context::new(meta(), |unit: &Unit<'_>| {
        let Event::Secret(e) = &unit.dispatch.event else { panic!("{}", unit.dispatch.event) };
        assert_eq!((&*e.id, e.label.as_deref(), e.revision), ("secret:their", Some("database"), None));
        Ok::<(), ToolError>(())
    });
    changed.run(on::secret_changed("their"), &outcome.state).unwrap();
}

#[test]
fn what_tracing_is_told_goes_to_juju_s_log_also_if_the_hook_fails() {
    let context = Context::new(meta(), |_: &Unit<'_>| {
        tracing::info!(relation = "db:3", why = "two words", "passed over");
        tracing::info!("one more");
        tracing::warn!(count = 3, "odd");
        tracing::trace!("too fine");
        for n in 0..12_000 {
            tracing::debug!(n);
        }
        tracing::error!("{}", "é".repeat(60_000));
        Err("broken")
    });
    let log = context.run(Event::Start, &state()).unwrap().log;
    assert_eq!(log[0], ("INFO".to_owned(), "passed over relation=db:3 why=\"two words\"\none more".to_owned()));
    assert_eq!(log[1], ("WARNING".to_owned(), "odd count=3".to_owned()));
    assert_eq!(log[2].0, "DEBUG");
    assert!(log[2].1.starts_with(" n=0\n n=1\n"), "{:.20}", log[2].1);
    // what a hook logs without end is dropped, and told
    let last = log.last().unwrap();
    assert_eq!(*last, ("WARNING".to_owned(), "2004 more lines of this hook were dropped".to_owned()));
    assert!(log.iter().all(|(_, text)| text.len() <= 100 * 1024 && !text.contains("too fine")));
}

#[test]
fn a_message_longer_than_an_argument_goes_out_in_parts() {
    let text = "é".repeat(60_000);
    let context = Context::new(meta(), |_: &Unit<'_>| {
        tracing::error!("{text}");
        Ok::<(), ToolError>(())
    });
    let log = context.run(Event::Start, &state()).unwrap().log;
    assert_eq!(log.len(), 2);
    assert_eq!(log.iter().map(|(_, part)| part.as_str()).collect::<String>(), text);
}

#[test]
fn a_container_without_a_pebble_is_down_and_variables_reach_the_charm() {
    let meta = Meta::from_charmcraft("{name: mine, containers: {app: {}}}").unwrap();
    let charm = |unit: &Unit<'_>| {
        assert_eq!(unit.variable("PORT"), None);
        unit.container("app").system_info().map(drop).map_err(|error| (error.kind, unit.variable("HOST")))
    };
    let context = Context::new(meta, charm).with_variable("HOST", "10.1.1.1").with_variable("PORT", "");
    let outcome = context.run(Event::Start, &State::new(context.meta())).unwrap();
    assert_eq!(outcome.result, Err((ErrorKind::Unreachable, Some("10.1.1.1".to_owned()))));
}
