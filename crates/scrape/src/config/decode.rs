//! YAML nodes to configuration types, collecting every issue on the way.
//!
//! As in Go, `null` leaves a field at its default; a value of the wrong type is noted and skipped; an object in which
//! something was wrong is not checked further, so that one mistake does not cause a second message.

mod bucket;
mod profiling;
mod reader;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::{ConfigError, Problem};
use super::{
    Config, DEFAULT_INTERVAL, DEFAULT_TIMEOUT_MARGIN, PROCESS_CPU, PROCESS_CPU_TIMEOUT_MIN, ScrapeConfig, StaticConfig,
};
use crate::duration;
use crate::go::quoted;
use crate::relabel::{RawRule, Rule};
use crate::yaml::{Mark, NodeIx};
use bucket::object_storage;
use profiling::{Profiling, profiling_config};
use reader::Reader;

/// Keys of a scrape job that Parca knows and this version does not: options of the HTTP client.
const HTTP_CLIENT_KEYS: [&str; 12] = [
    "basic_auth",
    "authorization",
    "oauth2",
    "bearer_token",
    "bearer_token_file",
    "follow_redirects",
    "enable_http2",
    "proxy_url",
    "no_proxy",
    "proxy_from_environment",
    "proxy_connect_header",
    "http_headers",
];

/// What stands before `_sd_configs` in Parca.
const DISCOVERIES: [&str; 29] = [
    "azure",
    "consul",
    "digitalocean",
    "dns",
    "docker",
    "dockerswarm",
    "ec2",
    "eureka",
    "file",
    "gce",
    "hetzner",
    "http",
    "ionos",
    "kubernetes",
    "kuma",
    "lightsail",
    "linode",
    "marathon",
    "nerve",
    "nomad",
    "openstack",
    "ovhcloud",
    "puppetdb",
    "scaleway",
    "serverset",
    "stackit",
    "triton",
    "uyuni",
    "vultr",
];

const TOP_KEYS: [&str; 2] = ["object_storage", "scrape_configs"];
const JOB_KEYS: [&str; 10] = [
    "job_name",
    "params",
    "scrape_interval",
    "scrape_timeout",
    "scheme",
    "tls_config",
    "normalized_addresses",
    "profiling_config",
    "relabel_configs",
    "static_configs",
];
const STATIC_KEYS: [&str; 2] = ["targets", "labels"];
const RULE_KEYS: [&str; 7] =
    ["source_labels", "separator", "regex", "modulus", "target_label", "replacement", "action"];

pub(super) fn config(yaml: &[u8]) -> Result<Config, ConfigError> {
    let mut reader = Reader::parse(yaml)?;
    let root = reader.root();

    let mut bucket = None;
    let mut bucket_mark = Mark::START;
    let mut jobs = Vec::new();
    for entry in reader.mapping(root, "the configuration").unwrap_or_default() {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "object_storage" => {
                bucket_mark = entry.mark;
                bucket = object_storage(reader, entry.value);
            }
            "scrape_configs" => jobs = scrape_configs(reader, entry.value),
            _ => reader.unknown_key(&entry, &TOP_KEYS),
        });
    }
    // what follows is checked on the whole file, and only if every part of it was read
    if !reader.has_issues() {
        check_job_names(&mut reader, &jobs);
        if bucket.is_none() {
            let message = "is missing: say where to keep data, as\n  object_storage:\n    bucket:\n      type: FILESYSTEM\n      \
                           config:\n        directory: ./data";
            reader.issue_at(bucket_mark, "object_storage.bucket", Problem::Invalid, message);
        }
    }
    match bucket {
        Some(bucket) if !reader.has_issues() => {
            Ok(Config { bucket, scrape_configs: jobs.into_iter().map(|(_, job)| job).collect() })
        }
        _ => Err(reader.into_error()),
    }
}

fn check_job_names(reader: &mut Reader, jobs: &[(Mark, ScrapeConfig)]) {
    let mut seen: BTreeMap<&str, Mark> = BTreeMap::new();
    for (i, (mark, job)) in jobs.iter().enumerate() {
        if let Some(first) = seen.get(job.job_name.as_str()) {
            let message =
                format!("duplicate job_name found in scrape configs: {} (first on line {})", job.job_name, first.line);
            reader.issue_at(*mark, &format!("scrape_configs[{i}]"), Problem::Invalid, message);
        } else {
            seen.insert(&job.job_name, *mark);
        }
    }
}

fn scrape_configs(reader: &mut Reader, node: NodeIx) -> Vec<(Mark, ScrapeConfig)> {
    let mut jobs = Vec::new();
    for (i, item) in reader.sequence(node, "a list of scrape jobs").unwrap_or_default().into_iter().enumerate() {
        reader.within_item(i, |reader| {
            let mark = reader.mark(item);
            if reader.is_null(item) {
                reader.invalid(mark, "", "empty or null scrape job");
            } else if let Some(job) = scrape_config(reader, item) {
                jobs.push((mark, job));
            }
        });
    }
    jobs
}

fn scrape_config(reader: &mut Reader, node: NodeIx) -> Option<ScrapeConfig> {
    let issues_before = reader.issue_count();
    let job_mark = reader.mark(node);
    let mut job = ScrapeConfig {
        job_name: String::new(),
        params: BTreeMap::new(),
        scrape_interval: DEFAULT_INTERVAL,
        scrape_timeout: Duration::ZERO,
        scheme: "http".to_owned(),
        tls: None,
        normalized_addresses: false,
        profiles: BTreeMap::new(),
        relabel_configs: Vec::new(),
        static_configs: Vec::new(),
    };
    let mut profiling = Profiling::default();
    let mut interval_mark = job_mark;
    let mut timeout_mark = job_mark;
    // rules that are null, and static targets, can only be judged when the whole job is known
    let mut null_rules = Vec::new();
    let mut statics = Statics::default();
    for entry in reader.mapping(node, "a scrape job")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "job_name" => reader.string_into(entry.value, &mut job.job_name),
            "params" => {
                for param in reader.mapping(entry.value, "params").unwrap_or_default() {
                    let values = reader.within(&param, |reader| reader.strings(param.value));
                    job.params.insert(param.name, values.unwrap_or_default());
                }
            }
            "scrape_interval" => {
                interval_mark = reader.mark(entry.value);
                duration_into(reader, entry.value, &mut job.scrape_interval);
            }
            "scrape_timeout" => {
                timeout_mark = reader.mark(entry.value);
                duration_into(reader, entry.value, &mut job.scrape_timeout);
            }
            "scheme" => reader.string_into(entry.value, &mut job.scheme),
            "tls_config" => job.tls = tls::tls_config(reader, entry.value),
            "normalized_addresses" => reader.bool_into(entry.value, &mut job.normalized_addresses),
            "profiling_config" => profiling = profiling_config(reader, entry.value),
            "relabel_configs" => (job.relabel_configs, null_rules) = relabel_configs(reader, entry.value),
            "static_configs" => statics = static_configs(reader, entry.value),
            name if HTTP_CLIENT_KEYS.contains(&name) => reader.not_yet_supported(&entry),
            name if name.strip_suffix("_sd_configs").is_some_and(|kind| DISCOVERIES.contains(&kind)) => {
                reader.not_yet_supported(&entry);
            }
            _ => reader.unknown_key(&entry, &JOB_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    job.profiles = profiling.merged_with_defaults();
    job.static_configs = statics.groups;

    for mark in statics.null_groups {
        reader.invalid(mark, "static_configs", "empty or null section in static_configs");
    }
    if job.job_name.is_empty() {
        reader.invalid(job_mark, "job_name", "job_name is empty");
        return None;
    }
    // with relabelling an address may still become one
    if job.relabel_configs.is_empty() && null_rules.is_empty() {
        let addresses = job.static_configs.iter().flat_map(|group| &group.targets);
        for (address, mark) in addresses.zip(statics.address_marks).filter(|(address, _)| address.contains('/')) {
            let message = format!("{} is not a valid hostname", quoted(address));
            reader.invalid(mark, "static_configs", format!("{message}: write host:port, without scheme and path"));
        }
    }
    for mark in null_rules {
        reader.invalid(mark, "relabel_configs", "empty or null target relabeling rule in scrape config");
    }
    check_times(reader, &mut job, interval_mark, timeout_mark);
    (reader.issue_count() == issues_before).then_some(job)
}

fn check_times(reader: &mut Reader, job: &mut ScrapeConfig, interval_mark: Mark, timeout_mark: Mark) {
    if job.scrape_interval.is_zero() {
        reader.invalid(interval_mark, "scrape_interval", "must be greater than 0");
        return;
    }
    if job.scrape_timeout.is_zero() {
        job.scrape_timeout = job.scrape_interval.saturating_add(DEFAULT_TIMEOUT_MARGIN).min(duration::MAX);
    }
    if job.scrape_timeout <= job.scrape_interval {
        let message = format!(
            "scrape timeout must be greater than the interval: {} (the timeout is {}, the interval {})",
            job.job_name,
            duration::format(job.scrape_timeout),
            duration::format(job.scrape_interval)
        );
        reader.invalid(timeout_mark, "scrape_timeout", message);
        return;
    }
    let scrapes_cpu = job.profiles.get(PROCESS_CPU).is_some_and(|profile| profile.enabled);
    if scrapes_cpu && job.scrape_timeout < PROCESS_CPU_TIMEOUT_MIN {
        let message = format!("{PROCESS_CPU} scrape_timeout must be at least 2 seconds in {}", job.job_name);
        reader.invalid(timeout_mark, "scrape_timeout", message);
    }
}

fn duration_into(reader: &mut Reader, node: NodeIx, target: &mut Duration) {
    let mut text = None;
    reader.optional_string_into(node, &mut text);
    match text.map(|text| duration::parse(&text)) {
        None => {}
        Some(Ok(parsed)) => *target = parsed,
        Some(Err(message)) => reader.invalid(reader.mark(node), "", message),
    }
}

/// `static_configs`, and what can only be judged when the whole job is known.
#[derive(Default)]
struct Statics {
    groups: Vec<StaticConfig>,
    /// Where each target of the groups stands, in their order.
    address_marks: Vec<Mark>,
    /// Where a group is null.
    null_groups: Vec<Mark>,
}

fn static_configs(reader: &mut Reader, node: NodeIx) -> Statics {
    let mut statics = Statics::default();
    for (i, item) in reader.sequence(node, "a list of target groups").unwrap_or_default().into_iter().enumerate() {
        reader.within_item(i, |reader| {
            if reader.is_null(item) {
                statics.null_groups.push(reader.mark(item));
                return;
            }
            let mut group = StaticConfig::default();
            for entry in reader.mapping(item, "a target group").unwrap_or_default() {
                reader.within(&entry, |reader| match entry.name.as_str() {
                    "targets" => {
                        for (address, mark) in reader.marked_strings(entry.value).unwrap_or_default() {
                            group.targets.push(address);
                            statics.address_marks.push(mark);
                        }
                    }
                    "labels" => group.labels = labels(reader, entry.value),
                    _ => reader.unknown_key(&entry, &STATIC_KEYS),
                });
            }
            statics.groups.push(group);
        });
    }
    statics
}

fn labels(reader: &mut Reader, node: NodeIx) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for entry in reader.mapping(node, "labels").unwrap_or_default() {
        if entry.name.is_empty() {
            reader.invalid(entry.mark, "", "\"\" is not a valid label name");
        }
        let mut value = String::new();
        reader.within(&entry, |reader| reader.string_into(entry.value, &mut value));
        labels.insert(entry.name, value);
    }
    labels
}

/// The rules, and where a rule is null.
fn relabel_configs(reader: &mut Reader, node: NodeIx) -> (Vec<Rule>, Vec<Mark>) {
    let mut rules = Vec::new();
    let mut null_rules = Vec::new();
    for (i, item) in reader.sequence(node, "a list of relabelling rules").unwrap_or_default().into_iter().enumerate() {
        reader.within_item(i, |reader| {
            if reader.is_null(item) {
                null_rules.push(reader.mark(item));
            } else if let Some(rule) = relabel_rule(reader, item) {
                rules.push(rule);
            }
        });
    }
    (rules, null_rules)
}

fn relabel_rule(reader: &mut Reader, node: NodeIx) -> Option<Rule> {
    let issues_before = reader.issue_count();
    let mut raw = RawRule::default();
    for entry in reader.mapping(node, "a relabelling rule")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "source_labels" => {
                if let Some(names) = reader.marked_strings(entry.value) {
                    for (_, mark) in names.iter().filter(|(name, _)| name.is_empty()) {
                        reader.invalid(*mark, "", "\"\" is not a valid label name");
                    }
                    raw.source_labels = Some(names.into_iter().map(|(name, _)| name).collect());
                }
            }
            "separator" => reader.optional_string_into(entry.value, &mut raw.separator),
            "regex" => {
                let mut pattern = None;
                reader.optional_string_into(entry.value, &mut pattern);
                match pattern.as_deref().map(go_regexp::Regex::anchored) {
                    None => {}
                    Some(Ok(regex)) => raw.regex = Some(regex),
                    Some(Err(error)) => reader.invalid(reader.mark(entry.value), "", error.to_string()),
                }
            }
            "modulus" => reader.u64_into(entry.value, &mut raw.modulus),
            "target_label" => reader.string_into(entry.value, &mut raw.target_label),
            "replacement" => reader.optional_string_into(entry.value, &mut raw.replacement),
            "action" => {
                let mut name = None;
                reader.optional_string_into(entry.value, &mut name);
                match name.map(|name| name.parse()) {
                    None => {}
                    Some(Ok(action)) => raw.action = action,
                    Some(Err(message)) => reader.invalid(reader.mark(entry.value), "", message),
                }
            }
            _ => reader.unknown_key(&entry, &RULE_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    match raw.validate() {
        Ok(rule) => Some(rule),
        Err(message) => {
            reader.invalid(reader.mark(node), "", message);
            None
        }
    }
}
