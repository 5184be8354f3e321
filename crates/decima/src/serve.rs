//! `decima`: the server with everything in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use bucket::Bucket;
use forward::{Upstream, UpstreamOptions};
use prometheus_client::registry::Registry;
use query::{Engine, EngineOptions};
use scrape::config::Storage;
use scrape::{Config, Scraper};
use server::{ListenOptions, Listener, Replay, Server, ServerOptions, Tls, TlsFiles};
use store::{Clock, Environment, OpenReport, Store, StoreOptions};
use symbolize::{SourceOptions, Sources, UploadOptions, Uploads};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::buckets;
use crate::check;
use crate::exit::Exit;
use crate::flags::Flags;
use crate::forwarding;
use crate::heap;
use crate::place;
use crate::signals::stop_token;

/// Where it listens when nobody says: not reachable from other machines until someone says so.
const ADDRESS_DEFAULT: &str = "127.0.0.1:7070";

/// Between looks at whether the head has to be cut.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Threads that may block, over all: waiting writes mostly.
const BLOCKING_THREADS_MAX: usize = 256;

/// Serves until a signal asks it to stop.
pub fn run(flags: &Flags) -> Result<(), Exit> {
    for sentence in flags.without_effect() {
        warn!("{sentence}");
    }
    let config = match flags.mode.as_str() {
        // what it says of buckets and targets would have no effect
        "forwarder" => None,
        _ => Some(check::load(&flags.config_path)?),
    };
    // the one provider in the process; a second installation would only find the first
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(|error| Exit::Failure(format!("cannot start threads: {error}")))?;
    runtime.block_on(async {
        match config {
            Some(config) if flags.mode == "all" => serve(flags, config).await,
            config => forwarding::serve(flags, config).await,
        }
    })
}

/// Addresses that are listened on before anything else: a second server on the same port should say so at once.
pub(crate) struct Front {
    started: Instant,
    listeners: Vec<Listener>,
    addresses: Vec<(SocketAddr, String)>,
    tls: Option<Tls>,
}

impl Front {
    pub(crate) async fn bind(flags: &Flags, registry: &mut Registry) -> Result<Self, Exit> {
        let started = Instant::now();
        let failure = |error: &dyn std::fmt::Display| Exit::Failure(error.to_string());
        let tls = tls(flags, registry)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for options in listen_options(flags, tls.as_ref()) {
            let listener = Listener::bind(options).await.map_err(|error| failure(&error))?;
            let address = listener.address().map_err(|error| failure(&error))?;
            addresses.push((address, format!("{scheme}://{address}{}/", prefix(flags))));
            listeners.push(listener);
        }
        Ok(Self { started, listeners, addresses, tls })
    }

    /// Answers until `stop`.
    pub(crate) async fn serve(self, server: Server, stop: &CancellationToken) {
        if let Some(tls) = self.tls {
            tokio::spawn(tls.watch(stop.clone().cancelled_owned()));
        }
        let millis = self.started.elapsed().as_millis() as u64;
        for (address, url) in self.addresses {
            info!(%address, url, millis, "serving");
        }
        server.serve(self.listeners, stop.clone().cancelled_owned()).await;
    }
}

async fn serve(flags: &Flags, config: Config) -> Result<(), Exit> {
    let failure = |error: &dyn std::fmt::Display| Exit::Failure(error.to_string());
    let stop = stop_token().map_err(|error| failure(&error))?;
    let mut registry = Registry::default();
    let front = Front::bind(flags, &mut registry).await?;

    let mut options = server_options(flags)?;
    let bucket = buckets::connect(&config.bucket, &mut registry).map_err(|error| failure(&error))?;
    let environment = environment(flags, &config, &bucket)?;
    let clock = environment.clock.clone();
    let replay = Arc::new(Replay::new(options.ingest));
    let (store, report) = Store::open(store_options(flags), environment, replay)
        .map_err(|error| Exit::Failure(format!("cannot open the store: {error}")))?;
    tell(&report);
    let store = Arc::new(store);
    let maintenance = Maintenance::start(store.clone()).map_err(|error| failure(&error))?;

    let memory = store.budget().account("sources", SOURCES_BYTES);
    options.share = share_server(flags)?;
    options.sources = Some(Arc::new(Sources::new(bucket.clone(), SourceOptions::default(), memory)));
    options.uploads = Some(Arc::new(uploads(flags, bucket, &store, clock.clone(), &mut registry)?));
    let writer = server::writer(store.clone(), clock, &options);
    let mut scrape_options = scrape::Options::new(config.scrape_configs, env!("CARGO_PKG_VERSION"));
    scrape_options.directory = Path::new(&flags.config_path).parent().map(Path::to_owned).unwrap_or_default();
    let scraper = Scraper::new(scrape_options, writer.clone(), &mut registry).map_err(|error| failure(&error))?;
    let engine = Arc::new(Engine::new(store.clone(), EngineOptions::default()));
    let server = Server::new(options, store.clone(), engine, writer, scraper.handle(), registry)
        .map_err(|error| failure(&error))?;

    let scraping = tokio::spawn(scraper.run(stop.clone()));
    front.serve(server, &stop).await;
    if let Err(error) = scraping.await {
        error!(%error, "the scraper ended badly");
    }
    maintenance.stop();
    store.close();
    info!("stopped");
    Ok(())
}

/// The addresses to listen on; all serve everything, with TLS or all without.
fn listen_options(flags: &Flags, tls: Option<&Tls>) -> Vec<ListenOptions> {
    let given = |name| flags.given.contains(name);
    let address = match (given("http-address"), given("port")) {
        (true, _) => flags.http_address.clone(),
        (false, true) => flags.port.clone(),
        (false, false) => {
            info!(address = ADDRESS_DEFAULT, "listening on this machine only; --http-address=:7070 opens it to others");
            ADDRESS_DEFAULT.to_owned()
        }
    };
    let usual = ListenOptions::default();
    // Parca's default would also end connections that idle for 5 s, under the hands of clients that keep them
    let asked = duration(flags.http_read_timeout).filter(|_| given("http-read-timeout"));
    let header_timeout = asked.unwrap_or(usual.header_timeout);
    let second = Some(flags.grpc_address.clone()).filter(|address| !address.is_empty());
    let listen = |address| ListenOptions { address, header_timeout, tls: tls.cloned(), ..usual.clone() };
    std::iter::once(address).chain(second).map(listen).collect()
}

/// Certificate and key, where both are given.
fn tls(flags: &Flags, registry: &mut Registry) -> Result<Option<Tls>, Exit> {
    let files = match (flags.tls_cert_file.as_str(), flags.tls_key_file.as_str()) {
        ("", "") => return Ok(None),
        (_, "") => return Err(Exit::Configuration("--tls-cert-file needs --tls-key-file".to_owned())),
        ("", _) => return Err(Exit::Configuration("--tls-key-file needs --tls-cert-file".to_owned())),
        (certificate, key) => TlsFiles { certificate: certificate.into(), key: key.into() },
    };
    Tls::load(files, registry).map(Some).map_err(|error| Exit::Configuration(error.to_string()))
}

pub(crate) fn server_options(flags: &Flags) -> Result<ServerOptions, Exit> {
    let mut options = ServerOptions {
        path_prefix: prefix(flags),
        cors_origins: flags.cors_allowed_origins.clone().unwrap_or_default(),
        heap_profiler: heap::profiler(),
        ..ServerOptions::default()
    };
    options.limits.deadline = duration(flags.http_write_timeout)
        .ok_or_else(|| Exit::Configuration("--http-write-timeout must be more than 0".to_owned()))?;
    options.limits.upload_deadline = upload_options(flags)?.duration_max;
    Ok(options)
}

/// Memory of uploads that pass through, beside their messages: two parts for each of eight. bytes
const UPLOAD_PARTS_BYTES: u64 = 128 << 20;

/// Memory of source archives that are read: two of the largest files at once. bytes
const SOURCES_BYTES: u64 = 144 << 20;

fn upload_options(flags: &Flags) -> Result<UploadOptions, Exit> {
    let wrong = |flag: &str| Exit::Configuration(format!("--{flag} must be more than 0"));
    Ok(UploadOptions {
        bytes_max: u64::try_from(flags.debuginfo_upload_max_size)
            .ok()
            .filter(|bytes| *bytes > 0)
            .ok_or_else(|| wrong("debuginfo-upload-max-size"))?,
        duration_max: duration(flags.debuginfo_upload_max_duration)
            .ok_or_else(|| wrong("debuginfo-upload-max-duration"))?,
        signed_urls: flags.debuginfo_uploads_signed_url,
        ..UploadOptions::default()
    })
}

fn uploads(
    flags: &Flags,
    bucket: Bucket,
    store: &Store,
    clock: Arc<dyn Clock>,
    registry: &mut Registry,
) -> Result<Uploads, Exit> {
    let memory = store.budget().account("uploads", UPLOAD_PARTS_BYTES);
    let metrics = symbolize::uploads::Metrics::register(registry);
    Uploads::new(bucket, upload_options(flags)?, clock, memory, metrics)
        .map_err(|error| Exit::Configuration(format!("--debuginfo-uploads-signed-url: {error}")))
}

/// Where profiles are shared, if the operator says so: Parca's default is not ours.
fn share_server(flags: &Flags) -> Result<Option<Upstream>, Exit> {
    let address = flags.profile_share_server.as_str();
    if address.is_empty() || !flags.given.contains("profile-share-server") {
        return Ok(None);
    }
    let wrong = |why| Exit::Configuration(format!("--profile-share-server: {why}"));
    Upstream::new(UpstreamOptions::new(address)).map(Some).map_err(wrong)
}

/// A slash in front, none at the end; empty for none.
fn prefix(flags: &Flags) -> String {
    let trimmed = flags.path_prefix.trim_matches('/');
    if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") }
}

pub(crate) fn duration(nanos: i64) -> Option<Duration> {
    u64::try_from(nanos).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
}

/// All memory bounds in proportion to what Parca's flag asks for.
pub(crate) fn store_options(flags: &Flags) -> StoreOptions {
    let usual = StoreOptions::default();
    let asked = u64::try_from(flags.storage_active_memory).unwrap_or(0).max(64 << 20);
    let default = Flags::default().storage_active_memory.unsigned_abs();
    let scaled = |bytes: u64| (u128::from(bytes) * u128::from(asked) / u128::from(default)) as u64;
    StoreOptions {
        memory_bytes: scaled(usual.memory_bytes),
        head_bytes_max: scaled(usual.head_bytes_max),
        head_cut_bytes: scaled(usual.head_cut_bytes),
        ..usual
    }
}

/// The log and the lock lie below `--storage-path`, the blocks in the bucket of the configuration; in a folder of ours where somebody
/// else keeps data there, as a Parca does.
pub(crate) fn environment(flags: &Flags, config: &Config, bucket: &Bucket) -> Result<Environment, Exit> {
    let opening = |error| Exit::Failure(format!("cannot open the store: {error}"));
    let below = |directory: &Path| {
        let cannot = |error| Exit::Failure(format!("cannot open the store: {}: {error}", directory.display()));
        let place = place::below(directory).map_err(cannot)?;
        if place != directory {
            info!(place = %place.display(), "somebody else keeps data beside ours: it is left as it is");
        }
        Ok(place)
    };
    let root = &below(Path::new(&flags.storage_path))?;
    let mut environment = Environment::local(root).map_err(opening)?;
    environment.objects = match &config.bucket.storage {
        Storage::Filesystem { directory } => {
            let folder = below(&PathBuf::from(directory).join(&config.bucket.prefix))?;
            if same_directory(root, &folder) { None } else { Some(buckets::folder(&folder, root).map_err(opening)?) }
        }
        _ => Some(buckets::remote(&config.bucket, &environment, bucket).map_err(opening)?),
    };
    Ok(environment)
}

fn same_directory(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn tell(report: &OpenReport) {
    info!(
        blocks = report.blocks,
        replayed = report.replayed_writes,
        torn_bytes = report.torn_bytes,
        "the store is open"
    );
    for quarantined in &report.quarantined {
        warn!(block = quarantined.block, reason = quarantined.reason, "a block is left out of all answers");
    }
    if report.rejected_records > 0 {
        warn!(records = report.rejected_records, "records that no longer decode were kept aside in rejected/");
    }
    if report.damaged_bytes > 0 {
        warn!(bytes = report.damaged_bytes, "the write-ahead log is damaged in places; what is whole was read");
    }
    for warning in &report.warnings {
        warn!("{warning}");
    }
}

/// The store's housekeeping, on a thread of its own because it writes blocks.
struct Maintenance {
    stop: mpsc::SyncSender<()>,
    thread: thread::JoinHandle<()>,
}

impl Maintenance {
    fn start(store: Arc<Store>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("maintenance".to_owned()).spawn(move || {
            while stopped.recv_timeout(MAINTENANCE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = store.maintain() {
                    warn!(%error, "the store could not do its housekeeping; it will try again");
                }
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Waits for the round that is under way.
    fn stop(self) {
        // a thread that has ended already needs no word
        let _ = self.stop.try_send(());
        if self.thread.join().is_err() {
            error!("the maintenance thread ended badly");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    #[test]
    fn it_listens_on_this_machine_only_unless_told_otherwise() {
        let addresses = |arguments: &[&str]| -> Vec<String> {
            listen_options(&flags::of(arguments), None).into_iter().map(|options| options.address).collect()
        };
        assert_eq!(addresses(&[]), ["127.0.0.1:7070"]);
        assert_eq!(addresses(&["--http-address=:7070"]), [":7070"]);
        assert_eq!(addresses(&["--port=:9090"]), [":9090"]);
        assert_eq!(addresses(&["--http-address=:7994", "--grpc-address=:7993"]), [":7994", ":7993"]);
    }

    #[test]
    fn a_certificate_needs_its_key_and_a_file_that_is_there() {
        let refused = |arguments: &[&str]| match tls(&flags::of(arguments), &mut Registry::default()) {
            Err(Exit::Configuration(message)) => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused(&["--tls-cert-file=a.crt"]), "--tls-cert-file needs --tls-key-file");
        assert_eq!(refused(&["--tls-key-file=a.key"]), "--tls-key-file needs --tls-cert-file");
        let missing = refused(&["--tls-cert-file=/no/such.crt", "--tls-key-file=/no/such.key"]);
        assert!(missing.starts_with("cannot use /no/such.crt for TLS: "), "{missing}");
        assert!(matches!(tls(&flags::of(&[]), &mut Registry::default()), Ok(None)));
    }

    #[test]
    fn a_prefix_has_one_slash_in_front_and_none_at_the_end() {
        for (given, wanted) in [("", ""), ("/", ""), ("parca", "/parca"), ("/a/b/", "/a/b")] {
            assert_eq!(prefix(&flags::of(&[&format!("--path-prefix={given}")])), wanted, "{given}");
        }
    }

    #[test]
    fn memory_bounds_scale_with_what_is_asked_for() {
        let usual = StoreOptions::default();
        let halved = store_options(&flags::of(&["--storage-active-memory=268435456"]));
        assert_eq!(store_options(&flags::of(&[])).head_bytes_max, usual.head_bytes_max);
        assert_eq!(halved.memory_bytes * 2, usual.memory_bytes);
        assert_eq!(halved.head_cut_bytes * 2, usual.head_cut_bytes);
        assert!(store_options(&flags::of(&["--storage-active-memory=-1"])).memory_bytes > 0);
    }

    #[test]
    fn a_directory_in_use_and_one_that_cannot_be_written_are_told_in_one_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = |root: &Path| {
            let environment = Environment::local(root).map_err(|error| error.to_string())?;
            let replay = Arc::new(Replay::new(ServerOptions::default().ingest));
            Store::open(StoreOptions::default(), environment, replay).map_err(|error| error.to_string())
        };
        let first = open(directory.path()).expect("the first opens it");
        let second = open(directory.path()).map(drop).expect_err("the second does not");
        assert!(second.contains("in use") && second.lines().count() == 1, "{second}");
        drop(first);
        let file = directory.path().join("a-file");
        std::fs::write(&file, "x").expect("written");
        let refused = open(&file.join("below")).map(drop).expect_err("not a directory");
        assert!(refused.contains("a-file") && refused.lines().count() == 1, "{refused}");
    }
}
