//! Plain HTTP below the path prefix: `/metrics`, `/debug/pprof`, REST under `/api`, OTLP, and the UI for all the rest.

mod assets;
mod debug;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use prometheus_client::registry::Registry;

use crate::metrics::exposition;
use crate::otlp_http::{self, OtlpHttp};
use crate::rest::Gateway;

pub use debug::HeapProfiler;
pub(crate) use debug::SelfProfiler;

#[derive(Clone)]
struct Plain {
    registry: Arc<Registry>,
    gateway: Arc<Gateway>,
    otlp: Arc<OtlpHttp>,
    prefix: Arc<str>,
}

/// `prefix` is empty or begins with a slash and does not end with one.
pub(crate) fn router(
    registry: Arc<Registry>,
    gateway: Gateway,
    otlp: OtlpHttp,
    profiler: SelfProfiler,
    prefix: &str,
) -> Router {
    let plain = Plain { registry, gateway: Arc::new(gateway), otlp: Arc::new(otlp), prefix: prefix.into() };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/api/{*path}", any(api))
        .route(otlp_http::PATH, post(export))
        .merge(debug::router(profiler))
        .fallback(ui);
    let routes = match prefix {
        "" => routes,
        // without the prefix there is still the UI's page, which knows where it lives
        prefix => Router::new().nest(prefix, routes).fallback(ui),
    };
    routes.with_state(plain)
}

/// `/debug/pprof` alone.
pub(crate) fn profiles_only(profiler: SelfProfiler) -> Router {
    debug::router(profiler)
}

async fn metrics(State(plain): State<Plain>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    match exposition(&plain.registry, accept) {
        Ok(exposition) => ([(CONTENT_TYPE, exposition.content_type)], exposition.text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn api(State(plain): State<Plain>, request: Request) -> Response {
    match plain.gateway.answer(request).await {
        Some(response) => response,
        // a path that nobody knows is the UI's, as in Parca
        None => assets::page(&HeaderMap::new(), &plain.prefix),
    }
}

async fn export(State(plain): State<Plain>, request: Request) -> Response {
    plain.otlp.answer(request).await
}

async fn ui(State(plain): State<Plain>, request: Request) -> Response {
    let path = request.uri().path();
    let path = path.strip_prefix(&*plain.prefix).unwrap_or(path);
    assets::asset(path.trim_start_matches('/'), request.headers())
        .unwrap_or_else(|| assets::page(request.headers(), &plain.prefix))
}
