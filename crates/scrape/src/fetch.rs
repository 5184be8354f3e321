//! One request to one target: what it sent, or why not, in words for the user.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use url::Url;

use crate::client::JobClient;

/// How much of an unexpected answer a message shows.
const EXCERPT_CHARS: usize = 80;

/// Why a scrape failed, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The target's URL cannot be requested.
    Url,
    /// The job's `tls_config` cannot be used.
    Tls,
    /// No connection, or it broke.
    Connection,
    /// Nothing, or not all of it, within `scrape_timeout`.
    Timeout,
    /// A status other than 200.
    Status,
    /// A body of no bytes.
    Empty,
    /// A body of more bytes than are accepted.
    TooLarge,
    /// All memory for bodies that are being received is taken.
    Memory,
    /// A body that is no profile.
    Content,
    /// None of the sample types to keep is in the profile.
    SampleTypes,
    /// The store refused it or failed.
    Store,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Url => "url",
            Reason::Tls => "tls",
            Reason::Connection => "connection",
            Reason::Timeout => "timeout",
            Reason::Status => "status",
            Reason::Empty => "empty",
            Reason::TooLarge => "too_large",
            Reason::Memory => "memory",
            Reason::Content => "content",
            Reason::SampleTypes => "sample_types",
            Reason::Store => "store",
        }
    }
}

/// Why a scrape failed. The message says what was wrong, where, and what to do if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrapeError {
    pub reason: Reason,
    pub message: String,
}

impl ScrapeError {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

impl fmt::Display for ScrapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ScrapeError {}

/// Bytes for bodies that are being received and stored, shared by all targets.
#[derive(Clone, Debug)]
pub(crate) struct BodyBudget {
    bytes_max: usize,
    taken: Arc<AtomicUsize>,
}

/// Part of a [`BodyBudget`], given back when dropped.
#[derive(Debug)]
pub(crate) struct BodyLease {
    budget: BodyBudget,
    bytes: usize,
}

impl BodyBudget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: Arc::default() }
    }

    fn lease(&self) -> BodyLease {
        BodyLease { budget: self.clone(), bytes: 0 }
    }
}

impl BodyLease {
    /// False, and nothing is taken, if there is not so much.
    fn grow(&mut self, bytes: usize) -> bool {
        let budget = &self.budget;
        let within = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= budget.bytes_max);
        let grown = budget.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok();
        self.bytes += if grown { bytes } else { 0 };
        grown
    }
}

impl Drop for BodyLease {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body as received, with the memory that it takes.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// Of the header, empty if there is none.
    pub(crate) content_type: String,
    /// Held as long as `bytes` or what was made of them lives.
    pub(crate) lease: BodyLease,
}

/// Asks for `url` and receives at most `body_max` bytes. Takes as long as the target likes: the caller sets the time.
///
/// Cancel safe: what was received is dropped and its memory given back.
pub(crate) async fn fetch(
    client: &JobClient,
    user_agent: &HeaderValue,
    url: &str,
    body_max: usize,
    budget: &BodyBudget,
) -> Result<Body, ScrapeError> {
    let request = request(url, user_agent)?;
    let http =
        client.http().await.map_err(|why| ScrapeError::new(Reason::Tls, format!("cannot scrape {url}: {why}")))?;
    let mut response = http.request(request).await.map_err(|error| connection_error(url, &error))?;
    let content_type = header(response.headers(), &CONTENT_TYPE);
    if response.status() != StatusCode::OK {
        return Err(status_error(url, &response));
    }

    let mut lease = budget.lease();
    let mut body = BytesMut::new();
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(|error| connection_error(url, &error))?;
        let Ok(chunk) = frame.into_data() else { continue };
        if body.len() + chunk.len() > body_max {
            let message = format!("{url} sent more than {body_max} bytes");
            return Err(ScrapeError::new(Reason::TooLarge, message));
        }
        if !lease.grow(chunk.len()) {
            let message = format!(
                "all {} bytes for profiles that are being received are taken: scrape fewer targets or less often",
                budget.bytes_max
            );
            return Err(ScrapeError::new(Reason::Memory, message));
        }
        body.extend_from_slice(&chunk);
    }
    if body.is_empty() {
        return Err(ScrapeError::new(Reason::Empty, format!("{url} sent an empty profile")));
    }
    refuse_markup(url, &content_type, &body)?;
    Ok(Body { bytes: body.freeze(), content_type, lease })
}

/// A GET of `url`. There is never a user in it: an `@` of an address is escaped, as in Go.
fn request(url: &str, user_agent: &HeaderValue) -> Result<Request<Empty<Bytes>>, ScrapeError> {
    let error = |message: String| ScrapeError::new(Reason::Url, message);
    let mut parsed = Url::parse(url).map_err(|why| error(format!("{url} is not a URL: {why}")))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(error(format!("unsupported scheme {:?} in {url}: use http or https", parsed.scheme())));
    }
    let mut request = Request::new(Empty::new());
    parsed.set_fragment(None);
    *request.uri_mut() =
        Uri::try_from(parsed.as_str()).map_err(|why| error(format!("{url} cannot be asked for: {why}")))?;
    request.headers_mut().insert(USER_AGENT, user_agent.clone());
    Ok(request)
}

fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

fn status_error(url: &str, response: &Response<Incoming>) -> ScrapeError {
    let status = response.status();
    let advice = match status.as_u16() {
        300..=399 => {
            let location = header(response.headers(), &LOCATION);
            format!(": redirects to {location:?} are not followed, scrape that address instead")
        }
        401 | 403 => ": the target wants credentials, which scraping cannot send yet".to_owned(),
        404 => ": there is no such profile, check its path or disable it in pprof_config".to_owned(),
        _ => String::new(),
    };
    ScrapeError::new(Reason::Status, format!("server returned HTTP status {status} for {url}{advice}"))
}

/// A pprof profile, compressed or not, never begins with `<`.
fn refuse_markup(url: &str, content_type: &str, body: &[u8]) -> Result<(), ScrapeError> {
    let start = body.trim_ascii_start();
    if start.first() != Some(&b'<') {
        return Ok(());
    }
    let message = format!(
        "{url} sent a web page instead of a profile (Content-Type {content_type:?}, begins with {:?}): check address \
         and path",
        excerpt(start)
    );
    Err(ScrapeError::new(Reason::Content, message))
}

/// What a sink said about a body that it found invalid, with what the target called it.
pub(crate) fn content_error(url: &str, content_type: &str, refusal: &str) -> ScrapeError {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let is_text = kind.starts_with("text/") || kind == "application/json";
    let advice = if is_text {
        format!(" (the target calls it {kind}: check the path, and that no debug parameter asks for text)")
    } else {
        String::new()
    };
    ScrapeError::new(Reason::Content, format!("{refusal}: the answer of {url} is not a valid profile{advice}"))
}

/// The whole chain of causes, since the first says no more than that connecting failed.
fn connection_error(url: &str, error: &dyn Error) -> ScrapeError {
    let mut causes = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let causes = causes.join(": ");
    // the second: an authority of the same name that is another one
    let advice = match causes.contains("UnknownIssuer") || causes.contains("BadSignature") {
        true => ": name the authority that signed it in tls_config, as ca_file",
        false => "",
    };
    ScrapeError::new(Reason::Connection, format!("cannot scrape {url}: {causes}{advice}"))
}

fn excerpt(body: &[u8]) -> String {
    let short = &body[..body.len().min(4 * EXCERPT_CHARS)];
    String::from_utf8_lossy(short).chars().take(EXCERPT_CHARS).collect()
}
