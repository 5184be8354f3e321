//! Operations on buckets, under the names that Parca's object store has.

use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::{Kind, StoreError};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    bucket: String,
    operation: &'static str,
}

/// Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Metrics {
    bucket: String,
    operations: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, fn() -> Histogram>,
}

const OPERATIONS: [&str; 6] = ["delete", "exists", "get", "get_range", "iter", "upload"];

/// From a local file to an upload of gigabytes.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.01, 0.1, 0.3, 0.6, 1.0, 3.0, 6.0, 9.0, 20.0, 30.0, 60.0, 90.0, 120.0])
}

impl Metrics {
    /// Counts, and shows it to nobody: for tools that serve no metrics.
    pub fn unregistered(bucket: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            operations: Family::default(),
            failures: Family::default(),
            seconds: Family::new_with_constructor(seconds),
        }
    }

    /// `bucket` names it in every row. All rows exist from the start.
    pub fn register(registry: &mut Registry, bucket: &str) -> Self {
        let metrics = Self::unregistered(bucket);
        let mut add = |name: &str, help: &str, family: &Family<Labels, Counter>| {
            registry.register(format!("objstore_bucket_{name}"), help, family.clone());
        };
        add("operations", "Operations on the bucket", &metrics.operations);
        add("operation_failures", "Operations on the bucket that failed", &metrics.failures);
        let help = "Seconds of operations on the bucket that succeeded";
        registry.register("objstore_bucket_operation_duration_seconds", help, metrics.seconds.clone());
        for operation in OPERATIONS {
            let labels = Labels { bucket: metrics.bucket.clone(), operation };
            drop(metrics.operations.get_or_create(&labels));
            drop(metrics.failures.get_or_create(&labels));
            drop(metrics.seconds.get_or_create(&labels));
        }
        metrics
    }

    pub(crate) fn start(&self, operation: &'static str) -> Call {
        let labels = Labels { bucket: self.bucket.clone(), operation };
        self.operations.get_or_create(&labels).inc();
        Call { metrics: self.clone(), labels, started: Instant::now() }
    }
}

/// One operation under way.
pub(crate) struct Call {
    metrics: Metrics,
    labels: Labels,
    started: Instant,
}

impl Call {
    /// That a name is free or taken is an answer, not a failure.
    pub(crate) fn end<T>(self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        match &result {
            Err(error) if !matches!(error.kind, Kind::NotFound | Kind::AlreadyExists) => self.fail(),
            _ => {
                let seconds = self.started.elapsed().as_secs_f64();
                self.metrics.seconds.get_or_create(&self.labels).observe(seconds);
            }
        }
        result
    }

    pub(crate) fn fail(&self) {
        self.metrics.failures.get_or_create(&self.labels).inc();
    }
}
