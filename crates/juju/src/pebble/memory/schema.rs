//! Which fields services, checks and log targets have. Reading, merging and writing follow this table.
//!
//! A layer comes as a value and not as text, so errors say `line ?` where Pebble has a number.

use std::collections::BTreeMap;

use super::go;
use crate::json::{Json, Number, Object};

/// What a field holds, with the name of its type in Pebble's messages where there are several.
#[derive(Debug)]
pub(super) enum Kind {
    /// Empty is unset.
    Text(&'static str),
    /// Merging appends.
    Texts,
    /// Merging adds and overwrites. With the names of its type and of its values' type.
    Map(&'static str, &'static str),
    /// Zero is unset.
    Count,
    /// Zero is an ID too.
    Id,
    Duration,
    Float,
    Nested(&'static Shape),
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    kind: Kind,
    /// Written even if unset.
    always: bool,
}

#[derive(Debug)]
pub(super) struct Shape {
    /// The name of its type in Pebble's messages.
    name: &'static str,
    fields: &'static [Field],
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, always: false }
}

const fn always(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, always: true }
}

const STRING: Kind = Kind::Text("string");
const STRINGS: Kind = Kind::Map("map[string]string", "string");

pub(super) const SERVICE: Shape = Shape {
    name: "plan.Service",
    fields: &[
        field("summary", STRING),
        field("description", STRING),
        field("startup", Kind::Text("plan.ServiceStartup")),
        field("override", Kind::Text("plan.Override")),
        field("command", STRING),
        field("after", Kind::Texts),
        field("before", Kind::Texts),
        field("requires", Kind::Texts),
        field("workload", STRING),
        field("environment", STRINGS),
        field("user-id", Kind::Id),
        field("user", STRING),
        field("group-id", Kind::Id),
        field("group", STRING),
        field("working-dir", STRING),
        field("on-success", Kind::Text("plan.ServiceAction")),
        field("on-failure", Kind::Text("plan.ServiceAction")),
        field("on-check-failure", Kind::Map("map[string]plan.ServiceAction", "plan.ServiceAction")),
        field("backoff-delay", Kind::Duration),
        field("backoff-factor", Kind::Float),
        field("backoff-limit", Kind::Duration),
        field("kill-delay", Kind::Duration),
    ],
};

const HTTP: Shape = Shape { name: "plan.HTTPCheck", fields: &[field("url", STRING), field("headers", STRINGS)] };

const TCP: Shape = Shape { name: "plan.TCPCheck", fields: &[field("port", Kind::Count), field("host", STRING)] };

const EXEC: Shape = Shape {
    name: "plan.ExecCheck",
    fields: &[
        field("command", STRING),
        field("service-context", STRING),
        field("environment", STRINGS),
        field("user-id", Kind::Id),
        field("user", STRING),
        field("group-id", Kind::Id),
        field("group", STRING),
        field("working-dir", STRING),
    ],
};

pub(super) const CHECK: Shape = Shape {
    name: "plan.Check",
    fields: &[
        field("override", Kind::Text("plan.Override")),
        field("level", Kind::Text("plan.CheckLevel")),
        field("startup", Kind::Text("plan.CheckStartup")),
        field("period", Kind::Duration),
        field("timeout", Kind::Duration),
        field("threshold", Kind::Count),
        field("http", Kind::Nested(&HTTP)),
        field("tcp", Kind::Nested(&TCP)),
        field("exec", Kind::Nested(&EXEC)),
    ],
};

pub(super) const LOG_TARGET: Shape = Shape {
    name: "plan.LogTarget",
    fields: &[
        always("type", Kind::Text("plan.LogTargetType")),
        always("location", STRING),
        always("services", Kind::Texts),
        field("override", Kind::Text("plan.Override")),
        field("labels", STRINGS),
    ],
};

/// What a field holds, if it is set.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Texts(Vec<String>),
    Map(BTreeMap<String, String>),
    Number(i64),
    /// In nanoseconds.
    Duration(i64),
    Float(f64),
    Nested(Fields),
}

/// The fields that are set. Two are equal where Pebble takes them for equal, and restarts nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields(BTreeMap<&'static str, Value>);

impl Fields {
    pub(super) fn text(&self, name: &str) -> &str {
        if let Some(Value::Text(text)) = self.0.get(name) { text } else { "" }
    }

    pub(super) fn texts(&self, name: &str) -> &[String] {
        if let Some(Value::Texts(texts)) = self.0.get(name) { texts } else { &[] }
    }

    pub(super) fn map(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        if let Some(Value::Map(map)) = self.0.get(name) { Some(map) } else { None }
    }

    pub(super) fn number(&self, name: &str) -> Option<i64> {
        if let Some(Value::Number(number)) = self.0.get(name) { Some(*number) } else { None }
    }

    /// An ID of a user or group. What is none is nobody's.
    pub(super) fn id(&self, name: &str) -> Option<u32> {
        self.number(name).map(|id| u32::try_from(id).unwrap_or(u32::MAX))
    }

    pub(super) fn duration(&self, name: &str) -> Option<i64> {
        if let Some(Value::Duration(nanos)) = self.0.get(name) { Some(*nanos) } else { None }
    }

    pub(super) fn float(&self, name: &str) -> Option<f64> {
        if let Some(Value::Float(value)) = self.0.get(name) { Some(*value) } else { None }
    }

    pub(super) fn nested(&self, name: &str) -> Option<&Fields> {
        if let Some(Value::Nested(fields)) = self.0.get(name) { Some(fields) } else { None }
    }

    pub(super) fn nested_mut(&mut self, name: &str) -> Option<&mut Fields> {
        if let Some(Value::Nested(fields)) = self.0.get_mut(name) { Some(fields) } else { None }
    }

    pub(super) fn set(&mut self, name: &'static str, value: Value) {
        self.0.insert(name, value);
    }

    /// What `override: merge` does: the other's fields over these, `override` itself apart.
    pub(super) fn merge(&mut self, other: &Fields) {
        for (&name, value) in other.0.iter().filter(|(name, _)| **name != "override") {
            match (self.0.get_mut(name), value) {
                (Some(Value::Texts(mine)), Value::Texts(theirs)) => mine.extend(theirs.iter().cloned()),
                (Some(Value::Map(mine)), Value::Map(theirs)) => {
                    mine.extend(theirs.iter().map(|(key, value)| (key.clone(), value.clone())));
                }
                (Some(Value::Nested(mine)), Value::Nested(theirs)) => mine.merge(theirs),
                // merging no entries into nothing leaves nothing
                (None, Value::Map(theirs)) if theirs.is_empty() => {}
                (None, Value::Nested(theirs)) => {
                    let mut mine = Fields::default();
                    mine.merge(theirs);
                    self.0.insert(name, Value::Nested(mine));
                }
                _ => {
                    self.0.insert(name, value.clone());
                }
            }
        }
    }

    /// As it stands in a plan.
    pub(super) fn to_json(&self, shape: &Shape) -> Json {
        let mut members = Object::new();
        for field in shape.fields {
            let value = match (self.0.get(field.name), &field.kind) {
                (Some(Value::Map(map)), _) if map.is_empty() => continue,
                (Some(Value::Text(text)), _) => Json::from(text.as_str()),
                (Some(Value::Texts(texts)), _) => Json::from(texts.clone()),
                (Some(Value::Map(map)), _) => map_json(map),
                (Some(Value::Number(number)), _) => Json::from(*number),
                (Some(Value::Duration(nanos)), _) => Json::from(go::duration_text(*nanos)),
                (Some(Value::Float(value)), _) => float_json(*value),
                (Some(Value::Nested(fields)), Kind::Nested(shape)) => fields.to_json(shape),
                (None, Kind::Texts) if field.always => Json::Array(Vec::new()),
                (None, Kind::Text(_)) if field.always => Json::from(""),
                _ => continue,
            };
            members.insert(field.name.to_owned(), value);
        }
        Json::Object(members)
    }
}

fn map_json(map: &BTreeMap<String, String>) -> Json {
    Json::object(map.iter().map(|(key, value)| (key.as_str(), Json::from(value.as_str()))))
}

fn float_json(value: f64) -> Json {
    // as YAML has it: a whole float is written as an integer
    let whole = value.fract() == 0.0 && value.abs() < 1e15;
    if whole { Json::from(value as i64) } else { Number::from_f64(value).map_or(Json::Null, Json::Number) }
}

/// What is wrong with a section, as Go's YAML says it.
#[derive(Debug, Default)]
pub(super) struct Errors(Vec<String>);

impl Errors {
    pub(super) fn finish(self) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(format!("yaml: unmarshal errors:\n  {}", self.0.join("\n  ")))
    }

    pub(super) fn mismatch(&mut self, value: &Json, into: &str) {
        let (tag, text) = match value {
            Json::Null => ("!!null", Some("null".to_owned())),
            Json::Bool(_) => ("!!bool", Some(value.dumps())),
            Json::Number(number) if number.is_f64() => ("!!float", Some(value.dumps())),
            Json::Number(_) => ("!!int", Some(value.dumps())),
            Json::String(text) => ("!!str", Some(text.clone())),
            Json::Array(_) => ("!!seq", None),
            Json::Object(_) => ("!!map", None),
        };
        let text = match text {
            Some(text) if text.len() > 10 => format!(" `{}...`", String::from_utf8_lossy(&text.as_bytes()[..7])),
            Some(text) => format!(" `{text}`"),
            None => String::new(),
        };
        self.0.push(format!("line ?: cannot unmarshal {tag}{text} into {into}"));
    }
}

/// What is named in a section; null for a name without an object.
///
/// # Errors
/// One that ends the reading at once. All others are collected.
pub(super) fn read_section(
    section: &Json,
    shape: &Shape,
    errors: &mut Errors,
) -> Result<BTreeMap<String, Option<Fields>>, String> {
    let mut named = BTreeMap::new();
    match section {
        Json::Null => {}
        Json::Object(members) => {
            for (name, value) in members {
                let fields = match value {
                    Json::Null => None,
                    value => Some(read_fields(value, shape, errors)?),
                };
                named.insert(name.clone(), fields);
            }
        }
        other => errors.mismatch(other, &format!("map[string]*{}", shape.name)),
    }
    Ok(named)
}

fn read_fields(value: &Json, shape: &Shape, errors: &mut Errors) -> Result<Fields, String> {
    let mut fields = Fields::default();
    let Json::Object(members) = value else {
        errors.mismatch(value, shape.name);
        return Ok(fields);
    };
    for (name, value) in members {
        match shape.fields.iter().find(|field| field.name == name) {
            None => errors.0.push(format!("line ?: field {name} not found in type {}", shape.name)),
            Some(field) => {
                if let Some(value) = read_value(value, &field.kind, errors)? {
                    fields.0.insert(field.name, value);
                }
            }
        }
    }
    Ok(fields)
}

/// A text, if it is a scalar: whatever stands there, as it stands there.
pub(super) fn read_text(value: &Json, into: &str, errors: &mut Errors) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.dumps()),
        other => {
            errors.mismatch(other, into);
            None
        }
    }
}

/// `None` for what leaves a field unset.
fn read_value(value: &Json, kind: &Kind, errors: &mut Errors) -> Result<Option<Value>, String> {
    if *value == Json::Null {
        return Ok(None);
    }
    Ok(match kind {
        Kind::Text(into) => read_text(value, into, errors).filter(|text| !text.is_empty()).map(Value::Text),
        Kind::Texts => {
            let Json::Array(items) = value else {
                errors.mismatch(value, "[]string");
                return Ok(None);
            };
            let texts: Vec<_> = items.iter().filter_map(|item| read_text(item, "string", errors)).collect();
            (!texts.is_empty()).then_some(Value::Texts(texts))
        }
        Kind::Map(into, of) => {
            let Json::Object(members) = value else {
                errors.mismatch(value, into);
                return Ok(None);
            };
            let mut map = BTreeMap::new();
            for (key, value) in members {
                match value {
                    Json::Null => drop(map.insert(key.clone(), String::new())),
                    value => map.extend(read_text(value, of, errors).map(|text| (key.clone(), text))),
                }
            }
            Some(Value::Map(map))
        }
        Kind::Count | Kind::Id => {
            let number = match value {
                Json::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
                _ => None,
            };
            if number.is_none() {
                errors.mismatch(value, "int");
            }
            number.filter(|number| *number != 0 || matches!(kind, Kind::Id)).map(Value::Number)
        }
        Kind::Duration => {
            let text = scalar(value).ok_or("duration must be a YAML string")?;
            Some(Value::Duration(
                go::parse_duration(&text).ok_or_else(|| format!("invalid duration {}", go::quote(&text)))?,
            ))
        }
        Kind::Float => {
            let text = scalar(value).ok_or("value must be a YAML number")?;
            let value = text.parse().map_err(|_| format!("invalid floating-point number {}", go::quote(&text)))?;
            Some(Value::Float(value))
        }
        Kind::Nested(shape) => Some(Value::Nested(read_fields(value, shape, errors)?)),
    })
}

fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.dumps()),
        _ => None,
    }
}
