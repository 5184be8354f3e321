//! gRPC-Web's one difference in content: Parca's wrapper does not percent-encode `grpc-message`, and its readers do
//! not decode it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt;
use tower::Service;

use crate::grpc::stack::GrpcStack;
use crate::rest::percent_decoded;

const MESSAGE: &str = "grpc-message";

/// The stack, with messages as text where a reader that decodes sees the same text.
#[derive(Clone)]
pub(crate) struct PlainMessages(pub(crate) GrpcStack);

impl Service<Request<tonic::body::Body>> for PlainMessages {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let stack = self.0.clone();
        Box::pin(async move {
            let mut response = stack.answer(request.map(Body::new)).await;
            decode_message(response.headers_mut());
            Ok(response.map(|body| {
                Body::new(body.map_frame(|mut frame| {
                    if let Some(trailers) = frame.trailers_mut() {
                        decode_message(trailers);
                    }
                    frame
                }))
            }))
        })
    }
}

/// Only where nothing is lost: printable ASCII without a percent sign, which reads the same decoded once more.
fn decode_message(headers: &mut HeaderMap) {
    let Some(decoded) =
        headers.get(MESSAGE).and_then(|value| value.to_str().ok()).map(|text| percent_decoded(text, false))
    else {
        return;
    };
    let safe = decoded.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'%');
    if let (true, Ok(value)) = (safe, HeaderValue::from_str(&decoded)) {
        headers.insert(MESSAGE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_text_unless_decoding_it_twice_would_change_it() {
        let shown = |encoded: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(MESSAGE, encoded.parse().expect("a header"));
            decode_message(&mut headers);
            headers[MESSAGE].to_str().expect("text").to_owned()
        };
        assert_eq!(shown("Options:%20cannot%20be%20blank."), "Options: cannot be blank.");
        assert_eq!(shown("100%25%20full"), "100%25%20full");
        assert_eq!(shown("gr%C3%B6%C3%9Fe"), "gr%C3%B6%C3%9Fe");
        assert_eq!(shown("two%0Alines"), "two%0Alines");
    }
}
