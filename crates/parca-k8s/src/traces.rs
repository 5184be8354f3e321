//! The charm's own traces: one per dispatch, sent as OTLP over HTTP.
//!
//! Sending is the last thing that a dispatch does, and ends within [`TIME_LIMIT`] whatever the receiver does: a trace is lost, a
//! hook is not late.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use juju::json::Json;

use crate::Identity;
use crate::http::{self, Client, Request, Resolve, Url};
use crate::identity::CHARM;
use crate::keys;

/// From the look-up of the receiver's name to its answer. With all around it a dispatch is late by at most 200 ms.
pub const TIME_LIMIT: Duration = Duration::from_millis(180);

/// Spans of one trace: the phases of a dispatch are few.
const SPANS_MAX: usize = 64;

/// One dispatch, as it goes on. Spans follow each other; all are children of the dispatch.
#[derive(Debug)]
pub struct Trace {
    id: [u8; 16],
    began: SystemTime,
    clock: Instant,
    /// The dispatch itself comes first.
    spans: Vec<Span>,
}

#[derive(Debug)]
struct Span {
    id: [u8; 8],
    name: String,
    /// Since the trace began.
    start: Duration,
    end: Duration,
    /// Why it failed.
    error: Option<String>,
}

impl Trace {
    /// Begins a trace whose root has this name, such as `config-changed`. `None` where the system has no random numbers.
    pub fn begin(name: &str) -> Option<Trace> {
        let mut random = [0; 24];
        keys::random(&mut random).ok()?;
        let (id, root) = random.split_at(16);
        let root = Span {
            id: root.try_into().ok()?,
            name: name.to_owned(),
            start: Duration::ZERO,
            end: Duration::ZERO,
            error: None,
        };
        Some(Trace { id: id.try_into().ok()?, began: SystemTime::now(), clock: Instant::now(), spans: vec![root] })
    }

    /// Does the work, and notes how long it took and whether it failed.
    pub fn span<T, E: std::fmt::Display>(&mut self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let start = self.clock.elapsed();
        let result = work();
        if self.spans.len() < SPANS_MAX {
            let mut id = self.spans[0].id;
            // unique within the trace, which is all that a span's ID must be
            for (byte, number) in id.iter_mut().zip((self.spans.len() as u64).to_le_bytes()) {
                *byte ^= number;
            }
            let error = result.as_ref().err().map(E::to_string);
            self.spans.push(Span { id, name: name.to_owned(), start, end: self.clock.elapsed(), error });
        }
        result
    }

    /// Ends the dispatch.
    pub fn end(&mut self, error: Option<String>) {
        self.spans[0].end = self.clock.elapsed();
        self.spans[0].error = error;
    }
}

/// Sends a trace that has ended to `endpoint`, the base URL of an OTLP/HTTP receiver. `authorities`: in PEM, for https.
///
/// The trace goes as protobuf, and as JSON to a receiver that answers 415 to that.
///
/// # Errors
/// The trace is lost; the text says why.
pub fn export(
    trace: &Trace,
    identity: &Identity,
    endpoint: &str,
    authorities: &[&str],
    resolve: Resolve<'_>,
) -> Result<(), String> {
    let deadline = Instant::now() + TIME_LIMIT;
    let url = Url::parse(endpoint).ok_or_else(|| format!("{endpoint:?} is no URL of a receiver"))?;
    let path = if url.path.ends_with("/v1/traces") {
        url.path.clone()
    } else {
        format!("{}/v1/traces", url.path.trim_end_matches('/'))
    };
    let tls = if url.https { Some(http::trusting(authorities.iter().copied())?) } else { None };
    let mut client = Client::new(url, tls, resolve, deadline);
    let mut send = |kind, body: &[u8]| {
        let headers = [("Content-Type", kind)];
        client.send(Request { method: "POST", path: &path, headers: &headers, body }).map_err(|error| error.to_string())
    };
    let resource = resource(identity);
    let mut response = send("application/x-protobuf", &protobuf(trace, &resource))?;
    if response.code == 415 {
        response = send("application/json", json(trace, &resource).dumps().as_bytes())?;
    }
    if (200..300).contains(&response.code) { Ok(()) } else { Err(format!("{endpoint} answers {}", response.code)) }
}

type Attributes = Vec<(&'static str, String)>;

/// Who sent it, under the names that charms' traces have.
fn resource(identity: &Identity) -> Attributes {
    vec![
        ("service.name", identity.app().to_owned()),
        ("service.instance.id", identity.unit.to_string()),
        ("service.namespace", identity.model.uuid.clone()),
        ("service.namespace.name", identity.model.name.clone()),
        ("juju_model", identity.model.name.clone()),
        ("juju_model_uuid", identity.model.uuid.clone()),
        ("juju_application", identity.app().to_owned()),
        ("juju_unit", identity.unit.to_string()),
        ("juju_charm", CHARM.to_owned()),
    ]
}

impl Trace {
    /// Nanoseconds since 1970.
    fn nanos(&self, at: Duration) -> u64 {
        let began = self.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from((began + at).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The span's parent: every span's but the first one's is the first one.
    fn parent(&self, position: usize) -> Option<&[u8; 8]> {
        (position > 0).then(|| &self.spans[0].id)
    }
}

/// OTLP's numbers.
const KIND_INTERNAL: u64 = 1;
const STATUS_ERROR: u64 = 2;

/// `ExportTraceServiceRequest` of opentelemetry-proto 1.x, fields by number.
fn protobuf(trace: &Trace, resource: &Attributes) -> Vec<u8> {
    let spans = trace.spans.iter().enumerate().map(|(position, span)| {
        let mut out = Vec::new();
        push_bytes(&mut out, 1, &trace.id);
        push_bytes(&mut out, 2, &span.id);
        if let Some(parent) = trace.parent(position) {
            push_bytes(&mut out, 4, parent);
        }
        push_bytes(&mut out, 5, span.name.as_bytes());
        push_number(&mut out, 6, KIND_INTERNAL);
        push_fixed(&mut out, 7, trace.nanos(span.start));
        push_fixed(&mut out, 8, trace.nanos(span.end));
        if let Some(error) = &span.error {
            let mut status = Vec::new();
            push_bytes(&mut status, 2, error.as_bytes());
            push_number(&mut status, 3, STATUS_ERROR);
            push_bytes(&mut out, 15, &status);
        }
        out
    });
    let mut scope = Vec::new();
    push_bytes(&mut scope, 1, CHARM.as_bytes());
    push_bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut scope_spans = Vec::new();
    push_bytes(&mut scope_spans, 1, &scope);
    for span in spans {
        push_bytes(&mut scope_spans, 2, &span);
    }
    let mut attributes = Vec::new();
    for (key, value) in resource {
        let (mut any, mut pair) = (Vec::new(), Vec::new());
        push_bytes(&mut any, 1, value.as_bytes());
        push_bytes(&mut pair, 1, key.as_bytes());
        push_bytes(&mut pair, 2, &any);
        push_bytes(&mut attributes, 1, &pair);
    }
    let mut resource_spans = Vec::new();
    push_bytes(&mut resource_spans, 1, &attributes);
    push_bytes(&mut resource_spans, 2, &scope_spans);
    let mut request = Vec::new();
    push_bytes(&mut request, 1, &resource_spans);
    request
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_number(out: &mut Vec<u8>, field: u64, number: u64) {
    push_varint(out, field << 3);
    push_varint(out, number);
}

fn push_fixed(out: &mut Vec<u8>, field: u64, number: u64) {
    push_varint(out, field << 3 | 1);
    out.extend(number.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    push_varint(out, field << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// The same as OTLP's JSON: IDs in hex, 64-bit numbers as texts.
fn json(trace: &Trace, resource: &Attributes) -> Json {
    let hex = |bytes: &[u8]| Json::from(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let spans = trace.spans.iter().enumerate().map(|(position, span)| {
        let mut members = vec![
            ("traceId", hex(&trace.id)),
            ("spanId", hex(&span.id)),
            ("name", Json::from(span.name.as_str())),
            ("kind", Json::from(KIND_INTERNAL as i64)),
            ("startTimeUnixNano", Json::from(trace.nanos(span.start).to_string())),
            ("endTimeUnixNano", Json::from(trace.nanos(span.end).to_string())),
        ];
        members.extend(trace.parent(position).map(|parent| ("parentSpanId", hex(parent))));
        members.extend(span.error.as_ref().map(|error| {
            let status = [("message", Json::from(error.as_str())), ("code", Json::from(STATUS_ERROR as i64))];
            ("status", Json::object(status))
        }));
        Json::object(members)
    });
    let attributes = resource.iter().map(|(key, value)| {
        let value = Json::object([("stringValue", Json::from(value.as_str()))]);
        Json::object([("key", Json::from(*key)), ("value", value)])
    });
    let scope = [("name", Json::from(CHARM)), ("version", Json::from(env!("CARGO_PKG_VERSION")))];
    let scope_spans = Json::object([("scope", Json::object(scope)), ("spans", Json::Array(spans.collect()))]);
    let resource = Json::object([("attributes", Json::Array(attributes.collect()))]);
    let resource_spans = Json::object([("resource", resource), ("scopeSpans", Json::from([scope_spans]))]);
    Json::object([("resourceSpans", Json::from([resource_spans]))])
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{SocketAddr, TcpListener};

    use prost::Message;

    use super::*;
    use crate::http::test_server::{Shows, TestServer};
    use crate::identity::tests::recorded;

    /// opentelemetry-proto's messages, as far as they are looked at.
    #[derive(Clone, PartialEq, Message)]
    struct ExportRequest {
        #[prost(message, repeated, tag = "1")]
        resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Resource {
        #[prost(message, repeated, tag = "1")]
        attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct KeyValue {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(message, optional, tag = "2")]
        value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct AnyValue {
        #[prost(string, optional, tag = "1")]
        text: Option<String>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ScopeSpans {
        #[prost(message, optional, tag = "1")]
        scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        spans: Vec<WireSpan>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Scope {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        version: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct WireSpan {
        #[prost(bytes, tag = "1")]
        trace_id: Vec<u8>,
        #[prost(bytes, tag = "2")]
        span_id: Vec<u8>,
        #[prost(bytes, tag = "4")]
        parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        name: String,
        #[prost(int32, tag = "6")]
        kind: i32,
        #[prost(fixed64, tag = "7")]
        start: u64,
        #[prost(fixed64, tag = "8")]
        end: u64,
        #[prost(message, optional, tag = "15")]
        status: Option<WireStatus>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct WireStatus {
        #[prost(string, tag = "2")]
        message: String,
        #[prost(int32, tag = "3")]
        code: i32,
    }

    fn no_names(_: &str, _: u16, _: Duration) -> io::Result<Vec<SocketAddr>> {
        Err(io::Error::other("no names here"))
    }

    fn dispatch() -> Trace {
        let mut trace = Trace::begin("config-changed").unwrap();
        assert_eq!(trace.span("read", || Ok::<_, String>(3)), Ok(3));
        assert_eq!(trace.span("apply", || Err::<(), _>("no relation".to_owned())), Err("no relation".to_owned()));
        trace.end(None);
        trace
    }

    #[test]
    fn a_receiver_gets_one_trace_with_all_spans_and_who_sent_it() {
        for shows in [Shows::Nothing, Shows::Signed] {
            let receiver = TestServer::start(shows, |_| (200, String::new()));
            let scheme = if shows == Shows::Nothing { "http" } else { "https" };
            let endpoint = format!("{scheme}://{}", receiver.address);
            assert_eq!(export(&dispatch(), &recorded(), &endpoint, &[&receiver.ca], &no_names), Ok(()));
            let asked = receiver.asked();
            assert_eq!(asked.len(), 1, "one request, one trace");
            assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/v1/traces"));
            assert!(asked[0].head.contains("\r\nContent-Type: application/x-protobuf\r\n"));

            let request = ExportRequest::decode(asked[0].body.as_slice()).unwrap();
            assert_eq!(request.resource_spans.len(), 1);
            let sender = request.resource_spans[0].resource.as_ref().unwrap();
            let attribute = |key: &str| {
                let found = sender.attributes.iter().find(|attribute| attribute.key == key).unwrap();
                found.value.clone().unwrap().text.unwrap()
            };
            assert_eq!(attribute("service.name"), "parca-k8s");
            assert_eq!(attribute("juju_unit"), "parca-k8s/0");
            let [scope] = request.resource_spans[0].scope_spans.as_slice() else { panic!("one scope") };
            assert_eq!(scope.scope.as_ref().unwrap().name, "parca-k8s");
            let [root, read, apply] = scope.spans.as_slice() else { panic!("three spans") };
            assert_eq!([root, read, apply].map(|span| span.name.as_str()), ["config-changed", "read", "apply"]);
            assert!(
                [read, apply].iter().all(|span| span.trace_id == root.trace_id && span.parent_span_id == root.span_id)
            );
            assert!(root.parent_span_id.is_empty() && root.span_id != read.span_id && read.span_id != apply.span_id);
            assert!(root.start <= read.start && read.end <= apply.start && apply.end <= root.end);
            assert!(root.start > 1_700_000_000_000_000_000, "nanoseconds since 1970");
            assert_eq!(apply.status, Some(WireStatus { message: "no relation".to_owned(), code: 2 }));
            assert_eq!((root.kind, &root.status), (1, &None));
        }
    }

    #[test]
    fn a_receiver_that_takes_json_only_gets_json() {
        let receiver = TestServer::start(Shows::Nothing, |asked| {
            (if asked.head.contains("application/json") { 200 } else { 415 }, String::new())
        });
        let endpoint = format!("http://{}/otlp/", receiver.address);
        let trace = dispatch();
        assert_eq!(export(&trace, &recorded(), &endpoint, &[], &no_names), Ok(()));
        let asked = receiver.asked();
        assert_eq!(asked[1].path, "/otlp/v1/traces");
        let json = Json::parse(std::str::from_utf8(&asked[1].body).unwrap()).unwrap();
        let scope =
            json.get("resourceSpans").unwrap().as_array().unwrap()[0].get("scopeSpans").unwrap().as_array().unwrap();
        let spans = scope[0].get("spans").unwrap().as_array().unwrap();
        assert_eq!(spans.len(), 3);
        let id = spans[0].get("traceId").unwrap().as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(spans[1].get("parentSpanId"), spans[0].get("spanId"));
        assert_eq!(spans[2].get("status").unwrap().get("message"), Some(&Json::from("no relation")));
    }

    #[test]
    fn a_dead_endpoint_costs_at_most_the_time_limit() {
        // never accepts: the connection is made, the answer never comes
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let begun = Instant::now();
        assert!(export(&dispatch(), &recorded(), &format!("http://{closed}"), &[], &no_names).is_err());
        assert!(begun.elapsed() < TIME_LIMIT, "{:?}", begun.elapsed());
        let begun = Instant::now();
        let silent = silent.local_addr().unwrap();
        let why = export(&dispatch(), &recorded(), &format!("http://{silent}"), &[], &no_names).unwrap_err();
        assert!(why.ends_with("no answer in time"), "{why}");
        // what a busy machine adds
        assert!(begun.elapsed() < TIME_LIMIT + Duration::from_millis(100), "{:?}", begun.elapsed());
    }

    #[test]
    fn an_endpoint_that_is_none_or_refuses_is_an_error_and_no_more() {
        let to = |endpoint: &str| export(&dispatch(), &recorded(), endpoint, &[], &no_names).unwrap_err();
        assert_eq!(to("tempo:4318"), "\"tempo:4318\" is no URL of a receiver");
        assert_eq!(to("https://tempo:4318"), "there is no certificate of an authority");
        assert_eq!(to("http://tempo:4318"), "tempo:4318: no names here");
        let refusing = TestServer::start(Shows::Nothing, |_| (503, String::new()));
        let endpoint = format!("http://{}", refusing.address);
        assert_eq!(to(&endpoint), format!("{endpoint} answers 503"));
    }

    #[test]
    fn a_trace_is_bounded() {
        let mut trace = Trace::begin("x").unwrap();
        for _ in 0..1000 {
            let _ = trace.span("again", || Ok::<_, String>(()));
        }
        assert_eq!(trace.spans.len(), SPANS_MAX);
    }
}
