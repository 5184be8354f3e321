//! Values over time against sums sample by sample.

use std::collections::{BTreeMap, BTreeSet};

use profile::{LabelSets, ValueType};
use query::request::{LabelsRequest, RangeRequest, TypesRequest, ValuesRequest};
use query::{Context, ErrorKind, Series};

use crate::oracle::{label, value};
use crate::random::{Profile, Random, SECOND, profiles};
use crate::reports::engine;

const TYPE_SAMPLES: &str = "process_cpu:samples:count:cpu:nanoseconds:delta";

type Labels = Vec<(String, String)>;

/// Per series and bucket: (sum, samples, times, shortest duration).
type Buckets = BTreeMap<Labels, BTreeMap<i64, (i64, i32, BTreeSet<i64>, i64)>>;

/// A matcher of a label: its text, and whether it holds for a value. An absent label is the empty text.
type Matcher = (String, &'static str, fn(&str) -> bool);

fn matcher(random: &mut Random) -> Option<Matcher> {
    let name = *random.pick(&["endpoint", "job", "zone", "nosuch"]);
    let (condition, holds): (&str, fn(&str) -> bool) = match random.below(8) {
        0 => (r#"="GET""#, |value| value == "GET"),
        1 => (r#"!="web""#, |value| value != "web"),
        2 => (r#"=~"e|P""#, |value| value.contains(['e', 'P'])),
        3 => (r#"!~"u""#, |value| !value.contains('u')),
        4 => (r#"="""#, |value| value.is_empty()),
        _ => return None,
    };
    Some((format!("{{{name}{condition}}}"), name, holds))
}

fn expected(profiles: &[Profile], sum_by: &[&str], step: i64, range: (i64, i64), matcher: &Option<Matcher>) -> Buckets {
    let mut buckets = Buckets::new();
    for profile in profiles.iter().filter(|profile| profile.time >= range.0 && profile.time <= range.1) {
        for sample in &profile.samples {
            let Some(value) = value(profile, sample, 0, true) else { continue };
            if matcher.as_ref().is_some_and(|(_, name, holds)| !holds(label(profile, sample, name).unwrap_or(""))) {
                continue;
            }
            let labels: Labels = sum_by
                .iter()
                .filter_map(|name| Some(((*name).to_owned(), label(profile, sample, name)?.to_owned())))
                .collect();
            let bucket = buckets.entry(labels).or_default().entry(profile.time / step * step);
            let bucket = bucket.or_insert((0, 0, BTreeSet::new(), profile.duration));
            bucket.0 += value;
            bucket.1 += 1;
            bucket.2.insert(profile.time);
            bucket.3 = bucket.3.min(profile.duration);
        }
    }
    buckets
}

#[test]
fn rates_are_sums_per_bucket_and_group_whatever_the_parts() {
    for seed in 0..400 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut random = Random::new(seed ^ 0x4A9);
        let sum_by: Vec<&str> = ["endpoint", "job", "zone"].into_iter().filter(|_| random.chance(2)).collect();
        let step = (1 + random.below(30) as i64) * SECOND;
        let range = (1_000 * SECOND + random.below(20) as i64 * SECOND, 1_040 * SECOND);
        let matcher = matcher(&mut random);
        let selector = matcher.as_ref().map_or("", |(text, _, _)| text);
        let request = RangeRequest {
            query: format!("{TYPE_SAMPLES}{selector}"),
            start: Some(range.0),
            end: Some(range.1),
            step: Some(step),
            limit: 0,
            // order and repetition mean nothing
            sum_by: sum_by.iter().rev().chain(&sum_by).map(|&name| name.to_owned()).collect(),
        };
        let expected = expected(&profiles, &sum_by, step, range, &matcher);
        let answer = engine.query_range(&Context::default(), &request);
        if expected.is_empty() {
            assert_eq!(answer.expect_err("nothing").kind, ErrorKind::NotFound, "seed {seed}");
            continue;
        }
        let series: Vec<Series> = answer.expect("series");
        assert_eq!(series.iter().map(|series| &series.labels).collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (series, buckets) in series.iter().zip(expected.values()) {
            assert_eq!(series.sample_type, Some(ValueType::new("cpu", "nanoseconds")));
            assert_eq!(series.samples.len(), buckets.len(), "seed {seed}");
            for (sample, (time, (sum, count, times, shortest))) in series.samples.iter().zip(buckets) {
                let duration = if times.len() == 1 { *shortest } else { step };
                assert_eq!(
                    (sample.time, sample.value, sample.count, sample.duration),
                    (*time, *sum, *count, duration),
                    "seed {seed}"
                );
                assert_eq!(sample.value_per_second, *sum as f64 / duration as f64, "seed {seed}: in cores");
            }
        }
    }
}

/// The value of a sample's label.
type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Labels with their values of all samples that have a value (of `sample_type`, or any) within the bounds and that match.
fn listed(
    profiles: &[Profile],
    sample_type: Option<usize>,
    bounds: &TypesRequest,
    matches: &dyn Fn(&Lookup<'_>) -> bool,
) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for profile in profiles {
        let within = match (bounds.start, bounds.end) {
            (Some(start), Some(end)) => start < profile.time && profile.time < end,
            _ => true,
        };
        for sample in profile.samples.iter().filter(|_| within) {
            let has_value = match sample_type {
                Some(of) => sample.values[of] != 0,
                None => sample.values != [0, 0],
            };
            if !has_value || !matches(&|name| label(profile, sample, name).map(str::to_owned)) {
                continue;
            }
            let of_stream = profile.labels.iter().map(|(name, _)| name);
            let of_sample = sample.labels.iter().map(|(name, _)| *name);
            for name in of_stream.chain(of_sample) {
                let value = label(profile, sample, name).expect("it is there");
                found.entry(name.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    found
}

#[test]
fn labels_and_values_are_those_of_the_samples_that_type_bounds_and_matchers_leave() {
    let (mut narrowed, mut seen) = (0, 0);
    for seed in 0..300 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let context = Context::default();
        let mut random = Random::new(seed ^ 0x1AB);
        let every = listed(&profiles, None, &TypesRequest::default(), &|_| true);
        for _ in 0..12 {
            let start = (995 + random.below(60) as i64) * SECOND;
            let bounds = match random.below(3) {
                0 => TypesRequest::default(),
                _ => TypesRequest { start: Some(start), end: Some(start + random.below(40) as i64 * SECOND) },
            };
            let (profile_type, sample_type) = match random.below(3) {
                0 => (String::new(), None),
                1 => (TYPE_SAMPLES.to_owned(), Some(0)),
                _ => ("process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta".to_owned(), Some(1)),
            };
            let (name, value) =
                (*random.pick(&["endpoint", "job", "zone", "nosuch"]), *random.pick(&["GET", "web", "eu"]));
            let equal = random.chance(2);
            // matchers without a type have nothing to be held against
            let (matchers, expected) = if sample_type.is_some() && random.chance(2) {
                let holds = |of: &Lookup<'_>| (of(name).as_deref() == Some(value)) == equal;
                let matcher = format!("{name}{}\"{value}\"", if equal { "=" } else { "!=" });
                (vec![matcher], listed(&profiles, sample_type, &bounds, &holds))
            } else {
                (Vec::new(), listed(&profiles, sample_type, &bounds, &|_| true))
            };
            let request = LabelsRequest { bounds, profile_type: profile_type.clone(), matchers };
            let names = engine.labels(&context, &request).expect("names");
            assert_eq!(names, expected.keys().cloned().collect::<Vec<_>>(), "seed {seed}, {request:?}");
            narrowed += usize::from(expected != every);
            seen += names.len();

            // values heed no matchers
            let expected = listed(&profiles, sample_type, &bounds, &|_| true);
            for label_name in every.keys() {
                let request =
                    ValuesRequest { bounds, profile_type: profile_type.clone(), label_name: label_name.clone() };
                let values = engine.values(&context, &request).expect("values");
                let expected: Vec<String> = expected.get(label_name).into_iter().flatten().cloned().collect();
                assert_eq!(values, expected, "seed {seed}, {request:?}");
            }
        }
    }
    assert!(narrowed > 1000 && seen > 1000, "{narrowed} narrowed, {seen} names");
}

#[test]
fn bounds_of_types_are_exclusive_and_those_of_ranges_inclusive() {
    let mut random = Random::new(1);
    let mut profile = crate::random::profile(&mut random);
    while profile.samples.iter().all(|sample| sample.values[0] == 0) {
        profile = crate::random::profile(&mut random);
    }
    let time = profile.time;
    let engine = engine(1, &[profile]);
    let context = Context::default();
    let types = |start, end| {
        engine.profile_types(&context, &TypesRequest { start: Some(start), end: Some(end) }).expect("types").len()
    };
    assert_eq!(types(time, time + 1), 0);
    assert_eq!(types(time - 1, time), 0);
    assert!(types(time - 1, time + 1) > 0);
    assert!(types(0, 1) > 0, "an unset bound leaves out both");
    let range = |start, end| {
        let request = RangeRequest {
            query: TYPE_SAMPLES.to_owned(),
            start: Some(start),
            end: Some(end),
            step: Some(SECOND),
            ..RangeRequest::default()
        };
        engine.query_range(&context, &request).is_ok()
    };
    assert!(range(time, time));
    assert!(!range(time + 1, time + 2));
}

#[test]
fn moments_keep_all_labels_and_the_first_of_each_step_whatever_the_parts() {
    let (mut several, mut split) = (0, 0);
    for seed in 0..400 {
        let mut random = Random::new(seed ^ 0x303);
        let mut profiles = profiles(seed);
        profiles.iter_mut().for_each(|profile| profile.delta = random.chance(4));
        let engine = engine(seed, &profiles);
        let step = (1 + random.below(30) as i64) * SECOND;
        let range = (1_000 * SECOND + random.below(20) as i64 * SECOND, 1_040 * SECOND);
        let matcher = matcher(&mut random);
        let selector = matcher.as_ref().map_or("", |(text, _, _)| text);
        let request = RangeRequest {
            query: format!("process_cpu:cpu:nanoseconds:cpu:nanoseconds{selector}"),
            start: Some(range.0),
            end: Some(range.1),
            step: Some(step),
            limit: 0,
            // not heeded
            sum_by: vec!["job".to_owned()],
        };
        // by series and time
        let mut sums: BTreeMap<Labels, BTreeMap<i64, i64>> = BTreeMap::new();
        for profile in
            profiles.iter().filter(|profile| !profile.delta && range.0 <= profile.time && profile.time <= range.1)
        {
            for sample in &profile.samples {
                let Some(value) = value(profile, sample, 1, false) else { continue };
                if matcher.as_ref().is_some_and(|(_, name, holds)| !holds(label(profile, sample, name).unwrap_or(""))) {
                    continue;
                }
                let names = ["endpoint", "job", "zone"];
                let labels = names
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), label(profile, sample, name)?.to_owned())));
                *sums.entry(labels.collect()).or_default().entry(profile.time).or_default() += value;
            }
        }
        let answer = engine.query_range(&Context::default(), &request);
        if sums.is_empty() {
            assert_eq!(answer.expect_err("nothing").kind, ErrorKind::NotFound, "seed {seed}");
            continue;
        }
        let series = answer.expect("series");
        assert_eq!(
            series.iter().map(|series| &series.labels).collect::<Vec<_>>(),
            sums.keys().collect::<Vec<_>>(),
            "seed {seed}"
        );
        split += usize::from(series.len() > 1);
        for (series, by_time) in series.iter().zip(sums.values()) {
            assert_eq!((&series.sample_type, &series.period_type), (&None, &None));
            let mut first: BTreeMap<i64, (i64, i64, i32)> = BTreeMap::new();
            for (&time, &value) in by_time {
                first.entry(time / step).and_modify(|bucket| bucket.2 += 1).or_insert((time, value, 1));
            }
            let found: Vec<_> = series.samples.iter().map(|sample| (sample.time, sample.value, sample.count)).collect();
            assert_eq!(found, first.values().copied().collect::<Vec<_>>(), "seed {seed}");
            assert!(
                series
                    .samples
                    .iter()
                    .all(|sample| sample.duration == 0 && sample.value_per_second == sample.value as f64)
            );
            several += usize::from(first.values().any(|bucket| bucket.2 > 1));
        }
    }
    assert!(several > 20 && split > 50, "{several} steps with several moments, {split} answers of several series");
}

#[test]
fn of_several_moments_in_a_step_the_earliest_counts() {
    let mut profiles = Vec::new();
    for (second, cpu) in [(1_000, 7), (1_004, 9), (1_009, 4), (1_010, 5)] {
        let mut profile = crate::random::profile(&mut Random::new(3));
        profile.labels = profile::Labels::from_pairs([("job".to_owned(), "web".to_owned())]);
        profile.delta = false;
        profile.time = second * SECOND;
        profile.samples =
            vec![crate::random::Sample { stack: Vec::new(), values: [0, cpu], labels: vec![("endpoint", "GET")] }];
        profiles.push(profile);
    }
    let engine = engine(5, &profiles);
    let request = RangeRequest {
        query: "process_cpu:cpu:nanoseconds:cpu:nanoseconds".to_owned(),
        start: Some(0),
        end: Some(i64::MAX),
        step: Some(10 * SECOND),
        limit: 0,
        sum_by: vec!["nothing".to_owned()],
    };
    let series = engine.query_range(&Context::default(), &request).expect("series");
    assert_eq!(series.len(), 1);
    let pairs = |pairs: &[(&str, &str)]| -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(series[0].labels, pairs(&[("endpoint", "GET"), ("job", "web")]));
    let samples: Vec<_> =
        series[0].samples.iter().map(|sample| (sample.time / SECOND, sample.value, sample.count)).collect();
    assert_eq!(samples, [(1_000, 7, 3), (1_010, 5, 1)]);
}

#[test]
fn stamped_samples_fall_into_their_own_buckets_and_ranges() {
    let mut profile = crate::random::profile(&mut Random::new(9));
    profile.labels = profile::Labels::default();
    profile.duration = SECOND;
    profile.samples =
        (0..4).map(|_| crate::random::Sample { stack: Vec::new(), values: [1, 10], labels: Vec::new() }).collect();
    let mut batch = crate::random::batch(&[profile]);
    batch.label_sets = LabelSets::with_empty();
    batch.profiles.time = vec![100 * SECOND];
    batch.profiles.time_max = vec![103 * SECOND];
    batch.samples.time = (100..104).map(|second| second * SECOND).collect();
    let source = crate::memory::MemorySource::new([batch]);
    let engine = query::Engine::new(source, query::EngineOptions::default());
    let request = RangeRequest {
        query: "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta".to_owned(),
        start: Some(101 * SECOND),
        end: Some(110 * SECOND),
        step: Some(2 * SECOND),
        ..RangeRequest::default()
    };
    let series = engine.query_range(&Context::default(), &request).expect("series");
    let samples: Vec<_> = series[0].samples.iter().map(|sample| (sample.time / SECOND, sample.value)).collect();
    assert_eq!(samples, [(100, 10), (102, 20)]);
}
