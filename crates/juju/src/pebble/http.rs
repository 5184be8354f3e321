//! HTTP/1.1 over a Unix socket, as much as Pebble needs: one request a connection, a deadline over all of it, bounded
//! answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Result;
use super::error::PebbleError;

/// Of a file that is read, above all: what a charm reads from a workload has kilobytes.
pub(super) const BODY_BYTES_MAX: usize = 64 << 20;

/// Of the status line and all headers.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// A stream whose every read and write ends at one time.
#[derive(Debug)]
pub(super) struct Timed {
    stream: UnixStream,
    deadline: Instant,
}

impl Timed {
    pub(super) fn connect(socket: &Path, deadline: Instant) -> io::Result<Timed> {
        Ok(Timed { stream: UnixStream::connect(socket)?, deadline })
    }

    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = deadline;
    }

    /// A second handle to the same connection.
    pub(super) fn try_clone(&self) -> io::Result<Timed> {
        Ok(Timed { stream: self.stream.try_clone()?, deadline: self.deadline })
    }

    /// Ends the connection, for the other handles too.
    pub(super) fn shut_down(&self) {
        // it may be gone already
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(remaining) }
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.remaining()?))?;
        self.stream.read(into)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.remaining()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    /// Path and query, encoded.
    pub(super) target: &'a str,
    pub(super) headers: &'a [(&'static str, &'a str)],
    pub(super) body: Option<&'a [u8]>,
}

/// Status line and headers of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug)]
pub(super) struct Response {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

/// Sends a request and reads the whole answer.
pub(super) fn exchange(socket: &Path, request: &Request<'_>, deadline: Instant) -> Result<Response> {
    let doing = || format!("{} {}", request.method, request.target);
    let failed = |error: io::Error| PebbleError::of_io(&error, &doing());
    let mut stream = Timed::connect(socket, deadline).map_err(|e| PebbleError::of_io(&e, &socket.to_string_lossy()))?;
    let sent = send(&mut stream, request, "close");
    let mut from = BufReader::new(stream);
    // Pebble may answer and close before it has read a body that it refuses: its answer says more than the broken pipe
    let head = match (sent, read_head(&mut from)) {
        (Ok(()), head) => head.map_err(failed)?,
        (Err(_), Ok(head)) => head,
        (Err(error), Err(_)) => return Err(failed(error)),
    };
    let body = read_body(&mut from, &head).map_err(failed)?;
    Ok(Response { head, body })
}

pub(super) fn send(to: &mut Timed, request: &Request<'_>, connection: &str) -> io::Result<()> {
    let mut head = format!("{} {} HTTP/1.1\r\nHost: pebble\r\n", request.method, request.target);
    head += &format!("Connection: {connection}\r\n");
    for (name, value) in request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if let Some(body) = request.body {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    head += "\r\n";
    to.write_all(head.as_bytes())?;
    to.write_all(request.body.unwrap_or_default())
}

pub(super) fn read_head(from: &mut impl BufRead) -> io::Result<Head> {
    let mut bounded = from.take(HEAD_BYTES_MAX);
    let first = read_line(&mut bounded)?;
    let status = first
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| malformed("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut bounded)?;
        if line.is_empty() {
            return Ok(Head { status, headers });
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("a header without a colon"))?;
        headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_body(from: &mut impl BufRead, head: &Head) -> io::Result<Vec<u8>> {
    if head.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return read_chunks(from);
    }
    match head.header("content-length") {
        Some(length) => read_exactly(from, length.parse().map_err(|_| malformed("a length that is no number"))?),
        None => {
            let mut body = Vec::new();
            from.take(BODY_BYTES_MAX as u64 + 1).read_to_end(&mut body)?;
            if body.len() > BODY_BYTES_MAX { Err(too_large()) } else { Ok(body) }
        }
    }
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(&mut from.take(HEAD_BYTES_MAX))?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| malformed("a chunk without a length"))?;
        if length > BODY_BYTES_MAX - body.len() {
            return Err(too_large());
        }
        if length == 0 {
            // trailers are not used; the connection ends here
            return Ok(body);
        }
        body.append(&mut read_exactly(from, length)?);
        if !read_line(&mut from.take(2))?.is_empty() {
            return Err(malformed("a chunk longer than its length"));
        }
    }
}

/// Allocates as it reads: a length is only a claim.
fn read_exactly(from: &mut impl BufRead, length: usize) -> io::Result<Vec<u8>> {
    if length > BODY_BYTES_MAX {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
}

/// A line without its end.
fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| malformed("a line that is no text"))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer is no HTTP: {what}"))
}

fn too_large() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer has more than {BODY_BYTES_MAX} bytes"))
}

/// Path and query; each value is percent-encoded.
pub(super) fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (position, (name, value)) in query.iter().enumerate() {
        target.push(if position == 0 { '?' } else { '&' });
        target += name;
        target.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/') {
                target.push(char::from(byte));
            } else {
                target += &format!("%{byte:02X}");
            }
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> io::Result<Response> {
        let mut from = BufReader::new(text);
        let head = read_head(&mut from)?;
        let body = read_body(&mut from, &head)?;
        Ok(Response { head, body })
    }

    #[test]
    fn bodies_come_by_length_in_chunks_or_to_the_end() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\n\nabc",
        ] {
            let response = read(text.as_bytes()).unwrap();
            assert_eq!((response.head.status, response.body.as_slice()), (200, &b"abc"[..]), "{text}");
        }
    }

    #[test]
    fn cut_off_and_endless_answers_are_errors() {
        for (text, why) in [
            ("", "unexpected end of file"),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", "unexpected end of file"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "unexpected end of file"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "more than"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", "more than"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "end of file"),
            ("SSH-2.0\r\n\r\n", "no status line"),
            ("HTTP/1.1 200 OK\r\nhello\r\n\r\n", "without a colon"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{text:?}: {error}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(20_000));
        assert!(read(endless.as_bytes()).is_err());
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(target("/v1/files", &[("path", "/a b&ü"), ("n", "1")]), "/v1/files?path=/a%20b%26%C3%BC&n=1");
    }

    proptest! {
        #[test]
        fn an_answer_that_is_taken_has_no_more_than_was_sent(text in "(HTTP/1.1 [0-9 ]{0,5}\r\n)?(Transfer-Encoding: chunked\r\n)?(Content-Length: [0-9]{0,22}\r\n)?\r?\n?[0-9a-f\r\n]{0,20}") {
            if let Ok(answer) = read(text.as_bytes()) {
                prop_assert!(text.starts_with("HTTP/1.") && answer.body.len() < text.len(), "{}", text);
            }
        }
    }
}
