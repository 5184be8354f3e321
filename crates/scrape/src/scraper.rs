//! The scrape loop: [`Options`] make a [`Scraper`], which owns everything and runs; others hold a [`Handle`].
//!
//! Each target has a task of its own. It begins at a moment of the interval that its URL and labels choose, so that
//! the targets spread over the interval and keep their places over a restart; then it scrapes once per interval. A
//! scrape that takes longer than the interval is followed by the next at once; ticks missed beyond that are left out.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use profile::Labels;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::client::{self, Http, JobClient};
use crate::config::{SampleType, ScrapeConfig};
use crate::fetch::{Body, BodyBudget, Reason, ScrapeError, content_error, fetch};
use crate::keep::{self, KeepError};
use crate::metrics::Metrics;
use crate::sink::{Scraped, Sink, SinkError, Written};
use crate::targets::{Target, label, static_groups, targets};

/// What to scrape, and within which bounds.
#[derive(Clone, Debug)]
pub struct Options {
    /// With unique job names, as [`crate::config::Config::load`] gives them.
    pub jobs: Vec<ScrapeConfig>,
    /// The folder of the configuration file, from which the files are named that a job names. The working directory by default.
    pub directory: PathBuf,
    /// Sent as `User-Agent: decima/<version>`.
    pub version: String,
    /// Bytes of one profile as sent. 64 MiB by default: as much as a profile that is pushed.
    pub body_max: usize,
    /// Bytes of all profiles that are being received and stored at one time. 256 MiB by default.
    pub bodies_max: usize,
}

impl Options {
    pub fn new(jobs: Vec<ScrapeConfig>, version: impl Into<String>) -> Self {
        Self { jobs, directory: PathBuf::new(), version: version.into(), body_max: 64 << 20, bodies_max: 256 << 20 }
    }
}

/// Scrapes until it is told to stop.
pub struct Scraper<S> {
    sink: Arc<S>,
    user_agent: HeaderValue,
    body_max: usize,
    budget: BodyBudget,
    reductions: Arc<Semaphore>,
    metrics: Metrics,
    jobs: Arc<[Job]>,
}

/// Profiles reduced to some of their sample types at one time: each takes the memory of an unpacked profile.
const REDUCTIONS_MAX: usize = 2;

struct Job {
    config: ScrapeConfig,
    client: JobClient,
    active: Vec<Arc<Active>>,
    /// Labels before relabelling.
    dropped: Vec<Labels>,
}

struct Active {
    target: Target,
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    health: Health,
    last_error: Option<String>,
    last_scrape: Option<SystemTime>,
    last_duration: Duration,
}

/// What the last scrape of a target came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    Up,
    Down,
}

/// Which targets to tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    Any,
    Active,
    Dropped,
}

/// One profile of one target, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// Before relabelling, `__*` included.
    pub discovered_labels: Labels,
    /// After relabelling, without `__*`. Empty if a rule has dropped the target.
    pub labels: Labels,
    /// Empty if a rule has dropped the target.
    pub url: String,
    pub health: Health,
    /// Why the last scrape failed; `None` if it did not.
    pub last_error: Option<String>,
    /// When the last scrape that has ended began.
    pub last_scrape: Option<SystemTime>,
    /// How long it took; 0 before the first.
    pub last_scrape_duration: Duration,
}

/// Tells of the targets while a [`Scraper`] runs, and after. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    jobs: Arc<[Job]>,
}

/// The HTTP client could not be made.
#[derive(Debug)]
pub struct BuildError(rustls::Error);

impl std::fmt::Display for BuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot make an HTTP client for scraping: {}", self.0)
    }
}

impl std::error::Error for BuildError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl<S: Sink> Scraper<S> {
    /// Finds the targets of all jobs; a target that cannot be scraped is logged and left out.
    pub fn new(options: Options, sink: S, registry: &mut Registry) -> Result<Self, BuildError> {
        let metrics = Metrics::register(registry);
        let plain = client::plain().map_err(BuildError)?;
        let user_agent = HeaderValue::from_str(&format!("decima/{}", options.version));
        let jobs = options.jobs.into_iter().map(|config| job(config, &options.directory, &plain, &metrics)).collect();
        Ok(Self {
            sink: Arc::new(sink),
            user_agent: user_agent.unwrap_or(HeaderValue::from_static("decima")),
            body_max: options.body_max,
            budget: BodyBudget::new(options.bodies_max),
            reductions: Arc::new(Semaphore::new(REDUCTIONS_MAX)),
            metrics,
            jobs,
        })
    }

    pub fn handle(&self) -> Handle {
        Handle { jobs: Arc::clone(&self.jobs) }
    }

    /// Scrapes until `stop` is cancelled. Then requests are given up, while writes that have begun are waited for, each
    /// at most its job's `scrape_timeout`.
    pub async fn run(self, stop: CancellationToken) {
        let scraper = Arc::new(self);
        let mut loops = JoinSet::new();
        for (job_ix, job) in scraper.jobs.iter().enumerate() {
            for target_ix in 0..job.active.len() {
                let scraper = Arc::clone(&scraper);
                let stop = stop.clone();
                loops.spawn(async move {
                    let job = &scraper.jobs[job_ix];
                    scraper.scrape_until(&stop, job, &job.active[target_ix]).await;
                });
            }
        }
        stop.cancelled().await;
        while loops.join_next().await.is_some() {}
    }

    async fn scrape_until(&self, stop: &CancellationToken, job: &Job, active: &Active) {
        let Job { config: job, client, .. } = job;
        let interval = job.scrape_interval;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = tokio::time::Instant::now() + delay(&active.target, interval, since_epoch);
        let mut ticks = tokio::time::interval_at(start, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let interval_text = crate::go::duration(interval);

        let mut last_begin: Option<Instant> = None;
        while or_stopped(stop, ticks.tick()).await.is_some() {
            let begin = Instant::now();
            let since_last = last_begin.map(|last| begin - last);
            last_begin = Some(begin);
            self.metrics.begun(&job.job_name, &interval_text, since_last);

            let now = SystemTime::now();
            // a stop says nothing about the target: its state stays as it is
            let Some(outcome) = self.scrape_once(stop, job, client, &active.target, now).await else { return };
            let took = begin.elapsed();
            self.metrics.ended(&job.job_name, took);
            let mut state = active.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.last_scrape = Some(now);
            state.last_duration = took;
            match outcome {
                Ok(written) => {
                    self.metrics.stored(written.samples);
                    if state.health == Health::Down {
                        info!(job = %job.job_name, url = %active.target.url, "scrape succeeds again");
                    }
                    state.health = Health::Up;
                    state.last_error = None;
                }
                Err(error) => {
                    self.metrics.failed(&job.job_name, error.reason);
                    // once per change: a target that is down for a day is one line
                    if state.health != Health::Down {
                        warn!(job = %job.job_name, url = %active.target.url, %error, "scrape failed");
                    } else {
                        debug!(job = %job.job_name, url = %active.target.url, %error, "scrape failed again");
                    }
                    state.health = Health::Down;
                    state.last_error = Some(error.message);
                }
            }
        }
    }

    /// `None` if the request was given up because of `stop`.
    async fn scrape_once(
        &self,
        stop: &CancellationToken,
        job: &ScrapeConfig,
        client: &JobClient,
        target: &Target,
        now: SystemTime,
    ) -> Option<Result<Written, ScrapeError>> {
        let timeout = job.scrape_timeout;
        let request = fetch(client, &self.user_agent, &target.url, self.body_max, &self.budget);
        let fetched = or_stopped(stop, tokio::time::timeout(timeout, request)).await?;
        let body = match fetched {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Some(Err(error)),
            Err(_) => return Some(Err(timeout_error(&target.url, timeout))),
        };
        self.metrics.received(&job.job_name, body.bytes.len());
        Some(self.write(job, target, body, now).await)
    }

    async fn write(
        &self,
        job: &ScrapeConfig,
        target: &Target,
        body: Body,
        now: SystemTime,
    ) -> Result<Written, ScrapeError> {
        let Body { bytes, content_type, lease } = body;
        let mut scraped = Scraped {
            job: job.job_name.clone(),
            labels: stored_labels(target),
            body: bytes,
            receive_time_ns: nanos_since_epoch(now),
            normalized_addresses: job.normalized_addresses,
        };
        let (sink, reductions) = (Arc::clone(&self.sink), Arc::clone(&self.reductions));
        let (url, keep) = (target.url.clone(), target.keep_sample_types.clone());
        // a task of its own: a panic in the sink costs this scrape, not the target's loop
        let mut writing = JoinSet::new();
        writing.spawn(async move {
            let _lease = lease;
            if !keep.is_empty() {
                scraped.body = reduce(reductions, scraped.body, keep, &url, &content_type).await?;
            }
            sink.write(scraped).await.map_err(|error| sink_error(&url, &content_type, error))
        });
        match tokio::time::timeout(job.scrape_timeout, writing.join_next()).await {
            Ok(Some(Ok(outcome))) => outcome,
            Ok(Some(Err(_)) | None) => Err(internal_error(&target.url)),
            Err(_) => {
                let message = format!(
                    "the profile of {} was not stored within the scrape timeout of {}: the store is too slow",
                    target.url,
                    crate::duration::format(job.scrape_timeout)
                );
                Err(ScrapeError::new(Reason::Store, message))
            }
        }
    }
}

impl Handle {
    /// By job, in the order of the configuration's names; each job is there, even without targets. Active targets
    /// come before dropped ones and are sorted by URL.
    pub fn targets(&self, wanted: TargetState) -> BTreeMap<String, Vec<TargetStatus>> {
        let statuses = |job: &Job| {
            let active = job.active.iter().filter(|_| wanted != TargetState::Dropped).map(|active| active.status());
            let dropped = job.dropped.iter().filter(|_| wanted != TargetState::Active).map(dropped_status);
            active.chain(dropped).collect()
        };
        self.jobs.iter().map(|job| (job.config.job_name.clone(), statuses(job))).collect()
    }
}

impl Active {
    fn status(&self) -> TargetStatus {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TargetStatus {
            discovered_labels: self.target.discovered_labels.clone(),
            labels: self.target.labels(),
            url: self.target.url.clone(),
            health: state.health,
            last_error: state.last_error,
            last_scrape: state.last_scrape,
            last_scrape_duration: state.last_duration,
        }
    }
}

fn dropped_status(discovered_labels: &Labels) -> TargetStatus {
    TargetStatus {
        discovered_labels: discovered_labels.clone(),
        labels: Labels::default(),
        url: String::new(),
        health: Health::Unknown,
        last_error: None,
        last_scrape: None,
        last_scrape_duration: Duration::ZERO,
    }
}

fn job(config: ScrapeConfig, directory: &Path, plain: &Http, metrics: &Metrics) -> Job {
    let begin = Instant::now();
    let found = targets(&config, &static_groups(&config.static_configs));
    for error in &found.errors {
        warn!(job = %config.job_name, %error, "target left out");
    }
    metrics.synced(&config.job_name, begin.elapsed(), found.active.len());
    let active = found.active.into_iter().map(|target| Arc::new(Active { target, state: Mutex::default() })).collect();
    let client = JobClient::new(config.tls.as_ref(), directory, plain);
    Job { config, client, active, dropped: found.dropped }
}

fn timeout_error(url: &str, timeout: Duration) -> ScrapeError {
    let mut message =
        format!("{url} did not send a whole profile within the scrape timeout of {}", crate::duration::format(timeout));
    let asked = url.rsplit(['?', '&']).find_map(|param| param.strip_prefix("seconds=")?.parse().ok());
    if let Some(asked) = asked.map(Duration::from_secs).filter(|asked| *asked >= timeout) {
        let asked = crate::duration::format(asked);
        message.push_str(&format!(", as it was asked for one of {asked}: raise scrape_timeout or lower seconds"));
    }
    ScrapeError::new(Reason::Timeout, message)
}

/// Applies `keep_sample_type`, on a thread where it may take its time.
async fn reduce(
    reductions: Arc<Semaphore>,
    body: Bytes,
    keep: Vec<SampleType>,
    url: &str,
    content_type: &str,
) -> Result<Bytes, ScrapeError> {
    // the semaphore is never closed; the permit goes where the memory is taken
    let permit = reductions.acquire_owned().await;
    let reducing = tokio::task::spawn_blocking(move || {
        let _permit = permit;
        keep::sample_types(&body, &keep)
    });
    match reducing.await {
        Ok(Ok(reduced)) => Ok(reduced),
        Ok(Err(KeepError::Defect(defect))) => Err(content_error(url, content_type, &defect.to_string())),
        Ok(Err(error @ KeepError::NothingKept(_))) => {
            Err(ScrapeError::new(Reason::SampleTypes, format!("{error}, as {url} sent it")))
        }
        Err(_) => Err(internal_error(url)),
    }
}

fn sink_error(url: &str, content_type: &str, error: SinkError) -> ScrapeError {
    match error {
        SinkError::Invalid(message) => content_error(url, content_type, &message),
        SinkError::Overloaded(message) | SinkError::Failed(message) => {
            ScrapeError::new(Reason::Store, format!("cannot store the profile of {url}: {message}"))
        }
    }
}

/// After a panic, which the log shows.
fn internal_error(url: &str) -> ScrapeError {
    let message = format!("storing the profile of {url} failed with an internal error, see the log");
    ScrapeError::new(Reason::Store, message)
}

/// The public labels and `__name__`, sorted by name.
fn stored_labels(target: &Target) -> Vec<(String, String)> {
    let is_stored = |name: &str| name == label::NAME || !name.starts_with(label::RESERVED_PREFIX);
    let stored = target.all_labels.iter().filter(|(name, _)| is_stored(name));
    stored.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// How long to wait for a target's moment in the interval. `since_epoch` is now.
fn delay(target: &Target, interval: Duration, since_epoch: Duration) -> Duration {
    let interval = interval.as_nanos().max(1);
    let moment = u128::from(target_hash(target)) % interval;
    let now = since_epoch.as_nanos() % interval;
    let nanos = (moment + interval - now) % interval;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// FNV-1a of the URL and all labels, mixed: the same after a restart.
fn target_hash(target: &Target) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let texts = target.all_labels.iter().flat_map(|(name, value)| [name, value]);
    for text in std::iter::once(target.url.as_str()).chain(texts) {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    // FNV's high bits change little with the last bytes, where addresses differ
    hash ^= hash >> 32;
    hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 29
}

fn nanos_since_epoch(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// `None` if `stop` was cancelled before `future` was ready.
///
/// Cancel safe if `future` is.
async fn or_stopped<T>(stop: &CancellationToken, future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        value = future => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn target(url: &str) -> Target {
        Target {
            url: url.to_owned(),
            all_labels: Labels::default(),
            discovered_labels: Labels::default(),
            keep_sample_types: Vec::new(),
        }
    }

    #[test]
    fn a_target_keeps_its_moment_of_the_interval() {
        let interval = Duration::from_secs(10);
        for url in ["http://a/", "http://b/"] {
            let moments: BTreeSet<u128> = [0, 1, 9_999_999_999, 10_000_000_000, 1_234_567_890_123]
                .map(Duration::from_nanos)
                .into_iter()
                .map(|now| {
                    let wait = delay(&target(url), interval, now);
                    assert!(wait < interval);
                    (now + wait).as_nanos() % interval.as_nanos()
                })
                .collect();
            assert_eq!(moments.len(), 1, "{moments:?}");
        }
    }

    #[test]
    fn targets_spread_over_the_interval() {
        let interval = Duration::from_secs(10);
        let mut tenths = [0; 10];
        for host in 0..1000 {
            let wait = delay(&target(&format!("http://10.0.0.{host}:80/debug/pprof/allocs")), interval, Duration::ZERO);
            tenths[wait.as_secs() as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (50..200).contains(count)), "{tenths:?}");
    }
}
