//! Go's regular-expression syntax (`regexp/syntax`, flags `Perl`) read into a [`Hir`].
//!
//! Errors come in the order in which Go's parser finds them, so one pass from left to right decides what is quoted.

use regex_syntax::hir::{self, Class, ClassUnicode, ClassUnicodeRange, Dot, Hir, Look};

use crate::{
    class,
    error::{Error, ErrorKind},
};

/// Bytes of a pattern. An item takes up to 200 bytes of memory while it is read, so that this is 50 MB at worst.
const PATTERN_BYTES_MAX: usize = 256 << 10;

/// Ranges of all character classes of one pattern: as many as 1,500 times `\pL`.
const CLASS_RANGES_MAX: usize = 1 << 20;

/// Go's `maxHeight`: groups and repetitions inside each other.
const HEIGHT_MAX: u32 = 1000;

/// Go's limit of one count and of the product of counts inside each other.
const REPEAT_MAX: u32 = 1000;

/// Where the flavours of Go's parser differ.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// The flag `s` is set from the start.
    pub(crate) dot_matches_newline: bool,
    /// Names of Unicode classes must be spelled exactly.
    pub(crate) exact_class_names: bool,
}

/// A pattern that was read.
pub(crate) struct Parsed {
    pub(crate) expression: Hir,
    /// The whole match first; `""` for a group without a name.
    pub(crate) group_names: Vec<String>,
}

impl Parsed {
    /// The same for subjects as a whole.
    pub(crate) fn anchored(self) -> Parsed {
        let parts = vec![Hir::look(Look::Start), self.expression, Hir::look(Look::End)];
        Parsed { expression: Hir::concat(parts), group_names: self.group_names }
    }
}

/// Reads `pattern`, or says what is wrong with it.
pub(crate) fn parse(pattern: &[u8], rules: Rules) -> Result<Parsed, Error> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(Error::new(ErrorKind::TooLarge, b"..."));
    }
    let flags = Flags { dot_matches_newline: rules.dot_matches_newline, ..Flags::default() };
    let parser = Parser {
        pattern,
        rules,
        flags,
        group_names: vec![String::new()],
        current: Group::new(GroupKind::Plain, flags),
        outer: Vec::new(),
        class_ranges: 0,
    };
    parser.run()
}

#[derive(Clone, Copy, Default)]
struct Flags {
    /// `i`
    fold_case: bool,
    /// `m`: `^` and `$` match at lines.
    multi_line: bool,
    /// `s`
    dot_matches_newline: bool,
    /// `U`: `x*` and `x*?` change places.
    swap_greed: bool,
}

struct Parser<'a> {
    pattern: &'a [u8],
    rules: Rules,
    flags: Flags,
    group_names: Vec<String>,
    /// The innermost open group, or the whole pattern.
    current: Group,
    /// The groups around it, from outside in.
    outer: Vec<Group>,
    class_ranges: usize,
}

/// An open group: the alternatives before the last `|`, and the sequence behind it.
struct Group {
    kind: GroupKind,
    flags_before: Flags,
    alternatives: Vec<Piece>,
    sequence: Vec<Piece>,
    /// Plain characters at the end of the sequence: one literal, unless a repetition takes the last of them.
    text: String,
}

#[derive(Clone, Copy)]
enum GroupKind {
    Plain,
    Capture(u32),
}

/// A part of the expression, with what Go's limits count.
struct Piece {
    hir: Hir,
    height: u32,
    /// The largest product of the counts of repetitions inside each other.
    copies: u32,
}

impl Piece {
    fn leaf(hir: Hir) -> Piece {
        Piece { hir, height: 1, copies: 1 }
    }
}

impl Group {
    fn new(kind: GroupKind, flags_before: Flags) -> Group {
        Group { kind, flags_before, alternatives: Vec::new(), sequence: Vec::new(), text: String::new() }
    }

    fn push(&mut self, piece: Piece) {
        self.end_text();
        self.sequence.push(piece);
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text).into_bytes();
            self.sequence.push(Piece::leaf(Hir::literal(text)));
        }
    }

    /// Takes what a repetition operator repeats.
    fn pop(&mut self) -> Option<Piece> {
        if let Some(last) = self.text.pop() {
            self.end_text();
            return Some(Piece::leaf(Hir::literal(last.to_string().into_bytes())));
        }
        self.sequence.pop()
    }

    /// At `|` or at the end of the group.
    fn end_alternative(&mut self) -> Result<(), ErrorKind> {
        self.end_text();
        let sequence = join(std::mem::take(&mut self.sequence), Hir::concat)?;
        self.alternatives.push(sequence);
        Ok(())
    }

    fn close(mut self) -> Result<Piece, ErrorKind> {
        self.end_alternative()?;
        join(self.alternatives, Hir::alternation)
    }
}

fn join(mut pieces: Vec<Piece>, into: impl FnOnce(Vec<Hir>) -> Hir) -> Result<Piece, ErrorKind> {
    if pieces.len() == 1 {
        return pieces.pop().ok_or(ErrorKind::TooLarge);
    }
    let height = 1 + pieces.iter().map(|piece| piece.height).max().unwrap_or(0);
    let copies = pieces.iter().map(|piece| piece.copies).max().unwrap_or(1);
    check_height(height)?;
    Ok(Piece { hir: into(pieces.into_iter().map(|piece| piece.hir).collect()), height, copies })
}

fn check_height(height: u32) -> Result<(), ErrorKind> {
    if height > HEIGHT_MAX { Err(ErrorKind::NestsTooDeeply) } else { Ok(()) }
}

impl<'a> Parser<'a> {
    fn run(mut self) -> Result<Parsed, Error> {
        let mut rest = self.pattern;
        // From the repetition operator that stands right before `rest`, if any.
        let mut repeated_from: Option<&[u8]> = None;
        while let Some(&first) = rest.first() {
            let mut repeats_from = None;
            match first {
                b'(' if rest.starts_with(b"(?") => rest = self.perl_group(rest)?,
                b'(' => {
                    self.open_capture("");
                    rest = &rest[1..];
                }
                b'|' => {
                    self.current.end_alternative().map_err(|kind| self.whole(kind))?;
                    rest = &rest[1..];
                }
                b')' => {
                    self.close_group()?;
                    rest = &rest[1..];
                }
                b'^' => {
                    let look = if self.flags.multi_line { Look::StartLF } else { Look::Start };
                    self.push_leaf(Hir::look(look));
                    rest = &rest[1..];
                }
                b'$' => {
                    let look = if self.flags.multi_line { Look::EndLF } else { Look::End };
                    self.push_leaf(Hir::look(look));
                    rest = &rest[1..];
                }
                b'.' => {
                    let dot = if self.flags.dot_matches_newline { Dot::AnyChar } else { Dot::AnyCharExceptLF };
                    self.push_leaf(Hir::dot(dot));
                    rest = &rest[1..];
                }
                b'[' => rest = self.bracket_class(rest)?,
                b'*' | b'+' | b'?' => {
                    let count = match first {
                        b'*' => Count { min: 0, max: None, written: false },
                        b'+' => Count { min: 1, max: None, written: false },
                        _ => Count { min: 0, max: Some(1), written: false },
                    };
                    repeats_from = Some(rest);
                    rest = self.repeat(count, rest, &rest[1..], repeated_from)?;
                }
                b'{' => match counts(rest) {
                    None => {
                        self.push_char('{');
                        rest = &rest[1..];
                    }
                    Some((count, after)) => {
                        let count =
                            count.ok_or_else(|| Error::new(ErrorKind::InvalidRepeatCount, until(rest, after)))?;
                        repeats_from = Some(rest);
                        rest = self.repeat(count, rest, after, repeated_from)?;
                    }
                },
                b'\\' => rest = self.escape(rest)?,
                _ => {
                    let (character, after) = next_char(rest)?;
                    self.push_char(character);
                    rest = after;
                }
            }
            repeated_from = repeats_from;
        }
        if !self.outer.is_empty() {
            return Err(self.whole(ErrorKind::MissingParenthesis));
        }
        let piece = self.current.close().map_err(|kind| Error::new(kind, self.pattern))?;
        Ok(Parsed { expression: piece.hir, group_names: self.group_names })
    }

    /// An error that quotes the whole pattern.
    fn whole(&self, kind: ErrorKind) -> Error {
        Error::new(kind, self.pattern)
    }

    fn push_leaf(&mut self, hir: Hir) {
        self.current.push(Piece::leaf(hir));
    }

    fn push_char(&mut self, character: char) {
        if !self.flags.fold_case {
            return self.current.text.push(character);
        }
        let mut class = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
        class.case_fold_simple();
        self.push_leaf(Hir::class(Class::Unicode(class)));
    }

    /// A surrogate may be written, as `\x{D800}`, and matches nothing.
    fn push_code_point(&mut self, code_point: u32) {
        match char::from_u32(code_point) {
            Some(character) => self.push_char(character),
            None => self.push_leaf(Hir::fail()),
        }
    }

    fn open_capture(&mut self, name: &str) {
        let index = self.group_names.len() as u32;
        self.group_names.push(name.to_owned());
        self.open_group(GroupKind::Capture(index));
    }

    fn open_group(&mut self, kind: GroupKind) {
        let group = Group::new(kind, self.flags);
        self.outer.push(std::mem::replace(&mut self.current, group));
    }

    fn close_group(&mut self) -> Result<(), Error> {
        let outer = self.outer.pop().ok_or_else(|| self.whole(ErrorKind::UnexpectedParenthesis))?;
        let closed = std::mem::replace(&mut self.current, outer);
        self.flags = closed.flags_before;
        let kind = closed.kind;
        let piece = closed.close().map_err(|kind| self.whole(kind))?;
        let piece = match kind {
            GroupKind::Plain => piece,
            GroupKind::Capture(index) => {
                let height = piece.height + 1;
                check_height(height).map_err(|kind| self.whole(kind))?;
                let capture = hir::Capture { index, name: None, sub: Box::new(piece.hir) };
                Piece { hir: Hir::capture(capture), height, copies: piece.copies }
            }
        };
        self.current.push(piece);
        Ok(())
    }

    /// `before` starts at the operator, `after` behind it; the result starts behind its `?` too.
    fn repeat(
        &mut self,
        count: Count,
        before: &'a [u8],
        after: &'a [u8],
        repeated_from: Option<&[u8]>,
    ) -> Result<&'a [u8], Error> {
        let (lazy, after) = match after.strip_prefix(b"?") {
            Some(after) => (true, after),
            None => (false, after),
        };
        if let Some(from) = repeated_from {
            return Err(Error::new(ErrorKind::InvalidRepeatOperator, until(from, after)));
        }
        let Some(sub) = self.current.pop() else {
            return Err(Error::new(ErrorKind::MissingRepeatArgument, until(before, after)));
        };
        let copies = if count.written { count.copies(sub.copies) } else { sub.copies };
        if count.is_many() && copies > REPEAT_MAX {
            return Err(Error::new(ErrorKind::InvalidRepeatCount, until(before, after)));
        }
        let height = sub.height + 1;
        check_height(height).map_err(|kind| self.whole(kind))?;
        let greedy = lazy == self.flags.swap_greed;
        let repetition = hir::Repetition { min: count.min, max: count.max, greedy, sub: Box::new(sub.hir) };
        self.current.push(Piece { hir: Hir::repetition(repetition), height, copies });
        Ok(after)
    }

    /// `(?P<name>`, `(?<name>`, `(?i)`, `(?i:`, `(?:`.
    fn perl_group(&mut self, from: &'a [u8]) -> Result<&'a [u8], Error> {
        let prefix = if from.len() > 4 && from.starts_with(b"(?P<") {
            Some(4)
        } else if from.len() > 3 && from.starts_with(b"(?<") {
            Some(3)
        } else {
            None
        };
        match prefix {
            Some(prefix) => self.named_capture(from, prefix),
            None => self.flag_group(from),
        }
    }

    fn named_capture(&mut self, from: &'a [u8], prefix: usize) -> Result<&'a [u8], Error> {
        let Some(end) = from.iter().position(|&byte| byte == b'>') else {
            check_utf8(from)?;
            return Err(Error::new(ErrorKind::InvalidNamedCapture, from));
        };
        let name = check_utf8(&from[prefix..end])?;
        if name.is_empty() || !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            return Err(Error::new(ErrorKind::InvalidNamedCapture, &from[..=end]));
        }
        self.open_capture(name);
        Ok(&from[end + 1..])
    }

    fn flag_group(&mut self, from: &'a [u8]) -> Result<&'a [u8], Error> {
        let mut rest = &from[2..];
        let mut flags = self.flags;
        let mut set = true;
        let mut flag_seen = false;
        while !rest.is_empty() {
            let (character, after) = next_char(rest)?;
            rest = after;
            match character {
                'i' => flags.fold_case = set,
                'm' => flags.multi_line = set,
                's' => flags.dot_matches_newline = set,
                'U' => flags.swap_greed = set,
                '-' if set => {
                    set = false;
                    flag_seen = false;
                    continue;
                }
                ':' | ')' if set || flag_seen => {
                    if character == ':' {
                        self.open_group(GroupKind::Plain);
                    }
                    self.flags = flags;
                    return Ok(rest);
                }
                _ => break,
            }
            flag_seen = true;
        }
        Err(Error::new(ErrorKind::InvalidPerlSyntax, until(from, rest)))
    }

    /// An escape outside brackets.
    fn escape(&mut self, from: &'a [u8]) -> Result<&'a [u8], Error> {
        let look = match from.get(1) {
            Some(b'A') => Look::Start,
            Some(b'z') => Look::End,
            Some(b'b') => Look::WordAscii,
            Some(b'B') => Look::WordAsciiNegate,
            Some(b'C') => return Err(Error::new(ErrorKind::InvalidEscape, &from[..2])),
            Some(b'Q') => return self.quoted(&from[2..]),
            _ => return self.class_or_character(from),
        };
        self.push_leaf(Hir::look(look));
        Ok(&from[2..])
    }

    /// What follows `\Q`, up to `\E` or the end.
    fn quoted(&mut self, from: &'a [u8]) -> Result<&'a [u8], Error> {
        let end = from.windows(2).position(|pair| pair == br"\E");
        let (mut text, after) = match end {
            Some(end) => (&from[..end], &from[end + 2..]),
            None => (from, &from[from.len()..]),
        };
        while !text.is_empty() {
            let (character, rest) = next_char(text)?;
            self.push_char(character);
            text = rest;
        }
        Ok(after)
    }

    fn class_or_character(&mut self, from: &'a [u8]) -> Result<&'a [u8], Error> {
        if let Some((set, after)) = self.escaped_class(from)? {
            self.push_set(set)?;
            return Ok(after);
        }
        let (code_point, after) = escaped_char(from)?;
        self.push_code_point(code_point);
        Ok(after)
    }

    /// `\p{Greek}`, `\d` and their like, which stand for themselves both inside and outside brackets.
    fn escaped_class(&mut self, from: &'a [u8]) -> Result<Option<(Set, &'a [u8])>, Error> {
        let [b'\\', letter, ..] = from else { return Ok(None) };
        let (class, negated, after) = match letter {
            b'p' | b'P' => self.unicode_class(from)?,
            letter => match class::perl(*letter) {
                Some((class, negated)) => (class, negated, &from[2..]),
                None => return Ok(None),
            },
        };
        let mut set = Set::default();
        set.add_class(class, negated, self.flags.fold_case);
        Ok(Some((set, after)))
    }

    fn unicode_class(&self, from: &'a [u8]) -> Result<(ClassUnicode, bool, &'a [u8]), Error> {
        let (first, after) = if from.len() > 2 { next_char(&from[2..])? } else { ('\u{FFFD}', &from[2..]) };
        let (name, after) = if first == '{' {
            let Some(end) = from.iter().position(|&byte| byte == b'}') else {
                check_utf8(from)?;
                return Err(Error::new(ErrorKind::InvalidClassRange, from));
            };
            (check_utf8(&from[3..end])?, &from[end + 1..])
        } else {
            (check_utf8(&from[2..from.len() - after.len()])?, after)
        };
        let (name, inverted) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let class = class::unicode(name, self.rules.exact_class_names)
            .ok_or_else(|| Error::new(ErrorKind::InvalidClassRange, until(from, after)))?;
        Ok((class, (from[1] == b'P') != inverted, after))
    }

    /// `[...]`
    fn bracket_class(&mut self, from: &'a [u8]) -> Result<&'a [u8], Error> {
        let (negated, mut rest) = match from[1..].strip_prefix(b"^") {
            Some(rest) => (true, rest),
            None => (false, &from[1..]),
        };
        let mut set = Set::default();
        let mut first = true;
        // A `]` in first place is a character.
        while first || rest.first() != Some(&b']') {
            first = false;
            if let Some((class, negated, after)) = posix_class(rest)? {
                set.add_class(class, negated, self.flags.fold_case);
                rest = after;
            } else if let Some((class, after)) = self.escaped_class(rest)? {
                set.add_set(class);
                rest = after;
            } else {
                let range_from = rest;
                let (low, mut after) = bracket_char(rest, from)?;
                let mut high = low;
                // `[a-]` means `a` or `-`.
                if after.len() >= 2 && after[0] == b'-' && after[1] != b']' {
                    (high, after) = bracket_char(&after[1..], from)?;
                    if high < low {
                        return Err(Error::new(ErrorKind::InvalidClassRange, until(range_from, after)));
                    }
                }
                set.add_range(low, high, self.flags.fold_case);
                rest = after;
            }
            if set.len() > CLASS_RANGES_MAX {
                return Err(self.whole(ErrorKind::TooLarge));
            }
        }
        set.negated = negated;
        self.push_set(set)?;
        Ok(&rest[1..])
    }

    fn push_set(&mut self, set: Set) -> Result<(), Error> {
        let class = set.into_class();
        self.class_ranges += class.ranges().len();
        if self.class_ranges > CLASS_RANGES_MAX {
            return Err(self.whole(ErrorKind::TooLarge));
        }
        self.push_leaf(Hir::class(Class::Unicode(class)));
        Ok(())
    }
}

/// How often: `{2,3}`, `*`.
struct Count {
    min: u32,
    max: Option<u32>,
    /// Written with braces: only these count towards the limit.
    written: bool,
}

impl Count {
    fn is_many(&self) -> bool {
        self.written && (self.min >= 2 || self.max.is_some_and(|max| max >= 2))
    }

    fn copies(&self, inner: u32) -> u32 {
        match self.max {
            // Go looks no deeper into `x{0}`.
            Some(0) => 1,
            max => max.unwrap_or(self.min).max(1).saturating_mul(inner),
        }
    }
}

/// `{2}`, `{2,}`, `{2,3}` and what follows. `None` if it is none of these, and so plain text; `Some(None)` if the numbers
/// are out of bounds or of order.
fn counts(from: &[u8]) -> Option<(Option<Count>, &[u8])> {
    let (min, rest) = number(&from[1..])?;
    let (max, rest) = match rest.strip_prefix(b",") {
        None => (Some(min), rest),
        Some(rest) if rest.starts_with(b"}") => (None, rest),
        Some(rest) => {
            let (max, rest) = number(rest)?;
            (Some(max), rest)
        }
    };
    let rest = rest.strip_prefix(b"}")?;
    let valid = min <= REPEAT_MAX && max.is_none_or(|max| max <= REPEAT_MAX && min <= max);
    Some((valid.then_some(Count { min, max, written: true }), rest))
}

/// A decimal number without leading zeros; a huge one is cut to something that is still over every limit.
fn number(from: &[u8]) -> Option<(u32, &[u8])> {
    let length = from.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(from.len());
    let (digits, rest) = from.split_at(length);
    if digits.is_empty() || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    let value =
        digits.iter().fold(0u32, |value, digit| value.saturating_mul(10).saturating_add(u32::from(digit - b'0')));
    Some((value, rest))
}

/// A character class while it is collected.
#[derive(Default)]
struct Set {
    /// To be folded yet.
    plain: Vec<ClassUnicodeRange>,
    /// Taken as they are: not under `i`, or folded before they were negated.
    done: Vec<ClassUnicodeRange>,
    negated: bool,
}

impl Set {
    fn len(&self) -> usize {
        self.plain.len() + self.done.len()
    }

    /// Both ends included; surrogates are left out, since no text contains them.
    fn add_range(&mut self, low: u32, high: u32, fold_case: bool) {
        let ranges = if fold_case { &mut self.plain } else { &mut self.done };
        for (low, high) in [(low, high.min(0xD7FF)), (low.max(0xE000), high)] {
            if let (true, Some(low), Some(high)) = (low <= high, char::from_u32(low), char::from_u32(high)) {
                ranges.push(ClassUnicodeRange::new(low, high));
            }
        }
    }

    fn add_class(&mut self, mut class: ClassUnicode, negated: bool, fold_case: bool) {
        if !negated {
            let ranges = if fold_case { &mut self.plain } else { &mut self.done };
            ranges.extend_from_slice(class.ranges());
            return;
        }
        if fold_case {
            class.case_fold_simple();
        }
        class.negate();
        self.done.extend_from_slice(class.ranges());
    }

    fn add_set(&mut self, other: Set) {
        self.plain.extend(other.plain);
        self.done.extend(other.done);
    }

    fn into_class(self) -> ClassUnicode {
        let mut class = ClassUnicode::new(self.plain);
        class.case_fold_simple();
        class.union(&ClassUnicode::new(self.done));
        if self.negated {
            class.negate();
        }
        class
    }
}

type NamedClass<'a> = (ClassUnicode, bool, &'a [u8]);

/// `[:alpha:]` inside brackets; `None` if `from` does not look like it.
fn posix_class(from: &[u8]) -> Result<Option<NamedClass<'_>>, Error> {
    let Some(inside) = from.strip_prefix(b"[:") else { return Ok(None) };
    let Some(length) = inside.windows(2).position(|pair| pair == b":]") else { return Ok(None) };
    let after = &inside[length + 2..];
    match class::posix(&inside[..length]) {
        Some((class, negated)) => Ok(Some((class, negated, after))),
        None => Err(Error::new(ErrorKind::InvalidClassRange, until(from, after))),
    }
}

/// One character inside the brackets that start at `bracket`.
fn bracket_char<'a>(from: &'a [u8], bracket: &[u8]) -> Result<(u32, &'a [u8]), Error> {
    match from.first() {
        None => Err(Error::new(ErrorKind::MissingBracket, bracket)),
        Some(b'\\') => escaped_char(from),
        Some(_) => next_char(from).map(|(character, rest)| (u32::from(character), rest)),
    }
}

/// An escape that stands for one code point. `from` starts at the backslash.
fn escaped_char(from: &[u8]) -> Result<(u32, &[u8]), Error> {
    if from.len() < 2 {
        return Err(Error::new(ErrorKind::TrailingBackslash, b""));
    }
    let (character, rest) = next_char(&from[1..])?;
    let invalid = |rest: &[u8]| Error::new(ErrorKind::InvalidEscape, until(from, rest));
    let code_point = match character {
        // A single digit other than 0 would be a back reference.
        '1'..='7' if !rest.first().is_some_and(is_octal) => return Err(invalid(rest)),
        '0'..='7' => {
            let more = rest.iter().take(2).take_while(|byte| is_octal(byte)).count();
            let value =
                rest[..more].iter().fold(u32::from(character) - 0x30, |value, b| value * 8 + u32::from(b - b'0'));
            return Ok((value, &rest[more..]));
        }
        'x' => return hexadecimal(from, rest),
        'a' => 0x07,
        'f' => 0x0C,
        'n' => 0x0A,
        'r' => 0x0D,
        't' => 0x09,
        'v' => 0x0B,
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => u32::from(other),
        _ => return Err(invalid(rest)),
    };
    Ok((code_point, rest))
}

fn is_octal(byte: &u8) -> bool {
    (b'0'..=b'7').contains(byte)
}

/// `\x41`, `\x{1F600}`. `from` starts at the backslash, `rest` behind the `x`.
fn hexadecimal<'a>(from: &[u8], rest: &'a [u8]) -> Result<(u32, &'a [u8]), Error> {
    let invalid = |rest: &[u8]| Error::new(ErrorKind::InvalidEscape, until(from, rest));
    if rest.is_empty() {
        return Err(invalid(rest));
    }
    let (first, mut rest) = next_char(rest)?;
    if first != '{' {
        let second;
        (second, rest) = if rest.is_empty() { ('\u{FFFD}', rest) } else { next_char(rest)? };
        let (Some(high), Some(low)) = (first.to_digit(16), second.to_digit(16)) else { return Err(invalid(rest)) };
        return Ok((high * 16 + low, rest));
    }
    let mut value = None;
    loop {
        if rest.is_empty() {
            return Err(invalid(rest));
        }
        let character;
        (character, rest) = next_char(rest)?;
        if character == '}' {
            return value.map(|value| (value, rest)).ok_or_else(|| invalid(rest));
        }
        let digit = character.to_digit(16).ok_or_else(|| invalid(rest))?;
        let next = value.unwrap_or(0) * 16 + digit;
        if next > u32::from(char::MAX) {
            return Err(invalid(rest));
        }
        value = Some(next);
    }
}

/// The part of the pattern from `from` up to `rest`, which is a suffix of it.
fn until<'a>(from: &'a [u8], rest: &[u8]) -> &'a [u8] {
    &from[..from.len() - rest.len()]
}

/// The character at the start of `from`, which is not empty.
fn next_char(from: &[u8]) -> Result<(char, &[u8]), Error> {
    // Four bytes hold every character; what follows does not matter.
    let head = &from[..from.len().min(4)];
    let valid = head.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let character = valid.chars().next().ok_or_else(|| Error::new(ErrorKind::InvalidUtf8, from))?;
    Ok((character, &from[character.len_utf8()..]))
}

/// `from` as text, or an error that quotes it from its first bad byte on.
fn check_utf8(from: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(from).map_err(|error| Error::new(ErrorKind::InvalidUtf8, &from[error.valid_up_to()..]))
}
