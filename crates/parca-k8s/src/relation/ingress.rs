//! `ingress` (`traefik_route`): both ports through Traefik, each on an entry point of its own.

use juju::json::Json;
use juju::model::{Bag, Relation};

use super::{bag, current, yaml_text};
use crate::bags::External;
use crate::identity::{GRPC_PORT, HTTP_PORT, Identity};

/// What Traefik tells of itself. `None` until it does, and when it takes that back.
pub fn external(relation: &Relation) -> Option<External<'_>> {
    let told = |key: &str| relation.app_data.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let host = told("external_host")?;
    Some(External { scheme: told("scheme").unwrap_or("http"), host })
}

/// Our application's bag. `https`: our own ports speak TLS.
pub fn app_bag(relation: &Relation, identity: &Identity, https: bool) -> Bag {
    let text = |key: &'static str, value: &Json| (key, yaml_text(current(relation.local_app.as_ref(), key), value));
    bag([
        text("config", &routes(identity, https)),
        // Python's
        ("raw", "False".to_owned()),
        text("static", &entry_points()),
    ])
}

/// Name, port and, without TLS, scheme of each way in.
const WAYS: [(&str, u16, &str); 2] = [("parca-grpc", GRPC_PORT, "h2c"), ("parca-http", HTTP_PORT, "http")];

fn entry_points() -> Json {
    let points = WAYS.map(|(name, port, _)| (name, Json::object([("address", Json::from(format!(":{port}")))])));
    Json::object([("entryPoints", Json::object(points))])
}

fn routes(identity: &Identity, https: bool) -> Json {
    let prefix = format!("juju-{}-{}", identity.model.name, identity.app());
    let routers = WAYS.map(|(name, _, _)| {
        let router = Json::object([
            ("entryPoints", Json::from([name])),
            // everybody: the entry point has no other use
            ("rule", Json::from("ClientIP(`0.0.0.0/0`)")),
            ("service", Json::from(format!("{prefix}-service-{name}"))),
        ]);
        (format!("{prefix}-{name}"), router)
    });
    let services = WAYS.map(|(name, port, plain)| {
        let scheme = if https { "https" } else { plain };
        let server = Json::object([("url", Json::from(format!("{scheme}://{}:{port}", identity.fqdn)))]);
        let balancer = Json::object([("loadBalancer", Json::object([("servers", Json::from([server]))]))]);
        (format!("{prefix}-service-{name}"), balancer)
    });
    Json::object([("http", Json::object([("routers", Json::object(routers)), ("services", Json::object(services))]))])
}

#[cfg(test)]
mod tests {
    use juju::yaml;

    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn meaning(bag: &Bag) -> Vec<(String, Json)> {
        bag.iter().map(|(key, text)| (key.clone(), yaml::parse(text).unwrap())).collect()
    }

    #[test]
    fn vectors_of_ingress_are_the_recorded_bags() {
        let relation = Relation::new(21, "ingress", "traefik");
        let plain = Recording::open("ingress-flow").bag(0, "21", "app").unwrap();
        assert_eq!(meaning(&app_bag(&relation, &recorded(), false)), meaning(&plain));
        let steps = Recording::open("ingress-with-tls");
        let tls = steps.bag(steps.len() - 1, "21", "app").unwrap();
        assert_eq!(meaning(&app_bag(&relation, &recorded(), true)), meaning(&tls));
        // the recorded texts, PyYAML's, stay
        let kept = Relation { local_app: Some(plain.clone()), ..relation };
        assert_eq!(app_bag(&kept, &recorded(), false), plain);
    }

    #[test]
    fn a_host_that_is_taken_back_is_none() {
        let mut relation = Relation::new(21, "ingress", "traefik");
        assert!(external(&relation).is_none());
        relation.app_data = bag([("external_host", "h".to_owned()), ("scheme", "https".to_owned())]);
        assert_eq!(external(&relation).map(|external| external.url()).as_deref(), Some("https://h:7994"));
        relation.app_data.remove("external_host");
        assert!(external(&relation).is_none());
    }
}
