//! What stands before every RPC, in this order: count it, refuse it when too many are under way, lease memory
//! for its messages, set its deadline, and keep a panic to itself.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use http::{HeaderMap, Request, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tower::ServiceExt;

use crate::grpc::lease::LeasedBody;
use crate::grpc::method::Methods;
use crate::grpc::observe::Observed;
use crate::metrics::RpcMetrics;

/// The one call whose length is up to the size of a file.
const UPLOAD: &str = "/parca.debuginfo.v1alpha1.DebuginfoService/Upload";

/// When a call must be answered. In the extensions of every request that reaches a handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

/// Limits on calls of any kind.
#[derive(Clone, Debug)]
pub struct RpcLimits {
    /// Calls under way at once; more are RESOURCE_EXHAUSTED. Enough for every agent of a large cluster to be
    /// mid-write, few enough that their bookkeeping is small.
    pub in_flight: usize,
    /// Of one message, in either direction, in bytes. Parca's limit.
    pub message_bytes: usize,
    /// For a call that brings no `grpc-timeout`, and the longest that one may ask for.
    pub deadline: Duration,
    /// The same for a debuginfo upload, which takes as long as its file is large.
    pub upload_deadline: Duration,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            in_flight: 1024,
            message_bytes: 64 << 20,
            deadline: Duration::from_secs(60),
            upload_deadline: Duration::from_secs(900),
        }
    }
}

/// All gRPC services behind their common front. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GrpcStack {
    inner: Arc<Inner>,
}

struct Inner {
    routes: Router,
    methods: Methods,
    metrics: RpcMetrics,
    limits: RpcLimits,
    in_flight: Arc<Semaphore>,
    memory: store::Account,
}

impl GrpcStack {
    pub(crate) fn new(
        routes: Router,
        methods: Methods,
        metrics: RpcMetrics,
        limits: RpcLimits,
        memory: store::Account,
    ) -> Self {
        let in_flight = Arc::new(Semaphore::new(limits.in_flight));
        Self { inner: Arc::new(Inner { routes, methods, metrics, limits, in_flight, memory }) }
    }

    /// The account that messages are leased from.
    pub(crate) fn memory(&self) -> &store::Account {
        &self.inner.memory
    }

    /// The answer, as a gRPC response whatever happens.
    ///
    /// Cancel safe: dropping the future ends the call; handlers see that through their own guards.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let Inner { routes, methods, metrics, limits, in_flight, memory } = &*self.inner;
        let observation = metrics.start(methods.labels(request.uri().path()));
        let Ok(permit) = in_flight.clone().try_acquire_owned() else {
            let status = overloaded(format!("{} calls are under way already", limits.in_flight));
            return Observed::response(status.into_http::<Body>(), observation, ());
        };
        let longest = if request.uri().path() == UPLOAD { limits.upload_deadline } else { limits.deadline };
        let timeout = grpc_timeout(request.headers()).unwrap_or(longest).min(longest);
        let lease = LeasedBody::lease(memory);
        let held: (OwnedSemaphorePermit, _) = (permit, lease.clone());
        let mut request = request.map(|body| Body::new(LeasedBody::new(body, limits.message_bytes, lease)));
        request.extensions_mut().insert(Deadline(Instant::now() + timeout));

        let answer = catch_panic(routes.clone().oneshot(request));
        let response = match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(Ok(response))) => response.into_response(),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(panic)) => {
                let status = Status::internal(format!("the handler panicked: {}", panic_message(&*panic)));
                status.into_http()
            }
            Err(_elapsed) => Status::deadline_exceeded(format!("not done within {timeout:?}")).into_http(),
        };
        Observed::response(response, observation, held)
    }
}

/// RESOURCE_EXHAUSTED, with when to come back: `grpc-retry-pushback-ms` for gRPC clients, `retry-after` for REST.
pub(crate) fn overloaded(message: impl Into<String>) -> Status {
    overloaded_for(message, Duration::from_secs(1))
}

pub(crate) fn overloaded_for(message: impl Into<String>, retry_after: Duration) -> Status {
    let mut status = Status::resource_exhausted(message);
    let millis = retry_after.as_millis().max(1).to_string();
    if let Ok(value) = millis.parse() {
        status.metadata_mut().insert("grpc-retry-pushback-ms", value);
    }
    let seconds = retry_after.as_secs_f64().ceil().max(1.0).to_string();
    if let Ok(value) = seconds.parse() {
        status.metadata_mut().insert("retry-after", value);
    }
    status
}

/// Runs `future` so that a panic in it is a value.
pub(crate) async fn catch_panic<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no message",
    }
}

/// The `grpc-timeout` header: at most 8 digits and a unit (gRPC over HTTP/2, "Requests").
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_read_in_each_unit_and_nonsense_is_ignored() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", text.parse().expect("a header"));
            grpc_timeout(&headers)
        };
        assert_eq!(read("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(read("3M"), Some(Duration::from_secs(180)));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999u"), Some(Duration::from_micros(99_999_999)));
        assert_eq!(read("1n"), Some(Duration::from_nanos(1)));
        for wrong in ["", "S", "123456789S", "-1S", "5x", "5"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_panicking_handler_is_an_internal_error_of_its_call_and_the_next_is_answered() {
        let pool = crate::proto::pool().expect("our own descriptors");
        let methods = Methods::new(&pool);
        let metrics = RpcMetrics::register(&mut Default::default(), methods.all());
        let routes = Router::new()
            .route(
                "/panics",
                axum::routing::any(|| async {
                    if true {
                        panic!("boom")
                    }
                }),
            )
            .route("/answers", axum::routing::any(|| async { "fine" }));
        let memory = store::Budget::new(1 << 20).account("requests", 1 << 20);
        let stack =
            GrpcStack::new(routes, methods, metrics, RpcLimits { in_flight: 1, ..RpcLimits::default() }, memory);
        let ask = |path: &'static str| {
            let stack = stack.clone();
            async move { stack.answer(Request::get(path).body(Body::empty()).expect("a request")).await }
        };
        for _ in 0..3 {
            let response = ask("/panics").await;
            let status = Status::from_header_map(response.headers()).expect("a status");
            assert_eq!((status.code(), status.message()), (tonic::Code::Internal, "the handler panicked: boom"));
        }
        assert_eq!(ask("/answers").await.status(), 200);
    }

    #[tokio::test]
    async fn a_panic_becomes_a_value_and_the_next_call_goes_on() {
        let caught = catch_panic(async { panic!("boom {}", 7) }).await;
        assert_eq!(panic_message(&*caught.expect_err("it panicked")), "boom 7");
        assert_eq!(catch_panic(async { 5 }).await.expect("no panic"), 5);
    }
}
