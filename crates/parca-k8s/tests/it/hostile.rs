//! Any text in any bag of any endpoint: the hook ends well, and the next one has nothing to write.

use juju::json::Json;
use juju::{Bag, Event};
use proptest::prelude::*;

use super::continuity::left_by_python;
use super::dispatch::{run, writes};
use parca_k8s::charm::ENDPOINTS;

/// Every key that some relation is read for, on either side.
const KEYS: [&str; 35] = [
    "access-key",
    "alert_rules",
    "bucket",
    "certificate_signing_requests",
    "certificates",
    "cmr_data",
    "config",
    "dashboards",
    "endpoint",
    "external_host",
    "grafana_source_data",
    "labels",
    "mesh_type",
    "metadata",
    "parca_scrape_host",
    "parca_scrape_unit_address",
    "parca_scrape_unit_name",
    "policies",
    "prometheus_scrape_unit_address",
    "raw",
    "receivers",
    "region",
    "remote-store-address",
    "remote-store-bearer-token",
    "remote-store-insecure",
    "scheme",
    "scrape_jobs",
    "scrape_metadata",
    "secret-key",
    "slos",
    "static",
    "tls-ca-chain",
    "url",
    "uuid",
    "",
];

/// Keys that are looked for within values.
const INNER: [&str; 27] = [
    "app_name",
    "application",
    "ca",
    "certificate",
    "certificate_signing_request",
    "chain",
    "charm_name",
    "content",
    "groups",
    "http",
    "job_name",
    "juju_model_name",
    "labels",
    "model",
    "model_uuid",
    "name",
    "protocol",
    "revoked",
    "scheme",
    "static_configs",
    "targets",
    "templates",
    "tls_config",
    "type",
    "unit",
    "url",
    "uuid",
];

const WORDS: [&str; 16] = [
    "",
    "*:80",
    "*",
    "h:1",
    "otlp_grpc",
    "otlp_http",
    "https",
    "http://h:1/loki/api/v1/push",
    "grpc",
    "true",
    "aaf0b2a6-7a2e-4c2f-9a3b-5f5f3c0a1b2c",
    "istio",
    "-----BEGIN CERTIFICATE-----\nMIID\n-----END CERTIFICATE-----",
    "{{",
    "\u{0}",
    "parca-k8s",
];

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        prop::sample::select(WORDS.to_vec()).prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 30, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((prop::sample::select(INNER.to_vec()), inner), 0..6).prop_map(Json::object),
        ]
    })
}

fn any_text() -> impl Strategy<Value = String> {
    let pieces = ["[", "]", "{", "}", ":", ",", "\"", "null", "1e999", "\\ud800", "\n", "- ", "&a", "*a", "!!", "'"];
    prop_oneof![
        4 => any_json().prop_map(|json| json.dumps()),
        2 => any_json().prop_map(|json| juju::yaml::write(&json)),
        2 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned),
        1 => prop::collection::vec(prop::sample::select([&pieces[..], &INNER].concat()), 0..12).prop_map(|p| p.concat()),
        1 => any::<String>(),
    ]
}

/// Juju keeps neither an empty key nor an empty value.
fn any_bag() -> impl Strategy<Value = Bag> {
    let key = prop_oneof![9 => prop::sample::select(KEYS.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
    let bag = prop::collection::btree_map(key, any_text(), 0..6);
    bag.prop_map(|bag| bag.into_iter().filter(|(key, value)| !key.is_empty() && !value.is_empty()).collect())
}

/// Bags of one relation: theirs of application and unit, ours of application and unit.
type Bags = [Bag; 4];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_text_in_a_bag_of_any_endpoint_fails_a_hook_or_makes_it_write_twice(
        bags in prop::collection::vec([any_bag(), any_bag(), any_bag(), any_bag()], ENDPOINTS.len()),
        leader in any::<bool>(),
    ) {
        // its key is there already: to make one takes longer than all the rest
        let mut state = left_by_python();
        let known: Vec<_> = state.relations.values().map(|relation| relation.endpoint.clone()).collect();
        for ((endpoint, _), id) in ENDPOINTS.iter().zip(40..) {
            if !known.iter().any(|known| known == endpoint) {
                state = state.relation(id, endpoint, "other").remote_unit(id, "other/0", []);
            }
        }
        let mut bags: Vec<Bags> = bags;
        for relation in state.relations.values_mut().filter(|relation| relation.endpoint != "parca-peers") {
            let Some([app, unit, our_app, our_unit]) = bags.pop() else { break };
            relation.remote_app_data.extend(app);
            for bag in relation.remote_units.values_mut() {
                bag.extend(unit.clone());
            }
            relation.local_app.extend(our_app);
            relation.local_unit.extend(our_unit);
        }
        let first = run(state.leader(leader), Event::ConfigChanged);
        let second = run(first.state.clone(), Event::UpdateStatus);
        prop_assert!(writes(&second).is_empty(), "{:?}", writes(&second));
        prop_assert_eq!(second.state, first.state);
    }
}
