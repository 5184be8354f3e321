//! The loop against targets on loopback that behave, and that do not.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use profile::pprof::{Ids, Limits, Pprof, Scratch, decode, encode};
use prometheus_client::registry::Registry;
use scrape::{Config, Handle, Health, Options, Scraped, Scraper, Sink, SinkError, TargetState, TargetStatus, Written};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// As no test takes longer than this, a loop that never ends is a failure and not a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the sink of a test does with a profile.
#[derive(Clone)]
pub(super) enum Behaviour {
    Accept,
    Refuse(SinkError),
    Hang,
    /// Tells that a write has begun, and ends it when told.
    Wait {
        begun: Arc<Notify>,
        go_on: Arc<Notify>,
    },
    PanicOnce(Arc<AtomicUsize>),
}

#[derive(Clone)]
pub(super) struct Recorder {
    behaviour: Behaviour,
    written: Arc<Mutex<Vec<Scraped>>>,
}

impl Recorder {
    fn new(behaviour: Behaviour) -> Self {
        Self { behaviour, written: Arc::default() }
    }

    pub(super) fn written(&self) -> Vec<Scraped> {
        self.written.lock().unwrap().clone()
    }
}

impl Sink for Recorder {
    async fn write(&self, scrape: Scraped) -> Result<Written, SinkError> {
        match &self.behaviour {
            Behaviour::Accept => {}
            Behaviour::Refuse(error) => return Err(error.clone()),
            Behaviour::Hang => std::future::pending().await,
            Behaviour::Wait { begun, go_on } => {
                begun.notify_one();
                go_on.notified().await;
            }
            Behaviour::PanicOnce(calls) => {
                assert!(calls.fetch_add(1, Ordering::SeqCst) > 0, "the sink of this test panics once");
            }
        }
        self.written.lock().unwrap().push(scrape);
        Ok(Written { samples: 7 })
    }
}

/// A running scraper of one job, and what it writes to.
pub(super) struct Running {
    handle: Handle,
    sink: Recorder,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    registry: Registry,
}

async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

/// One job that scrapes `/profile` as `custom` every 50 ms, with a timeout that only a target that hangs meets.
pub(super) fn job(address: SocketAddr, more: &str) -> Config {
    let yaml = format!(
        "object_storage: {{bucket: {{type: FILESYSTEM, config: {{directory: x}}}}}}
scrape_configs:
- job_name: test
  scrape_interval: 50ms
  scrape_timeout: 10s
  static_configs: [{{targets: ['{address}'], labels: {{team: blue}}}}]
  profiling_config:
    pprof_config:
      memory: {{enabled: false}}
      block: {{enabled: false}}
      goroutine: {{enabled: false}}
      mutex: {{enabled: false}}
      process_cpu: {{enabled: false}}
      custom: {{enabled: true, path: /profile}}
{more}"
    );
    Config::load(yaml.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// With a timeout that a test can wait for.
fn impatient(mut config: Config) -> Config {
    config.scrape_configs[0].scrape_timeout = Duration::from_millis(300);
    config
}

pub(super) fn start(config: Config, behaviour: Behaviour, bounds: impl FnOnce(&mut Options)) -> Running {
    let sink = Recorder::new(behaviour);
    let mut options = Options::new(config.scrape_configs, "test");
    bounds(&mut options);
    let mut registry = Registry::default();
    let scraper = Scraper::new(options, sink.clone(), &mut registry).unwrap();
    let handle = scraper.handle();
    let stop = CancellationToken::new();
    let task = tokio::spawn(scraper.run(stop.clone()));
    Running { handle, sink, stop, task, registry }
}

impl Running {
    fn only_target(&self) -> TargetStatus {
        let mut targets = self.handle.targets(TargetState::Active);
        targets.remove("test").unwrap().remove(0)
    }

    /// The first state of the only target for which `wanted` holds.
    pub(super) async fn target_where(&self, wanted: impl Fn(&TargetStatus) -> bool) -> TargetStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let target = self.only_target();
            if wanted(&target) {
                return target;
            }
            assert!(Instant::now() < deadline, "still {target:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }

    pub(super) async fn stop(self) -> Recorder {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the scraper stops").unwrap();
        self.sink
    }
}

/// Scrapes a target that answers like `handler`, and gives the error that users see.
async fn error_of<F, R>(handler: impl Fn() -> F + Clone + Send + Sync + 'static) -> String
where
    F: Future<Output = R> + Send,
    R: IntoResponse + 'static,
{
    let address = serve(Router::new().route("/profile", get(handler))).await;
    let running = start(job(address, ""), Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    let sink = running.stop().await;
    assert!(sink.written().is_empty(), "nothing was stored");
    target.last_error.unwrap()
}

fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

#[tokio::test]
async fn a_profile_reaches_the_sink_with_its_labels() {
    let agents: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = agents.clone();
    let handler = move |headers: HeaderMap| async move {
        seen.lock().unwrap().push(headers[header::USER_AGENT].to_str().unwrap().to_owned());
        assert!(!headers.contains_key(header::ACCEPT_ENCODING));
        "a profile"
    };
    let address = serve(Router::new().route("/profile", get(handler))).await;
    let before = SystemTime::now();
    let running = start(job(address, "  normalized_addresses: true"), Behaviour::Accept, |_| {});
    assert_eq!(running.only_target().health, Health::Unknown);

    let target = running.target_where(|target| target.health == Health::Up).await;
    assert_eq!(target.url, format!("http://{address}/profile"));
    assert_eq!(target.last_error, None);
    assert!(target.last_scrape.unwrap() >= before);
    assert!(target.last_scrape_duration > Duration::ZERO);
    let address = address.to_string();
    let labels: Vec<(&str, &str)> = target.labels.iter().collect();
    assert_eq!(labels, [("instance", address.as_str()), ("job", "test"), ("team", "blue")]);
    assert_eq!(target.discovered_labels.get("__address__"), Some(address.as_str()));
    assert_eq!(target.discovered_labels.get("instance"), None);

    let metrics = running.metrics();
    for line in ["parca_target_samples_total 7", "decima_scrape_targets{job=\"test\"} 1"] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let scraped = running.stop().await.written().remove(0);
    assert_eq!(scraped.body, "a profile");
    assert!(scraped.normalized_addresses);
    assert!(scraped.receive_time_ns > 1_600_000_000_000_000_000);
    let labels: Vec<(&str, &str)> = scraped.labels.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(
        labels,
        [("__name__", "custom"), ("instance", address.as_str()), ("job", "test"), ("team", "blue")],
        "sorted by name"
    );
    assert_eq!(agents.lock().unwrap()[0], "decima/test");
}

#[tokio::test]
async fn a_target_that_hangs_times_out() {
    let address = serve(Router::new().route("/profile", get(std::future::pending::<&str>))).await;
    let running = start(impatient(job(address, "")), Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["/profile", "did not send", "scrape timeout of 300ms"]);
    running.stop().await;
}

#[tokio::test]
async fn a_profile_longer_than_the_timeout_is_called_so() {
    let address = serve(Router::new().route("/profile", get(std::future::pending::<&str>))).await;
    let mut config = impatient(job(address, ""));
    let profile = config.scrape_configs[0].profiles.get_mut("custom").unwrap();
    (profile.delta, profile.seconds) = (true, 30);
    let running = start(config, Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["/profile?seconds=30", "asked for one of 30s: raise scrape_timeout"]);
    running.stop().await;
}

#[tokio::test]
async fn a_target_that_sends_half_a_profile_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
            held.push(connection);
        }
    });
    let running = start(impatient(job(address, "")), Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["did not send a whole profile", "scrape timeout of 300ms"]);
    running.stop().await;
}

#[tokio::test]
async fn a_web_page_is_called_one() {
    let message = error_of(|| async { axum::response::Html("<!DOCTYPE html><title>Login</title>") }).await;
    assert_says(&message, &["sent a web page", "text/html", "<!DOCTYPE html><title>Login", "check address and path"]);
}

#[tokio::test]
async fn a_status_other_than_200_is_an_error_with_advice() {
    let message = error_of(|| async { (StatusCode::NOT_FOUND, "a profile") }).await;
    assert_says(&message, &["404 Not Found", "/profile", "there is no such profile"]);
    let message = error_of(|| async { StatusCode::INTERNAL_SERVER_ERROR }).await;
    assert_says(&message, &["server returned HTTP status 500 Internal Server Error"]);
    let message = error_of(|| async { (StatusCode::ACCEPTED, "a profile") }).await;
    assert_says(&message, &["202 Accepted"]);
    let message = error_of(|| async { StatusCode::UNAUTHORIZED }).await;
    assert_says(&message, &["401 Unauthorized", "credentials"]);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let followed = Arc::new(AtomicUsize::new(0));
    let counter = followed.clone();
    let router = Router::new().route("/profile", get(|| async { Redirect::temporary("/elsewhere") })).route(
        "/elsewhere",
        get(move || async move {
            counter.fetch_add(1, Ordering::SeqCst);
            "a profile"
        }),
    );
    let running = start(job(serve(router).await, ""), Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["307", "redirects to \"/elsewhere\" are not followed"]);
    running.stop().await;
    assert_eq!(followed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_empty_body_is_an_error() {
    let message = error_of(|| async { "" }).await;
    assert_says(&message, &["/profile", "sent an empty profile"]);
}

#[tokio::test]
async fn a_target_that_nobody_listens_at_is_down() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let running = start(job(address, ""), Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["cannot scrape", "onnection refused"]);
    running.stop().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read_to_its_end() {
    let address = serve(Router::new().route("/profile", get(|| async { vec![b'x'; 4 << 20] }))).await;
    let running = start(job(address, ""), Behaviour::Accept, |options| options.body_max = 1000);
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["/profile", "sent more than 1000 bytes"]);
    assert!(running.metrics().contains("decima_scrape_failures_total{job=\"test\",reason=\"too_large\"}"));
    running.stop().await;
}

#[tokio::test]
async fn all_bodies_together_have_a_limit_and_its_memory_comes_back() {
    let address = serve(Router::new().route("/profile", get(|| async { vec![b'x'; 600] }))).await;
    let too_little = start(job(address, ""), Behaviour::Accept, |options| options.bodies_max = 500);
    let target = too_little.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["all 500 bytes", "scrape fewer targets"]);
    too_little.stop().await;

    // enough for one body at a time: many scrapes fit only if each gives its memory back
    let enough = start(job(address, ""), Behaviour::Accept, |options| options.bodies_max = 1000);
    let deadline = Instant::now() + PATIENCE;
    while enough.sink.written().len() < 4 {
        assert!(Instant::now() < deadline);
        assert_ne!(enough.only_target().health, Health::Down, "{:?}", enough.only_target());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    enough.stop().await;
}

#[tokio::test]
async fn what_the_sink_says_of_garbage_is_shown() {
    let garbage = || async { ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], vec![0x1f, 0x8b, 0xff, 0xff]) };
    let address = serve(Router::new().route("/profile", get(garbage))).await;
    let refusal = Behaviour::Refuse(SinkError::Invalid("bad gzip header".to_owned()));
    let running = start(job(address, ""), refusal, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(
        &target.last_error.unwrap(),
        &["bad gzip header", "/profile", "is not a valid profile", "calls it text/plain"],
    );
    assert!(running.metrics().contains("decima_scrape_failures_total{job=\"test\",reason=\"content\"}"));
    running.stop().await;
}

#[tokio::test]
async fn a_store_that_is_full_is_not_the_targets_fault() {
    let address = serve(Router::new().route("/profile", get(|| async { "a profile" }))).await;
    let full = Behaviour::Refuse(SinkError::Overloaded("the disk is full".to_owned()));
    let running = start(job(address, ""), full, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["cannot store the profile of", "the disk is full"]);
    assert!(running.metrics().contains("reason=\"store\""));
    running.stop().await;
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_after_the_timeout() {
    let address = serve(Router::new().route("/profile", get(|| async { "a profile" }))).await;
    let running = start(impatient(job(address, "")), Behaviour::Hang, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["was not stored within the scrape timeout of 300ms"]);
    assert!(target.last_scrape_duration >= Duration::from_millis(300));
    running.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_sink_costs_one_scrape() {
    let address = serve(Router::new().route("/profile", get(|| async { "a profile" }))).await;
    let running = start(job(address, ""), Behaviour::PanicOnce(Arc::default()), |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["internal error"]);
    running.target_where(|target| target.health == Health::Up).await;
    running.stop().await;
}

#[tokio::test]
async fn an_error_is_forgotten_when_the_target_recovers() {
    let requests = Arc::new(AtomicUsize::new(0));
    let handler = move || {
        let request = requests.fetch_add(1, Ordering::SeqCst);
        async move {
            match request {
                0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                _ => "a profile".into_response(),
            }
        }
    };
    let running = start(job(serve(Router::new().route("/profile", get(handler))).await, ""), Behaviour::Accept, |_| {});
    let down = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&down.last_error.unwrap(), &["503"]);
    let up = running.target_where(|target| target.health == Health::Up).await;
    assert_eq!(up.last_error, None);
    assert!(up.last_scrape > down.last_scrape);
    running.stop().await;
}

#[tokio::test]
async fn a_stop_gives_up_requests_at_once() {
    let begun = Arc::new(Notify::new());
    let seen = begun.clone();
    let handler = move || async move {
        seen.notify_one();
        std::future::pending::<&str>().await
    };
    let address = serve(Router::new().route("/profile", get(handler))).await;
    let mut config = job(address, "");
    config.scrape_configs[0].scrape_timeout = Duration::from_secs(3600);
    let running = start(config, Behaviour::Accept, |_| {});
    tokio::time::timeout(PATIENCE, begun.notified()).await.expect("a request is under way");
    let handle = running.handle.clone();
    // within PATIENCE, far below the timeout
    running.stop().await;
    let target = &handle.targets(TargetState::Active)["test"][0];
    assert_eq!((target.health, &target.last_error), (Health::Unknown, &None), "a stop says nothing of the target");
}

#[tokio::test]
async fn a_stop_waits_for_a_write_that_has_begun() {
    let address = serve(Router::new().route("/profile", get(|| async { "a profile" }))).await;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gate = Behaviour::Wait { begun: begun.clone(), go_on: go_on.clone() };
    let running = start(job(address, ""), gate, |_| {});
    begun.notified().await;
    running.stop.cancel();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!running.task.is_finished(), "the write is under way");
    go_on.notify_one();
    assert_eq!(running.stop().await.written().len(), 1);
}

#[tokio::test]
async fn dropped_targets_are_told_and_not_scraped() {
    let rules = "  relabel_configs: [{source_labels: [team], regex: blue, action: drop}]";
    let address = serve(Router::new().route("/profile", get(|| async { "a profile" }))).await;
    let running = start(job(address, rules), Behaviour::Accept, |_| {});
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(running.handle.targets(TargetState::Active)["test"].is_empty());
    let dropped = running.handle.targets(TargetState::Dropped);
    assert_eq!(dropped, running.handle.targets(TargetState::Any));
    let [target] = dropped["test"].as_slice() else { panic!("{dropped:?}") };
    assert_eq!(target.discovered_labels.get("team"), Some("blue"));
    assert!(target.labels.is_empty());
    assert!(running.stop().await.written().is_empty());
}

#[tokio::test]
async fn a_scheme_that_cannot_be_scraped_is_told_as_the_targets_error() {
    let address = serve(Router::new()).await;
    let running = start(job(address, "  scheme: gopher"), Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["unsupported scheme \"gopher\"", "use http or https"]);
    running.stop().await;
}

/// A profile of one sample with two types.
fn profile_of_two_types() -> Vec<u8> {
    let mut pprof = Pprof::default();
    let mut strings = profile::Strings::with_empty();
    let unit = strings.push(b"bytes");
    pprof.sample_types = [&b"alloc_space"[..], b"inuse_space"].map(|name| (strings.push(name), unit)).to_vec();
    pprof.symbols.strings = strings;
    pprof.stacks.push(&[]);
    pprof.values = vec![100, 7];
    encode(&pprof)
}

fn keep(sample_type: &str) -> String {
    format!("      kept: {{enabled: true, path: /profile, keep_sample_type: [{{type: {sample_type}, unit: bytes}}]}}")
}

#[tokio::test]
async fn only_the_sample_types_to_keep_reach_the_sink() {
    let address = serve(Router::new().route("/profile", get(|| async { profile_of_two_types() }))).await;
    let running = start(job(address, &keep("inuse_space")), Behaviour::Accept, |_| {});
    let deadline = Instant::now() + PATIENCE;
    let is_kept = |scraped: &Scraped| scraped.labels.contains(&("__name__".to_owned(), "kept".to_owned()));
    while !running.sink.written().iter().any(is_kept) {
        assert!(Instant::now() < deadline, "{:?}", running.handle.targets(TargetState::Active));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for scraped in running.stop().await.written() {
        let decoded = decode(&scraped.body, Ids::Unique, &Limits::default(), &mut Scratch::default()).unwrap();
        assert_eq!(decoded.values, if is_kept(&scraped) { vec![7] } else { vec![100, 7] });
    }
}

#[tokio::test]
async fn a_profile_without_a_type_to_keep_says_which_it_has() {
    let address = serve(Router::new().route("/profile", get(|| async { profile_of_two_types() }))).await;
    let mut config = job(address, &keep("inuse_objects"));
    config.scrape_configs[0].profiles.remove("custom");
    let running = start(config, Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(
        &target.last_error.unwrap(),
        &[
            "none of the profile's sample types is in keep_sample_type",
            "alloc_space/bytes, inuse_space/bytes",
            "/profile",
        ],
    );
    running.stop().await;
}

#[tokio::test]
async fn garbage_to_reduce_is_told_like_other_garbage() {
    let address = serve(Router::new().route("/profile", get(|| async { "garbage" }))).await;
    let mut config = job(address, &keep("inuse_objects"));
    config.scrape_configs[0].profiles.remove("custom");
    let running = start(config, Behaviour::Accept, |_| {});
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_says(&target.last_error.unwrap(), &["/profile is not a valid profile", "calls it text/plain"]);
    running.stop().await;
}
