//! Sorts a request: gRPC-Web under any path prefix, native gRPC, or plain HTTP (REST, metrics, pprof, UI).

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, StatusCode, Uri, Version};
use tonic_web::{GrpcWebLayer, GrpcWebService};
use tower::{Layer, Service, ServiceExt};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::grpc::stack::{GrpcStack, catch_panic, panic_message};
use crate::grpc::web::PlainMessages;
use crate::listener::Answer;

/// What every connection calls. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Front {
    grpc: GrpcStack,
    web: GrpcWebService<PlainMessages>,
    http: Plain,
    cors: Option<CorsLayer>,
}

impl Front {
    /// `origins`: those that a browser's page may come from; `*` for all; none for none.
    pub(crate) fn new(grpc: GrpcStack, http: Router, origins: &[String]) -> Self {
        Self {
            web: GrpcWebLayer::new().layer(PlainMessages(grpc.clone())),
            grpc,
            http: Plain(http),
            cors: cors(origins),
        }
    }

    async fn sort(&self, request: Request<Body>) -> Response {
        match Kind::of(&request) {
            Kind::Web => self.answer_web(request).await,
            Kind::Native if request.version() == Version::HTTP_2 => self.grpc.answer(request).await,
            Kind::Native => {
                (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC requires HTTP/2; over HTTP/1.1 use gRPC-Web\n")
                    .into_response()
            }
            Kind::Plain => self.http.answer(request).await,
        }
    }

    async fn answer_web(&self, mut request: Request<Body>) -> Response {
        *request.uri_mut() = without_prefix(request.uri());
        let asked = request.headers().get(CONTENT_TYPE).cloned();
        let mut response = match self.web.clone().call(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        // the kind that was asked for, letter by letter: some clients compare
        if let Some(asked) = asked
            && response.headers().contains_key(CONTENT_TYPE)
        {
            response.headers_mut().insert(CONTENT_TYPE, asked);
        }
        response
    }
}

impl Answer for Front {
    /// Cancel safe: dropping the future drops the request.
    async fn answer(&self, request: Request<Body>) -> Response {
        let Some(cors) = &self.cors else { return self.sort(request).await };
        let front = self.clone();
        let sorted = tower::service_fn(move |request: Request<Body>| {
            let front = front.clone();
            async move { Ok::<_, Infallible>(front.sort(request).await) }
        });
        match cors.layer(sorted).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Plain HTTP only; a panic of a handler is an error of its request.
#[derive(Clone)]
pub(crate) struct Plain(pub(crate) Router);

impl Answer for Plain {
    async fn answer(&self, request: Request<Body>) -> Response {
        match catch_panic(self.0.clone().oneshot(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                let message = format!("the handler panicked: {}\n", panic_message(&*panic));
                (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
            }
        }
    }
}

enum Kind {
    Web,
    Native,
    Plain,
}

impl Kind {
    fn of(request: &Request<Body>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if content_type.starts_with(b"application/grpc-web") {
            Self::Web
        } else if content_type.starts_with(b"application/grpc") {
            Self::Native
        } else {
            Self::Plain
        }
    }
}

/// `/any/prefix/package.Service/Method` -> `/package.Service/Method`.
fn without_prefix(uri: &Uri) -> Uri {
    let path = uri.path();
    let method = path.rfind('/').unwrap_or(0);
    let service = path[..method].rfind('/').unwrap_or(0);
    let mut parts = uri.clone().into_parts();
    match PathAndQuery::try_from(&path[service..]) {
        Ok(short) => parts.path_and_query = Some(short),
        Err(_) => return uri.clone(),
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        // credentials forbid the literal `*`
        AllowOrigin::mirror_request()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_credentials(true)
            .allow_headers(AllowHeaders::mirror_request())
            .allow_methods(AllowMethods::mirror_request())
            .expose_headers(["grpc-status", "grpc-message", "grpc-encoding"].map(http::HeaderName::from_static)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_prefix_before_service_and_method_is_dropped() {
        for (given, wanted) in [
            ("/a.B/C", "/a.B/C"),
            ("/api/a.B/C", "/a.B/C"),
            ("/some/deep/prefix/api/a.B/C", "/a.B/C"),
            ("http://host:1/api/a.B/C?x=1", "http://host:1/a.B/C"),
            ("/", "/"),
            ("/C", "/C"),
        ] {
            let uri: Uri = given.parse().expect("a URI");
            assert_eq!(without_prefix(&uri).to_string(), wanted, "{given}");
        }
    }
}
