//! docs/charm/troubleshooting.md has an entry for every status of the charm.

use std::fs;
use std::path::{Path, PathBuf};

use juju::Event;
use juju::memory::State;
use juju::model::{Config, ConfigValue};

use super::dispatch::{meta, run};

const GUIDE: &str = include_str!("../../../../docs/charm/troubleshooting.md");

/// The titles of the guide's entries: each a status as the charm says it.
fn titles() -> Vec<&'static str> {
    GUIDE.lines().filter_map(|line| line.strip_prefix("### ")).collect()
}

/// Whether some title has the fixed pieces of a text in their order.
fn is_explained(pieces: &[&str]) -> bool {
    titles().into_iter().any(|title| {
        let mut rest = title;
        pieces.iter().all(|piece| match rest.split_once(piece) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    })
}

/// The texts in quotes of a source file, comments apart.
fn texts(source: &str) -> Vec<&str> {
    let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

/// A text without its placeholders.
fn pieces(text: &str) -> Vec<&str> {
    text.split(['{', '}']).step_by(2).filter(|piece| !piece.trim().is_empty()).collect()
}

#[test]
fn every_text_of_a_status_has_its_entry_in_the_guide() {
    let source = include_str!("../../src/status.rs");
    let statuses = source.matches("-> Status {").count();
    let texts: Vec<&str> = texts(source).into_iter().filter(|text| *text != " and ").collect();
    // one passes on what is wrong with an option
    assert_eq!(texts.len() + 1, statuses, "{texts:?}");
    for text in texts {
        assert!(
            is_explained(&pieces(&format!("`{text}`"))),
            "docs/charm/troubleshooting.md does not tell what to do about {text:?}"
        );
    }
    assert!(!is_explained(&pieces("`Waiting for the Kubernetes`")), "a part of a title is no title");
}

#[test]
fn what_is_wrong_with_an_option_has_its_entry_in_the_guide() {
    let config = Config([("slos".to_owned(), ConfigValue::Int(1))].into());
    let of_type = config.get::<String>("slos").unwrap_err().to_string();
    assert!(of_type.starts_with("option slos is an integer, not "), "{of_type}");
    assert!(is_explained(&["option ", " is ", ", not "]));
    let state = State::new(&meta()).leader(true).relation(11, "slos", "sloth");
    let status =
        run(state.config("slos", ConfigValue::String("[]".to_owned())), Event::ConfigChanged).state.unit_status;
    assert!(status.message.starts_with("option slos: "), "{status:?}");
    assert!(is_explained(&["option ", ": "]));
}

#[test]
fn no_status_has_a_text_elsewhere_in_the_source() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = rust_files(&source);
    assert!(files.len() > 20, "{files:?}");
    for file in files.iter().filter(|file| !file.ends_with("src/status.rs") && !file.ends_with("tests.rs")) {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for kind in ["active", "waiting", "maintenance", "blocked"] {
            let made = format!("Status::{kind}(");
            assert!(!code.contains(&made), "{} has {made}: it belongs to status.rs", file.display());
        }
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}
