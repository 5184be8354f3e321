//! Bodies of several parts, as Pebble takes and gives files.

use super::error::PebbleError;
use super::{ErrorKind, Result};

/// Pebble refuses boundaries of less than 32 characters.
const BOUNDARY_LENGTH: usize = 40;

/// A body that writes one file: what is asked first, then the content. Returns content type and body.
///
/// # Errors
/// A path that cannot stand in a header.
pub(super) fn write(request: &[u8], path: &str, content: &[u8]) -> Result<(String, Vec<u8>)> {
    if path.contains(|c: char| c.is_ascii_control()) {
        return Err(PebbleError::new(ErrorKind::BadRequest, format!("a path with control characters: {path:?}")));
    }
    let boundary = boundary_for(content);
    let escaped = path.replace('\\', "\\\\").replace('"', "\\\"");
    let mut body = Vec::with_capacity(request.len() + content.len() + 512);
    body.extend_from_slice(
        format!(
            "--{boundary}\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"request\"\r\n\r\n"
        )
        .as_bytes(),
    );
    body.extend_from_slice(request);
    body.extend_from_slice(
        format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{escaped}\"\r\n\r\n"
        )
        .as_bytes(),
    );
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Ok((format!("multipart/form-data; boundary={boundary}"), body))
}

/// A boundary that does not occur in the content: counted up until that is so, hence no need for chance.
fn boundary_for(content: &[u8]) -> String {
    (0_u64..)
        .map(|n| format!("{n:0BOUNDARY_LENGTH$}"))
        .find(|boundary| find(content, boundary.as_bytes()).is_none())
        .unwrap_or_default()
}

/// One part: its form name and content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) name: String,
    pub(super) content: &'a [u8],
}

/// The parts of a body.
///
/// # Errors
/// The body is not what its content type says, or was cut off.
pub(super) fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>> {
    let malformed = |what: &str| PebbleError::protocol(format!("the answer is no multipart body: {what}"));
    let boundary = content_type
        .strip_prefix("multipart/form-data")
        .and_then(|rest| rest.split_once("boundary="))
        .map(|(_, boundary)| boundary.split(';').next().unwrap_or_default().trim_matches(['"', ' ']))
        .filter(|boundary| !boundary.is_empty())
        .ok_or_else(|| malformed("no boundary"))?;
    let first = format!("--{boundary}");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or_else(|| malformed("no part"))?;
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        let start = rest.strip_prefix(b"\r\n").ok_or_else(|| malformed("a boundary that goes on"))?;
        let end = find(start, between.as_bytes()).ok_or_else(|| malformed("it is cut off"))?;
        let (part, after) = (&start[..end], &start[end + between.len()..]);
        let head = find(part, b"\r\n\r\n").ok_or_else(|| malformed("a part without a head"))?;
        let headers = String::from_utf8_lossy(&part[..head]);
        let name = headers
            .lines()
            .filter(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))
            .flat_map(|line| line.split(';'))
            .find_map(|item| item.trim().strip_prefix("name="))
            .map(|name| name.trim_matches('"').to_owned())
            .ok_or_else(|| malformed("a part without a name"))?;
        parts.push(Part { name, content: &part[head + 4..] });
        rest = after;
    }
}

/// Where `needle` begins: candidates by the first byte, then compared.
fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let (&first, _) = needle.split_first()?;
    let mut from = 0;
    while let Some(at) = haystack.get(from..)?.iter().position(|&byte| byte == first) {
        if haystack[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_boundary_never_occurs_in_the_content() {
        let content = format!("{:040}\r\n--{:040}", 0, 1);
        let (content_type, body) = write(b"{}", "/a", content.as_bytes()).unwrap();
        assert_eq!(content_type, format!("multipart/form-data; boundary={:040}", 2));
        assert_eq!(parts(&content_type, &body).unwrap()[1].content, content.as_bytes());
    }

    #[test]
    fn paths_that_would_break_a_header_are_refused() {
        assert_eq!(write(b"{}", "/a\r\nb", b"").unwrap_err().kind, ErrorKind::BadRequest);
    }

    #[test]
    fn cut_off_bodies_are_errors() {
        let (content_type, body) = write(b"{}", "/a", b"x").unwrap();
        for end in 0..body.len() - 4 {
            assert!(parts(&content_type, &body[..end]).is_err(), "{end}");
        }
        assert!(parts("application/json", &body).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let (content_type, body) = write(b"{\"a\":1}", "/a\"b\\c", &content).unwrap();
            let parts = parts(&content_type, &body).unwrap();
            prop_assert_eq!(parts.len(), 2);
            prop_assert_eq!((parts[0].name.as_str(), parts[0].content), ("request", &b"{\"a\":1}"[..]));
            prop_assert_eq!((parts[1].name.as_str(), parts[1].content), ("files", content.as_slice()));
        }

        #[test]
        fn what_is_taken_of_any_body_stands_in_it(body in "(--b)?(\r\n)?[a-z:=;\"\r\n-]{0,40}(\r\n--b)?") {
            for part in parts("multipart/form-data; boundary=b", body.as_bytes()).unwrap_or_default() {
                prop_assert!(body.contains(std::str::from_utf8(part.content).unwrap()), "{:?}", body);
            }
        }
    }
}
