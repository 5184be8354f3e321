//! The charm of docs/charm-sdk.md: in memory, in the guide, and packed in a simulated unit.

#[path = "../../examples/scrape-target/src/charm.rs"]
mod charm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use juju::context::{Context, on};
use juju::json::Json;
use juju::memory::{Meta, State};
use juju::model::ConfigValue;
use juju::{Bags, Event, Status, ToolError, Unit};
use parca_scrape::ProfilingEndpointConsumer;

fn context() -> Context<'static, ToolError> {
    let meta = Meta::from_metadata(
        include_str!("../../examples/scrape-target/charm/metadata.yaml"),
        include_str!("../../examples/scrape-target/charm/config.yaml"),
        include_str!("../../examples/scrape-target/charm/actions.yaml"),
    );
    Context::new(meta.expect("a charm"), charm::charm)
}

/// Related to Parca, with these targets.
fn state(targets: &str) -> State {
    let state = State::new(context().meta()).relation(4, "profiling-endpoint", "parca").remote_unit(4, "parca/0", []);
    state.config("targets", ConfigValue::String(targets.to_owned()))
}

#[test]
fn the_targets_are_what_a_consumer_scrapes_and_are_written_once() {
    let state = state("10.1.1.1:6060, db.example.com:443,");
    let first = context().run(on::relation_joined(4, "parca/0"), &state).unwrap();
    assert_eq!(first.result, Ok(()));
    assert_eq!(first.state.unit_status, Status::active("2 targets"));
    assert_eq!(first.state.app_status, Status::active("2 targets"));

    // the other side of the relation
    let consumer =
        Meta::from_charmcraft("{name: parca, requires: {profiling-endpoint: {interface: parca_scrape}}}").unwrap();
    let mut seen =
        State::new(&consumer).relation(4, "profiling-endpoint", "scrape-target").remote_unit(4, "scrape-target/0", []);
    seen.relations.get_mut(&4.into()).unwrap().remote_app_data = first.state.local_app(4).clone();
    let read = Context::new(consumer, |unit: &Unit<'_>| {
        let snapshot = juju::Snapshot::read(unit.juju, unit.dispatch, &[("profiling-endpoint", Bags::REMOTE)])?;
        let jobs = ProfilingEndpointConsumer::standalone().jobs(snapshot.relations("profiling-endpoint"));
        assert_eq!(jobs.len(), 1);
        assert_eq!(jobs[0]["scheme"], Json::from("https"));
        let targets = jobs[0]["static_configs"].as_array().unwrap()[0].get("targets").unwrap().dumps();
        assert_eq!(targets, r#"["10.1.1.1:6060", "db.example.com:443"]"#);
        Ok::<(), ToolError>(())
    });
    let https = first.state.clone().config("scheme", ConfigValue::String("https".to_owned()));
    let https = context().run(Event::ConfigChanged, &https).unwrap();
    seen.relations.get_mut(&4.into()).unwrap().remote_app_data = https.state.local_app(4).clone();
    assert_eq!(read.run(on::relation_changed(4), &seen).unwrap().result, Ok(()));

    let again = context().run(Event::UpdateStatus, &first.state).unwrap();
    assert_eq!(again.writes().count(), 0);
    assert_eq!(again.state, first.state);
}

#[test]
fn without_a_good_target_it_is_blocked_and_takes_back_what_it_told() {
    let told = context().run(Event::ConfigChanged, &state("h:80")).unwrap().state;
    assert!(told.local_app(4).contains_key("scrape_jobs"));
    for (targets, why) in [
        ("", "list addresses in the option targets"),
        ("h:80,host", "option targets: \"host\" is not host:port"),
        ("[::1]:80", "option targets: \"[::1]:80\" is not host:port"),
        ("h:0", "option targets: \"h:0\" is not host:port"),
        ("h:+80", "option targets: \"h:+80\" is not host:port"),
        ("http://h:80", "option targets: \"http://h:80\" is not host:port"),
    ] {
        let changed = told.clone().config("targets", ConfigValue::String(targets.to_owned()));
        let outcome = context().run(Event::ConfigChanged, &changed).unwrap();
        assert_eq!(outcome.state.unit_status, Status::blocked(why));
        assert!(outcome.state.local_app(4).is_empty(), "{:?}", outcome.state.local_app(4));
    }
    let gopher = told.config("scheme", ConfigValue::String("gopher".to_owned()));
    let outcome = context().run(Event::ConfigChanged, &gopher).unwrap();
    assert_eq!(outcome.state.unit_status, Status::blocked("option scheme: \"gopher\" is neither http nor https"));
}

#[test]
fn the_action_lists_the_targets_or_says_why_there_are_none() {
    let action = context().run(on::action("list-targets"), &state("h:80,i:81")).unwrap().action.unwrap();
    assert_eq!((action.results["targets"].as_str(), action.failed), (Some("h:80,i:81"), None));
    let action = context().run(on::action("list-targets"), &state("")).unwrap().action.unwrap();
    assert_eq!(action.failed.as_deref(), Some("list addresses in the option targets"));
}

#[test]
fn a_follower_says_nothing_for_the_application() {
    let outcome = context().run(Event::ConfigChanged, &state("h:80").leader(false)).unwrap();
    assert_eq!(outcome.result, Ok(()));
    assert!(outcome.state.local_app(4).is_empty());
    assert_eq!(outcome.state.unit_status, Status::active("1 targets"));
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn well(output: Output, what: &str) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {stdout}{stderr}");
    stdout.into_owned()
}

/// The blocks of the guide that say which file they are of, ` ```rust src/main.rs`, joined where there are several.
fn blocks() -> BTreeMap<String, String> {
    let guide = fs::read_to_string(project().join("docs/charm-sdk.md")).unwrap();
    let mut blocks: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some((_, name)) = line.strip_prefix("```").and_then(|info| info.split_once(' ')) else { continue };
        let block: String = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        let text = blocks.entry(name.to_owned()).or_default();
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&block);
    }
    blocks
}

#[test]
fn the_guide_shows_the_whole_charm_as_it_is() {
    let mut blocks = blocks();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scrape-target");
    for name in [
        "src/main.rs",
        "src/charm.rs",
        "charm/metadata.yaml",
        "charm/config.yaml",
        "charm/actions.yaml",
        "charm/manifest.yaml",
    ] {
        let shown = blocks.remove(name).unwrap_or_else(|| panic!("the guide does not show {name}"));
        assert_eq!(shown, fs::read_to_string(example.join(name)).unwrap(), "{name}");
    }
    assert_eq!(blocks.into_keys().collect::<Vec<_>>(), ["check", "pack"], "the guide shows what is not tested");
}

#[test]
fn the_charm_that_the_guide_packs_does_its_work_in_a_simulated_unit() {
    let project = project();
    // scripts/test has built all when it comes here
    if env::var_os("DECIMA_IS_BUILT").is_none() {
        let build = ["build", "--quiet", "-p", "parca-scrape", "--example", "scrape-target"];
        well(Command::new(env!("CARGO")).args(build).output().unwrap(), "cargo build");
    }
    let examples = env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("examples");

    // where the guide leaves its reader
    let folder = tempfile::tempdir().unwrap();
    let built = folder.path().join("target/x86_64-unknown-linux-gnu/release");
    fs::create_dir_all(&built).unwrap();
    fs::copy(examples.join("scrape-target"), built.join("scrape-target")).unwrap();
    fs::create_dir(folder.path().join("charm")).unwrap();
    for file in ["metadata.yaml", "config.yaml", "actions.yaml", "manifest.yaml"] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scrape-target/charm").join(file);
        fs::copy(from, folder.path().join("charm").join(file)).unwrap();
    }
    let pack = Command::new("sh").args(["-euc", &blocks()["pack"]]).current_dir(folder.path()).output().unwrap();
    well(pack, "the guide's way to pack");

    // and where it lies, seen from Decima's sources
    let there = "../scrape-target/";
    let check = &blocks()["check"];
    assert!(check.contains(there), "{check}");
    let check = check.replace(there, &format!("{}/", folder.path().display()));
    let told = Command::new("sh")
        .args(["-euc", &check])
        .current_dir(&project)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let told = well(told, "the guide's way to play it");
    assert!(told.ends_with("1 passed, 0 failed\n"), "{told}");
}
