//! `slos` (`sloth`): service-level objectives, as specifications for Sloth.
//!
//! Every query gets the application's own labels, so that it counts this application only. Of the latency objectives the
//! errors are the requests that were not fast enough: all minus those in the fast bucket.

use std::fmt;

use juju::json::{Json, Object};
use juju::model::{Bag, Relation};
use juju::yaml;

use super::{bag, current, yaml_text};
use crate::Identity;
use crate::promql;

/// The objectives without the application's labels, each at 99 percent.
const TEMPLATE: &str = include_str!("../../data/slos.yaml");

/// What the configuration says about objectives.
#[derive(Clone, Copy, Debug)]
pub struct Objectives<'a> {
    /// A whole specification, or several in a list, in YAML; wins over the percentages. Empty: none.
    pub own: &'a str,
    /// Percent of requests that shall not fail.
    pub errors: f64,
    /// Percent of requests that shall be fast enough.
    pub latency: f64,
}

/// What is wrong with an option of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadObjectives {
    pub option: &'static str,
    pub faults: Vec<String>,
}

/// A status message that names the option: `option slos: service is missing; slos is empty`.
impl fmt::Display for BadObjectives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {}: {}", self.option, self.faults.join("; "))
    }
}

impl std::error::Error for BadObjectives {}

/// The specifications to send: a list, keys sorted.
///
/// # Errors
/// The user's text is no specification, or a percentage is none. What was sent before should then stay.
pub fn specifications(objectives: Objectives<'_>, identity: &Identity) -> Result<Json, BadObjectives> {
    let labels = identity.labels();
    let labels: Vec<(&str, &str)> = labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
    let mut specs = if objectives.own.trim().is_empty() { vec![of_targets(objectives)?] } else { own(objectives.own)? };
    for spec in &mut specs {
        inject(spec, &labels);
    }
    Ok(sorted(Json::Array(specs)))
}

/// Our application's bag, for each of the relations.
pub fn app_bag(relation: &Relation, specifications: &Json) -> Bag {
    bag([("slos", yaml_text(current(relation.local_app.as_ref(), "slos"), specifications))])
}

/// The specification from the two percentages. Its queries have no labels of the application yet.
fn of_targets(objectives: Objectives<'_>) -> Result<Json, BadObjectives> {
    let errors = percent("slo-errors-target", objectives.errors)?;
    let latency = percent("slo-latency-target", objectives.latency)?;
    let mut spec = yaml::parse(TEMPLATE).unwrap_or_default();
    for slo in slos_of(&mut spec) {
        let is_latency = slo.get("name").and_then(Json::as_str).is_some_and(|name| name.ends_with("-latency"));
        slo.insert("objective".to_owned(), if is_latency { latency.clone() } else { errors.clone() });
    }
    Ok(spec)
}

/// The objectives of a specification, as far as they are mappings.
fn slos_of(spec: &mut Json) -> impl Iterator<Item = &mut Object> {
    let slos = match spec {
        Json::Object(spec) => spec.get_mut("slos"),
        _ => None,
    };
    let slos = match slos {
        Some(Json::Array(slos)) => slos.as_mut_slice(),
        _ => &mut [],
    };
    slos.iter_mut().filter_map(|slo| if let Json::Object(slo) = slo { Some(slo) } else { None })
}

/// A whole number as such, as Juju gives it.
fn percent(option: &'static str, value: f64) -> Result<Json, BadObjectives> {
    if !(value > 0.0 && value <= 100.0) {
        return Err(BadObjectives { option, faults: vec![format!("{value} is no percentage between 0 and 100")] });
    }
    Ok(number(value))
}

fn number(value: f64) -> Json {
    if value.fract() == 0.0 {
        return Json::from(value as i64);
    }
    juju::json::Number::from_f64(value).map_or(Json::Null, Json::Number)
}

/// The user's own specifications, checked.
fn own(text: &str) -> Result<Vec<Json>, BadObjectives> {
    let bad = |faults| BadObjectives { option: "slos", faults };
    let specs = match yaml::parse(text).map_err(|error| bad(vec![error.to_string()]))? {
        Json::Array(specs) => specs,
        spec => vec![spec],
    };
    let faults: Vec<String> = specs.iter().flat_map(faults_of_spec).collect();
    if specs.is_empty() {
        return Err(bad(vec!["an empty list".to_owned()]));
    }
    if faults.is_empty() { Ok(specs) } else { Err(bad(faults)) }
}

fn faults_of_spec(spec: &Json) -> Vec<String> {
    let Some(members) = spec.as_object() else {
        return vec![format!("a specification is {}, not a mapping", spec.kind())];
    };
    let mut faults = Vec::new();
    for key in ["version", "service"] {
        faults.extend(fault_of_text(members.get(key), key));
    }
    if let Some(version) = members.get("version").and_then(Json::as_str)
        && !version.is_empty()
        && !version.starts_with("prometheus/")
    {
        faults.push(format!("version is {version:?}, not prometheus/v1"));
    }
    if let Some(labels) = members.get("labels").filter(|labels| labels.is_truthy())
        && !labels.as_object().is_some_and(|labels| labels.values().all(|value| value.as_str().is_some()))
    {
        faults.push("labels is no mapping of texts".to_owned());
    }
    match members.get("slos") {
        None => faults.push("slos is missing".to_owned()),
        Some(Json::Array(slos)) if slos.is_empty() => faults.push("slos is empty".to_owned()),
        Some(Json::Array(slos)) => {
            for (position, slo) in slos.iter().enumerate() {
                faults.extend(faults_of_slo(slo).into_iter().map(|fault| format!("slos[{position}]: {fault}")));
            }
        }
        Some(other) => faults.push(format!("slos is {}, not a list", other.kind())),
    }
    faults
}

fn faults_of_slo(slo: &Json) -> Vec<String> {
    if slo.as_object().is_none() {
        return vec![format!("it is {}, not a mapping", slo.kind())];
    }
    let mut faults: Vec<String> = fault_of_text(slo.get("name"), "name").into_iter().collect();
    match slo.get("objective") {
        None => faults.push("objective is missing".to_owned()),
        Some(Json::Number(n)) if n.as_f64().is_some_and(|n| n > 0.0 && n <= 100.0) => {}
        Some(other) => faults.push(format!("objective {other} is no percentage between 0 and 100")),
    }
    match slo.get("sli").and_then(Json::as_object) {
        None => faults.push("sli is missing".to_owned()),
        Some(sli) if !["events", "raw", "plugin"].iter().any(|kind| sli.contains_key(*kind)) => {
            faults.push("sli has none of events, raw and plugin".to_owned());
        }
        Some(_) => {}
    }
    faults
}

fn fault_of_text(value: Option<&Json>, key: &str) -> Option<String> {
    match value {
        None | Some(Json::Null) => Some(format!("{key} is missing")),
        Some(Json::String(text)) if text.is_empty() => Some(format!("{key} is empty")),
        Some(Json::String(_)) => None,
        Some(other) => Some(format!("{key} is {}, not a text", other.kind())),
    }
}

/// Adds the application's labels to all queries of a specification.
fn inject(spec: &mut Json, labels: &[(&str, &str)]) {
    for slo in slos_of(spec) {
        let Some(Json::Object(sli)) = slo.get_mut("sli") else { continue };
        for (kind, queries) in [("events", &["error_query", "total_query"][..]), ("raw", &["error_ratio_query"])] {
            let Some(Json::Object(members)) = sli.get_mut(kind) else { continue };
            for key in queries {
                if let Some(Json::String(query)) = members.get_mut(*key) {
                    *query = promql::inject(query, labels);
                }
            }
        }
    }
}

/// Keys sorted throughout, as PyYAML writes them.
fn sorted(value: Json) -> Json {
    match value {
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        Json::Object(members) => {
            let mut members: Object = members.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            members.sort_keys();
            Json::Object(members)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn relation() -> Relation {
        Relation::new(11, "slos", "sloth")
    }

    fn targets(errors: f64, latency: f64) -> Json {
        specifications(Objectives { own: "", errors, latency }, &recorded()).unwrap()
    }

    /// The recorded specifications with our error queries where the recorded ones count fast requests.
    fn mended(recording: &Recording, step: usize, ours: &Json) -> Json {
        let mut specs = yaml::parse(&recording.bag(step, "11", "app").unwrap()["slos"]).unwrap();
        let slos = |specs: &Json| specs.as_array().unwrap()[0].get("slos").unwrap().as_array().unwrap().to_vec();
        let mut mended = slos(&specs);
        let mut latencies = 0;
        for (theirs, ours) in mended.iter_mut().zip(slos(ours)) {
            let (Json::Object(theirs), Some(sli)) = (theirs, ours.get("sli")) else { panic!("an objective") };
            if theirs["name"].as_str().unwrap().ends_with("-latency") {
                let fast = theirs["sli"].get("events").unwrap().get("error_query").unwrap().as_str().unwrap();
                let slow = sli.get("events").unwrap().get("error_query").unwrap().as_str().unwrap();
                let bucket = fast.strip_suffix(" or vector(0)").unwrap();
                assert!(slow.contains(&format!(" - {bucket}")), "{slow}\n{bucket}");
                theirs.insert("sli".to_owned(), sli.clone());
                latencies += 1;
            }
        }
        assert_eq!(latencies, 6);
        let Json::Array(list) = &mut specs else { panic!("a list") };
        let Json::Object(spec) = &mut list[0] else { panic!("a specification") };
        spec.insert("slos".to_owned(), Json::Array(mended));
        specs
    }

    #[test]
    fn vectors_of_objectives_are_the_recorded_ones_but_for_what_counts_as_slow() {
        let recording = Recording::open("slo-targets");
        for (step, errors, latency) in [(0, 99.0, 99.0), (1, 99.9, 95.0)] {
            let ours = targets(errors, latency);
            assert_eq!(ours, mended(&recording, step, &ours));
        }
    }

    #[test]
    fn vectors_of_the_users_own_specification_win_over_the_numbers() {
        let text = yaml::parse(include_str!("../../../../testdata/vectors/parca_k8s/slo-own-text.yaml")).unwrap();
        let config = text.get("steps").unwrap().as_array().unwrap()[0].get("set").unwrap().get("config").unwrap();
        let own = config.get("slos").unwrap().as_str().unwrap();
        let ours = specifications(Objectives { own, errors: 97.0, latency: 99.0 }, &recorded()).unwrap();
        let recorded = Recording::open("slo-own-text").bag(0, "11", "app").unwrap();
        assert_eq!(ours, yaml::parse(&recorded["slos"]).unwrap());
        assert_eq!(app_bag(&relation(), &ours)["slos"].lines().next(), Some("- labels:"));
    }

    #[test]
    fn several_specifications_are_taken_each_with_the_applications_labels() {
        let one = |service: &str| {
            let query = format!("rate({service}_total[{{{{.window}}}}])");
            format!(
                "- {{version: prometheus/v1, service: {service}, slos: [{{name: a, objective: 99, sli: {{events: {{error_query: '{query}', total_query: '{query}'}}}}}}]}}\n"
            )
        };
        let own = one("first") + &one("second");
        let specs = specifications(Objectives { own: &own, errors: 99.0, latency: 99.0 }, &recorded()).unwrap().dumps();
        for service in ["first", "second"] {
            assert!(specs.contains(&format!(r#""service": "{service}""#)), "{specs}");
            assert!(specs.contains(&format!(r#"rate({service}_total{{juju_application=\"parca-k8s\""#)), "{specs}");
        }
    }

    #[test]
    fn the_template_is_a_specification() {
        assert_eq!(own(TEMPLATE).map(|specs| specs.len()), Ok(1));
        assert_eq!(slos_of(&mut targets(99.0, 99.0).as_array().unwrap()[0].clone()).count(), 12);
    }

    #[test]
    fn errors_of_latency_are_all_minus_the_fast_ones() {
        let specs = targets(99.0, 99.0).dumps();
        assert!(specs.contains(r#"clamp_min(sum(rate(grpc_server_handling_seconds_count{grpc_service=\"parca.query.v1alpha1.QueryService\",grpc_method=\"Query\",juju_application=\"parca-k8s\""#), "{specs}");
        assert!(specs.contains(r#"le=\"0.3\",juju_application"#));
    }

    fn faults(own: &str) -> String {
        specifications(Objectives { own, errors: 99.0, latency: 99.0 }, &recorded()).unwrap_err().to_string()
    }

    #[test]
    fn a_specification_that_is_none_is_refused_by_the_options_name() {
        assert_eq!(faults("version: prometheus/v1\nslos: []"), "option slos: service is missing; slos is empty");
        assert_eq!(faults("[]"), "option slos: an empty list");
        assert_eq!(faults("yes"), "option slos: a specification is a string, not a mapping");
        assert_eq!(
            faults("{version: v1, service: 3}"),
            "option slos: service is a number, not a text; version is \"v1\", not prometheus/v1; slos is missing"
        );
        assert_eq!(
            faults("{version: prometheus/v1, service: a, slos: [{name: b, objective: 101, sli: {}}, 3]}"),
            "option slos: slos[0]: objective 101 is no percentage between 0 and 100; slos[0]: sli has none of events, raw and plugin; slos[1]: it is a number, not a mapping"
        );
        assert!(faults("a: [").starts_with("option slos: "));
    }

    #[test]
    fn a_percentage_that_is_none_is_refused_by_the_options_name() {
        let of = |errors, latency| specifications(Objectives { own: " \n", errors, latency }, &recorded());
        assert_eq!(
            of(0.0, 99.0).unwrap_err().to_string(),
            "option slo-errors-target: 0 is no percentage between 0 and 100"
        );
        assert_eq!(
            of(99.0, 100.5).unwrap_err().to_string(),
            "option slo-latency-target: 100.5 is no percentage between 0 and 100"
        );
        assert!(of(f64::NAN, 99.0).is_err());
    }

    #[test]
    fn every_sloth_gets_the_specifications_and_keeps_what_means_the_same() {
        let specs = targets(99.5, 99.0);
        let mut second = Relation::new(12, "slos", "sloth-two");
        second.local_app = Some(bag([("slos", format!("# by hand\n{}", specs.dumps()))]));
        assert_eq!(yaml::parse(&app_bag(&relation(), &specs)["slos"]), Ok(specs.clone()));
        assert!(app_bag(&second, &specs)["slos"].starts_with("# by hand"));
    }
}
