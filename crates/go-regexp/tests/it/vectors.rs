use std::{env, fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use go_regexp::{Error, Regex};
use serde_json::Value;

/// Recorded cases, one JSON object a line, from the folder that `DECIMA_VECTORS` names or the project's own copy.
fn cases(file: &str) -> Vec<Value> {
    let folder = env::var_os("DECIMA_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors")), PathBuf::from);
    let path = folder.join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("a case is JSON")).collect()
}

/// A string, or `{"base64": ...}` where it is no UTF-8.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => BASE64_STANDARD.decode(other["base64"].as_str().expect("base64")).expect("base64"),
    }
}

/// What `compile` makes of a case, said as the recording says it.
fn compile_error(result: &Result<Regex, Error>) -> Option<Vec<u8>> {
    result.as_ref().err().map(Error::message)
}

/// Differences between a full recording (`plain`, `anchored`) and the expression.
fn differences(name: &str, result: Result<Regex, Error>, input: &Value, expect: &Value) -> Vec<String> {
    let error = compile_error(&result);
    let expected_error = expect.get("compile_error").map(bytes);
    if error != expected_error {
        let show = |error: &Option<Vec<u8>>| error.as_deref().map(|e| String::from_utf8_lossy(e).into_owned());
        return vec![format!("{name}: {:?}, not {:?}", show(&error), show(&expected_error))];
    }
    let Ok(regex) = result else { return Vec::new() };
    let template = bytes(&input["template"]);
    let subjects = input["subjects"].as_array().expect("subjects").iter().map(bytes);
    let mut found = Vec::new();
    if let Some(matches) = expect.get("match") {
        let matches = matches.as_array().expect("match").iter().map(|m| m.as_bool().expect("bool"));
        for (subject, expected) in subjects.zip(matches) {
            if regex.is_match(&subject) != expected {
                found.push(format!("{name}: match on {:?} is not {expected}", String::from_utf8_lossy(&subject)));
            }
        }
        return found;
    }
    let names: Vec<_> = expect["group_names"].as_array().expect("group_names").iter().map(bytes).collect();
    if regex.group_names().iter().map(|name| name.clone().into_bytes()).collect::<Vec<_>>() != names {
        found.push(format!("{name}: groups {:?}", regex.group_names()));
    }
    for (subject, expected) in subjects.zip(expect["results"].as_array().expect("results")) {
        let mut differ = |what: &str, ours: String| {
            found.push(format!("{name}: {what} on {:?}: {ours}, not {expected}", String::from_utf8_lossy(&subject)));
        };
        if expected["match"] != regex.is_match(&subject) {
            differ("match", regex.is_match(&subject).to_string());
        }
        let captures = regex.captures(&subject);
        let index: Option<Vec<i64>> = captures.as_ref().map(|captures| {
            captures.iter().flat_map(|g| g.map_or([-1, -1], |g| [g.start as i64, g.end as i64])).collect()
        });
        let expected_index: Option<Vec<i64>> = expected
            .get("index")
            .map(|index| index.as_array().expect("index").iter().flat_map(Value::as_i64).collect());
        if index != expected_index {
            differ("index", format!("{index:?}"));
        }
        if let Some(captures) = &captures {
            let mut expanded = Vec::new();
            regex.expand(&template, &subject, captures, &mut expanded);
            if expanded != bytes(&expected["expand"]) {
                differ("expand", String::from_utf8_lossy(&expanded).into_owned());
            }
        }
        let replaced = regex.replace_all(&subject, &template);
        if replaced != bytes(&expected["replace_all"]) {
            differ("replace_all", String::from_utf8_lossy(&replaced).into_owned());
        }
    }
    found
}

/// Differences on purpose, by case, each with its reason; docs/compatibility.md tells users.
const DELIBERATE: [(&str, &str); 1] = [(
    "re-hand-0168",
    "Prometheus compares a pattern that comes to one literal byte for byte, and so U+FFFD does not match an invalid byte, \
     while its own engine says that it does; Parca takes only compile errors from this flavour",
)];

#[test]
fn go_regexp_vectors_have_no_unexplained_difference() {
    let cases = cases("go_regexp.jsonl");
    let mut unexplained = 0;
    for case in &cases {
        let (input, expect) = (&case["input"], &case["expect"]);
        let pattern = bytes(&input["pattern"]);
        let mut found = differences("plain", Regex::new(&pattern), input, &expect["plain"]);
        found.extend(differences("anchored", Regex::anchored(&pattern), input, &expect["anchored"]));
        found.extend(differences("promql", Regex::promql(&pattern), input, &expect["promql"]));
        if DELIBERATE.iter().any(|(id, _)| case["id"] == *id) {
            assert!(!found.is_empty(), "{} is no difference any more", case["id"]);
        } else if !found.is_empty() {
            unexplained += 1;
            println!("{} {}: {found:#?}", case["id"], input["pattern"]);
        }
    }
    println!(
        "go_regexp vectors: {} cases, {} deliberate differences, {unexplained} unexplained differences",
        cases.len(),
        DELIBERATE.len()
    );
    assert_eq!(unexplained, 0);
}
