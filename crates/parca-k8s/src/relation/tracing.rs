//! `charm-tracing` and `workload-tracing` (`tracing`): where traces go.

use juju::json::Json;
use juju::model::{Bag, Relation};

use super::{bag, current, json_text};

/// How traces are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The charm's own.
    OtlpHttp,
    /// The workload's.
    OtlpGrpc,
}

impl Protocol {
    fn as_str(self) -> &'static str {
        match self {
            Protocol::OtlpHttp => "otlp_http",
            Protocol::OtlpGrpc => "otlp_grpc",
        }
    }
}

/// Our application's bag: the protocol we ask for. Only the leader writes it; a follower neither reads nor writes that bag.
pub fn app_bag(relation: &Relation, protocol: Protocol) -> Bag {
    let receivers = Json::from([protocol.as_str()]);
    bag([("receivers", json_text(current(relation.local_app.as_ref(), "receivers"), &receivers))])
}

/// Where the provider takes this protocol: a URL, or `host:port` for gRPC. `None` until it says so, if it offers others only,
/// and, with a warning, where its data cannot be read or its address could not stand on a command line.
pub fn endpoint(relation: &Relation, protocol: Protocol) -> Option<String> {
    let text = relation.app_data.get("receivers")?;
    match find(text, protocol) {
        Ok(endpoint) => endpoint,
        Err(why) => {
            ::tracing::warn!(relation = relation.key(), why, "passed over the tracing receivers");
            None
        }
    }
}

fn find(text: &str, protocol: Protocol) -> Result<Option<String>, String> {
    let receivers = Json::parse(text).map_err(|error| error.to_string())?;
    let receivers = receivers.as_array().ok_or_else(|| format!("receivers is {}, not a list", receivers.kind()))?;
    let name = |receiver: &Json| receiver.get("protocol")?.get("name")?.as_str().map(str::to_owned);
    let Some(receiver) = receivers.iter().find(|receiver| name(receiver).as_deref() == Some(protocol.as_str())) else {
        return Ok(None);
    };
    let url = receiver.get("url").and_then(Json::as_str).unwrap_or_default();
    if url.is_empty() {
        return Err(format!("the receiver for {} has no url", protocol.as_str()));
    }
    // Pebble splits commands as a shell does: a blank would begin another flag
    if url.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\')) {
        return Err(format!("the url {url:?} has blanks or quotes"));
    }
    Ok(Some(url.trim_end_matches('/').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::tests::Recording;

    fn relation(receivers: &str) -> Relation {
        let mut relation = Relation::new(22, "workload-tracing", "tempo");
        relation.app_data = bag([("receivers", receivers.to_owned())]);
        relation
    }

    const BOTH: &str = r#"[{"protocol": {"name": "otlp_grpc", "type": "grpc"}, "url": "tempo.lens.svc:4317"}, {"protocol": {"name": "otlp_http", "type": "http"}, "url": "http://tempo.lens.svc:4318"}]"#;

    #[test]
    fn vectors_of_tracing_are_the_recorded_bags() {
        let ours = |protocol| Some(app_bag(&relation(BOTH), protocol));
        assert_eq!(ours(Protocol::OtlpHttp), Recording::open("tracing-charm").bag(0, "22", "app"));
        assert_eq!(ours(Protocol::OtlpGrpc), Recording::open("tracing-workload").bag(0, "22", "app"));
    }

    #[test]
    fn the_receiver_of_the_protocol_is_found() {
        assert_eq!(endpoint(&relation(BOTH), Protocol::OtlpGrpc).as_deref(), Some("tempo.lens.svc:4317"));
        assert_eq!(endpoint(&relation(BOTH), Protocol::OtlpHttp).as_deref(), Some("http://tempo.lens.svc:4318"));
    }

    #[test]
    fn another_protocol_only_is_no_endpoint_and_no_error_for_leader_and_follower() {
        let other = r#"[{"protocol": {"name": "otlp_http", "type": "http"}, "url": "http://tempo:4318"}]"#;
        let follower = relation(other);
        assert_eq!(follower.local_app, None);
        assert_eq!(endpoint(&follower, Protocol::OtlpGrpc), None);
        assert_eq!(endpoint(&Relation::new(22, "workload-tracing", "tempo"), Protocol::OtlpGrpc), None);
    }

    #[test]
    fn receivers_that_make_no_sense_are_passed_over() {
        for text in ["", "{", "{}", "[1]", r#"[{"protocol": "otlp_grpc"}]"#, r#"[{"protocol": {"name": "otlp_grpc"}}]"#]
        {
            assert_eq!(endpoint(&relation(text), Protocol::OtlpGrpc), None, "{text}");
        }
        let flag = r#"[{"protocol": {"name": "otlp_grpc"}, "url": "a:1 --mode=forwarder"}]"#;
        assert_eq!(endpoint(&relation(flag), Protocol::OtlpGrpc), None);
    }

    #[test]
    fn receivers_written_otherwise_are_left_alone() {
        let mut relation = relation(BOTH);
        relation.local_app = Some(bag([("receivers", "[\"otlp_grpc\" ]".to_owned())]));
        assert_eq!(app_bag(&relation, Protocol::OtlpGrpc)["receivers"], "[\"otlp_grpc\" ]");
    }
}
