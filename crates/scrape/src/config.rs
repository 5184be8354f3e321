//! `parca.yaml`: where the data lives and what to scrape.
//!
//! The grammar, the defaults and the rules are Parca's (pkg/config, and of Prometheus model/relabel and
//! discovery/targetgroup), as far as this version supports them. A key that Parca knows and we do not support yet is
//! an error that says so; it is never ignored, because a scrape that silently leaves out a password or half of its
//! targets is worse than one that does not start. What differs is listed in docs/compatibility.md.
//!
//! Map: this file the types · [`bucket`] where data lives · [`error`] what may be wrong with a file · [`tls`] whom to trust · `decode` YAML to types.

pub mod bucket;
mod decode;
pub mod error;
pub mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

pub use bucket::{Bucket, Storage};
pub use error::{ConfigError, Issue, Problem};
pub use tls::TlsConfig;

use crate::relabel::Rule;

/// The whole file, valid: every rule below holds.
#[derive(Clone, Debug)]
pub struct Config {
    pub bucket: Bucket,
    /// Job names are unique. In the order of the file.
    pub scrape_configs: Vec<ScrapeConfig>,
}

/// One entry of `scrape_configs`.
#[derive(Clone, Debug)]
pub struct ScrapeConfig {
    /// Never empty.
    pub job_name: String,
    /// Query parameters of every scrape.
    pub params: BTreeMap<String, Vec<String>>,
    /// At least 1 ms; 10 s by default.
    pub scrape_interval: Duration,
    /// Greater than the interval, at least 2 s where `process_cpu` is enabled; the interval and 3 s by default.
    pub scrape_timeout: Duration,
    /// `http` by default. Not checked here, because relabelling may change it.
    pub scheme: String,
    /// For targets over `https`.
    pub tls: Option<TlsConfig>,
    /// Addresses in the profiles are already relative to their mapping.
    pub normalized_addresses: bool,
    /// By the profile's name, which becomes `__name__`: Parca's five and the user's own.
    pub profiles: BTreeMap<String, ProfileConfig>,
    /// Applied in order to each target and profile.
    pub relabel_configs: Vec<Rule>,
    pub static_configs: Vec<StaticConfig>,
}

/// One entry of `profiling_config.pprof_config`, merged with the default of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileConfig {
    pub enabled: bool,
    /// `path_prefix` is already joined to it. May be empty.
    pub path: String,
    /// The profile covers a duration: the parameter `seconds` is sent.
    pub delta: bool,
    /// Sample types to keep; empty for all.
    pub keep_sample_types: Vec<SampleType>,
    /// Length of a delta profile. The scrape interval where not greater than 0.
    pub seconds: i64,
}

/// One entry of `keep_sample_type`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SampleType {
    pub name: String,
    pub unit: String,
}

/// One entry of `static_configs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaticConfig {
    /// Addresses, as `host:port`.
    pub targets: Vec<String>,
    /// Given to all of the targets. No name is empty; a value may be.
    pub labels: BTreeMap<String, String>,
}

/// The name of the profile whose default is a delta profile, and for which a scrape needs time.
pub const PROCESS_CPU: &str = "process_cpu";

/// Parca's five profiles with their paths, all enabled.
const DEFAULT_PROFILES: [(&str, &str); 5] = [
    ("memory", "/debug/pprof/allocs"),
    ("block", "/debug/pprof/block"),
    ("goroutine", "/debug/pprof/goroutine"),
    ("mutex", "/debug/pprof/mutex"),
    (PROCESS_CPU, "/debug/pprof/profile"),
];

const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);

/// What the default timeout adds to the interval.
const DEFAULT_TIMEOUT_MARGIN: Duration = Duration::from_secs(3);

/// A shorter scrape leaves a CPU profile no time.
const PROCESS_CPU_TIMEOUT_MIN: Duration = Duration::from_secs(2);

impl Config {
    /// Reads and checks the text of a `parca.yaml`. Of several documents only the first counts.
    ///
    /// The error holds everything that was found wrong, in the order of the file; it is never empty.
    pub fn load(yaml: &[u8]) -> Result<Config, ConfigError> {
        decode::config(yaml)
    }
}

impl ProfileConfig {
    /// The default of `name`, if it is one of Parca's five.
    fn default_of(name: &str) -> Option<ProfileConfig> {
        let (_, path) = DEFAULT_PROFILES.iter().find(|(known, _)| *known == name)?;
        Some(ProfileConfig {
            enabled: true,
            path: (*path).to_owned(),
            delta: name == PROCESS_CPU,
            ..ProfileConfig::default()
        })
    }
}
