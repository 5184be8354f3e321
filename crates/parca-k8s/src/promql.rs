//! Matchers into PromQL queries, so that a query counts one application only.
//!
//! The query is not parsed into a tree but read token by token, which keeps every other byte as it was: service-level
//! specifications hold placeholders such as `{{.window}}` that no parser knows.

use std::fmt::Write;

/// Words that stand where a metric could and are none. Functions and aggregations are told by their parenthesis.
const KEYWORDS: [&str; 15] = [
    "and",
    "atan2",
    "bool",
    "by",
    "end",
    "group_left",
    "group_right",
    "ignoring",
    "inf",
    "nan",
    "offset",
    "on",
    "or",
    "start",
    "unless",
];

/// Words whose parentheses hold label names, not queries.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// `query` with `label="value"` added to every selector, in the order given. A label that a selector already matches is not
/// added to it: who wrote it meant it.
///
/// ```
/// let labels = [("app", "a"), ("model", "m")];
/// let inject = |query| parca_k8s::promql::inject(query, &labels);
/// assert_eq!(inject("sum(rate(x{y=\"}\"}[{{.window}}])) / z"), "sum(rate(x{y=\"}\",app=\"a\",model=\"m\"}[{{.window}}])) / z{app=\"a\",model=\"m\"}");
/// ```
pub fn inject(query: &str, labels: &[(&str, &str)]) -> String {
    let tokens = tokens(query);
    let mut out = String::with_capacity(query.len() + 64);
    let mut position = 0;
    // words in parentheses after `by` and the like are labels
    let mut label_list = false;
    while let Some(token) = tokens.get(position) {
        position += 1;
        match token.kind {
            Kind::OpenBrace => {
                let end =
                    (position..tokens.len()).find(|at| tokens[*at].kind == Kind::CloseBrace).unwrap_or(tokens.len());
                let inner = &tokens[position..end];
                out.push('{');
                inner.iter().for_each(|token| out.push_str(token.text));
                push_matchers(&mut out, inner, labels);
                if end < tokens.len() {
                    out.push('}');
                }
                position = end + 1;
            }
            Kind::Word => {
                out.push_str(token.text);
                let next = tokens[position..].iter().find(|token| token.kind != Kind::Blank);
                let is_before_labels = is_one_of(&BEFORE_LABELS, token.text);
                // `sum by (x) (y)`: an aggregation may have its labels before its parenthesis
                let aggregates = next.is_some_and(|next| is_one_of(&["by", "without"], next.text));
                if next.is_some_and(|next| next.text == "(") {
                    label_list |= is_before_labels;
                } else if !label_list
                    && next.is_none_or(|next| next.kind != Kind::OpenBrace)
                    && !is_one_of(&KEYWORDS, token.text)
                    && !is_before_labels
                    && !aggregates
                {
                    out.push('{');
                    push_matchers(&mut out, &[], labels);
                    out.push('}');
                }
            }
            Kind::Brackets | Kind::Blank | Kind::Text | Kind::Other | Kind::CloseBrace => {
                label_list &= token.text != ")";
                out.push_str(token.text);
            }
        }
    }
    out
}

fn is_one_of(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn push_matchers(out: &mut String, inner: &[Token<'_>], labels: &[(&str, &str)]) {
    let significant = |token: &&Token<'_>| token.kind != Kind::Blank;
    let mut needs_comma = inner.iter().rfind(significant).is_some_and(|last| last.text != ",");
    for (label, value) in labels {
        if inner.iter().any(|token| token.kind == Kind::Word && token.text == *label) {
            continue;
        }
        if std::mem::replace(&mut needs_comma, true) {
            out.push(',');
        }
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        // writing to a String cannot fail
        let _ = write!(out, "{label}=\"{value}\"");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A metric, label, function or keyword.
    Word,
    /// A quoted text.
    Text,
    /// A range or a subquery, `[5m:1m]`, or a placeholder, `{{.window}}`.
    Brackets,
    OpenBrace,
    CloseBrace,
    Blank,
    /// A number, an operator, a parenthesis, a comment.
    Other,
}

struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

fn tokens(query: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let (kind, bytes) = match first {
            '{' if rest.starts_with("{{") => (Kind::Brackets, rest.find("}}").map_or(rest.len(), |at| at + 2)),
            '{' => (Kind::OpenBrace, 1),
            '}' => (Kind::CloseBrace, 1),
            '[' => (Kind::Brackets, rest.find(']').map_or(rest.len(), |at| at + 1)),
            '"' | '\'' | '`' => (Kind::Text, text_bytes(rest, first)),
            '#' => (Kind::Other, rest.find('\n').unwrap_or(rest.len())),
            c if c.is_whitespace() => (Kind::Blank, while_bytes(rest, char::is_whitespace)),
            c if c.is_ascii_alphabetic() || matches!(c, '_' | ':') => (Kind::Word, while_bytes(rest, is_word)),
            // a number with its unit or exponent: 5m, 1e3, 0x1f
            c if c.is_ascii_digit() => (Kind::Other, while_bytes(rest, |c| is_word(c) || c == '.')),
            c => (Kind::Other, c.len_utf8()),
        };
        let (text, after) = rest.split_at(bytes);
        tokens.push(Token { kind, text });
        rest = after;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

fn while_bytes(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// Bytes of a quoted text, both quotes included. Backquotes know no escapes.
fn text_bytes(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(query: &str, expected: &str) {
        assert_eq!(inject(query, &[("a", "1")]), expected);
    }

    #[test]
    fn every_selector_gets_the_matchers() {
        check("up", r#"up{a="1"}"#);
        check("up{}", r#"up{a="1"}"#);
        check("up{x=\"y\"}", r#"up{x="y",a="1"}"#);
        check("up{x=\"y\", }", r#"up{x="y", a="1"}"#);
        check("up {x=\"y\"}", r#"up {x="y",a="1"}"#);
        check("{__name__=~\"x.*\"}", r#"{__name__=~"x.*",a="1"}"#);
        check("x[5m]", r#"x{a="1"}[5m]"#);
        check("x[{{.window}}]", r#"x{a="1"}[{{.window}}]"#);
        check("job:x:rate5m > 3", r#"job:x:rate5m{a="1"} > 3"#);
        check("x / on(y, z) group_left(w) v", r#"x{a="1"} / on(y, z) group_left(w) v{a="1"}"#);
        check("x offset 5m", r#"x{a="1"} offset 5m"#);
        check("max_over_time(x[1h:5m])", r#"max_over_time(x{a="1"}[1h:5m])"#);
    }

    #[test]
    fn functions_keywords_label_lists_numbers_and_texts_are_left_alone() {
        check("vector(0)", "vector(0)");
        check("sum by (x, y) (rate(z[1m]))", r#"sum by (x, y) (rate(z{a="1"}[1m]))"#);
        check("sum(rate(z[1m])) by (x)", r#"sum(rate(z{a="1"}[1m])) by (x)"#);
        check("sum without(x)(z)", r#"sum without(x)(z{a="1"})"#);
        check("x and y or z unless w", r#"x{a="1"} and y{a="1"} or z{a="1"} unless w{a="1"}"#);
        check("1e3 + 0x1f + Inf - NaN", "1e3 + 0x1f + Inf - NaN");
        check("x == bool 1", r#"x{a="1"} == bool 1"#);
        check(
            r#"label_replace(x, "d", "$1 up", "s", "(.*)")"#,
            r#"label_replace(x{a="1"}, "d", "$1 up", "s", "(.*)")"#,
        );
        check("x # up\n+ y", "x{a=\"1\"} # up\n+ y{a=\"1\"}");
    }

    #[test]
    fn braces_in_texts_do_not_end_a_selector() {
        check(r#"x{y=~"a{2}",z="\"}"}"#, r#"x{y=~"a{2}",z="\"}",a="1"}"#);
    }

    #[test]
    fn a_label_that_is_matched_already_is_not_added() {
        check(r#"x{a="2"}"#, r#"x{a="2"}"#);
        assert_eq!(inject(r#"x{a="2"}"#, &[("a", "1"), ("b", "3")]), r#"x{a="2",b="3"}"#);
    }

    #[test]
    fn values_are_quoted() {
        assert_eq!(inject("x", &[("a", "\"\\")]), r#"x{a="\"\\"}"#);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_panics(query in "[a-c{}\\[\\]()\"'`,=~ #0-9\\\\é\n]{0,40}") {
            prop_assert_eq!(inject(&query, &[]).replace("{}", ""), query.replace("{}", ""));
        }
    }
}
