//! What a scrape job may say.

use std::sync::LazyLock;

use juju::json::{Json, Object};

/// The keys of a job that cross the relation, since LIBPATCH 2 of the library.
pub const ALLOWED_KEYS: &[&str] =
    &["job_name", "static_configs", "scrape_interval", "scrape_timeout", "scheme", "profiling_config", "tls_config"];

/// The same of LIBPATCH 1.
pub const ALLOWED_KEYS_1: &[&str] = &["job_name", "static_configs", "scrape_interval", "scrape_timeout"];

/// What a provider offers that names no job: each of its units on port 80.
pub static DEFAULT_JOB: LazyLock<Object> =
    LazyLock::new(|| [("static_configs".to_owned(), Json::from([wildcard(80)]))].into_iter().collect());

/// A static config of each unit of the provider on one port.
pub fn wildcard(port: u16) -> Json {
    Json::object([("targets", Json::from([format!("*:{port}")]))])
}

/// A job of allowed keys alone: `static_configs` first, of [`DEFAULT_JOB`] where the job has none, then the job's own order.
pub(crate) fn sanitize(job: &Object, allowed: &[&str]) -> Object {
    let mut sanitized = DEFAULT_JOB.clone();
    let kept = job.iter().filter(|(key, _)| allowed.contains(&key.as_str()));
    sanitized.extend(kept.map(|(key, value)| (key.clone(), value.clone())));
    sanitized
}
