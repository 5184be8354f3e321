//! Which series there are, against a walk over all samples.

use std::collections::{BTreeMap, BTreeSet};

use query::request::{SeriesRequest, TypesRequest};
use query::{Context, Engine, EngineOptions, ErrorKind, SeriesName};

use crate::memory::MemorySource;
use crate::oracle::{label, value};
use crate::random::{Profile, Random, SECOND, Sample, batches, profiles};
use crate::reports::engine;

/// By place among the sample types.
const TYPES: [&str; 2] =
    ["process_cpu:samples:count:cpu:nanoseconds:delta", "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta"];

type Matches = fn(&Profile, &Sample) -> bool;

/// Matchers, and what they mean.
const MATCHERS: [(&str, Matches); 5] = [
    ("", |_, _| true),
    (r#"{job="web"}"#, |profile, sample| label(profile, sample, "job") == Some("web")),
    (r#"{zone=~"^(eu|moon)$"}"#, |profile, sample| matches!(label(profile, sample, "zone"), Some("eu" | "moon"))),
    (r#"{endpoint!="GET",zone=""}"#, |profile, sample| {
        label(profile, sample, "endpoint") != Some("GET") && label(profile, sample, "zone").is_none()
    }),
    (r#"{job="nobody"}"#, |_, _| false),
];

fn name(profile: &Profile, sample: &Sample, value: usize) -> String {
    let mut labels: BTreeMap<&str, &str> = sample.labels.iter().copied().collect();
    labels.extend(profile.labels.iter());
    format!("{} {labels:?}", TYPES[value])
}

fn told(series: Vec<SeriesName>) -> Vec<String> {
    let name = |series: SeriesName| {
        let labels: BTreeMap<&str, &str> =
            series.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        format!("{} {labels:?}", series.profile_type)
    };
    series.into_iter().map(name).collect()
}

#[test]
fn series_are_those_of_the_samples_that_match_within_the_bounds() {
    let mut seen = 0;
    for seed in 0..400 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x5E1);
        let start = (995 + random.below(40) as i64) * SECOND;
        let end = start + random.below(40) as i64 * SECOND;
        let bounds = match random.below(2) {
            0 => TypesRequest::default(),
            _ => TypesRequest { start: Some(start), end: Some(end) },
        };
        let within = |time: i64| bounds.start.is_none() || (time > start && time < end);
        let asked: Vec<(usize, (&str, Matches))> =
            (0..1 + random.below(2)).map(|_| (random.below(2), *random.pick(&MATCHERS))).collect();
        let selectors = asked.iter().map(|(value, (matchers, _))| format!("{}{matchers}", TYPES[*value])).collect();
        let series = engine.series(&Context::default(), &SeriesRequest { bounds, selectors }).expect("series");
        assert!(series.is_sorted_by(|a, b| a < b), "each once, sorted: {series:?}");
        let told = told(series);

        let mut wanted = BTreeSet::new();
        for (value_ix, (_, matches)) in asked {
            for profile in profiles.iter().filter(|profile| within(profile.time)) {
                let samples = profile.samples.iter().filter(|sample| matches(profile, sample));
                let valued = samples.filter(|sample| value(profile, sample, value_ix, false).is_some());
                wanted.extend(valued.map(|sample| name(profile, sample, value_ix)));
            }
        }
        seen += wanted.len();
        assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), wanted, "seed {seed}");
    }
    println!("{seen} series");
    assert!(seen > 500, "{seen} series");
}

#[test]
fn a_question_for_series_needs_a_selector_and_gives_no_more_than_it_may() {
    let profiles = profiles(3);
    let engine = engine(3, &profiles);
    let ask = |engine: &Engine, selectors: &[&str]| {
        let selectors = selectors.iter().map(|&selector| selector.to_owned()).collect();
        engine.series(&Context::default(), &SeriesRequest { selectors, ..SeriesRequest::default() })
    };
    let none = ask(&engine, &[]).expect_err("refused");
    assert_eq!(none.kind, ErrorKind::InvalidArgument);
    assert!(none.message.contains("no selector is given"), "{}", none.message);
    assert_eq!(ask(&engine, &["x"]).expect_err("refused").kind, ErrorKind::InvalidArgument);
    assert!(ask(&engine, &["no:such:type:at:all"]).expect("an answer").is_empty());
    let few = Engine::new(
        MemorySource::new(batches(3, &profiles)),
        EngineOptions { series_max: 1, ..EngineOptions::default() },
    );
    let refused = ask(&few, &[TYPES[0], TYPES[1]]).expect_err("too many");
    assert_eq!(refused.kind, ErrorKind::ResourceExhausted, "{}", refused.message);
}
