//! A server of the profile store that keeps who calls it, and how, and takes everything.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{body::Body, codegen::BoxFuture, codegen::Service, server::NamedService};

/// Ends when it is dropped.
pub struct Recorder {
    pub address: SocketAddr,
    store: ProfileStore,
    serving: JoinHandle<()>,
}

/// One call: its path and its headers.
pub type Call = (String, HeaderMap);

#[derive(Clone, Default)]
struct ProfileStore(Arc<Mutex<Vec<Call>>>);

impl Recorder {
    pub async fn start() -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let store = ProfileStore::default();
        let server = tonic::transport::Server::builder().add_service(store.clone());
        let serving = tokio::spawn(async move {
            server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves until it is dropped");
        });
        Recorder { address, store, serving }
    }

    /// Those since the last time.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.store.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl NamedService for ProfileStore {
    const NAME: &'static str = "parca.profilestore.v1alpha1.ProfileStoreService";
}

impl Service<http::Request<Body>> for ProfileStore {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let taken = body.collect().await.is_ok();
            calls.lock().unwrap_or_else(PoisonError::into_inner).push((parts.uri.path().to_owned(), parts.headers));
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", if taken { "0" } else { "13" }.parse().expect("a header"));
            // an empty message, and that all is well
            let frames = [Frame::data(Bytes::from_static(&[0; 5])), Frame::trailers(trailers)];
            let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>)));
            let reply = http::Response::builder().header("content-type", "application/grpc").body(Body::new(body));
            Ok(reply.expect("a reply"))
        })
    }
}
