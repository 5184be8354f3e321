//! Fields from query parameters: dotted paths, proto names or camelCase, each kind in grpc-gateway's spelling.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use tonic::Status;

use crate::go_time;

/// Sets the field of every parameter; parameters that name no field are ignored, as grpc-gateway does.
pub(super) fn fill(message: &mut DynamicMessage, query: &str) -> Result<(), Status> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        set(message, &percent_decoded(name, true), &percent_decoded(value, true))?;
    }
    Ok(())
}

/// Sets (or appends to) the field at `path`.
pub(super) fn set(message: &mut DynamicMessage, path: &str, text: &str) -> Result<(), Status> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let Some(field) = field(&message.descriptor(), first) else { return Ok(()) };
    if let Some(rest) = rest {
        return match message.get_field_mut(&field) {
            Value::Message(inner) => set(inner, rest, text),
            _ => Err(Status::invalid_argument(format!("{first:?} is not a message: {path:?} names nothing"))),
        };
    }
    if field.is_map() {
        return Err(Status::invalid_argument(format!("the map {first:?} cannot be given as a parameter")));
    }
    let value = parse(&field, text)
        .map_err(|why| Status::invalid_argument(format!("parsing field {:?}: {why}", field.name())))?;
    if field.is_list() {
        if let Value::List(list) = message.get_field_mut(&field) {
            list.push(value);
        }
    } else {
        message.set_field(&field, value);
    }
    Ok(())
}

fn field(descriptor: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name))
}

fn parse(field: &FieldDescriptor, text: &str) -> Result<Value, String> {
    fn number<T: std::str::FromStr>(text: &str, go: &str) -> Result<T, String> {
        text.parse().map_err(|_| format!("strconv.{go}: parsing {text:?}: invalid syntax"))
    }
    match field.kind() {
        Kind::String => Ok(Value::String(text.to_owned())),
        Kind::Bool => match text {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
        },
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number(text, "ParseInt").map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => number(text, "ParseInt").map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => number(text, "ParseUint").map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => number(text, "ParseUint").map(Value::U64),
        Kind::Float => number(text, "ParseFloat").map(Value::F32),
        Kind::Double => number(text, "ParseFloat").map(Value::F64),
        Kind::Enum(kind) => match kind.get_value_by_name(text) {
            Some(value) => Ok(Value::EnumNumber(value.number())),
            None => {
                let number: i32 = text.parse().map_err(|_| format!("{text:?} is not a valid value"))?;
                let known = kind.get_value(number).ok_or_else(|| format!("{text:?} is not a valid value"))?;
                Ok(Value::EnumNumber(known.number()))
            }
        },
        Kind::Message(kind) => match kind.full_name() {
            "google.protobuf.Timestamp" => {
                let (seconds, nanos) = go_time::parse_rfc3339(text)?;
                Ok(message(kind, seconds, nanos))
            }
            "google.protobuf.Duration" => {
                let nanos = go_time::parse_duration(text)?;
                Ok(message(kind, nanos / 1_000_000_000, (nanos % 1_000_000_000) as i32))
            }
            other => Err(format!("a {other} cannot be given as one parameter")),
        },
        Kind::Bytes => Err("bytes cannot be given as a parameter".to_owned()),
    }
}

/// A Timestamp or a Duration: fields 1 and 2 of both.
fn message(kind: MessageDescriptor, seconds: i64, nanos: i32) -> Value {
    let mut message = DynamicMessage::new(kind);
    message.set_field_by_number(1, Value::I64(seconds));
    message.set_field_by_number(2, Value::I32(nanos));
    Value::Message(message)
}

/// `%41` is `A`; in a query string `+` is a space. What is not an escape stays as it is.
pub(crate) fn percent_decoded(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = match bytes[at..] {
            [b'%', high, low, ..] => hex(high).zip(hex(low)),
            _ => None,
        };
        match (escaped, bytes[at]) {
            (Some((high, low)), _) => {
                out.push(high << 4 | low);
                at += 2;
            }
            (None, b'+') if plus_is_space => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(name: &str, query: &str) -> Result<String, String> {
        let pool = crate::proto::pool().expect("our own descriptors");
        let mut message = DynamicMessage::new(pool.get_message_by_name(name).expect("a known message"));
        fill(&mut message, query).map_err(|status| status.message().to_owned())?;
        Ok(serde_json::to_string(&message).expect("JSON"))
    }

    const RANGE: &str = "parca.query.v1alpha1.QueryRangeRequest";

    #[test]
    fn parameters_fill_fields_of_every_kind_by_either_name() {
        assert_eq!(
            filled(RANGE, "query=a%3Ab+c&start=2026-01-15T00:00:00Z&step=1m30s&sumBy=job&sum_by=instance&limit=7"),
            Ok(concat!(
                r#"{"query":"a:b c","start":"2026-01-15T00:00:00Z","limit":7,"step":"90s","#,
                r#""sumBy":["job","instance"]}"#
            )
            .to_owned())
        );
        assert_eq!(
            filled("parca.query.v1alpha1.QueryRequest", "mode=2&merge.query=x&reportType=REPORT_TYPE_PPROF"),
            Ok(r#"{"mode":"MODE_MERGE","merge":{"query":"x"},"reportType":"REPORT_TYPE_PPROF"}"#.to_owned())
        );
    }

    #[test]
    fn unknown_parameters_are_ignored_and_bad_values_name_their_field() {
        assert_eq!(filled(RANGE, "nosuch=1&nosuch.deep=2"), Ok("{}".to_owned()));
        assert_eq!(
            filled(RANGE, "limit=x"),
            Err("parsing field \"limit\": strconv.ParseUint: parsing \"x\": invalid syntax".to_owned())
        );
        assert_eq!(
            filled(RANGE, "start=yesterday"),
            Err("parsing field \"start\": parsing time \"yesterday\" as \"2006-01-02T15:04:05.999999999Z07:00\": \
                 cannot parse \"yesterday\" as \"2006\""
                .to_owned())
        );
    }
}
