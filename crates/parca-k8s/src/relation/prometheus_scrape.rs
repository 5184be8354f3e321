//! `metrics-endpoint` (`prometheus_scrape`): Prometheus scrapes Decima's metrics.
//!
//! The Python charm has a second job, for nginx's exporter on port 9113; there is no nginx here.

use juju::json::Json;
use juju::model::{Bag, Relation};

use super::{bag, current, json_text};
use crate::identity::{HTTP_PORT, Identity};

/// How Decima's own port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme<'a> {
    Http,
    /// With the authority's certificate in PEM, which goes inline where the relation says `ca_file`.
    Https {
        ca: &'a str,
    },
}

/// Our unit's bag, written by every unit. `external`: the ingress's host, where there is one.
pub fn unit_bag(identity: &Identity, external: Option<&str>) -> Bag {
    bag([
        ("prometheus_scrape_unit_address", external.unwrap_or(&identity.fqdn).to_owned()),
        ("prometheus_scrape_unit_name", identity.unit.to_string()),
        // revisions of the Python charm up to 335 wrote the path of their ingress
        ("prometheus_scrape_unit_path", String::new()),
    ])
}

/// Our application's bag: who we are, one job, and alerts about a target that does not answer.
pub fn app_bag(relation: &Relation, identity: &Identity, scheme: Scheme<'_>) -> Bag {
    let text = |key: &'static str, value: Json| (key, json_text(current(relation.local_app.as_ref(), key), &value));
    bag([
        text("scrape_metadata", identity.metadata()),
        text("scrape_jobs", jobs(&identity.fqdn, scheme)),
        text("alert_rules", alert_rules(identity)),
    ])
}

fn jobs(fqdn: &str, scheme: Scheme<'_>) -> Json {
    let targets = Json::object([("targets", Json::from([format!("{fqdn}:{HTTP_PORT}")]))]);
    let mut job = vec![("metrics_path", Json::from("/metrics")), ("static_configs", Json::from([targets]))];
    if let Scheme::Https { ca } = scheme {
        job.push(("scheme", Json::from("https")));
        job.push(("tls_config", Json::object([("ca_file", Json::from(ca))])));
    }
    Json::from([Json::object(job)])
}

/// The alerts that every charm of the observability stack has, with our labels.
fn alert_rules(identity: &Identity) -> Json {
    let rule = |name: &str, expr: &str, severity: &str, summary: &str, description: &str| {
        let topology = ["juju_model", "juju_model_uuid", "juju_application", "juju_charm"];
        let own = identity.labels();
        let topology = topology.map(|label| (label, Json::from(own[label].as_str())));
        let severity = ("severity", Json::from(severity));
        Json::object([
            ("alert", Json::from(name)),
            ("expr", Json::from(expr)),
            ("for", Json::from("5m")),
            ("labels", Json::object([severity].into_iter().chain(topology))),
            ("annotations", Json::object([("summary", Json::from(summary)), ("description", Json::from(description))])),
        ])
    };
    let rules = [
        rule(
            "HostDown",
            "up < 1",
            "critical",
            "Host '{{ $labels.instance }}' is down.",
            "Juju application '{{ $labels.juju_application }}' in model '{{ $labels.juju_model }}' is down. Prometheus has been unable to scrape it during at least the past five minutes.",
        ),
        rule(
            "HostMetricsMissing",
            "absent(up)",
            "warning",
            "Unit '{{ $labels.juju_unit }}' of application '{{ $labels.juju_application }}' is down or failing to remote write.",
            "`Up` missing for unit '{{ $labels.juju_unit }}' of application {{ $labels.juju_application }} in model {{ $labels.juju_model }}. Please ensure the unit or the collector scraping it is up and is able to successfully reach the metrics backend.",
        ),
    ];
    let name = format!("{}_HostHealth_rules", identity.identifier()).replace('-', "_");
    let group = Json::object([("name", Json::from(name)), ("rules", Json::from(rules))]);
    Json::object([("groups", Json::from([group]))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn relation() -> Relation {
        Relation::new(5, "metrics-endpoint", "prometheus")
    }

    /// The recorded jobs without that of nginx's exporter.
    fn without_exporter(jobs: &Json) -> Json {
        let is_exporter = |job: &&Json| job.dumps().contains(":9113");
        Json::Array(jobs.as_array().unwrap().iter().filter(|job| !is_exporter(job)).cloned().collect())
    }

    #[test]
    fn vectors_of_metrics_are_the_recorded_bags_without_nginxs_exporter() {
        let recording = Recording::open("metrics-endpoint");
        let (ours, mut theirs) =
            (app_bag(&relation(), &recorded(), Scheme::Http), recording.bag(0, "5", "app").unwrap());
        let jobs = without_exporter(&Json::parse(&theirs["scrape_jobs"]).unwrap());
        theirs.insert("scrape_jobs".to_owned(), jobs.dumps());
        assert_eq!(ours, theirs);
        let unit = |external| {
            let mut bag = unit_bag(&recorded(), external);
            // empty is absent
            bag.retain(|_, value| !value.is_empty());
            Some(bag)
        };
        assert_eq!(unit(None), recording.bag(0, "5", "unit"));
        let recording = Recording::open("ingress-flow");
        assert_eq!(unit(Some("profiles.example.com")), recording.bag(2, "5", "unit"));
    }

    #[test]
    fn vectors_of_metrics_over_tls_have_scheme_and_authority() {
        let recording = Recording::open("tls-flow");
        let recorded_jobs = recording.at(3, &["relations", "5", "app", "scrape_jobs", "json"]).unwrap();
        let ours = jobs(&recorded().fqdn, Scheme::Https { ca: "<<certificate of test-ca>>" });
        assert_eq!(ours.dumps(), without_exporter(recorded_jobs).dumps());
    }

    #[test]
    fn bags_that_mean_the_same_are_left_alone() {
        let mut relation = relation();
        let wished = app_bag(&relation, &recorded(), Scheme::Http);
        let spaced: Bag = wished.iter().map(|(key, text)| (key.clone(), format!(" {text} "))).collect();
        relation.local_app = Some(spaced.clone());
        assert_eq!(app_bag(&relation, &recorded(), Scheme::Http), spaced);
    }
}
