//! Go's regular expressions (package `regexp`, RE2 syntax), for everything that Parca lets a user write one in: selectors
//! and relabelling.
//!
//! Rust's own `regex` crate reads a language that is nearly the same, which is the trap: `\d`, `\w`, `\s` and `\b` are
//! Unicode there and ASCII in Go, `[a&&b]` intersects, `\<` is a word boundary, and `\Q..\E`, octal escapes and `a{,3}` are
//! refused. So a pattern is read here by the rules of Go's `regexp/syntax`, with its limits and its error texts, and only the
//! result goes to `regex-automata`. Matching is leftmost-first and takes time linear in the subject.
//!
//! Never: look-around, back references (Go has neither), the network, the clock, a panic on any pattern or subject.
//!
//! Map: [`Regex`] here; `error` holds the error and Go's texts; `syntax` reads a pattern; `class` knows the character
//! classes; `subject` makes Go's view of bytes that are not UTF-8; `template` expands `$1` and `${name}`.

mod class;
mod error;
mod subject;
mod syntax;
mod template;

use std::ops::Range;

use regex_automata::{Anchored, Input, meta, util::captures::Captures as Slots};

pub use error::{Error, ErrorKind};

use subject::Subject;
use syntax::{Parsed, Rules};

/// Bytes that the compiled program of one expression may take unless the caller sets a limit. `\pL{1000}` takes 48 MB, a
/// usual expression of a kilobyte a thousandth of it. While it is compiled it takes up to three times as much.
pub const PROGRAM_BYTES_MAX: usize = 64 << 20;

/// Bytes of the lazily built automaton of one expression: two states' worth of a large program, or all of a usual one.
const CACHE_BYTES_MAX: usize = 1 << 20;

/// A compiled expression. Cheap to share, not to build.
#[derive(Debug)]
pub struct Regex {
    program: Program,
    group_names: Vec<String>,
}

#[derive(Debug)]
enum Program {
    Automaton(meta::Regex),
    /// The subject must be one of these, byte for byte.
    OneOf(Vec<Vec<u8>>),
}

/// Where the groups of one match lie in the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captures {
    groups: Vec<Option<Range<usize>>>,
}

impl Captures {
    /// Bytes of group `index` in the subject; `None` if it took no part or does not exist. Group 0 is the whole match.
    pub fn get(&self, index: usize) -> Option<Range<usize>> {
        self.groups.get(index).cloned().flatten()
    }

    /// All groups in the order of their opening parentheses, the whole match first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<Range<usize>>> {
        self.groups.iter().cloned()
    }
}

impl Regex {
    /// Go's `regexp.Compile`: unanchored, `.` does not match a line feed.
    pub fn new(pattern: impl AsRef<[u8]>) -> Result<Regex, Error> {
        Regex::new_within(pattern, PROGRAM_BYTES_MAX)
    }

    /// The same for patterns from strangers: a program of more than `bytes_max` is refused as [`ErrorKind::TooLarge`].
    pub fn new_within(pattern: impl AsRef<[u8]>, bytes_max: usize) -> Result<Regex, Error> {
        let parsed = syntax::parse(pattern.as_ref(), Rules { dot_matches_newline: false, exact_class_names: false })?;
        Regex::compile(parsed, pattern.as_ref(), bytes_max)
    }

    /// As relabelling compiles it: `^(?s:PATTERN)$`, pasted together as text. So `a)|(b` compiles here, and an error
    /// quotes the pasted text.
    pub fn anchored(pattern: impl AsRef<[u8]>) -> Result<Regex, Error> {
        let pasted = [b"^(?s:", pattern.as_ref(), b")$"].concat();
        Regex::new(pasted)
    }

    /// As Prometheus compiles a label matcher (`labels.FastRegexMatcher`): the whole subject must match, `.` matches a line
    /// feed, names of Unicode classes must be spelled exactly, and a pattern without operators other than `|` is compared
    /// byte for byte, even if it is no UTF-8.
    pub fn promql(pattern: impl AsRef<[u8]>) -> Result<Regex, Error> {
        let pattern = pattern.as_ref();
        match parse_promql(pattern)? {
            Some(parsed) => Regex::compile(parsed.anchored(), pattern, PROGRAM_BYTES_MAX),
            None => {
                let alternatives = pattern.split(|&byte| byte == b'|').map(<[u8]>::to_vec).collect();
                Ok(Regex { program: Program::OneOf(alternatives), group_names: vec![String::new()] })
            }
        }
    }

    fn compile(parsed: Parsed, pattern: &[u8], bytes_max: usize) -> Result<Regex, Error> {
        let config = meta::Config::new()
            .nfa_size_limit(Some(bytes_max))
            .onepass_size_limit(Some(CACHE_BYTES_MAX))
            .hybrid_cache_capacity(CACHE_BYTES_MAX);
        let automaton = meta::Builder::new()
            .configure(config)
            .build_from_hir(&parsed.expression)
            .map_err(|_| Error::new(ErrorKind::TooLarge, pattern))?;
        Ok(Regex { program: Program::Automaton(automaton), group_names: parsed.group_names })
    }

    /// Names of the groups, the whole match (`""`) first; a group without a name has `""`.
    pub fn group_names(&self) -> &[String] {
        &self.group_names
    }

    /// Bytes of memory that the compiled expression takes, its caches left out.
    pub fn memory_bytes(&self) -> usize {
        match &self.program {
            Program::Automaton(automaton) => automaton.memory_usage(),
            Program::OneOf(alternatives) => alternatives.iter().map(Vec::len).sum(),
        }
    }

    /// Whether the expression matches anywhere in `subject` (for an anchored one: as a whole).
    pub fn is_match(&self, subject: impl AsRef<[u8]>) -> bool {
        match &self.program {
            Program::OneOf(alternatives) => alternatives.iter().any(|text| text == subject.as_ref()),
            Program::Automaton(automaton) => automaton.is_match(Subject::new(subject.as_ref()).text()),
        }
    }

    /// The leftmost match, as Go's `FindSubmatchIndex`.
    pub fn captures(&self, subject: impl AsRef<[u8]>) -> Option<Captures> {
        let subject = Subject::new(subject.as_ref());
        let groups = self.find_at(&subject, 0, &mut self.slots())?;
        Some(Captures { groups: groups.into_iter().map(|group| group.map(|range| subject.original(range))).collect() })
    }

    /// Appends `template` to `out`, with `$1`, `${1}`, `$name` and `${name}` replaced by what the groups of `captures`
    /// matched in `subject`, and `$$` by `$`: Go's `Expand`. An unknown or absent group is empty; `$1x` is group `1x`.
    pub fn expand(
        &self,
        template: impl AsRef<[u8]>,
        subject: impl AsRef<[u8]>,
        captures: &Captures,
        out: &mut Vec<u8>,
    ) {
        template::expand(template.as_ref(), &self.group_names, |group| captures.get(group), subject.as_ref(), out);
    }

    /// `subject` with every match replaced by the expanded `template`: Go's `ReplaceAll`.
    pub fn replace_all(&self, subject: impl AsRef<[u8]>, template: impl AsRef<[u8]>) -> Vec<u8> {
        let original = subject.as_ref();
        let subject = Subject::new(original);
        let mut slots = self.slots();
        let mut out = Vec::with_capacity(original.len());
        let (mut copied, mut search_from) = (0, 0);
        while search_from <= subject.text().len() {
            let Some(groups) = self.find_at(&subject, search_from, &mut slots) else { break };
            let Some(whole) = groups[0].clone() else { break };
            out.extend_from_slice(&original[subject.original(copied..whole.start)]);
            // An empty match just behind another match is not replaced a second time.
            if whole.end > copied || whole.start == 0 {
                let captures = Captures {
                    groups: groups.into_iter().map(|group| group.map(|range| subject.original(range))).collect(),
                };
                self.expand(template.as_ref(), original, &captures, &mut out);
            }
            copied = whole.end;
            // Go steps over one character at least, counted from where it searched, not from where it found.
            search_from = whole.end.max(search_from + subject.character_len(search_from).max(1));
        }
        out.extend_from_slice(&original[subject.original(copied..subject.text().len())]);
        out
    }

    fn slots(&self) -> Option<Slots> {
        match &self.program {
            Program::Automaton(automaton) => Some(automaton.create_captures()),
            Program::OneOf(_) => None,
        }
    }

    /// Groups of the leftmost match that starts at `from` or later, as ranges of the subject's text.
    fn find_at(
        &self,
        subject: &Subject<'_>,
        from: usize,
        slots: &mut Option<Slots>,
    ) -> Option<Vec<Option<Range<usize>>>> {
        let text = subject.text();
        match (&self.program, slots) {
            (Program::Automaton(automaton), Some(slots)) => {
                let input = Input::new(text).range(from..).anchored(Anchored::No);
                automaton.search_captures(&input, slots);
                slots.is_match().then_some(())?;
                // The automaton forgets groups that cannot match, as in `(a){0}`: they are still counted and named.
                let group = |index| slots.get_group(index).map(|span| span.range());
                Some((0..self.group_names.len()).map(group).collect())
            }
            _ => (from == 0 && self.is_match(text)).then(|| vec![Some(0..text.len())]),
        }
    }
}

/// What [`Regex::promql`] says of a pattern, without the cost of compiling it.
pub fn check_promql(pattern: impl AsRef<[u8]>) -> Result<(), Error> {
    parse_promql(pattern.as_ref()).map(drop)
}

/// `None` for a pattern that has no operator but `|`: it is not even looked at.
fn parse_promql(pattern: &[u8]) -> Result<Option<Parsed>, Error> {
    if !pattern.iter().any(|byte| br"\.+*?()[]{}^$".contains(byte)) {
        return Ok(None);
    }
    syntax::parse(pattern, Rules { dot_matches_newline: true, exact_class_names: true }).map(Some)
}
