//! What cannot be: states that no real model has, and events that do not come in a state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::on::{Trigger, What};
use crate::event::{Event, PebbleEventKind, RelationEventKind, SecretEventKind};
use crate::memory::{ConfigKind, Meta, Owner, RelationState, SecretState, State};
use crate::model::{Bag, ConfigValue, JujuVersion, RelationId, UnitName};
use crate::pebble::Pebble;

/// Why a run was refused: each reason, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible(pub Vec<String>);

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Impossible {}

pub(super) fn check(
    meta: &Meta,
    state: &State,
    trigger: &Trigger,
    containers: &BTreeMap<String, Rc<dyn Pebble>>,
) -> Result<(), Impossible> {
    let mut check = Check { meta, state, containers, version: state.juju_version.parse().ok(), found: Vec::new() };
    check.model();
    check.config();
    check.relations();
    check.secrets();
    check.storage_and_resources();
    check.trigger(&trigger.0);
    if check.found.is_empty() { Ok(()) } else { Err(Impossible(check.found)) }
}

struct Check<'a> {
    meta: &'a Meta,
    state: &'a State,
    /// Those that have a Pebble.
    containers: &'a BTreeMap<String, Rc<dyn Pebble>>,
    version: Option<JujuVersion>,
    found: Vec<String>,
}

impl Check<'_> {
    fn refuse(&mut self, why: impl Into<String>) {
        self.found.push(why.into());
    }

    fn refuse_if(&mut self, is_so: bool, why: impl FnOnce() -> String) {
        if is_so {
            self.found.push(why());
        }
    }

    fn model(&mut self) {
        let (model, juju) = (&self.state.model, &self.state.juju_version);
        self.refuse_if(model.name.is_empty(), || "the model has no name".to_owned());
        self.refuse_if(!is_uuid(&model.uuid), || format!("the model's UUID is {:?}", model.uuid));
        self.refuse_if(self.version.is_none(), || format!("{juju:?} is no version of Juju"));
    }

    fn config(&mut self) {
        for (name, value) in &self.state.config {
            match self.meta.config.get(name) {
                None => self.refuse(format!("the charm declares no option {name}")),
                Some(option) if !option.kind.takes(value) => {
                    self.refuse(format!("option {name} is of another type than its value {value:?}"));
                }
                Some(option) => {
                    let odd = option.kind == ConfigKind::Secret
                        && !matches!(value, ConfigValue::String(text) if text.is_empty() || text.starts_with("secret:"));
                    self.refuse_if(odd, || format!("option {name} names no secret"));
                }
            }
        }
    }

    fn relations(&mut self) {
        let mut of_endpoint: BTreeMap<&str, u32> = BTreeMap::new();
        for (id, relation) in &self.state.relations {
            *of_endpoint.entry(&relation.endpoint).or_default() += 1;
            self.relation(*id, relation);
        }
        for (endpoint, relations) in of_endpoint {
            let limit = match self.meta.endpoint(endpoint) {
                _ if self.meta.is_peer(endpoint) => Some(1),
                Some(endpoint) => endpoint.limit,
                None => None,
            };
            if let Some(limit) = limit.filter(|limit| relations > *limit) {
                self.refuse(format!("endpoint {endpoint} has {relations} relations, and takes {limit}"));
            }
        }
    }

    fn relation(&mut self, id: RelationId, relation: &RelationState) {
        let RelationState { endpoint, remote_app, .. } = relation;
        let own = &self.state.unit;
        self.refuse_if(!self.meta.has_endpoint(endpoint), || format!("the charm has no endpoint {endpoint}"));
        let is_peer = self.meta.is_peer(endpoint);
        self.refuse_if(is_peer && *own.app() != **remote_app, || {
            format!("relation {id} is one of peers, and not with {remote_app}")
        });
        for unit in relation.remote_units.keys().chain(relation.gone_units.keys()) {
            self.refuse_if(*unit.app() != **remote_app, || {
                format!("{unit} is in relation {id}, which is with {remote_app}")
            });
            self.refuse_if(unit == own, || format!("{unit} is this unit, and on the other side of relation {id}"));
        }
        for unit in relation.gone_units.keys().filter(|unit| relation.remote_units.contains_key(*unit)) {
            self.refuse(format!("{unit} is in relation {id}, and has departed from it"));
        }
        let local = [("our application", &relation.local_app), ("our unit", &relation.local_unit)];
        for (whose, bag) in local.into_iter().chain([("the other application", &relation.remote_app_data)]) {
            self.bag(id, whose, bag);
        }
        for (unit, bag) in &relation.remote_units {
            self.bag(id, &unit.to_string(), bag);
        }
    }

    fn bag(&mut self, id: RelationId, whose: &str, bag: &Bag) {
        for (key, value) in bag {
            self.refuse_if(key.is_empty() || value.is_empty(), || {
                format!("the bag of {whose} in relation {id} has {key:?}: {value:?}; Juju keeps nothing empty")
            });
        }
    }

    fn secrets(&mut self) {
        let (mut ids, mut labels) = (BTreeSet::new(), BTreeSet::new());
        for secret in &self.state.secrets {
            let SecretState { id, label, .. } = secret;
            self.refuse_if(id.is_empty() || id.contains([':', '/']), || format!("{id:?} identifies no secret"));
            self.refuse_if(!ids.insert(id), || format!("there are two secrets {id}"));
            // an owner's labels are one name space, those that we give to others' secrets another
            let space = match &secret.owner {
                Owner::Unit => 0,
                Owner::Application => 1,
                Owner::Other(_) => 2,
            };
            let is_taken = !label.is_empty() && !labels.insert((space, label));
            self.refuse_if(is_taken, || format!("two secrets have the label {label:?}"));
            if let Owner::Other(app) = &secret.owner {
                let app = app.split('/').next().unwrap_or_default();
                self.refuse_if(*self.state.unit.app() == *app, || {
                    format!("secret {id} is ours: its owner is Unit or Application")
                });
            }
            let newest = secret.revisions.keys().next_back();
            self.refuse_if(newest.is_none_or(|newest| *newest > secret.latest), || {
                format!("secret {id} has no revisions up to its latest, {}", secret.latest)
            });
            self.refuse_if(secret.tracked == 0 || secret.tracked > secret.latest, || {
                format!("secret {id} is read at revision {}, and has {}", secret.tracked, secret.latest)
            });
            for (revision, content) in &secret.revisions {
                self.refuse_if(content.is_empty(), || format!("revision {revision} of secret {id} is empty"));
                for key in content.keys().filter(|key| !crate::memory::is_secret_key(key)) {
                    self.refuse(format!("secret {id} has the key {key:?}"));
                }
            }
            for relation in secret.grants.iter().filter_map(|grant| grant.relation) {
                let is_there = self.state.relations.contains_key(&relation);
                self.refuse_if(!is_there, || {
                    format!("secret {id} is granted over relation {relation}, which there is not")
                });
            }
        }
    }

    fn storage_and_resources(&mut self) {
        for id in self.state.storage.keys() {
            let name = id.split_once('/').filter(|(_, number)| number.parse::<u32>().is_ok()).map(|(name, _)| name);
            match name {
                None => self.refuse(format!("{id:?} is no instance of storage, such as data/0")),
                Some(name) => {
                    let is_declared = self.meta.storage.contains(name);
                    self.refuse_if(!is_declared, || format!("the charm declares no storage {name}"));
                }
            }
        }
        for name in self.state.resources.keys() {
            self.refuse_if(!self.meta.resources.contains(name), || format!("the charm declares no resource {name}"));
        }
    }

    fn trigger(&mut self, what: &What) {
        match what {
            What::Hook(event) => self.hook(event),
            What::Relation { kind, id, unit, departing } => {
                self.relation_event(*kind, *id, unit.as_deref(), departing.as_deref());
            }
            What::Storage { id, .. } => match self.state.storage.get(id) {
                None => self.refuse(format!("there is no storage {id}")),
                Some(storage) => self.refuse_if(!storage.attached, || format!("storage {id} is not attached")),
            },
            What::Secret { kind, id, revision } => self.secret_event(*kind, id, *revision),
            What::Pebble { container, kind } => self.pebble_event(container, kind),
            What::Action { name, params } => self.action(name, params),
        }
    }

    fn hook(&mut self, event: &Event) {
        match event {
            Event::LeaderElected => {
                self.refuse_if(!self.state.leader, || "leader-elected comes to the leader".to_owned());
            }
            Event::LeaderSettingsChanged
            | Event::CollectMetrics
            | Event::MeterStatusChanged
            | Event::PreSeriesUpgrade
            | Event::PostSeriesUpgrade => {
                self.refuse_if(self.is_at_least(4, 0), || format!("{event} is gone since Juju 4"));
            }
            Event::Unknown(name) => self.refuse_if(name.is_empty(), || "the hook has no name".to_owned()),
            _ => {}
        }
    }

    fn relation_event(&mut self, kind: RelationEventKind, id: RelationId, unit: Option<&str>, departing: Option<&str>) {
        let Some(relation) = self.state.relations.get(&id) else {
            return self.refuse(format!("there is no relation {id}"));
        };
        let name = match unit.map(str::parse::<UnitName>) {
            None => None,
            Some(Ok(name)) => Some(name),
            Some(Err(error)) => return self.refuse(error.to_string()),
        };
        let has = |units: &BTreeMap<UnitName, Bag>| name.as_ref().is_some_and(|name| units.contains_key(name));
        let is_there = match kind {
            RelationEventKind::Created | RelationEventKind::Broken => name.is_none(),
            RelationEventKind::Joined => has(&relation.remote_units),
            RelationEventKind::Changed => name.is_none() || has(&relation.remote_units),
            RelationEventKind::Departed => has(&relation.remote_units) || has(&relation.gone_units),
        };
        let who = unit.unwrap_or("no unit");
        self.refuse_if(!is_there, || match kind {
            RelationEventKind::Created | RelationEventKind::Broken => {
                format!("{kind} is about no unit, but about {who}")
            }
            _ => format!("{kind} is about a unit of relation {id}, but about {who}"),
        });
        self.refuse_if(kind == RelationEventKind::Broken && !relation.remote_units.is_empty(), || {
            format!("relation {id} is broken when its units have departed")
        });
        if let Some(departing) = departing {
            let is_own = departing == self.state.unit.to_string();
            let fits = kind == RelationEventKind::Departed && (is_own || unit == Some(departing));
            self.refuse_if(!fits, || format!("{departing} does not depart in this event"));
        }
    }

    fn secret_event(&mut self, kind: SecretEventKind, id: &str, revision: Option<u32>) {
        self.refuse_if(!self.is_at_least(3, 0), || "there are secrets since Juju 3.0".to_owned());
        let Some(secret) = self.state.secrets.iter().find(|secret| secret.id == id) else {
            return self.refuse(format!("there is no secret {id}"));
        };
        let is_ours = !matches!(secret.owner, Owner::Other(_));
        self.refuse_if((kind == SecretEventKind::Changed) == is_ours, || {
            let whose = if is_ours { "ours" } else { "somebody else's" };
            format!("secret-{kind} does not come for a secret that is {whose}")
        });
        self.refuse_if(secret.owner == Owner::Application && !self.state.leader, || {
            format!("secret-{kind} of an application's secret comes to the leader")
        });
        match (kind, revision) {
            (SecretEventKind::Changed | SecretEventKind::Rotate, None) => {}
            (SecretEventKind::Remove, Some(revision)) => {
                let is_old = revision < secret.latest && secret.revisions.contains_key(&revision);
                self.refuse_if(!is_old, || format!("revision {revision} of secret {id} is not to be removed"));
            }
            (SecretEventKind::Expired, Some(revision)) => {
                let is_there = secret.revisions.contains_key(&revision);
                self.refuse_if(!is_there, || format!("there is no revision {revision} of secret {id}"));
            }
            (_, Some(_)) => self.refuse(format!("secret-{kind} names no revision")),
            (_, None) => self.refuse(format!("secret-{kind} names a revision")),
        }
    }

    fn pebble_event(&mut self, container: &str, kind: &PebbleEventKind) {
        let is_declared = self.meta.containers.contains_key(container);
        self.refuse_if(!is_declared, || format!("the charm declares no container {container}"));
        let pebble = self.containers.get(container).filter(|pebble| pebble.is_up().unwrap_or(false));
        self.refuse_if(is_declared && pebble.is_none(), || {
            format!("container {container} is down: give it a Pebble that is up")
        });
        match kind {
            PebbleEventKind::Ready => {}
            PebbleEventKind::CustomNotice(notice) => {
                self.refuse_if(!self.is_at_least(3, 4), || "there are custom notices since Juju 3.4".to_owned());
                let key = &notice.key;
                let is_named = key.split_once('/').is_some_and(|(domain, path)| {
                    domain.contains('.') && !path.is_empty() && key.len() <= NOTICE_KEY_MAX
                });
                self.refuse_if(!is_named, || format!("{key:?} is no key of a notice, such as example.com/name"));
                self.refuse_if(notice.kind != "custom", || format!("{:?} is no type of a custom notice", notice.kind));
                self.refuse_if(notice.id.is_empty(), || "the notice has no ID".to_owned());
                let id = &notice.id;
                let is_there = |pebble: &Rc<dyn Pebble>| {
                    let known = pebble.notice(id);
                    known.is_ok_and(|known| known.notice_type == notice.kind && known.key == *key)
                };
                let is_new = is_named && !id.is_empty() && pebble.is_some_and(|pebble| !is_there(pebble));
                self.refuse_if(is_new, || {
                    format!("container {container} has no notice {id} of {key}: `notify` makes one")
                });
            }
            PebbleEventKind::CheckFailed { check } | PebbleEventKind::CheckRecovered { check } => {
                self.refuse_if(!self.is_at_least(3, 6), || "there are events of checks since Juju 3.6".to_owned());
                self.refuse_if(check.is_empty(), || "the check has no name".to_owned());
                let is_there = |pebble: &Rc<dyn Pebble>| {
                    pebble.checks(None, &[check]).is_ok_and(|known| known.iter().any(|known| known.name == *check))
                };
                let is_new = !check.is_empty() && pebble.is_some_and(|pebble| !is_there(pebble));
                self.refuse_if(is_new, || format!("container {container} has no check {check}: no layer names it"));
            }
        }
    }

    fn action(&mut self, name: &str, params: &Map<String, Value>) {
        let Some(action) = self.meta.actions.get(name) else {
            return self.refuse(format!("the charm declares no action {name}"));
        };
        for (param, value) in params {
            match action.params.get(param) {
                Some(spec) if !spec.takes(value) => {
                    self.refuse(format!("parameter {param} of action {name} is of another type than {value}"));
                }
                None if action.is_closed => self.refuse(format!("action {name} takes no parameter {param}")),
                _ => {}
            }
        }
        for param in action.required.iter().filter(|param| !params.contains_key(*param)) {
            self.refuse(format!("action {name} wants the parameter {param}"));
        }
    }

    fn is_at_least(&self, major: u32, minor: u32) -> bool {
        // a version that makes no sense was refused already
        self.version.is_none_or(|version| version >= JujuVersion::new(major, minor, 0))
    }
}

/// Pebble's own limit, in bytes.
const NOTICE_KEY_MAX: usize = 256;

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::super::{Context, on};
    use super::*;
    use crate::memory::Grant;
    use crate::pebble::MemoryPebble;
    use crate::run::Unit;
    use std::convert::Infallible;

    const CHARM: &str = "
name: mine
requires: {db: {interface: pg, limit: 1}}
provides: {web: {interface: http}}
peers: {cluster: {interface: mine}}
containers: {app: {}, side: {}, down: {}}
storage: {data: {type: filesystem}}
resources: {blob: {type: file}}
config: {options: {flag: {type: boolean}, level: {type: float}, key: {type: secret}}}
actions:
  greet:
    additionalProperties: false
    required: [name]
    params: {name: {type: string}, times: {type: integer, default: 1}, loud: {}}
  open: {params: {much: {type: array}}}
";

    const NOTICE: &str = "1";

    fn context() -> Context<'static, Infallible> {
        let meta = Meta::from_charmcraft(CHARM).unwrap();
        let pebble = MemoryPebble::new();
        assert_eq!(pebble.notify("example.com/done", &[], None).unwrap(), NOTICE);
        let check = crate::yaml::parse("checks: {up: {override: replace, tcp: {port: 80}}}").unwrap();
        pebble.add_layer("base", &check, false).unwrap();
        Context::new(meta, |_: &Unit<'_>| Ok(()))
            .with_container("app", Rc::new(pebble))
            .with_container("down", Rc::new(MemoryPebble::down()))
    }

    /// A leader with a database of two units, one of which has departed; a secret of each owner.
    fn state() -> State {
        let content = || BTreeMap::from([("token".to_owned(), "t".to_owned())]);
        let mut state = State::new(context().meta())
            .relation(3, "db", "pg")
            .remote_unit(3, "pg/0", [])
            .remote_unit(3, "pg/1", [("host", "h")])
            .relation(5, "web", "site")
            .planned_units(2)
            .secret(SecretState::new("own", Owner::Unit, "one", content()))
            .secret(SecretState::new("app", Owner::Application, "one", content()))
            .secret(SecretState::new("their", Owner::Other("pg".to_owned()), "one", content()));
        state.secrets[0].latest = 2;
        state.secrets[0].revisions.insert(2, content());
        state
    }

    fn check(trigger: impl Into<Trigger>, state: &State) -> String {
        context().run(trigger, state).map_or_else(|why| why.to_string(), |_| String::new())
    }

    #[test]
    fn what_can_be_is_run() {
        let state = state();
        let follower = state.clone().leader(false);
        let mut alone = state.clone();
        alone.relations.get_mut(&RelationId(3)).unwrap().remote_units.clear();
        let plain = [Event::Install, Event::LeaderElected, Event::CollectMetrics, Event::Unknown("new".to_owned())];
        for trigger in plain.into_iter().map(Trigger::from).chain([
            on::relation_created(5),
            on::relation_joined(3, "pg/1"),
            on::relation_changed(3),
            on::relation_changed(3).by("pg/1"),
            on::relation_changed(0).by("mine/1"),
            on::relation_departed(3, "pg/1"),
            on::relation_departed(3, "pg/1").departing("mine/0"),
            on::relation_broken(5),
            on::storage_attached("data/0"),
            on::storage_detaching("data/0"),
            on::secret_changed("secret:their"),
            on::secret_rotate("app"),
            on::secret_remove("own", 1),
            on::secret_expired("own", 2),
            on::pebble_ready("app"),
            on::pebble_custom_notice("app", NOTICE, "example.com/done"),
            on::pebble_check_failed("app", "up"),
            on::pebble_check_recovered("app", "up"),
            on::action("greet").param("name", "Ann").param("times", 2).param("loud", true),
            on::action("open").param("much", vec![1]).param("other", 1),
        ]) {
            assert_eq!(check(trigger.clone(), &state), "", "{trigger:?}");
        }
        assert_eq!(check(on::relation_broken(3), &alone), "");
        assert_eq!(check(on::secret_rotate("own"), &follower), "");
    }

    #[test]
    fn events_that_do_not_come_are_refused() {
        let old = |juju: &str| State { juju_version: juju.to_owned(), ..state() };
        let detached = {
            let mut state = state();
            state.storage.get_mut("data/0").unwrap().attached = false;
            state
        };
        for (trigger, state, why) in [
            (Event::LeaderElected.into(), state().leader(false), "leader-elected comes to the leader"),
            (Event::CollectMetrics.into(), old("4.0.1"), "collect-metrics is gone since Juju 4"),
            (Event::Unknown(String::new()).into(), state(), "the hook has no name"),
            (on::relation_changed(9), state(), "there is no relation 9"),
            (on::relation_created(3).by("pg/0"), state(), "created is about no unit, but about pg/0"),
            (on::relation_joined(3, "pg/7"), state(), "joined is about a unit of relation 3, but about pg/7"),
            (on::relation_changed(3).by("site/0"), state(), "changed is about a unit of relation 3, but about site/0"),
            (on::relation_departed(3, "pg"), state(), "\"pg\" is not the name of a unit, such as app/0"),
            (on::relation_departed(3, "pg/0").departing("pg/1"), state(), "pg/1 does not depart in this event"),
            (on::relation_broken(3), state(), "relation 3 is broken when its units have departed"),
            (on::storage_attached("data/1"), state(), "there is no storage data/1"),
            (on::storage_detaching("data/0"), detached, "storage data/0 is not attached"),
            (on::secret_changed("none"), state(), "there is no secret none"),
            (on::secret_changed("own"), state(), "secret-changed does not come for a secret that is ours"),
            (on::secret_rotate("their"), state(), "secret-rotate does not come for a secret that is somebody else's"),
            (
                on::secret_rotate("app"),
                state().leader(false),
                "secret-rotate of an application's secret comes to the leader",
            ),
            (on::secret_remove("own", 2), state(), "revision 2 of secret own is not to be removed"),
            (on::secret_expired("own", 3), state(), "there is no revision 3 of secret own"),
            (on::secret_rotate("own"), old("2.9.51"), "there are secrets since Juju 3.0"),
            (on::pebble_ready("db"), state(), "the charm declares no container db"),
            (on::pebble_ready("side"), state(), "container side is down: give it a Pebble that is up"),
            (on::pebble_ready("down"), state(), "container down is down: give it a Pebble that is up"),
            (
                on::pebble_custom_notice("app", "7", "example.com/done"),
                state(),
                "container app has no notice 7 of example.com/done: `notify` makes one",
            ),
            (
                on::pebble_custom_notice("app", NOTICE, "example.com/other"),
                state(),
                "container app has no notice 1 of example.com/other: `notify` makes one",
            ),
            (on::pebble_check_failed("app", "odd"), state(), "container app has no check odd: no layer names it"),
            (
                on::pebble_custom_notice("app", "7", "done"),
                state(),
                "\"done\" is no key of a notice, such as example.com/name",
            ),
            (
                on::pebble_custom_notice("app", NOTICE, "example.com/done"),
                old("3.1.0"),
                "there are custom notices since Juju 3.4",
            ),
            (on::pebble_check_failed("app", ""), state(), "the check has no name"),
            (on::pebble_check_failed("app", "up"), old("3.5.0"), "there are events of checks since Juju 3.6"),
            (on::action("wave"), state(), "the charm declares no action wave"),
            (on::action("greet"), state(), "action greet wants the parameter name"),
            (on::action("greet").param("name", 1), state(), "parameter name of action greet is of another type than 1"),
            (on::action("greet").param("name", "A").param("odd", 1), state(), "action greet takes no parameter odd"),
        ] {
            assert_eq!(check(trigger, &state), why);
        }
    }

    #[test]
    fn states_that_no_model_has_are_refused() {
        type Change = fn(&mut State);
        let changes: [(Change, &str); 27] = [
            (|s| s.model.name.clear(), "the model has no name"),
            (|s| s.model.uuid = "1".to_owned(), "the model's UUID is \"1\""),
            (|s| s.juju_version = "new".to_owned(), "\"new\" is no version of Juju"),
            (|s| drop(s.config.insert("odd".to_owned(), ConfigValue::Int(1))), "the charm declares no option odd"),
            (
                |s| drop(s.config.insert("flag".to_owned(), ConfigValue::Int(1))),
                "option flag is of another type than its value Int(1)",
            ),
            (
                |s| drop(s.config.insert("key".to_owned(), ConfigValue::String("x".to_owned()))),
                "option key names no secret",
            ),
            (|s| *s = s.clone().relation(8, "mail", "x"), "the charm has no endpoint mail"),
            (|s| *s = s.clone().relation(8, "db", "x"), "endpoint db has 2 relations, and takes 1"),
            (|s| *s = s.clone().relation(8, "cluster", "mine"), "endpoint cluster has 2 relations, and takes 1"),
            (|s| s.relations.get_mut(&RelationId(0)).unwrap().remote_units.clear(), ""),
            (|s| *s = s.clone().remote_unit(5, "pg/0", []), "pg/0 is in relation 5, which is with site"),
            (
                |s| *s = s.clone().remote_unit(0, "mine/0", []),
                "mine/0 is this unit, and on the other side of relation 0",
            ),
            (
                |s| s.relations.get_mut(&RelationId(0)).unwrap().remote_app = "other".to_owned(),
                "relation 0 is one of peers, and not with other\nmine/1 is in relation 0, which is with other",
            ),
            (
                |s| {
                    drop(
                        s.relations
                            .get_mut(&RelationId(3))
                            .unwrap()
                            .gone_units
                            .insert("pg/0".parse().unwrap(), Bag::new()),
                    )
                },
                "pg/0 is in relation 3, and has departed from it",
            ),
            (
                |s| drop(s.relations.get_mut(&RelationId(3)).unwrap().local_app.insert("k".to_owned(), String::new())),
                "the bag of our application in relation 3 has \"k\": \"\"; Juju keeps nothing empty",
            ),
            (|s| s.secrets[1].id = "own".to_owned(), "there are two secrets own"),
            (|s| s.secrets[1].id = "secret:own".to_owned(), "\"secret:own\" identifies no secret"),
            (|s| s.secrets[1].owner = Owner::Unit, "two secrets have the label \"one\""),
            (
                |s| s.secrets[2].owner = Owner::Other("mine".to_owned()),
                "secret their is ours: its owner is Unit or Application",
            ),
            (|s| s.secrets[0].latest = 1, "secret own has no revisions up to its latest, 1"),
            (|s| s.secrets[0].revisions.clear(), "secret own has no revisions up to its latest, 2"),
            (|s| s.secrets[0].tracked = 3, "secret own is read at revision 3, and has 2"),
            (|s| s.secrets[1].revisions.get_mut(&1).unwrap().clear(), "revision 1 of secret app is empty"),
            (
                |s| drop(s.secrets[1].revisions.get_mut(&1).unwrap().insert("Bad".to_owned(), "x".to_owned())),
                "secret app has the key \"Bad\"",
            ),
            (
                |s| s.secrets[0].grants.push(Grant { relation: Some(RelationId(9)), ..Grant::default() }),
                "secret own is granted over relation 9, which there is not",
            ),
            (
                |s| {
                    let storage = s.storage["data/0"].clone();
                    s.storage.extend([("data".to_owned(), storage.clone()), ("tmp/0".to_owned(), storage)]);
                },
                "\"data\" is no instance of storage, such as data/0\nthe charm declares no storage tmp",
            ),
            (|s| drop(s.resources.insert("odd".to_owned(), "/odd".to_owned())), "the charm declares no resource odd"),
        ];
        for (change, why) in changes {
            let mut state = state();
            change(&mut state);
            assert_eq!(check(Event::UpdateStatus, &state), why);
        }
    }
}
