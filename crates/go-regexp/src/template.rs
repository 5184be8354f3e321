//! Replacement templates: `$1`, `${1}`, `$name`, `${name}`, `$$`.

use std::ops::Range;

/// Go's `Regexp.Expand`. `group` gives the bytes of a group in `subject`.
pub(crate) fn expand(
    template: &[u8],
    group_names: &[String],
    group: impl Fn(usize) -> Option<Range<usize>>,
    subject: &[u8],
    out: &mut Vec<u8>,
) {
    let mut rest = template;
    while let Some(dollar) = rest.iter().position(|&byte| byte == b'$') {
        out.extend_from_slice(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix(b"$") {
            out.push(b'$');
            rest = after;
            continue;
        }
        let Some((name, after)) = reference(rest) else {
            out.push(b'$');
            continue;
        };
        rest = after;
        let range = match number(name) {
            Some(index) => group(index),
            // Names may repeat: the first group of that name that took part.
            None => (0..group_names.len()).filter(|&index| group_names[index].as_bytes() == name).find_map(&group),
        };
        out.extend_from_slice(range.map_or(&[], |range| &subject[range]));
    }
    out.extend_from_slice(rest);
}

/// The name behind a `$`, with or without braces, and what follows; `None` if there is none or its brace is not closed.
fn reference(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let braced = text.first() == Some(&b'{');
    let text = if braced { &text[1..] } else { text };
    let valid = text.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let length = valid.find(|c: char| !is_word_character(c)).unwrap_or(valid.len());
    let (name, rest) = text.split_at(length);
    if name.is_empty() {
        return None;
    }
    if !braced {
        return Some((name, rest));
    }
    Some((name, rest.strip_prefix(b"}")?))
}

/// Go asks for letters, decimal digits and `_`.
fn is_word_character(c: char) -> bool {
    c == '_' || crate::class::is_letter_or_decimal(c)
}

/// A group's number: decimal digits without a leading zero, below 10^9.
fn number(name: &[u8]) -> Option<usize> {
    if name.len() > 1 && name[0] == b'0' {
        return None;
    }
    let mut number = 0;
    for &digit in name {
        if !digit.is_ascii_digit() || number >= 100_000_000 {
            return None;
        }
        number = number * 10 + usize::from(digit - b'0');
    }
    Some(number)
}
