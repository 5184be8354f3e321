//! Parca's command line: its flags, their defaults, and what its parser (Go's kong) says of mistakes.
//!
//! The grammar is kong's and no argument library speaks it: booleans take yes, no, 1 and 0 but only after `=`, there is
//! no `--no-x`, lists and maps split at separators that a backslash escapes, durations are Go's, and the error texts are
//! what scripts and people know. Recorded in testdata/vectors/flags.jsonl.

mod parse;
mod table;

use std::collections::{BTreeMap, BTreeSet};

pub use parse::{Parsed, parse};
pub use table::help;

/// Every flag's value. Durations in ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    pub config_path: String,
    pub mode: String,
    pub http_address: String,
    pub grpc_address: String,
    pub tls_cert_file: String,
    pub tls_key_file: String,
    pub http_read_timeout: i64,
    pub http_write_timeout: i64,
    pub port: String,
    pub log_level: String,
    pub log_format: String,
    pub otlp_address: String,
    pub otlp_exporter: String,
    pub otlp_insecure: bool,
    pub cors_allowed_origins: Option<Vec<String>>,
    pub version: bool,
    pub path_prefix: String,
    pub mutex_profile_fraction: i64,
    pub block_profile_rate: i64,
    pub enable_persistence: bool,
    pub storage_active_memory: i64,
    pub storage_path: String,
    pub storage_enable_wal: bool,
    pub storage_snapshot_trigger_size: i64,
    pub storage_row_group_size: i64,
    pub storage_index_on_disk: bool,
    pub symbolizer_demangle_mode: String,
    pub symbolizer_external_addr2line_path: String,
    pub symbolizer_number_of_tries: i64,
    pub debuginfo_cache_dir: String,
    pub debuginfo_upload_max_size: i64,
    pub debuginfo_upload_max_duration: i64,
    pub debuginfo_uploads_signed_url: bool,
    pub debuginfod_upstream_servers: Option<Vec<String>>,
    pub debuginfod_http_request_timeout: i64,
    pub profile_share_server: String,
    pub store_address: String,
    pub bearer_token: String,
    pub bearer_token_file: String,
    pub insecure: bool,
    pub insecure_skip_verify: bool,
    pub external_label: Option<BTreeMap<String, String>>,
    pub grpc_headers: Option<BTreeMap<String, String>>,
    /// bytes
    pub forward_buffer_size: i64,
    pub debug_normalize_addresses: bool,
    pub iceberg_storage: bool,
    pub clickhouse_enabled: bool,
    pub clickhouse_address: String,
    pub clickhouse_database: String,
    pub clickhouse_username: String,
    pub clickhouse_password: String,
    pub clickhouse_table: String,
    pub clickhouse_secure: bool,
    /// Names of the flags that the command line or the environment gave.
    pub given: BTreeSet<&'static str>,
}

const SECOND: i64 = 1_000_000_000;

impl Default for Flags {
    fn default() -> Self {
        let text = str::to_owned;
        Self {
            config_path: text("parca.yaml"),
            mode: text("all"),
            http_address: text(":7070"),
            grpc_address: text(""),
            tls_cert_file: text(""),
            tls_key_file: text(""),
            http_read_timeout: 5 * SECOND,
            http_write_timeout: 60 * SECOND,
            port: text(""),
            log_level: text("info"),
            log_format: text("logfmt"),
            otlp_address: text(""),
            otlp_exporter: text("grpc"),
            otlp_insecure: true,
            cors_allowed_origins: None,
            version: false,
            path_prefix: text(""),
            mutex_profile_fraction: 0,
            block_profile_rate: 0,
            enable_persistence: false,
            storage_active_memory: 512 << 20,
            storage_path: text("data"),
            storage_enable_wal: false,
            storage_snapshot_trigger_size: 128 << 20,
            storage_row_group_size: 8192,
            storage_index_on_disk: false,
            symbolizer_demangle_mode: text("simple"),
            symbolizer_external_addr2line_path: text(""),
            symbolizer_number_of_tries: 3,
            debuginfo_cache_dir: text("/tmp"),
            debuginfo_upload_max_size: 1_000_000_000,
            debuginfo_upload_max_duration: 900 * SECOND,
            debuginfo_uploads_signed_url: false,
            debuginfod_upstream_servers: Some(vec![text("debuginfod.elfutils.org")]),
            debuginfod_http_request_timeout: 300 * SECOND,
            profile_share_server: text("api.pprof.me:443"),
            store_address: text(""),
            bearer_token: text(""),
            bearer_token_file: text(""),
            insecure: false,
            insecure_skip_verify: false,
            external_label: None,
            grpc_headers: None,
            forward_buffer_size: 1 << 30,
            debug_normalize_addresses: true,
            iceberg_storage: false,
            clickhouse_enabled: false,
            clickhouse_address: text("localhost:9000"),
            clickhouse_database: text("parca"),
            clickhouse_username: text(""),
            clickhouse_password: text(""),
            clickhouse_table: text("stacktraces"),
            clickhouse_secure: false,
            given: BTreeSet::new(),
        }
    }
}

impl Flags {
    /// What was given and does nothing, a sentence each.
    pub fn without_effect(&self) -> Vec<String> {
        let given = table::FLAGS.iter().filter(|flag| self.given.contains(flag.name));
        let told = given.filter_map(|flag| {
            let why = match (self.mode.as_str(), flag.forwarding) {
                ("all", true) => Some("profiles are kept here, not handed on"),
                ("forwarder", _) if flag.name == "config-path" => Some("nothing is scraped and nothing is stored"),
                _ => flag.no_effect,
            };
            why.map(|why| format!("--{} has no effect: {why}", flag.name))
        });
        told.collect()
    }
}

/// The flags of a command line that runs the server.
#[cfg(test)]
pub(crate) fn of(arguments: &[&str]) -> Flags {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    match parse(&arguments, |_| None) {
        Ok(Parsed::Run(flags)) => *flags,
        other => panic!("{other:?}"),
    }
}

#[cfg(test)]
#[path = "flags/tests.rs"]
mod tests;
