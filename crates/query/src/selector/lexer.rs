//! Tokens of a selector, and the strings in it.

/// A part of the text. `at` is the offset of its first byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `job`; outside of braces with colons: a metric's name.
    Word(String),
    /// Unquoted and unescaped.
    Text(Vec<u8>),
    LeftBrace,
    RightBrace,
    Comma,
    Equal,
    NotEqual,
    Matches,
    DoesNotMatch,
    End,
}

impl Kind {
    /// As an error calls it.
    pub(super) fn described(&self) -> String {
        match self {
            Kind::Word(word) => format!("identifier {word:?}"),
            Kind::Text(text) => format!("string {}", quoted(text)),
            Kind::LeftBrace => "\"{\"".to_owned(),
            Kind::RightBrace => "\"}\"".to_owned(),
            Kind::Comma => "\",\"".to_owned(),
            Kind::Equal => "\"=\"".to_owned(),
            Kind::NotEqual => "\"!=\"".to_owned(),
            Kind::Matches => "\"=~\"".to_owned(),
            Kind::DoesNotMatch => "\"!~\"".to_owned(),
            Kind::End => "end of input".to_owned(),
        }
    }
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Fault {
        Fault { at, message: message.into() }
    }
}

/// Reads one token after the other.
pub(super) struct Lexer<'a> {
    query: &'a [u8],
    at: usize,
    in_braces: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(query: &'a [u8]) -> Lexer<'a> {
        Lexer { query, at: 0, in_braces: false }
    }

    pub(super) fn next(&mut self) -> Result<Token, Fault> {
        self.skip_blank();
        let at = self.at;
        let kind = match self.query.get(at) {
            None if self.in_braces => return Err(Fault::new(at, "unexpected end of input inside braces")),
            None => Kind::End,
            Some(b'{') if self.in_braces => return Err(Fault::new(at, "unexpected left brace '{'")),
            Some(b'{') => self.single(Kind::LeftBrace, true),
            Some(b'}') if self.in_braces => self.single(Kind::RightBrace, false),
            Some(b',') if self.in_braces => self.single(Kind::Comma, true),
            Some(b'=' | b'!') if self.in_braces => self.operator()?,
            Some(byte) if is_word_start(*byte) || (*byte == b':' && !self.in_braces) => self.word(),
            Some(b'"' | b'\'') => self.string()?,
            Some(b'`') => self.raw_string()?,
            Some(_) => {
                let inside = if self.in_braces { " inside braces" } else { "" };
                let character = self.character().0.unwrap_or(char::REPLACEMENT_CHARACTER);
                return Err(Fault::new(at, format!("unexpected character{inside}: {character:?}")));
            }
        };
        Ok(Token { at, kind })
    }

    /// White space, and comments from `#` to the end of the line.
    fn skip_blank(&mut self) {
        let mut in_comment = false;
        while let Some(&byte) = self.query.get(self.at) {
            match byte {
                b'\n' => in_comment = false,
                b'#' => in_comment = true,
                b' ' | b'\t' | b'\r' => {}
                _ if in_comment => {}
                _ => return,
            }
            self.at += 1;
        }
    }

    fn single(&mut self, kind: Kind, in_braces: bool) -> Kind {
        self.at += 1;
        self.in_braces = in_braces;
        kind
    }

    fn operator(&mut self) -> Result<Kind, Fault> {
        let (kind, length) = match &self.query[self.at..] {
            [b'=', b'~', ..] => (Kind::Matches, 2),
            [b'=', ..] => (Kind::Equal, 1),
            [b'!', b'=', ..] => (Kind::NotEqual, 2),
            [b'!', b'~', ..] => (Kind::DoesNotMatch, 2),
            _ => return Err(Fault::new(self.at, "unexpected character after '!' inside braces")),
        };
        self.at += length;
        Ok(kind)
    }

    fn word(&mut self) -> Kind {
        let rest = &self.query[self.at..];
        let is_part = |byte: &u8| is_word_start(*byte) || byte.is_ascii_digit() || (*byte == b':' && !self.in_braces);
        let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += length;
        Kind::Word(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    /// Between backquotes nothing is escaped.
    fn raw_string(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.character() {
                (Some('`'), _) => {
                    self.at += 1;
                    return Ok(Kind::Text(self.query[start + 1..self.at - 1].to_vec()));
                }
                (Some(char::REPLACEMENT_CHARACTER), _) => return Err(Fault::new(start, "invalid UTF-8 rune")),
                (Some(_), length) => self.at += length,
                (None, _) => return Err(Fault::new(start, "unterminated raw string")),
            }
        }
    }

    fn string(&mut self) -> Result<Kind, Fault> {
        let start = self.at;
        let quote = char::from(self.query[start]);
        let mut text = Vec::new();
        self.at += 1;
        loop {
            let (character, length) = self.character();
            match character {
                None | Some('\n') => return Err(Fault::new(start, "unterminated quoted string")),
                // So a replacement character that is meant has to be escaped.
                Some(char::REPLACEMENT_CHARACTER) => return Err(Fault::new(start, "invalid UTF-8 rune")),
                Some('\\') => {
                    self.at += 1;
                    self.escape(quote, &mut text).map_err(|message| Fault::new(start, message))?;
                }
                Some(character) => {
                    self.at += length;
                    if character == quote {
                        return Ok(Kind::Text(text));
                    }
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    /// What follows a backslash, as in Go.
    fn escape(&mut self, quote: char, text: &mut Vec<u8>) -> Result<(), String> {
        let (character, length) = self.character();
        let Some(character) = character else { return Err("escape sequence not terminated".to_owned()) };
        let (digits, base, is_byte) = match character {
            '0'..='7' => (3, 8, true),
            'x' => (2, 16, true),
            'u' => (4, 16, false),
            'U' => (8, 16, false),
            'a' => return self.escaped(7, text),
            'b' => return self.escaped(8, text),
            'f' => return self.escaped(12, text),
            'n' => return self.escaped(b'\n', text),
            'r' => return self.escaped(b'\r', text),
            't' => return self.escaped(b'\t', text),
            'v' => return self.escaped(11, text),
            '\\' => return self.escaped(b'\\', text),
            other if other == quote => return self.escaped(other as u8, text),
            other => return Err(format!("unknown escape sequence {}", code_point(other))),
        };
        if base == 16 {
            self.at += length;
        }
        let mut value: u64 = 0;
        for _ in 0..digits {
            let (character, length) = self.character();
            let Some(character) = character else { return Err("escape sequence not terminated".to_owned()) };
            let Some(digit) = character.to_digit(base) else {
                return Err(format!("illegal character {} in escape sequence", code_point(character)));
            };
            value = value * u64::from(base) + u64::from(digit);
            self.at += length;
        }
        let invalid = || "escape sequence is an invalid Unicode code point".to_owned();
        if is_byte {
            text.push(u8::try_from(value).map_err(|_| invalid())?);
            return Ok(());
        }
        let character = u32::try_from(value).ok().and_then(char::from_u32).ok_or_else(invalid)?;
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn escaped(&mut self, byte: u8, text: &mut Vec<u8>) -> Result<(), String> {
        self.at += 1;
        text.push(byte);
        Ok(())
    }

    /// The next character and its length in bytes; a bad byte is a replacement character of one byte.
    fn character(&self) -> (Option<char>, usize) {
        let rest = &self.query[self.at..];
        let Some(chunk) = rest[..rest.len().min(4)].utf8_chunks().next() else { return (None, 0) };
        match chunk.valid().chars().next() {
            Some(character) => (Some(character), character.len_utf8()),
            None => (Some(char::REPLACEMENT_CHARACTER), 1),
        }
    }
}

fn is_word_start(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphabetic()
}

/// Go's `%#U`: `U+0071 'q'`.
fn code_point(character: char) -> String {
    format!("U+{:04X} '{character}'", u32::from(character))
}

/// Go's `%q`.
pub(super) fn quoted(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\x07' => quoted.push_str("\\a"),
                '\x08' => quoted.push_str("\\b"),
                '\x0B' => quoted.push_str("\\v"),
                '\x0C' => quoted.push_str("\\f"),
                '\n' | '\r' | '\t' | '"' | '\\' => quoted.extend(character.escape_default()),
                '\'' => quoted.push(character),
                c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
                // Rust escapes what cannot be printed, as Go does, but writes it `\u{...}`.
                c if c.escape_debug().len() == 1 => quoted.push(c),
                c if u32::from(c) <= 0xFFFF => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
            }
        }
        for byte in chunk.invalid() {
            quoted.push_str(&format!("\\x{byte:02x}"));
        }
    }
    quoted.push('"');
    quoted
}
