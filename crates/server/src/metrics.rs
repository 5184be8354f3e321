//! The server's own figures. Registered in a registry that the caller passes; nothing here is global.
//!
//! Names are Parca's where there is one, so that its dashboards and alerts go on working.

mod exposition;
mod process;
mod senders;
mod store;

use std::sync::Arc;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::grpc::method::MethodLabels;

pub(crate) use exposition::exposition;
pub(crate) use forward::code_name;
pub(crate) use process::ProcessCollector;
pub(crate) use senders::SenderMetrics;
pub(crate) use store::StoreCollector;

/// Seconds. The bounds that Parca's service-level alerts ask for; upstream itself exposes none but `+Inf`.
const HANDLING_BUCKETS: [f64; 7] = [0.1, 0.3, 0.6, 1.0, 3.0, 5.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RpcLabels {
    grpc_method: String,
    grpc_service: String,
    grpc_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandledLabels {
    grpc_code: &'static str,
    grpc_method: String,
    grpc_service: String,
    grpc_type: &'static str,
}

#[derive(Clone)]
struct HandlingBuckets;

impl MetricConstructor<Histogram> for HandlingBuckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(HANDLING_BUCKETS)
    }
}

/// Counts and times of RPCs.
#[derive(Clone)]
pub(crate) struct RpcMetrics {
    inner: Arc<RpcFamilies>,
}

struct RpcFamilies {
    started: Family<RpcLabels, Counter>,
    handled: Family<HandledLabels, Counter>,
    handling_seconds: Family<RpcLabels, Histogram, HandlingBuckets>,
}

impl RpcMetrics {
    /// Rows of all `methods` exist from the start, so that a rate over them is defined before the first call.
    pub(crate) fn register<'a>(registry: &mut Registry, methods: impl Iterator<Item = &'a MethodLabels>) -> Self {
        let started = Family::<RpcLabels, Counter>::default();
        let handled = Family::<HandledLabels, Counter>::default();
        let handling_seconds = Family::new_with_constructor(HandlingBuckets);
        registry.register("grpc_server_started", "RPCs begun", started.clone());
        registry.register("grpc_server_handled", "RPCs ended, by code", handled.clone());
        registry.register("grpc_server_handling_seconds", "Seconds until an RPC ended", handling_seconds.clone());
        for method in methods {
            let labels = rpc_labels(method);
            drop(started.get_or_create(&labels));
            drop(handled.get_or_create(&handled_labels(&labels, Code::Ok)));
            drop(handling_seconds.get_or_create(&labels));
        }
        Self { inner: Arc::new(RpcFamilies { started, handled, handling_seconds }) }
    }

    pub(crate) fn start(&self, method: &MethodLabels) -> Observation {
        let labels = rpc_labels(method);
        self.inner.started.get_or_create(&labels).inc();
        Observation { metrics: self.clone(), labels, started: Instant::now(), code: None }
    }
}

/// One call under way. Dropped without an end it counts as cancelled: its client went away.
pub(crate) struct Observation {
    metrics: RpcMetrics,
    labels: RpcLabels,
    started: Instant,
    code: Option<Code>,
}

impl Observation {
    pub(crate) fn end(mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let families = &self.metrics.inner;
        let handled = handled_labels(&self.labels, self.code.unwrap_or(Code::Cancelled));
        families.handled.get_or_create(&handled).inc();
        families.handling_seconds.get_or_create(&self.labels).observe(self.started.elapsed().as_secs_f64());
    }
}

fn rpc_labels(method: &MethodLabels) -> RpcLabels {
    RpcLabels {
        grpc_method: method.method.to_string(),
        grpc_service: method.service.to_string(),
        grpc_type: method.kind,
    }
}

fn handled_labels(labels: &RpcLabels, code: Code) -> HandledLabels {
    let RpcLabels { grpc_method, grpc_service, grpc_type } = labels.clone();
    HandledLabels { grpc_code: code_name(code), grpc_method, grpc_service, grpc_type }
}
