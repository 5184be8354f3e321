//! What `juju show-unit` prints, read.

use juju::RelationId;
use parca_scrape::unit_dump::{DumpError, UnitDump};
use parca_scrape::{ProfilingEndpointConsumer, fit};
use proptest::prelude::*;

use super::{bag, unit};

const SHOW_UNIT: &str = r#"
parca-k8s/0:
  opened-ports: []
  charm: ch:amd64/parca-k8s-400
  leader: true
  life: alive
  relation-info:
  - relation-id: 3
    endpoint: parca-peers
    related-endpoint: parca-peers
    application-data: {}
    local-unit:
      in-scope: true
      data:
        ingress-address: 10.1.2.3
  - relation-id: 7
    endpoint: profiling-endpoint
    related-endpoint: self-profiling-endpoint
    application-data:
      scrape_jobs: '[{"static_configs": [{"targets": ["*:4080"]}]}, {"static_configs": [{"targets": ["host"]}]}]'
      scrape_metadata: '{"model": "lens", "model_uuid": "aaf0b2a6-e006-41eb-ba80-0242ac130004",
        "application": "zinc", "unit": "zinc/0", "charm_name": "zinc-k8s"}'
    local-unit:
      in-scope: true
      data:
        ingress-address: 10.1.2.3
    related-units:
      zinc/0:
        in-scope: true
        data:
          egress-subnets: 10.1.2.9/32
          parca_scrape_unit_address: zinc-0.local
          parca_scrape_unit_name: zinc/0
      zinc/1:
        in-scope: true
        data:
          egress-subnets: 10.1.2.10/32
  - relation-id: 9
    endpoint: metrics-endpoint
    related-endpoint: metrics
    application-data: {}
    related-units:
      prometheus/0: {in-scope: true, data: {}}
  provider-id: parca-k8s-0
  address: 10.1.2.3
"#;

#[test]
fn the_relations_of_a_unit_are_read_as_the_charm_would() {
    let dump = UnitDump::parse(SHOW_UNIT, None).unwrap();
    let [relation] = dump.relations.as_slice() else { panic!("{dump:?}") };
    assert_eq!((relation.id, relation.key().as_str()), (RelationId(7), "profiling-endpoint:7"));
    assert_eq!(relation.units[&unit("zinc/1")], bag([("egress-subnets", "10.1.2.10/32")]));
    assert_eq!(
        dump.notes,
        ["relation profiling-endpoint:7 with zinc: zinc/1 tells no address, so `*` does not stand for it"]
    );
    let (jobs, defects) = ProfilingEndpointConsumer::standalone().read(&dump.relations);
    assert_eq!(
        juju::json::Json::from(fit(jobs)).dumps(),
        concat!(
            r#"[{"static_configs": [{"targets": ["zinc-0.local:4080"], "labels": {"juju_model": "lens", "#,
            r#""juju_model_uuid": "aaf0b2a6-e006-41eb-ba80-0242ac130004", "juju_application": "zinc", "#,
            r#""juju_charm": "zinc-k8s", "juju_unit": "zinc/0"}}], "job_name": "lens_aaf0b2a6_zinc", "#,
            r#""relabel_configs": [{"source_labels": ["juju_model", "juju_model_uuid", "juju_application", "juju_unit"], "#,
            r#""separator": "_", "target_label": "instance", "regex": "(.*)"}]}]"#,
        )
    );
    assert_eq!(defects.len(), 1);
}

#[test]
fn json_and_yaml_of_one_dump_are_the_same() {
    let json = juju::yaml::parse(SHOW_UNIT).unwrap().dumps();
    assert_eq!(UnitDump::parse(&json, None), UnitDump::parse(SHOW_UNIT, None));
}

#[test]
fn plain_bags_will_do() {
    let plain = r#"{"application-data": {"scrape_jobs": [{"job_name": "é😀"}]}, "related-units": {"a/0": {"parca_scrape_host": "h"}}}"#;
    for text in [plain.to_owned(), format!("[{plain}]"), juju::json::Json::parse(plain).unwrap().dumps()] {
        let dump = UnitDump::parse(&text, None).unwrap();
        assert_eq!(dump.relations[0].app_data["scrape_jobs"], "[{\"job_name\": \"\\u00e9\\ud83d\\ude00\"}]");
        assert_eq!(dump.relations[0].units[&unit("a/0")], bag([("parca_scrape_host", "h")]));
        assert_eq!(
            dump.notes,
            [
                "relation profiling-endpoint:1 with a: it tells no `scrape_metadata`, so its jobs get no labels and stay as they are"
            ]
        );
    }
}

#[test]
fn an_application_s_bag_alone_will_do_and_bags_of_units_beside_its_keys() {
    let bags =
        r#"{"scrape_jobs": "[{}]", "scrape_metadata": {"model": "m"}, "a/10": {"parca_scrape_unit_address": "h"}}"#;
    let dump = UnitDump::parse(bags, None).unwrap();
    assert_eq!(dump.relations[0].app_data, bag([("scrape_jobs", "[{}]"), ("scrape_metadata", r#"{"model": "m"}"#)]));
    assert_eq!(dump.relations[0].units[&unit("a/10")], bag([("parca_scrape_unit_address", "h")]));
    assert_eq!(dump.notes, [""; 0]);
    let alone = UnitDump::parse("scrape_jobs: '[{}]'", None).unwrap();
    assert_eq!(alone.notes[0], "relation profiling-endpoint:1: no unit has joined, so there is nothing to scrape");
}

#[test]
fn what_is_missing_is_told() {
    let told = |text: &str| UnitDump::parse(text, None).map(|dump| dump.notes).map_err(|error| error.to_string());
    assert_eq!(
        told("parca/0: {relation-info: [{relation-id: 1, endpoint: profiling-endpoint, application-data: {}}]}")
            .unwrap(),
        [
            "relation profiling-endpoint:1: no unit has joined, so there is nothing to scrape",
            "relation profiling-endpoint:1: its leader has told no `scrape_jobs`",
        ]
    );
    let provider = "zinc/0: {relation-info: [{relation-id: 1, endpoint: profiling, application-data: {}, \
                    local-unit: {data: {parca_scrape_unit_address: h}}, related-units: {parca/0: {data: {}}}}]}";
    assert_eq!(
        told(provider).unwrap(),
        ["relation profiling:1 with parca: this unit is the provider; show a unit of the application that scrapes"]
    );
    assert_eq!(told("a: [").unwrap_err().split(':').next(), Some("it is neither YAML nor JSON"));
    for text in ["", "5", "a: b", "parca/0: {charm: x}"] {
        assert_eq!(UnitDump::parse(text, None), Err(DumpError::NotADump), "{text}");
    }
    for (text, what) in [
        ("parca/0: {relation-info: 5}", "relation-info of parca/0 is a number, not a list"),
        ("application-data: 5", "application-data is a number, not an object"),
        ("{application-data: {}, related-units: 5}", "related-units is a number, not an object"),
        ("{application-data: {}, related-units: {a/0: 5}}", "a/0 is a number, not an object"),
        ("{application-data: {}, related-units: {a: {}}}", "\"a\" is not the name of a unit, such as app/0"),
    ] {
        assert_eq!(told(text).unwrap_err(), what);
    }
}

#[test]
fn an_endpoint_can_be_named() {
    let dump = UnitDump::parse(SHOW_UNIT, Some("metrics-endpoint")).unwrap();
    assert_eq!(dump.relations[0].id, RelationId(9));
    let error = UnitDump::parse(SHOW_UNIT, Some("other")).unwrap_err().to_string();
    assert_eq!(
        error,
        "no relation of the endpoint other; there are relations of parca-peers, profiling-endpoint, metrics-endpoint"
    );
}

proptest! {
    #[test]
    fn no_text_panics_and_what_is_refused_is_told(
        text in "[a-c/0:{}\\[\\],\" \n-]{0,30}",
        key in "application-data|related-units|endpoint|relation-id",
        value in super::properties::any_json(),
    ) {
        if let Err(refused) = UnitDump::parse(&text, None) {
            prop_assert!(!refused.to_string().is_empty());
        }
        let info = juju::json::Json::object([("application-data", juju::json::Json::Null), (key.as_str(), value)]);
        if let Ok(dump) = UnitDump::parse(&info.dumps(), None) {
            ProfilingEndpointConsumer::standalone().read(&dump.relations);
        }
    }
}
