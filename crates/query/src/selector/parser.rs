//! From tokens to matchers.

use super::{
    MATCHERS_MAX, PROGRAMS_BYTES_MAX,
    lexer::{Fault, Kind, Lexer, Token},
    matcher::{Matcher, Operator},
};

/// Words that Prometheus keeps for itself even where a metric's name may stand; compared without case.
const RESERVED: [&str; 8] = ["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"];

const METRIC_NAME: &str = "__name__";

/// A selector in parts.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The metric's name: the one before the braces, else the last one inside, whatever its operator.
    pub(super) name: Option<Vec<u8>>,
    pub(super) matchers: Vec<Matcher>,
}

/// The error is `line:column: parse error: what`; lines and columns count from 1, columns in bytes.
pub(super) fn parse(query: &[u8]) -> Result<Parsed, String> {
    selector(query).map_err(|fault| {
        let before = &query[..fault.at];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        format!("{line}:{}: parse error: {}", 1 + fault.at - line_start, fault.message)
    })
}

fn selector(query: &[u8]) -> Result<Parsed, Fault> {
    let mut lexer = Lexer::new(query);
    let mut parsed = Parsed::default();
    let mut token = lexer.next()?;
    let metric = match &token.kind {
        Kind::Word(word) if !RESERVED.iter().any(|reserved| word.eq_ignore_ascii_case(reserved)) => {
            Some(word.clone().into_bytes())
        }
        Kind::LeftBrace => None,
        _ => return Err(unexpected(&token, "")),
    };
    if metric.is_some() {
        token = lexer.next()?;
    }
    if token.kind == Kind::LeftBrace {
        matchers(&mut lexer, &mut parsed)?;
        token = lexer.next()?;
    }
    if token.kind != Kind::End {
        return Err(unexpected(&token, ""));
    }
    if metric.is_some() {
        parsed.name = metric;
    }
    Ok(parsed)
}

/// Up to the closing brace; a comma may stand before it.
fn matchers(lexer: &mut Lexer<'_>, parsed: &mut Parsed) -> Result<(), Fault> {
    let mut program_bytes = 0;
    let mut token = lexer.next()?;
    while token.kind != Kind::RightBrace {
        let start = token.at;
        let (name, operator) = match token.kind {
            Kind::Word(word) => (word.into_bytes(), lexer.next()?),
            Kind::Text(text) => {
                let next = lexer.next()?;
                if matches!(next.kind, Kind::Comma | Kind::RightBrace) {
                    // A string alone is the metric's name.
                    parsed.name = Some(text);
                    token = after_matcher(lexer, next)?;
                    continue;
                }
                (text, next)
            }
            _ => return Err(unexpected(&token, " in label matching, expected identifier or \"}\"")),
        };
        let op = match operator.kind {
            Kind::Equal => Operator::Equal,
            Kind::NotEqual => Operator::NotEqual,
            Kind::Matches => Operator::Matches,
            Kind::DoesNotMatch => Operator::DoesNotMatch,
            _ => return Err(unexpected(&operator, " in label matching, expected label matching operator")),
        };
        let value = lexer.next()?;
        let Kind::Text(value) = value.kind else {
            return Err(unexpected(&value, " in label matching, expected string"));
        };
        let name = String::from_utf8(name).unwrap_or_default();
        let matcher = Matcher::new(name, op, value).map_err(|error| Fault::new(start, error.to_string()))?;
        program_bytes += matcher.program_bytes();
        if program_bytes > PROGRAMS_BYTES_MAX {
            return Err(Fault::new(start, "the regular expressions of this selector are too large together"));
        }
        if matcher.name == METRIC_NAME {
            parsed.name = Some(matcher.value);
        } else {
            parsed.matchers.push(matcher);
        }
        if parsed.matchers.len() > MATCHERS_MAX {
            return Err(Fault::new(start, format!("more than {MATCHERS_MAX} matchers")));
        }
        let next = lexer.next()?;
        token = after_matcher(lexer, next)?;
    }
    Ok(())
}

/// Skips the comma behind a matcher.
fn after_matcher(lexer: &mut Lexer<'_>, next: Token) -> Result<Token, Fault> {
    match next.kind {
        Kind::Comma => lexer.next(),
        Kind::RightBrace => Ok(next),
        _ => Err(unexpected(&next, " in label matching, expected \",\" or \"}\"")),
    }
}

fn unexpected(token: &Token, rest: &str) -> Fault {
    Fault::new(token.at, format!("unexpected {}{rest}", token.kind.described()))
}
