//! The UI, embedded when the server was built. Built without one, a page says so.

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, StatusCode};

/// A file of `ui/dist`, with its compressed forms where the UI's build made them.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    /// Quoted, as the header wants it.
    etag: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

// `ASSETS`, sorted by path
include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// What index.html says literally where the prefix belongs.
const BASE: &str = "<base href=\"/\">";

const NOT_BUILT: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Decima</title></head>\n\
<body><h1>Decima is running</h1>\n<p>This binary was built without the user interface. Build it with <code>make build</code>, \
or run <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code> and compile the server again.</p>\n\
<p>Meanwhile: <a href=\"metrics\">metrics</a>, <a href=\"debug/pprof/\">profiles of the server itself</a>, \
<a href=\"api/profiles/types\">profile types</a>.</p></body></html>\n";

/// The file at `path` (relative), if there is one.
pub(super) fn asset(path: &str, headers: &HeaderMap) -> Option<Response> {
    if path == "index.html" {
        return None;
    }
    let found = ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok()?;
    let asset = &ASSETS[found];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known == asset.etag) {
        return Some((StatusCode::NOT_MODIFIED, [(ETAG, asset.etag)]).into_response());
    }
    // names below assets/ carry a hash of their content
    let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (encoding, bytes) = match (asset.brotli, asset.gzip) {
        (Some(brotli), _) if accepts(accepted, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(accepted, "gzip") => (Some("gzip"), gzip),
        _ => (None, asset.plain),
    };
    let described =
        [(CONTENT_TYPE, asset.content_type), (ETAG, asset.etag), (CACHE_CONTROL, caching), (VARY, "accept-encoding")];
    Some(match encoding {
        Some(encoding) => (described, [(CONTENT_ENCODING, encoding)], bytes).into_response(),
        None => (described, bytes).into_response(),
    })
}

/// index.html, for every path that is not a file: the UI finds its way by the URL.
pub(super) fn page(headers: &HeaderMap, prefix: &str) -> Response {
    let html = "text/html; charset=utf-8";
    let Ok(found) = ASSETS.binary_search_by(|asset| asset.path.cmp("index.html")) else {
        return ([(CONTENT_TYPE, html)], NOT_BUILT).into_response();
    };
    let asset = &ASSETS[found];
    if headers.get(IF_NONE_MATCH).is_some_and(|known| known == asset.etag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, asset.etag)]).into_response();
    }
    let described = [(CONTENT_TYPE, html), (ETAG, asset.etag), (CACHE_CONTROL, "no-cache")];
    if prefix.is_empty() {
        return (described, asset.plain).into_response();
    }
    let page = String::from_utf8_lossy(asset.plain).replace(BASE, &format!("<base href=\"{prefix}/\">"));
    (described, page).into_response()
}

/// Whether an `accept-encoding` header names `coding` without forbidding it.
fn accepts(header: &str, coding: &str) -> bool {
    header.split(',').any(|part| {
        let mut parameters = part.split(';').map(str::trim);
        parameters.next() == Some(coding) && !parameters.any(|parameter| matches!(parameter, "q=0" | "q=0.0"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_accepted_unless_its_weight_is_zero() {
        assert!(accepts("gzip, deflate, br", "br"));
        assert!(accepts("gzip;q=0.5", "gzip"));
        assert!(!accepts("gzip, br;q=0", "br"));
        assert!(!accepts("", "br"));
        assert!(!accepts("brotli", "br"));
    }

    #[test]
    fn every_path_that_is_no_file_is_a_page() {
        assert!(asset("targets", &HeaderMap::new()).is_none());
        let page = page(&HeaderMap::new(), "/decima");
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    }
}
