//! Whole configurations, as Parca loads and validates them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use scrape::config::bucket::{Encryption, Lookup};
use scrape::config::tls::Pem;
use scrape::config::{Config, ConfigError, Issue, Problem, ProfileConfig, ScrapeConfig, Storage};
use scrape::duration;
use serde_json::Value;

use super::{
    Case, QUESTION_MARK_IN_FLOW, Tally, Verdict, compare_error, is_question_mark_in_flow, load, same, sample_types,
    string_map, text,
};

#[test]
fn vectors_of_configurations_load_the_same() {
    let mut tally = Tally::new("config");
    for case in load("config") {
        tally.record(&case.id, config_case(&case));
    }
    tally.finish();
}

const PARCA_CRASHES: &str = "a file that crashes Parca, at load or when it scrapes, is refused";
const BUCKET_AT_START: &str = "a bucket that cannot be opened is refused when the file is read";
const BUCKET_UNKNOWN_KEY: &str = "an unknown key of a FILESYSTEM bucket is refused";
const BUCKET_NAMELESS: &str = "an S3 bucket without a name is refused; Parca finds no object in it";
const ZERO_INTERVAL: &str = "an interval of 0 is refused; Parca crashes when it begins to scrape";

fn config_case(case: &Case) -> Result<Verdict, String> {
    let yaml = match &case.input {
        Value::String(text) => text.clone().into_bytes(),
        other => base64::engine::general_purpose::STANDARD
            .decode(text(other, "base64"))
            .map_err(|error| error.to_string())?,
    };
    let ours = Config::load(&yaml);
    let yaml = String::from_utf8_lossy(&yaml);
    if let Err(error) = &ours
        && let Some(unsupported) = error.issues.iter().find(|issue| issue.problem == Problem::NotYetSupported)
    {
        return unsupported_is_really_there(unsupported, &yaml);
    }
    match (ours, &case.expect) {
        (Ok(ours), Some(theirs)) => {
            if theirs["bucket_open"].get("error").is_some() {
                return Err(format!("Parca cannot open the bucket: {}", theirs["bucket_open"]));
            }
            compare_config(&ours, &theirs["config"])?;
            Ok(Verdict::Same)
        }
        (Err(ours), Some(theirs)) => {
            let opening_failed = theirs["bucket_open"].get("error").is_some();
            let path = ours.issues[0].path.as_str();
            match &ours.issues[0] {
                _ if opening_failed && path.starts_with("object_storage") => Ok(Verdict::Deliberate(BUCKET_AT_START)),
                Issue { problem: Problem::Invalid, .. } if is_null_profile(&theirs["config"]) => {
                    Ok(Verdict::Deliberate(PARCA_CRASHES))
                }
                Issue { problem: Problem::Invalid, .. }
                    if path.ends_with("scrape_interval") && has_zero_interval(&theirs["config"]) =>
                {
                    Ok(Verdict::Deliberate(ZERO_INTERVAL))
                }
                Issue { problem: Problem::UnknownKey, .. } if path.starts_with("object_storage.bucket.config.") => {
                    Ok(Verdict::Deliberate(BUCKET_UNKNOWN_KEY))
                }
                Issue { problem: Problem::Invalid, .. }
                    if path == "object_storage.bucket.config.bucket"
                        && theirs["config"]["object_storage"]["bucket"]["config"].get("bucket").is_none() =>
                {
                    Ok(Verdict::Deliberate(BUCKET_NAMELESS))
                }
                _ => Err(format!("ours {ours}, theirs {theirs}")),
            }
        }
        (Err(_), None) if case.error.get("panic").is_some() => Ok(Verdict::Deliberate(PARCA_CRASHES)),
        (Err(ours), None) if is_question_mark_in_flow(&case.error["message"], &yaml) => {
            // we read on and found something else
            let syntax = ours.issues.iter().any(|issue| issue.problem == Problem::Syntax);
            same("syntax", syntax, false)?;
            Ok(Verdict::Deliberate(QUESTION_MARK_IN_FLOW))
        }
        (Err(ours), None) if text(&case.error, "stage") == "validate" => {
            compare_validation(&ours, text(&case.error, "message"))
        }
        (Err(ours), None) if ours.issues.iter().any(|issue| issue.message == "must be greater than 0") => {
            Ok(Verdict::Deliberate(ZERO_INTERVAL))
        }
        (Err(ours), None) => compare_error(&ours, text(&case.error, "message"), 0),
        (Ok(_), None) if is_question_mark_in_flow(&case.error["message"], &yaml) => {
            Ok(Verdict::Deliberate(QUESTION_MARK_IN_FLOW))
        }
        (Ok(_), None) => Err(format!("ours loads, theirs {}", case.error)),
    }
}

/// That a file is called unsupported proves nothing unless what it names stands in it.
fn unsupported_is_really_there(issue: &Issue, yaml: &str) -> Result<Verdict, String> {
    let key = issue.path.rsplit('.').next().unwrap_or_default();
    let line = yaml.lines().nth(issue.mark.line - 1).unwrap_or_default();
    let known = ["basic_auth", "authorization", "oauth2", "bearer_token", "bearer_token_file"];
    let known = known.into_iter().chain(["follow_redirects", "enable_http2", "proxy_url", "no_proxy"]);
    let mut known = known.chain(["proxy_from_environment", "proxy_connect_header", "http_headers", "type"]);
    let is_known = known.any(|name| name == key) || key.ends_with("_sd_configs");
    same(&format!("{key} is in {line:?}"), is_known && line.contains(key), true)?;
    Ok(Verdict::OutOfScope)
}

fn is_null_profile(theirs: &Value) -> bool {
    let jobs = theirs["scrape_configs"].as_array().into_iter().flatten();
    let mut profiles = jobs.filter_map(|job| job["profiling_config"]["pprof_config"].as_object()).flatten();
    profiles.any(|(_, profile)| profile.is_null())
}

fn has_zero_interval(theirs: &Value) -> bool {
    let mut jobs = theirs["scrape_configs"].as_array().into_iter().flatten();
    jobs.any(|job| job["scrape_interval_nanos"].as_i64() == Some(0))
}

/// `ObjectStorage: (Bucket: (Config: cannot be blank; Type: cannot be blank.).).` and duplicated job names.
fn compare_validation(ours: &ConfigError, theirs: &str) -> Result<Verdict, String> {
    if let Some((_, duplicate)) = theirs.split_once("ScrapeConfigs: ") {
        let duplicate = duplicate.trim_end_matches('.');
        let found = ours.issues.iter().any(|issue| issue.message.starts_with(duplicate));
        same(&format!("{duplicate:?} among {ours}"), found, true)?;
    }
    let mut missing = BTreeSet::new();
    if theirs.contains("ObjectStorage: cannot be blank") || theirs.contains("(Bucket: cannot be blank") {
        missing.insert("object_storage.bucket");
    }
    for (word, path) in
        [("Config: cannot", "object_storage.bucket.config"), ("Type: cannot", "object_storage.bucket.type")]
    {
        if theirs.contains(word) {
            missing.insert(path);
        }
    }
    let ours: BTreeSet<&str> = ours
        .issues
        .iter()
        .filter(|issue| issue.path.starts_with("object_storage"))
        .map(|issue| issue.path.as_str())
        .collect();
    same("what is missing of the bucket", ours, missing)?;
    Ok(Verdict::Same)
}

fn compare_config(ours: &Config, theirs: &Value) -> Result<(), String> {
    let bucket = &theirs["object_storage"]["bucket"];
    same("prefix", ours.bucket.prefix.as_str(), text(bucket, "prefix"))?;
    compare_storage(&ours.bucket.storage, text(bucket, "type"), &bucket["config"])?;
    let jobs = theirs["scrape_configs"].as_array().cloned().unwrap_or_default();
    same("number of jobs", ours.scrape_configs.len(), jobs.len())?;
    for (ours, theirs) in ours.scrape_configs.iter().zip(&jobs) {
        compare_job(ours, theirs).map_err(|difference| format!("job {}: {difference}", ours.job_name))?;
    }
    Ok(())
}

/// Every key that the recording has, in the words of the file.
fn compare_storage(ours: &Storage, kind: &str, theirs: &Value) -> Result<(), String> {
    let (our_kind, ours) = match ours {
        Storage::Filesystem { directory } => ("FILESYSTEM", serde_json::json!({"directory": directory})),
        Storage::S3(s3) => {
            let encryption = match &s3.encryption {
                Encryption::None => "",
                Encryption::ByServer => "SSE-S3",
                Encryption::ByKms { .. } => "SSE-KMS",
                Encryption::ByKeyFile { .. } => "SSE-C",
            };
            let lookup = match s3.lookup {
                Lookup::Auto => "auto",
                Lookup::VirtualHosted => "virtual-hosted",
                Lookup::Path => "path",
            };
            let http = serde_json::json!({
                "idle_conn_timeout": s3.http.idle_conn_timeout.map(duration::format),
                "response_header_timeout": s3.http.response_header_timeout.map(duration::format),
                "insecure_skip_verify": s3.http.insecure_skip_verify,
            });
            let read = serde_json::json!({
                "bucket": s3.bucket, "endpoint": s3.endpoint, "region": s3.region, "insecure": s3.insecure,
                "access_key": s3.access_key, "secret_key": s3.secret_key.0, "part_size": s3.part_size,
                "put_user_metadata": s3.user_metadata, "bucket_lookup_type": lookup,
                "sse_config": {"type": encryption}, "http_config": http,
                // only these are taken
                "signature_version2": false, "trace": {"enable": false},
            });
            ("S3", read)
        }
        Storage::Gcs(gcs) => {
            ("GCS", serde_json::json!({"bucket": gcs.bucket, "service_account": gcs.service_account.0}))
        }
        Storage::Azure(azure) => {
            let read = serde_json::json!({
                "storage_account": azure.storage_account, "storage_account_key": azure.storage_account_key.0,
                "container": azure.container,
            });
            ("AZURE", read)
        }
    };
    same("type", our_kind, kind.to_ascii_uppercase().as_str())?;
    for (key, value) in theirs.as_object().into_iter().flatten() {
        let mut value = value.clone();
        for timeout in ["idle_conn_timeout", "response_header_timeout"] {
            if let Some(text) = value.get_mut(timeout) {
                *text = duration::parse(text.as_str().unwrap_or_default()).map(duration::format)?.into();
            }
        }
        same(key, &ours[key], &value)?;
    }
    Ok(())
}

/// In the words of the recording, which was made in /etc/parca: null where there is none.
fn tls(job: &ScrapeConfig) -> Value {
    let Some(tls) = &job.tls else { return Value::Null };
    let mut read = serde_json::Map::new();
    let mut pem = |name: &str, pem: &Pem| match pem {
        Pem::Text(text) => read.insert(name.to_owned(), text.0.clone().into()),
        Pem::File(file) => {
            let path = std::path::Path::new("/etc/parca").join(file);
            read.insert(format!("{name}_file"), path.display().to_string().into())
        }
    };
    if let Some(ca) = &tls.ca {
        pem("ca", ca);
    }
    if let Some(client) = &tls.client {
        pem("cert", &client.certificate);
        pem("key", &client.key);
    }
    if !tls.server_name.is_empty() {
        read.insert("server_name".to_owned(), tls.server_name.clone().into());
    }
    for (key, version) in [("min_version", tls.min_version), ("max_version", tls.max_version)] {
        read.extend(version.map(|version| (key.to_owned(), version.name().into())));
    }
    read.insert("insecure_skip_verify".to_owned(), tls.insecure_skip_verify.into());
    read.into()
}

fn compare_job(ours: &ScrapeConfig, theirs: &Value) -> Result<(), String> {
    same("name", ours.job_name.as_str(), text(theirs, "job_name"))?;
    same("interval", Some(ours.scrape_interval.as_nanos() as i64), theirs["scrape_interval_nanos"].as_i64())?;
    same("timeout", Some(ours.scrape_timeout.as_nanos() as i64), theirs["scrape_timeout_nanos"].as_i64())?;
    same("interval", duration::format(ours.scrape_interval).as_str(), text(theirs, "scrape_interval"))?;
    same("scheme", ours.scheme.as_str(), text(theirs, "scheme"))?;
    same("normalized", Some(ours.normalized_addresses), theirs["normalized_addresses"].as_bool())?;
    same("tls", tls(ours), theirs["http_client"].get("tls_config").cloned().unwrap_or_default())?;
    same("params", serde_json::json!(ours.params), theirs["params"].clone())?;

    let profiles = theirs["profiling_config"]["pprof_config"].as_object().ok_or("no profiles")?;
    let theirs_profiles: BTreeMap<String, ProfileConfig> = profiles
        .iter()
        .map(|(name, profile)| {
            let config = ProfileConfig {
                enabled: profile["enabled"].as_bool().unwrap_or_default(),
                path: text(profile, "path").to_owned(),
                delta: profile["delta"].as_bool().unwrap_or_default(),
                keep_sample_types: sample_types(&profile["keep_sample_type"]),
                seconds: profile["seconds"].as_i64().unwrap_or_default(),
            };
            (name.clone(), config)
        })
        .collect();
    same("profiles", &ours.profiles, &theirs_profiles)?;
    same(
        "number of relabelling rules",
        ours.relabel_configs.len(),
        theirs["relabel_configs"].as_array().map_or(0, Vec::len),
    )?;

    let groups: Vec<Value> = theirs["sd_configs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|discovery| discovery["kind"] == "static")
        .flat_map(|discovery| discovery["config"].as_array().cloned().unwrap_or_default())
        .collect();
    let theirs_groups: Vec<(Value, BTreeMap<String, String>)> =
        groups.iter().map(|group| (group["targets"].clone(), string_map(&group["labels"]))).collect();
    let ours_groups: Vec<(Value, BTreeMap<String, String>)> =
        ours.static_configs.iter().map(|group| (serde_json::json!(group.targets), group.labels.clone())).collect();
    same("target groups", ours_groups, theirs_groups)
}
