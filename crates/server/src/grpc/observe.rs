//! Watches a response until its last frame: only the trailers tell how a call ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tonic::Code;

use crate::metrics::Observation;

/// A response's body that reports the call's status when it ends, and keeps `held` (permits, leases) until then.
pub(crate) struct Observed<T> {
    inner: Body,
    observation: Option<Observation>,
    _held: T,
}

impl<T: Send + Unpin + 'static> Observed<T> {
    pub(crate) fn response<B>(response: Response<B>, observation: Observation, held: T) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let ended = code(response.headers());
        response.map(|body| {
            let mut observed = Self { inner: Body::new(body), observation: Some(observation), _held: held };
            if let Some(code) = ended {
                observed.end(code);
            }
            Body::new(observed)
        })
    }

    fn end(&mut self, code: Code) {
        if let Some(observation) = self.observation.take() {
            observation.end(code);
        }
    }
}

fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

impl<T: Send + Unpin> HttpBody for Observed<T>
where
    T: 'static,
{
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(code) = frame.trailers_ref().and_then(code) {
                    this.end(code);
                }
            }
            Some(Err(_)) => this.end(Code::Unknown),
            None => this.end(Code::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
