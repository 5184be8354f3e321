//! All flags, in the order in which help shows them.

use std::collections::BTreeMap;

use super::Flags;

/// One flag: its name, what it takes and where that goes.
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    /// Taken where the command line does not give the flag.
    pub(super) environment: Option<&'static str>,
    pub(super) hidden: bool,
    /// Why giving it changes nothing, if so.
    pub(super) no_effect: Option<&'static str>,
    /// It says how profiles are handed on, and nothing where they are kept.
    pub(super) forwarding: bool,
}

type Field<T> = fn(&mut Flags) -> &mut T;

pub(super) enum Kind {
    Text(Field<String>),
    Choice(&'static [&'static str], Field<String>),
    Bool(Field<bool>),
    Int(Field<i64>),
    /// ns
    Duration(Field<i64>),
    /// Split at commas.
    List(Field<Option<Vec<String>>>),
    /// `key=value` split at semicolons.
    Map(Field<Option<BTreeMap<String, String>>>),
}

const fn flag(name: &'static str, kind: Kind, help: &'static str) -> Flag {
    Flag { name, kind, help, environment: None, hidden: false, no_effect: None, forwarding: false }
}

impl Flag {
    const fn environment(mut self, name: &'static str) -> Self {
        self.environment = Some(name);
        self
    }

    const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    const fn forwarding(mut self) -> Self {
        self.forwarding = true;
        self
    }

    const fn no_effect(mut self, why: &'static str) -> Self {
        self.no_effect = Some(why);
        self
    }
}

const ALWAYS: &str = "what is acknowledged is always on disk";
const SYMBOLS: &str = "this version does not symbolize yet";
const TRACES: &str = "this version does not export traces";
const GO_ONLY: &str = "it belongs to the Go runtime";
const LAYOUT: &str = "the block format has no such setting";
const OTHER_STORE: &str = "this store is not supported";

use Kind::{Bool, Choice, Duration, Int, List, Map, Text};

pub(super) const FLAGS: &[Flag] = &[
    flag("config-path", Text(|f| &mut f.config_path), "Path of the configuration file."),
    flag(
        "mode",
        Choice(&["all", "scraper-only", "forwarder"], |f| &mut f.mode),
        "Keep profiles, or hand them on: what is scraped and pushed, or what is pushed.",
    ),
    flag(
        "http-address",
        Text(|f| &mut f.http_address),
        "Address to listen on, for everything. Not given: 127.0.0.1:7070.",
    ),
    flag("grpc-address", Text(|f| &mut f.grpc_address), "A second address to listen on, for everything too."),
    flag(
        "tls-cert-file",
        Text(|f| &mut f.tls_cert_file),
        "Certificate chain in PEM: serve TLS on all addresses. Read again when it changes.",
    ),
    flag("tls-key-file", Text(|f| &mut f.tls_key_file), "Private key of that certificate, in PEM."),
    flag("http-read-timeout", Duration(|f| &mut f.http_read_timeout), "Longest time for a request's headers."),
    flag("http-write-timeout", Duration(|f| &mut f.http_write_timeout), "Longest time until a call is answered."),
    flag("port", Text(|f| &mut f.port), "Deprecated: use --http-address."),
    flag("log-level", Choice(&["error", "warn", "info", "debug"], |f| &mut f.log_level), "What to log."),
    flag("log-format", Choice(&["logfmt", "json"], |f| &mut f.log_format), "How to log it."),
    flag("otlp-address", Text(|f| &mut f.otlp_address), "Where to send own traces.").no_effect(TRACES),
    flag("otlp-exporter", Choice(&["grpc", "http", "stdout"], |f| &mut f.otlp_exporter), "How to send own traces.")
        .no_effect(TRACES),
    flag("otlp-insecure", Bool(|f| &mut f.otlp_insecure), "Send own traces without TLS.").no_effect(TRACES),
    flag(
        "cors-allowed-origins",
        List(|f| &mut f.cors_allowed_origins),
        "Origins that browsers may call from; * for any.",
    ),
    flag("version", Bool(|f| &mut f.version), "Show the version and exit."),
    flag("path-prefix", Text(|f| &mut f.path_prefix), "Path below which UI, REST and metrics are served."),
    flag("mutex-profile-fraction", Int(|f| &mut f.mutex_profile_fraction), "Sampling of own mutexes.")
        .no_effect(GO_ONLY),
    flag("block-profile-rate", Int(|f| &mut f.block_profile_rate), "Sampling of own blocking.").no_effect(GO_ONLY),
    flag("enable-persistence", Bool(|f| &mut f.enable_persistence), "Keep data over restarts.").no_effect(ALWAYS),
    flag(
        "storage-active-memory",
        Int(|f| &mut f.storage_active_memory),
        "Bytes of recent data in memory; all other memory bounds scale with it.",
    ),
    flag("storage-path", Text(|f| &mut f.storage_path), "Directory for the data."),
    flag("storage-enable-wal", Bool(|f| &mut f.storage_enable_wal), "Write ahead to a log.").no_effect(ALWAYS),
    flag(
        "storage-snapshot-trigger-size",
        Int(|f| &mut f.storage_snapshot_trigger_size),
        "Bytes between snapshots of the log.",
    )
    .no_effect(LAYOUT),
    flag("storage-row-group-size", Int(|f| &mut f.storage_row_group_size), "Rows per row group.").no_effect(LAYOUT),
    flag("storage-index-on-disk", Bool(|f| &mut f.storage_index_on_disk), "Keep the index on disk.").no_effect(LAYOUT),
    flag(
        "symbolizer-demangle-mode",
        Choice(&["simple", "full", "none", "templates"], |f| &mut f.symbolizer_demangle_mode),
        "How much of a C++ or Rust name to show.",
    )
    .no_effect(SYMBOLS),
    flag(
        "symbolizer-external-addr-2-line-path",
        Text(|f| &mut f.symbolizer_external_addr2line_path),
        "addr2line to call.",
    )
    .no_effect(SYMBOLS),
    flag("symbolizer-number-of-tries", Int(|f| &mut f.symbolizer_number_of_tries), "Tries per address.")
        .no_effect(SYMBOLS),
    flag("debuginfo-cache-dir", Text(|f| &mut f.debuginfo_cache_dir), "Directory for debuginfo in use.")
        .no_effect(SYMBOLS),
    flag("debuginfo-upload-max-size", Int(|f| &mut f.debuginfo_upload_max_size), "Bytes of one upload."),
    flag("debuginfo-upload-max-duration", Duration(|f| &mut f.debuginfo_upload_max_duration), "Time for one upload."),
    flag(
        "debuginfo-uploads-signed-url",
        Bool(|f| &mut f.debuginfo_uploads_signed_url),
        "Uploads go right to the bucket, S3 or GCS, by URLs that are signed for them.",
    ),
    flag("debuginfod-upstream-servers", List(|f| &mut f.debuginfod_upstream_servers), "debuginfod servers to ask.")
        .no_effect(SYMBOLS),
    flag(
        "debuginfod-http-request-timeout",
        Duration(|f| &mut f.debuginfod_http_request_timeout),
        "Time for one of them.",
    )
    .no_effect(SYMBOLS),
    flag(
        "profile-share-server",
        Text(|f| &mut f.profile_share_server),
        "Server to share profiles on, host:port, over TLS. Not given: with nobody.",
    ),
    flag("store-address", Text(|f| &mut f.store_address), "Server to hand profiles on to, host:port.").forwarding(),
    flag("bearer-token", Text(|f| &mut f.bearer_token), "Token to hand them on with.")
        .environment("PARCA_BEARER_TOKEN")
        .forwarding(),
    flag("bearer-token-file", Text(|f| &mut f.bearer_token_file), "File with that token, read again for every call.")
        .forwarding(),
    flag("insecure", Bool(|f| &mut f.insecure), "Hand profiles on without TLS.").forwarding(),
    flag("insecure-skip-verify", Bool(|f| &mut f.insecure_skip_verify), "Take any certificate of that server.")
        .forwarding(),
    flag("external-label", Map(|f| &mut f.external_label), "Labels that profiles get which are scraped and handed on.")
        .forwarding(),
    flag("grpc-headers", Map(|f| &mut f.grpc_headers), "Headers to hand profiles on with.").forwarding(),
    flag(
        "forward-buffer-size",
        Int(|f| &mut f.forward_buffer_size),
        "Bytes on disk of profiles that wait for that server; over it they are refused.",
    )
    .forwarding(),
    flag("debug-normalize-addresses", Bool(|f| &mut f.debug_normalize_addresses), "").hidden().no_effect(SYMBOLS),
    flag("iceberg-storage", Bool(|f| &mut f.iceberg_storage), "").hidden().no_effect(OTHER_STORE),
    flag("clickhouse-enabled", Bool(|f| &mut f.clickhouse_enabled), "").hidden().no_effect(OTHER_STORE),
    flag("clickhouse-address", Text(|f| &mut f.clickhouse_address), "").hidden().no_effect(OTHER_STORE),
    flag("clickhouse-database", Text(|f| &mut f.clickhouse_database), "").hidden().no_effect(OTHER_STORE),
    flag("clickhouse-username", Text(|f| &mut f.clickhouse_username), "").hidden().no_effect(OTHER_STORE),
    flag("clickhouse-password", Text(|f| &mut f.clickhouse_password), "")
        .hidden()
        .environment("PARCA_CLICKHOUSE_PASSWORD")
        .no_effect(OTHER_STORE),
    flag("clickhouse-table", Text(|f| &mut f.clickhouse_table), "").hidden().no_effect(OTHER_STORE),
    flag("clickhouse-secure", Bool(|f| &mut f.clickhouse_secure), "").hidden().no_effect(OTHER_STORE),
];

/// The text of `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "Usage: decima [flags]                 serve\n       decima import [SOURCE...]      what a Parca or files know, into the store; see decima import --help\n       decima demo-workload [flags]   a small program to profile\n\nFlags:\n",
    );
    text.push_str(&format!("  {:<58} {}\n", "-h, --help", "Show this text."));
    for flag in FLAGS.iter().filter(|flag| !flag.hidden) {
        let takes = match &flag.kind {
            Kind::Text(_) => "=STRING".to_owned(),
            Kind::Choice(choices, _) => format!("={}", choices.join("|")),
            Kind::Bool(_) => String::new(),
            Kind::Int(_) => "=INT".to_owned(),
            Kind::Duration(_) => "=DURATION".to_owned(),
            Kind::List(_) => "=A,B,...".to_owned(),
            Kind::Map(_) => "=K=V;...".to_owned(),
        };
        let no_effect = flag.no_effect.map(|why| format!(" (No effect: {why}.)")).unwrap_or_default();
        text.push_str(&format!("      {:<54} {}{no_effect}\n", format!("--{}{takes}", flag.name), flag.help));
    }
    text.push_str(
        "\nExit codes: 0 stopped as asked, 1 wrong flags or a failure while running, 64 wrong configuration.\n",
    );
    text
}
