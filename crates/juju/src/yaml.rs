//! YAML, as Juju, Pebble and people write it, as [`Json`] values; and back, in a form that people read.
//!
//! Scalars mean what YAML 1.2's core schema says (as in Go's yaml.v3, with 0x, 0o and 0b); `<<` merges. What is written
//! means the same to readers of YAML 1.1, such as PyYAML: what they would take for something else is quoted.

use std::fmt::{self, Write};

use granit_parser::{Event, Parser, ScalarStyle};

use crate::json::{Json, Number, Object};

/// What stands in a data bag or in a plan has some kilobytes; this is a mistake or an attack.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Values of one document, those behind an alias counted each time: a few aliases of aliases would fill the memory.
const VALUES_MAX: usize = 1_000_000;

/// Bytes of all texts, those behind an alias counted each time: a long text and many aliases of it would fill the memory too.
const EXPANDED_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MAX;

/// As deep as JSON may nest.
const DEPTH_MAX: usize = 128;

/// Why a text is no YAML document, with line and column where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError(String);

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for YamlError {}

/// The first document of a text; null for a text without one. Keys become strings; one that is a list or a mapping is refused.
///
/// # Errors
/// The text is no YAML, or larger, longer or deeper than the limits.
///
/// ```
/// let plan = juju::yaml::parse("services: {parca: {startup: enabled}}\nport: 7070").unwrap();
/// assert_eq!(plan.dumps(), r#"{"services": {"parca": {"startup": "enabled"}}, "port": 7070}"#);
/// ```
pub fn parse(text: &str) -> Result<Json, YamlError> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(YamlError(format!("the document has {} bytes, more than {DOCUMENT_BYTES_MAX}", text.len())));
    }
    Builder::default().build(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Collects events into values.
#[derive(Default)]
struct Builder {
    /// Collections that are not closed yet, outermost first.
    open: Vec<Open>,
    /// By the parser's anchor ID.
    anchors: Vec<Option<Json>>,
    values: usize,
    /// Of the copies that anchors and aliases make.
    bytes: usize,
    root: Option<Json>,
}

struct Open {
    anchor: usize,
    content: Content,
}

enum Key {
    /// A plain `<<`. A quoted one is a key as others are.
    Merge,
    Named(String),
}

enum Content {
    Sequence(Vec<Json>),
    Mapping {
        members: Object,
        /// A key that waits for its value.
        key: Option<Key>,
        /// What `<<` names; the mapping's own keys win over it.
        merged: Vec<Json>,
    },
}

impl Builder {
    fn build(mut self, text: &str) -> Result<Json, YamlError> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|scan| {
                let mark = scan.marker();
                YamlError(format!("{} at line {} column {}", scan.info(), mark.line(), mark.col() + 1))
            })?;
            let here =
                |what: &str| YamlError(format!("{what} at line {} column {}", span.start.line(), span.start.col() + 1));
            match event {
                Event::Scalar(value, style, anchor, tag) => {
                    let is_text = tag.as_deref().is_some_and(|tag| tag.core_suffix() == Some("str"));
                    let plain = style == ScalarStyle::Plain && !is_text;
                    if let (true, "<<", Some(Content::Mapping { key: key @ None, .. })) =
                        (plain, &*value, self.open.last_mut().map(|open| &mut open.content))
                    {
                        *key = Some(Key::Merge);
                        continue;
                    }
                    let scalar = if plain { resolve(&value) } else { Json::String(value.into_owned()) };
                    self.add(scalar, 1, anchor).map_err(|what| here(&what))?;
                }
                Event::SequenceStart(_, anchor, _) => {
                    self.begin(anchor, Content::Sequence(Vec::new())).map_err(|what| here(&what))?;
                }
                Event::MappingStart(_, anchor, _) => {
                    let content = Content::Mapping { members: Object::new(), key: None, merged: Vec::new() };
                    self.begin(anchor, content).map_err(|what| here(&what))?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let Some(closed) = self.open.pop() else { continue };
                    let value = closed.content.close();
                    self.add(value, 1, closed.anchor).map_err(|what| here(&what))?;
                }
                Event::Alias(anchor) => {
                    let value = self.anchors.get(anchor).cloned().flatten();
                    // an anchor around the alias is not closed yet: such a document has no end
                    let value = value.ok_or_else(|| here("an alias of nothing, or of what holds it"))?;
                    let size = measure(&value);
                    if self.open.len() + size.depth > DEPTH_MAX {
                        return Err(here("the document nests too deep"));
                    }
                    self.bytes += size.bytes;
                    self.add(value, size.values, 0).map_err(|what| here(&what))?;
                }
                Event::DocumentEnd => break,
                _ => {}
            }
        }
        Ok(self.root.unwrap_or_default())
    }

    fn begin(&mut self, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err("the document nests too deep".to_owned());
        }
        self.open.push(Open { anchor, content });
        Ok(())
    }

    fn add(&mut self, value: Json, count: usize, anchor: usize) -> Result<(), String> {
        self.values += count;
        if anchor > 0 {
            // what an anchor keeps is a copy
            let size = measure(&value);
            self.values += size.values;
            self.bytes += size.bytes;
            self.anchors.resize(self.anchors.len().max(anchor + 1), None);
            self.anchors[anchor] = Some(value.clone());
        }
        if self.values > VALUES_MAX {
            return Err(format!("the document has more than {VALUES_MAX} values"));
        }
        if self.bytes > EXPANDED_BYTES_MAX {
            return Err(format!("the document's aliases stand for more than {EXPANDED_BYTES_MAX} bytes"));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => {
                self.root.get_or_insert(value);
            }
            Some(Content::Sequence(items)) => items.push(value),
            Some(Content::Mapping { members, key, merged }) => match key.take() {
                None => {
                    *key = Some(Key::Named(match value {
                        Json::String(text) => text,
                        // As text it would be written anew at each level, twice as long each time.
                        Json::Array(_) | Json::Object(_) => return Err(format!("a key is {}", value.kind())),
                        other => other.dumps(),
                    }));
                }
                Some(Key::Merge) => merged.push(value),
                Some(Key::Named(key)) => {
                    members.insert(key, value);
                }
            },
        }
        Ok(())
    }
}

impl Content {
    fn close(self) -> Json {
        let (mut members, merged) = match self {
            Content::Sequence(items) => return Json::Array(items),
            Content::Mapping { members, merged, .. } => (members, merged),
        };
        for source in merged {
            let sources = if let Json::Array(sources) = source { sources } else { vec![source] };
            for source in sources {
                let Json::Object(source) = source else { continue };
                for (key, value) in source {
                    members.entry(key).or_insert(value);
                }
            }
        }
        Json::Object(members)
    }
}

/// How much a copy is.
struct Size {
    values: usize,
    depth: usize,
    /// Of texts, keys included.
    bytes: usize,
}

fn measure(value: &Json) -> Size {
    let (below, keys): (&mut dyn Iterator<Item = &Json>, usize) = match value {
        Json::Array(items) => (&mut items.iter(), 0),
        Json::Object(members) => (&mut members.values(), members.keys().map(String::len).sum()),
        Json::String(text) => return Size { values: 1, depth: 0, bytes: text.len() },
        _ => return Size { values: 1, depth: 0, bytes: 0 },
    };
    below.map(measure).fold(Size { values: 1, depth: 1, bytes: keys }, |all, one| Size {
        values: all.values + one.values,
        depth: all.depth.max(one.depth + 1),
        bytes: all.bytes + one.bytes,
    })
}

/// What a plain scalar means.
fn resolve(text: &str) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" => return Json::Bool(true),
        "false" | "False" | "FALSE" => return Json::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let radix =
        |digits: &str, radix| i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']));
    let other_base = match unsigned.as_bytes() {
        [b'0', b'x', ..] => radix(&unsigned[2..], 16),
        [b'0', b'o', ..] => radix(&unsigned[2..], 8),
        [b'0', b'b', ..] => radix(&unsigned[2..], 2),
        _ => None,
    };
    if let Some(number) = other_base {
        return Json::from(if text.starts_with('-') { -number } else { number });
    }
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || !unsigned.contains(|c: char| c.is_ascii_digit())
    {
        return Json::from(text);
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(number) = text.parse::<i64>() {
            return Json::from(number);
        }
        if let Ok(number) = unsigned.parse::<u64>().map(Number::from)
            && !text.starts_with('-')
        {
            return Json::Number(number);
        }
    }
    let numeric = unsigned.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
    let float = text.parse().ok().filter(|_| numeric).and_then(Number::from_f64);
    float.map_or_else(|| Json::from(text), Json::Number)
}

/// The value as a YAML document: blocks two spaces deep, keys in their order, a text of several lines as a block.
///
/// ```
/// use juju::json::Json;
/// let value = Json::parse(r#"{"jobs": [{"name": "a", "targets": ["h:80"]}], "none": []}"#).unwrap();
/// assert_eq!(juju::yaml::write(&value), "jobs:\n- name: a\n  targets:\n  - h:80\nnone: []\n");
/// ```
pub fn write(value: &Json) -> String {
    let mut text = String::new();
    write_block(&mut text, value, 0, Place::Line);
    text
}

/// A key on one line with its value has at most 1024 characters; longer ones are marked as such.
const IMPLICIT_KEY_BYTES_MAX: usize = 1000;

/// Where a value begins.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// On a line of its own.
    Line,
    /// After `- `: a collection goes on there.
    Item,
    /// After `key:`: a collection begins on the next line.
    Member,
}

/// `indent`: of the lines of a collection, in spaces.
fn write_block(to: &mut String, value: &Json, indent: usize, place: Place) {
    match value {
        Json::Array(items) if !items.is_empty() => {
            let mut first = place == Place::Item;
            if place == Place::Member {
                to.push('\n');
            }
            for item in items {
                if !std::mem::take(&mut first) {
                    push_indent(to, indent);
                }
                to.push_str("- ");
                write_block(to, item, indent + 2, Place::Item);
            }
        }
        Json::Object(members) if !members.is_empty() => {
            let mut first = place == Place::Item;
            if place == Place::Member {
                to.push('\n');
            }
            for (key, item) in members {
                if !std::mem::take(&mut first) {
                    push_indent(to, indent);
                }
                let at = to.len();
                write_scalar(to, key);
                if to.len() - at > IMPLICIT_KEY_BYTES_MAX {
                    to.insert_str(at, "? ");
                    to.push('\n');
                    push_indent(to, indent);
                }
                to.push(':');
                // a list stands as deep as its key
                let below = if matches!(item, Json::Array(_)) { indent } else { indent + 2 };
                write_block(to, item, below, Place::Member);
            }
        }
        scalar => {
            if place == Place::Member {
                to.push(' ');
            }
            match scalar {
                Json::String(text) if block_fits(text) => write_literal(to, text, indent.max(2)),
                Json::String(text) => {
                    write_scalar(to, text);
                    to.push('\n');
                }
                // empty collections, numbers and words are the same in both
                other => {
                    to.push_str(&other.dumps());
                    to.push('\n');
                }
            }
        }
    }
}

fn push_indent(to: &mut String, indent: usize) {
    to.extend(std::iter::repeat_n(' ', indent));
}

/// Whether a text of several lines can stand as a literal block as it is.
fn block_fits(text: &str) -> bool {
    let tame = |line: &str| !line.starts_with([' ', '\t']) && !line.ends_with([' ', '\t']);
    let first = text.lines().next().unwrap_or_default();
    text.trim_end_matches('\n').contains('\n')
        && !first.is_empty()
        && text.split('\n').all(tame)
        && text.chars().all(|c| c == '\n' || (' '..='~').contains(&c))
}

fn write_literal(to: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    let ends = text.len() - body.len();
    to.push_str(["|-\n", "|\n"].get(ends).unwrap_or(&"|+\n"));
    for line in body.split('\n') {
        if !line.is_empty() {
            push_indent(to, indent);
            to.push_str(line);
        }
        to.push('\n');
    }
    to.extend(std::iter::repeat_n('\n', ends.saturating_sub(1)));
}

fn write_scalar(to: &mut String, text: &str) {
    if is_plain(text) {
        to.push_str(text);
        return;
    }
    to.push('"');
    for c in text.chars() {
        match c {
            // YAML knows no surrogate pairs; writing to a String cannot fail
            '\u{10000}'.. => drop(write!(to, "\\U{:08x}", c as u32)),
            _ => {
                let quoted = Json::String(c.into()).dumps();
                to.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
    }
    to.push('"');
}

/// Whether no reader of YAML, 1.1 or 1.2, takes the bare text for anything but a string.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 10] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan"];
    let inner = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '@' | ':' | ' ' | '=' | ',' | '(' | ')')
    };
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '_'))
        && text.chars().all(inner)
        && !text.ends_with([':', ' '])
        && !text.contains(": ")
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::tests::any_json;

    fn check(text: &str, json: &str) {
        assert_eq!(parse(text).map(|value| value.dumps()), Ok(json.to_owned()), "{text:?}");
    }

    #[test]
    fn scalars_mean_what_the_core_schema_says() {
        check(
            "[a, '5', 5, -5, 0x1f, 0o17, 1.5, 1e3, 1.2.3, 10.1.2.3:80, yes, true, ~, '', !!str 7, -0x10, +3]",
            r#"["a", "5", 5, -5, 31, 15, 1.5, 1000.0, "1.2.3", "10.1.2.3:80", "yes", true, null, "", "7", -16, 3]"#,
        );
        check(
            "[18446744073709551615, 18446744073709551616, .inf, '.5', .5, +, e1]",
            r#"[18446744073709551615, 1.8446744073709552e+19, ".inf", ".5", 0.5, "+", "e1"]"#,
        );
        check("", "null");
        check("# nothing", "null");
        check("{80: a, true: b}", r#"{"80": "a", "true": "b"}"#);
    }

    #[test]
    fn aliases_and_merges_are_expanded() {
        check(
            "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a",
            r#"{"a": {"x": 1, "y": 2}, "b": {"y": 3, "x": 1}, "c": {"x": 1, "y": 2}}"#,
        );
        check(
            "a: &a {x: 1}\nb: &b {z: 0}\nc: {<<: [*a, *b]}",
            r#"{"a": {"x": 1}, "b": {"z": 0}, "c": {"x": 1, "z": 0}}"#,
        );
        check(r#"{"<<": {x: 1}, '<<': {y: 2}}"#, r#"{"<<": {"y": 2}}"#);
    }

    #[test]
    fn only_the_first_document_counts() {
        check("a: 1\n---\nb: 2", r#"{"a": 1}"#);
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let before = level - 1;
            let items = vec![format!("*a{before}"); 10].join(", ");
            bomb += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert!(parse(&bomb).unwrap_err().to_string().contains("more than 1000000 values"));
        assert!(parse(&"[".repeat(5000)).unwrap_err().to_string().contains("recursion limit exceeded"));
        assert!(parse(&"- ".repeat(5000)).unwrap_err().to_string().contains("nests too deep"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), vec!["*a"; 100].join(", "));
        assert!(parse(&long).unwrap_err().to_string().contains("aliases stand for more than 67108864 bytes"));
        assert!(parse("a: &a [*a]").unwrap_err().to_string().contains("an alias of nothing, or of what holds it"));
    }

    #[test]
    fn keys_are_texts_of_scalars_and_nothing_else() {
        let keys = parse("{1: a, true: b, null: c, 1.50: d, x: e}").unwrap();
        assert_eq!(keys.dumps(), r#"{"1": "a", "true": "b", "null": "c", "1.5": "d", "x": "e"}"#);
        assert!(parse("? [x]\n: y").unwrap_err().to_string().starts_with("a key is a list"));
        let nested = format!("{}{}", "{".repeat(100), "}".repeat(100));
        assert!(parse(&nested).unwrap_err().to_string().starts_with("a key is an object"));
    }

    #[test]
    fn a_key_too_long_for_its_line_is_marked() {
        for value in ["1", r#"["a", {"b": [1]}]"#, r#"{"c": {"d": "two\nlines"}}"#, "[]", r#""two\nlines""#] {
            let value = Json::parse(value).unwrap();
            let long = |first: char| format!("{first}{}", "é: ".repeat(700));
            let nested = Json::object([(long('a'), value.clone()), (long('b'), Json::Array(vec![value]))]);
            let whole = Json::object([("x", nested)]);
            let written = write(&whole);
            assert!(written.contains("  ? \"a"), "{written:.40}");
            assert_eq!(parse(&written).unwrap(), whole);
        }
    }

    #[test]
    fn where_it_fails_is_told() {
        assert_eq!(parse("a: [").unwrap_err().to_string().split(" at ").last(), Some("line 1 column 4"));
    }

    #[test]
    fn what_other_readers_would_take_for_something_else_is_quoted() {
        let texts =
            ["no", "1:30", "2001-01-01", "*:80", "(.*)", "", " a", "a: b", "a #b", "0x1", "~", "é", "10.1.2.3:80"];
        for text in texts {
            assert!(write(&Json::from(text)).starts_with('"'), "{text}");
        }
        for text in ["h:80", "/var/lib/parca", "juju_model", "a b", "http://h:80/x"] {
            assert_eq!(write(&Json::from(text)), format!("{text}\n"));
        }
    }

    #[test]
    fn texts_of_several_lines_are_blocks() {
        let pem = Json::object([("ca", Json::from("-----BEGIN\nabc=\n\nx\n-----END")), ("b", Json::from("x\ny\n"))]);
        assert_eq!(write(&pem), "ca: |-\n  -----BEGIN\n  abc=\n\n  x\n  -----END\nb: |\n  x\n  y\n");
        assert_eq!(parse(&write(&pem)), Ok(pem));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_json()) {
            let text = write(&value);
            prop_assert_eq!(parse(&text), Ok(value), "{}", text);
        }

        #[test]
        fn texts_of_lines_read_back(lines in prop::collection::vec("[a-c: #-]{0,4}", 0..6)) {
            let value = Json::object([("k", Json::from([lines.join("\n")]))]);
            prop_assert_eq!(parse(&write(&value)), Ok(value));
        }

        #[test]
        fn what_any_text_says_is_said_again_when_it_is_written(text in "[a-c:&*<>|{}\\[\\],' \"\n#!%@`-]{0,40}") {
            if let Ok(value) = parse(&text) {
                prop_assert_eq!(parse(&write(&value)), Ok(value));
            }
        }
    }
}
