//! The crate from outside: what the Python library was recorded to do, edge cases, and properties.

mod consumer;
mod properties;
mod provider;
mod scrape_target;
mod unit_dump;
mod vectors;

use juju::json::{Json, Object};
use juju::{Bag, ModelInfo, Relation, UnitName};
use parca_scrape::CharmMetadata;

const UUID: &str = "aaf0b2a6-e006-41eb-ba80-0242ac130004";

fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The jobs of a JSON list.
fn jobs(text: &str) -> Vec<Object> {
    let json = json(text);
    json.as_array().expect("a list").iter().map(|job| job.as_object().expect("a job").clone()).collect()
}

fn bag<const N: usize>(keys: [(&str, &str); N]) -> Bag {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn unit(name: &str) -> UnitName {
    name.parse().expect("a unit's name")
}

fn model() -> ModelInfo {
    ModelInfo { name: "lens".to_owned(), uuid: UUID.to_owned() }
}

/// A charm that provides and consumes.
fn charm() -> CharmMetadata {
    CharmMetadata {
        name: "zinc-k8s".to_owned(),
        provides: [("profiles".to_owned(), "parca_scrape".to_owned())].into(),
        requires: [("profiling-endpoint".to_owned(), "parca_scrape".to_owned())].into(),
        ..CharmMetadata::default()
    }
}

fn metadata(app: &str) -> String {
    format!(
        r#"{{"model": "lens", "model_uuid": "{UUID}", "application": "{app}", "unit": "{app}/0", "charm_name": "c"}}"#
    )
}

/// A relation with `zinc`, whose units have the addresses 10.0.0.NUMBER.
fn zinc(scrape_jobs: &str, units: &[u32]) -> Relation {
    let mut relation = Relation::new(1, "profiling-endpoint", "zinc");
    relation.app_data = bag([("scrape_jobs", scrape_jobs), ("scrape_metadata", &metadata("zinc"))]);
    for number in units {
        let told = bag([
            ("parca_scrape_unit_address", &format!("10.0.0.{number}")),
            ("parca_scrape_unit_name", &format!("zinc/{number}")),
        ]);
        relation.units.insert(unit(&format!("zinc/{number}")), told);
    }
    relation
}
