//! What holds for all inputs: nothing panics, and relabelling does what a slow and simple version does.

use proptest::prelude::*;
use scrape::config::Config;
use scrape::{duration, relabel};

/// Groups of a match of the whole text, the whole first.
type Match = fn(&str) -> Option<Vec<String>>;

/// Expressions with what they mean, written by hand.
const PATTERNS: [(&str, Match); 5] = [
    ("(.*)", |text| Some(vec![text.to_owned(), text.to_owned()])),
    ("a.*", |text| text.starts_with('a').then(|| vec![text.to_owned()])),
    ("(a|bb)", |text| matches!(text, "a" | "bb").then(|| vec![text.to_owned(), text.to_owned()])),
    ("([^;]*);(.*)", |text| {
        let (before, after) = text.split_once(';')?;
        Some(vec![text.to_owned(), before.to_owned(), after.to_owned()])
    }),
    ("", |text| text.is_empty().then(|| vec![String::new()])),
];

#[derive(Clone, Debug)]
struct SimpleRule {
    action: &'static str,
    sources: Vec<&'static str>,
    pattern: usize,
    target: &'static str,
    /// Pieces of text and numbers of groups.
    replacement: Vec<Result<&'static str, usize>>,
}

impl SimpleRule {
    fn yaml(&self) -> String {
        let mut fields = vec![format!("action: {}", self.action)];
        if !matches!(self.action, "labelmap" | "labeldrop" | "labelkeep") {
            fields.push(format!("source_labels: [{}]", self.sources.join(", ")));
        }
        if !matches!(self.action, "keepequal" | "dropequal" | "lowercase" | "uppercase") {
            fields.push(format!("regex: '{}'", PATTERNS[self.pattern].0));
        }
        if matches!(self.action, "replace" | "keepequal" | "dropequal" | "lowercase" | "uppercase") {
            fields.push(format!("target_label: {}", self.target));
        }
        if matches!(self.action, "replace" | "labelmap") {
            let template: String = self
                .replacement
                .iter()
                .map(|piece| piece.map_or_else(|group| format!("${{{group}}}"), str::to_owned))
                .collect();
            fields.push(format!("replacement: '{template}'"));
        }
        format!("  - {{{}}}\n", fields.join(", "))
    }

    fn expand(&self, groups: &[String]) -> String {
        let piece = |piece: &Result<&str, usize>| match piece {
            Ok(text) => (*text).to_owned(),
            Err(group) => groups.get(*group).cloned().unwrap_or_default(),
        };
        self.replacement.iter().map(piece).collect()
    }
}

/// A label and when it was first set; 0 for those of the start.
#[derive(Clone, Debug)]
struct Stamped {
    stamp: usize,
    name: String,
    value: String,
}

/// Labels as a list that is sorted anew for each use.
#[derive(Default)]
struct Oracle {
    labels: Vec<Stamped>,
    clock: usize,
}

impl Oracle {
    fn get(&self, name: &str) -> String {
        self.labels.iter().find(|label| label.name == name).map(|label| label.value.clone()).unwrap_or_default()
    }

    fn set(&mut self, name: &str, value: &str) {
        self.clock += 1;
        let old = self.labels.iter().find(|label| label.name == name).map(|label| label.stamp);
        self.labels.retain(|label| label.name != name);
        if !value.is_empty() {
            let stamp = old.filter(|stamp| *stamp > 0).unwrap_or(self.clock);
            self.labels.push(Stamped { stamp, name: name.to_owned(), value: value.to_owned() });
        }
    }

    /// Whether the labels are kept.
    fn apply(&mut self, rule: &SimpleRule) -> bool {
        let values: Vec<String> = rule.sources.iter().map(|name| self.get(name)).collect();
        let source = values.join(";");
        let matched = PATTERNS[rule.pattern].1;
        match rule.action {
            "keep" => return matched(&source).is_some(),
            "drop" => return matched(&source).is_none(),
            "keepequal" => return self.get(rule.target) == source,
            "dropequal" => return self.get(rule.target) != source,
            "lowercase" => self.set(rule.target, &source.to_ascii_lowercase()),
            "uppercase" => self.set(rule.target, &source.to_ascii_uppercase()),
            "labeldrop" => self.labels.retain(|label| matched(&label.name).is_none()),
            "labelkeep" => self.labels.retain(|label| matched(&label.name).is_some()),
            "labelmap" => {
                self.labels.sort_by(|a, b| (a.stamp, &a.name).cmp(&(b.stamp, &b.name)));
                for label in self.labels.clone() {
                    if let Some(groups) = matched(&label.name) {
                        self.set(&rule.expand(&groups), &label.value);
                    }
                }
            }
            _ => {
                if let Some(groups) = matched(&source) {
                    self.set(rule.target, &rule.expand(&groups));
                }
            }
        }
        true
    }
}

const NAMES: [&str; 6] = ["a", "ab", "bb", "c", "job", "__x"];

fn rules() -> impl Strategy<Value = Vec<SimpleRule>> {
    let action = proptest::sample::select(vec![
        "replace",
        "replace",
        "replace",
        "keep",
        "drop",
        "keepequal",
        "dropequal",
        "lowercase",
        "uppercase",
        "labelmap",
        "labelmap",
        "labeldrop",
        "labelkeep",
    ]);
    let name = || proptest::sample::select(NAMES.to_vec());
    let piece = prop_oneof![Just(Ok("a")), Just(Ok("bB")), (0usize..4).prop_map(Err)];
    let rule = (
        action,
        proptest::collection::vec(name(), 0..3),
        0..PATTERNS.len(),
        name(),
        proptest::collection::vec(piece, 1..3),
    )
        .prop_map(|(action, sources, pattern, target, replacement)| SimpleRule {
            action,
            sources,
            pattern,
            target,
            replacement,
        });
    proptest::collection::vec(rule, 1..6)
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = proptest::sample::select(vec!["a", "bb", "A;b", "x:1", ";"]);
    let label = (proptest::sample::select(NAMES.to_vec()), value);
    proptest::collection::vec(label, 0..5)
        .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn load_rules(rules: &[SimpleRule]) -> Vec<relabel::Rule> {
    let rules: String = rules.iter().map(SimpleRule::yaml).collect();
    let yaml = format!(
        "object_storage: {{bucket: {{type: FILESYSTEM, config: {{directory: x}}}}}}\nscrape_configs:\n- job_name: j\n  \
         relabel_configs:\n{rules}"
    );
    let mut config = Config::load(yaml.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    config.scrape_configs.remove(0).relabel_configs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn relabelling_does_what_a_slow_version_does(start in labels(), rules in rules()) {
        let start = profile::Labels::from_pairs(start);
        let mut oracle = Oracle::default();
        for (name, value) in start.iter() {
            oracle.labels.push(Stamped { stamp: 0, name: name.to_owned(), value: value.to_owned() });
        }
        let kept = rules.iter().all(|rule| oracle.apply(rule));
        let pairs = oracle.labels.into_iter().map(|label| (label.name, label.value));
        let slow = kept.then(|| profile::Labels::from_pairs(pairs));
        prop_assert_eq!(relabel::relabel(&start, &load_rules(&rules)), slow);
    }

    #[test]
    fn what_is_wrong_with_any_bytes_is_told_with_its_place(bytes: Vec<u8>) {
        check_loaded(&bytes);
    }

    #[test]
    fn what_is_wrong_with_any_yaml_is_told_with_its_place(pieces in proptest::collection::vec(yaml_piece(), 0..40)) {
        check_loaded(pieces.concat().as_bytes());
    }

    #[test]
    fn a_duration_that_is_printed_reads_back(millis in 0u64..9_000_000_000_000) {
        let original = std::time::Duration::from_millis(millis);
        prop_assert_eq!(duration::parse(&duration::format(original)), Ok(original));
    }

    #[test]
    fn a_duration_is_the_sum_of_its_parts_and_other_texts_are_told(
        counts in proptest::collection::vec(proptest::option::of(0u64..100), UNITS.len()),
        more in "[0-9ymsx .-]{0,2}",
    ) {
        let parts = || counts.iter().zip(UNITS).filter_map(|(count, (unit, millis))| Some(((*count)?, unit, millis)));
        let text: String = parts().map(|(count, unit, _)| format!("{count}{unit}")).collect();
        let sum: u64 = parts().map(|(count, _, millis)| count * millis).sum();
        match duration::parse(&text) {
            Ok(parsed) => prop_assert_eq!(parsed, std::time::Duration::from_millis(sum)),
            Err(error) => prop_assert_eq!((error.as_str(), text.as_str()), ("empty duration string", "")),
        }
        match duration::parse(&format!("{text}{more}")) {
            Ok(parsed) => prop_assert_eq!(duration::parse(&duration::format(parsed)), Ok(parsed)),
            Err(error) => prop_assert!(!error.is_empty()),
        }
    }

    #[test]
    fn a_text_that_is_no_duration_is_told(text: String) {
        let is_one = text.starts_with(|c: char| c.is_ascii_digit()) && text.is_ascii();
        prop_assert!(is_one || duration::parse(&text).is_err_and(|error| !error.is_empty()), "{}", text);
    }
}

/// Units from large to small, in ms.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A configuration has jobs and a bucket; what is none says what is wrong, at a place that is there. Whether it is one.
fn check_loaded(bytes: &[u8]) -> bool {
    let Err(error) = Config::load(bytes) else { return true };
    assert!(!error.issues.is_empty(), "{bytes:?}");
    let lines = 1 + bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    for issue in &error.issues {
        let mark = issue.mark;
        assert!(!issue.message.is_empty(), "{error:?} of {bytes:?}");
        assert!((1..=lines).contains(&mark.line) && mark.column >= 1, "{issue:?} in {lines} lines of {bytes:?}");
    }
    false
}

/// What YAML of this grammar is made of, in any order.
fn yaml_piece() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "object_storage",
        "scrape_configs",
        "job_name",
        "static_configs",
        "relabel_configs",
        "params",
        "regex",
        "targets",
        "profiling_config",
        "pprof_config",
        "memory",
        "seconds",
        "modulus",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "<<",
        "!!int ",
        "!!str ",
        "'",
        "\"",
        "|\n",
        ">\n",
        "? ",
        "#",
        "~",
        "1e999",
        "0x",
        "-",
        "é",
        "\t",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\\",
        "10s",
    ])
}

/// Every recorded configuration, each cut and each with one byte changed at many places.
#[test]
fn what_is_wrong_with_a_damaged_configuration_is_told_with_its_place() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors/config.jsonl");
    let (mut damaged, mut refused) = (0, 0);
    for (i, line) in std::fs::read_to_string(path).unwrap().lines().enumerate() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let Some(text) = case["input"].as_str() else { continue };
        let step = 1 + text.len() / 40;
        for at in (i % step..text.len()).step_by(step) {
            let mut bytes = text.as_bytes().to_vec();
            refused += usize::from(!check_loaded(&bytes[..at]));
            bytes[at] = b"\0:-{}[]&*!|>'\"%@`#,?\n\t \xff~"[(at + i) % 25];
            refused += usize::from(!check_loaded(&bytes));
            damaged += 2;
        }
    }
    println!("{refused} of {damaged} refused");
    assert!(damaged > 10_000 && refused > damaged / 4, "{refused} of {damaged}");
}
