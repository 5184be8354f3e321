//! Recorded behaviour of Parca and its libraries, case by case.
//!
//! `DECIMA_VECTORS` names another folder of the same layout.

mod config;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use profile::Labels;
use scrape::config::{Config, ConfigError, Issue, Problem, SampleType, ScrapeConfig};
use scrape::targets::{Group, Target, targets};
use scrape::{duration, relabel};
use serde_json::Value;

struct Case {
    id: String,
    input: Value,
    expect: Option<Value>,
    error: Value,
}

fn load(topic: &str) -> Vec<Case> {
    let folder = std::env::var_os("DECIMA_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors"), PathBuf::from);
    let path = folder.join(format!("{topic}.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let case = |line: &str| {
        let mut value: Value = serde_json::from_str(line).expect("a JSON object per line");
        let mut take = |key: &str| value.get_mut(key).map(Value::take);
        Case {
            id: take("id").and_then(|id| id.as_str().map(str::to_owned)).expect("an id"),
            input: take("input").expect("an input"),
            expect: take("expect"),
            error: take("error").unwrap_or_default(),
        }
    };
    text.lines().filter(|line| !line.is_empty()).map(case).collect()
}

/// Counts cases and differences, and tells of them at the end.
struct Tally {
    topic: &'static str,
    ran: usize,
    out_of_scope: usize,
    deliberate: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Tally {
    fn new(topic: &'static str) -> Self {
        Self { topic, ran: 0, out_of_scope: 0, deliberate: BTreeMap::new(), unexplained: Vec::new() }
    }

    fn record(&mut self, id: &str, outcome: Result<Verdict, String>) {
        match outcome {
            Ok(Verdict::Same) => self.ran += 1,
            Ok(Verdict::Deliberate(reason)) => {
                self.ran += 1;
                *self.deliberate.entry(reason).or_default() += 1;
            }
            Ok(Verdict::OutOfScope) => self.out_of_scope += 1,
            Err(difference) => {
                self.ran += 1;
                self.unexplained.push(format!("{id}: {difference}"));
            }
        }
    }

    fn finish(self) {
        println!(
            "{}: {} cases ran, {} out of scope, {} deliberate differences, {} unexplained differences",
            self.topic,
            self.ran,
            self.out_of_scope,
            self.deliberate.values().sum::<usize>(),
            self.unexplained.len()
        );
        for (reason, count) in &self.deliberate {
            println!("  deliberate: {count} x {reason}");
        }
        assert!(self.ran > 0, "no cases");
        assert!(self.unexplained.is_empty(), "{}", self.unexplained.join("\n"));
    }
}

enum Verdict {
    Same,
    /// The reason stands in docs/compatibility.md.
    Deliberate(&'static str),
    OutOfScope,
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: T, theirs: T) -> Result<(), String> {
    if ours == theirs { Ok(()) } else { Err(format!("{what}: ours {ours:?}, theirs {theirs:?}")) }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn string_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn labels(value: &Value) -> Labels {
    Labels::from_pairs(string_map(value))
}

#[test]
fn vectors_of_prometheus_durations_parse_and_print_the_same() {
    let mut tally = Tally::new("duration");
    for case in load("duration") {
        tally.record(&case.id, duration_case(&case));
    }
    tally.finish();
}

fn duration_case(case: &Case) -> Result<Verdict, String> {
    match text(&case.input, "fn") {
        "prometheus" => match (duration::parse(text(&case.input, "text")), &case.expect) {
            (Ok(ours), Some(theirs)) => {
                same("nanoseconds", Some(ours.as_nanos()), theirs["nanos"].as_u64().map(u128::from))?;
                same("text", duration::format(ours).as_str(), text(theirs, "string"))?;
            }
            (Err(ours), None) => same("error", ours.as_str(), case.error.as_str().unwrap_or_default())?,
            (ours, theirs) => return Err(format!("ours {ours:?}, theirs {theirs:?} {}", case.error)),
        },
        "format" => {
            let nanos = case.input["nanos"].as_i64().ok_or("no nanos")?;
            let Ok(nanos) = u64::try_from(nanos) else { return Ok(Verdict::OutOfScope) };
            let theirs = case.expect.as_ref().map(|expect| text(expect, "prometheus")).unwrap_or_default();
            same("text", duration::format(Duration::from_nanos(nanos)).as_str(), theirs)?;
        }
        _ => return Ok(Verdict::OutOfScope),
    }
    Ok(Verdict::Same)
}

/// A whole configuration with one job; the lines of `job` are moved right, and down by [`LINES_BEFORE_JOB`].
fn with_job(job: &str) -> String {
    let mut yaml = "object_storage: {bucket: {type: FILESYSTEM, config: {directory: x}}}\nscrape_configs:\n".to_owned();
    for (i, line) in job.lines().enumerate() {
        let prefix = if i == 0 { "- " } else { "  " };
        yaml.push_str(&format!("{prefix}{line}\n"));
    }
    yaml
}

const LINES_BEFORE_JOB: usize = 2;

fn load_job(job: &str) -> Result<ScrapeConfig, ConfigError> {
    Config::load(with_job(job).as_bytes()).map(|mut config| config.scrape_configs.remove(0))
}

/// Compares what is wrong with a file with what Go said: the kind and the line of what YAML cannot be read as, and the
/// words of a broken rule. Go stops at the first broken rule; we go on.
fn compare_error(ours: &ConfigError, theirs: &str, lines_before: usize) -> Result<Verdict, String> {
    // an interval of 0 is a rule of ours alone
    let is_theirs = |issue: &&Issue| issue.problem == Problem::Invalid && issue.message != "must be greater than 0";
    let first_invalid = ours.issues.iter().find(is_theirs);
    if let Some(type_errors) = theirs.strip_prefix("yaml: unmarshal errors:\n") {
        let theirs: Vec<(Problem, usize)> = type_errors.lines().filter_map(type_error).collect();
        let ours: Vec<(Problem, usize)> =
            ours.issues.iter().map(|issue| (issue.problem, issue.mark.line - lines_before)).collect();
        same("type errors", sorted(ours), sorted(theirs))?;
    } else if theirs.starts_with("yaml: map merge") {
        same("error", first_invalid.map(|issue| issue.message.as_str()), theirs.strip_prefix("yaml: "))?;
    } else if theirs.starts_with("yaml: cannot decode") {
        same("problem", ours.issues[0].problem, Problem::WrongType)?;
    } else if theirs.starts_with("yaml: ") || theirs == "EOF" {
        same("problem", ours.issues[0].problem, Problem::Syntax)?;
    } else {
        let ours = first_invalid.map(|issue| issue.message.as_str()).unwrap_or_default();
        // ours may go on with advice
        let continues = ours.strip_prefix(theirs).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', ' ']));
        same(&format!("rule {ours:?} is {theirs:?}"), continues, true)?;
    }
    Ok(Verdict::Same)
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list
}

fn type_error(text: &str) -> Option<(Problem, usize)> {
    let (line, rest) = text.trim().strip_prefix("line ")?.split_once(": ")?;
    let problem = match rest.split(' ').next()? {
        "field" => Problem::UnknownKey,
        "mapping" => Problem::DuplicateKey,
        _ => Problem::WrongType,
    };
    Some((problem, line.parse().ok()?))
}

#[test]
fn vectors_of_relabelling_give_the_same_labels() {
    let mut tally = Tally::new("relabel");
    for case in load("relabel") {
        tally.record(&case.id, relabel_case(&case));
    }
    tally.finish();
}

fn relabel_case(case: &Case) -> Result<Verdict, String> {
    // `relabel_configs:` stands on the second line of the job
    let rules: String = text(&case.input, "relabel_configs").lines().map(|line| format!("  {line}\n")).collect();
    let job = load_job(&format!("job_name: j\nrelabel_configs:\n{rules}"));
    match (job, &case.expect) {
        (Ok(job), Some(theirs)) => {
            let ours = relabel::relabel(&labels(&case.input["labels"]), &job.relabel_configs);
            same("keep", Some(ours.is_some()), theirs["keep"].as_bool())?;
            if let Some(ours) = ours {
                same("labels", ours, labels(&theirs["labels"]))?;
            }
            Ok(Verdict::Same)
        }
        (Err(ours), None) => compare_error(&ours, case.error.as_str().unwrap_or_default(), LINES_BEFORE_JOB + 2),
        (ours, theirs) => Err(format!("ours {:?}, theirs {theirs:?} {}", ours.err(), case.error)),
    }
}

#[test]
fn vectors_of_targets_give_the_same_urls_and_labels() {
    let mut tally = Tally::new("targets");
    for case in load("targets") {
        tally.record(&case.id, targets_case(&case));
    }
    tally.finish();
}

const QUESTION_MARK_IN_FLOW: &str = "a ? inside a plain scalar of a flow collection is a character, as in YAML 1.2";

fn is_question_mark_in_flow(error: &Value, yaml: &str) -> bool {
    let error = error.as_str().unwrap_or_default();
    error.ends_with("did not find expected ',' or '}'")
        && yaml.lines().any(|line| line.contains("?") && line.contains('{'))
}

const ONE_BAD_TARGET: &str = "a target that cannot be scraped does not cost the rest of its group";

fn targets_case(case: &Case) -> Result<Verdict, String> {
    let job = load_job(text(&case.input, "scrape_config"));
    let (job, theirs) = match (job, &case.expect) {
        (Ok(job), Some(theirs)) => (job, theirs),
        (Err(ours), None) if is_question_mark_in_flow(&case.error, text(&case.input, "scrape_config")) => {
            // we read on and found something else
            same("syntax", ours.issues.iter().any(|issue| issue.problem == Problem::Syntax), false)?;
            return Ok(Verdict::Deliberate(QUESTION_MARK_IN_FLOW));
        }
        (Err(ours), None) => {
            // the recorder put the job under a line `scrape_configs:`
            return compare_error(&ours, case.error.as_str().unwrap_or_default(), LINES_BEFORE_JOB - 1);
        }
        (Ok(_), None) if is_question_mark_in_flow(&case.error, text(&case.input, "scrape_config")) => {
            return Ok(Verdict::Deliberate(QUESTION_MARK_IN_FLOW));
        }
        (ours, theirs) => return Err(format!("ours {:?}, theirs {theirs:?} {}", ours.err(), case.error)),
    };
    let groups: Vec<Group> = case.input["groups"].as_array().into_iter().flatten().map(group).collect();

    // in Parca an error costs the whole group: there, compare the error, and the other groups as they are
    let (good, bad): (Vec<Group>, Vec<Group>) =
        groups.into_iter().partition(|group| targets(&job, std::slice::from_ref(group)).errors.is_empty());
    let their_errors: Vec<&str> =
        theirs["group_errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    same("number of groups with errors", bad.len(), their_errors.len())?;
    for (group, theirs) in bad.iter().zip(&their_errors) {
        let ours = targets(&job, std::slice::from_ref(group)).errors;
        let ours: BTreeSet<String> =
            ours.into_iter().map(|error| format!(" in group {}: {}", error.group, error.message)).collect();
        // `instance 0`: which of the profiles met the error first is chance
        let theirs = theirs.trim_start_matches("instance ").trim_start_matches(|c: char| c.is_ascii_digit());
        same(&format!("{theirs:?} among {ours:?}"), ours.contains(theirs), true)?;
    }

    let ours = targets(&job, &good);
    // where a group has an error, no isolated run was recorded: leave out what leaks
    let leaks = theirs.get("isolated").is_none() && !bad.is_empty() && !job.params.is_empty();
    let theirs = theirs.get("isolated").unwrap_or(theirs);
    let their_active = theirs["active"].as_array().into_iter().flatten();
    let parts = |parts: TargetParts| if leaks { without_seconds(parts) } else { parts };
    same(
        "active",
        ours.active.iter().map(target_parts).map(parts).collect::<BTreeSet<_>>(),
        their_active.map(their_target_parts).map(parts).collect::<BTreeSet<_>>(),
    )?;
    let their_dropped = theirs["dropped"].as_array().into_iter().flatten();
    same(
        "dropped",
        sorted(ours.dropped),
        sorted(their_dropped.map(|dropped| labels(&dropped["discovered_labels"])).collect()),
    )?;
    Ok(if bad.is_empty() { Verdict::Same } else { Verdict::Deliberate(ONE_BAD_TARGET) })
}

fn group(value: &Value) -> Group {
    Group {
        source: text(value, "source").to_owned(),
        targets: value["targets"].as_array().into_iter().flatten().map(string_map).collect(),
        labels: string_map(&value["labels"]),
    }
}

type TargetParts = (String, Labels, Labels, Labels, Vec<SampleType>);

fn target_parts(target: &Target) -> TargetParts {
    (
        target.url.clone(),
        target.all_labels.clone(),
        target.discovered_labels.clone(),
        target.labels(),
        target.keep_sample_types.clone(),
    )
}

/// Without the parameter `seconds`, which Parca gives to all profiles of a job that has `params`.
fn without_seconds((url, all, discovered, public, keep): TargetParts) -> TargetParts {
    let (before, query) = url.split_once('?').unwrap_or((&url, ""));
    let query: Vec<&str> = query.split('&').filter(|param| !param.starts_with("seconds=")).collect();
    let url = format!("{before}?{}", query.join("&"));
    let without = |labels: Labels| {
        let kept = labels.iter().filter(|(name, _)| *name != "__param_seconds");
        Labels::from_pairs(kept.map(|(name, value)| (name.to_owned(), value.to_owned())))
    };
    (url, without(all), without(discovered), public, keep)
}

fn their_target_parts(target: &Value) -> TargetParts {
    let keep: BTreeSet<SampleType> = sample_types(&target["keep_sample_type"]).into_iter().collect();
    (
        text(target, "url").to_owned(),
        labels(&target["all_labels"]),
        labels(&target["discovered_labels"]),
        labels(&target["labels"]),
        keep.into_iter().collect(),
    )
}

fn sample_types(value: &Value) -> Vec<SampleType> {
    let sample_type =
        |value: &Value| SampleType { name: text(value, "type").to_owned(), unit: text(value, "unit").to_owned() };
    value.as_array().into_iter().flatten().map(sample_type).collect()
}
