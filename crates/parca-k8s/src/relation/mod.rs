//! One module per relation: what shall stand in our bags, and what the other side says.
//!
//! Every function is pure. A text that reads back to the same value as the one we would write is kept as it stands: the other
//! side's units are woken by bytes, not by meaning.

pub mod catalogue;
pub mod certificates;
pub mod grafana_dashboard;
pub mod grafana_source;
pub mod ingress;
pub mod logging;
pub mod mesh;
pub mod profiling;
pub mod prometheus_scrape;
pub mod s3;
pub mod slos;
pub mod store;
pub mod tracing;

use juju::json::Json;
use juju::model::Bag;
use juju::yaml;

/// `current` where it is JSON that means `wished`, else `wished` as Python writes it.
pub fn json_text(current: Option<&str>, wished: &Json) -> String {
    match current {
        Some(text) if Json::parse(text).as_ref() == Ok(wished) => text.to_owned(),
        _ => wished.dumps(),
    }
}

/// `current` where it is YAML that means `wished`, else `wished` as YAML.
pub fn yaml_text(current: Option<&str>, wished: &Json) -> String {
    match current {
        Some(text) if yaml::parse(text).as_ref() == Ok(wished) => text.to_owned(),
        _ => yaml::write(wished),
    }
}

/// The value of a key of our own bag, where that bag was read.
pub(crate) fn current<'a>(bag: Option<&'a Bag>, key: &str) -> Option<&'a str> {
    bag?.get(key).map(String::as_str)
}

pub(crate) fn bag<const N: usize>(entries: [(&str, String); N]) -> Bag {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;
    use std::path::PathBuf;
    use std::{env, fs, thread};

    use super::*;

    /// The project's copy of the recordings, or the folder of the same layout that `DECIMA_VECTORS` names.
    pub(crate) fn vectors() -> PathBuf {
        let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/vectors");
        env::var_os("DECIMA_VECTORS").map_or_else(own, PathBuf::from).join("parca_k8s")
    }

    /// One recorded scenario, `"="` filled in. When it is dropped it says how much of it was asked for.
    pub(crate) struct Recording {
        scenario: String,
        steps: Vec<Json>,
        asked: Cell<usize>,
    }

    impl Drop for Recording {
        fn drop(&mut self) {
            let outcome = if thread::panicking() { "the last one differs" } else { "0 differ" };
            println!("vectors parca_k8s/{}: {} cases, {outcome}", self.scenario, self.asked.get());
        }
    }

    impl Recording {
        pub(crate) fn open(scenario: &str) -> Recording {
            let path = vectors().join(format!("{scenario}.expect.json"));
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let recording = Json::parse(&text).unwrap();
            let mut steps = recording.get("steps").and_then(Json::as_array).unwrap().to_vec();
            for position in 1..steps.len() {
                let (before, after) = steps.split_at_mut(position);
                fill_in(&mut after[0], &before[position - 1]);
            }
            Recording { scenario: scenario.to_owned(), steps, asked: Cell::new(0) }
        }

        pub(crate) fn len(&self) -> usize {
            self.steps.len()
        }

        pub(crate) fn at(&self, step: usize, path: &[&str]) -> Option<&Json> {
            self.asked.set(self.asked.get() + 1);
            path.iter().try_fold(self.steps.get(step)?, |value, key| value.get(key))
        }

        /// The recorded bag's texts. A value that was recorded decoded without its text is not there.
        pub(crate) fn bag(&self, step: usize, relation: &str, whose: &str) -> Option<Bag> {
            let members = self.at(step, &["relations", relation, whose])?.as_object()?;
            let text = |value: &Json| value.as_str().or_else(|| value.get("text")?.as_str()).map(str::to_owned);
            Some(members.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect())
        }
    }

    /// `"="` means: as in the step before. Also within what both steps have.
    fn fill_in(value: &mut Json, before: &Json) {
        if value.as_str() == Some("=") {
            *value = before.clone();
        } else if let (Json::Object(members), Json::Object(old)) = (value, before) {
            for (key, member) in members {
                if let Some(old) = old.get(key) {
                    fill_in(member, old);
                }
            }
        }
    }

    #[test]
    fn a_text_that_means_the_same_is_kept() {
        let wished = Json::parse(r#"{"a": 1, "b": "x"}"#).unwrap();
        assert_eq!(json_text(Some(r#"{"b":"x","a":1}"#), &wished), r#"{"b":"x","a":1}"#);
        assert_eq!(json_text(Some(r#"{"b":"y","a":1}"#), &wished), r#"{"a": 1, "b": "x"}"#);
        assert_eq!(json_text(Some("{"), &wished), r#"{"a": 1, "b": "x"}"#);
        assert_eq!(json_text(None, &wished), r#"{"a": 1, "b": "x"}"#);
        assert_eq!(yaml_text(Some("{b: 'x', a: 1}"), &wished), "{b: 'x', a: 1}");
        assert_eq!(yaml_text(Some("b: 'x'"), &wished), "a: 1\nb: x\n");
    }
}
