//! As much of DER, and of PEM around it, as keys, signing requests and the dates of certificates need.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const UTF8_STRING: u8 = 0x0c;
pub const UTC_TIME: u8 = 0x17;
pub const GENERALIZED_TIME: u8 = 0x18;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
/// `[0]`, constructed.
pub const CONTEXT_0: u8 = 0xa0;
/// `[2]`, primitive: a DNS name among general names.
pub const DNS_NAME: u8 = 0x82;

/// One value: tag, length, content.
pub fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    let length = content.len();
    if length < 0x80 {
        der.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let significant = &bytes[(length.leading_zeros() / 8) as usize..];
        der.push(0x80 | significant.len() as u8);
        der.extend(significant);
    }
    der.extend(content);
    der
}

/// A value that holds others.
pub fn holding<'a>(tag: u8, parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    value(tag, &parts.into_iter().collect::<Vec<_>>().concat())
}

/// A number that is not negative, big-endian.
pub fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let significant = bytes.iter().position(|byte| *byte != 0).map_or(&[0][..], |first| &bytes[first..]);
    let sign: &[u8] = if significant[0] & 0x80 != 0 { &[0] } else { &[] };
    holding(INTEGER, [sign, significant])
}

/// Whole bytes as a bit string.
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    holding(BIT_STRING, [&[0][..], bytes])
}

/// The first value of `der`: its tag and content, and what follows it. `None` where it is broken.
pub fn read(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, first, rest @ ..] = der else { return None };
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The content of the first value, which has this tag, and what follows it.
pub fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    read(der).filter(|(found, _, _)| *found == tag).map(|(_, content, rest)| (content, rest))
}

/// In lines of 64, without a line end after the last, as Python keeps it.
pub fn to_pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----"));
    pem
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_have_a_sign_and_no_needless_zeros() {
        assert_eq!(unsigned(&[0, 0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(unsigned(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!((unsigned(&[0, 0]), unsigned(&[])), (vec![2, 1, 0], vec![2, 1, 0]));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(content in prop::collection::vec(any::<u8>(), 0..70_000), after in any::<[u8; 3]>()) {
            let mut der = value(OCTET_STRING, &content);
            der.extend(after);
            prop_assert_eq!(expect(&der, OCTET_STRING), Some((content.as_slice(), &after[..])));
        }

        #[test]
        fn of_any_bytes_a_value_is_a_tag_a_length_and_what_lies_before_the_rest(der in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut rest = der.as_slice();
            while let Some((tag, content, after)) = read(rest) {
                prop_assert_eq!(tag, rest[0]);
                prop_assert!(content.len() + after.len() + 2 <= rest.len());
                prop_assert!(rest.ends_with(&[content, after].concat()));
                rest = after;
            }
        }
    }
}
