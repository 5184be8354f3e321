//! The in-memory hook tools beside `jujusim hook-tools`: random calls, same answers, same exit codes, same world afterwards.
//!
//! The real side is spawned processes all the way: `examples/hook_tools` runs them through [`juju::tools::SpawnedTools`].

mod calls;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use juju::json::Json;
use juju::memory::{MemoryTools, Meta, Origin};
use juju::model::RelationId;
use juju::{HookTools, yaml};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use world::{Case, case, metadata, options, world_of, world_of_simulator};

const SEQUENCES: usize = 10_000;

/// A JSON object by meaning, as the order of its members is nobody's, and YAML, as its quotes are; any other answer byte by byte.
fn meaning(args: &[String], text: &str) -> Json {
    let object = Json::parse(text).ok().filter(|_| text.starts_with('{') && text.ends_with("}\n"));
    let yaml = || {
        let asked = args.iter().any(|arg| arg == "--format=yaml");
        let plain = !args.iter().any(|arg| arg.starts_with("--format"));
        // without a format, mappings and lists of other things than texts are YAML
        yaml::parse(text).ok().filter(|value| asked && !text.is_empty() || plain && value.as_object().is_some())
    };
    object.or_else(yaml).unwrap_or_else(|| Json::from(text))
}

fn sort_secrets(world: &mut Value) {
    world["secrets"].as_array_mut().unwrap().sort_by_key(|s| s["id"].as_str().unwrap().to_owned());
}

/// What differs between the two sides, in words; `None` if nothing.
fn difference(case: &Case, meta: &Meta, simulated: &Value) -> Option<String> {
    let origin = Origin {
        relation: case.relation.map(RelationId),
        remote_unit: case.remote_unit.as_ref().map(|u| u.parse().unwrap()),
        action: case.params.as_ref().map(|p| p.as_object().unwrap().clone()),
    };
    let tools = MemoryTools::new(meta.clone(), case.state(meta), origin);
    for ((tool, args, stdin), theirs) in case.calls.iter().zip(simulated["answers"].as_array().unwrap()) {
        let ours = tools.call(tool, args, stdin.as_deref()).unwrap();
        let ours = (ours.code, meaning(args, &ours.stdout), ours.stderr);
        let theirs = (theirs[0].clone(), meaning(args, theirs[1].as_str().unwrap()), theirs[2].as_str().unwrap());
        if (json!(ours.0), &ours.1, ours.2.as_str()) != (theirs.0.clone(), &theirs.1, theirs.2) {
            return Some(format!(
                "{tool} {args:?} with input {stdin:?}\n  in memory: {ours:?}\n  simulator: {theirs:?}"
            ));
        }
    }
    let (mut ours, mut theirs) = (world_of(&tools.finish(case.exit == 0)), world_of_simulator(&simulated["world"]));
    sort_secrets(&mut ours);
    sort_secrets(&mut theirs);
    let part = ours.as_object().unwrap().keys().find(|k| ours[*k] != theirs[*k])?;
    Some(format!("{part} afterwards\n  in memory: {}\n  simulator: {}", ours[part], theirs[part]))
}

pub(super) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A fresh build of an example: `cargo test --test it` alone builds none.
pub(super) fn example(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO")).args(["build", "--quiet", "-p", "juju-charm", "--example", name]).output();
    let built = built.unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

#[test]
fn random_calls_are_answered_as_by_the_simulator_and_leave_the_same_world() {
    let project = project();
    let need = Command::new(project.join("scripts/need")).args(["python", "jujusim"]).output().unwrap();
    assert!(need.status.success(), "scripts/need: {}", String::from_utf8_lossy(&need.stderr));

    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("content");
    fs::write(&file, "of a file\n").unwrap();
    fs::write(tmp.path().join("content.yaml"), "{token: two words, 'key2#base64': aGVsbG8=, number: 7}").unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let strategy = case(file.to_str().unwrap());
    let cases: Vec<Case> = (0..SEQUENCES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();

    let (input, output) = (tmp.path().join("cases"), tmp.path().join("results"));
    let lines: Vec<String> = cases.iter().map(|c| c.to_json().to_string()).collect();
    fs::write(&input, lines.join("\n")).unwrap();
    let ran = Command::new(project.join("target/python/bin/python"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/many_hook_tools.py"))
        .arg(project.join("tests/jujusim/jujusim"))
        .args([&input, &output])
        .arg(example("hook_tools"))
        .env("JUJUSIM_CLIENT", project.join("target/jujusim/client"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "the simulator: {}", String::from_utf8_lossy(&ran.stderr));

    let to_json = |v: &Value| Json::parse(&v.to_string()).unwrap();
    let meta = Meta::from_values(&to_json(&metadata()), &to_json(&options()), &Json::Null).unwrap();
    let results = fs::read_to_string(&output).unwrap();
    assert_eq!(results.lines().count(), SEQUENCES);
    let (mut calls, mut differences) = (0, Vec::new());
    for (n, (case, result)) in cases.iter().zip(results.lines()).enumerate() {
        calls += case.calls.len();
        if let Some(difference) = difference(case, &meta, &serde_json::from_str(result).unwrap()) {
            differences.push(format!("sequence {n}: {difference}"));
        }
    }
    println!("{SEQUENCES} sequences of {calls} calls, {} differ", differences.len());
    assert!(differences.is_empty(), "{}", differences[..differences.len().min(10)].join("\n"));
}
