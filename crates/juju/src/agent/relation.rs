use std::collections::BTreeMap;

use serde_json::json;

use super::{Juju, to_yaml_json};
use crate::model::{AppName, Bag, Relation, RelationId, UnitName};
use crate::tools::ToolError;

/// Which of our two bags of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Unit,
    /// To read for anybody in a peer relation, else for the leader; to write for the leader.
    App,
}

/// What of an endpoint's relations is read. Each part costs a hook tool per relation, `unit_data` one per unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bags {
    /// The names of the units, without their bags.
    pub units: bool,
    /// The bags of the units.
    pub unit_data: bool,
    /// The other application's bag.
    pub app_data: bool,
    /// Our unit's bag.
    pub local_unit: bool,
    /// Our application's bag, where this unit may read it.
    pub local_app: bool,
}

impl Bags {
    /// Only which relations there are.
    pub const NONE: Bags =
        Bags { units: false, unit_data: false, app_data: false, local_unit: false, local_app: false };
    /// The names of the units.
    pub const UNITS: Bags = Bags { units: true, ..Bags::NONE };
    /// The other application's bag.
    pub const APP: Bags = Bags { app_data: true, ..Bags::NONE };
    /// All that the other side says.
    pub const REMOTE: Bags = Bags { units: true, unit_data: true, app_data: true, ..Bags::NONE };
    pub const ALL: Bags = Bags { units: true, unit_data: true, app_data: true, local_unit: true, local_app: true };
}

impl Juju<'_> {
    /// The relations of an endpoint, as Juju sorts them: as text, `x:10` before `x:9`.
    pub fn relation_ids(&self, endpoint: &str) -> Result<Vec<RelationId>, ToolError> {
        let ids: Option<Vec<String>> = self.read_as("relation-ids", &[endpoint])?;
        ids.unwrap_or_default()
            .iter()
            .map(|id| {
                RelationId::parse(id)
                    .ok_or_else(|| ToolError::bad_answer(format!("relation-ids {endpoint}"), format_args!("{id:?}")))
            })
            .collect()
    }

    /// The units on the other side, sorted with numbers as numbers.
    pub fn relation_units(&self, id: RelationId) -> Result<Vec<UnitName>, ToolError> {
        let units: Option<Vec<UnitName>> = self.read_as("relation-list", &["-r", &id.to_string()])?;
        let mut units = units.unwrap_or_default();
        units.sort();
        Ok(units)
    }

    /// The application on the other side.
    pub fn relation_app(&self, id: RelationId) -> Result<Option<AppName>, ToolError> {
        let app: Option<String> = self.read_as("relation-list", &["-r", &id.to_string(), "--app"])?;
        Ok(app.and_then(AppName::new))
    }

    /// The UUID of the model on the other side. Since Juju 3.6.2.
    pub fn relation_model(&self, id: RelationId) -> Result<String, ToolError> {
        let value = self.read("relation-model-get", &["-r", &id.to_string()])?;
        value["uuid"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| ToolError::bad_answer("relation-model-get".to_owned(), "no uuid"))
    }

    /// The bag of a unit: one on the other side, or this one.
    pub fn unit_bag(&self, id: RelationId, unit: &UnitName) -> Result<Bag, ToolError> {
        self.read_bag(&["-r", &id.to_string(), "-", &unit.to_string()])
    }

    /// The bag of an application: the other one, or ours.
    pub fn app_bag(&self, id: RelationId, app: &AppName) -> Result<Bag, ToolError> {
        self.read_bag(&["-r", &id.to_string(), "--app", "-", app.as_str()])
    }

    fn read_bag(&self, args: &[&str]) -> Result<Bag, ToolError> {
        let bag: Option<Bag> = self.read_as("relation-get", args)?;
        Ok(bag.unwrap_or_default())
    }

    /// Makes our bag say what `wish` says; other keys are left alone and an empty value removes a key. Gives what was
    /// written, which is empty, and no call, if all was so already.
    pub fn relation_set(&self, id: RelationId, own: &UnitName, side: Side, wish: &Bag) -> Result<Bag, ToolError> {
        let (number, unit) = (id.to_string(), own.to_string());
        let reading: &[&str] = match side {
            Side::Unit => &["-r", &number, "-", &unit],
            Side::App => &["-r", &number, "--app", "-", own.app().as_str()],
        };
        let mut bag = self.read_bag(reading)?;
        let differs = |key: &String, value: &String| bag.get(key).map_or("", String::as_str) != value;
        let changes: Bag = wish.iter().filter(|(k, v)| differs(k, v)).map(|(k, v)| (k.clone(), v.clone())).collect();
        if changes.is_empty() {
            return Ok(changes);
        }
        let stdin = to_yaml_json(changes.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let args: &[&str] = match side {
            Side::Unit => &["-r", &number, "--file", "-"],
            Side::App => &["-r", &number, "--app", "--file", "-"],
        };
        self.run("relation-set", args, Some(&stdin))?;
        for (key, value) in &changes {
            if value.is_empty() {
                bag.remove(key);
            } else {
                bag.insert(key.clone(), value.clone());
            }
        }
        self.keep("relation-get", reading, json!(bag));
        Ok(changes)
    }

    /// Reads one relation. `leader` and `peer` say whether our application's bag may be read.
    pub(crate) fn relation(
        &self,
        endpoint: &str,
        id: RelationId,
        parts: Bags,
        own: &UnitName,
        app_bag_is_open: impl Fn(Option<&AppName>) -> Result<bool, ToolError>,
    ) -> Result<Relation, ToolError> {
        let names = if parts.units || parts.unit_data { self.relation_units(id)? } else { Vec::new() };
        // Whoever asks for names alone, as of peers, does without it.
        let needs_app = parts.app_data || parts.local_app || names.is_empty() && parts.unit_data;
        // A unit tells its application. Only a relation without units has to be asked.
        let app = match names.first() {
            Some(unit) => Some(unit.app().clone()),
            None if needs_app => self.relation_app(id)?,
            None => None,
        };
        let mut units = BTreeMap::new();
        for unit in names {
            let bag = if parts.unit_data { self.unit_bag(id, &unit)? } else { Bag::new() };
            units.insert(unit, bag);
        }
        let app_data = match &app {
            Some(app) if parts.app_data && (app != own.app() || app_bag_is_open(Some(app))?) => {
                self.app_bag(id, app)?
            }
            _ => Bag::new(),
        };
        let local_app =
            if parts.local_app && app_bag_is_open(app.as_ref())? { Some(self.app_bag(id, own.app())?) } else { None };
        let local_unit = if parts.local_unit { Some(self.unit_bag(id, own)?) } else { None };
        Ok(Relation { id, endpoint: endpoint.to_owned(), app, units, app_data, local_app, local_unit, broken: false })
    }

    /// Whether Juju lets this unit read its application's bag: the leader always, others in peer relations.
    pub(crate) fn app_bag_is_open(&self, own: &UnitName, remote: Option<&AppName>) -> Result<bool, ToolError> {
        Ok(remote == Some(own.app()) || self.is_leader()?)
    }
}
