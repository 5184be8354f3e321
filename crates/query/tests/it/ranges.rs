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

fn expected(profiles: &[Profile], sum_by: &[&str], step: i64, range: (i64, i64)) -> Buckets {
    let mut buckets = Buckets::new();
    for profile in profiles.iter().filter(|profile| profile.time >= range.0 && profile.time <= range.1) {
        for sample in &profile.samples {
            let Some(value) = value(profile, sample, 0, true) else { continue };
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
        let request = RangeRequest {
            query: TYPE_SAMPLES.to_owned(),
            start: Some(range.0),
            end: Some(range.1),
            step: Some(step),
            limit: 0,
            // order and repetition mean nothing
            sum_by: sum_by.iter().rev().chain(&sum_by).map(|&name| name.to_owned()).collect(),
        };
        let expected = expected(&profiles, &sum_by, step, range);
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

#[test]
fn labels_and_values_are_those_of_streams_and_samples() {
    for seed in 0..200 {
        let profiles = profiles(seed);
        let engine = engine(seed, &profiles);
        let mut expected: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for profile in &profiles {
            let any = profile.samples.iter().any(|sample| sample.values != [0, 0]);
            for (name, value) in profile.labels.iter().filter(|_| any) {
                expected.entry(name).or_default().insert(value);
            }
            // a stream's label wins a clash; labels of samples without a value count too, as reading samples is dear
            for (name, value) in profile.samples.iter().filter(|_| any).flat_map(|sample| &sample.labels) {
                if profile.labels.get(name).is_none() {
                    expected.entry(name).or_default().insert(value);
                }
            }
        }
        let context = Context::default();
        let names = engine.labels(&context, &LabelsRequest::default()).expect("names");
        // parts share streams between profiles, so labels of a profile without values may show as well
        let missing: Vec<&&str> = expected.keys().filter(|name| !names.iter().any(|known| known == **name)).collect();
        assert!(missing.is_empty(), "seed {seed}: {missing:?}");
        for (name, values) in &expected {
            let request = ValuesRequest { label_name: (*name).to_owned(), ..ValuesRequest::default() };
            let known = engine.values(&context, &request).expect("values");
            assert!(values.iter().all(|value| known.iter().any(|known| known == value)), "seed {seed}: {name}");
            assert!(known.is_sorted());
        }
    }
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
