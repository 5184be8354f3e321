//! OTLP over HTTP: `POST /v1development/profiles`, protobuf or JSON, plain, gzip or zstd.
//!
//! A request becomes the gRPC call and passes through the same stack, so that its limits, deadline and metrics are
//! everybody's (opentelemetry.io, "OTLP/HTTP": status by the error, body `google.rpc.Status`, `Retry-After` when refused for now).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use profile::pprof::{DefectKind, Limits, unpack};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;
use tonic::Status;

use crate::api::EXPORT;
use crate::grpc::lease::refused;
use crate::grpc::stack::GrpcStack;
use crate::listener::Peer;
use crate::rest::{http_status, unframe};

pub(crate) const PATH: &str = "/v1development/profiles";

/// Of a request as JSON, unpacked: as a tree of values it takes some ten times as much.
const JSON_BYTES_MAX: usize = 16 << 20;
/// Deflate cannot pack more than this many bytes into one; zstd can, and is stopped at the limit all the same.
const RATIO_MAX: usize = 1_032;

const IDS: [&str; 3] = ["traceId", "spanId", "profileId"];

pub(crate) struct OtlpHttp {
    grpc: GrpcStack,
    request: MessageDescriptor,
    response: MessageDescriptor,
    message_bytes_max: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Protobuf,
    Json,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/x-protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(if self == Self::Json { "application/json" } else { "application/x-protobuf" })
    }
}

impl OtlpHttp {
    /// `None` if `pool` lacks OTLP's messages: a defect of the build.
    pub(crate) fn new(pool: &DescriptorPool, grpc: GrpcStack, message_bytes_max: usize) -> Option<Self> {
        let package = "opentelemetry.proto.collector.profiles.v1development";
        let message = |name: &str| pool.get_message_by_name(&format!("{package}.{name}"));
        let request = message("ExportProfilesServiceRequest")?;
        let response = message("ExportProfilesServiceResponse")?;
        Some(Self { grpc, request, response, message_bytes_max })
    }

    /// Cancel safe: dropping the future ends the call.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        let Some(encoding) = Encoding::of(request.headers()) else {
            let what = "the content type must be application/x-protobuf or application/json\n";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, what).into_response();
        };
        let packed = request.headers().get(CONTENT_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        if !matches!(packed, b"" | b"identity" | b"gzip" | b"zstd") {
            let what = "the content encoding must be gzip, zstd or none\n";
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, what).into_response();
        }
        match self.export(request, encoding).await {
            Ok(reply) => ([(CONTENT_TYPE, encoding.content_type())], reply).into_response(),
            Err(status) => error(&status, encoding),
        }
    }

    async fn export(&self, request: Request<Body>, encoding: Encoding) -> Result<Bytes, Status> {
        let (parts, body) = request.into_parts();
        let max = self.message_bytes_max;
        let too_large = || Status::resource_exhausted(format!("the body is larger than {max} bytes"));
        // room for the body before it is read, and for what it may unpack to
        let length = usize::try_from(body.size_hint().upper().unwrap_or(max as u64)).unwrap_or(usize::MAX);
        if length > max {
            return Err(too_large());
        }
        let packed = parts.headers.contains_key(CONTENT_ENCODING);
        let unpacked = if packed { length.saturating_mul(RATIO_MAX).min(max) } else { 0 };
        let mut lease = self.grpc.memory().empty_lease();
        lease.grow((length + unpacked) as u64).map_err(refused)?;
        let collected = Limited::new(body, max).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                too_large()
            } else {
                Status::invalid_argument(format!("the body cannot be read: {error}"))
            }
        })?;
        let (body, descriptor) = (collected.to_bytes(), self.request.clone());
        let message = tokio::task::spawn_blocking(move || message(body, packed, encoding, descriptor, max)).await;
        let message = message.map_err(|_| Status::unavailable("the server is stopping"))??;

        let mut frame = BytesMut::with_capacity(5 + message.len());
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).map_err(|_| too_large())?);
        frame.extend_from_slice(&message);
        drop(message);
        let mut grpc = Request::new(Body::from(frame.freeze()));
        *grpc.method_mut() = Method::POST;
        *grpc.version_mut() = http::Version::HTTP_2;
        *grpc.uri_mut() = http::Uri::from_static(EXPORT);
        grpc.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Some(agent) = parts.headers.get(USER_AGENT) {
            grpc.headers_mut().insert(USER_AGENT, agent.clone());
        }
        if let Some(peer) = parts.extensions.get::<Peer>() {
            grpc.extensions_mut().insert(*peer);
        }
        let reply = unframe(self.grpc.answer(grpc).await).await?;
        if encoding == Encoding::Protobuf {
            return Ok(reply);
        }
        let unreadable = |error: &dyn std::fmt::Display| Status::internal(format!("the reply cannot be read: {error}"));
        let reply = DynamicMessage::decode(self.response.clone(), reply).map_err(|error| unreadable(&error))?;
        let mut json = serde_json::Serializer::new(Vec::new());
        reply.serialize_with_options(&mut json, &SerializeOptions::new()).map_err(|error| unreadable(&error))?;
        Ok(json.into_inner().into())
    }
}

/// The request as protobuf, unpacked.
fn message(
    body: Bytes,
    packed: bool,
    encoding: Encoding,
    descriptor: MessageDescriptor,
    max: usize,
) -> Result<Bytes, Status> {
    let body = if packed {
        let limits = Limits { unpacked_bytes: max, ..Limits::default() };
        let unpacked = unpack(&body, &limits).map_err(|defect| match defect.kind {
            DefectKind::Limit => Status::resource_exhausted(format!("the body unpacks to more than {max} bytes")),
            _ => Status::invalid_argument(format!("the body does not unpack: {defect}")),
        })?;
        match unpacked {
            std::borrow::Cow::Borrowed(_) => body.clone(),
            std::borrow::Cow::Owned(unpacked) => unpacked.into(),
        }
    } else {
        body
    };
    if encoding == Encoding::Protobuf {
        return Ok(body);
    }
    if body.len() > JSON_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "a request in JSON may have {JSON_BYTES_MAX} bytes; send protobuf"
        )));
    }
    let wrong = |error: serde_json::Error| Status::invalid_argument(format!("the body is no OTLP request: {error}"));
    let mut json: Value = serde_json::from_slice(&body).map_err(wrong)?;
    ids_to_base64(&mut json);
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let message = DynamicMessage::deserialize_with_options(descriptor, json, &options).map_err(wrong)?;
    Ok(message.encode_to_vec().into())
}

/// OTLP writes IDs in hexadecimal, where JSON of protocol buffers has base64. What is no hexadecimal stays.
fn ids_to_base64(json: &mut Value) {
    match json {
        Value::Array(items) => items.iter_mut().for_each(ids_to_base64),
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if IDS.contains(&name.as_str()) => {
                        if let Some(bytes) = hexadecimal(text) {
                            *text = base64(&bytes);
                        }
                    }
                    other => ids_to_base64(other),
                }
            }
        }
        _ => {}
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<Vec<u8>>>()?;
    (digits.len() % 2 == 0).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let ix = (word >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= chunk.len() { DIGITS[ix] as char } else { '=' });
        }
    }
    text
}

/// `google.rpc.Status`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

fn error(status: &Status, encoding: Encoding) -> Response {
    let (code, message) = (status.code() as i32, status.message().to_owned());
    let body = match encoding {
        Encoding::Protobuf => RpcStatus { code, message }.encode_to_vec(),
        Encoding::Json => serde_json::json!({ "code": code, "message": message }).to_string().into_bytes(),
    };
    let mut response = (http_status(status.code()), [(CONTENT_TYPE, encoding.content_type())], body).into_response();
    let again = status.metadata().get("retry-after").and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    if let Some(again) = again {
        response.headers_mut().insert(RETRY_AFTER, again);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_hexadecimal_become_base64_wherever_they_are() {
        let mut json =
            serde_json::json!({"a": [{"traceId": "0001feff", "spanId": "00", "name": "00"}], "profileId": "zz"});
        ids_to_base64(&mut json);
        let wanted =
            serde_json::json!({"a": [{"traceId": "AAH+/w==", "spanId": "AA==", "name": "00"}], "profileId": "zz"});
        assert_eq!(json, wanted);
        assert_eq!(base64(b"abc"), "YWJj");
        assert_eq!(base64(b"ab"), "YWI=");
    }
}
