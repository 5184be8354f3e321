//! The answer to every method that is in the contract and not served, in the words of grpc-go.

use axum::body::Body;
use axum::response::IntoResponse;
use axum::response::Response;
use http::Request;
use prost_reflect::DescriptorPool;
use tonic::Status;

pub(crate) fn status(pool: &DescriptorPool, path: &str) -> Status {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    let Some(known) = pool.get_service_by_name(service) else {
        return Status::unimplemented(format!("unknown service {service}"));
    };
    if known.methods().any(|known| known.name() == method) {
        return Status::unimplemented(format!("method {method} not implemented"));
    }
    Status::unimplemented(format!("unknown method {method} for service {service}"))
}

pub(crate) async fn answer(pool: DescriptorPool, request: Request<Body>) -> Response {
    status(&pool, request.uri().path()).into_http::<Body>().into_response()
}
