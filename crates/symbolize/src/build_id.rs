//! Build IDs as agents send them: hex of a GNU note, Go's own with slashes, hashes, debug IDs of source maps.

use std::fmt;

use crate::metadata::OBJECTS;

/// Longer than any linker's; Go's are 83 bytes.
const BYTES_MAX: usize = 256;

/// Safe as a part of an object's name: it cannot leave its place, nor take that of another build ID's objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BuildId(String);

/// Why a text is no build ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildIdError {
    /// Parca's rule: at most 2 bytes.
    Short,
    Long,
    /// A byte that no kind of build ID has.
    Character,
    /// An empty part, `.`, `..`, or the name of an object that lies beside one.
    Part(String),
}

impl BuildId {
    pub fn parse(text: &str) -> Result<Self, BuildIdError> {
        if text.len() <= 2 {
            return Err(BuildIdError::Short);
        }
        if text.len() > BYTES_MAX {
            return Err(BuildIdError::Long);
        }
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+:@~/".contains(&byte);
        if !text.bytes().all(is_safe) {
            return Err(BuildIdError::Character);
        }
        let mut parts = text.split('/');
        let wrong =
            parts.find(|part| part.is_empty() || part.bytes().all(|byte| byte == b'.') || OBJECTS.contains(part));
        match wrong {
            Some(part) => Err(BuildIdError::Part(part.to_owned())),
            None => Ok(Self(text.to_owned())),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BuildIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Parca's words
            Self::Short => f.write_str("unexpectedly short input"),
            Self::Long => write!(f, "a build ID is at most {BYTES_MAX} bytes long"),
            Self::Character => f.write_str("a build ID consists of letters, digits and -_.=+:@~/"),
            Self::Part(part) => write!(f, "a build ID has no part {part:?}"),
        }
    }
}

impl std::error::Error for BuildIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_ids_of_all_kinds_are_taken() {
        for id in [
            "abc",
            "feed0001",
            "1122334455667788990011223344556677889900",
            "go/feed0001",
            "RlTQkXUYhcLhHm5vqZlM/yZ1b_8Kq9yZ1b-8Kq9yZ/kJ0d0OqQ3Yw1uQ1h0zvA/9W4YwQ5Qe8rJQ1h0zvA9",
            "85314830-023f-4cf1-a267-535f4e37bb17",
            "sha256:deadbeef",
        ] {
            assert_eq!(BuildId::parse(id).expect(id).as_str(), id);
        }
    }

    #[test]
    fn what_would_leave_its_place_is_refused() {
        let long = "a".repeat(300);
        for id in [
            "",
            "ab",
            "../../etc/passwd",
            "../../escaped",
            "/etc/passwd",
            "a/../b",
            "abc/",
            "a//b",
            "...",
            "abc\0d",
            "abc d",
            "abc\\..\\d",
            "abc\nd",
            "äöü",
            "feed/metadata",
            "feed/debuginfo/x",
            "feed/executable.metadata",
            &long,
        ] {
            assert!(BuildId::parse(id).is_err(), "{id:?}");
        }
    }
}
