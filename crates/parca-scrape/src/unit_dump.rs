//! What `juju show-unit` prints of a consumer's unit, as relations; for people who ask why something is not scraped.
//!
//! The format is that of Juju's `showunit.go`: `UNIT: {relation-info: [{relation-id, endpoint, related-endpoint,
//! application-data, local-unit, related-units: {UNIT: {in-scope, data}}}]}`, in YAML or JSON. A `relation-info` alone will
//! do, and bags of units may stand in it without `data`. So will an application's bag alone, as `relation-get --app` prints it, with
//! bags of units beside its keys: `{scrape_jobs, scrape_metadata, UNIT: {...}}`.

use std::fmt;

use juju::json::{Json, Object};
use juju::{AppName, Bag, Relation, RelationId, UnitName, yaml};

use crate::DEFAULT_RELATION_NAME;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitDump {
    /// Those that may offer profiles.
    pub relations: Vec<Relation>,
    /// What keeps a relation from offering anything yet, in words.
    pub notes: Vec<String>,
}

/// Why a text tells no relations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// Neither YAML nor JSON.
    Syntax(String),
    /// It is something else.
    NotADump,
    /// A part has the wrong type; where and what.
    WrongType(String),
    /// There are relations, and none is about profiles: their endpoints.
    NoSuchRelation { wanted: Option<String>, endpoints: Vec<String> },
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::Syntax(why) => write!(f, "it is neither YAML nor JSON: {why}"),
            DumpError::NotADump => f.write_str(
                "it holds no relations: give what `juju show-unit UNIT` prints for a unit of the application that scrapes",
            ),
            DumpError::WrongType(what) => f.write_str(what),
            DumpError::NoSuchRelation { wanted, endpoints } => {
                match wanted {
                    Some(wanted) => write!(f, "no relation of the endpoint {wanted}")?,
                    None => f.write_str("no relation with scrape jobs")?,
                }
                if !endpoints.is_empty() {
                    write!(f, "; there are relations of {}", endpoints.join(", "))?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for DumpError {}

impl UnitDump {
    /// Reads a dump. `endpoint`: the relations of that one; else those that look like `parca_scrape`.
    ///
    /// # Errors
    /// See [`DumpError`].
    pub fn parse(text: &str, endpoint: Option<&str>) -> Result<UnitDump, DumpError> {
        // YAML knows no surrogate pairs, which JSON writes
        let root =
            Json::parse(text).or_else(|_| yaml::parse(text)).map_err(|error| DumpError::Syntax(error.to_string()))?;
        let root = of_bags(root);
        let mut dump = UnitDump::default();
        let mut others = Vec::new();
        let mut provided = Vec::new();
        for (position, info) in relation_infos(&root)?.into_iter().enumerate() {
            let (relation, local) = relation(info, position)?;
            let ours = match endpoint {
                Some(endpoint) => relation.endpoint == endpoint,
                None => !is_provider(&local) && (relation.endpoint == DEFAULT_RELATION_NAME || offers(&relation)),
            };
            if ours {
                dump.note(&relation);
                dump.relations.push(relation);
            } else if is_provider(&local) {
                provided.push(relation);
            } else if !others.contains(&relation.endpoint) {
                others.push(relation.endpoint);
            }
        }
        if dump.relations.is_empty() && !provided.is_empty() {
            // the other side of what was meant
            let what = "this unit is the provider; show a unit of the application that scrapes";
            dump.notes = provided.iter().map(|relation| format!("{}: {what}", named(relation))).collect();
            return Ok(dump);
        }
        if dump.relations.is_empty() {
            return Err(DumpError::NoSuchRelation { wanted: endpoint.map(str::to_owned), endpoints: others });
        }
        Ok(dump)
    }

    fn note(&mut self, relation: &Relation) {
        let of = named(relation);
        if relation.units.is_empty() {
            self.notes.push(format!("{of}: no unit has joined, so there is nothing to scrape"));
        }
        if !relation.app_data.contains_key("scrape_jobs") {
            self.notes.push(format!("{of}: its leader has told no `scrape_jobs`"));
        } else if !relation.app_data.contains_key("scrape_metadata") {
            self.notes
                .push(format!("{of}: it tells no `scrape_metadata`, so its jobs get no labels and stay as they are"));
        }
        for (unit, bag) in &relation.units {
            if !bag.contains_key("parca_scrape_unit_address") && !bag.contains_key("parca_scrape_host") {
                self.notes.push(format!("{of}: {unit} tells no address, so `*` does not stand for it"));
            }
        }
    }
}

fn named(relation: &Relation) -> String {
    match &relation.app {
        Some(app) => format!("relation {} with {app}", relation.key()),
        None => format!("relation {}", relation.key()),
    }
}

fn offers(relation: &Relation) -> bool {
    ["scrape_jobs", "scrape_metadata"].iter().any(|key| relation.app_data.contains_key(*key))
        && !relation.units.values().any(|bag| bag.contains_key("prometheus_scrape_unit_address"))
}

fn is_provider(local: &Bag) -> bool {
    local.contains_key("parca_scrape_unit_address")
}

/// An application's bag, with those of units beside its keys, as a relation.
fn of_bags(root: Json) -> Json {
    match root {
        Json::Object(members) if ["scrape_jobs", "scrape_metadata"].iter().any(|key| members.contains_key(*key)) => {
            let (units, app): (Object, Object) =
                members.into_iter().partition(|(key, _)| key.parse::<UnitName>().is_ok());
            Json::object([("application-data", Json::Object(app)), ("related-units", Json::Object(units))])
        }
        root => root,
    }
}

fn relation_infos(root: &Json) -> Result<Vec<&Json>, DumpError> {
    match root {
        Json::Array(infos) => Ok(infos.iter().collect()),
        Json::Object(members) if members.contains_key("application-data") => Ok(vec![root]),
        Json::Object(members) => {
            let units = members.iter().filter(|(name, _)| name.parse::<UnitName>().is_ok());
            let mut infos = Vec::new();
            for (name, unit) in units {
                match unit.get("relation-info") {
                    None => {}
                    Some(Json::Array(of_unit)) => infos.extend(of_unit),
                    Some(other) => {
                        let what = format!("relation-info of {name} is {}, not a list", other.kind());
                        return Err(DumpError::WrongType(what));
                    }
                }
            }
            if infos.is_empty() { Err(DumpError::NotADump) } else { Ok(infos) }
        }
        _ => Err(DumpError::NotADump),
    }
}

/// The relation, and our own unit's bag.
fn relation(info: &Json, position: usize) -> Result<(Relation, Bag), DumpError> {
    let text = |key: &str| info.get(key).and_then(Json::as_str).unwrap_or_default();
    let endpoint = match text("endpoint") {
        "" => DEFAULT_RELATION_NAME,
        endpoint => endpoint,
    };
    let id = match info.get("relation-id") {
        Some(Json::Number(number)) => number.as_u64().and_then(|id| u32::try_from(id).ok()),
        _ => None,
    };
    // older Jujus print no number
    let id = id.unwrap_or(u32::try_from(position + 1).unwrap_or(u32::MAX));
    let mut relation = Relation::new(id, endpoint, "");
    relation.id = RelationId(id);
    relation.app_data = bag(info.get("application-data"), "application-data")?;
    let units = match info.get("related-units") {
        None | Some(Json::Null) => None,
        Some(Json::Object(units)) => Some(units),
        Some(other) => return Err(DumpError::WrongType(format!("related-units is {}, not an object", other.kind()))),
    };
    for (name, told) in units.into_iter().flatten() {
        let unit: UnitName = name.parse().map_err(|error| DumpError::WrongType(format!("{error}")))?;
        let told = told.get("data").unwrap_or(told);
        relation.units.insert(unit, bag(Some(told), name)?);
    }
    let of_metadata = || {
        let metadata = Json::parse(relation.app_data.get("scrape_metadata")?).ok()?;
        AppName::new(metadata.get("application")?.as_str()?)
    };
    relation.app = relation.units.keys().next().map(|unit| unit.app().clone()).or_else(of_metadata);
    let local = bag(info.get("local-unit").and_then(|local| local.get("data")), "local-unit")?;
    Ok((relation, local))
}

/// A bag. What YAML read as something else than text, because its quotes were lost, becomes text again.
fn bag(told: Option<&Json>, what: &str) -> Result<Bag, DumpError> {
    let members = match told {
        None | Some(Json::Null) => return Ok(Bag::new()),
        Some(Json::Object(members)) => members,
        Some(other) => return Err(DumpError::WrongType(format!("{what} is {}, not an object", other.kind()))),
    };
    let text = |value: &Json| value.as_str().map_or_else(|| value.dumps(), str::to_owned);
    let texts = members.iter().map(|(key, value)| (key.clone(), text(value)));
    Ok(texts.filter(|(_, text)| !text.is_empty()).collect())
}
