//! Uploads counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Metrics {
    uploads: Family<Outcome, Counter>,
    bytes: Counter,
    under_way: Gauge,
}

const OUTCOMES: [&str; 4] = ["received", "too_large", "failed", "given_up"];

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "Debuginfo uploads ended: received, too_large, failed (the bucket), given_up (by the sender)";
        registry.register("decima_debuginfo_uploads", help, metrics.uploads.clone());
        registry.register("decima_debuginfo_received_bytes", "Bytes of debuginfo received", metrics.bytes.clone());
        registry.register(
            "decima_debuginfo_uploads_under_way",
            "Debuginfo uploads under way",
            metrics.under_way.clone(),
        );
        for outcome in OUTCOMES {
            drop(metrics.uploads.get_or_create(&Outcome { outcome }));
        }
        metrics
    }

    pub(super) fn too_large(&self) {
        self.uploads.get_or_create(&Outcome { outcome: "too_large" }).inc();
    }

    pub(super) fn begin(&self) -> Progress {
        self.under_way.inc();
        Progress { metrics: self.clone(), outcome: None }
    }
}

/// One upload; dropped without an end its sender gave it up.
pub(super) struct Progress {
    metrics: Metrics,
    outcome: Option<&'static str>,
}

impl Progress {
    pub(super) fn received(&self, bytes: u64) {
        self.metrics.bytes.inc_by(bytes);
    }

    pub(super) fn end(&mut self, outcome: &'static str) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.metrics.under_way.dec();
        let outcome = self.outcome.unwrap_or("given_up");
        self.metrics.uploads.get_or_create(&Outcome { outcome }).inc();
    }
}
