//! Questions and answers of DNS as they are on the wire: RFC 1035, sections 3 and 4, and RFC 3596 for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a datagram that are read: more than the 512 that a server may send to whom asks without extensions.
pub const MESSAGE_MAX: usize = 4096;

/// Bytes of a name on the wire, lengths and the root's included.
const NAME_MAX: usize = 255;

const HEADER: usize = 12;
const CLASS_INTERNET: u16 = 1;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    A = 1,
    Cname = 5,
    Ptr = 12,
    Aaaa = 28,
}

/// One question: a name and the kind of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In lower case, with dots between the labels and none at the end.
    name: String,
    kind: Kind,
}

/// One record that answers the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Address(IpAddr),
    Name(String),
}

impl Answer {
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Answer::Address(address) => Some(address),
            Answer::Name(_) => None,
        }
    }

    pub fn name(self) -> Option<String> {
        match self {
            Answer::Name(name) => Some(name),
            Answer::Address(_) => None,
        }
    }
}

/// What a server says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The name exists; it may have no such records.
    Answers(Vec<Answer>),
    NoSuchName,
    /// The server cannot or will not say.
    Refused,
    /// The answer is longer than a datagram, and none of it came.
    TooLong,
}

impl Question {
    /// For IPv4 addresses. `None` if this is no name of a host.
    pub fn a(name: &str) -> Option<Question> {
        Question::new(name, Kind::A)
    }

    /// For IPv6 addresses. `None` if this is no name of a host.
    pub fn aaaa(name: &str) -> Option<Question> {
        Question::new(name, Kind::Aaaa)
    }

    /// For the names of an address.
    pub fn ptr(address: IpAddr) -> Question {
        let name = match address {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            IpAddr::V6(v6) => {
                let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
                nibbles.map(|nibble| format!("{nibble:x}.")).chain(["ip6.arpa".to_owned()]).collect()
            }
        };
        Question { name, kind: Kind::Ptr }
    }

    fn new(name: &str, kind: Kind) -> Option<Question> {
        // lengths take the dots' places, and the first label's and the root's come on top
        let fits = name.len() + 2 <= NAME_MAX && name.split('.').all(|label| is_label(label.as_bytes()));
        fits.then(|| Question { name: name.to_ascii_lowercase(), kind })
    }

    /// The datagram that asks, with recursion desired.
    pub fn message(&self, id: [u8; 2]) -> Vec<u8> {
        let mut message = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in self.name.split('.') {
            // 63 at most, see `is_label`
            message.push(label.len() as u8);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&(self.kind as u16).to_be_bytes());
        message.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        message
    }

    /// What a datagram says to this question. `None` if it is not about it, or no whole message.
    pub fn reply(&self, id: [u8; 2], datagram: &[u8]) -> Option<Reply> {
        let mut reader = Reader { message: datagram, at: HEADER };
        let header = datagram.get(..HEADER)?;
        let counts = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (is_reply, truncated) = (header[2] & 0x80 != 0, header[2] & 0x02 != 0);
        if header[..2] != id || !is_reply || counts(4) != 1 {
            return None;
        }
        let asked = (reader.name()?, reader.u16()?, reader.u16()?);
        if asked != (self.name.clone(), self.kind as u16, CLASS_INTERNET) {
            return None;
        }
        match header[3] & 0x0f {
            0 => {}
            3 => return Some(Reply::NoSuchName),
            _ => return Some(Reply::Refused),
        }
        let mut answers = Vec::new();
        // the name that the answers are about: aliases stand before what they lead to
        let mut about = self.name.clone();
        for _ in 0..counts(6) {
            let Some(record) = reader.record() else {
                // cut off in the middle
                if truncated {
                    break;
                }
                return None;
            };
            if record.class != CLASS_INTERNET || record.name != about {
                continue;
            }
            if record.kind == Kind::Cname as u16 && self.kind != Kind::Cname {
                about = Reader { message: datagram, at: record.data_at }.name()?;
            } else if record.kind == self.kind as u16 {
                answers.extend(self.answer(datagram, &record));
            }
        }
        Some(if truncated && answers.is_empty() { Reply::TooLong } else { Reply::Answers(answers) })
    }

    /// A record's content; none if it is not what its kind says.
    fn answer(&self, datagram: &[u8], record: &Record<'_>) -> Option<Answer> {
        match self.kind {
            Kind::A => Some(Answer::Address(Ipv4Addr::from(<[u8; 4]>::try_from(record.data).ok()?).into())),
            Kind::Aaaa => Some(Answer::Address(Ipv6Addr::from(<[u8; 16]>::try_from(record.data).ok()?).into())),
            Kind::Ptr | Kind::Cname => {
                let name = Reader { message: datagram, at: record.data_at }.name()?;
                name.split('.').all(|label| is_label(label.as_bytes())).then_some(Answer::Name(name))
            }
        }
    }
}

/// Whether this may be a part of a host's name. Underscores are not allowed there, but exist.
fn is_label(label: &[u8]) -> bool {
    (1..=63).contains(&label.len())
        && label.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

struct Record<'a> {
    name: String,
    kind: u16,
    class: u16,
    data: &'a [u8],
    /// Where `data` begins in the message: names within it point elsewhere.
    data_at: usize,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let (name, kind, class) = (self.name()?, self.u16()?, self.u16()?);
        let _time_to_live = self.bytes(4)?;
        let length = self.u16()?;
        let data_at = self.at;
        let data = self.bytes(length.into())?;
        Some(Record { name, kind, class, data, data_at })
    }

    /// A name in lower case; bytes that are no ASCII, and dots within a label, become `?`. Pointers lead backwards only, so that this ends.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        let mut part = Reader { message: self.message, at: self.at };
        let mut pointed = false;
        let mut below = self.at;
        loop {
            let length = part.u8()?;
            match length >> 6 {
                0 if length == 0 => break,
                0 => {
                    if !name.is_empty() {
                        name.push('.');
                    }
                    let label = part.bytes(length.into())?;
                    let tame = |&byte: &u8| if byte.is_ascii_graphic() && byte != b'.' { byte as char } else { '?' };
                    name.extend(label.iter().map(tame).map(|c| c.to_ascii_lowercase()));
                    if name.len() + 2 > NAME_MAX {
                        return None;
                    }
                }
                3 => {
                    let to = usize::from(length & 0x3f) << 8 | usize::from(part.u8()?);
                    if to >= below {
                        return None;
                    }
                    if !pointed {
                        self.at = part.at;
                        pointed = true;
                    }
                    below = to;
                    part.at = to;
                }
                _ => return None,
            }
        }
        if !pointed {
            self.at = part.at;
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: [u8; 2] = [0xab, 0xcd];

    /// The answer to a question: flags, the records, each `(name, kind, data)`.
    fn message(question: &Question, flags: [u8; 2], records: &[(&[u8], u16, &[u8])]) -> Vec<u8> {
        let mut message = question.message(ID);
        message[2..4].copy_from_slice(&flags);
        message[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        for (name, kind, data) in records {
            message.extend_from_slice(name);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    /// A pointer to the name that was asked for.
    const ASKED: &[u8] = &[0xc0, 12];
    const FINE: [u8; 2] = [0x81, 0x80];

    #[test]
    fn a_question_is_what_rfc_1035_says() {
        let question = Question::a("Ab.c").unwrap();
        assert_eq!(question.message(ID), b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x02ab\x01c\0\0\x01\0\x01");
        assert_eq!(Question::ptr("10.1.2.3".parse().unwrap()).name, "3.2.1.10.in-addr.arpa");
        let v6 = Question::ptr("2001:db8::567:89ab".parse().unwrap());
        assert_eq!(v6.name, "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
    }

    #[test]
    fn what_is_no_name_is_not_asked_for() {
        let long = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert_eq!(long.len(), 253);
        assert!(Question::a(&long).is_some());
        for name in ["", ".", "a..b", ".a", "a b", "ä.test", "a/b", &"a".repeat(64), &format!("{long}d")] {
            assert_eq!(Question::a(name), None, "{name:?}");
        }
    }

    #[test]
    fn aliases_are_followed_to_addresses() {
        let question = Question::a("www.test").unwrap();
        let alias = b"\x03web\xc0\x10";
        let records: [(&[u8], u16, &[u8]); 4] = [
            (b"\x05other\0", 1, &[9, 9, 9, 9]),
            (ASKED, 5, alias),
            (alias, 1, &[10, 0, 0, 1]),
            (alias, 1, &[10, 0, 0, 2]),
        ];
        let Some(Reply::Answers(answers)) = question.reply(ID, &message(&question, FINE, &records)) else {
            panic!("an answer");
        };
        let addresses = Vec::from_iter(answers.into_iter().filter_map(Answer::address));
        assert_eq!(addresses, ["10.0.0.1".parse::<IpAddr>().unwrap(), "10.0.0.2".parse().unwrap()]);
    }

    #[test]
    fn an_address_has_names() {
        let question = Question::ptr("10.0.0.1".parse().unwrap());
        let records: [(&[u8], u16, &[u8]); 3] =
            [(ASKED, 12, b"\x03Web\x04test\0"), (ASKED, 12, b"\x03a b\0"), (ASKED, 12, b"\x04web2\x04test\0")];
        let reply = question.reply(ID, &message(&question, FINE, &records));
        let names = ["web.test", "web2.test"].map(|name| Answer::Name(name.to_owned()));
        assert_eq!(reply, Some(Reply::Answers(names.to_vec())));
    }

    #[test]
    fn replies_are_told_apart() {
        let question = Question::aaaa("a.test").unwrap();
        let reply = |flags| question.reply(ID, &message(&question, flags, &[]));
        assert_eq!(reply(FINE), Some(Reply::Answers(vec![])));
        assert_eq!(reply([0x81, 0x83]), Some(Reply::NoSuchName));
        assert_eq!(reply([0x81, 0x82]), Some(Reply::Refused));
        assert_eq!(reply([0x83, 0x80]), Some(Reply::TooLong));
        // a question is no reply
        assert_eq!(reply([0x01, 0x00]), None);
        assert_eq!(question.reply([0, 0], &message(&question, FINE, &[])), None);
        assert_eq!(question.reply(ID, &message(&Question::aaaa("b.test").unwrap(), FINE, &[])), None);
        assert_eq!(question.reply(ID, &message(&Question::a("a.test").unwrap(), FINE, &[])), None);
    }

    #[test]
    fn what_came_of_a_long_answer_is_taken() {
        let question = Question::a("a.test").unwrap();
        let mut cut = message(&question, [0x83, 0x80], &[(ASKED, 1, &[10, 0, 0, 1]), (ASKED, 1, &[10, 0, 0, 2])]);
        cut.truncate(cut.len() - 3);
        let first = Answer::Address("10.0.0.1".parse().unwrap());
        assert_eq!(question.reply(ID, &cut), Some(Reply::Answers(vec![first])));
        cut[2] = 0x81;
        assert_eq!(question.reply(ID, &cut), None);
    }

    #[test]
    fn a_pointer_that_leads_to_itself_or_on_is_refused() {
        let question = Question::a("a.test").unwrap();
        let at = question.message(ID).len();
        for to in [at, at + 2] {
            let pointer = [0xc0 | (to >> 8) as u8, to as u8];
            assert_eq!(question.reply(ID, &message(&question, FINE, &[(&pointer, 1, &[1, 2, 3, 4])])), None);
        }
    }

    proptest! {
        #[test]
        fn of_any_bytes_only_a_reply_to_this_question_is_taken(
            flips in prop::collection::vec((0usize..200, any::<u8>()), 0..20),
            tail in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let question = Question::ptr("10.0.0.1".parse().unwrap());
            let mut datagram = message(&question, FINE, &[(ASKED, 5, b"\x01b\xc0\x0c"), (b"\x01b\xc0\x0c", 12, b"\x01c\xc0\x0c")]);
            datagram.extend(tail);
            let length = datagram.len();
            for (at, byte) in flips {
                datagram[at % length] = byte;
            }
            if question.reply(ID, &datagram).is_some() {
                prop_assert!(datagram.starts_with(&ID) && datagram[2] & 0x80 != 0, "{:?}", datagram);
            }
        }
    }
}
