//! Arguments and answers, as Juju's tools take and give them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use crate::json::Json;
use crate::yaml;

/// What a hook tool refuses: the text after `ERROR `, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: String,
    pub(super) code: i32,
}

pub(super) type Answer = Result<String, Refusal>;

/// Flags and arguments that the tool does not take.
pub(super) fn usage(text: impl Into<String>) -> Refusal {
    Refusal { text: text.into(), code: 2 }
}

/// What failed while the tool ran.
pub(super) fn failed(text: impl Into<String>) -> Refusal {
    Refusal { text: text.into(), code: 1 }
}

/// Flags in the style of Go: `-x v`, `--xx v`, `--xx=v`; other arguments may stand between them, and after `--` all are such.
pub(super) struct Args {
    flags: BTreeMap<String, String>,
    pub(super) rest: Vec<String>,
}

/// Which flags a tool knows.
#[derive(Clone, Copy, Default)]
pub(super) struct Flags<'a> {
    pub(super) valued: &'a [&'a str],
    pub(super) plain: &'a [&'a str],
    /// `--format` and `--output`
    pub(super) formats: bool,
}

impl Args {
    pub(super) fn parse(argv: &[String], known: Flags<'_>) -> Result<Args, Refusal> {
        let valued = |name: &str| {
            known.valued.contains(&name) || known.formats && matches!(name, "--format" | "-o" | "--output")
        };
        let mut args = Args { flags: BTreeMap::new(), rest: Vec::new() };
        let mut words = argv.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                args.rest.extend(words.cloned());
                break;
            }
            if word == "-" || !word.starts_with('-') {
                args.rest.push(word.clone());
                continue;
            }
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            let value = if known.plain.contains(&name) {
                match value.map(str::to_lowercase).as_deref() {
                    None | Some("true" | "1" | "t") => "true",
                    Some(_) => "",
                }
            } else if valued(name) {
                match value {
                    Some(value) => value,
                    None => words.next().ok_or_else(|| usage(format!("option needs an argument: {name}")))?,
                }
            } else {
                return Err(usage(format!("option provided but not defined: {name}")));
            };
            args.flags.insert(name.to_owned(), value.to_owned());
        }
        Ok(args)
    }

    /// The value of the first of these names that was given.
    pub(super) fn get(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.flags.get(*name)).map(String::as_str)
    }

    /// Whether a flag was given, and neither as false nor empty.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(&[name]).is_some_and(|value| !value.is_empty())
    }

    pub(super) fn at_most(&self, n: usize) -> Result<(), Refusal> {
        if self.rest.len() <= n {
            return Ok(());
        }
        let extra: Vec<String> = self.rest[n..].iter().map(|a| format!("\"{a}\"")).collect();
        Err(usage(format!("unrecognized args: [{}]", extra.join(" "))))
    }

    /// An answer in the format asked for.
    pub(super) fn form(&self, value: &Value) -> Answer {
        let format = self.get(&["--format"]).unwrap_or("smart");
        let text = match (format, value) {
            ("json", value) => format!("{value}\n"),
            ("smart", Value::Null) => String::new(),
            ("smart", Value::Bool(true)) => "True\n".to_owned(),
            ("smart", Value::Bool(false)) => "False\n".to_owned(),
            ("smart", Value::Number(n)) => format!("{n}\n"),
            ("smart", Value::String(s)) => format!("{s}\n"),
            ("smart", Value::Array(items)) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(Value::as_str).map(|s| format!("{s}\n")).collect()
            }
            ("smart" | "yaml", value) => {
                let value = Json::parse(&value.to_string()).map_err(|e| failed(e.to_string()))?;
                yaml::write(&value)
            }
            _ => {
                return Err(usage(format!(
                    "invalid value \"{format}\" for option --format: unknown format \"{format}\""
                )));
            }
        };
        match self.get(&["-o", "--output"]) {
            Some(path) if !path.is_empty() => {
                std::fs::write(path, text).map_err(|e| failed(e.to_string()))?;
                Ok(String::new())
            }
            _ => Ok(text),
        }
    }
}

/// `key=value` pairs over what a file holds, which is a mapping of scalars. In the order in which they were first named, as
/// the first that is refused is told.
pub(super) fn key_values(
    pairs: &[String],
    file: Option<&str>,
    stdin: Option<&str>,
) -> Result<IndexMap<String, String>, Refusal> {
    let mut out = IndexMap::new();
    if let Some(file) = file {
        let text = match file {
            "-" => stdin.unwrap_or_default().to_owned(),
            path => std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?,
        };
        out = mapping(&text)?;
    }
    for pair in pairs {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => out.insert(key.to_owned(), value.to_owned()),
            _ => return Err(usage(format!("expected \"key=value\", got \"{pair}\""))),
        };
    }
    Ok(out)
}

pub(super) fn mapping(text: &str) -> Result<IndexMap<String, String>, Refusal> {
    let cannot = |what: &str| failed(format!("yaml: unmarshal errors:\n  cannot unmarshal {what}"));
    let document = yaml::parse(text).map_err(|e| failed(format!("yaml: {e}")))?;
    let members = match &document {
        Json::Null => return Ok(IndexMap::new()),
        document => document.as_object().ok_or_else(|| cannot("into map[string]string"))?,
    };
    members
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Json::Null => String::new(),
                Json::String(s) => s.clone(),
                Json::Array(_) => return Err(cannot("!!seq into string")),
                Json::Object(_) => return Err(cannot("!!map into string")),
                // booleans and numbers, as they are written
                scalar => scalar.dumps(),
            };
            Ok((key.clone(), value))
        })
        .collect()
}
