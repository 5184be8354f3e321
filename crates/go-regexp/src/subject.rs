//! Go's view of a subject: a byte that is no part of valid UTF-8 is the character U+FFFD, one byte long.

use std::{borrow::Cow, ops::Range};

/// A subject as valid UTF-8, and the way back from its offsets to those of the original bytes.
pub(crate) struct Subject<'a> {
    text: Cow<'a, str>,
    /// Start of every replacement character in `text` that stands for one invalid byte; ascending. Empty for valid UTF-8.
    replaced: Vec<usize>,
}

const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

impl<'a> Subject<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Subject<'a> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return Subject { text: Cow::Borrowed(text), replaced: Vec::new() };
        }
        let mut text = String::with_capacity(bytes.len() + 16);
        let mut replaced = Vec::new();
        for chunk in bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            // Go decodes one byte at a time here, where Rust may see three bytes as one broken character.
            for _ in chunk.invalid() {
                replaced.push(text.len());
                text.push(REPLACEMENT);
            }
        }
        Subject { text: Cow::Owned(text), replaced }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes that the character at `at` takes in the text; 0 at the end.
    pub(crate) fn character_len(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8)
    }

    /// Where a range of the text lies in the original bytes.
    pub(crate) fn original(&self, range: Range<usize>) -> Range<usize> {
        let offset = |at: usize| {
            let before = self.replaced.partition_point(|&start| start < at);
            at - before * (REPLACEMENT.len_utf8() - 1)
        };
        offset(range.start)..offset(range.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invalid_byte_is_one_character_and_offsets_lead_back() {
        let bytes = b"a\xE2\x82b\xFFc";
        let subject = Subject::new(bytes);
        assert_eq!(subject.text(), "a\u{FFFD}\u{FFFD}b\u{FFFD}c");
        let mut starts = Vec::new();
        for (at, character) in subject.text().char_indices() {
            let original = subject.original(at..at + character.len_utf8());
            assert_eq!(original.len(), 1);
            starts.push(original.start);
        }
        assert_eq!(starts, [0, 1, 2, 3, 4, 5]);
    }
}
