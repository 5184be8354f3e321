//! One condition on a label.

use std::fmt;

use go_regexp::Regex;
use profile::labels::Labels;

use super::PROGRAM_BYTES_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    Equal,
    NotEqual,
    /// The regular expression matches somewhere in the value: unlike Prometheus, Parca does not anchor.
    Matches,
    DoesNotMatch,
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Equal => "=",
            Operator::NotEqual => "!=",
            Operator::Matches => "=~",
            Operator::DoesNotMatch => "!~",
        })
    }
}

/// `name op "value"`, compiled.
///
/// A label that a series does not have counts as the empty value, whatever the operator: so `{zone!="a"}` takes series
/// without a zone. (In Parca that depends on which other series were written together with it.)
#[derive(Debug)]
pub struct Matcher {
    /// Empty, and so no label's name, if it was written with bytes that are no UTF-8.
    pub name: String,
    pub op: Operator,
    /// Escapes such as `\xff` can make it something else than UTF-8.
    pub value: Vec<u8>,
    /// For the two operators that match.
    regex: Option<Regex>,
}

impl Matcher {
    /// Fails if `value` should be a regular expression and is none.
    pub fn new(name: String, op: Operator, value: Vec<u8>) -> Result<Matcher, go_regexp::Error> {
        let regex = match op {
            Operator::Equal | Operator::NotEqual => None,
            Operator::Matches | Operator::DoesNotMatch => {
                // Prometheus' parser has the first say on what is an expression, Go's own matches.
                go_regexp::check_promql(&value)?;
                Some(Regex::new_within(&value, PROGRAM_BYTES_MAX)?)
            }
        };
        Ok(Matcher { name, op, value, regex })
    }

    /// Whether a series whose label has this value, or is absent, is asked for.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let value = value.unwrap_or("");
        match (self.op, &self.regex) {
            (Operator::Equal, _) => value.as_bytes() == self.value,
            (Operator::NotEqual, _) => value.as_bytes() != self.value,
            (Operator::Matches, regex) => regex.as_ref().is_some_and(|regex| regex.is_match(value)),
            (Operator::DoesNotMatch, regex) => !regex.as_ref().is_some_and(|regex| regex.is_match(value)),
        }
    }

    /// Whether the label of this name in `labels` is as asked for.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name))
    }

    /// Bytes of memory that the compiled expression takes.
    pub(super) fn program_bytes(&self) -> usize {
        self.regex.as_ref().map_or(0, Regex::memory_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(op: Operator, value: &str, of: Option<&str>) -> bool {
        Matcher::new("job".to_owned(), op, value.into()).expect("a matcher").matches(of)
    }

    #[test]
    fn an_absent_label_is_the_empty_value() {
        assert!(matches(Operator::Equal, "", None));
        assert!(!matches(Operator::NotEqual, "", None));
        assert!(matches(Operator::NotEqual, "a", None));
        assert!(matches(Operator::Matches, ".*", None));
        assert!(!matches(Operator::Matches, ".+", None));
        assert!(matches(Operator::DoesNotMatch, "a", None));
    }

    #[test]
    fn regular_expressions_are_not_anchored() {
        assert!(matches(Operator::Matches, "e", Some("web")));
        assert!(!matches(Operator::DoesNotMatch, "e", Some("web")));
        assert!(!matches(Operator::Matches, "^e$", Some("web")));
    }

    #[test]
    fn a_value_of_odd_bytes_equals_nothing() {
        let matcher = Matcher::new("job".to_owned(), Operator::Equal, vec![0xFF]).expect("a matcher");
        assert!(!matcher.matches(Some("\u{FFFD}")));
    }
}
