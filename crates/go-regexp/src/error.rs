//! Why a pattern was refused, in Go's words.

use std::fmt;

/// What is wrong with a pattern. The texts are those of Go's `regexp/syntax.ErrorCode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    InvalidClassRange,
    InvalidEscape,
    InvalidNamedCapture,
    InvalidPerlSyntax,
    InvalidRepeatOperator,
    InvalidRepeatCount,
    InvalidUtf8,
    MissingBracket,
    MissingParenthesis,
    MissingRepeatArgument,
    TrailingBackslash,
    UnexpectedParenthesis,
    NestsTooDeeply,
    TooLarge,
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            ErrorKind::InvalidClassRange => "invalid character class range",
            ErrorKind::InvalidEscape => "invalid escape sequence",
            ErrorKind::InvalidNamedCapture => "invalid named capture",
            ErrorKind::InvalidPerlSyntax => "invalid or unsupported Perl syntax",
            ErrorKind::InvalidRepeatOperator => "invalid nested repetition operator",
            ErrorKind::InvalidRepeatCount => "invalid repeat count",
            ErrorKind::InvalidUtf8 => "invalid UTF-8",
            ErrorKind::MissingBracket => "missing closing ]",
            ErrorKind::MissingParenthesis => "missing closing )",
            ErrorKind::MissingRepeatArgument => "missing argument to repetition operator",
            ErrorKind::TrailingBackslash => "trailing backslash at end of expression",
            ErrorKind::UnexpectedParenthesis => "unexpected )",
            ErrorKind::NestsTooDeeply => "expression nests too deeply",
            ErrorKind::TooLarge => "expression too large",
        }
    }
}

/// A refused pattern: ``error parsing regexp: KIND: `PART` ``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    /// The part of the pattern that is to blame; for some kinds all of it. It may hold bytes that are not UTF-8.
    part: Vec<u8>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, part: &[u8]) -> Error {
        Error { kind, part: part.to_vec() }
    }

    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Go's message, byte for byte: it quotes the pattern, which may be no UTF-8.
    pub fn message(&self) -> Vec<u8> {
        [b"error parsing regexp: ", self.kind.text().as_bytes(), b": `", &self.part, b"`"].concat()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.message()))
    }
}

impl std::error::Error for Error {}
