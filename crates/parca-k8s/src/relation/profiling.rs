//! `profiling-endpoint` and `self-profiling-endpoint` (`parca_scrape`): what we scrape, and who scrapes us.

use juju::json::{Json, Object};
use juju::model::{Bag, Relation};
use parca_scrape::{ALLOWED_KEYS, ProfilingEndpointConsumer};

use super::{bag, current, json_text};
use crate::identity::{HTTP_PORT, Identity};

/// The jobs that the relations ask for, with names that parca.yaml takes.
pub fn jobs<'a>(relations: impl IntoIterator<Item = &'a Relation>) -> Vec<Object> {
    let jobs = ProfilingEndpointConsumer::standalone().jobs(relations);
    parca_scrape::fit(jobs)
}

/// Our own profiles, for when nobody else scrapes them. Its labels are those of the Python charm: `juju_charm_name`.
pub fn own_job(identity: &Identity, ca: Option<&str>) -> Object {
    let labels = Json::object([
        ("juju_model", Json::from(identity.model.name.as_str())),
        ("juju_model_uuid", Json::from(identity.model.uuid.as_str())),
        ("juju_application", Json::from(identity.app())),
        ("juju_unit", Json::from(identity.unit.to_string())),
        ("juju_charm_name", Json::from(crate::identity::CHARM)),
    ]);
    let instance = Json::object([
        ("source_labels", Json::from(["juju_model", "juju_model_uuid", "juju_application", "juju_unit"])),
        ("separator", Json::from("_")),
        ("target_label", Json::from("instance")),
        ("regex", Json::from("(.*)")),
    ]);
    let targets = Json::from([format!("{}:{HTTP_PORT}", identity.fqdn)]);
    let static_configs = Json::from([Json::object([("targets", targets), ("labels", labels)])]);
    let mut job = Object::new();
    job.insert("job_name".to_owned(), Json::from("parca"));
    job.insert("relabel_configs".to_owned(), Json::from([instance]));
    job.insert("static_configs".to_owned(), static_configs);
    job.extend(https(ca));
    job
}

/// Our application's bag on `self-profiling-endpoint`: who we are, and one job.
pub fn app_bag(relation: &Relation, identity: &Identity, ca: Option<&str>) -> Bag {
    let target = Json::object([("targets", Json::from([format!("*:{HTTP_PORT}")]))]);
    let mut job = Object::new();
    job.insert("static_configs".to_owned(), Json::from([target]));
    job.extend(https(ca));
    debug_assert!(job.keys().all(|key| ALLOWED_KEYS.contains(&key.as_str())));
    let text = |key: &'static str, value: Json| (key, json_text(current(relation.local_app.as_ref(), key), &value));
    bag([text("scrape_metadata", identity.metadata()), text("scrape_jobs", Json::from(vec![job]))])
}

/// Our unit's bag on `self-profiling-endpoint`.
pub fn unit_bag(identity: &Identity) -> Bag {
    bag([("parca_scrape_unit_address", identity.fqdn.clone()), ("parca_scrape_unit_name", identity.unit.to_string())])
}

fn https(ca: Option<&str>) -> Vec<(String, Json)> {
    let Some(ca) = ca else { return Vec::new() };
    vec![("scheme".to_owned(), Json::from("https")), ("tls_config".to_owned(), Json::object([("ca", Json::from(ca))]))]
}

#[cfg(test)]
mod tests {
    use parca_scrape::{CharmMetadata, ProfilingEndpointProvider};

    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn relation() -> Relation {
        Relation::new(6, "self-profiling-endpoint", "parca-far")
    }

    #[test]
    fn vectors_of_self_profiling_are_the_recorded_bags() {
        let recording = Recording::open("self-profiling-leader");
        assert_eq!(Some(app_bag(&relation(), &recorded(), None)), recording.bag(1, "6", "app"));
        assert_eq!(Some(unit_bag(&recorded())), recording.bag(1, "6", "unit"));
        let recording = Recording::open("tls-flow");
        let jobs = recording.at(3, &["relations", "6", "app", "scrape_jobs", "json"]).map(Json::dumps);
        let ours = app_bag(&relation(), &recorded(), Some("<<certificate of test-ca>>"));
        assert_eq!(Some(&ours["scrape_jobs"]), jobs.as_ref());
    }

    #[test]
    fn bags_are_those_of_the_librarys_provider() {
        let charm = CharmMetadata {
            name: crate::identity::CHARM.to_owned(),
            provides: [("self-profiling-endpoint".to_owned(), "parca_scrape".to_owned())].into(),
            ..CharmMetadata::default()
        };
        let identity = recorded();
        let jobs = Json::parse(r#"[{"static_configs": [{"targets": ["*:7994"]}]}]"#).unwrap();
        let jobs = [jobs.as_array().unwrap()[0].as_object().unwrap().clone()];
        let (model, unit) = (&identity.model, &identity.unit);
        let provider =
            ProfilingEndpointProvider::new(&charm, "self-profiling-endpoint", model, unit, &identity.fqdn, &jobs);
        let provider = provider.unwrap();
        assert_eq!(provider.app_bag(), app_bag(&relation(), &identity, None));
        assert_eq!(provider.unit_bag(), unit_bag(&identity));
    }

    #[test]
    fn a_bag_that_means_the_same_is_left_alone() {
        let mut relation = relation();
        let spaced: Bag =
            app_bag(&relation, &recorded(), None).into_iter().map(|(key, text)| (key, format!(" {text}"))).collect();
        relation.local_app = Some(spaced.clone());
        assert_eq!(app_bag(&relation, &recorded(), None), spaced);
    }
}
