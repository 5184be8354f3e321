//! What Go's standard library does to text, where users see the result: quoting in messages, URLs, cleaned paths.

use std::time::Duration;

/// `strconv.Quote`: double quotes, backslash escapes, unprintable characters by number.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if c.is_ascii_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_ascii() => out.push(c),
            c if !is_printable(c) && u32::from(c) > 0xFFFF => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c if !is_printable(c) => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn is_printable(c: char) -> bool {
    !c.is_whitespace() && c.escape_debug().count() == 1
}

/// `time.Duration.String` of whole milliseconds: `500ms`, `1.5s`, `1m0s`, `1h0m0s`.
pub(crate) fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis > 0 && millis < 1000 {
        return format!("{millis}ms");
    }
    let (seconds, fraction) = (millis / 1000, millis % 1000);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        text.push_str(&format!("{minutes}m"));
    }
    text.push_str(&(seconds % 60).to_string());
    if fraction > 0 {
        text.push_str(format!(".{fraction:03}").trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// `filepath.Join(prefix, path)`: joins what is not empty and cleans the result of `.`, `..` and doubled slashes.
/// Of two empty parts the empty path.
pub(crate) fn join_path(prefix: &str, path: &str) -> String {
    let parts: Vec<&str> = [prefix, path].into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() {
        return String::new();
    }
    clean_path(&parts.join("/"))
}

fn clean_path(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if rooted => {}
            part => kept.push(part),
        }
    }
    let joined = kept.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// `url.URL{Scheme, Host, Path, RawQuery}.String()` for unencoded parts; `query` in the order of its keys.
pub(crate) fn url(scheme: &str, host: &str, path: &str, query: &[(String, Vec<String>)]) -> String {
    let mut out = String::new();
    if !scheme.is_empty() {
        out.push_str(scheme);
        out.push(':');
    }
    if !host.is_empty() || (!scheme.is_empty() && !path.is_empty()) {
        out.push_str("//");
    }
    escape(host, |byte| byte >= 0x80 || !is_host_byte(byte), &mut out);
    if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
        out.push('/');
    }
    if path == "*" {
        out.push('*');
    } else {
        escape(path, |byte| !is_unreserved(byte) && !b"$&+,/:;=@".contains(&byte), &mut out);
    }
    let mut separator = '?';
    for (key, values) in query {
        for value in values {
            out.push(separator);
            separator = '&';
            escape_query(key, &mut out);
            out.push('=');
            escape_query(value, &mut out);
        }
    }
    out
}

/// `url.QueryEscape`: a space becomes `+`.
fn escape_query(text: &str, out: &mut String) {
    for (i, part) in text.split(' ').enumerate() {
        if i > 0 {
            out.push('+');
        }
        escape(part, |byte| !is_unreserved(byte), out);
    }
}

fn escape(text: &str, must_escape: impl Fn(u8) -> bool, out: &mut String) {
    for byte in text.bytes() {
        // every predicate escapes bytes from 0x80 on, so the cast is of ASCII only
        if byte >= 0x80 || must_escape(byte) {
            out.push_str(&format!("%{byte:02X}"));
        } else {
            out.push(char::from(byte));
        }
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn is_host_byte(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:[]<>\"".contains(&byte)
}

/// Whether `net.SplitHostPort` finds a host and a port: one colon outside brackets, or `[host]:port`.
pub(crate) fn has_host_and_port(address: &str) -> bool {
    let Some(colon) = address.rfind(':') else { return false };
    if let Some(inside) = address.strip_prefix('[') {
        // byte positions below are in `address`: the bracket that was stripped is one byte
        let Some(end) = inside.find(']').map(|at| at + 1) else { return false };
        let between = &address[1..end];
        return end + 1 == colon && !between.contains('[') && !address[end + 1..].contains(['[', ']']);
    }
    !address[..colon].contains(':') && !address.contains(['[', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_and_cleaned_as_by_filepath() {
        for (prefix, path, want) in [
            ("/p", "/debug/x", "/p/debug/x"),
            ("p/", "/debug/x", "p/debug/x"),
            ("/../x//", "/a", "/x/a"),
            ("/p", "../up", "/up"),
            ("p", "../../up", "../up"),
            ("/p", "", "/p"),
            (".", "", "."),
            ("a", "..", "."),
        ] {
            assert_eq!(join_path(prefix, path), want, "{prefix:?} and {path:?}");
        }
    }

    #[test]
    fn a_host_and_a_port_are_told_from_a_host_alone() {
        for (address, want) in [
            ("h:1", true),
            ("h:", true),
            (":80", true),
            ("h", false),
            ("a:b:c", false),
            ("[::1]:80", true),
            ("[::1]", false),
            ("::1", false),
            ("[::1]x:80", false),
            ("[::1]80", false),
            ("", false),
        ] {
            assert_eq!(has_host_and_port(address), want, "{address:?}");
        }
    }

    #[test]
    fn durations_print_as_in_go() {
        for (millis, want) in [
            (0, "0s"),
            (500, "500ms"),
            (1500, "1.5s"),
            (10_000, "10s"),
            (60_000, "1m0s"),
            (90_010, "1m30.01s"),
            (3_600_000, "1h0m0s"),
            (90_000_000, "25h0m0s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), want);
        }
    }

    #[test]
    fn unprintable_characters_are_quoted_by_number() {
        assert_eq!(quoted("a\"\\\n\u{1}é\u{200b}\u{e0001}"), "\"a\\\"\\\\\\n\\x01é\\u200b\\U000e0001\"");
    }
}
