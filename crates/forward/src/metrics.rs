//! What is counted of messages that are handed on.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::forwarder::Method;
use crate::spool::SpoolStatus;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    grpc_method: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    grpc_method: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabels {
    grpc_code: &'static str,
}

/// Cheap to clone; clones count together.
#[derive(Clone, Default)]
pub struct Metrics {
    messages: Family<MessageLabels, Counter>,
    failures: Family<CodeLabels, Counter>,
    not_taken: Counter,
    not_kept: Family<MethodLabels, Counter>,
    waiting: Gauge,
    waiting_bytes: Gauge,
    disk_bytes: Gauge,
    lost_bytes: Gauge,
    oldest: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Rows of all methods exist from the start.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for method in Method::ALL {
            for result in ["sent", "refused"] {
                drop(metrics.messages.get_or_create(&MessageLabels { grpc_method: method.name(), result }));
            }
            drop(metrics.not_kept.get_or_create(&MethodLabels { grpc_method: method.name() }));
        }
        let registry = registry.sub_registry_with_prefix("decima_forward");
        registry.register("messages", "Messages that the server took, or refused for good", metrics.messages.clone());
        registry.register(
            "attempt_failures",
            "Attempts that the server did not take, by code",
            metrics.failures.clone(),
        );
        registry.register("messages_not_taken", "Messages that found no room in the buffer", metrics.not_taken.clone());
        let help = "Messages refused for good of which no copy could be kept";
        registry.register("messages_not_kept", help, metrics.not_kept.clone());
        registry.register("buffer_messages", "Messages that wait in the buffer", metrics.waiting.clone());
        registry.register("buffer_bytes", "Bytes of messages that wait in the buffer", metrics.waiting_bytes.clone());
        registry.register("buffer_disk_bytes", "Bytes that the buffer takes on disk", metrics.disk_bytes.clone());
        let help = "Bytes of the buffer that were passed over since the start: a torn end, or damage";
        registry.register("buffer_lost_bytes", help, metrics.lost_bytes.clone());
        let help = "When the message that is handed on next came in, in seconds since the epoch; 0 when none waits";
        registry.register("oldest_timestamp_seconds", help, metrics.oldest.clone());
        metrics
    }

    pub(crate) fn sent(&self, method: Method) {
        self.messages.get_or_create(&MessageLabels { grpc_method: method.name(), result: "sent" }).inc();
    }

    /// `method` by its name, or what stands for one that is not known.
    pub(crate) fn refused(&self, grpc_method: &'static str) {
        self.messages.get_or_create(&MessageLabels { grpc_method, result: "refused" }).inc();
    }

    /// `method` as there.
    pub(crate) fn not_kept(&self, grpc_method: &'static str) {
        self.not_kept.get_or_create(&MethodLabels { grpc_method }).inc();
    }

    #[cfg(test)]
    pub(crate) fn not_kept_in_all(&self) -> u64 {
        let names = Method::ALL.map(Method::name).into_iter().chain(["unknown"]);
        names.map(|grpc_method| self.not_kept.get_or_create(&MethodLabels { grpc_method }).get()).sum()
    }

    pub(crate) fn failed(&self, code: Code) {
        self.failures.get_or_create(&CodeLabels { grpc_code: code_name(code) }).inc();
    }

    pub(crate) fn not_taken(&self) {
        self.not_taken.inc();
    }

    /// ns since the epoch
    pub(crate) fn oldest(&self, time: i64) {
        self.oldest.set(time as f64 / 1e9);
    }

    pub(crate) fn show(&self, status: &SpoolStatus) {
        let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.waiting.set(whole(status.entries));
        self.waiting_bytes.set(whole(status.bytes));
        self.disk_bytes.set(whole(status.disk_bytes));
        self.lost_bytes.set(whole(status.lost_bytes));
    }
}

/// As grpc-go spells it, in metrics and in messages.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}
