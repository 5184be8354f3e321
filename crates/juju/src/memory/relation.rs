use serde_json::{Value, json};

use super::args::{Answer, Args, Flags, Refusal, failed, key_values, usage};
use super::state::RelationState;
use super::{Tools, object};
use crate::model::{Bag, RelationId, UnitName};

const RELATION: &[&str] = &["-r", "--relation"];

impl Tools<'_> {
    /// The relation that `-r` names, or the one of the event.
    pub(super) fn relation(&self, args: &Args) -> Result<RelationId, Refusal> {
        let Some(given) = args.get(RELATION) else {
            return self.tx.relation.ok_or_else(|| usage("no relation id specified"));
        };
        let refuse = |why: &str| usage(format!("invalid value \"{given}\" for option -r: {why}"));
        let number = given.rsplit_once(':').map_or(given, |(_, number)| number);
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse("invalid relation id"));
        }
        let id = number.parse().ok().map(RelationId);
        id.filter(|id| self.tx.view.relations.contains_key(id)).ok_or_else(|| refuse("relation not found"))
    }

    /// `relation` has found it, or the dispatch is about it.
    fn at(&self, id: RelationId) -> Result<&RelationState, Refusal> {
        self.tx.view.relations.get(&id).ok_or_else(|| failed("relation not found"))
    }

    pub(super) fn relation_ids(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { formats: true, ..Flags::default() })?;
        args.at_most(1)?;
        let endpoint = match (args.rest.first(), self.tx.relation) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(id)) => self.at(id)?.endpoint.clone(),
            (None, None) => return Err(usage("no endpoint name specified")),
        };
        let relations = self.tx.view.relations.iter().filter(|(_, r)| r.endpoint == endpoint);
        let mut ids: Vec<String> = relations.map(|(id, _)| format!("{endpoint}:{id}")).collect();
        ids.sort();
        args.form(&json!(ids))
    }

    pub(super) fn relation_list(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { valued: RELATION, plain: &["--app"], formats: true })?;
        args.at_most(0)?;
        let relation = self.at(self.relation(&args)?)?;
        if args.has("--app") {
            return args.form(&json!(relation.remote_app));
        }
        let mut units: Vec<String> = relation.remote_units.keys().map(UnitName::to_string).collect();
        units.sort();
        args.form(&json!(units))
    }

    pub(super) fn relation_model_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { valued: RELATION, formats: true, ..Flags::default() })?;
        let relation = self.at(self.relation(&args)?)?;
        args.form(&json!({"uuid": relation.remote_model}))
    }

    /// Whose bag, and whether it is an application's: as given, or from the event.
    fn whose(&self, args: &Args, given: Option<&str>) -> Result<(String, bool), Refusal> {
        let whole = args.has("--app");
        if let Some(given) = given {
            if whole {
                return Ok((given.split('/').next().unwrap_or_default().to_owned(), true));
            }
            if !given.contains('/') {
                let is_app = given.starts_with(|c: char| c.is_ascii_lowercase())
                    && given.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                return Err(usage(if is_app {
                    format!("expected unit name, got application name \"{given}\"")
                } else {
                    format!("invalid unit name \"{given}\"")
                }));
            }
            return Ok((given.to_owned(), false));
        }
        if let (false, Some(unit)) = (whole, &self.tx.remote_unit) {
            return Ok((unit.to_string(), false));
        }
        match self.tx.relation.and_then(|id| self.tx.view.relations.get(&id)) {
            Some(relation) => Ok((relation.remote_app.clone(), true)),
            None => Err(usage("no unit or application specified")),
        }
    }

    pub(super) fn relation_get(&mut self, argv: &[String]) -> Answer {
        let args = Args::parse(argv, Flags { valued: RELATION, plain: &["--app"], formats: true })?;
        args.at_most(2)?;
        let relation = self.at(self.relation(&args)?)?;
        let key = args.rest.first().map_or("-", String::as_str);
        let (who, whole) = self.whose(&args, args.rest.get(1).map(String::as_str))?;
        let own = &self.tx.view.unit;
        let bag: &Bag = if whole {
            if who == own.app().as_str() {
                let peer = self.meta.is_peer(&relation.endpoint);
                if !self.tx.view.leader && !peer {
                    return Err(failed("permission denied"));
                }
                &relation.local_app
            } else if who == relation.remote_app {
                &relation.remote_app_data
            } else {
                return Err(failed("permission denied"));
            }
        } else {
            let unit: UnitName = who.parse().map_err(|_| failed("permission denied"))?;
            if unit == *own {
                &relation.local_unit
            } else {
                let bag = relation.remote_units.get(&unit).or_else(|| relation.gone_units.get(&unit));
                bag.ok_or_else(|| failed("permission denied"))?
            }
        };
        if key == "-" {
            return args.form(&object(bag));
        }
        args.form(&bag.get(key).map_or(Value::Null, |v| json!(v)))
    }

    pub(super) fn relation_set(&mut self, argv: &[String], stdin: Option<&str>) -> Answer {
        let flags = Flags { valued: &["-r", "--relation", "--file"], plain: &["--app"], formats: false };
        let args = Args::parse(argv, flags)?;
        let id = self.relation(&args)?;
        let changes = key_values(&args.rest, args.get(&["--file"]), stdin)?;
        let app = args.has("--app");
        if app && !self.tx.view.leader {
            return Err(failed("cannot write relation settings"));
        }
        let Some(relation) = self.tx.view.relations.get_mut(&id) else { return Err(failed("relation not found")) };
        let bag = if app { &mut relation.local_app } else { &mut relation.local_unit };
        for (key, value) in changes {
            if value.is_empty() {
                bag.remove(&key);
            } else {
                bag.insert(key, value);
            }
        }
        Ok(String::new())
    }
}
