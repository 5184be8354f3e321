//! The worlds of the recorded scenarios: what stands after each step, with the Python charm's data bags and secrets in it.
//!
//! What the other sides say comes from a scenario's steps, what the Python charm said from its recording. Keys, requests and
//! certificates, which recordings only name, are those of the fixture in `continuity`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs};

use juju::json::Json;
use juju::memory::{Owner, SecretState, State};
use juju::model::{ConfigValue, RelationId};
use juju::{Bag, yaml};

use super::continuity::left_by_python;
use super::dispatch::meta;

/// What the Python charm left at the end of a step.
pub(crate) struct Moment {
    pub(crate) scenario: String,
    pub(crate) step: String,
    pub(crate) state: State,
}

/// Every step of every recorded scenario.
pub(crate) fn moments() -> Vec<Moment> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors");
    let folder = env::var_os("DECIMA_VECTORS").map_or_else(own, PathBuf::from).join("parca_k8s");
    let names = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<PathBuf> = names.map(|entry| entry.expect("a file").path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    names.sort();
    let fixture = Fixture::new();
    names.iter().flat_map(|path| of_scenario(path, &fixture)).collect()
}

fn of_scenario(path: &Path, fixture: &Fixture) -> Vec<Moment> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let scenario = yaml::parse(&read(path)).expect("a scenario");
    let recording = Json::parse(&read(&path.with_extension("expect.json"))).expect("a recording");
    let steps = list(&scenario, "steps");
    let mut recorded = list(&recording, "steps").to_vec();
    assert_eq!(steps.len(), recorded.len(), "{}", path.display());
    let mut world = World::begin(scenario.get("initial").unwrap_or(&Json::Null));
    let mut moments = Vec::new();
    for (position, step) in steps.iter().enumerate() {
        if position > 0 {
            let (before, after) = recorded.split_at_mut(position);
            fill_in(&mut after[0], &before[position - 1]);
        }
        world.step(step);
        moments.push(Moment {
            scenario: text(&scenario, "name").to_owned(),
            step: text(&recorded[position], "name").to_owned(),
            state: fixture.overlaid(&world.0, &recorded[position]),
        });
    }
    moments
}

/// `"="` means: as in the step before. Also within what both steps have.
fn fill_in(value: &mut Json, before: &Json) {
    if value.as_str() == Some("=") {
        *value = before.clone();
    } else if let (Json::Object(members), Json::Object(old)) = (value, before) {
        for (key, member) in members {
            if let Some(old) = old.get(key) {
                fill_in(member, old);
            }
        }
    }
}

fn text<'a>(of: &'a Json, key: &str) -> &'a str {
    of.get(key).and_then(Json::as_str).unwrap_or_else(|| panic!("no text {key} in {of}"))
}

fn list<'a>(of: &'a Json, key: &str) -> &'a [Json] {
    of.get(key).and_then(Json::as_array).unwrap_or_default()
}

fn number(of: &Json) -> u32 {
    of.dumps().parse().unwrap_or_else(|_| panic!("{of} is no number"))
}

fn members(of: Option<&Json>) -> impl Iterator<Item = (&String, &Json)> {
    of.and_then(Json::as_object).into_iter().flatten()
}

/// An empty value takes a key away.
fn change(bag: &mut Bag, changes: Option<&Json>) {
    for (key, value) in members(changes) {
        match value.as_str() {
            Some("") | None => bag.remove(key),
            Some(text) => bag.insert(key.clone(), text.to_owned()),
        };
    }
}

/// What the other sides and the operator did, without anything that the charm did.
struct World(State);

impl World {
    fn begin(initial: &Json) -> World {
        let mut state = State::new(&meta());
        state.model.name = "lens".to_owned();
        state.model.uuid = "4b2a7d5e-9c31-4f60-8a17-d3e5f0c2b691".to_owned();
        let mut world = World(state);
        let known = ["leader", "config", "relations", "secrets", "trust", "containers", "kubernetes"];
        assert!(members(Some(initial)).all(|(key, _)| known.contains(&key.as_str())), "{initial}");
        world.set(initial);
        world
    }

    fn set(&mut self, change: &Json) {
        for (key, value) in members(Some(change)) {
            match key.as_str() {
                "leader" => self.0.leader = *value == Json::from(true),
                "config" => members(Some(value)).for_each(|(option, value)| self.option(option, value)),
                "relations" => value.as_array().unwrap_or_default().iter().for_each(|spec| self.relate(spec)),
                "secrets" => value.as_array().unwrap_or_default().iter().for_each(|spec| self.foreign_secret(spec)),
                "data" => value.as_array().unwrap_or_default().iter().for_each(|spec| self.remote(spec)),
                // the container is down in these tests, and Kubernetes is not there
                "trust" | "up" | "down" | "containers" | "kubernetes" | "remove_files" => {}
                other => panic!("a change of {other}"),
            }
        }
    }

    fn option(&mut self, option: &str, value: &Json) {
        let value = match value {
            Json::Null => {
                self.0.config.remove(option);
                return;
            }
            Json::Bool(value) => ConfigValue::Bool(*value),
            Json::String(text) => ConfigValue::String(text.clone()),
            Json::Number(number) => match number.as_i64() {
                Some(whole) => ConfigValue::Int(whole),
                None => ConfigValue::Float(number.as_f64().expect("a number")),
            },
            other => panic!("option {option}: {other}"),
        };
        self.0.config.insert(option.to_owned(), value);
    }

    fn foreign_secret(&mut self, spec: &Json) {
        let mut content = Bag::new();
        change(&mut content, spec.get("content"));
        let owner = Owner::Other(text(spec, "owner").to_owned());
        self.0.secrets.push(SecretState::new(text(spec, "id"), owner, text(spec, "label"), content));
    }

    fn relate(&mut self, spec: &Json) {
        let id = number(spec.get("id").expect("an id"));
        let state = std::mem::replace(&mut self.0, State::new(&meta()));
        self.0 = state.relation(id, text(spec, "endpoint"), text(spec, "app"));
        change(&mut self.relation(id).remote_app_data, spec.get("app_data"));
        self.units(id, spec.get("units"));
    }

    fn units(&mut self, id: u32, units: Option<&Json>) {
        for unit in units.and_then(Json::as_array).unwrap_or_default() {
            self.unit(id, unit.as_str().expect("a unit"), None);
        }
        for (unit, bag) in members(units) {
            self.unit(id, unit, Some(bag));
        }
    }

    fn unit(&mut self, id: u32, unit: &str, bag: Option<&Json>) {
        let unit = unit.parse().expect("a unit");
        change(self.relation(id).remote_units.entry(unit).or_default(), bag);
        let peers = &self.0.relations[&RelationId(0)];
        self.0.planned_units = 1 + u32::try_from(peers.remote_units.len()).expect("few units");
    }

    fn relation(&mut self, id: u32) -> &mut juju::memory::RelationState {
        self.0.relations.get_mut(&RelationId(id)).unwrap_or_else(|| panic!("no relation {id}"))
    }

    fn remote(&mut self, spec: &Json) {
        let id = number(spec.get("relation").expect("a relation"));
        change(&mut self.relation(id).remote_app_data, spec.get("app_data"));
        self.units(id, spec.get("units"));
    }

    fn step(&mut self, step: &Json) {
        if let Some(change) = step.get("set") {
            self.set(change);
        }
        for (key, spec) in members(Some(step)) {
            match key.as_str() {
                "relate" => self.relate(spec),
                "join" | "remote" => self.remote(spec),
                "depart" => {
                    let (id, unit) = (number(spec.get("relation").expect("a relation")), text(spec, "unit"));
                    self.relation(id).remote_units.remove(&unit.parse().expect("a unit"));
                    self.0.planned_units = 1;
                }
                "unrelate" => drop(self.0.relations.remove(&RelationId(number(spec)))),
                // what comes of it is in the recording
                "tls" | "secret-event" => {}
                // nobody else does anything then
                "set" | "name" | "about" | "event" | "action" | "pebble-ready" | "restart-container" | "pod-churn"
                | "upgrade" | "created" | "joined" | "changed" | "broken" | "storage" | "env" => {}
                other => panic!("a step with {other}"),
            }
        }
    }
}

/// Key, request and certificate that Python made.
struct Fixture {
    key: SecretState,
    certificate: SecretState,
    /// Of the provider's application.
    answer: String,
    /// What recordings say, and the text for it.
    texts: BTreeMap<&'static str, String>,
}

impl Fixture {
    fn new() -> Fixture {
        let left = left_by_python();
        let [key, certificate] = left.secrets.as_slice() else { panic!("two secrets") };
        let answer = left.relations[&RelationId(20)].remote_app_data["certificates"].clone();
        let ca = text(&Json::parse(&answer).expect("answers").as_array().expect("a list")[0], "ca").to_owned();
        let content = &certificate.revisions[&1];
        let texts = [
            ("<<certificate of ", ca),
            ("<<certificate issued by ", content["certificate"].clone()),
            ("<<signing request: ", content["csr"].clone()),
        ];
        Fixture { key: key.clone(), certificate: certificate.clone(), answer, texts: texts.into() }
    }

    /// `world` with the bags and secrets that are recorded at the end of a step.
    fn overlaid(&self, world: &State, recorded: &Json) -> State {
        let mut state = world.clone();
        let secrets = list(recorded, "secrets");
        let has = |kind: &str| secrets.iter().any(|secret| text(secret, "label").contains(kind));
        state.secrets.extend(has("-private-key-").then(|| self.key.clone()));
        state.secrets.extend(has("-certificate-0-").then(|| self.certificate.clone()));
        for (id, bags) in members(recorded.get("relations")) {
            let id: u32 = id.parse().expect("an id");
            let relation = state.relations.get_mut(&RelationId(id)).unwrap_or_else(|| panic!("no relation {id}"));
            assert_eq!(relation.endpoint, text(bags, "endpoint"));
            for key in list(bags, "preset_keys_gone") {
                relation.local_unit.remove(key.as_str().expect("a key"));
            }
            relation.local_app.extend(self.bag(bags.get("app")));
            relation.local_unit.extend(self.bag(bags.get("unit")));
            // a provider that has signed this very request
            if relation.endpoint == "certificates" && has("-certificate-0-") {
                relation.remote_app_data.insert("certificates".to_owned(), self.answer.clone());
            }
        }
        state
    }

    fn bag(&self, recorded: Option<&Json>) -> Bag {
        let text = |value: &Json| {
            let exact = value.as_str().or_else(|| value.get("text")?.as_str()).map(str::to_owned);
            exact.unwrap_or_else(|| self.named(value.get("json").expect("a value")).dumps())
        };
        members(recorded).map(|(key, value)| (key.clone(), text(value))).collect()
    }

    /// With texts in place of names.
    fn named(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => {
                let found = self.texts.iter().find(|(name, _)| text.starts_with(*name));
                found.map_or_else(|| value.clone(), |(_, text)| Json::from(text.as_str()))
            }
            Json::Array(items) => Json::Array(items.iter().map(|item| self.named(item)).collect()),
            Json::Object(members) => {
                Json::object(members.iter().map(|(key, member)| (key.clone(), self.named(member))))
            }
            other => other.clone(),
        }
    }
}
