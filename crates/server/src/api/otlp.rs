//! OTLP's `ProfilesService`. Its message is handed on as bytes: only `ingest` can tell by which version of the protocol they were
//! written, and generated code of one version misreads the others.

use axum::body::Body;
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::BodyExt;
use profile::pprof::{DefectKind, Limits, unpack};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder};
use tonic::server::UnaryService;

use super::{Agents, Pushing, deadline};
use crate::api::profile_store::address;
use crate::proto::opentelemetry::proto::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceResponse,
};
use crate::writer::{Format, Incoming, Writer};

pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

const GRPC_ENCODING: &str = "grpc-encoding";

/// Of a message: a flag and its length.
const PREFIX_BYTES: usize = 5;

/// How what zstd has packed begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[derive(Clone)]
pub(crate) struct OtlpApi {
    pub(crate) writer: Writer,
    pub(crate) agents: Agents,
    pub(crate) message_bytes_max: usize,
}

impl OtlpApi {
    /// The answer to a call of [`EXPORT`].
    pub(crate) async fn answer(self, request: Request<Body>) -> Response {
        let request = match without_zstd(request, self.message_bytes_max).await {
            Ok(request) => request,
            Err(status) => return status.into_http(),
        };
        let mut gzip = EnabledCompressionEncodings::default();
        gzip.enable(CompressionEncoding::Gzip);
        let max = Some(self.message_bytes_max);
        let mut grpc = tonic::server::Grpc::new(Export)
            .apply_compression_config(gzip, EnabledCompressionEncodings::default())
            .apply_max_message_size_config(max, None);
        grpc.unary(self, request).await.map(Body::new)
    }

    async fn export(self, request: tonic::Request<Bytes>) -> Result<ExportProfilesServiceResponse, Status> {
        let pushing = Pushing::begin(&request, "otlp");
        let (deadline, address) = (deadline(&request), address(&request));
        let incoming = Incoming::message(Format::Otlp, request.into_inner());
        let written = self.writer.write(vec![incoming], address.clone(), None, deadline).await;
        self.agents.pushed(address, &pushing, written.as_ref().map(|_| ()));
        let accepted = written?;
        let partial = (accepted.rejected > 0).then(|| ExportProfilesPartialSuccess {
            rejected_profiles: i64::try_from(accepted.rejected).unwrap_or(i64::MAX),
            error_message: accepted.reason,
        });
        Ok(ExportProfilesServiceResponse { partial_success: partial })
    }
}

/// The collector packs with zstd where it is told to, of which the gRPC library has another copy than everybody here. The room for what
/// comes out was leased with the message.
async fn without_zstd(request: Request<Body>, max: usize) -> Result<Request<Body>, Status> {
    if request.headers().get(GRPC_ENCODING).is_none_or(|encoding| encoding != "zstd") {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(GRPC_ENCODING);
    let body = body.collect().await.map_err(|error| Status::from_error(error.into_inner()))?.to_bytes();
    let body = match body.first() {
        Some(1) => tokio::task::spawn_blocking(move || unpacked(&body, max))
            .await
            .map_err(|_| Status::unavailable("the server is stopping"))??,
        _ => body,
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// One packed message with its prefix, as one that is not packed.
fn unpacked(frame: &[u8], max: usize) -> Result<Bytes, Status> {
    let packed = frame.get(PREFIX_BYTES..).filter(|packed| packed.starts_with(&ZSTD));
    let packed = packed.ok_or_else(|| Status::internal("the message is not packed with zstd, as its header says"))?;
    let limits = Limits { unpacked_bytes: max, ..Limits::default() };
    let message = unpack(packed, &limits).map_err(|defect| match defect.kind {
        DefectKind::Limit => Status::resource_exhausted(format!("the message unpacks to more than {max} bytes")),
        _ => Status::internal(format!("the message does not unpack: {defect}")),
    })?;
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).map_err(|error| Status::resource_exhausted(error.to_string()))?);
    frame.extend_from_slice(&message);
    Ok(frame.freeze())
}

impl UnaryService<Bytes> for OtlpApi {
    type Response = ExportProfilesServiceResponse;
    type Future = tonic::codegen::BoxFuture<tonic::Response<Self::Response>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let export = self.clone().export(request);
        Box::pin(async move { export.await.map(tonic::Response::new) })
    }
}

/// Requests as they are, responses as messages.
#[derive(Clone, Copy, Default)]
struct Export;

impl Codec for Export {
    type Encode = ExportProfilesServiceResponse;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Export {
    type Item = ExportProfilesServiceResponse;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for Export {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
