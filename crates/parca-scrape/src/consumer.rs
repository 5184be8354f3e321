//! The side that scrapes: from the bags of providers to scrape jobs.

use std::collections::BTreeMap;
use std::fmt;

use juju::event::RelationEventKind;
use juju::json::{Json, Object};
use juju::{AppName, Bag, Event, Relation, RelationId, UnitName};

use crate::DEFAULT_RELATION_NAME;
use crate::endpoint::{CharmMetadata, ConstructorError, RelationRole};
use crate::job::{ALLOWED_KEYS, sanitize};
use crate::topology::JujuTopology;

/// Reads what providers offer.
#[derive(Clone, Debug)]
pub struct ProfilingEndpointConsumer {
    relation_name: String,
    allowed_keys: &'static [&'static str],
}

/// The targets of a relation may have changed: the library's event of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetsChanged {
    pub relation_id: RelationId,
}

/// What was passed over of a relation, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    pub endpoint: String,
    pub relation_id: RelationId,
    pub app: Option<AppName>,
    pub what: Passed,
}

/// What was passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// All of the relation: its data makes no sense.
    Relation(String),
    /// A target that is not `host:port`, as JSON.
    Target { job: String, target: String },
    /// A unit that claims a name which a unit of a higher number claims too.
    Unit { unit: UnitName, name: String, winner: UnitName },
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "relation {}:{}", self.endpoint, self.relation_id)?;
        if let Some(app) = &self.app {
            write!(f, " with {app}")?;
        }
        match &self.what {
            Passed::Relation(why) => write!(f, " is passed over: {why}"),
            Passed::Target { job, target } => {
                write!(f, ": target {target} of job {job} is passed over: it is not host:port")
            }
            Passed::Unit { unit, name, winner } => {
                write!(f, ": unit {unit} is passed over: it calls itself {name}, and so does {winner}")
            }
        }
    }
}

impl ProfilingEndpointConsumer {
    /// # Errors
    /// The charm has no endpoint of this name, or one of another interface or role.
    pub fn new(charm: &CharmMetadata, relation_name: &str) -> Result<ProfilingEndpointConsumer, ConstructorError> {
        charm.check(relation_name, RelationRole::Requires)?;
        Ok(ProfilingEndpointConsumer { relation_name: relation_name.to_owned(), allowed_keys: ALLOWED_KEYS })
    }

    /// A reader without a charm, of the usual endpoint.
    pub fn standalone() -> ProfilingEndpointConsumer {
        ProfilingEndpointConsumer { relation_name: DEFAULT_RELATION_NAME.to_owned(), allowed_keys: ALLOWED_KEYS }
    }

    /// Takes these keys of jobs, such as [`crate::ALLOWED_KEYS_1`] for what LIBPATCH 1 took.
    pub fn with_allowed_keys(self, allowed_keys: &'static [&'static str]) -> ProfilingEndpointConsumer {
        ProfilingEndpointConsumer { allowed_keys, ..self }
    }

    pub fn relation_name(&self) -> &str {
        &self.relation_name
    }

    /// Whether the event changes targets: a relation's `changed` and `departed`, as in the library.
    pub fn targets_changed(&self, event: &Event) -> Option<TargetsChanged> {
        let event = event.relation(&self.relation_name)?;
        let changes = matches!(event.kind, RelationEventKind::Changed | RelationEventKind::Departed);
        changes.then_some(TargetsChanged { relation_id: event.id })
    }

    /// The jobs of all relations, in the order of the relations; names may repeat or lack. What is passed over is logged.
    pub fn jobs<'a>(&self, relations: impl IntoIterator<Item = &'a Relation>) -> Vec<Object> {
        let (jobs, defects) = self.read(relations);
        for defect in defects {
            tracing::warn!("{defect}");
        }
        jobs
    }

    /// As [`ProfilingEndpointConsumer::jobs`], with what was passed over.
    pub fn read<'a>(&self, relations: impl IntoIterator<Item = &'a Relation>) -> (Vec<Object>, Vec<Defect>) {
        let mut jobs = Vec::new();
        let mut defects = Vec::new();
        for relation in relations.into_iter().filter(|relation| !relation.broken) {
            let mut passed = Vec::new();
            match relation_jobs(relation, self.allowed_keys, &mut passed) {
                Ok(of_relation) => jobs.extend(of_relation),
                // nothing of it is used: what else is wrong with it does not matter
                Err(why) => passed = vec![Passed::Relation(why)],
            }
            defects.extend(passed.into_iter().map(|what| Defect {
                endpoint: relation.endpoint.clone(),
                relation_id: relation.id,
                app: relation.app.clone(),
                what,
            }));
        }
        (jobs, defects)
    }
}

/// # Errors
/// Why none of the relation's data can be used.
fn relation_jobs(relation: &Relation, allowed: &[&str], passed: &mut Vec<Passed>) -> Result<Vec<Object>, String> {
    if relation.units.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = read_key(&relation.app_data, "scrape_jobs")?;
    if !jobs.is_truthy() {
        return Ok(Vec::new());
    }
    let Json::Array(jobs) = jobs else { return Err(format!("`scrape_jobs` is {}, not a list", jobs.kind())) };
    let objects = jobs.into_iter().map(|job| match job {
        Json::Object(job) => Ok(job),
        other => Err(format!("`scrape_jobs` holds {}, not an object", other.kind())),
    });
    let jobs: Vec<Object> = objects.collect::<Result<_, _>>()?;

    let metadata = read_key(&relation.app_data, "scrape_metadata")?;
    if !metadata.is_truthy() {
        // a provider older than topologies: its jobs are as it wants them
        return Ok(jobs);
    }
    let topology = JujuTopology::from_json(&metadata).map_err(|why| format!("`scrape_metadata`: {why}"))?;
    let hosts = hosts(&relation.units, passed);
    let labelled = jobs.iter().map(|job| label_job(sanitize(job, allowed), &topology, &hosts, passed));
    labelled.filter_map(Result::transpose).collect()
}

/// The JSON of a key; null where the key is absent.
fn read_key(bag: &Bag, key: &str) -> Result<Json, String> {
    let text = bag.get(key).map_or("null", String::as_str);
    // Juju keeps no empty values, other holders of bags may
    Json::parse(if text.is_empty() { "null" } else { text }).map_err(|error| format!("`{key}` is no JSON: {error}"))
}

/// Name and address of each unit that tells an address, sorted by name.
fn hosts(units: &BTreeMap<UnitName, Bag>, passed: &mut Vec<Passed>) -> Vec<(String, String)> {
    let mut by_name: BTreeMap<String, (&UnitName, &String)> = BTreeMap::new();
    for (unit, bag) in units {
        let told = |key: &str| bag.get(key).filter(|value| !value.is_empty());
        // the second is the key of years ago
        let Some(address) = told("parca_scrape_unit_address").or_else(|| told("parca_scrape_host")) else { continue };
        let name = told("parca_scrape_unit_name").cloned().unwrap_or_else(|| unit.to_string());
        if let Some((loser, _)) = by_name.insert(name.clone(), (unit, address)) {
            passed.push(Passed::Unit { unit: loser.clone(), name, winner: unit.clone() });
        }
    }
    let mut hosts: Vec<_> = by_name.into_iter().map(|(name, (_, address))| (name, address.clone())).collect();
    // what is no unit's name stays in the order of texts
    hosts.sort_by_cached_key(|(name, _)| match name.parse::<UnitName>() {
        Ok(unit) => (unit.app().to_string(), unit.number()),
        Err(_) => (name.clone(), 0),
    });
    hosts
}

/// The targets of a static config: those of fixed hosts, and the ports that each unit has.
#[derive(Default)]
struct Targets {
    fixed: Vec<Json>,
    ports: Vec<String>,
}

/// The job with its full name, its static configs by unit, their labels and the rule for `instance`.
/// `None`: none of its targets could be read.
fn label_job(
    mut job: Object,
    topology: &JujuTopology,
    hosts: &[(String, String)],
    passed: &mut Vec<Passed>,
) -> Result<Option<Object>, String> {
    let name = job_name(job.get("job_name"), topology)?;
    let static_configs = list(job.get("static_configs"), "static_configs")?;
    let mut labelled = Vec::new();
    let mut unread = 0;
    let mut by_unit = false;
    for static_config in static_configs {
        let Json::Object(static_config) = static_config else {
            return Err(format!("`static_configs` holds {}, not an object", static_config.kind()));
        };
        let Some(targets) = read_targets(static_config, &name, passed)? else {
            unread += 1;
            continue;
        };
        if !targets.fixed.is_empty() {
            labelled.push(config(Json::Array(targets.fixed), static_config, topology, None)?);
        }
        // Also where no target is a wildcard: the address alone is then the target, as the library has it.
        for (unit, address) in hosts {
            let of_unit: Vec<Json> = match targets.ports.as_slice() {
                [] => vec![Json::from(address.as_str())],
                ports => ports.iter().map(|port| Json::from(format!("{address}:{port}"))).collect(),
            };
            labelled.push(config(Json::Array(of_unit), static_config, topology, Some(unit))?);
            by_unit = true;
        }
    }
    if unread > 0 && unread == static_configs.len() {
        return Ok(None);
    }
    job.insert("static_configs".to_owned(), Json::Array(labelled));
    job.insert("job_name".to_owned(), Json::from(name));
    job.insert("relabel_configs".to_owned(), Json::from([instance_rule(by_unit)]));
    Ok(Some(job))
}

fn job_name(told: Option<&Json>, topology: &JujuTopology) -> Result<String, String> {
    let prefix = topology.identifier();
    match told {
        Some(Json::String(name)) if !name.is_empty() => Ok(format!("{prefix}_{name}")),
        Some(name @ Json::Number(_)) if name.is_truthy() => Ok(format!("{prefix}_{}", name.dumps())),
        Some(other) if other.is_truthy() => Err(format!("`job_name` is {}, not a string", other.kind())),
        _ => Ok(prefix),
    }
}

/// The items of what should be a list. Python walks over anything that is empty just as well.
fn list<'a>(value: Option<&'a Json>, key: &str) -> Result<&'a [Json], String> {
    match value {
        None => Ok(&[]),
        Some(Json::Array(items)) => Ok(items),
        Some(Json::Object(members)) if members.is_empty() => Ok(&[]),
        Some(Json::String(text)) if text.is_empty() => Ok(&[]),
        Some(other) => Err(format!("`{key}` is {}, not a list", other.kind())),
    }
}

/// `None` where there are targets and none of them can be read.
fn read_targets(static_config: &Object, job: &str, passed: &mut Vec<Passed>) -> Result<Option<Targets>, String> {
    let told = list(static_config.get("targets"), "targets")?;
    let mut targets = Targets::default();
    for target in told {
        let parts = target.as_str().and_then(|text| text.split_once(':')).filter(|(_, port)| !port.contains(':'));
        match parts {
            None => passed.push(Passed::Target { job: job.to_owned(), target: target.dumps() }),
            Some((host, port)) if host.trim() == "*" => targets.ports.push(port.trim().to_owned()),
            Some(_) => targets.fixed.push(target.clone()),
        }
    }
    let read_any = told.is_empty() || !targets.fixed.is_empty() || !targets.ports.is_empty();
    Ok(read_any.then_some(targets))
}

fn config(targets: Json, told: &Object, topology: &JujuTopology, unit: Option<&str>) -> Result<Json, String> {
    let mut labels = match told.get("labels") {
        None => Object::new(),
        Some(Json::Object(labels)) => labels.clone(),
        Some(other) => return Err(format!("`labels` is {}, not an object", other.kind())),
    };
    let of_topology = topology.label_matchers().chain(unit.map(|unit| ("juju_unit", unit)));
    labels.extend(of_topology.map(|(label, value)| (label.to_owned(), Json::from(value))));
    Ok(Json::object([("targets", targets), ("labels", Json::Object(labels))]))
}

/// Names an instance by its place in Juju rather than by its address, which changes.
fn instance_rule(by_unit: bool) -> Json {
    let labels = ["juju_model", "juju_model_uuid", "juju_application", "juju_unit"];
    let labels = if by_unit { &labels[..] } else { &labels[..3] };
    Json::object([
        ("source_labels", Json::from(labels.to_vec())),
        ("separator", Json::from("_")),
        ("target_label", Json::from("instance")),
        ("regex", Json::from("(.*)")),
    ])
}
