//! What the Python library, LIBPATCH 1 and 6, was recorded to do; see testdata/vectors/parca_scrape/README.md.
//!
//! `DECIMA_VECTORS` names another folder of the same layout.

use std::collections::BTreeMap;
use std::path::PathBuf;

use juju::event::{PebbleEvent, PebbleEventKind, RelationEvent, RelationEventKind};
use juju::json::{Json, Object};
use juju::{Bag, Event, ModelInfo, Relation, RelationId, UnitName};
use parca_scrape::{
    ALLOWED_KEYS, ALLOWED_KEYS_1, CharmMetadata, ConstructorError, ProfilingEndpointConsumer, ProfilingEndpointProvider,
};

const ENDPOINT: &str = "profiling-endpoint";

fn load(file: &str) -> Vec<Json> {
    let folder = std::env::var_os("DECIMA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors"), PathBuf::from);
    let path = folder.join("parca_scrape").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(super::json).collect()
}

/// Counts cases by what they were compared with.
#[derive(Default)]
struct Tally {
    recorded: usize,
    repaired: usize,
    differences: Vec<String>,
}

impl Tally {
    fn report(self, file: &str) {
        let Tally { recorded, repaired, differences } = self;
        println!("{file}: {recorded} recorded + {repaired} repaired, {} differences", differences.len());
        assert!(recorded + repaired > 0, "{file} has no cases");
        assert!(differences.is_empty(), "{}", differences.join("\n"));
    }

    fn compare(&mut self, case: &str, got: Json, wanted: &Json) {
        if got != *wanted {
            self.differences.push(format!("{case}\n  got  {}\n  want {}", got.dumps(), wanted.dumps()));
        }
    }
}

fn text<'a>(value: &'a Json, key: &str) -> &'a str {
    value.get(key).and_then(Json::as_str).unwrap_or_else(|| panic!("{key} of {value:?}"))
}

fn object<'a>(value: &'a Json, key: &str) -> &'a Object {
    value.get(key).and_then(Json::as_object).unwrap_or_else(|| panic!("{key} of {value:?}"))
}

fn objects(value: Option<&Json>) -> Vec<Object> {
    let items = value.and_then(Json::as_array).unwrap_or_default();
    items.iter().map(|item| item.as_object().expect("an object").clone()).collect()
}

fn bag(value: &Json) -> Bag {
    let members = value.as_object().expect("a bag");
    members.iter().map(|(key, value)| (key.clone(), value.as_str().expect("a string").to_owned())).collect()
}

fn relations(case: &Json) -> Vec<Relation> {
    let given = case.get("relations").and_then(Json::as_array).expect("relations");
    let relation = |(position, given): (usize, &Json)| {
        let app = text(given, "app");
        let mut relation = Relation::new(position as u32 + 1, ENDPOINT, app);
        relation.app_data = bag(&given.get("app_data").cloned().unwrap_or_default());
        let units = object(given, "units").iter();
        relation.units = units.map(|(number, told)| (super::unit(&format!("{app}/{number}")), bag(told))).collect();
        relation
    };
    given.iter().enumerate().map(relation).collect()
}

/// Jobs with the static configs of each in one fixed order: any is right.
fn ordered(jobs: &[Object]) -> Json {
    let ordered = |job: &Object| {
        let mut job = job.clone();
        if let Some(Json::Array(configs)) = job.get_mut("static_configs") {
            configs.sort_by_cached_key(|config| sorted(config).dumps());
        }
        job
    };
    Json::from(jobs.iter().map(ordered).collect::<Vec<_>>())
}

fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            Json::object(members)
        }
        other => other.clone(),
    }
}

fn check_consumer(case: &Json, name: &str, allowed: &'static [&'static str], tally: &mut Tally) {
    let consumer = ProfilingEndpointConsumer::standalone().with_allowed_keys(allowed);
    let (jobs, defects) = consumer.read(&relations(case));
    assert_eq!((&jobs, &defects), (&consumer.read(&relations(case)).0, &defects), "{name}: the same each time");
    let got = ordered(&jobs);
    let expect = case.get("expect").expect("expect");
    if let Some(repaired) = expect.get("repaired") {
        tally.repaired += 1;
        if defects.is_empty() {
            tally.differences.push(format!("{name}: nothing is told of what is broken"));
        }
        return tally.compare(name, got, &ordered(&objects(Some(repaired))));
    }
    tally.recorded += 1;
    match expect.get("one_of").and_then(Json::as_array) {
        Some(any) if any.iter().any(|one| ordered(&objects(Some(one))) == got) => {}
        Some(any) => tally.compare(name, got, &any[0]),
        None => tally.compare(name, got, &ordered(&objects(expect.get("jobs")))),
    }
}

fn charm(given: &Json) -> CharmMetadata {
    let side = |key: &str| {
        let endpoints = given.get(key).and_then(Json::as_object).cloned().unwrap_or_default();
        endpoints.iter().map(|(name, endpoint)| (name.clone(), text(endpoint, "interface").to_owned())).collect()
    };
    let names = |key: &str| given.get(key).and_then(Json::as_object).cloned().unwrap_or_default();
    let series = given.get("series").and_then(Json::as_array).unwrap_or_default();
    CharmMetadata {
        name: text(given, "name").to_owned(),
        provides: side("provides"),
        requires: side("requires"),
        peers: side("peers"),
        containers: names("containers").keys().cloned().collect(),
        series: series.iter().map(|one| one.as_str().expect("a string").to_owned()).collect(),
    }
}

fn event(hook: &str) -> Event {
    use RelationEventKind::{Broken, Changed, Created, Departed, Joined};
    let kinds =
        [("created", Created), ("joined", Joined), ("changed", Changed), ("departed", Departed), ("broken", Broken)];
    for (suffix, kind) in kinds {
        if let Some(endpoint) = hook.strip_suffix(&format!("-relation-{suffix}")) {
            let (app, unit, departing) = (None, None, None);
            let endpoint = endpoint.to_owned();
            return Event::Relation(RelationEvent { kind, endpoint, id: RelationId(1), app, unit, departing });
        }
    }
    if let Some(container) = hook.strip_suffix("-pebble-ready") {
        return Event::Pebble(PebbleEvent { container: container.to_owned(), kind: PebbleEventKind::Ready });
    }
    match hook {
        "upgrade-charm" => Event::UpgradeCharm,
        "leader-elected" => Event::LeaderElected,
        "update-status" => Event::UpdateStatus,
        "config-changed" => Event::ConfigChanged,
        "install" => Event::Install,
        "start" => Event::Start,
        "stop" => Event::Stop,
        "remove" => Event::Remove,
        other => Event::Unknown(other.to_owned()),
    }
}

fn provider(case: &Json, allowed: &'static [&'static str]) -> Result<ProfilingEndpointProvider, ConstructorError> {
    let model = ModelInfo { name: text(case, "model").to_owned(), uuid: text(case, "model_uuid").to_owned() };
    let charm = charm(case.get("charm").expect("charm"));
    let unit: UnitName = super::unit(text(case, "unit"));
    let jobs = objects(case.get("jobs"));
    let provider = ProfilingEndpointProvider::new(&charm, ENDPOINT, &model, &unit, text(case, "fqdn"), &jobs)?;
    let refresh = case.get("refresh_event").and_then(Json::as_array).unwrap_or_default();
    let refresh: Vec<&str> = refresh.iter().filter_map(Json::as_str).collect();
    Ok(provider.with_refresh_events(&refresh).with_allowed_keys(allowed))
}

fn check_provider(case: &Json, name: &str, allowed: &'static [&'static str], tally: &mut Tally) {
    let expect = object(case, "expect");
    let provider = provider(case, allowed).expect("a provider");
    let ids = expect.keys().map(|id| id.parse::<u32>().expect("an ID"));
    let relations: Vec<Relation> = ids.map(|id| Relation::new(id, ENDPOINT, "parca")).collect();
    let leader = case.get("leader") == Some(&Json::Bool(true));
    let mut writes = provider.bags(&event(text(case, "hook")), leader, &relations);
    let before = case.get("before");
    let after = |id: &String| {
        let written = writes.remove(&RelationId(id.parse().expect("an ID"))).unwrap_or_default();
        let had = |kind: &str| before.and_then(|all| all.get(id)?.get(kind)).map(bag).unwrap_or_default();
        let side = |kind: &str, written: Bag| {
            let bag = had(kind).into_iter().chain(written).collect::<Bag>();
            (kind.to_owned(), Json::object(bag.into_iter().map(|(key, value)| (key, Json::from(value)))))
        };
        (id.clone(), Json::object([side("app", written.app), side("unit", written.unit)]))
    };
    tally.recorded += 1;
    tally.compare(name, Json::object(expect.keys().map(after)), &Json::Object(expect.clone()));
}

fn check_constructor(case: &Json, name: &str, tally: &mut Tally) {
    let charm = charm(case.get("charm").expect("charm"));
    let relation_name = text(case, "relation_name");
    let error = match text(case, "class") {
        "consumer" => ProfilingEndpointConsumer::new(&charm, relation_name).err(),
        _ => {
            let unit = super::unit("prov/0");
            ProfilingEndpointProvider::new(&charm, relation_name, &super::model(), &unit, "host", &[]).err()
        }
    };
    let (class, words) = match &error {
        Some(ConstructorError::RelationNotFound(error)) => ("RelationNotFoundError", error.to_string()),
        Some(ConstructorError::RelationInterfaceMismatch(error)) => {
            ("RelationInterfaceMismatchError", error.to_string())
        }
        // its wording is free; the relation and both roles are in it
        Some(ConstructorError::RelationRoleMismatch(error)) => {
            for part in [&error.relation_name, &error.expected_relation_role.to_string(), "provides", "requires"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            ("RelationRoleMismatchError", text(case.get("expect").expect("expect"), "message").to_owned())
        }
        Some(ConstructorError::InvalidUuid(error)) => ("InvalidUUIDError", error.to_string()),
        None => ("none", String::new()),
    };
    tally.recorded += 1;
    let got = Json::object([("error", Json::from(class)), ("message", Json::from(words))]);
    tally.compare(name, got, case.get("expect").expect("expect"));
}

fn check(file: &str, allowed: &'static [&'static str]) {
    let mut tally = Tally::default();
    for (line, case) in load(file).iter().enumerate() {
        let kind = case.get("kind").and_then(Json::as_str).unwrap_or(if file.starts_with("consumer") {
            "consumer"
        } else {
            "provider"
        });
        let id = case.get("id").and_then(Json::as_str).unwrap_or("");
        let name = format!("{file}:{} {id}", line + 1);
        match kind {
            "consumer" => check_consumer(case, &name, allowed, &mut tally),
            "provider" => check_provider(case, &name, allowed, &mut tally),
            "constructor" => check_constructor(case, &name, &mut tally),
            other => panic!("{name}: an unknown kind {other}"),
        }
    }
    tally.report(file);
}

#[test]
fn vectors_of_the_consumer_of_libpatch_1() {
    check("consumer-v1.jsonl", ALLOWED_KEYS_1);
}

#[test]
fn vectors_of_the_consumer_of_libpatch_6() {
    check("consumer-v6.jsonl", ALLOWED_KEYS);
}

#[test]
fn vectors_of_the_provider_of_libpatch_1() {
    check("provider-v1.jsonl", ALLOWED_KEYS_1);
}

#[test]
fn vectors_of_the_provider_of_libpatch_6() {
    check("provider-v6.jsonl", ALLOWED_KEYS);
}

#[test]
fn vectors_of_the_edges() {
    check("edge-v6.jsonl", ALLOWED_KEYS);
}
