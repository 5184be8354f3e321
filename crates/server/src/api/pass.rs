//! Calls that are handed on as they come, and answered by the other server: debuginfo, where profiles are handed on too.
//!
//! They are not kept for later: an agent that is told that the server is away asks again, and a file of gigabytes passes through without a
//! copy of it anywhere.

use axum::body::Body;
use axum::response::Response;
use forward::Upstream;
use http::Request;

pub(crate) const DEBUGINFO: &str = "/parca.debuginfo.v1alpha1.DebuginfoService/{method}";

/// Cancel safe: dropping the future ends the call there too.
pub(crate) async fn answer(upstream: Upstream, request: Request<Body>) -> Response {
    match upstream.pass(request.map(tonic::body::Body::new)).await {
        Ok(response) => response.map(Body::new),
        Err(status) => status.into_http::<Body>(),
    }
}
