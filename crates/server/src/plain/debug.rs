//! `/debug/pprof`: the server profiles itself, in the format and under the paths of Go programs.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::selfprofile;

/// Default length of a CPU profile, as in Go.
const SECONDS_DEFAULT: u64 = 30;
/// Longer than anyone's patience, short enough that its samples fit in memory.
const SECONDS_MAX: u64 = 600;

/// Gives a heap profile as pprof, or says why not. `decima` provides it when it is built with jemalloc.
pub type HeapProfiler = Arc<dyn Fn() -> Result<Vec<u8>, String> + Send + Sync>;

/// One CPU profile at a time: the signal timer belongs to the process.
#[derive(Clone)]
pub(crate) struct SelfProfiler {
    cpu: Arc<Mutex<()>>,
    heap: Option<HeapProfiler>,
}

impl SelfProfiler {
    pub(crate) fn new(heap: Option<HeapProfiler>) -> Self {
        Self { cpu: Arc::default(), heap }
    }
}

pub(super) fn router<S: Clone + Send + Sync + 'static>(profiler: SelfProfiler) -> Router<S> {
    Router::new()
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/profile", get(profile))
        .route("/debug/pprof/heap", get(heap))
        .route("/debug/pprof/allocs", get(heap))
        .route("/debug/pprof/{other}", get(unknown))
        .with_state(profiler)
}

/// Not the screen, which answers unknown paths elsewhere: who scrapes this would take its page for a broken profile.
async fn unknown(Path(other): Path<String>) -> Response {
    let message = format!("there is no profile {other:?} of this server, only profile, heap and allocs\n");
    (StatusCode::NOT_FOUND, message).into_response()
}

async fn index() -> Html<&'static str> {
    Html(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>/debug/pprof/</title></head><body>\n\
         <p>Profiles of this server:</p>\n<ul>\n\
         <li><a href=\"profile?seconds=10\">profile</a>: where CPU time goes, over <code>seconds</code></li>\n\
         <li><a href=\"heap\">heap</a>, <a href=\"allocs\">allocs</a>: memory in use, sampled (builds with jemalloc)</li>\n\
         </ul></body></html>\n",
    )
}

#[derive(Deserialize)]
struct ProfileParameters {
    seconds: Option<u64>,
}

async fn profile(State(profiler): State<SelfProfiler>, Query(parameters): Query<ProfileParameters>) -> Response {
    let seconds = parameters.seconds.unwrap_or(SECONDS_DEFAULT);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        return (StatusCode::BAD_REQUEST, format!("seconds must be from 1 to {SECONDS_MAX}\n")).into_response();
    }
    // two at once would see each other's timer; who comes second waits for its turn
    let _turn = profiler.cpu.lock().await;
    match selfprofile::cpu(Duration::from_secs(seconds)).await {
        Ok(pprof) => attachment("profile", pprof),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn heap(State(profiler): State<SelfProfiler>) -> Response {
    let Some(heap) = profiler.heap else {
        return (StatusCode::NOT_IMPLEMENTED, "this build has no heap profiler (feature `jemalloc`)\n").into_response();
    };
    match tokio::task::spawn_blocking(move || heap()).await {
        Ok(Ok(pprof)) => attachment("heap", pprof),
        Ok(Err(error)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn attachment(name: &str, pprof: Vec<u8>) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)], pprof).into_response()
}
