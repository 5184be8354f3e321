//! What Juju knows of one unit and of everything that it can see.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Meta;
use crate::desired::Port;
use crate::model::{AppName, Bag, ConfigValue, ModelInfo, RelationId, UnitName};
use crate::status::{Status, StatusKind};

/// The world as Juju keeps it: what an in-memory backend begins with, and what it leaves behind.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub model: ModelInfo,
    pub unit: UnitName,
    pub leader: bool,
    pub juju_version: String,
    /// The unit's address.
    pub address: String,
    /// What the operator has set; defaults come from [`Meta`].
    pub config: BTreeMap<String, ConfigValue>,
    pub relations: BTreeMap<RelationId, RelationState>,
    pub ports: BTreeSet<Port>,
    pub unit_status: Status,
    pub app_status: Status,
    pub workload_version: String,
    /// In order of their making.
    pub secrets: Vec<SecretState>,
    /// Identifiers that new secrets get, in this order; made-up ones follow.
    pub secret_ids: Vec<String>,
    pub storage: BTreeMap<String, StorageState>,
    /// Where the files of resources are.
    pub resources: BTreeMap<String, String>,
    /// The charm's own state.
    pub stored: BTreeMap<String, String>,
    pub planned_units: u32,
    /// What `credential-get` tells: `None` without `juju trust`.
    pub credential: Option<Value>,
}

/// A relation, with both sides' bags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelationState {
    pub endpoint: String,
    /// The application on the other side; our own in a peer relation.
    pub remote_app: String,
    /// The model of the other side.
    pub remote_model: String,
    pub remote_app_data: Bag,
    /// The units on the other side; in a peer relation the others of ours.
    pub remote_units: BTreeMap<UnitName, Bag>,
    /// Units that have departed, whose bags can still be read.
    pub gone_units: BTreeMap<UnitName, Bag>,
    pub local_app: Bag,
    /// Juju puts three keys here: see [`State::juju_keys`].
    pub local_unit: Bag,
}

/// A secret, with its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretState {
    /// Without `secret:`.
    pub id: String,
    pub owner: Owner,
    /// The owner's label, or for somebody else's secret our own.
    pub label: String,
    pub description: String,
    pub rotate: String,
    pub expire: Option<String>,
    pub grants: Vec<Grant>,
    pub revisions: BTreeMap<u32, BTreeMap<String, String>>,
    /// The revision that this unit reads.
    pub tracked: u32,
    pub latest: u32,
    /// The revision that this dispatch has added.
    pub(super) fresh: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Unit,
    Application,
    /// Another application, which has granted it to us.
    Other(String),
}

/// Who may see a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    pub relation: Option<RelationId>,
    pub app: Option<String>,
    pub unit: Option<String>,
}

impl SecretState {
    /// A secret with one revision.
    pub fn new(id: &str, owner: Owner, label: &str, content: BTreeMap<String, String>) -> SecretState {
        SecretState {
            id: id.to_owned(),
            owner,
            label: label.to_owned(),
            description: String::new(),
            rotate: "never".to_owned(),
            expire: None,
            grants: Vec::new(),
            revisions: BTreeMap::from([(1, content)]),
            tracked: 1,
            latest: 1,
            fresh: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageState {
    pub kind: String,
    /// In the charm's container.
    pub location: String,
    pub attached: bool,
}

impl State {
    /// A leader, alone in its model, with default configuration, its storage attached and its peer relations in place.
    pub fn new(meta: &Meta) -> State {
        let app = AppName::new(meta.name.clone()).unwrap_or_else(|| AppName::new("charm").expect("a valid name"));
        let unset = Status { kind: StatusKind::Waiting, message: "installing agent".to_owned() };
        let mut state = State {
            model: ModelInfo { name: "testing".to_owned(), uuid: "f2c1a0de-5b7e-4b52-9c5e-2d1f6a7b8c90".to_owned() },
            unit: UnitName::new(app, 0),
            leader: true,
            juju_version: "3.6.11".to_owned(),
            address: "10.1.2.3".to_owned(),
            config: BTreeMap::new(),
            relations: BTreeMap::new(),
            ports: BTreeSet::new(),
            unit_status: unset.clone(),
            app_status: unset,
            workload_version: String::new(),
            secrets: Vec::new(),
            secret_ids: Vec::new(),
            storage: meta
                .storage
                .iter()
                .map(|name| {
                    let location = format!("/var/lib/juju/storage/{name}/0");
                    let kind = "filesystem".to_owned();
                    (format!("{name}/0"), StorageState { kind, location, attached: true })
                })
                .collect(),
            resources: BTreeMap::new(),
            stored: BTreeMap::new(),
            planned_units: 1,
            credential: None,
        };
        for (n, endpoint) in (0..).zip(meta.peers.keys()) {
            let own = state.unit.app().to_string();
            state = state.relation(n, endpoint, &own);
        }
        state
    }

    /// Adds a relation without units and data. Its number must be free: see the consistency checks.
    #[must_use]
    pub fn relation(mut self, id: u32, endpoint: &str, app: &str) -> State {
        let local_unit = self.juju_keys();
        let remote_model = self.model.uuid.clone();
        let relation = RelationState {
            endpoint: endpoint.to_owned(),
            remote_app: app.to_owned(),
            remote_model,
            local_unit,
            ..RelationState::default()
        };
        self.relations.insert(RelationId(id), relation);
        self
    }

    /// Adds a unit with its bag to the other side of a relation.
    ///
    /// # Panics
    /// There is no such relation, or the name is none of a unit: a mistake of the test.
    #[must_use]
    pub fn remote_unit<const N: usize>(mut self, id: u32, unit: &str, data: [(&str, &str); N]) -> State {
        let unit = unit.parse().unwrap_or_else(|e| panic!("{e}"));
        self.relation_mut(id).remote_units.insert(unit, bag(data));
        self
    }

    /// Sets the other application's bag of a relation.
    ///
    /// # Panics
    /// There is no such relation: a mistake of the test.
    #[must_use]
    pub fn remote_app_data<const N: usize>(mut self, id: u32, data: [(&str, &str); N]) -> State {
        self.relation_mut(id).remote_app_data = bag(data);
        self
    }

    #[must_use]
    pub fn leader(mut self, leader: bool) -> State {
        self.leader = leader;
        self
    }

    #[must_use]
    pub fn config(mut self, option: &str, value: ConfigValue) -> State {
        self.config.insert(option.to_owned(), value);
        self
    }

    /// The number of units that there are and shall be, this one included; each peer relation gets the others.
    #[must_use]
    pub fn planned_units(mut self, count: u32) -> State {
        self.planned_units = count;
        let app = self.unit.app().clone();
        for relation in self.relations.values_mut().filter(|r| r.remote_app == app.as_str()) {
            relation.remote_units = (0..count)
                .map(|n| UnitName::new(app.clone(), n))
                .filter(|unit| *unit != self.unit)
                .map(|unit| (unit, Bag::new()))
                .collect();
        }
        self
    }

    /// Adds a secret, of ours or of somebody else who lets us see it.
    #[must_use]
    pub fn secret(mut self, secret: SecretState) -> State {
        self.secrets.push(secret);
        self
    }

    fn relation_mut(&mut self, id: u32) -> &mut RelationState {
        self.relations.get_mut(&RelationId(id)).unwrap_or_else(|| panic!("there is no relation {id}"))
    }

    /// What Juju itself writes into a unit's bag of each relation.
    pub fn juju_keys(&self) -> Bag {
        let subnet = format!("{}/32", self.address);
        bag([("egress-subnets", &*subnet), ("ingress-address", &*self.address), ("private-address", &*self.address)])
    }

    /// Our unit's bag, without the keys that Juju put there.
    ///
    /// # Panics
    /// There is no such relation: a mistake of the test.
    pub fn local_unit(&self, id: u32) -> Bag {
        let preset = self.juju_keys();
        let relation = &self.relations[&RelationId(id)];
        relation
            .local_unit
            .iter()
            .filter(|(k, v)| preset.get(*k) != Some(v))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    /// Our application's bag.
    ///
    /// # Panics
    /// There is no such relation: a mistake of the test.
    pub fn local_app(&self, id: u32) -> &Bag {
        &self.relations[&RelationId(id)].local_app
    }
}

fn bag<const N: usize>(data: [(&str, &str); N]) -> Bag {
    data.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}
