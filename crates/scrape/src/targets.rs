//! From targets and a scrape job to what is scraped: a URL and labels for each target and each enabled profile.

use std::collections::{BTreeMap, BTreeSet};

use profile::Labels;

use crate::config::{SampleType, ScrapeConfig, StaticConfig};
use crate::go::{has_host_and_port, quoted, url};
use crate::label_builder::LabelBuilder;
use crate::relabel;

/// Label names that mean something here. Of these only `job` and `instance` reach a stored profile, and `__name__` as
/// its name.
pub mod label {
    pub const ADDRESS: &str = "__address__";
    pub const INSTANCE: &str = "instance";
    pub const JOB: &str = "job";
    pub const META_PREFIX: &str = "__meta_";
    /// The profile's name, a key of `pprof_config`.
    pub const NAME: &str = "__name__";
    pub const PARAM_PREFIX: &str = "__param_";
    pub const PROFILE_PATH: &str = "__profile_path__";
    pub const RESERVED_PREFIX: &str = "__";
    pub const SCHEME: &str = "__scheme__";
}

/// Targets that were found together, with labels that all of them have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Names the group in messages.
    pub source: String,
    /// Labels of each target, among them `__address__`. A value may be empty.
    pub targets: Vec<BTreeMap<String, String>>,
    /// Given to a target that does not have a label of that name, not even an empty one.
    pub labels: BTreeMap<String, String>,
}

/// One profile of one target that is scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    /// All labels after relabelling, `__*` included.
    pub all_labels: Labels,
    /// All labels before relabelling.
    pub discovered_labels: Labels,
    /// Empty for all. Sorted, each once.
    pub keep_sample_types: Vec<SampleType>,
}

impl Target {
    /// The labels that users see and that are stored: without `__*`.
    pub fn labels(&self) -> Labels {
        let public = self.all_labels.iter().filter(|(name, _)| !name.starts_with(label::RESERVED_PREFIX));
        Labels::from_pairs(public.map(|(name, value)| (name.to_owned(), value.to_owned())))
    }

    /// The profile's name. Empty if relabelling has removed it.
    pub fn profile_name(&self) -> &str {
        self.all_labels.get(label::NAME).unwrap_or_default()
    }
}

/// What becomes of the groups of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Sorted by URL, then labels; none twice.
    pub active: Vec<Target>,
    /// Labels before relabelling of what a rule has dropped, in the order of the groups.
    pub dropped: Vec<Labels>,
    /// Targets that cannot be scraped. They do not keep the others of their group from it.
    pub errors: Vec<TargetError>,
}

/// Why one profile of one target cannot be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// [`Group::source`].
    pub group: String,
    /// Position in [`Group::targets`].
    pub target: usize,
    pub profile: String,
    pub message: String,
}

impl std::fmt::Display for TargetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let TargetError { group, target, profile, message } = self;
        write!(f, "target {target} of group {group}, profile {profile}: {message}")
    }
}

/// The groups of `static_configs`, named by their position.
pub fn static_groups(configs: &[StaticConfig]) -> Vec<Group> {
    let group = |(i, config): (usize, &StaticConfig)| Group {
        source: i.to_string(),
        targets: config
            .targets
            .iter()
            .map(|address| BTreeMap::from([(label::ADDRESS.to_owned(), address.clone())]))
            .collect(),
        labels: config.labels.clone(),
    };
    configs.iter().enumerate().map(group).collect()
}

/// What to scrape for `job` in `groups`. The same groups give the same targets.
pub fn targets(job: &ScrapeConfig, groups: &[Group]) -> Targets {
    let mut found = Targets::default();
    let mut active: BTreeMap<(String, Labels), Target> = BTreeMap::new();
    for group in groups {
        for (position, target) in group.targets.iter().enumerate() {
            let mut base = group.labels.clone();
            base.extend(target.iter().map(|(name, value)| (name.clone(), value.clone())));
            for (name, profile) in job.profiles.iter().filter(|(_, profile)| profile.enabled) {
                base.insert(label::PROFILE_PATH.to_owned(), profile.path.clone());
                base.insert(label::NAME.to_owned(), name.clone());
                match populate(LabelBuilder::new(&Labels::from_pairs(base.clone())), job) {
                    Ok(Populated::Dropped { discovered_labels }) => found.dropped.push(discovered_labels),
                    Ok(Populated::Kept { labels, discovered_labels }) => {
                        let keep: BTreeSet<SampleType> = profile.keep_sample_types.iter().cloned().collect();
                        let url = target_url(&labels, &params(job, name));
                        // of targets that are the same when relabelled the last says how it was found
                        active
                            .entry((url.clone(), labels.clone()))
                            .and_modify(|target| target.discovered_labels = discovered_labels.clone())
                            .or_insert_with(|| Target {
                                url,
                                all_labels: labels,
                                discovered_labels,
                                keep_sample_types: keep.into_iter().collect(),
                            });
                    }
                    Err(message) => found.errors.push(TargetError {
                        group: group.source.clone(),
                        target: position,
                        profile: name.clone(),
                        message,
                    }),
                }
            }
        }
    }
    found.active = active.into_values().collect();
    found
}

/// The job's parameters, and for a delta profile how long it shall take.
///
/// Parca appends `seconds` to a map that all targets of the job share; here each has its own.
fn params(job: &ScrapeConfig, profile: &str) -> BTreeMap<String, Vec<String>> {
    let mut params = job.params.clone();
    if let Some(profile) = job.profiles.get(profile).filter(|profile| profile.delta) {
        let seconds = match profile.seconds {
            seconds if seconds > 0 => seconds.unsigned_abs(),
            _ => job.scrape_interval.as_secs(),
        };
        params.entry("seconds".to_owned()).or_default().push(seconds.to_string());
    }
    params
}

enum Populated {
    Kept { labels: Labels, discovered_labels: Labels },
    Dropped { discovered_labels: Labels },
}

/// Adds what the job says, relabels, and completes the address. The error has Parca's words.
fn populate(mut labels: LabelBuilder, job: &ScrapeConfig) -> Result<Populated, String> {
    for (name, value) in [(label::JOB, &job.job_name), (label::SCHEME, &job.scheme)] {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    }
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            labels.set(&format!("{}{name}", label::PARAM_PREFIX), first);
        }
    }
    let discovered_labels = labels.labels();

    if !relabel::apply(&mut labels, &job.relabel_configs) {
        return Ok(Populated::Dropped { discovered_labels });
    }
    let mut address = labels.get(label::ADDRESS).to_owned();
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    if lacks_only_a_port(&address) {
        let port = match labels.get(label::SCHEME) {
            "http" | "" => "80",
            "https" => "443",
            _ => return Err(format!("invalid scheme: {}", quoted(&job.scheme))),
        };
        address = format!("{address}:{port}");
        labels.set(label::ADDRESS, &address);
    }
    if address.contains('/') {
        return Err(format!("{} is not a valid hostname", quoted(&address)));
    }
    labels.retain(|name| !name.starts_with(label::META_PREFIX));
    if labels.get(label::INSTANCE).is_empty() {
        labels.set(label::INSTANCE, &address);
    }
    Ok(Populated::Kept { labels: labels.labels(), discovered_labels })
}

/// Whether a port makes a valid address of it.
fn lacks_only_a_port(address: &str) -> bool {
    !has_host_and_port(address) && has_host_and_port(&format!("{address}:1234"))
}

fn target_url(labels: &Labels, params: &BTreeMap<String, Vec<String>>) -> String {
    let mut query = params.clone();
    for (name, value) in labels.iter() {
        let Some(param) = name.strip_prefix(label::PARAM_PREFIX) else { continue };
        let values = query.entry(param.to_owned()).or_default();
        match values.first_mut() {
            Some(first) => value.clone_into(first),
            None => values.push(value.to_owned()),
        }
    }
    let query: Vec<(String, Vec<String>)> = query.into_iter().collect();
    let get = |name| labels.get(name).unwrap_or_default();
    url(get(label::SCHEME), get(label::ADDRESS), get(label::PROFILE_PATH), &query)
}
