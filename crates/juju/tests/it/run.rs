//! `juju::run` as a process, with spawned hook tools: exit codes, what is logged, what is kept.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::hook_tools::{example, project};

/// Exit code, standard error, and the world afterwards.
fn dispatch(ends: &str, hook: &str) -> (Option<i32>, String, Value) {
    let project = project();
    let need = Command::new(project.join("scripts/need")).args(["python", "jujusim"]).output().unwrap();
    assert!(need.status.success(), "scripts/need: {}", String::from_utf8_lossy(&need.stderr));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let state = json!({
        "app": "mine", "config": {"ends": ends}, "metadata": {"name": "mine"},
        "config_options": {"ends": {"type": "string"}},
    });
    fs::write(file("state.json"), state.to_string()).unwrap();
    let done = Command::new(project.join("target/python/bin/python"))
        .arg(project.join("tests/jujusim/jujusim"))
        .args(["hook-tools", "--hook", hook, "--state"])
        .args([&file("state.json"), Path::new("--out"), &file("out.json"), Path::new("--"), &example("ends")])
        .current_dir(folder.path())
        .env("JUJUSIM_CLIENT", project.join("target/jujusim/client"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let world = serde_json::from_slice(&fs::read(file("out.json")).unwrap()).unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned(), world)
}

#[test]
fn a_charm_that_ends_well_ends_with_0_and_its_writes_are_kept() {
    let (code, stderr, world) = dispatch("well", "update-status");
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_eq!((&world["ports"], &world["unit_status"]["status"]), (&json!(["80/tcp"]), &json!("active")));
    assert_eq!(world["_log"], json!([["INFO", "it begins event=update-status how=well"], ["WARNING", "on its way"]]));
}

#[test]
fn an_event_of_a_later_juju_ends_well_too() {
    let (code, stderr, world) = dispatch("well", "brand-new");
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert_eq!(world["_log"][0], json!(["INFO", "it begins event=brand-new how=well"]));
}

#[test]
fn a_charm_that_fails_says_why_ends_with_1_and_its_writes_are_taken_back() {
    let (code, stderr, world) = dispatch("badly", "config-changed");
    assert_eq!(code, Some(1));
    assert_eq!(stderr, "relation-get -r 99 - x/0: invalid value \"99\" for option -r: relation not found\n");
    assert_eq!(world["ports"], json!([]));
    assert_eq!(world["_log"].as_array().unwrap().len(), 2, "{}", world["_log"]);
}

#[test]
fn a_charm_that_panics_has_its_lines_in_the_log_all_the_same() {
    let (code, stderr, world) = dispatch("panic", "config-changed");
    assert_eq!(code, Some(101));
    assert!(stderr.contains("out of order"), "{stderr}");
    assert_eq!(world["_log"][1], json!(["WARNING", "on its way"]));
}

#[test]
fn what_is_not_started_by_juju_is_told() {
    let done = Command::new(example("ends")).env_clear().output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&done.stderr), "JUJU_UNIT_NAME is not set: a charm is started by Juju\n");
    let variables = [("JUJU_UNIT_NAME", "mine/0"), ("JUJU_DISPATCH_PATH", "hooks/start")];
    let done = Command::new(example("ends")).env_clear().envs(variables).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(stderr, "config-get: there is no such hook tool: a charm is started by Juju\n");
}
