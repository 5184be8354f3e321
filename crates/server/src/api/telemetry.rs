//! Crash reports of agents: told in the log, kept nowhere.

use tonic::{Request, Response, Status};

use super::profile_store::address;
use crate::proto::parca::telemetry::v1alpha1::telemetry_service_server::TelemetryService;
use crate::proto::parca::telemetry::v1alpha1::{ReportPanicRequest, ReportPanicResponse};

/// Of a report that go into the log: a Go panic tells what matters in its first lines.
const STDERR_BYTES_MAX: usize = 8 << 10;
const METADATA_MAX: usize = 32;

pub(crate) struct TelemetryApi;

#[tonic::async_trait]
impl TelemetryService for TelemetryApi {
    async fn report_panic(
        &self,
        request: Request<ReportPanicRequest>,
    ) -> Result<Response<ReportPanicResponse>, Status> {
        let sender = address(&request);
        let ReportPanicRequest { stderr, metadata } = request.into_inner();
        let stderr = &stderr[..stderr.floor_char_boundary(STDERR_BYTES_MAX)];
        let mut pairs: Vec<String> =
            metadata.iter().take(METADATA_MAX).map(|(key, value)| format!("{key}={value}")).collect();
        pairs.sort();
        let metadata = pairs.join(" ");
        let metadata = &metadata[..metadata.floor_char_boundary(STDERR_BYTES_MAX)];
        tracing::warn!(sender, stderr, metadata, "an agent reports that it crashed");
        Ok(Response::new(ReportPanicResponse {}))
    }
}
