//! One request: the time it may take, and what kind of error may be tried again.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::uri::Scheme;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::client::{
    HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody, HttpService,
};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::way::Way;

const DECIMA: HeaderValue = HeaderValue::from_static(concat!("decima/", env!("CARGO_PKG_VERSION")));

/// HTTP/1.1, no redirects, no transparent decompression.
#[derive(Debug)]
pub(super) struct Client {
    http: legacy::Client<Way, HttpRequestBody>,
    way: Way,
    /// From the first byte of a request to the last of its reply.
    timeout: Duration,
    is_http_allowed: bool,
}

impl Client {
    pub(super) fn new(way: Way, timeout: Duration, idle_timeout: Duration, is_http_allowed: bool) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(idle_timeout)
            .build(way.clone());
        Self { http, way, timeout, is_http_allowed }
    }

    fn late(&self) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, format!("the server took more than {:?}", self.timeout))
    }
}

#[async_trait::async_trait]
impl HttpService for Client {
    /// Cancel safe: the connection is closed.
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let deadline = Instant::now() + self.timeout;
        let is_http = request.uri().scheme() == Some(&Scheme::HTTP);
        if is_http && !self.is_http_allowed {
            let refused = io::Error::other("a server without TLS is not asked: the configuration wants HTTPS");
            return Err(HttpError::new(HttpErrorKind::Unknown, refused));
        }
        if is_http && let Some(authorization) = self.way.proxy_authorization(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization);
        }
        request.headers_mut().entry(USER_AGENT).or_insert(DECIMA);
        match timeout_at(deadline, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response.map(|body| {
                HttpResponseBody::new(Timed { body, end: Box::pin(sleep_until(deadline)), late: Some(self.late()) })
            })),
            Ok(Err(error)) if error.is_connect() => Err(HttpError::new(HttpErrorKind::Connect, error)),
            Ok(Err(error)) => Err(HttpError::new(kind(&error), error)),
            Err(_) => Err(HttpError::new(HttpErrorKind::Timeout, self.late())),
        }
    }
}

/// What an error says about the request, as the library tells it of its own client: whether it may have been carried out.
fn kind(error: &(dyn Error + 'static)) -> HttpErrorKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
                return HttpErrorKind::Request;
            }
            if error.is_timeout() {
                return HttpErrorKind::Timeout;
            }
        }
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::TimedOut) => return HttpErrorKind::Timeout,
            Some(
                io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => return HttpErrorKind::Interrupted,
            _ => next = error.source(),
        }
    }
    HttpErrorKind::Unknown
}

/// A reply's body until the end of its time.
struct Timed {
    body: Incoming,
    end: Pin<Box<Sleep>>,
    /// Taken when it is told.
    late: Option<io::Error>,
}

impl Body for Timed {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| HttpError::new(kind(&error), error))));
        }
        if self.late.is_none() {
            return Poll::Ready(None);
        }
        ready!(self.end.as_mut().poll(context));
        Poll::Ready(self.late.take().map(|late| Err(HttpError::new(HttpErrorKind::Timeout, late))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::sync::Arc;
    use std::thread;

    use hyper_util::client::proxy::matcher::Matcher;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use trust::Authorities;

    use super::super::way::Names;
    use super::*;

    /// What stands before the empty line.
    fn head(stream: &mut impl Read) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("text")
    }

    /// Answers one request with its own head.
    fn echo(stream: &mut (impl Read + Write)) {
        let asked = head(stream);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{asked}", asked.len())
            .and_then(|()| stream.flush())
            .expect("sent");
    }

    /// Speaks TLS with a certificate for `store.internal`.
    fn tls_server() -> (SocketAddr, rcgen::Certificate) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec!["store.internal".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a configuration");
        let tls = Arc::new(tls);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let connection = listener.accept().expect("a connection").0;
            let session = ServerConnection::new(tls).expect("a session");
            let mut stream = StreamOwned::new(session, connection);
            echo(&mut stream);
            stream.conn.send_close_notify();
            // it may be gone already
            let _ = stream.flush();
        });
        (address, certificate)
    }

    /// Answers what it is asked to fetch itself; what it is asked to connect to is `server`, whatever its name. Tells the first head.
    fn proxy(server: Option<SocketAddr>) -> (SocketAddr, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let serve = move || {
            let mut client = listener.accept().expect("a connection").0;
            let Some(server) = server else {
                echo(&mut client);
                return String::new();
            };
            let asked = head(&mut client);
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").expect("sent");
            let server = TcpStream::connect(server).expect("a server");
            let (mut from, mut to) = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            // either side may be gone first
            let _ = std::io::copy(&mut from, &mut to);
            asked
        };
        (address, thread::spawn(serve))
    }

    fn through(proxy: SocketAddr, authorities: Authorities, names: Names) -> Client {
        let tls = trust::client(Some(authorities), rustls::DEFAULT_VERSIONS).expect("TLS").with_no_client_auth();
        let proxies = Matcher::builder().all(format!("http://user:word@{proxy}")).build();
        let ten = Duration::from_secs(10);
        Client::new(Way::new(tls, names, proxies, ten), ten, ten, true)
    }

    async fn asked(client: &Client, url: &str) -> String {
        let request = http::Request::get(url).body(HttpRequestBody::empty()).expect("a request");
        let body = client.call(request).await.expect("an answer").into_body().bytes().await.expect("a body");
        String::from_utf8(body.to_vec()).expect("text")
    }

    /// `user:word`
    const AUTHORIZATION: &str = "basic dXNlcjp3b3Jk";

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_of_https_is_called_by_its_given_name_through_a_proxy_that_learns_its_host_alone() {
        let (server, certificate) = tls_server();
        let (proxy, learnt) = proxy(Some(server));
        let authorities = Authorities::of_pem(certificate.pem().as_bytes()).expect("an authority");
        let names = Names::for_host("bucket.test", trust::server_name("store.internal").expect("a name"));
        let client = through(proxy, authorities, names);
        let request = asked(&client, "https://bucket.test/a/key?list").await;
        assert!(request.starts_with("GET /a/key?list HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: bucket.test\r\n") && request.contains("user-agent: decima/"), "{request}");
        assert!(!request.contains("authorization"), "{request}");
        drop(client);
        let learnt = learnt.join().expect("it ended well");
        assert!(learnt.starts_with("CONNECT bucket.test:443 HTTP/1.1\r\n"), "{learnt}");
        assert!(
            learnt.to_lowercase().contains(&format!("proxy-authorization: {AUTHORIZATION}").to_lowercase()),
            "{learnt}"
        );
        assert!(!learnt.contains("key"), "{learnt}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_of_http_is_asked_by_a_proxy_that_is_told_the_whole_url() {
        let (proxy, served) = proxy(None);
        let client = through(proxy, Authorities::built_in(), Names::default());
        let request = asked(&client, "http://bucket.test:9000/a/key").await;
        assert!(request.starts_with("GET http://bucket.test:9000/a/key HTTP/1.1\r\n"), "{request}");
        assert!(
            request.to_lowercase().contains(&format!("proxy-authorization: {AUTHORIZATION}").to_lowercase()),
            "{request}"
        );
        served.join().expect("it ended well");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reply_that_stops_half_way_ends_at_the_time_of_the_attempt() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let served = thread::spawn(move || {
            let mut client = listener.accept().expect("a connection").0;
            head(&mut client);
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").expect("sent");
            // until the other side gives up
            let _ = client.read(&mut [0]);
        });
        let tls = trust::client(None, rustls::DEFAULT_VERSIONS).expect("TLS").with_no_client_auth();
        let way = Way::new(tls, Names::default(), Matcher::builder().build(), Duration::from_secs(10));
        let client = Client::new(way, Duration::from_millis(300), Duration::from_secs(10), true);
        let request =
            http::Request::get(format!("http://{address}/")).body(HttpRequestBody::empty()).expect("a request");
        let response = client.call(request).await.expect("a head");
        let error = response.into_body().bytes().await.expect_err("half a body");
        assert_eq!(error.kind(), HttpErrorKind::Timeout);
        assert_eq!(error.to_string(), "HTTP error: the server took more than 300ms");
        drop(client);
        served.join().expect("it ended well");
    }

    #[tokio::test]
    async fn a_server_without_tls_is_not_asked_where_https_is_wanted() {
        let tls = trust::client(None, rustls::DEFAULT_VERSIONS).expect("TLS").with_no_client_auth();
        let second = Duration::from_secs(1);
        let way = Way::new(tls, Names::default(), Matcher::builder().build(), second);
        let client = Client::new(way, second, second, false);
        let request = http::Request::get("http://127.0.0.1:1/").body(HttpRequestBody::empty()).expect("a request");
        let error = client.call(request).await.expect_err("not asked");
        assert!(error.to_string().contains("the configuration wants HTTPS"), "{error}");
    }
}
