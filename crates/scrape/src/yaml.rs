//! YAML as Go's yaml.v3 reads it: a document as nodes with positions, and what a scalar means.
//!
//! The events come from `granit-parser`; the tree and the meaning of scalars are ours, because users bring files that
//! were written for Go. There `null` leaves a field as it is, `'80'` is not a number but `80` is a string, `yes` is
//! true where a boolean is wanted, `010` is eight, and only the first document of a file counts. Source of the rules:
//! yaml.v3 v3.0.1, decode.go and resolve.go.

use std::fmt;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

/// A configuration is written by hand or by a template; more than this is a mistake.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Nodes of one document, aliases not expanded. Bounds memory at about 100 bytes each.
const NODES_MAX: usize = 2_000_000;

/// Line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: usize,
    pub column: usize,
}

impl Mark {
    pub const START: Mark = Mark { line: 1, column: 1 };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Index of a node in its [`Document`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeIx(u32);

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Scalar {
        value: String,
        /// Neither quoted nor a block.
        plain: bool,
        /// Of the core schema, as `int`, or `binary`; other tags are ignored, as in Go.
        tag: Option<String>,
    },
    Sequence(Vec<NodeIx>),
    Mapping(Vec<(NodeIx, NodeIx)>),
    Alias(NodeIx),
}

/// The first document of a file. Nodes refer to each other by index; an alias may refer to a node that contains it.
#[derive(Debug)]
pub(crate) struct Document {
    nodes: Vec<Node>,
    root: NodeIx,
}

/// Why a text is not a YAML document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) mark: Mark,
    pub(crate) message: String,
}

impl Document {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Document, SyntaxError> {
        let error = |mark, message: String| SyntaxError { mark, message };
        if bytes.len() > DOCUMENT_BYTES_MAX {
            let message = format!("the file has {} bytes, more than {DOCUMENT_BYTES_MAX}", bytes.len());
            return Err(error(Mark::START, message));
        }
        let text = std::str::from_utf8(bytes).map_err(|invalid| {
            let before = String::from_utf8_lossy(&bytes[..invalid.valid_up_to()]);
            error(position_after(&before), "the file is not valid UTF-8".to_owned())
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if let Some(at) = text.find(is_forbidden) {
            let message = format!("control characters are not allowed ({:?})", text[at..].chars().next());
            return Err(error(position_after(&text[..at]), message));
        }
        Builder::default().build(text)
    }

    pub(crate) fn root(&self) -> NodeIx {
        self.root
    }

    pub(crate) fn node(&self, ix: NodeIx) -> &Node {
        &self.nodes[ix.0 as usize]
    }
}

/// What YAML 1.1 does not allow in a stream: controls other than tab, line breaks and NEL.
fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{84}' | '\u{86}'..='\u{9f}'
        | '\u{fffe}' | '\u{ffff}')
}

fn position_after(text: &str) -> Mark {
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    Mark { line: text.matches('\n').count() + 1, column: text[line_start..].chars().count() + 1 }
}

fn known_tag(tag: &Tag) -> Option<String> {
    let is_binary = tag.suffix_in_namespace("tag:yaml.org,2002:").as_deref() == Some("binary");
    if is_binary { Some("binary".to_owned()) } else { tag.core_suffix().map(str::to_owned) }
}

/// Collects events into nodes.
#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    /// Collections that are not closed yet, outermost first.
    open: Vec<Open>,
    /// By the parser's anchor ID.
    anchors: Vec<Option<NodeIx>>,
    root: Option<NodeIx>,
}

struct Open {
    node: NodeIx,
    /// A key of a mapping that waits for its value.
    key: Option<NodeIx>,
}

impl Builder {
    fn build(mut self, text: &str) -> Result<Document, SyntaxError> {
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|scan| SyntaxError {
                mark: Mark { line: scan.marker().line(), column: scan.marker().col() + 1 },
                message: scan.info(),
            })?;
            let mark = Mark { line: span.start.line(), column: span.start.col() + 1 };
            if self.nodes.len() >= NODES_MAX {
                return Err(SyntaxError { mark, message: format!("the file has more than {NODES_MAX} nodes") });
            }
            match event {
                Event::DocumentStart(_, Some(version)) if (version.major, version.minor) > (1, 2) => {
                    let message = format!("YAML {}.{} is not known", version.major, version.minor);
                    return Err(SyntaxError { mark, message });
                }
                Event::Scalar(value, style, anchor, tag) => {
                    let plain = style == ScalarStyle::Plain;
                    let tag = tag.as_deref().and_then(known_tag);
                    self.add(mark, Content::Scalar { value: value.into_owned(), plain, tag }, anchor);
                }
                Event::SequenceStart(_, anchor, _) => self.begin(mark, Content::Sequence(Vec::new()), anchor),
                Event::MappingStart(_, anchor, _) => self.begin(mark, Content::Mapping(Vec::new()), anchor),
                Event::SequenceEnd | Event::MappingEnd => {
                    self.open.pop();
                }
                Event::Alias(anchor) => match self.anchors.get(anchor).copied().flatten() {
                    Some(target) => {
                        self.add(mark, Content::Alias(target), 0);
                    }
                    None => return Err(SyntaxError { mark, message: "unknown anchor referenced".to_owned() }),
                },
                Event::DocumentEnd => break,
                _ => {}
            }
        }
        match self.root {
            Some(root) => Ok(Document { nodes: self.nodes, root }),
            None => Err(SyntaxError { mark: Mark::START, message: "the file is empty".to_owned() }),
        }
    }

    fn begin(&mut self, mark: Mark, content: Content, anchor: usize) {
        let node = self.add(mark, content, anchor);
        self.open.push(Open { node, key: None });
    }

    fn add(&mut self, mark: Mark, content: Content, anchor: usize) -> NodeIx {
        // NODES_MAX keeps the index far below u32::MAX
        let ix = NodeIx(self.nodes.len() as u32);
        self.nodes.push(Node { mark, content });
        if anchor > 0 {
            self.anchors.resize(self.anchors.len().max(anchor + 1), None);
            self.anchors[anchor] = Some(ix);
        }
        let Some(parent) = self.open.last_mut() else {
            self.root.get_or_insert(ix);
            return ix;
        };
        match &mut self.nodes[parent.node.0 as usize].content {
            Content::Sequence(items) => items.push(ix),
            Content::Mapping(entries) => match parent.key.take() {
                None => parent.key = Some(ix),
                Some(key) => entries.push((key, ix)),
            },
            Content::Scalar { .. } | Content::Alias(_) => {}
        }
        ix
    }
}

/// What a scalar is, beside its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Resolved {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text,
}

/// What a scalar means. The error is the name of what the text really is, where a tag says otherwise; text that is
/// tagged as binary is never what it says.
pub(crate) fn resolve(value: &str, plain: bool, tag: Option<&str>) -> Result<Resolved, &'static str> {
    let untagged = if plain || matches!(tag, Some("int" | "float" | "bool" | "null")) {
        resolve_plain(value)
    } else {
        Resolved::Text
    };
    match (tag, untagged) {
        (Some("str"), _) => Ok(Resolved::Text),
        (None | Some("map" | "seq"), resolved) => Ok(resolved),
        (Some("null"), Resolved::Null) => Ok(Resolved::Null),
        (Some("bool"), resolved @ Resolved::Bool(_)) => Ok(resolved),
        (Some("int"), resolved @ Resolved::Int(_)) => Ok(resolved),
        (Some("float"), Resolved::Int(int)) => Ok(Resolved::Float(int as f64)),
        (Some("float"), resolved @ Resolved::Float(_)) => Ok(resolved),
        (Some(_), resolved) => Err(resolved.name()),
    }
}

impl Resolved {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resolved::Null => "null",
            Resolved::Bool(_) => "a boolean",
            Resolved::Int(_) => "an integer",
            Resolved::Float(_) => "a number",
            Resolved::Text => "a string",
        }
    }
}

fn resolve_plain(value: &str) -> Resolved {
    match value {
        "" | "~" | "null" | "Null" | "NULL" => return Resolved::Null,
        "true" | "True" | "TRUE" => return Resolved::Bool(true),
        "false" | "False" | "FALSE" => return Resolved::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Resolved::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Resolved::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Resolved::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !value.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Resolved::Text;
    }
    let digits = value.replace('_', "");
    if let Some(int) = integer(&digits) {
        return Resolved::Int(int);
    }
    if is_float(&digits)
        && let Ok(float) = digits.parse()
    {
        return Resolved::Float(float);
    }
    Resolved::Text
}

/// An integer that fits `i64` or `u64`, in Go's notation: `0x`, `0o`, `0b`, and a leading zero for octal.
fn integer(digits: &str) -> Option<i128> {
    let (negative, unsigned) = match digits.as_bytes().first()? {
        b'-' => (true, &digits[1..]),
        b'+' => (false, &digits[1..]),
        _ => (false, digits),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, number) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // `from_str_radix` takes a sign of its own
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(number, radix).ok()?);
    let int = if negative { -magnitude } else { magnitude };
    (int >= i128::from(i64::MIN)).then_some(int)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mantissa_ok = all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    mantissa_ok && exponent.is_none_or(|digits| !digits.is_empty() && all_digits(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_mean_what_they_mean_in_go() {
        for (text, want) in [
            ("", Resolved::Null),
            ("~", Resolved::Null),
            ("TRUE", Resolved::Bool(true)),
            ("yes", Resolved::Text),
            ("010", Resolved::Int(8)),
            ("0o10", Resolved::Int(8)),
            ("0b11", Resolved::Int(3)),
            ("-0x1F", Resolved::Int(-31)),
            ("1_000", Resolved::Int(1000)),
            ("+5", Resolved::Int(5)),
            ("18446744073709551615", Resolved::Int(u64::MAX.into())),
            ("18446744073709551616", Resolved::Float(18446744073709551616.0)),
            ("1e3", Resolved::Float(1000.0)),
            ("-.5", Resolved::Float(-0.5)),
            ("5s", Resolved::Text),
            ("1.2.3", Resolved::Text),
            (".", Resolved::Text),
            ("--5", Resolved::Text),
            ("0x", Resolved::Text),
            ("a", Resolved::Text),
        ] {
            assert_eq!(resolve(text, true, None), Ok(want), "{text:?}");
        }
        assert_eq!(resolve("5", false, None), Ok(Resolved::Text), "quoted");
        assert_eq!(resolve("5", true, Some("str")), Ok(Resolved::Text));
        assert_eq!(resolve("a", true, Some("int")), Err("a string"));
        assert_eq!(resolve("YQ==", true, Some("binary")), Err("a string"));
    }

    #[test]
    fn positions_of_bytes_that_are_not_yaml_are_told() {
        let not_utf8 = Document::parse(b"a: b\nc: \xff").unwrap_err();
        assert_eq!((not_utf8.mark.line, not_utf8.mark.column), (2, 4));
        let control = Document::parse("a: b\né: \u{1}".as_bytes()).unwrap_err();
        assert_eq!((control.mark.line, control.mark.column), (2, 4));
    }
}
