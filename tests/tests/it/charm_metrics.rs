//! The charm's dashboard and service-level objectives ask for metrics that the server really has.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use e2e::{Place, Server, free_address};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/parca-k8s/data");

/// How long a scrape may take to fail, on a busy machine.
const SCRAPED_SECONDS: u64 = 60;

/// Labels that Juju's Prometheus adds, or renames where they clash with its own.
const ADDED: [&str; 5] = ["juju_model", "juju_model_uuid", "juju_application", "juju_unit", "exported_job"];

/// One selector of a query: `name{label op "value", ...}`.
#[derive(Debug)]
struct Selector {
    metric: String,
    matchers: Vec<(String, String, String)>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_dashboard_and_of_the_objectives_is_exposed() {
    // nobody listens there: a failed scrape has its row too
    let closed = free_address();
    let place = Place::new(&format!(
        "\n- job_name: gone\n  scrape_interval: 1s\n  scrape_timeout: 2s\n  static_configs: [{{targets: [\"{closed}\"]}}]\n"
    ));
    let server = Server::start(&place, &[]).await;
    let started = Instant::now();
    let metrics = loop {
        let metrics = server.metrics();
        if metrics.contains("decima_scrape_failures_total{") {
            break metrics;
        }
        assert!(started.elapsed() < Duration::from_secs(SCRAPED_SECONDS), "no failed scrape:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let rows = rows(&metrics);

    let panels = panel_queries();
    let objectives = objective_queries();
    assert!(panels.len() >= 30, "{} queries of panels", panels.len());
    assert_eq!(objectives.len(), 24);
    let (mut selectors, mut bounds) = (0, 0);
    for query in panels.iter().map(|(query, _)| query).chain(&objectives) {
        let found = selectors_of(query);
        assert!(!found.is_empty(), "no selector in {query}");
        for selector in &found {
            check(selector, &rows, query);
            bounds += selector.matchers.iter().filter(|(label, ..)| label == "le").count();
        }
        selectors += found.len();
    }
    for (query, legend) in &panels {
        check_labels(query, legend, &rows);
    }
    assert!(bounds >= 8, "{bounds} bounds");
    println!("{selectors} selectors with {bounds} bounds of histograms, all exposed");
}

type Rows = Vec<(String, BTreeMap<String, String>)>;

/// The rows of an exposition: metric and labels.
fn rows(metrics: &str) -> Rows {
    let rows = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|row| {
        let name = row[..row.find(['{', ' ']).expect("a value")].to_owned();
        let labels = selectors_of(row).pop().map(|selector| selector.matchers).unwrap_or_default();
        (name, labels.into_iter().map(|(label, _, value)| (label, value)).collect())
    })
    .collect()
}

/// A row has the selector's labels. Codes of failures have rows once a call fails; what Prometheus adds is not here.
fn check(selector: &Selector, rows: &Rows, query: &str) {
    let of_metric: Vec<_> = rows.iter().filter(|(name, _)| *name == selector.metric).collect();
    assert!(!of_metric.is_empty(), "{} is not exposed, but asked for by {query}", selector.metric);
    let fixed: Vec<_> = selector
        .matchers
        .iter()
        .filter(|(label, ..)| !ADDED.contains(&label.as_str()) && label != "grpc_code")
        .collect();
    let fits = |labels: &BTreeMap<String, String>| {
        fixed.iter().all(|(label, operator, value)| match operator.as_str() {
            "=" => labels.get(label) == Some(value),
            "=~" => labels.get(label).is_some_and(|now| value.split('|').any(|one| one == now)),
            other => panic!("{other} in {query}"),
        })
    };
    assert!(of_metric.iter().any(|(_, labels)| fits(labels)), "no row for {selector:?} of {query}");
    if selector.matchers.iter().any(|(label, ..)| label == "grpc_code") {
        assert!(of_metric.iter().all(|(_, labels)| labels.contains_key("grpc_code")), "{query}");
    }
    // each of the names in a pattern means something
    for (label, _, value) in fixed.iter().filter(|(_, operator, _)| operator == "=~") {
        for one in value.split('|') {
            assert!(
                of_metric.iter().any(|(_, labels)| labels.get(label).is_some_and(|now| now == one)),
                "{one} in {query}"
            );
        }
    }
}

/// A legend speaks of labels that the query keeps, and that some row has.
fn check_labels(query: &str, legend: &str, rows: &Rows) {
    let metrics: Vec<_> = selectors_of(query).into_iter().map(|selector| selector.metric).collect();
    for label in legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap_or_default()) {
        let kept = query
            .split("by (")
            .skip(1)
            .any(|rest| rest.split(')').next().unwrap_or_default().split(',').any(|kept| kept.trim() == label));
        assert!(kept, "{label} of the legend {legend:?} is not kept by {query}");
        let known = ADDED.contains(&label)
            || rows.iter().any(|(name, labels)| metrics.contains(name) && labels.contains_key(label));
        assert!(known, "no row has {label}, of the legend {legend:?}");
    }
}

/// Query and legend of each target of each panel. A panel that is no row has targets.
fn panel_queries() -> Vec<(String, String)> {
    let text = fs::read_to_string(format!("{DATA}/dashboard.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let rows: Vec<_> = panels.iter().filter(|panel| panel["type"] == "row").map(|row| row["title"].as_str()).collect();
    assert_eq!(rows, [Some("Ingest"), Some("Query"), Some("Store"), Some("Process")]);
    let mut queries = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let targets = panel["targets"].as_array().filter(|targets| !targets.is_empty()).expect("a panel with targets");
        for target in targets {
            let text = |key: &str| target[key].as_str().expect("a text").to_owned();
            queries.push((text("expr"), text("legendFormat")));
        }
    }
    queries
}

/// The queries of the specification for Sloth: each stands on a line of its own.
fn objective_queries() -> Vec<String> {
    let text = fs::read_to_string(format!("{DATA}/slos.yaml")).expect("the objectives");
    let query = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("error_query: ").or_else(|| line.strip_prefix("total_query: ")).map(str::to_owned)
    };
    text.lines().filter_map(query).collect()
}

/// All `name{...}` of a text. Braces in quotes, and placeholders in double braces, begin none.
fn selectors_of(text: &str) -> Vec<Selector> {
    let mut selectors = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if rest[open..].starts_with("{{") {
            rest = &rest[open + 2..];
            continue;
        }
        let name = rest[..open].rsplit(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).next();
        let mut inner = &rest[open + 1..];
        let mut matchers = Vec::new();
        while !inner.starts_with('}') {
            let (label, after) = inner.split_at(inner.find(['=', '!']).expect("an operator"));
            let (operator, after) = after.split_at(after.find('"').expect("a value"));
            let (value, after) = after[1..].split_at(after[1..].find('"').expect("the value's end"));
            matchers.push((label.trim_matches([',', ' ']).to_owned(), operator.to_owned(), value.to_owned()));
            inner = &after[1..];
        }
        selectors.push(Selector { metric: name.unwrap_or_default().to_owned(), matchers });
        rest = &inner[1..];
    }
    selectors
}
