//! What happens: the events that a test lets a charm meet. Those that say nothing but their name are [`Event`]s already.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::event::{Event, PebbleEventKind, RelationEventKind, SecretEventKind, StorageEventKind};
use crate::memory::{Meta, Origin, State};
use crate::model::{RelationId, UnitName};

/// An event to come, by what a test has to say of it; the rest is in the state.
#[derive(Clone, Debug, PartialEq)]
pub struct Trigger(pub(super) What);

#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A hook that says nothing but its name.
    Hook(Event),
    Relation {
        kind: RelationEventKind,
        id: RelationId,
        unit: Option<String>,
        departing: Option<String>,
    },
    Storage {
        kind: StorageEventKind,
        id: String,
    },
    Secret {
        kind: SecretEventKind,
        id: String,
        revision: Option<u32>,
    },
    Pebble {
        container: String,
        kind: PebbleEventKind,
    },
    Action {
        name: String,
        params: Map<String, Value>,
    },
}

fn relation(kind: RelationEventKind, id: u32, unit: Option<&str>) -> Trigger {
    Trigger(What::Relation { kind, id: RelationId(id), unit: unit.map(str::to_owned), departing: None })
}

/// There is a new relation.
pub fn relation_created(id: u32) -> Trigger {
    relation(RelationEventKind::Created, id, None)
}

/// A unit of the other side has come.
pub fn relation_joined(id: u32, unit: &str) -> Trigger {
    relation(RelationEventKind::Joined, id, Some(unit))
}

/// The other application's bag has changed; with [`Trigger::by`], a unit's.
pub fn relation_changed(id: u32) -> Trigger {
    relation(RelationEventKind::Changed, id, None)
}

/// A unit of the other side goes; with [`Trigger::departing`], this one does, and is shown each of the others once.
pub fn relation_departed(id: u32, unit: &str) -> Trigger {
    relation(RelationEventKind::Departed, id, Some(unit))
}

/// The relation goes. All units of the other side have departed before.
pub fn relation_broken(id: u32) -> Trigger {
    relation(RelationEventKind::Broken, id, None)
}

/// An instance of storage, `name/0`, is there.
pub fn storage_attached(id: &str) -> Trigger {
    Trigger(What::Storage { kind: StorageEventKind::Attached, id: id.to_owned() })
}

/// An instance of storage, `name/0`, is about to go.
pub fn storage_detaching(id: &str) -> Trigger {
    Trigger(What::Storage { kind: StorageEventKind::Detaching, id: id.to_owned() })
}

fn secret(kind: SecretEventKind, id: &str, revision: Option<u32>) -> Trigger {
    let id = id.strip_prefix("secret:").unwrap_or(id).to_owned();
    Trigger(What::Secret { kind, id, revision })
}

/// Somebody else's secret has a new revision.
pub fn secret_changed(id: &str) -> Trigger {
    secret(SecretEventKind::Changed, id, None)
}

/// It is time for a new revision of a secret of ours.
pub fn secret_rotate(id: &str) -> Trigger {
    secret(SecretEventKind::Rotate, id, None)
}

/// Nobody reads a revision of a secret of ours any more.
pub fn secret_remove(id: &str, revision: u32) -> Trigger {
    secret(SecretEventKind::Remove, id, Some(revision))
}

/// A revision of a secret of ours has expired.
pub fn secret_expired(id: &str, revision: u32) -> Trigger {
    secret(SecretEventKind::Expired, id, Some(revision))
}

fn pebble(container: &str, kind: PebbleEventKind) -> Trigger {
    Trigger(What::Pebble { container: container.to_owned(), kind })
}

/// A workload container is up.
pub fn pebble_ready(container: &str) -> Trigger {
    pebble(container, PebbleEventKind::Ready)
}

/// A custom notice has come up in a container. Its key has a domain and a path, `example.com/backup-done`.
pub fn pebble_custom_notice(container: &str, id: &str, key: &str) -> Trigger {
    let notice = crate::event::Notice { id: id.to_owned(), kind: "custom".to_owned(), key: key.to_owned() };
    pebble(container, PebbleEventKind::CustomNotice(notice))
}

/// A check has failed as often as its threshold says.
pub fn pebble_check_failed(container: &str, check: &str) -> Trigger {
    pebble(container, PebbleEventKind::CheckFailed { check: check.to_owned() })
}

/// A check that had failed goes well again.
pub fn pebble_check_recovered(container: &str, check: &str) -> Trigger {
    pebble(container, PebbleEventKind::CheckRecovered { check: check.to_owned() })
}

/// The operator runs an action.
pub fn action(name: &str) -> Trigger {
    Trigger(What::Action { name: name.to_owned(), params: Map::new() })
}

impl From<Event> for Trigger {
    /// The endpoint, the application, the label and the location that an event names are not asked: the state knows them.
    fn from(event: Event) -> Trigger {
        let text = |unit: UnitName| unit.to_string();
        Trigger(match event {
            Event::Relation(e) => {
                What::Relation { kind: e.kind, id: e.id, unit: e.unit.map(text), departing: e.departing.map(text) }
            }
            Event::Storage(e) => What::Storage { kind: e.kind, id: e.id },
            Event::Secret(e) => return secret(e.kind, &e.id, e.revision),
            Event::Pebble(e) => What::Pebble { container: e.container, kind: e.kind },
            Event::Action(e) => What::Action { name: e.name, params: Map::new() },
            event => What::Hook(event),
        })
    }
}

impl Trigger {
    /// Whose bag has changed.
    #[must_use]
    pub fn by(mut self, changed: &str) -> Trigger {
        if let What::Relation { unit, .. } = &mut self.0 {
            *unit = Some(changed.to_owned());
        }
        self
    }

    /// Which unit goes, where it is another than the one that the event is about: this one.
    #[must_use]
    pub fn departing(mut self, goes: &str) -> Trigger {
        if let What::Relation { departing, .. } = &mut self.0 {
            *departing = Some(goes.to_owned());
        }
        self
    }

    /// Adds a parameter to an action.
    #[must_use]
    pub fn param(mut self, name: &str, value: impl Into<Value>) -> Trigger {
        if let What::Action { params, .. } = &mut self.0 {
            params.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The change to the world that the event tells of.
    pub(super) fn come(&self, state: &mut State) {
        if let What::Relation { kind: RelationEventKind::Departed, id, unit: Some(unit), .. } = &self.0
            && let (Some(relation), Ok(unit)) = (state.relations.get_mut(id), unit.parse())
            && let Some((unit, bag)) = relation.remote_units.remove_entry(&unit)
        {
            relation.gone_units.insert(unit, bag);
        }
    }

    pub(super) fn origin(&self, meta: &Meta) -> Origin {
        match &self.0 {
            What::Relation { id, unit, .. } => {
                Origin { relation: Some(*id), remote_unit: unit.as_ref().and_then(|u| u.parse().ok()), action: None }
            }
            What::Action { name, params } => {
                let mut all = params.clone();
                for (param, spec) in meta.actions.get(name).into_iter().flat_map(|action| &action.params) {
                    if let Some(default) = &spec.default
                        && !all.contains_key(param)
                    {
                        all.insert(param.clone(), default.clone());
                    }
                }
                Origin { action: Some(all), ..Origin::default() }
            }
            _ => Origin::default(),
        }
    }

    /// The environment of the dispatch, with what Juju leaves empty.
    pub(super) fn variables(&self, state: &State) -> BTreeMap<String, String> {
        let charm_dir = format!("/var/lib/juju/agents/unit-{}/charm", state.unit.to_string().replace('/', "-"));
        let path = match &self.0 {
            What::Action { name, .. } => format!("actions/{name}"),
            _ => format!("hooks/{}", self.hook(state)),
        };
        let mut all: BTreeMap<String, String> = [
            ("CHARM_DIR", &*charm_dir),
            ("JUJU_CHARM_DIR", &charm_dir),
            ("JUJU_CONTEXT_ID", &format!("{}-{}-1", state.unit, self.hook(state))),
            ("JUJU_DISPATCH_PATH", &path),
            ("JUJU_HOOK_NAME", path.strip_prefix("hooks/").unwrap_or_default()),
            ("JUJU_UNIT_NAME", &state.unit.to_string()),
            ("JUJU_MODEL_NAME", &state.model.name),
            ("JUJU_MODEL_UUID", &state.model.uuid),
            ("JUJU_VERSION", &state.juju_version),
            ("JUJU_MACHINE_ID", ""),
            ("JUJU_PRINCIPAL_UNIT", ""),
            ("JUJU_AVAILABILITY_ZONE", ""),
            ("JUJU_CHARM_HTTP_PROXY", ""),
            ("JUJU_CHARM_HTTPS_PROXY", ""),
            ("JUJU_CHARM_FTP_PROXY", ""),
            ("JUJU_CHARM_NO_PROXY", ""),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        let mut set = |name: &str, value: &str| drop(all.insert(name.to_owned(), value.to_owned()));
        match &self.0 {
            What::Hook(_) => {}
            What::Relation { kind, id, unit, departing } => {
                let relation = &state.relations[id];
                let unit = unit.as_deref().unwrap_or_default();
                set("JUJU_RELATION", &relation.endpoint);
                set("JUJU_RELATION_ID", &format!("{}:{id}", relation.endpoint));
                set("JUJU_REMOTE_APP", &relation.remote_app);
                set("JUJU_REMOTE_UNIT", unit);
                if *kind == RelationEventKind::Departed {
                    set("JUJU_DEPARTING_UNIT", departing.as_deref().unwrap_or(unit));
                }
            }
            What::Storage { id, .. } => {
                let storage = &state.storage[id];
                set("JUJU_STORAGE_ID", id);
                set("JUJU_STORAGE_LOCATION", &storage.location);
                set("JUJU_STORAGE_KIND", &storage.kind);
            }
            What::Secret { id, revision, .. } => {
                let label = state.secrets.iter().find(|secret| secret.id == *id).map(|secret| &*secret.label);
                set("JUJU_SECRET_ID", &format!("secret:{id}"));
                set("JUJU_SECRET_LABEL", label.unwrap_or_default());
                if let Some(revision) = revision {
                    set("JUJU_SECRET_REVISION", &revision.to_string());
                }
            }
            What::Pebble { container, kind } => {
                set("JUJU_WORKLOAD_NAME", container);
                match kind {
                    PebbleEventKind::Ready => {}
                    PebbleEventKind::CustomNotice(notice) => {
                        set("JUJU_NOTICE_ID", &notice.id);
                        set("JUJU_NOTICE_TYPE", &notice.kind);
                        set("JUJU_NOTICE_KEY", &notice.key);
                    }
                    PebbleEventKind::CheckFailed { check } | PebbleEventKind::CheckRecovered { check } => {
                        set("JUJU_PEBBLE_CHECK_NAME", check);
                    }
                }
            }
            What::Action { name, .. } => {
                set("JUJU_ACTION_NAME", name);
                set("JUJU_ACTION_UUID", "00000000-0000-4000-8000-000000000001");
                set("JUJU_ACTION_TAG", "action-00000000-0000-4000-8000-000000000001");
            }
        }
        all
    }

    /// The hook's name; the action's for an action.
    fn hook(&self, state: &State) -> String {
        match &self.0 {
            What::Hook(event) => event.name(),
            What::Relation { kind, id, .. } => format!("{}-relation-{kind}", state.relations[id].endpoint),
            What::Storage { kind, id } => format!("{}-storage-{kind}", id.split('/').next().unwrap_or_default()),
            What::Secret { kind, .. } => format!("secret-{kind}"),
            What::Pebble { container, kind } => format!("{container}-pebble-{kind}"),
            What::Action { name, .. } => name.clone(),
        }
    }
}
