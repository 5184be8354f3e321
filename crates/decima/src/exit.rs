//! How the program ends when it cannot go on: one line, and a code that scripts can tell apart.

use std::fmt;
use std::process::ExitCode;

/// Why it ends.
#[derive(Debug)]
pub enum Exit {
    /// Wrong flags. 1, as Parca.
    Flags(String),
    /// Wrong configuration, or one that this machine cannot serve. 64 (EX_USAGE of sysexits.h).
    Configuration(String),
    /// It ran, or tried to, and failed. 1.
    Failure(String),
    /// It ran, and something was left out. 2.
    Partly(String),
}

impl Exit {
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Flags(_) | Self::Failure(_) => ExitCode::from(1),
            Self::Partly(_) => ExitCode::from(2),
            Self::Configuration(_) => ExitCode::from(64),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Flags(message) | Self::Configuration(message) | Self::Failure(message) | Self::Partly(message)) =
            self;
        write!(f, "decima: error: {message}")
    }
}
