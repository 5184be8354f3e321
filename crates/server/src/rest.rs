//! REST under `/api`: the same calls as JSON, made from the descriptors' HTTP options and nothing else.
//!
//! A request is turned into a message, called through the same gRPC stack as everybody's (so limits, deadlines and
//! metrics are the same), and its answer or status turned into JSON as grpc-gateway does: camelCase, 64-bit integers
//! as strings, defaults present.

mod depth;
mod go_json;
mod parameters;
mod routes;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Body as _;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use store::Lease;
use tonic::{Code, Status};

use crate::grpc::lease::refused;
use crate::grpc::stack::GrpcStack;
use crate::listener::Peer;
pub(crate) use parameters::percent_decoded;
use routes::{Found, Routes};

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// grpc-gateway's, without its habit of dialling itself.
pub(crate) struct Gateway {
    routes: Routes,
    grpc: GrpcStack,
    message_bytes_max: usize,
}

impl Gateway {
    pub(crate) fn new(pool: &DescriptorPool, grpc: GrpcStack, message_bytes_max: usize) -> Self {
        Self { routes: Routes::new(pool), grpc, message_bytes_max }
    }

    /// `None` for a path (below the prefix, with `/api`) that no method has.
    ///
    /// Cancel safe: dropping the future ends the call.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Option<Response> {
        let path = request.uri().path();
        let path = path.strip_prefix("/api").unwrap_or(path);
        let found = self.routes.find(request.method(), path)?;
        let answer = match found {
            Found::OtherMethod => Err(Status::unimplemented("Method Not Allowed")),
            Found::Route { route, captured } => self.call(route, captured, request).await,
        };
        Some(answer.unwrap_or_else(|status| error(&status)))
    }

    async fn call(
        &self,
        route: &routes::Route,
        captured: Vec<(String, String)>,
        request: Request<Body>,
    ) -> Result<Response, Status> {
        let (parts, body) = request.into_parts();
        let mut message = DynamicMessage::new(route.input.clone());
        // for the body as JSON, until the call is answered; the message takes a lease of its own
        let mut lease = self.grpc.memory().empty_lease();
        if route.body {
            self.make_room(&body, &mut lease)?;
            message = self.body(&route.input, body).await?;
        } else {
            parameters::fill(&mut message, parts.uri.query().unwrap_or(""))?;
        }
        for (field, value) in captured {
            parameters::set(&mut message, &field, &value)?;
        }

        let mut grpc = Request::new(Body::from(frame(&message)));
        *grpc.method_mut() = Method::POST;
        *grpc.version_mut() = http::Version::HTTP_2;
        *grpc.uri_mut() = route.path.parse().map_err(|_| Status::internal("a method's path is not a URI"))?;
        grpc.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        for name in ["grpc-timeout", "user-agent"] {
            if let Some(value) = parts.headers.get(name) {
                grpc.headers_mut().insert(name, value.clone());
            }
        }
        if let Some(peer) = parts.extensions.get::<Peer>() {
            grpc.extensions_mut().insert(*peer);
        }
        let response = self.grpc.answer(grpc).await;
        let reply = unframe(response).await?;
        if depth::nests_too_deep(&route.output, &reply) {
            return Err(too_deep());
        }
        let reply = DynamicMessage::decode(route.output.clone(), reply)
            .map_err(|error| Status::internal(format!("the reply does not decode: {error}")))?;
        json_of(&reply)
    }

    /// Before a body is read. One that does not say its length counts as the largest.
    fn make_room(&self, body: &Body, lease: &mut Lease) -> Result<(), Status> {
        let max = self.message_bytes_max as u64;
        let length = body.size_hint().upper().unwrap_or(max);
        if length > max {
            return Err(Status::resource_exhausted(format!("the body is larger than {max} bytes")));
        }
        lease.grow(length).map_err(refused)
    }

    async fn body(&self, input: &MessageDescriptor, body: Body) -> Result<DynamicMessage, Status> {
        let max = self.message_bytes_max;
        let collected = Limited::new(body, max).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                Status::resource_exhausted(format!("the body is larger than {max} bytes"))
            } else {
                Status::invalid_argument(format!("the body cannot be read: {error}"))
            }
        })?;
        let bytes = collected.to_bytes();
        if bytes.is_empty() {
            return Ok(DynamicMessage::new(input.clone()));
        }
        go_json::check(&bytes).map_err(Status::invalid_argument)?;
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        DynamicMessage::deserialize_with_options(input.clone(), &mut deserializer, &options)
            .map_err(|error| Status::invalid_argument(error.to_string()))
    }
}

/// One gRPC message, uncompressed.
fn frame(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(length as u32);
    frame.extend_from_slice(&message.encode_to_vec());
    frame.freeze()
}

/// The first message of a gRPC response, or the status that it ended with.
pub(crate) async fn unframe(response: Response) -> Result<Bytes, Status> {
    let (parts, body) = response.into_parts();
    if let Some(status) = failure(&parts.headers) {
        return Err(status);
    }
    let collected = body.collect().await.map_err(|error| Status::internal(format!("the reply broke off: {error}")))?;
    if let Some(status) = collected.trailers().and_then(failure) {
        return Err(status);
    }
    let bytes = collected.to_bytes();
    if bytes.len() < 5 {
        return Err(Status::internal("the reply is empty"));
    }
    Ok(bytes.slice(5..))
}

fn too_deep() -> Status {
    Status::failed_precondition(
        "the reply nests deeper than REST can tell: ask for a flat report, as REPORT_TYPE_FLAMEGRAPH_ARROW, or over gRPC",
    )
}

fn failure(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}

fn json_of(message: &DynamicMessage) -> Result<Response, Status> {
    let mut serializer = serde_json::Serializer::new(Vec::new());
    message
        .serialize_with_options(&mut serializer, &SerializeOptions::new().skip_default_fields(false))
        .map_err(|error| Status::internal(format!("the reply cannot be written as JSON: {error}")))?;
    Ok(([(CONTENT_TYPE, JSON)], serializer.into_inner()).into_response())
}

/// grpc-gateway's error: status by its table, `{"code", "message", "details"}`.
fn error(status: &Status) -> Response {
    let (code, message) = (status.code() as i32, serde_json::Value::from(status.message()));
    let body = format!(r#"{{"code":{code},"message":{message},"details":[]}}"#);
    let mut response = (http_status(status.code()), [(CONTENT_TYPE, JSON)], body).into_response();
    let again = status.metadata().get("retry-after").and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok());
    if let Some(again) = again {
        response.headers_mut().insert(RETRY_AFTER, again);
    }
    response
}

pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // nginx's "client closed request", which has no name in the standard
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
