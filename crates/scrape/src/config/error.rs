//! What may be wrong with a configuration file.

use std::fmt;

pub use crate::yaml::Mark;

/// Everything that was found wrong with a file, in the order in which it was found. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub issues: Vec<Issue>,
}

/// One thing that is wrong, where, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    pub mark: Mark,
    /// As `scrape_configs[0].relabel_configs[2].regex`; empty for the file as a whole.
    pub path: String,
    pub problem: Problem,
    /// Without position and path.
    pub message: String,
}

/// The kind of an [`Issue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Problem {
    /// Not a YAML document.
    Syntax,
    /// A key that neither Parca nor Decima knows.
    UnknownKey,
    /// Something that Parca knows and this version of Decima does not.
    NotYetSupported,
    /// A key stands twice in one mapping.
    DuplicateKey,
    /// A value of the wrong type.
    WrongType,
    /// A value, or several together, that break a rule.
    Invalid,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.mark)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.issues.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            issue.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
