//! JSON as charms exchange it: text in data bags that Python's `json` wrote and will read.
//!
//! Objects keep the order of their keys, and [`Json::dumps`] gives the bytes of Python's `json.dumps`, spacing and ASCII escapes
//! included: a charm in Rust that takes the place of one in Python must not change a bag, for each change wakes
//! every unit on the other side.

use std::fmt::{self, Write};

use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
pub use serde_json::Number;

/// An object: in order of its keys' first appearance. Two objects are equal in any order.
pub type Object = IndexMap<String, Json>;

/// A JSON value. Equality is by meaning: the order of an object's keys is free.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Object),
}

/// Why a text is no JSON, with line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(String);

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for JsonError {}

impl Json {
    /// Reads a text. Of a key that is there twice the last value counts, as in Python. Nesting ends at 128.
    ///
    /// # Errors
    /// The text is no JSON. Python's `NaN` and `Infinity` are none either, nor is half of a surrogate pair.
    pub fn parse(text: &str) -> Result<Json, JsonError> {
        serde_json::from_str(text).map_err(|error| JsonError(error.to_string()))
    }

    /// The bytes that Python's `json.dumps` gives with its defaults.
    ///
    /// ```
    /// use juju::json::Json;
    /// let value = Json::parse(r#"[{"b":1,"a":"é\n"},1.0,null,true]"#).unwrap();
    /// assert_eq!(value.dumps(), r#"[{"b": 1, "a": "\u00e9\n"}, 1.0, null, true]"#);
    /// ```
    pub fn dumps(&self) -> String {
        let mut text = String::new();
        write_json(&mut text, self);
        text
    }

    /// An object of these members, in this order.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Json)>) -> Json {
        Json::Object(members.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// What Python's `bool()` says: false for null, false, 0, and what is empty.
    pub fn is_truthy(&self) -> bool {
        match self {
            Json::Null => false,
            Json::Bool(value) => *value,
            Json::Number(number) => number.as_f64() != Some(0.0),
            Json::String(text) => !text.is_empty(),
            Json::Array(items) => !items.is_empty(),
            Json::Object(members) => !members.is_empty(),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(text) = self { Some(text) } else { None }
    }

    pub fn as_array(&self) -> Option<&[Json]> {
        if let Json::Array(items) = self { Some(items) } else { None }
    }

    pub fn as_object(&self) -> Option<&Object> {
        if let Json::Object(members) = self { Some(members) } else { None }
    }

    /// A member of an object; `None` where it is absent or this is no object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.as_object()?.get(key)
    }

    /// What kind of value it is, with its article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "a boolean",
            Json::Number(_) => "a number",
            Json::String(_) => "a string",
            Json::Array(_) => "a list",
            Json::Object(_) => "an object",
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dumps())
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::String(text)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Number(value.into())
    }
}

impl From<Object> for Json {
    fn from(members: Object) -> Json {
        Json::Object(members)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(items: Vec<T>) -> Json {
        Json::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Json>, const N: usize> From<[T; N]> for Json {
    fn from(items: [T; N]) -> Json {
        Json::Array(items.into_iter().map(Into::into).collect())
    }
}

fn write_json(to: &mut String, value: &Json) {
    match value {
        Json::Null => to.push_str("null"),
        Json::Bool(true) => to.push_str("true"),
        Json::Bool(false) => to.push_str("false"),
        Json::Number(number) => write_number(to, number),
        Json::String(text) => write_string(to, text),
        Json::Array(items) => {
            to.push('[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    to.push_str(", ");
                }
                write_json(to, item);
            }
            to.push(']');
        }
        Json::Object(members) => {
            to.push('{');
            for (position, (key, item)) in members.iter().enumerate() {
                if position > 0 {
                    to.push_str(", ");
                }
                write_string(to, key);
                to.push_str(": ");
                write_json(to, item);
            }
            to.push('}');
        }
    }
}

/// `float.__repr__` for what is no integer: the shortest digits that read back, with an exponent below 1e-4 and from
/// 1e16 on, of two digits at least and with its sign.
fn write_number(to: &mut String, number: &Number) {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        to.push_str(&number.to_string());
        return;
    };
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = float.to_string();
        to.push_str(&plain);
        if !plain.contains('.') {
            to.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        // writing to a String cannot fail
        let _ = write!(to, "{mantissa}e{sign}{:02}", exponent.abs());
    }
}

fn write_string(to: &mut String, text: &str) {
    to.push('"');
    for c in text.chars() {
        match c {
            '"' => to.push_str("\\\""),
            '\\' => to.push_str("\\\\"),
            '\n' => to.push_str("\\n"),
            '\r' => to.push_str("\\r"),
            '\t' => to.push_str("\\t"),
            '\u{8}' => to.push_str("\\b"),
            '\u{c}' => to.push_str("\\f"),
            ' '..='~' => to.push(c),
            _ => {
                let mut halves = [0; 2];
                for half in c.encode_utf16(&mut halves) {
                    // writing to a String cannot fail
                    let _ = write!(to, "\\u{half:04x}");
                }
            }
        }
    }
    to.push('"');
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => to.serialize_unit(),
            Json::Bool(value) => to.serialize_bool(*value),
            Json::Number(number) => number.serialize(to),
            Json::String(text) => to.serialize_str(text),
            Json::Array(items) => to.collect_seq(items),
            Json::Object(members) => {
                let mut map = to.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        from.deserialize_any(Values)
    }
}

struct Values;

impl<'de> Visitor<'de> for Values {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        // JSON has no text for what is not finite
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
        let mut members = Object::new();
        while let Some((key, value)) = from.next_entry::<String, Json>()? {
            members.insert(key, value);
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each as CPython prints it.
    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (text, want) in [
            ("0", "0"),
            ("-0.0", "-0.0"),
            ("1.0", "1.0"),
            ("99.9", "99.9"),
            ("0.1", "0.1"),
            ("-0.5", "-0.5"),
            ("1e2", "100.0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e+16"),
            ("1.25e100", "1.25e+100"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(Json::parse(text).unwrap().dumps(), want, "{text}");
        }
    }

    #[test]
    fn strings_are_escaped_to_ascii() {
        let text = "a\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}é€😀";
        assert_eq!(Json::from(text).dumps(), "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u007f\\u00e9\\u20ac\\ud83d\\ude00\"");
    }

    #[test]
    fn of_a_key_that_is_there_twice_the_last_value_counts_at_the_first_place() {
        assert_eq!(Json::parse(r#"{"a":1,"b":2,"a":3}"#).unwrap().dumps(), r#"{"a": 3, "b": 2}"#);
    }

    #[test]
    fn objects_are_equal_in_any_order_lists_are_not() {
        let parse = |text| Json::parse(text).unwrap();
        assert_eq!(parse(r#"{"a":1,"b":[1,2]}"#), parse(r#"{"b":[1,2],"a":1}"#));
        assert_ne!(parse("[1,2]"), parse("[2,1]"));
    }

    #[test]
    fn depth_is_bounded_and_told() {
        let deep = "[".repeat(200_000);
        assert_eq!(Json::parse(&deep).unwrap_err().to_string(), "recursion limit exceeded at line 1 column 128");
    }

    /// Any value of a few levels.
    pub(crate) fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_filter_map("finite", |f| Number::from_f64(f).map(Json::Number)),
            any::<String>().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
                prop::collection::vec((any::<String>(), inner), 0..5).prop_map(Json::object),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in any_json()) {
            let text = value.dumps();
            prop_assert!(text.is_ascii());
            let back = Json::parse(&text).unwrap();
            prop_assert_eq!(back.dumps(), text);
        }

        #[test]
        fn what_is_read_of_any_text_reads_the_same_once_written(text in ".*|[\\[\\]{}:,\"\\\\ ntrue0-9.eE+-]{0,16}") {
            if let Ok(value) = Json::parse(&text) {
                prop_assert_eq!(Json::parse(&value.dumps()).unwrap(), value);
            }
        }
    }
}
