use std::{env, fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::*;

/// A string, or `{"base64": ...}` where it is no UTF-8.
fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => BASE64_STANDARD.decode(other["base64"].as_str().expect("base64")).expect("base64"),
    }
}

/// The recording's form of a string.
fn said(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| json!({"base64": BASE64_STANDARD.encode(bytes)}), |text| json!(text))
}

/// A selector in the recording's form.
fn form(selector: &Selector) -> Value {
    let ProfileType { name, sample, period, delta } = &selector.profile_type;
    let matchers: Vec<Value> = (selector.matchers.iter())
        .map(|m| json!({"name": m.name, "op": m.op.to_string(), "value": said(&m.value)}))
        .collect();
    json!({
        "name": name, "delta": delta, "matchers": matchers,
        "sample_type": {"type": sample.kind, "unit": sample.unit},
        "period_type": {"type": period.kind, "unit": period.unit},
    })
}

#[test]
fn selector_vectors_have_no_unexplained_difference() {
    let folder = env::var_os("DECIMA_VECTORS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/vectors")), PathBuf::from);
    let text = fs::read_to_string(folder.join("selector.jsonl")).expect("selector.jsonl");
    let (mut cases, mut unexplained, mut details) = (0, 0, 0);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        cases += 1;
        let ours = match parse(bytes(&case["input"])) {
            Ok(selector) => json!({"expect": form(&selector)}),
            Err(error) => {
                details += usize::from(case["error"].get("parser_message").is_none_or(|m| *m == error.detail));
                json!({"error": {"code": "InvalidArgument", "message": error.message}})
            }
        };
        let mut recorded = case.clone();
        if let Some(error) = recorded.get_mut("error").and_then(Value::as_object_mut) {
            error.remove("parser_message");
        }
        let same = ["expect", "error"].iter().all(|key| ours.get(key) == recorded.get(key));
        if !same {
            unexplained += 1;
            println!("{}: {ours}, not {case}", case["id"]);
        }
    }
    println!("selector vectors: {cases} cases, {unexplained} unexplained differences");
    println!("({details} of the errors are worded as in Prometheus' parser, which Parca does not pass on)");
    assert_eq!(unexplained, 0);
}

#[test]
fn an_error_says_where() {
    let error = parse("a:b:c:d:e{\n  job=~\"(\"}").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "failed to parse query: 2:3: parse error: error parsing regexp: missing closing ): `(`"
    );
}

#[test]
fn hostile_selectors_are_refused_with_a_limit() {
    let detail = |query: &str| parse(query).expect_err("refused").detail;
    assert!(detail(&"a".repeat(SELECTOR_BYTES_MAX + 1)).contains("bytes"));
    let many = r#"a="b","#.repeat(MATCHERS_MAX + 1);
    assert!(detail(&format!("{{{many}}}")).contains("matchers"));
    let large = r#"a=~"[^a]{1000}[^b]{900}","#.repeat(MATCHERS_MAX);
    assert!(detail(&format!("{{{large}}}")).contains("too large together"));
}
