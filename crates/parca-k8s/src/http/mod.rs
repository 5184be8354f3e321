//! A small client for HTTP/1.1, with TLS: as much as the Kubernetes API and an OTLP receiver need.
//!
//! Everything a client does ends by its deadline, everything it reads is bounded. One connection is kept between requests. There
//! are no redirects, no proxies, no cookies and no compression.

mod tls;

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

pub use tls::trusting;

/// A response's head: Kubernetes sends about one kilobyte.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A response's body: a StatefulSet has some ten kilobytes.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub https: bool,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    pub port: u16,
    /// Begins with a slash, or is empty.
    pub path: String,
}

impl Url {
    /// `http[s]://HOST[:PORT][/PATH]`. `None` for anything else, such as a query or a user's name.
    pub fn parse(text: &str) -> Option<Url> {
        let (https, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://")?),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let default_port = if https { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
        let tame = |c: char| c.is_ascii_graphic() && !matches!(c, '@' | '?' | '#' | '"' | '\\');
        let whole = !host.is_empty() && !host.contains(['[', ']']) && host.chars().chain(path.chars()).all(tame);
        whole.then(|| Url { https, host: host.to_owned(), port, path: path.to_owned() })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Looks up a name: its addresses with the port, within the time given.
pub type Resolve<'a> = &'a dyn Fn(&str, u16, Duration) -> io::Result<Vec<SocketAddr>>;

/// What kept a request from being answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The name has no address.
    Name,
    /// Nobody listens, or the connection broke.
    Connection,
    /// The other side is not who it should be, or speaks no TLS.
    Tls,
    /// The deadline passed.
    TimedOut,
    /// The answer is no HTTP, or too long.
    Answer,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: ErrorKind,
    /// `host:port`
    pub at: String,
    pub why: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.why)
    }
}

impl std::error::Error for Error {}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub code: u16,
    pub body: Vec<u8>,
}

/// One request. Header values must hold no line breaks.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Absolute, with a query if there is one.
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

/// A client of one server, until its deadline.
pub struct Client<'a> {
    url: Url,
    tls: Option<Arc<ClientConfig>>,
    resolve: Resolve<'a>,
    deadline: Instant,
    stream: Option<Stream>,
}

impl<'a> Client<'a> {
    /// `tls` is used for https only; see [`trusting`]. `resolve` is asked for names only, not for addresses.
    pub fn new(url: Url, tls: Option<Arc<ClientConfig>>, resolve: Resolve<'a>, deadline: Instant) -> Client<'a> {
        Client { url, tls, resolve, deadline, stream: None }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// No answer came by the deadline, or none that is one. An answer with any code is none of these.
    pub fn send(&mut self, request: Request<'_>) -> Result<Response, Error> {
        if let Some(mut kept) = self.stream.take() {
            // a server may close a kept connection at any moment: then the request was not taken up
            match exchange(&mut kept, &self.url, request) {
                Ok((response, keep)) => {
                    self.stream = keep.then_some(kept);
                    return Ok(response);
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(self.error(&error)),
                Err(_) => {}
            }
        }
        let mut stream = self.connect()?;
        let (response, keep) = exchange(&mut stream, &self.url, request).map_err(|error| self.error(&error))?;
        self.stream = keep.then_some(stream);
        Ok(response)
    }

    fn connect(&self) -> Result<Stream, Error> {
        let failed = |kind, why: String| Error { kind, at: self.url.authority(), why };
        let addresses = match self.url.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, self.url.port)],
            Err(_) => {
                let left = left(self.deadline).map_err(|error| self.error(&error))?;
                (self.resolve)(&self.url.host, self.url.port, left).map_err(|error| match error.kind() {
                    io::ErrorKind::TimedOut => self.error(&error),
                    _ => failed(ErrorKind::Name, error.to_string()),
                })?
            }
        };
        let mut last = failed(ErrorKind::Name, "the name has no address".to_owned());
        for address in addresses {
            let left = left(self.deadline).map_err(|error| self.error(&error))?;
            match TcpStream::connect_timeout(&address, left) {
                Ok(tcp) => {
                    let _ = tcp.set_nodelay(true);
                    return self.wrap(Timed { tcp, deadline: self.deadline });
                }
                Err(error) => last = self.error(&error),
            }
        }
        Err(last)
    }

    fn wrap(&self, timed: Timed) -> Result<Stream, Error> {
        if !self.url.https {
            return Ok(Stream::Plain(timed));
        }
        let failed = |why: String| Error { kind: ErrorKind::Tls, at: self.url.authority(), why };
        let config = self.tls.clone().ok_or_else(|| failed("there is no authority to trust".to_owned()))?;
        let name = self.url.host.clone().try_into().map_err(|_| failed("no name for a certificate".to_owned()))?;
        let connection = ClientConnection::new(config, name).map_err(|error| failed(error.to_string()))?;
        Ok(Stream::Tls(Box::new(StreamOwned::new(connection, timed))))
    }

    fn error(&self, error: &io::Error) -> Error {
        let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        let kind = match error.kind() {
            _ if is_tls => ErrorKind::Tls,
            io::ErrorKind::TimedOut => ErrorKind::TimedOut,
            io::ErrorKind::InvalidData => ErrorKind::Answer,
            _ => ErrorKind::Connection,
        };
        Error { kind, at: self.url.authority(), why: error.to_string() }
    }
}

/// The time until `deadline`.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(timed_out()) } else { Ok(left) }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

/// A connection of which every read and write ends by the deadline.
struct Timed {
    tcp: TcpStream,
    deadline: Instant,
}

impl Timed {
    fn ended(error: io::Error) -> io::Error {
        // what the timeout of a socket looks like
        if error.kind() == io::ErrorKind::WouldBlock { timed_out() } else { error }
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(left(self.deadline)?))?;
        self.tcp.read(buffer).map_err(Timed::ended)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(left(self.deadline)?))?;
        self.tcp.write(buffer).map_err(Timed::ended)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.write(buffer),
            Stream::Tls(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// One request and its answer, and whether the connection may serve another one.
fn exchange(stream: &mut (impl Read + Write), url: &Url, request: Request<'_>) -> io::Result<(Response, bool)> {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
        request.method,
        request.path,
        url.authority(),
        request.body.len()
    );
    for (name, value) in request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let mut bytes = head.into_bytes();
    bytes.extend(request.body);
    stream.write_all(&bytes)?;
    stream.flush()?;
    let mut input = Input { stream, buffer: Vec::new() };
    loop {
        let head = input.head()?;
        let (code, fields) = parse_head(&head)?;
        if (100..200).contains(&code) {
            continue;
        }
        let (body, delimited) = input.body(code, &fields)?;
        let closes = fields.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"));
        return Ok((Response { code, body }, delimited && !closes));
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The code, and the fields with their names in lower case.
fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let head = std::str::from_utf8(head).map_err(|_| bad("the answer's head is no text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let code = status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
    let code = code.ok_or_else(|| bad("the answer is no HTTP/1.1"))?;
    let field =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    Ok((code, lines.filter_map(field).collect()))
}

/// What comes in, with what was read too far.
struct Input<'a, S> {
    stream: &'a mut S,
    buffer: Vec<u8>,
}

impl<S: Read> Input<'_, S> {
    /// `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 8192];
        let bytes = self.stream.read(&mut chunk)?;
        self.buffer.extend(&chunk[..bytes]);
        Ok(bytes > 0)
    }

    /// Bytes up to `end` without it; `end` is taken as well.
    fn until(&mut self, end: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end) {
                let mut taken: Vec<u8> = self.buffer.drain(..at + end.len()).collect();
                taken.truncate(at);
                return Ok(taken);
            }
            if self.buffer.len() > limit {
                return Err(bad("the answer is too long"));
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn exactly(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < bytes {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..bytes).collect())
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        self.until(b"\r\n\r\n", HEAD_BYTES_MAX)
    }

    /// The body, and whether its end was told by other than the connection's end.
    fn body(&mut self, code: u16, fields: &[(String, String)]) -> io::Result<(Vec<u8>, bool)> {
        let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        if matches!(code, 204 | 304) {
            return Ok((Vec::new(), true));
        }
        if field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok((self.chunks()?, true));
        }
        if let Some(length) = field("content-length") {
            let length = length.parse().map_err(|_| bad("the answer's length is no number"))?;
            if length > BODY_BYTES_MAX {
                return Err(bad("the answer is too long"));
            }
            return Ok((self.exactly(length)?, true));
        }
        while self.fill()? {
            if self.buffer.len() > BODY_BYTES_MAX {
                return Err(bad("the answer is too long"));
            }
        }
        Ok((std::mem::take(&mut self.buffer), false))
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n", HEAD_BYTES_MAX)?;
            let size = std::str::from_utf8(&line).ok().and_then(|line| line.split(';').next());
            let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
            let size = size.ok_or_else(|| bad("a chunk's length is no number"))?;
            if size > BODY_BYTES_MAX - body.len() {
                return Err(bad("the answer is too long"));
            }
            if size == 0 {
                // trailers, then an empty line
                while !self.until(b"\r\n", HEAD_BYTES_MAX)?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            self.exactly(2)?;
        }
    }
}

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;
