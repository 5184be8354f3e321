//! What the scraper counts. Names that begin with `parca_` are Parca's, with its labels.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::fetch::Reason;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IntervalLabel {
    interval: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScrapeJobLabel {
    scrape_job: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabel {
    job: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    job: String,
    reason: &'static str,
}

/// Cheap to clone; the clones count together.
#[derive(Clone)]
pub(crate) struct Metrics {
    interval_length: Family<IntervalLabel, Histogram, fn() -> Histogram>,
    sync_length: Family<ScrapeJobLabel, Histogram, fn() -> Histogram>,
    syncs: Family<ScrapeJobLabel, Counter>,
    samples: Counter,
    scrapes: Family<JobLabel, Counter>,
    failures: Family<FailureLabels, Counter>,
    duration: Family<JobLabel, Histogram, fn() -> Histogram>,
    body_bytes: Family<JobLabel, Counter>,
    targets: Family<JobLabel, Gauge>,
}

/// From a fast endpoint to a CPU profile of a minute.
fn seconds_histogram() -> Histogram {
    Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0])
}

/// Making targets of groups takes microseconds to milliseconds.
fn sync_histogram() -> Histogram {
    Histogram::new([0.0001, 0.001, 0.01, 0.1, 1.0])
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            interval_length: Family::new_with_constructor(seconds_histogram),
            sync_length: Family::new_with_constructor(sync_histogram),
            syncs: Family::default(),
            samples: Counter::default(),
            scrapes: Family::default(),
            failures: Family::default(),
            duration: Family::new_with_constructor(seconds_histogram),
            body_bytes: Family::default(),
            targets: Family::default(),
        };
        registry.register_with_unit(
            "parca_target_interval_length",
            "Actual intervals between scrapes",
            Unit::Seconds,
            metrics.interval_length.clone(),
        );
        registry.register_with_unit(
            "parca_target_sync_length",
            "Actual interval to sync the scrape pool",
            Unit::Seconds,
            metrics.sync_length.clone(),
        );
        registry.register(
            "parca_target_scrape_pool_sync",
            "Total number of syncs that were executed on a scrape pool",
            metrics.syncs.clone(),
        );
        registry.register("parca_target_samples", "Total number of samples that were scraped", metrics.samples.clone());
        registry.register("decima_scrape", "Scrapes begun, by job", metrics.scrapes.clone());
        registry.register("decima_scrape_failures", "Scrapes failed, by job and reason", metrics.failures.clone());
        registry.register_with_unit(
            "decima_scrape_duration",
            "Time from the request to the stored profile, failed scrapes included",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register_with_unit(
            "decima_scrape_body",
            "Bytes of profiles received from targets",
            Unit::Bytes,
            metrics.body_bytes.clone(),
        );
        registry.register("decima_scrape_targets", "Targets being scraped, by job", metrics.targets.clone());
        metrics
    }

    pub(crate) fn synced(&self, job: &str, took: Duration, targets: usize) {
        let label = ScrapeJobLabel { scrape_job: job.to_owned() };
        self.sync_length.get_or_create(&label).observe(took.as_secs_f64());
        self.syncs.get_or_create(&label).inc();
        self.targets.get_or_create(&job_label(job)).set(i64::try_from(targets).unwrap_or(i64::MAX));
    }

    /// `since_last` is the time between the begins of two scrapes of one target, `interval` as Go prints it.
    pub(crate) fn begun(&self, job: &str, interval: &str, since_last: Option<Duration>) {
        self.scrapes.get_or_create(&job_label(job)).inc();
        if let Some(since_last) = since_last {
            let label = IntervalLabel { interval: interval.to_owned() };
            self.interval_length.get_or_create(&label).observe(since_last.as_secs_f64());
        }
    }

    pub(crate) fn received(&self, job: &str, bytes: usize) {
        self.body_bytes.get_or_create(&job_label(job)).inc_by(bytes as u64);
    }

    pub(crate) fn stored(&self, samples: u64) {
        self.samples.inc_by(samples);
    }

    pub(crate) fn failed(&self, job: &str, reason: Reason) {
        self.failures.get_or_create(&FailureLabels { job: job.to_owned(), reason: reason.name() }).inc();
    }

    pub(crate) fn ended(&self, job: &str, took: Duration) {
        self.duration.get_or_create(&job_label(job)).observe(took.as_secs_f64());
    }
}

fn job_label(job: &str) -> JobLabel {
    JobLabel { job: job.to_owned() }
}
