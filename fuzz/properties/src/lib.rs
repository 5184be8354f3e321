//! What holds of any bytes whatever that come into a server from outside, but for profiles, whose properties lie with their decoder
//! (`crates/ingest/tests`): no panic, no endless work, and what is taken is sound.
//!
//! Each function is a fuzz target of the same name; each gives whether the bytes were taken. The corpora run as tests (`tests/corpora.rs`).
//!
//! Map: [`archive`] an archive of sources · [`metadata`] what a bucket says of an upload · [`build_id`] names of uploads ·
//! [`configuration`] parca.yaml, buckets and all · [`selector`] a query's selector · [`regexp`] Go's expressions ·
//! [`query_request`] whole requests of the query API · [`ingest_request`] those by which profiles and debuginfo come in · of a store's own, [`wal_segment`], [`catalog`] and [`block`] · [`spool`] what waits
//! to be handed on.

mod kept;
mod memory;
mod requests;
mod uploads;
mod waiting;

pub use kept::{block, catalog, wal_segment};
pub use requests::{ingest_request, query_request};
pub use uploads::{archive, build_id, metadata};
pub use waiting::spool;

/// `parca.yaml`: a mistake has a text, and reading is the same each time.
pub fn configuration(bytes: &[u8]) -> bool {
    let read =
        || scrape::config::Config::load(bytes).map(|config| format!("{config:?}")).map_err(|error| error.to_string());
    let first = read();
    assert_eq!(first, read());
    if let Err(error) = &first {
        assert!(!error.is_empty());
    }
    first.is_ok()
}

/// A selector: matchers are compiled, so that matching cannot fail.
pub fn selector(bytes: &[u8]) -> bool {
    match query::selector::parse(bytes) {
        Ok(selector) => {
            let name = selector.profile_type.to_string();
            // a type that was read names itself again, but for bytes that are no text, and what stands for them
            if name.contains(char::REPLACEMENT_CHARACTER) {
                return true;
            }
            let again = query::selector::parse(format!("{{__name__={}}}", quoted(&name))).expect("its own type");
            assert_eq!(again.profile_type, selector.profile_type);
            true
        }
        Err(error) => {
            assert!(!error.message.is_empty());
            false
        }
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Memory for one expression, in bytes: enough for all but the large ones.
const PROGRAM_BYTES_MAX: usize = 1 << 20;

/// A pattern and a subject with a NUL between: groups lie in the subject and in the whole match.
pub fn regexp(bytes: &[u8]) -> bool {
    let split = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (pattern, subject) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    let Ok(regex) = go_regexp::Regex::new_within(pattern, PROGRAM_BYTES_MAX) else { return false };
    let captures = regex.captures(subject);
    assert_eq!(regex.is_match(subject), captures.is_some());
    if let Some(captures) = captures {
        let whole = captures.get(0).expect("the whole match");
        assert!(whole.start <= whole.end && whole.end <= subject.len());
        for group in captures.iter().flatten() {
            assert!(whole.start <= group.start && group.start <= group.end && group.end <= whole.end);
        }
    }
    let replaced = regex.replace_all(subject, "<$0>");
    assert_eq!(replaced == subject, !regex.is_match(subject));
    true
}
