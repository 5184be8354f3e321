//! What to look at: `name:sample_type:sample_unit:period_type:period_unit[:delta]{label="value", ...}`.
//!
//! The syntax is Prometheus' metric selector (`promql/parser.ParseMetricSelector`, v0.305); the metric's name is the profile
//! type. The messages are those of Parca's query API. `lexer` cuts the text into tokens, `parser` reads them, `matcher`
//! holds a label against what a matcher asks for.

mod lexer;
mod matcher;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use profile::types::{ProfileType, ValueType};

pub use matcher::{Matcher, Operator};

/// Bytes of a selector; one that lists a thousand pods by name takes 30 KiB.
pub const SELECTOR_BYTES_MAX: usize = 256 << 10;

/// Matchers of a selector.
pub const MATCHERS_MAX: usize = 1000;

/// Bytes that one compiled regular expression may take. Selectors come from strangers, so less than in a configuration.
pub const PROGRAM_BYTES_MAX: usize = 16 << 20;

/// Bytes that the compiled regular expressions of one selector may take together.
pub const PROGRAMS_BYTES_MAX: usize = 32 << 20;

/// A profile type and what its series' labels must be.
#[derive(Debug)]
pub struct Selector {
    pub profile_type: ProfileType,
    /// All must hold. In the order in which they were written; `__name__` is not among them.
    pub matchers: Vec<Matcher>,
}

/// A refused selector: the caller's mistake (gRPC `INVALID_ARGUMENT`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    /// What Parca says.
    pub message: String,
    /// What Parca keeps to itself: `line:column: what was expected`. Empty if the message says it all.
    pub detail: String,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, ": {}", self.detail) }
    }
}

impl std::error::Error for SelectorError {}

/// Reads a selector. Its matchers are compiled, so that matching cannot fail later.
pub fn parse(query: impl AsRef<[u8]>) -> Result<Selector, SelectorError> {
    let refused = |detail: String| SelectorError { message: "failed to parse query".to_owned(), detail };
    let query = query.as_ref();
    if query.len() > SELECTOR_BYTES_MAX {
        return Err(refused(format!(
            "{} bytes are more than the {SELECTOR_BYTES_MAX} that a selector may have",
            query.len()
        )));
    }
    let parsed = parser::parse(query).map_err(refused)?;
    let Some(name) = parsed.name else {
        return Err(SelectorError {
            message: "query must contain a profile-type selection".to_owned(),
            detail: String::new(),
        });
    };
    Ok(Selector { profile_type: profile_type(&name)?, matchers: parsed.matchers })
}

/// The five or six parts of a profile type. A sixth part other than `delta` says nothing.
fn profile_type(name: &[u8]) -> Result<ProfileType, SelectorError> {
    // A type that is no UTF-8 may be asked for, and no profile has it.
    let text = String::from_utf8_lossy(name);
    let parts: Vec<&str> = text.split(':').collect();
    let (parts, delta) = match parts[..] {
        [name, sample, sample_unit, period, period_unit] => ([name, sample, sample_unit, period, period_unit], false),
        [name, sample, sample_unit, period, period_unit, delta] => {
            ([name, sample, sample_unit, period, period_unit], delta == "delta")
        }
        _ => {
            return Err(SelectorError {
                message: format!(
                    "profile-type selection must be of the form \
                     <name>:<sample-type>:<sample-unit>:<period-type>:<period-unit>(:delta), got({}): {}",
                    parts.len(),
                    lexer::quoted(name),
                ),
                detail: String::new(),
            });
        }
    };
    let [name, sample, sample_unit, period, period_unit] = parts;
    Ok(ProfileType {
        name: name.to_owned(),
        sample: ValueType::new(sample, sample_unit),
        period: ValueType::new(period, period_unit),
        delta,
    })
}
