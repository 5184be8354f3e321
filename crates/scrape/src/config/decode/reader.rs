//! Reads YAML nodes as typed values, remembers where it is, and notes what is wrong.

use std::collections::{HashMap, HashSet};

use super::super::error::{ConfigError, Issue, Mark, Problem};
use crate::go::quoted;
use crate::yaml::{Content, Document, NodeIx, Resolved, SyntaxError, resolve};

/// Nodes read in one file, those behind an alias counted each time: a file of aliases to aliases ends here.
const STEPS_MAX: usize = 4_000_000;

/// Issues told of one file. Nobody reads more, and a wrong template can make millions.
const ISSUES_MAX: usize = 200;

/// `<<` inside what `<<` names, and so on.
const MERGE_DEPTH_MAX: usize = 32;

pub(super) struct Reader {
    document: Document,
    /// At most [`ISSUES_MAX`]; `issue_count` counts them all.
    issues: Vec<Issue>,
    issue_count: usize,
    /// Where the reader is, as `scrape_configs[0].params`.
    path: String,
    steps: usize,
}

/// A key of a mapping with its value, aliases followed.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Of the key.
    pub(super) mark: Mark,
    pub(super) value: NodeIx,
}

impl Reader {
    pub(super) fn parse(yaml: &[u8]) -> Result<Reader, ConfigError> {
        match Document::parse(yaml) {
            Ok(document) => Ok(Reader { document, issues: Vec::new(), issue_count: 0, path: String::new(), steps: 0 }),
            Err(SyntaxError { mark, message }) => {
                let issue = Issue { mark, path: String::new(), problem: Problem::Syntax, message };
                Err(ConfigError { issues: vec![issue] })
            }
        }
    }

    pub(super) fn root(&self) -> NodeIx {
        self.follow(self.document.root())
    }

    pub(super) fn mark(&self, node: NodeIx) -> Mark {
        self.document.node(node).mark
    }

    // --- noting what is wrong ---

    pub(super) fn has_issues(&self) -> bool {
        self.issue_count > 0
    }

    pub(super) fn issue_count(&self) -> usize {
        self.issue_count
    }

    pub(super) fn into_error(self) -> ConfigError {
        ConfigError { issues: self.issues }
    }

    /// With a path of its own.
    pub(super) fn issue_at(&mut self, mark: Mark, path: &str, problem: Problem, message: impl Into<String>) {
        self.issue_count += 1;
        if self.issue_count <= ISSUES_MAX {
            self.issues.push(Issue { mark, path: path.to_owned(), problem, message: message.into() });
        }
    }

    /// At `key` below where the reader is; at the reader's place if `key` is empty.
    pub(super) fn issue_below(&mut self, mark: Mark, key: &str, problem: Problem, message: impl Into<String>) {
        let separator = if self.path.is_empty() || key.is_empty() { "" } else { "." };
        let path = format!("{}{separator}{key}", self.path);
        self.issue_at(mark, &path, problem, message);
    }

    pub(super) fn invalid(&mut self, mark: Mark, key: &str, message: impl Into<String>) {
        self.issue_below(mark, key, Problem::Invalid, message);
    }

    /// To be called inside the entry.
    pub(super) fn not_yet_supported(&mut self, entry: &Entry) {
        let message = "is not yet supported by this version of Decima";
        self.issue_below(entry.mark, "", Problem::NotYetSupported, message);
    }

    /// To be called inside the entry.
    pub(super) fn unknown_key(&mut self, entry: &Entry, known: &[&str]) {
        let near = known.iter().map(|key| (edit_distance(&entry.name, key), key)).min();
        let message = match near {
            Some((distance, key)) if distance <= 2 => format!("unknown key (did you mean {key}?)"),
            _ => format!("unknown key (known here: {})", known.join(", ")),
        };
        self.issue_below(entry.mark, "", Problem::UnknownKey, message);
    }

    fn wrong_type(&mut self, node: NodeIx, wanted: &str) {
        let found = match &self.document.node(node).content {
            Content::Sequence(_) => "a list".to_owned(),
            Content::Mapping(_) => "a mapping".to_owned(),
            Content::Alias(_) => "an alias".to_owned(),
            Content::Scalar { value, plain, tag } => {
                let kind = resolve(value, *plain, tag.as_deref()).map_or_else(|name| name, Resolved::name);
                let short: String = value.chars().take(40).collect();
                format!("{} ({kind})", quoted(&short))
            }
        };
        let mark = self.mark(node);
        self.issue_below(mark, "", Problem::WrongType, format!("expected {wanted}, found {found}"));
    }

    // --- where the reader is ---

    pub(super) fn within<T>(&mut self, entry: &Entry, read: impl FnOnce(&mut Reader) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(&entry.name);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    pub(super) fn within_item<T>(&mut self, index: usize, read: impl FnOnce(&mut Reader) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        let value = read(self);
        self.path.truncate(length);
        value
    }

    // --- collections ---

    /// The entries of a mapping, those of `<<` last and only where the mapping itself has no such key. `None` if the
    /// node is null, or not a mapping, or has a key twice: the last two are noted. A null key is left out, as in Go.
    pub(super) fn mapping(&mut self, node: NodeIx, what: &str) -> Option<Vec<Entry>> {
        if self.is_null(node) || !self.step(node) {
            return None;
        }
        let mut entries = Vec::new();
        self.merge_into(&mut entries, &mut HashSet::new(), node, what, 0).then_some(entries)
    }

    /// Whether all is well; otherwise an issue was noted.
    fn merge_into(
        &mut self,
        entries: &mut Vec<Entry>,
        names: &mut HashSet<String>,
        node: NodeIx,
        what: &str,
        depth: usize,
    ) -> bool {
        let Content::Mapping(pairs) = &self.document.node(node).content else {
            self.wrong_type(node, &format!("a mapping for {what}"));
            return false;
        };
        let pairs = pairs.clone();
        if !self.keys_are_unique(&pairs) {
            return false;
        }
        let mut merged = None;
        for (key, value) in pairs {
            let key = self.follow(key);
            if !self.step(key) {
                return false;
            }
            match &self.document.node(key).content {
                Content::Scalar { value: name, plain: true, tag: None } if name == "<<" => merged = Some(value),
                Content::Scalar { .. } if self.is_null(key) => {}
                Content::Scalar { value: name, .. } => {
                    if names.insert(name.clone()) {
                        let mark = self.mark(key);
                        entries.push(Entry { name: name.clone(), mark, value: self.follow(value) });
                    }
                }
                _ => self.wrong_type(key, "a string as key"),
            }
        }
        let Some(merged) = merged else { return true };
        let merged = self.follow(merged);
        if depth == MERGE_DEPTH_MAX {
            self.invalid(self.mark(merged), "<<", "merge keys are nested too deeply");
            return false;
        }
        let sources = match &self.document.node(merged).content {
            Content::Sequence(items) => items.iter().map(|item| self.follow(*item)).collect(),
            _ => vec![merged],
        };
        for source in sources {
            if !matches!(self.document.node(source).content, Content::Mapping(_)) {
                self.invalid(self.mark(source), "<<", "map merge requires map or sequence of maps as the value");
                return false;
            }
            if !self.step(source) || !self.merge_into(entries, names, source, what, depth + 1) {
                return false;
            }
        }
        true
    }

    fn keys_are_unique(&mut self, pairs: &[(NodeIx, NodeIx)]) -> bool {
        let mut first: HashMap<&str, Mark> = HashMap::with_capacity(pairs.len());
        let mut duplicates = Vec::new();
        for (key, _) in pairs {
            let node = self.document.node(*key);
            let Content::Scalar { value, .. } = &node.content else { continue };
            match first.get(value.as_str()) {
                Some(mark) => duplicates.push((node.mark, value.clone(), *mark)),
                None => {
                    first.insert(value, node.mark);
                }
            }
        }
        for (mark, key, first) in &duplicates {
            let message = format!("key already defined on line {}", first.line);
            self.issue_below(*mark, key, Problem::DuplicateKey, message);
        }
        duplicates.is_empty()
    }

    /// The items of a list. `None` if the node is null or not a list; the latter is noted.
    pub(super) fn sequence(&mut self, node: NodeIx, wanted: &str) -> Option<Vec<NodeIx>> {
        if self.is_null(node) || !self.step(node) {
            return None;
        }
        match &self.document.node(node).content {
            Content::Sequence(items) => Some(items.iter().map(|item| self.follow(*item)).collect()),
            _ => {
                self.wrong_type(node, wanted);
                None
            }
        }
    }

    /// Null items are left out, as in Go.
    pub(super) fn strings(&mut self, node: NodeIx) -> Option<Vec<String>> {
        let marked = self.marked_strings(node)?;
        Some(marked.into_iter().map(|(text, _)| text).collect())
    }

    pub(super) fn marked_strings(&mut self, node: NodeIx) -> Option<Vec<(String, Mark)>> {
        let items = self.sequence(node, "a list of strings")?;
        let mut texts = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            let mut text = None;
            self.within_item(i, |reader| reader.optional_string_into(item, &mut text));
            texts.extend(text.map(|text| (text, self.mark(item))));
        }
        Some(texts)
    }

    // --- scalars: null leaves the target as it is ---

    pub(super) fn is_null(&self, node: NodeIx) -> bool {
        match &self.document.node(node).content {
            Content::Scalar { value, plain, tag } => resolve(value, *plain, tag.as_deref()) == Ok(Resolved::Null),
            _ => false,
        }
    }

    /// Null, or empty: what a required value must not be.
    pub(super) fn is_blank(&self, node: NodeIx) -> bool {
        match &self.document.node(node).content {
            Content::Scalar { value, .. } => value.is_empty() || self.is_null(node),
            Content::Sequence(items) => items.is_empty(),
            Content::Mapping(pairs) => pairs.is_empty(),
            Content::Alias(_) => false,
        }
    }

    /// A string is any scalar, as it is written: `5` is the string `5`.
    pub(super) fn string_into(&mut self, node: NodeIx, target: &mut String) {
        if let Some((text, _)) = self.scalar(node, "a string") {
            *target = text;
        }
    }

    pub(super) fn optional_string_into(&mut self, node: NodeIx, target: &mut Option<String>) {
        if let Some((text, _)) = self.scalar(node, "a string") {
            *target = Some(text);
        }
    }

    /// Beside `true` and `false` also the words of YAML 1.1, quoted or not.
    pub(super) fn bool_into(&mut self, node: NodeIx, target: &mut bool) {
        const WANTED: &str = "a boolean";
        let Some((text, resolved)) = self.scalar(node, WANTED) else { return };
        match (resolved, text.as_str()) {
            (Resolved::Bool(value), _) => *target = value,
            (Resolved::Text, "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON") => *target = true,
            (Resolved::Text, "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF") => *target = false,
            _ => self.wrong_type(node, WANTED),
        }
    }

    pub(super) fn i64_into(&mut self, node: NodeIx, target: &mut i64) {
        let range = i128::from(i64::MIN)..=i128::from(i64::MAX);
        if let Some(int) = self.integer(node, "an integer", range) {
            *target = int as i64;
        }
    }

    pub(super) fn u64_into(&mut self, node: NodeIx, target: &mut u64) {
        if let Some(int) = self.integer(node, "an integer that is not negative", 0..=i128::from(u64::MAX)) {
            *target = int as u64;
        }
    }

    /// A number with a fraction is cut, as in Go.
    fn integer(&mut self, node: NodeIx, wanted: &str, range: std::ops::RangeInclusive<i128>) -> Option<i128> {
        let int = match self.scalar(node, wanted)? {
            (_, Resolved::Int(int)) => Some(int),
            // the cast saturates; NaN is not greater than anything
            (_, Resolved::Float(float)) if float.abs() < 1e30 => Some(float as i128),
            _ => None,
        };
        let int = int.filter(|int| range.contains(int));
        if int.is_none() {
            self.wrong_type(node, wanted);
        }
        int
    }

    /// `None` if the node is null or no scalar; the latter is noted.
    fn scalar(&mut self, node: NodeIx, wanted: &str) -> Option<(String, Resolved)> {
        if !self.step(node) {
            return None;
        }
        let Content::Scalar { value, plain, tag } = &self.document.node(node).content else {
            self.wrong_type(node, wanted);
            return None;
        };
        match resolve(value, *plain, tag.as_deref()) {
            Ok(Resolved::Null) => None,
            Ok(resolved) => Some((value.clone(), resolved)),
            Err(found) => {
                let tag = tag.as_deref().unwrap_or_default();
                let message = format!("is tagged !!{tag} but is {found}");
                self.issue_below(self.mark(node), "", Problem::WrongType, message);
                None
            }
        }
    }

    /// An alias names a node that is not an alias itself, so one step suffices.
    fn follow(&self, node: NodeIx) -> NodeIx {
        match self.document.node(node).content {
            Content::Alias(target) => target,
            _ => node,
        }
    }

    /// Counts a node that is read; false, and noted once, when the file holds too many.
    fn step(&mut self, node: NodeIx) -> bool {
        self.steps += 1;
        if self.steps == STEPS_MAX {
            self.invalid(self.mark(node), "", "the document contains excessive aliasing");
        }
        self.steps < STEPS_MAX
    }
}

/// Levenshtein's distance in characters; keys are short, and a key far longer than any known one is not compared.
fn edit_distance(a: &str, b: &str) -> usize {
    if a.len() > b.len() + 2 {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
