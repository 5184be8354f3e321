//! Relabelling: rules that keep, drop and rewrite the labels of a target before it is scraped.
//!
//! All actions of Prometheus 3.5 (model/relabel/relabel.go), with Go's regular expressions, which match the whole of
//! what they are given. Label names may be any text that is not empty.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use go_regexp::Regex;
use md5::{Digest, Md5};
use profile::Labels;

use crate::go::quoted;
use crate::label_builder::LabelBuilder;

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REGEX: &str = "(.*)";
const DEFAULT_REPLACEMENT: &str = "$1";

/// One valid rule of `relabel_configs`.
#[derive(Clone, Debug)]
pub struct Rule {
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    regex: Arc<Regex>,
    /// Not 0 where the action is `hashmod`.
    modulus: u64,
    target_label: String,
    replacement: String,
}

/// What a rule does. "The source" is the values of the source labels, joined by the separator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Where the regex matches the source, the target label becomes the replacement.
    #[default]
    Replace,
    /// Drops the target unless the regex matches the source.
    Keep,
    /// Drops the target if the regex matches the source.
    Drop,
    /// Drops the target unless the source equals the target label.
    KeepEqual,
    /// Drops the target if the source equals the target label.
    DropEqual,
    /// The target label becomes the last eight bytes of the source's MD5 as a number, modulo the modulus.
    HashMod,
    /// Labels whose name matches are copied to the name that the replacement gives.
    LabelMap,
    /// Labels whose name matches are removed.
    LabelDrop,
    /// Labels whose name does not match are removed.
    LabelKeep,
    /// The target label becomes the source in lower case.
    Lowercase,
    /// The target label becomes the source in upper case.
    Uppercase,
}

const ACTIONS: [(&str, Action); 11] = [
    ("replace", Action::Replace),
    ("keep", Action::Keep),
    ("drop", Action::Drop),
    ("keepequal", Action::KeepEqual),
    ("dropequal", Action::DropEqual),
    ("hashmod", Action::HashMod),
    ("labelmap", Action::LabelMap),
    ("labeldrop", Action::LabelDrop),
    ("labelkeep", Action::LabelKeep),
    ("lowercase", Action::Lowercase),
    ("uppercase", Action::Uppercase),
];

impl FromStr for Action {
    type Err = String;

    /// In upper or lower case.
    fn from_str(name: &str) -> Result<Action, String> {
        let lower = name.to_lowercase();
        let found = ACTIONS.iter().find(|(known, _)| *known == lower);
        found.map(|(_, action)| *action).ok_or_else(|| format!("unknown relabel action {}", quoted(name)))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = ACTIONS.iter().find(|(_, action)| action == self);
        f.write_str(found.map_or("", |(name, _)| name))
    }
}

/// A rule as written: `None` where it says nothing.
#[derive(Default)]
pub(crate) struct RawRule {
    pub(crate) action: Action,
    pub(crate) source_labels: Option<Vec<String>>,
    pub(crate) separator: Option<String>,
    pub(crate) regex: Option<Regex>,
    pub(crate) modulus: u64,
    pub(crate) target_label: String,
    pub(crate) replacement: Option<String>,
}

impl RawRule {
    /// The error has Prometheus's words.
    pub(crate) fn validate(self) -> Result<Rule, String> {
        use Action::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, LabelMap, Lowercase, Replace, Uppercase};

        let action = self.action;
        let separator = self.separator.unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned());
        let replacement = self.replacement.unwrap_or_else(|| DEFAULT_REPLACEMENT.to_owned());
        let has_target = !self.target_label.is_empty();
        let separator_or_replacement_set = separator != DEFAULT_SEPARATOR || replacement != DEFAULT_REPLACEMENT;

        if action == HashMod && self.modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".to_owned());
        }
        if matches!(action, Replace | HashMod | Lowercase | Uppercase | KeepEqual | DropEqual) && !has_target {
            return Err(format!("relabel configuration for {action} action requires 'target_label' value"));
        }
        if matches!(action, Lowercase | Uppercase | KeepEqual | DropEqual) && replacement != DEFAULT_REPLACEMENT {
            return Err(format!("'replacement' can not be set for {action} action"));
        }
        if action == LabelMap && replacement.is_empty() {
            return Err(format!("{} is invalid 'replacement' for {action} action", quoted(&replacement)));
        }
        if matches!(action, KeepEqual | DropEqual)
            && (self.regex.is_some() || self.modulus != 0 || separator_or_replacement_set)
        {
            return Err(format!(
                "{action} action requires only 'source_labels' and `target_label`, and no other fields"
            ));
        }
        if matches!(action, LabelDrop | LabelKeep)
            && (self.source_labels.is_some() || has_target || self.modulus != 0 || separator_or_replacement_set)
        {
            return Err(format!("{action} action requires only 'regex', and no other fields"));
        }
        let regex = match self.regex {
            Some(regex) => regex,
            None => Regex::anchored(DEFAULT_REGEX).map_err(|error| error.to_string())?,
        };
        Ok(Rule {
            action,
            source_labels: self.source_labels.unwrap_or_default(),
            separator,
            regex: Arc::new(regex),
            modulus: self.modulus,
            target_label: self.target_label,
            replacement,
        })
    }
}

/// Applies the rules in their order. `None` if one of them drops the target.
pub fn relabel(labels: &Labels, rules: &[Rule]) -> Option<Labels> {
    let mut builder = LabelBuilder::new(labels);
    apply(&mut builder, rules).then(|| builder.labels())
}

/// Whether the target is kept; if not, the labels are as the rules before left them.
pub(crate) fn apply(labels: &mut LabelBuilder, rules: &[Rule]) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl Rule {
    fn apply(&self, labels: &mut LabelBuilder) -> bool {
        let values: Vec<&str> = self.source_labels.iter().map(|name| labels.get(name)).collect();
        let source = values.join(&self.separator);
        match self.action {
            Action::Keep => return self.regex.is_match(&source),
            Action::Drop => return !self.regex.is_match(&source),
            Action::KeepEqual => return labels.get(&self.target_label) == source,
            Action::DropEqual => return labels.get(&self.target_label) != source,
            Action::Replace => self.replace(&source, labels),
            Action::Lowercase => labels.set(&self.target_label, &lowercase(&source)),
            Action::Uppercase => labels.set(&self.target_label, &uppercase(&source)),
            Action::HashMod => {
                let hash = last_eight_bytes_of_md5(&source) % self.modulus;
                labels.set(&self.target_label, &hash.to_string());
            }
            Action::LabelMap => {
                let matching: Vec<(String, String)> = labels
                    .iter()
                    .filter(|(name, _)| self.regex.is_match(name))
                    .map(|(name, value)| (text(self.regex.replace_all(name, &self.replacement)), value.to_owned()))
                    .collect();
                for (name, value) in matching {
                    labels.set(&name, &value);
                }
            }
            Action::LabelDrop => labels.retain(|name| !self.regex.is_match(name)),
            Action::LabelKeep => labels.retain(|name| self.regex.is_match(name)),
        }
        true
    }

    fn replace(&self, source: &str, labels: &mut LabelBuilder) {
        let Some(captures) = self.regex.captures(source) else { return };
        let expand = |template: &str| {
            let mut out = Vec::new();
            self.regex.expand(template, source, &captures, &mut out);
            text(out)
        };
        let target = expand(&self.target_label);
        if !target.is_empty() {
            labels.set(&target, &expand(&self.replacement));
        }
    }
}

/// What a template makes of text is text: it is cut at the boundaries of characters only.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned())
}

fn last_eight_bytes_of_md5(text: &str) -> u64 {
    let digest: [u8; 16] = Md5::digest(text).into();
    digest[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Character by character, each to one: Unicode's simple mapping, which is Go's `strings.ToLower`.
fn lowercase(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\u{130}' => 'i',
            c => single(c.to_lowercase()).unwrap_or(c),
        })
        .collect()
}

/// Character by character, each to one: Unicode's simple mapping, which is Go's `strings.ToUpper`. So `ß` stays.
fn uppercase(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            // small Greek letters with iota subscript: the capital with iota adscript, which is a title case letter
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
                char::from_u32(u32::from(c) + 8).unwrap_or(c)
            }
            '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => char::from_u32(u32::from(c) + 9).unwrap_or(c),
            c => single(c.to_uppercase()).unwrap_or(c),
        })
        .collect()
}

fn single(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next();
    first.filter(|_| chars.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_is_mapped_one_character_to_one() {
        assert_eq!(uppercase("straße ᾳ ŉ ǆ é"), "STRAßE ᾼ ŉ Ǆ É");
        assert_eq!(lowercase("ΑΣ İ É"), "ας i é".replace('ς', "σ"));
    }
}
