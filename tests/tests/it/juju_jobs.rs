//! `decima juju jobs`: what people see of a unit's relations.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const SHOW_UNIT: &str = r#"
parca-k8s/0:
  charm: ch:amd64/parca-k8s-400
  relation-info:
  - relation-id: 7
    endpoint: profiling-endpoint
    application-data:
      scrape_jobs: '[{"static_configs": [{"targets": ["*:4080"]}], "scrape_interval": "5s"JOB}]'
      scrape_metadata: '{"model": "lens", "model_uuid": "aaf0b2a6-e006-41eb-ba80-0242ac130004",
        "application": "zinc", "unit": "zinc/0", "charm_name": "zinc-k8s"}'
    related-units:
      zinc/0: {in-scope: true, data: {parca_scrape_unit_address: zinc-0.local, parca_scrape_unit_name: zinc/0}}
"#;

fn jobs(arguments: &[&str], stdin: &str) -> (Output, String, String) {
    let mut command = Command::new(e2e::binary());
    command.args(["juju", "jobs"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("decima runs");
    child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("read");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[test]
fn the_jobs_of_a_units_relations_are_a_scrape_configuration() {
    let (output, out, err) = jobs(&[], &SHOW_UNIT.replace("JOB", ""));
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
    let expected = r#"scrape_configs:
- static_configs:
  - targets:
    - zinc-0.local:4080
    labels:
      juju_model: lens
      juju_model_uuid: aaf0b2a6-e006-41eb-ba80-0242ac130004
      juju_application: zinc
      juju_charm: zinc-k8s
      juju_unit: zinc/0
  scrape_interval: "5s"
  job_name: lens_aaf0b2a6_zinc
  relabel_configs:
  - source_labels:
    - juju_model
    - juju_model_uuid
    - juju_application
    - juju_unit
    separator: _
    target_label: instance
    regex: "(.*)"
"#;
    assert_eq!(out, expected);
}

#[test]
fn what_is_wrong_with_a_relation_and_with_its_jobs_is_told() {
    let (output, out, err) =
        jobs(&["-"], &SHOW_UNIT.replace("JOB", r#"}, {"job_name": "b", "static_configs": [{"targets": ["h"]}]"#));
    assert_eq!(output.status.code(), Some(1));
    assert!(out.contains("job_name: lens_aaf0b2a6_zinc\n"), "what can be scraped is there: {out}");
    assert_eq!(
        err,
        "decima: error: relation profiling-endpoint:7 with zinc: target \"h\" of job lens_aaf0b2a6_zinc_b is passed over: \
         it is not host:port\n"
    );
    let (output, _, err) = jobs(&[], &SHOW_UNIT.replace("JOB", r#", "scrape_timeout": "never""#));
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("the configuration above, line 1") && err.contains("scrape_timeout"), "{err}");
}

#[test]
fn what_is_no_dump_of_a_unit_is_refused_by_name() {
    let place = e2e::Place::new("");
    let file = place.path().join("unit.yaml");
    std::fs::write(&file, "parca-k8s/0: {relation-info: [{endpoint: db, application-data: {}}]}").expect("written");
    let file = file.to_str().expect("UTF-8");
    let (output, out, err) = jobs(&[file], "");
    assert_eq!((output.status.code(), out.as_str()), (Some(64), ""));
    assert_eq!(err, format!("decima: error: {file}: no relation with scrape jobs; there are relations of db\n"));
    let (output, _, err) = jobs(&["--endpoint", "db", file], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(err.contains("relation db:1: no unit has joined"), "{err}");
    let (output, _, err) = jobs(&["/no/such/file"], "");
    assert_eq!(output.status.code(), Some(64));
    assert!(err.starts_with("decima: error: cannot read /no/such/file: "), "{err}");
    let (output, _, err) = jobs(&["--wrong"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(err.starts_with("decima: error: unknown flag --wrong\n"), "{err}");
}
