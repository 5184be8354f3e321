//! The provider: who writes what when, and what may go wrong in making one.

use juju::event::{PebbleEvent, PebbleEventKind};
use juju::{Event, ModelInfo, Relation, RelationId};
use parca_scrape::{CharmMetadata, ConstructorError, ProfilingEndpointConsumer, ProfilingEndpointProvider};

use super::{UUID, charm, jobs, model, unit};

fn provider(charm: &CharmMetadata, scrape_jobs: &str) -> ProfilingEndpointProvider {
    let jobs = jobs(scrape_jobs);
    ProfilingEndpointProvider::new(charm, "profiles", &model(), &unit("zinc/0"), "zinc-0.local", &jobs).unwrap()
}

fn scrape_jobs(provider: &ProfilingEndpointProvider) -> String {
    provider.app_bag()["scrape_jobs"].clone()
}

#[test]
fn jobs_carry_allowed_keys_alone_and_static_configs_first() {
    let told = r#"[{"job_name": "j", "metrics_path": "/m", "params": {}, "relabel_configs": [], "scheme": "https"}]"#;
    let made = provider(&charm(), told);
    assert_eq!(
        scrape_jobs(&made),
        r#"[{"static_configs": [{"targets": ["*:80"]}], "job_name": "j", "scheme": "https"}]"#
    );
    let older = made.with_allowed_keys(parca_scrape::ALLOWED_KEYS_1);
    assert_eq!(scrape_jobs(&older), r#"[{"static_configs": [{"targets": ["*:80"]}], "job_name": "j"}]"#);
}

#[test]
fn no_jobs_are_the_default_job_also_after_an_update() {
    let mut made = provider(&charm(), "[]");
    let default = r#"[{"static_configs": [{"targets": ["*:80"]}]}]"#;
    assert_eq!(scrape_jobs(&made), default);
    made.update_scrape_job_spec(&jobs(r#"[{"static_configs": [{"targets": ["*:1"]}]}]"#));
    assert_eq!(scrape_jobs(&made), r#"[{"static_configs": [{"targets": ["*:1"]}]}]"#);
    made.update_scrape_job_spec(&[]);
    assert_eq!(scrape_jobs(&made), default);
}

#[test]
fn only_a_leader_writes_the_applications_bag() {
    let relations = [Relation::new(3, "profiles", "parca"), Relation::new(4, "profiles", "other")];
    let made = provider(&charm(), "[]");
    for leader in [true, false] {
        let bags = made.set_scrape_job_spec(leader, &relations);
        assert_eq!(bags.keys().copied().collect::<Vec<_>>(), [RelationId(3), RelationId(4)]);
        for written in bags.values() {
            assert_eq!(written.endpoint, "profiles");
            assert_eq!(written.unit["parca_scrape_unit_address"], "zinc-0.local");
            assert_eq!(written.app.is_empty(), !leader);
        }
    }
}

#[test]
fn the_default_refresh_is_the_ready_pebble_of_the_only_container() {
    let ready =
        |container: &str| Event::Pebble(PebbleEvent { container: container.to_owned(), kind: PebbleEventKind::Ready });
    let relations = [Relation::new(3, "profiles", "parca")];
    let writes = |containers: &[&str], series: &[&str], event: &Event| {
        let containers = containers.iter().map(|&name| name.to_owned()).collect();
        let series = series.iter().map(|&name| name.to_owned()).collect();
        let bags = provider(&CharmMetadata { containers, series, ..charm() }, "[]").bags(event, true, &relations);
        assert!(bags.values().all(|written| written.app.is_empty()), "a refresh writes the unit's bag alone");
        !bags.is_empty()
    };
    for (containers, series, by_ready) in [
        (&["a"][..], &[][..], true),
        (&["a"], &["focal"], true),
        (&["a"], &["kubernetes"], false),
        (&[], &[], false),
        (&["a", "b"], &[], false),
    ] {
        assert_eq!(writes(containers, series, &ready("a")), by_ready, "{containers:?} {series:?}");
        assert_eq!(writes(containers, series, &Event::UpdateStatus), !by_ready, "{containers:?} {series:?}");
        assert!(!writes(containers, series, &ready("b")));
    }
}

#[test]
fn it_is_ready_with_a_relation_whose_application_is_known() {
    let made = provider(&charm(), "[]");
    let known = Relation::new(3, "profiles", "parca");
    let unknown = Relation { app: None, ..known.clone() };
    assert!(!made.is_ready(&[]));
    assert!(made.is_ready([&known]));
    assert!(!made.is_ready([&known, &unknown]));
}

#[test]
fn an_endpoint_that_is_not_there_is_of_another_interface_or_on_the_other_side_is_told() {
    let peers = [("cluster".to_owned(), "parca_scrape".to_owned())].into();
    let mut charm = CharmMetadata { peers, ..charm() };
    charm.provides.insert("website".to_owned(), "http".to_owned());
    charm.requires.insert("db".to_owned(), "pg".to_owned());
    let error_of = |consumer: bool, name: &str| {
        let made = if consumer {
            ProfilingEndpointConsumer::new(&charm, name).map(drop)
        } else {
            ProfilingEndpointProvider::new(&charm, name, &model(), &unit("zinc/0"), "h", &[]).map(drop)
        };
        let error = made.unwrap_err();
        let kind = match &error {
            ConstructorError::RelationNotFound(_) => "not found",
            ConstructorError::RelationInterfaceMismatch(_) => "interface",
            ConstructorError::RelationRoleMismatch(_) => "role",
            ConstructorError::InvalidUuid(_) => "uuid",
        };
        (kind, error.to_string())
    };
    let interface =
        |name, of| format!("The '{name}' relation has '{of}' as interface rather than the expected 'parca_scrape'");
    let role = |name, is, wanted| format!("The '{name}' relation has role '{is}' rather than the expected '{wanted}'");
    for consumer in [false, true] {
        for (name, kind, words) in [
            ("none", "not found", "No relation named 'none' found".to_owned()),
            ("", "not found", "No relation named '' found".to_owned()),
            // the interface is looked at first
            ("website", "interface", interface("website", "http")),
            ("db", "interface", interface("db", "pg")),
            ("cluster", "role", role("cluster", "peers", if consumer { "requires" } else { "provides" })),
        ] {
            assert_eq!(error_of(consumer, name), (kind, words), "{name:?}");
        }
    }
    assert_eq!(error_of(false, "profiling-endpoint"), ("role", role("profiling-endpoint", "requires", "provides")));
    assert_eq!(error_of(true, "profiles"), ("role", role("profiles", "provides", "requires")));
}

#[test]
fn a_model_without_a_valid_uuid_has_no_provider() {
    let model = ModelInfo { name: "m".to_owned(), uuid: UUID.to_uppercase() };
    let made = ProfilingEndpointProvider::new(&charm(), "profiles", &model, &unit("zinc/0"), "h", &[]);
    assert_eq!(made.unwrap_err().to_string(), format!("'{}' is not a valid UUID.", UUID.to_uppercase()));
}
