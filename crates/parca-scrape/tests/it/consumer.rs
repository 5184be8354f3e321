//! Edges of the consumer: each row of what the Python library was seen to do at them, and what is better here.

use juju::event::{RelationEvent, RelationEventKind};
use juju::{Event, Relation, RelationId};
use parca_scrape::{ProfilingEndpointConsumer, TargetsChanged};

use super::{UUID, bag, charm, jobs, json, metadata, unit, zinc};

/// Targets and the `juju_unit` label of each static config, job by job, and what is told.
fn read(relations: &[Relation]) -> (Vec<String>, Vec<String>) {
    let (jobs, defects) = ProfilingEndpointConsumer::standalone().read(relations);
    let mut seen = Vec::new();
    for job in &jobs {
        let configs = job.get("static_configs").and_then(|c| c.as_array()).unwrap_or_default();
        let config = |config: &juju::json::Json| {
            let of = config.get("labels").and_then(|l| l.get("juju_unit")).and_then(|u| u.as_str()).unwrap_or("-");
            let targets = config.get("targets").and_then(|t| t.as_array()).unwrap_or_default();
            let targets: Vec<&str> = targets.iter().filter_map(|t| t.as_str()).collect();
            format!("{of}={}", targets.join(","))
        };
        seen.push(configs.iter().map(config).collect::<Vec<_>>().join(" "));
    }
    (seen, defects.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn check(scrape_jobs: &str, units: &[u32], expected: &[&str], told: &[&str]) {
    let (seen, defects) = read(&[zinc(scrape_jobs, units)]);
    assert_eq!(seen, expected, "{scrape_jobs}");
    let told: Vec<String> = told.iter().map(|what| format!("relation profiling-endpoint:1 with zinc{what}")).collect();
    assert_eq!(defects, told, "{scrape_jobs}");
}

#[test]
fn a_target_that_is_not_host_and_port_is_passed_over_and_told() {
    for target in [r#""host""#, r#""[::1]:80""#, r#""http://h:80""#, r#""*""#, "80", "null"] {
        let told = format!(": target {target} of job lens_aaf0b2a6_zinc is passed over: it is not host:port");
        check(
            &format!(r#"[{{"static_configs": [{{"targets": [{target}, "*:80"]}}, {{"targets": [{target}]}}]}}]"#),
            &[0],
            &["zinc/0=10.0.0.0:80"],
            &[&told, &told],
        );
        check(&format!(r#"[{{"static_configs": [{{"targets": [{target}]}}]}}]"#), &[0], &[], &[&told]);
    }
}

#[test]
fn fixed_targets_alone_give_each_unit_its_bare_address_too() {
    check(
        r#"[{"static_configs": [{"targets": ["h:80"]}]}]"#,
        &[0, 1],
        &["-=h:80 zinc/0=10.0.0.0 zinc/1=10.0.0.1"],
        &[],
    );
    check(
        r#"[{"static_configs": [{"targets": ["*:1"]}, {"targets": ["h:2"]}]}]"#,
        &[0],
        &["zinc/0=10.0.0.0:1 -=h:2 zinc/0=10.0.0.0"],
        &[],
    );
}

#[test]
fn a_static_config_without_targets_gives_each_unit_its_bare_address() {
    for config in ["{}", r#"{"targets": []}"#, r#"{"targets": {}}"#, r#"{"targets": ""}"#] {
        check(&format!(r#"[{{"static_configs": [{config}]}}]"#), &[3], &["zinc/3=10.0.0.3"], &[]);
    }
}

#[test]
fn a_wildcard_without_hosts_gives_a_job_without_targets() {
    let mut relation = zinc(r#"[{"static_configs": [{"targets": ["*:80"]}]}]"#, &[0]);
    relation.units.insert(unit("zinc/0"), bag([("parca_scrape_unit_name", "zinc/0")]));
    let (jobs, defects) = ProfilingEndpointConsumer::standalone().read([&relation]);
    assert!(defects.is_empty());
    assert_eq!(jobs[0]["static_configs"], json("[]"));
    assert_eq!(
        jobs[0]["relabel_configs"].as_array().map(|rules| rules[0].get("source_labels").cloned()),
        Some(Some(json(r#"["juju_model", "juju_model_uuid", "juju_application"]"#)))
    );
}

#[test]
fn missing_static_configs_are_the_default_ones_and_empty_ones_stay_empty() {
    check(r#"[{}]"#, &[0], &["zinc/0=10.0.0.0:80"], &[]);
    for empty in ["[]", "{}", r#""""#] {
        check(&format!(r#"[{{"static_configs": {empty}}}]"#), &[0], &[""], &[]);
    }
}

#[test]
fn a_relation_of_broken_data_is_passed_over_whole() {
    for (scrape_jobs, why) in [
        ("[{", "`scrape_jobs` is no JSON: EOF while parsing an object at line 1 column 2"),
        (r#"{"job_name": "x"}"#, "`scrape_jobs` is an object, not a list"),
        ("5", "`scrape_jobs` is a number, not a list"),
        (r#"[{}, 5]"#, "`scrape_jobs` holds a number, not an object"),
        (r#"[{}, {"static_configs": null}]"#, "`static_configs` is null, not a list"),
        (r#"[{"static_configs": 5}]"#, "`static_configs` is a number, not a list"),
        (r#"[{"static_configs": [5]}]"#, "`static_configs` holds a number, not an object"),
        (r#"[{"static_configs": [{"targets": null}]}]"#, "`targets` is null, not a list"),
        (r#"[{"static_configs": [{"targets": "*:80"}]}]"#, "`targets` is a string, not a list"),
        (r#"[{"static_configs": [{"targets": ["*:80"], "labels": null}]}]"#, "`labels` is null, not an object"),
        (r#"[{"static_configs": [{"targets": ["h:80"], "labels": []}]}]"#, "`labels` is a list, not an object"),
        (r#"[{"job_name": ["x"]}]"#, "`job_name` is a list, not a string"),
    ] {
        check(scrape_jobs, &[0], &[], &[&format!(" is passed over: {why}")]);
    }
}

#[test]
fn labels_matter_only_where_they_are_used() {
    let mut relation = zinc(r#"[{"static_configs": [{"targets": ["*:80"], "labels": null}]}]"#, &[0]);
    relation.units.insert(unit("zinc/0"), bag([]));
    assert_eq!(read(&[relation]), (vec![String::new()], vec![]));
}

#[test]
fn broken_metadata_costs_its_relation_and_no_other() {
    let without_application = format!(r#"{{"model": "m", "model_uuid": "{UUID}"}}"#);
    for (told, why) in [
        ("{", "`scrape_metadata` is no JSON: EOF while parsing an object at line 1 column 1"),
        ("[1]", "`scrape_metadata`: it is a list, not an object"),
        (r#"{"model": "m"}"#, "`scrape_metadata`: it has no `model_uuid`"),
        (&*without_application, "`scrape_metadata`: it has no `application`"),
        (
            r#"{"model": "m", "model_uuid": "M", "application": "a"}"#,
            "`scrape_metadata`: its `model_uuid` 'M' is not a valid UUID.",
        ),
    ] {
        let mut broken = zinc("[{}]", &[0]);
        broken.id = RelationId(9);
        broken.app_data.insert("scrape_metadata".to_owned(), told.to_owned());
        let (seen, defects) = read(&[broken, zinc("[{}]", &[0])]);
        assert_eq!(seen, ["zinc/0=10.0.0.0:80"]);
        assert_eq!(defects, [format!("relation profiling-endpoint:9 with zinc is passed over: {why}")]);
    }
}

#[test]
fn what_is_empty_gives_no_jobs_and_without_metadata_jobs_stay_as_they_are() {
    for empty in ["", "null", "{}", "[]", "\"\"", "0", "false"] {
        check(empty, &[0], &[], &[]);
    }
    let given = r#"[{"metrics_path": "/x", "static_configs": [{"targets": ["*"]}]}]"#;
    for empty in ["", "null", "{}", "[]"] {
        let mut relation = zinc(given, &[0]);
        relation.app_data.insert("scrape_metadata".to_owned(), empty.to_owned());
        assert_eq!(ProfilingEndpointConsumer::standalone().read([&relation]), (jobs(given), vec![]), "{empty:?}");
    }
    check("[{}]", &[], &[], &[]);
}

#[test]
fn hosts_are_sorted_by_name_with_numbers_as_numbers() {
    check("[{}]", &[10, 9, 2], &["zinc/2=10.0.0.2:80 zinc/9=10.0.0.9:80 zinc/10=10.0.0.10:80"], &[]);
}

#[test]
fn of_two_units_that_claim_one_name_the_higher_number_wins() {
    let mut relation = zinc("[{}]", &[2, 10]);
    for told in relation.units.values_mut() {
        told.insert("parca_scrape_unit_name".to_owned(), "zinc/0".to_owned());
    }
    let (seen, defects) = read(&[relation]);
    assert_eq!(seen, ["zinc/0=10.0.0.10:80"]);
    assert_eq!(
        defects,
        ["relation profiling-endpoint:1 with zinc: unit zinc/2 is passed over: \
          it calls itself zinc/0, and so does zinc/10"]
    );
}

#[test]
fn older_providers_tell_a_host_and_no_name() {
    let mut relation = zinc("[{}]", &[]);
    relation.units.insert(unit("zinc/0"), bag([("parca_scrape_host", "old")]));
    relation.units.insert(unit("zinc/1"), bag([("parca_scrape_host", "old"), ("parca_scrape_unit_address", "new")]));
    assert_eq!(read(&[relation]).0, ["zinc/0=old:80 zinc/1=new:80"]);
}

#[test]
fn a_unit_label_of_the_provider_stays_where_no_unit_is_meant() {
    check(
        r#"[{"static_configs": [{"targets": ["h:1", "*:2"], "labels": {"juju_unit": "mine"}}]}]"#,
        &[0],
        &["mine=h:1 zinc/0=10.0.0.0:2"],
        &[],
    );
}

#[test]
fn the_name_of_a_job_follows_its_topology() {
    for (told, name) in [
        (r#"{}"#, "lens_aaf0b2a6_zinc"),
        (r#"{"job_name": ""}"#, "lens_aaf0b2a6_zinc"),
        (r#"{"job_name": null}"#, "lens_aaf0b2a6_zinc"),
        (r#"{"job_name": "a/b"}"#, "lens_aaf0b2a6_zinc_a/b"),
        (r#"{"job_name": 5}"#, "lens_aaf0b2a6_zinc_5"),
    ] {
        let jobs = ProfilingEndpointConsumer::standalone().jobs([&zinc(&format!("[{told}]"), &[0])]);
        assert_eq!(jobs[0]["job_name"], juju::json::Json::from(name));
    }
}

#[test]
fn a_relation_that_is_being_broken_has_no_jobs() {
    let mut relation = zinc("[{}]", &[0]);
    relation.broken = true;
    assert_eq!(read(&[relation]), (vec![], vec![]));
}

#[test]
fn relations_keep_their_order_and_names_may_repeat() {
    let mut second = zinc("[{}, {}]", &[0]);
    second.id = RelationId(2);
    second.app_data.insert("scrape_metadata".to_owned(), metadata("other"));
    let jobs = ProfilingEndpointConsumer::standalone().jobs(&[second, zinc("[{}]", &[0])]);
    let names: Vec<_> = jobs.iter().filter_map(|job| job["job_name"].as_str()).collect();
    assert_eq!(names, ["lens_aaf0b2a6_other", "lens_aaf0b2a6_other", "lens_aaf0b2a6_zinc"]);
}

#[test]
fn targets_change_on_changed_and_departed_of_our_endpoint() {
    use RelationEventKind::{Broken, Changed, Created, Departed, Joined};
    let consumer = ProfilingEndpointConsumer::new(&charm(), "profiling-endpoint").unwrap();
    let event = |kind, endpoint: &str| {
        let endpoint = endpoint.to_owned();
        Event::Relation(RelationEvent { kind, endpoint, id: RelationId(7), app: None, unit: None, departing: None })
    };
    for (kind, changes) in [(Created, false), (Joined, false), (Changed, true), (Departed, true), (Broken, false)] {
        let expected = changes.then_some(TargetsChanged { relation_id: RelationId(7) });
        assert_eq!(consumer.targets_changed(&event(kind, "profiling-endpoint")), expected, "{kind:?}");
        assert_eq!(consumer.targets_changed(&event(kind, "other")), None);
    }
    assert_eq!(consumer.targets_changed(&Event::ConfigChanged), None);
}
