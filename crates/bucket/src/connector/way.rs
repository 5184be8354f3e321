//! Connections: to the server itself, or through the proxy that the environment names for it, as Parca's are (`HTTPS_PROXY`,
//! `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{DefaultServerNameResolver, HttpsConnector, MaybeHttpsStream, ResolveServerName};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tower::Service;

/// Of a connection that nobody uses; a server that is gone is noticed.
const KEEPALIVE: Duration = Duration::from_secs(15);

type BoxError = Box<dyn Error + Send + Sync>;

/// To the server or to its proxy; the latter perhaps with TLS of its own.
type First = MaybeHttpsStream<TokioIo<TcpStream>>;

/// By which names servers are asked for, and verified.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// A host, and the name that is used in its place.
    given: Option<(String, ServerName<'static>)>,
}

impl Names {
    /// Every other host keeps its own name.
    pub(super) fn for_host(host: &str, name: ServerName<'static>) -> Self {
        Self { given: Some((host.to_owned(), name)) }
    }
}

impl ResolveServerName for Names {
    fn resolve(&self, uri: &Uri) -> Result<ServerName<'static>, BoxError> {
        match &self.given {
            Some((host, name)) if uri.host().is_some_and(|asked| asked.eq_ignore_ascii_case(host)) => Ok(name.clone()),
            _ => DefaultServerNameResolver::default().resolve(uri),
        }
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Way {
    first: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    names: Names,
    proxies: Arc<Matcher>,
    /// From the name's lookup to the end of TLS.
    timeout: Duration,
}

impl Way {
    pub(super) fn new(tls: ClientConfig, names: Names, proxies: Matcher, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        let tls = Arc::new(tls);
        let first = HttpsConnector::new(tcp, tls.clone(), false, Arc::new(DefaultServerNameResolver::default()));
        Self { first, tls, names, proxies: Arc::new(proxies), timeout }
    }

    /// What the proxy of a server without TLS wants to see in each request.
    pub(super) fn proxy_authorization(&self, uri: &Uri) -> Option<HeaderValue> {
        self.proxies.intercept(uri)?.basic_auth().cloned()
    }

    async fn connect(mut self, uri: Uri) -> Result<Stream, BoxError> {
        let proxy = self.proxies.intercept(&uri);
        if uri.scheme() != Some(&Scheme::HTTPS) {
            let is_proxied = proxy.is_some();
            let first = self.first.call(proxy.map_or(uri, |proxy| proxy.uri().clone())).await?;
            return Ok(Stream { io: MaybeHttpsStream::Http(first), is_proxied });
        }
        let names = Arc::new(self.names);
        let io = match proxy {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri().clone(), self.first);
                if let Some(authorization) = proxy.basic_auth() {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                HttpsConnector::new(tunnel, self.tls, true, names).call(uri).await?
            }
            None => HttpsConnector::new(Plain(self.first), self.tls, true, names).call(uri).await?,
        };
        Ok(Stream { io, is_proxied: false })
    }
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (way, timeout) = (self.clone(), self.timeout);
        Box::pin(async move {
            tokio::time::timeout(timeout, way.connect(uri)).await.unwrap_or_else(|_| {
                let late = format!("there was no connection within {timeout:?}");
                Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
            })
        })
    }
}

/// To a server of HTTPS, before its TLS begins.
#[derive(Clone)]
struct Plain(HttpsConnector<HttpConnector>);

impl Service<Uri> for Plain {
    type Response = First;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<First, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let plain = || {
            let authority = format!("{}:{}", uri.host()?, uri.port_u16().unwrap_or(443));
            let authority: Authority = authority.parse().ok()?;
            Uri::builder()
                .scheme(Scheme::HTTP)
                .authority(authority)
                .path_and_query(PathAndQuery::from_static("/"))
                .build()
                .ok()
        };
        match plain() {
            Some(plain) => self.0.call(plain),
            None => Box::pin(async move { Err(io::Error::other(format!("{uri} has no host")).into()) }),
        }
    }
}

/// A connection, by which a request knows how to name what it wants.
pub(super) struct Stream {
    io: MaybeHttpsStream<First>,
    /// A proxy reads the requests.
    is_proxied: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.is_proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_name_is_for_its_host_alone() {
        let names = Names::for_host("bucket.test", trust::server_name("store.internal").expect("a name"));
        let name = |uri: &str| names.resolve(&uri.parse().expect("a URI")).expect("a name").to_str().into_owned();
        assert_eq!(name("https://bucket.test:9000/key"), "store.internal");
        assert_eq!(name("https://BUCKET.test/"), "store.internal");
        assert_eq!(name("https://sts.amazonaws.com/"), "sts.amazonaws.com");
        assert_eq!(name("https://[::1]:9000/"), "::1");
    }
}
