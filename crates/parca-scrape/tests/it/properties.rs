//! What holds for any jobs, and for any bytes in a bag.

use juju::event::{RelationEvent, RelationEventKind};
use juju::json::{Json, Object};
use juju::{Event, ModelInfo, Relation, RelationId};
use parca_scrape::{DEFAULT_JOB, ProfilingEndpointConsumer, ProfilingEndpointProvider};
use proptest::prelude::*;

use super::{UUID, charm, json, unit};

/// A target with its port; `None` for a host: a wildcard.
#[derive(Clone, Debug)]
struct Target {
    host: Option<String>,
    port: u16,
}

#[derive(Clone, Debug)]
struct Job {
    name: Option<String>,
    scheme: Option<&'static str>,
    configs: Vec<StaticConfig>,
    /// Other keys that pass as they are.
    passed: Vec<(&'static str, Json)>,
}

/// Targets and labels.
type StaticConfig = (Vec<Target>, Vec<(String, String)>);

fn any_job() -> impl Strategy<Value = Job> {
    let target = (prop::option::of("[a-z]{1,5}"), any::<u16>()).prop_map(|(host, port)| Target { host, port });
    let labels = prop::collection::vec(("team|juju_unit|juju_model|zone", "[a-zé\"\\\\ ]{0,4}"), 0..3);
    let config = (prop::collection::vec(target, 1..4), labels);
    let scheme = prop::option::of(prop::sample::select(vec!["http", "https"]));
    let keys = ["scrape_interval", "scrape_timeout", "profiling_config", "tls_config"];
    let passed = prop::collection::vec((prop::sample::select(keys.to_vec()), any_json()), 0..3);
    (prop::option::of("[a-z/]{0,4}"), scheme, prop::collection::vec(config, 0..4), passed)
        .prop_map(|(name, scheme, configs, passed)| Job { name, scheme, configs, passed })
}

impl Job {
    fn told(&self) -> Object {
        let target = |t: &Target| Json::from(format!("{}:{}", t.host.as_deref().unwrap_or("*"), t.port));
        let labels = |of: &[(String, String)]| {
            Json::object(of.iter().map(|(label, value)| (label.as_str(), Json::from(value.as_str()))))
        };
        let config = |(targets, of): &StaticConfig| {
            let targets: Vec<Json> = targets.iter().map(target).collect();
            Json::object([("targets", Json::Array(targets)), ("labels", labels(of))])
        };
        let mut job = Object::new();
        job.extend(self.name.as_ref().map(|name| ("job_name".to_owned(), Json::from(name.as_str()))));
        job.insert("static_configs".to_owned(), Json::Array(self.configs.iter().map(config).collect()));
        job.extend(self.scheme.map(|scheme| ("scheme".to_owned(), Json::from(scheme))));
        job.insert("metrics_path".to_owned(), Json::from("/dropped"));
        job.extend(self.passed.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        job
    }

    /// What the specification says comes out, for units `a/0`, `a/1`, ... of a charm `zinc-k8s` in the model `lens`.
    fn expected(&self, units: u32) -> Json {
        let mut configs = Vec::new();
        for (targets, own) in &self.configs {
            let labels = |unit: Option<u32>| {
                let mut labels = Object::new();
                labels.extend(own.iter().map(|(label, value)| (label.clone(), Json::from(value.as_str()))));
                for (label, value) in [
                    ("juju_model", "lens"),
                    ("juju_model_uuid", UUID),
                    ("juju_application", "a"),
                    ("juju_charm", "zinc-k8s"),
                ] {
                    labels.insert(label.to_owned(), Json::from(value));
                }
                if let Some(unit) = unit {
                    labels.insert("juju_unit".to_owned(), Json::from(format!("a/{unit}")));
                }
                Json::Object(labels)
            };
            let of =
                |targets: Vec<String>, unit| Json::object([("targets", Json::from(targets)), ("labels", labels(unit))]);
            let fixed: Vec<String> =
                targets.iter().filter_map(|t| Some(format!("{}:{}", t.host.as_ref()?, t.port))).collect();
            let ports: Vec<u16> = targets.iter().filter(|t| t.host.is_none()).map(|t| t.port).collect();
            if !fixed.is_empty() {
                configs.push(of(fixed, None));
            }
            for unit in 0..units {
                let address = format!("a-{unit}.local");
                let targets = if ports.is_empty() {
                    vec![address]
                } else {
                    ports.iter().map(|port| format!("{address}:{port}")).collect()
                };
                configs.push(of(targets, Some(unit)));
            }
        }
        let per_unit = units > 0 && !self.configs.is_empty();
        let sources = if per_unit {
            r#"["juju_model", "juju_model_uuid", "juju_application", "juju_unit"]"#
        } else {
            r#"["juju_model", "juju_model_uuid", "juju_application"]"#
        };
        let rule = format!(
            r#"[{{"source_labels": {sources}, "separator": "_", "target_label": "instance", "regex": "(.*)"}}]"#
        );
        let name = match self.name.as_deref() {
            None | Some("") => "lens_aaf0b2a6_a".to_owned(),
            Some(name) => format!("lens_aaf0b2a6_a_{name}"),
        };
        let mut job = Object::new();
        job.insert("job_name".to_owned(), Json::from(name));
        job.insert("static_configs".to_owned(), Json::Array(configs));
        job.insert("relabel_configs".to_owned(), json(&rule));
        job.extend(self.scheme.map(|scheme| ("scheme".to_owned(), Json::from(scheme))));
        job.extend(self.passed.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        Json::Object(job)
    }
}

/// What the units of a provider write, as a consumer reads it.
fn cross(jobs: &[Object], units: u32) -> Relation {
    let model = ModelInfo { name: "lens".to_owned(), uuid: UUID.to_owned() };
    let event = Event::Relation(RelationEvent {
        kind: RelationEventKind::Joined,
        endpoint: "profiles".to_owned(),
        id: RelationId(4),
        app: None,
        unit: None,
        departing: None,
    });
    let mut theirs = Relation::new(9, "profiling-endpoint", "a");
    for number in 0..units {
        let unit = unit(&format!("a/{number}"));
        let address = format!("a-{number}.local");
        let provider =
            ProfilingEndpointProvider::new(&charm(), "profiles", &model, &unit, &address, jobs).expect("a provider");
        let mut bags = provider.bags(&event, number == 0, [&Relation::new(4, "profiles", "parca")]);
        let bags = bags.remove(&RelationId(4)).expect("bags");
        theirs.app_data.extend(bags.app);
        theirs.units.insert(unit, bags.unit);
    }
    theirs
}

/// Pieces that hostile and mistaken bags are made of.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = [
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "\"",
        "null",
        "1e999",
        "static_configs",
        "targets",
        "labels",
        "job_name",
        "*:80",
        "*",
        "model",
        "model_uuid",
        "application",
        UUID,
        "\u{e9}",
        "\\ud800",
        "-1",
        " ",
    ];
    let loose = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..12).prop_map(|p| p.concat());
    prop_oneof![loose, any::<String>(), any_json().prop_map(|json| json.dumps())]
}

/// Values whose keys are those that are looked for.
pub(crate) fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        prop::sample::select(vec!["", "*:80", "h:1", "h", "*", UUID, "a:b:c"]).prop_map(Json::from),
    ];
    let keys = prop::sample::select(vec![
        "static_configs",
        "targets",
        "labels",
        "job_name",
        "model",
        "model_uuid",
        "application",
        "unit",
        "charm_name",
    ]);
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(Json::object),
        ]
    })
}

proptest! {
    #[test]
    fn a_round_trip_gives_what_the_specification_says(
        jobs in prop::collection::vec(any_job(), 0..4),
        units in 1u32..4,
    ) {
        let told: Vec<Object> = jobs.iter().map(Job::told).collect();
        let (read, defects) = ProfilingEndpointConsumer::standalone().read([&cross(&told, units)]);
        prop_assert!(defects.is_empty(), "{:?}", defects);
        if jobs.is_empty() {
            let default = ProfilingEndpointConsumer::standalone().read([&cross(std::slice::from_ref(&*DEFAULT_JOB), units)]).0;
            prop_assert_eq!(read, default);
        } else {
            let expected: Vec<Json> = jobs.iter().map(|job| job.expected(units)).collect();
            prop_assert_eq!(read.into_iter().map(Json::Object).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn no_bytes_in_a_bag_panic_nor_touch_another_relation(
        scrape_jobs in any_text(),
        scrape_metadata in any_text(),
        address in any::<String>(),
        name in any_text(),
    ) {
        let mut hostile = Relation::new(1, "profiling-endpoint", "a");
        hostile.app_data.insert("scrape_jobs".to_owned(), scrape_jobs);
        hostile.app_data.insert("scrape_metadata".to_owned(), scrape_metadata);
        let told = [("parca_scrape_unit_address", address), ("parca_scrape_unit_name", name)];
        hostile.units.insert(unit("a/0"), told.map(|(key, value)| (key.to_owned(), value)).into());
        let good = super::zinc("[{}]", &[0]);
        let consumer = ProfilingEndpointConsumer::standalone();
        let (jobs, _) = consumer.read([&hostile, &good]);
        let alone = consumer.read([&good]).0;
        prop_assert_eq!(jobs.last(), alone.last());
        parca_scrape::fit(jobs);
    }
}
