//! One address, every protocol: HTTP/1.1, h2c by upgrade of knowledge, gRPC and gRPC-Web, until told to stop.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::server::TlsStream;
use tracing::{debug, info, warn};

use crate::tls::Tls;

/// Who sent a request. In the extensions of every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Over which connection a request came: a number that no other has in this process. In the extensions of a request that came over one
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Connection(pub(crate) u64);

impl Connection {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone, Debug)]
pub struct ListenOptions {
    /// `host:port`; without a host, all interfaces, as in Go. Port 0 lets the system choose.
    pub address: String,
    /// From a connection's begin, or from an answer, to the end of the next request's headers over HTTP/1.1: so it also
    /// bounds how long a connection may idle. Bodies are bound by their call's deadline.
    pub header_timeout: Duration,
    /// Connections that are busy may take this long to finish after a stop was asked for.
    pub drain_timeout: Duration,
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// Plain text without.
    pub tls: Option<Tls>,
}

/// A client that connects and does not get through the TLS handshake holds its connection no longer than this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            address: "127.0.0.1:7070".to_owned(),
            header_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(30),
            connections: 4096,
            tls: None,
        }
    }
}

/// Why an address could not be listened on, in one line that says what to do.
#[derive(Debug)]
pub struct ListenError {
    pub address: String,
    pub source: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, source } = self;
        write!(f, "cannot listen on {address}: ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => {
                f.write_str("the port is in use; stop the other process or choose another address")
            }
            _ => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for ListenError {}

/// What answers the requests of a listener. Cheap to clone.
pub(crate) trait Answer: Clone + Send + 'static {
    fn answer(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

/// A bound address that does not accept yet.
pub struct Listener {
    socket: TcpListener,
    options: ListenOptions,
}

impl Listener {
    pub async fn bind(options: ListenOptions) -> Result<Self, ListenError> {
        match bind(&options.address).await {
            Ok(socket) => Ok(Self { socket, options }),
            Err(source) => Err(ListenError { address: options.address, source }),
        }
    }

    /// Where it listens: the port that the system chose, if it was asked to.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until `stop` ends, then lets requests under way finish for as long as the drain may take.
    pub(crate) async fn serve(self, answerer: impl Answer, stop: impl Future<Output = ()>) {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(self.options.header_timeout);
        http.http2()
            .timer(TokioTimer::new())
            // a profile of a few MiB should not wait for window updates
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(8 << 20)
            .max_concurrent_streams(256)
            .keep_alive_interval(Duration::from_secs(30));
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(self.options.connections));
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accept(&self.socket, &permits) => accepted,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // out of file descriptors, most likely: others have to end first
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let answerer = answerer.clone();
            let connection = Connection::next();
            let service = service_fn(move |mut request: Request<Incoming>| {
                let answerer = answerer.clone();
                async move {
                    request.extensions_mut().insert(Peer(peer));
                    request.extensions_mut().insert(connection);
                    Ok::<Response<Body>, Infallible>(answerer.answer(request.map(Body::new)).await)
                }
            });
            let http = http.clone();
            let watcher = graceful.watcher();
            let tls = self.options.tls.clone();
            tokio::spawn(async move {
                let ended = match tls {
                    None => {
                        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
                        watcher.watch(connection.into_owned()).await
                    }
                    Some(tls) => match handshake(&tls, stream).await {
                        Ok(stream) => {
                            let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
                            watcher.watch(connection.into_owned()).await
                        }
                        Err(error) => Err(error.into()),
                    },
                };
                if let Err(error) = ended {
                    debug!(%peer, %error, "connection ended");
                }
                drop(permit);
            });
        }
        drop(self.socket);
        tokio::select! {
            () = graceful.shutdown() => info!("all connections are closed"),
            () = tokio::time::sleep(self.options.drain_timeout) => {
                warn!(seconds = self.options.drain_timeout.as_secs(), "connections still busy are cut");
            }
        }
    }
}

async fn handshake(tls: &Tls, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.acceptor().accept(stream)).await {
        Ok(accepted) => accepted,
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")),
    }
}

/// Without a host: all interfaces of both kinds, or of IPv4 where the machine has no IPv6.
async fn bind(address: &str) -> io::Result<TcpListener> {
    let Some(port) = address.strip_prefix(':') else { return TcpListener::bind(address).await };
    match TcpListener::bind(format!("[::]:{port}")).await {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(format!("0.0.0.0:{port}")).await,
        bound => bound,
    }
}

async fn accept(
    socket: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, Option<OwnedSemaphorePermit>)> {
    // the semaphore is never closed, so there is always a permit in the end
    let permit = permits.clone().acquire_owned().await.ok();
    let (stream, peer) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}
