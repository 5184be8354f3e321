//! Decima in its container: the command, its files, what Pebble has of both, and how the one becomes the other.
//!
//! [`Workload`] is what should be. [`Workload::settle`] makes it so: it writes what differs, and restarts Decima only then.

use std::collections::BTreeMap;

use juju::json::{Json, Object};
use juju::pebble::{ErrorKind, Exec, Pebble, PebbleError, ServiceAction, WriteFile};

use crate::Identity;
use crate::identity::{GRPC_PORT, HTTP_PORT};
use crate::relation::logging;
use crate::relation::s3::{self, Bucket};
use crate::relation::store::RemoteStore;

/// The container and its service.
pub const CONTAINER: &str = "parca";

/// The program: the image has Decima under this name too.
const PROGRAM: &str = "/parca";

const CONFIG_FILE: &str = "/etc/parca/parca.yaml";
const CERT_FILE: &str = "/etc/parca/certs/server.cert";
const KEY_FILE: &str = "/etc/parca/certs/server.key";
const CA_FILE: &str = "/usr/local/share/ca-certificates/ca.cert";

/// Where the storage is mounted.
const STORAGE: &str = "/var/lib/parca";

/// In MB, where the configuration says 0.
const MEMORY_DEFAULT: i64 = 1024;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// A certificate that our ports speak TLS with, all in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Ours, then those between it and the authority.
    pub chain: String,
    pub key: String,
    /// The authority's.
    pub ca: String,
}

impl std::fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).field("ca", &self.ca).finish_non_exhaustive()
    }
}

/// What Decima should be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    /// Profiles are kept on the storage.
    pub persistence: bool,
    /// In MB; for when they are not.
    pub memory: i64,
    pub jobs: Vec<Object>,
    pub bucket: Option<Bucket>,
    pub store: Option<RemoteStore>,
    pub certificate: Option<Certificate>,
    /// Where its own traces go: `host:port`.
    pub otlp: Option<String>,
    /// Pebble's log targets, by unit of Loki.
    pub logs: BTreeMap<juju::UnitName, String>,
    /// The first log target waits for an event that brings it, or brings the container up, as in the Python charm; from then on
    /// targets follow at every event.
    pub logs_are_news: bool,
}

/// What came of settling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The container does not answer yet: its `pebble-ready` comes later.
    Down,
    /// It runs as it should; the version that it tells.
    Running { version: Option<String> },
    /// It does not stay up. Pebble's words.
    Failing(String),
}

impl Workload {
    /// The service, as Pebble takes it.
    fn service(&self) -> Json {
        let mut command = vec![
            PROGRAM.to_owned(),
            format!("--config-path={CONFIG_FILE}"),
            format!("--http-address=:{HTTP_PORT}"),
            format!("--grpc-address=:{GRPC_PORT}"),
        ];
        if self.certificate.is_some() {
            command.extend([format!("--tls-cert-file={CERT_FILE}"), format!("--tls-key-file={KEY_FILE}")]);
        }
        command.push("--storage-enable-wal".to_owned());
        if self.persistence || self.bucket.is_some() {
            command.extend(["--enable-persistence".to_owned(), format!("--storage-path={STORAGE}")]);
        } else {
            let megabytes = if self.memory > 0 { self.memory } else { MEMORY_DEFAULT };
            command.push(format!("--storage-active-memory={}", megabytes.saturating_mul(1 << 20)));
        }
        command.extend(self.store.iter().flat_map(RemoteStore::flags));
        let mut environment = Object::new();
        if let Some(address) = &self.otlp {
            command.push(format!("--otlp-address={address}"));
            if self.certificate.is_some() {
                command.push("--otlp-insecure=false".to_owned());
                environment.insert("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE".to_owned(), Json::from(CA_FILE));
            }
        }
        let mut service = vec![
            ("override", Json::from("replace")),
            ("summary", Json::from("parca")),
            ("command", Json::from(command.join(" "))),
            ("startup", Json::from("enabled")),
        ];
        if !environment.is_empty() {
            service.push(("environment", Json::Object(environment)));
        }
        Json::object(service)
    }

    /// parca.yaml.
    fn config(&self) -> String {
        let on_disk = || {
            let config = Json::object([("directory", Json::from(STORAGE))]);
            Json::object([("type", Json::from("FILESYSTEM")), ("config", config)])
        };
        let bucket = self.bucket.as_ref().map_or_else(on_disk, Bucket::to_config);
        juju::yaml::write(&Json::object([
            ("object_storage", Json::object([("bucket", bucket)])),
            ("scrape_configs", Json::from(self.jobs.clone())),
        ]))
    }

    /// Every file of ours with its permissions; `None`: it should not be there. Those that Decima reads again by itself when
    /// they change are marked.
    fn files(&self) -> [File<'_>; 5] {
        let certificate = self.certificate.as_ref();
        let chain = self.bucket.as_ref().and_then(|bucket| bucket.ca_chain.clone());
        let of = |part: fn(&Certificate) -> &String| certificate.map(|certificate| part(certificate).clone());
        [
            File { path: CONFIG_FILE, content: Some(self.config()), permissions: PUBLIC, watched: false },
            File { path: s3::CA_FILE, content: chain, permissions: PUBLIC, watched: false },
            File { path: CA_FILE, content: of(|c| &c.ca), permissions: PUBLIC, watched: false },
            // the key first: what is read in between is the old pair, or one that does not fit and is passed over
            File { path: KEY_FILE, content: of(|c| &c.key), permissions: PRIVATE, watched: true },
            File { path: CERT_FILE, content: of(|c| &c.chain), permissions: PUBLIC, watched: true },
        ]
    }

    /// Makes the container be so: writes what differs, and has Pebble start what it has to.
    ///
    /// # Errors
    /// Pebble refused, or broke off. That the container is down is none, nor that Decima does not start.
    pub fn settle(&self, pebble: &dyn Pebble, identity: &Identity) -> Result<Settled, PebbleError> {
        match self.write(pebble, identity) {
            Ok(()) => Ok(Settled::Running { version: version(pebble) }),
            Err(error) => match error.kind {
                ErrorKind::Unreachable => Ok(Settled::Down),
                ErrorKind::ChangeFailed => Ok(Settled::Failing(error.message)),
                _ => Err(error),
            },
        }
    }

    fn write(&self, pebble: &dyn Pebble, identity: &Identity) -> Result<(), PebbleError> {
        let plan = pebble.plan()?;
        let mut restart = false;
        for file in self.files() {
            let changed = file.settle(pebble)?;
            restart |= changed && !file.watched;
        }
        let service = self.service();
        let now = plan.get("services").and_then(|services| services.get(CONTAINER));
        if now != Some(&service) {
            let layer = Json::object([("services", Json::object([(CONTAINER, service)]))]);
            pebble.add_layer(CONTAINER, &layer, true)?;
            // starts it anew, because it changed
            pebble.do_services(ServiceAction::Replan, &[])?;
        } else if restart {
            pebble.do_services(ServiceAction::Restart, &[CONTAINER])?;
        } else if !pebble.services(&[CONTAINER])?.iter().any(juju::pebble::ServiceInfo::is_running) {
            pebble.do_services(ServiceAction::Start, &[CONTAINER])?;
        }
        let targets = plan.get("log-targets").and_then(Json::as_object).cloned().unwrap_or_default();
        if !self.logs_are_news && targets.is_empty() {
            return Ok(());
        }
        if let Some(layer) = logging::layer(&self.logs, &targets, identity) {
            pebble.add_layer(LOG_LAYER, &layer, true)?;
        }
        Ok(())
    }
}

/// As the Python charm names it, so that a refresh replaces it.
const LOG_LAYER: &str = "parca-log-forwarding";

struct File<'a> {
    path: &'a str,
    content: Option<String>,
    permissions: u32,
    /// Decima reads it again when it changes.
    watched: bool,
}

impl File<'_> {
    /// Whether it had to be written or removed.
    fn settle(&self, pebble: &dyn Pebble) -> Result<bool, PebbleError> {
        let present = pebble.read_file_if_there(self.path)?;
        match &self.content {
            Some(content) if present.as_deref() != Some(content.as_bytes()) => {
                let options = WriteFile { make_dirs: true, permissions: self.permissions, ..WriteFile::default() };
                pebble.write_file(self.path, content.as_bytes(), &options)?;
                Ok(true)
            }
            None if present.is_some() => {
                pebble.remove_path(self.path, true)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// What the program says of itself. A program that does not say it still runs.
fn version(pebble: &dyn Pebble) -> Option<String> {
    match pebble.exec(&Exec { timeout: std::time::Duration::from_secs(5), ..Exec::new([PROGRAM, "--version"]) }) {
        Ok(output) => find_version(&String::from_utf8_lossy(&output.stdout)).map(str::to_owned),
        Err(error) => {
            tracing::warn!(%error, "the workload does not tell its version");
            None
        }
    }
}

/// Three numbers with dots between, and the hexadecimal digits and hyphens behind them.
fn find_version(text: &str) -> Option<&str> {
    let digits = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let at = |from: usize| {
        let mut end = from;
        for part in 0..3 {
            if part > 0 {
                text[end..].strip_prefix('.')?;
                end += 1;
            }
            let count = digits(&text[end..]);
            end += (count > 0).then_some(count)?;
        }
        let tail = &text[end..];
        end += tail.len() - tail.trim_start_matches(|c: char| matches!(c, '-' | '0'..='9' | 'a'..='f')).len();
        Some(&text[from..end])
    };
    (0..text.len()).filter(|from| text.is_char_boundary(*from)).find_map(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_three_numbers_and_what_follows_in_hexadecimal() {
        for (text, version) in [
            ("parca, version v0.24.0-dev-1a2b3c (commit: unknown)\nother line 9.9.9", Some("0.24.0-de")),
            ("decima, version 0.1.0 (commit: 175d016)", Some("0.1.0")),
            ("é 1.2 v10.20.30-beef", Some("10.20.30-beef")),
            ("1.2.x 3.4.5", Some("3.4.5")),
            ("", None),
            ("1.2.", None),
        ] {
            assert_eq!(find_version(text), version, "{text}");
        }
    }

    fn command(workload: &Workload) -> String {
        workload.service().get("command").and_then(Json::as_str).unwrap().to_owned()
    }

    #[test]
    fn the_command_says_where_profiles_are_kept() {
        let tail = |workload: Workload| command(&workload).split_once("--storage-enable-wal ").unwrap().1.to_owned();
        let workload = Workload { memory: 4096, ..Workload::default() };
        assert_eq!(tail(workload.clone()), "--storage-active-memory=4294967296");
        assert_eq!(tail(Workload { memory: 0, ..workload.clone() }), "--storage-active-memory=1073741824");
        assert_eq!(
            tail(Workload { memory: i64::MAX, ..workload.clone() }),
            format!("--storage-active-memory={}", i64::MAX)
        );
        assert_eq!(
            tail(Workload { persistence: true, ..workload }),
            "--enable-persistence --storage-path=/var/lib/parca"
        );
    }

    #[test]
    fn both_ports_speak_tls_with_a_certificate_and_its_own_traces_too() {
        let plain = Workload { otlp: Some("tempo:4317".to_owned()), ..Workload::default() };
        assert!(command(&plain).ends_with("--otlp-address=tempo:4317"), "{}", command(&plain));
        assert!(command(&plain).contains(" --http-address=:7994 --grpc-address=:7993 --storage"));
        assert_eq!(plain.service().get("environment"), None);
        let pem = |what: &str| what.to_owned();
        let certificate = Certificate { chain: pem("c"), key: pem("k"), ca: pem("a") };
        let tls = Workload { certificate: Some(certificate), ..plain };
        assert!(command(&tls).ends_with("--otlp-address=tempo:4317 --otlp-insecure=false"), "{}", command(&tls));
        assert!(
            command(&tls)
                .contains("--tls-cert-file=/etc/parca/certs/server.cert --tls-key-file=/etc/parca/certs/server.key")
        );
        assert!(!format!("{tls:?}").contains("\"k\""), "a key is never printed");
    }
}
