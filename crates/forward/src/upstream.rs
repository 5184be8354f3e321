//! The connection to another server: one at a time, made when it is needed and made again when it broke.

mod raw;
mod tls;

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::uri::PathAndQuery;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::io::AsyncReadExt;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::Service;

use raw::Raw;

/// For the connection alone, TLS not included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long without a sign of life a connection with calls under way counts as broken.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A token is a line. bytes
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// What a call proves who we are with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Token {
    #[default]
    None,
    Text(String),
    /// Read again for every call: such files are rotated.
    File(PathBuf),
}

/// Where the server is and how it is spoken to.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// `host:port`. A scheme in front, `http://` or `https://`, goes before `plain_text`.
    pub address: String,
    /// No TLS.
    pub plain_text: bool,
    /// TLS with whatever certificate the server shows.
    pub any_certificate: bool,
    pub token: Token,
    /// Sent with every call.
    pub headers: Vec<(String, String)>,
    /// Of one message in either direction, in bytes.
    pub message_bytes_max: usize,
    /// Authorities to trust, in PEM; `None`: the system's, or those built in where there are none.
    pub authorities: Option<Vec<u8>>,
}

impl UpstreamOptions {
    /// The server at `address`, with TLS.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            plain_text: false,
            any_certificate: false,
            token: Token::None,
            headers: Vec::new(),
            message_bytes_max: 64 << 20,
            authorities: None,
        }
    }
}

/// Cheap to clone; clones share the connection.
#[derive(Clone)]
pub struct Upstream {
    channel: Channel,
    address: String,
    token: Token,
    headers: MetadataMap,
    message_bytes_max: usize,
}

impl Upstream {
    /// Connects at the first call. The error says which option cannot be used.
    ///
    /// Must be called within a tokio runtime.
    pub fn new(options: UpstreamOptions) -> Result<Self, String> {
        let UpstreamOptions { address, plain_text, any_certificate, token, headers, message_bytes_max, authorities } =
            options;
        let uri = uri(&address, plain_text)?;
        let tls = tls::config(any_certificate, authorities.as_deref())?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let channel = Endpoint::from(uri)
            .user_agent(concat!("decima/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| error.to_string())?
            .connect_timeout(2 * CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_with_connector_lazy(HttpsConnector::from((tcp, tls)));
        Ok(Self { channel, address, token, headers: metadata(&headers)?, message_bytes_max })
    }

    /// As it was given.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The reply of the unary method `path` to `message`.
    ///
    /// Cancel safe: dropping the future gives the call up; the server may have done what was asked.
    pub async fn call(&self, path: PathAndQuery, message: Bytes, timeout: Duration) -> Result<Bytes, Status> {
        let request = self.request(message, timeout).await?;
        let call = async {
            let mut grpc = self.grpc().await?;
            grpc.unary(request, path, Raw).await.map_err(whole)
        };
        Ok(within(timeout, call).await?.into_inner())
    }

    /// Sends `messages` to the bidirectional method `path` and reads its replies to their end.
    ///
    /// Cancel safe, as [`Upstream::call`].
    pub async fn exchange(&self, path: PathAndQuery, messages: Vec<Bytes>, timeout: Duration) -> Result<(), Status> {
        let request = self.request(tokio_stream::iter(messages), timeout).await?;
        let call = async {
            let mut grpc = self.grpc().await?;
            let mut replies = grpc.streaming(request, path, Raw).await.map_err(whole)?.into_inner();
            while replies.message().await.map_err(whole)?.is_some() {}
            Ok(())
        };
        within(timeout, call).await
    }

    /// Hands a gRPC request on as it is, of any kind, and its answer back, both while they come. Of its headers go on those that
    /// belong to the message; who we are is told in place of who the sender is.
    ///
    /// Cancel safe, as [`Upstream::call`].
    pub async fn pass(&self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        let mut on = http::Request::new(body);
        *on.method_mut() = http::Method::POST;
        *on.version_mut() = http::Version::HTTP_2;
        *on.uri_mut() = parts.uri.path().parse().map_err(|_| Status::invalid_argument("the path is none"))?;
        let headers = on.headers_mut();
        *headers = self.metadata().await?.into_headers();
        for name in ["content-type", "te", "grpc-encoding", "grpc-accept-encoding", "grpc-timeout"] {
            if let Some(value) = parts.headers.get(name) {
                headers.insert(name, value.clone());
            }
        }
        let failed = |error: tonic::transport::Error| whole(Status::from_error(error.into()));
        let mut channel = self.channel.clone();
        std::future::poll_fn(|context| channel.poll_ready(context)).await.map_err(failed)?;
        channel.call(on).await.map_err(failed)
    }

    async fn grpc(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(self.message_bytes_max);
        grpc.ready().await.map_err(|error| whole(Status::from_error(error.into())))?;
        Ok(grpc)
    }

    async fn request<T>(&self, message: T, timeout: Duration) -> Result<Request<T>, Status> {
        let mut request = Request::new(message);
        *request.metadata_mut() = self.metadata().await?;
        request.set_timeout(timeout);
        Ok(request)
    }

    /// The headers of a call: those of the options and the token.
    async fn metadata(&self) -> Result<MetadataMap, Status> {
        let mut metadata = self.headers.clone();
        let token = match &self.token {
            Token::None => return Ok(metadata),
            Token::Text(token) => token.clone(),
            Token::File(path) => {
                let unreadable = |error| Status::unauthenticated(format!("the token {}: {error}", path.display()));
                read(path).await.map_err(unreadable)?
            }
        };
        // what is wrong with a token is never told with the token
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
            .parse()
            .map_err(|_| Status::unauthenticated("the bearer token is no text that a header can hold"))?;
        value.set_sensitive(true);
        metadata.insert("authorization", value);
        Ok(metadata)
    }
}

async fn read(path: &std::path::Path) -> std::io::Result<String> {
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(TOKEN_BYTES_MAX).read_to_string(&mut text).await?;
    Ok(text)
}

async fn within<T>(timeout: Duration, call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    match tokio::time::timeout(timeout, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(Status::deadline_exceeded(format!("no answer within {timeout:?}"))),
    }
}

/// The status with all that is known of its cause: by itself it says `tcp connect error`, and not why.
fn whole(status: Status) -> Status {
    let mut text = status.message().to_owned();
    let mut source = status.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            let _ = write!(text, ": {cause}");
        }
        source = error.source();
    }
    let mut told = Status::new(status.code(), text);
    *told.metadata_mut() = status.metadata().clone();
    told
}

fn uri(address: &str, plain_text: bool) -> Result<Uri, String> {
    let wrong = || format!("{address:?} is no address of a server: give host:port");
    let (scheme, authority) = match address.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest.trim_end_matches('/')),
        Some(_) => return Err(wrong()),
        None => (if plain_text { "http" } else { "https" }, address),
    };
    let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong())?;
    if parsed.host().is_empty() || parsed.port_u16().is_none() || authority.contains('@') {
        return Err(wrong());
    }
    Uri::builder().scheme(scheme).authority(parsed).path_and_query("/").build().map_err(|_| wrong())
}

fn metadata(headers: &[(String, String)]) -> Result<MetadataMap, String> {
    let mut metadata = MetadataMap::new();
    for (name, value) in headers {
        let key = MetadataKey::<Ascii>::from_bytes(name.to_ascii_lowercase().as_bytes())
            .map_err(|_| format!("{name:?} is no name of a header"))?;
        let value = value.parse().map_err(|_| format!("the value of header {name:?} is no text that one can hold"))?;
        metadata.append(key, value);
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;
