//! Values over time.
//!
//! Delta types: sums per bucket and group of labels, from stored totals wherever a profile lies in one
//! bucket whole and none of its samples is left out or grouped apart. Moments (non-delta types): the first
//! profile of each bucket, for every series on its own.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use foldhash::fast::RandomState;
use profile::ValueType;
use store::part::{Part, PartLabelSets};

use crate::catalogue::is_cpu_time;
use crate::engine::{Context, Engine};
use crate::error::{ErrorKind, QueryError};
use crate::pick::{Picked, Query, pick, series_labels, set_label, set_labels, visit_samples};
use crate::report::{RangeSample, Series};
use crate::request::{RangeRequest, ValidatedRange};

type LabelPairs = Vec<(String, String)>;

pub(crate) fn query_range(
    engine: &Engine,
    context: &Context,
    request: &RangeRequest,
) -> Result<Vec<Series>, QueryError> {
    let range = request.validate()?;
    let query = Query::parse(&request.query)?;
    let mut sum_by: Vec<&str> = request.sum_by.iter().map(String::as_str).collect();
    sum_by.sort_unstable();
    sum_by.dedup();
    let grouping = if query.profile_type.delta { Grouping::By(sum_by) } else { Grouping::All };
    let mut points = Points::new(query.profile_type.delta, range.step, engine.options().series_max);
    for part in engine.parts(context, Some((range.start, range.end))) {
        context.check()?;
        add_part(context, &*part, &query, &range, &grouping, &mut points)?;
    }
    let series = points.into_series(&query);
    if series.is_empty() { Err(QueryError::no_data()) } else { Ok(series) }
}

/// Which labels tell series apart.
enum Grouping<'a> {
    /// These, sorted.
    By(Vec<&'a str>),
    All,
}

impl Grouping<'_> {
    /// Labels of samples in `set` of a stream. The stream's labels win a clash.
    fn labels(&self, stream: &profile::Labels, sets: Option<(&PartLabelSets, u32)>) -> LabelPairs {
        match self {
            Self::By(names) => {
                let value = |name: &str| match stream.get(name) {
                    Some(value) => Some(value.to_owned()),
                    None => sets.and_then(|(sets, set)| set_label(sets, set, name)).map(|value| value.into_owned()),
                };
                names.iter().filter_map(|&name| Some((name.to_owned(), value(name)?))).collect()
            }
            Self::All => series_labels(stream, sets),
        }
    }

    /// Whether samples of one profile of the stream may fall into several series.
    fn splits(&self, part: &dyn Part, row: u32, stream: &profile::Labels) -> Result<bool, QueryError> {
        let may_split = match self {
            Self::By(names) => names.iter().any(|name| stream.get(name).is_none()),
            Self::All => true,
        };
        if !may_split {
            return Ok(false);
        }
        let of_stream = part.stream_label_sets(row)?;
        if of_stream.iter().all(|&set| set == 0) {
            return Ok(false);
        }
        let sets = part.label_sets()?;
        Ok(of_stream.iter().any(|&set| match self {
            Self::By(names) => {
                names.iter().any(|name| stream.get(name).is_none() && set_label(&sets, set, name).is_some())
            }
            Self::All => set_labels(&sets, set).next().is_some(),
        }))
    }
}

fn add_part(
    context: &Context,
    part: &dyn Part,
    query: &Query,
    range: &ValidatedRange,
    grouping: &Grouping<'_>,
    points: &mut Points,
) -> Result<(), QueryError> {
    let times_period = query.profile_type.delta && query.counts_periods();
    let picked = pick(part, query, &(range.start..=range.end), times_period)?;
    let profiles = part.profiles();
    // per stream: its series where samples do not split it
    let mut whole_series: HashMap<u32, Option<usize>, RandomState> = HashMap::default();
    let mut from_samples: Vec<Picked> = Vec::new();
    for picked in picked {
        let stream = &part.streams()[picked.stream as usize];
        let series = match whole_series.get(&picked.stream) {
            Some(series) => *series,
            None => {
                let splits = grouping.splits(part, picked.stream, &stream.labels)?;
                let series = if splits { None } else { Some(points.series(grouping.labels(&stream.labels, None))?) };
                whole_series.insert(picked.stream, series);
                series
            }
        };
        let profile = picked.profile as usize;
        let (first, last) = (profiles.time[profile], profiles.time_max[profile]);
        let one_bucket = bucket(first, range.step) == bucket(last, range.step);
        match series {
            Some(series) if picked.whole && one_bucket && picked.label_sets.is_none() => {
                let (sum, nonzero) = profiles.total(profile, usize::from(picked.value));
                let value = sum.wrapping_mul(picked.weight);
                points.add(
                    series,
                    Point { time: first, last, value, count: nonzero, duration: profiles.duration[profile] },
                );
            }
            _ => from_samples.push(picked),
        }
    }
    if from_samples.is_empty() {
        return Ok(());
    }
    add_samples(context, part, range, grouping, &from_samples, &whole_series, points)
}

/// Adds values sample by sample, for what totals cannot tell.
fn add_samples(
    context: &Context,
    part: &dyn Part,
    range: &ValidatedRange,
    grouping: &Grouping<'_>,
    picked: &[Picked],
    whole_series: &HashMap<u32, Option<usize>, RandomState>,
    points: &mut Points,
) -> Result<(), QueryError> {
    let sets: Arc<PartLabelSets> = part.label_sets()?;
    let profiles = part.profiles();
    let mut split_series: HashMap<(u32, u32), usize, RandomState> = HashMap::default();
    let picks: Vec<_> = picked.iter().map(Picked::as_pick).collect();
    visit_samples(context, part, &picks, |sample| {
        if sample.time < range.start || sample.time > range.end {
            return Ok(ControlFlow::Continue(()));
        }
        let picked = &picked[sample.pick as usize];
        let series = match whole_series.get(&picked.stream) {
            Some(Some(series)) => *series,
            _ => match split_series.get(&(picked.stream, sample.label_set)) {
                Some(series) => *series,
                None => {
                    let stream = &part.streams()[picked.stream as usize].labels;
                    let series = points.series(grouping.labels(stream, Some((&sets, sample.label_set))))?;
                    split_series.insert((picked.stream, sample.label_set), series);
                    series
                }
            },
        };
        let duration = profiles.duration[picked.profile as usize];
        let point = Point { time: sample.time, last: sample.time, value: sample.value, count: 1, duration };
        points.add(series, point);
        Ok(ControlFlow::Continue(()))
    })
}

/// The bucket of a time, as its begin. Steps are positive.
fn bucket(time: i64, step: i64) -> i64 {
    time.div_euclid(step).saturating_mul(step)
}

/// Some samples of one profile, added up.
struct Point {
    /// ns, of the earliest and the latest sample.
    time: i64,
    last: i64,
    value: i64,
    count: u32,
    duration: i64,
}

/// What a bucket of a rate has so far.
struct Bucket {
    /// ns, of the earliest and the latest sample.
    first: i64,
    last: i64,
    value: i64,
    count: u64,
    duration_min: i64,
}

enum Line {
    /// By begin of the bucket.
    Rates(BTreeMap<i64, Bucket>),
    /// Sums by time.
    Moments(BTreeMap<i64, i64>),
}

/// Sums by series and time.
struct Points {
    delta: bool,
    step: i64,
    series_max: usize,
    series_of: HashMap<LabelPairs, usize, RandomState>,
    lines: Vec<Line>,
}

impl Points {
    fn new(delta: bool, step: i64, series_max: usize) -> Self {
        Self { delta, step, series_max, series_of: HashMap::default(), lines: Vec::new() }
    }

    fn series(&mut self, labels: LabelPairs) -> Result<usize, QueryError> {
        if let Some(&series) = self.series_of.get(&labels) {
            return Ok(series);
        }
        let series = self.series_of.len();
        if series == self.series_max {
            return Err(QueryError::new(
                ErrorKind::ResourceExhausted,
                format!(
                    "the query gives more than {series} series: narrow it down with matchers, or sum by fewer labels"
                ),
            ));
        }
        self.series_of.insert(labels, series);
        self.lines.push(if self.delta { Line::Rates(BTreeMap::new()) } else { Line::Moments(BTreeMap::new()) });
        Ok(series)
    }

    fn add(&mut self, series: usize, point: Point) {
        match &mut self.lines[series] {
            Line::Moments(values) => {
                let value = values.entry(point.time).or_insert(0);
                *value = value.wrapping_add(point.value);
            }
            Line::Rates(buckets) => {
                let bucket = buckets.entry(bucket(point.time, self.step)).or_insert(Bucket {
                    first: point.time,
                    last: point.last,
                    value: 0,
                    count: 0,
                    duration_min: point.duration,
                });
                bucket.first = bucket.first.min(point.time);
                bucket.last = bucket.last.max(point.last);
                bucket.value = bucket.value.wrapping_add(point.value);
                bucket.count += u64::from(point.count);
                bucket.duration_min = bucket.duration_min.min(point.duration);
            }
        }
    }

    /// Series by labels; those without a point are left out.
    fn into_series(self, query: &Query) -> Vec<Series> {
        let summed = query.summed_type();
        let mut series: Vec<Series> = Vec::with_capacity(self.lines.len());
        let mut labels: Vec<(LabelPairs, usize)> = self.series_of.into_iter().collect();
        labels.sort_unstable();
        let mut lines: Vec<Option<Line>> = self.lines.into_iter().map(Some).collect();
        for (labels, line) in labels {
            let (period_type, sample_type, samples) = match lines[line].take() {
                Some(Line::Rates(buckets)) => (
                    Some(query.profile_type.period.clone()),
                    Some(summed.clone()),
                    buckets.into_iter().map(|(time, bucket)| bucket.rate(time, self.step, summed)).collect(),
                ),
                Some(Line::Moments(values)) => (None, None, moments(values, self.step)),
                None => continue,
            };
            series.push(Series { labels, period_type, sample_type, samples });
        }
        series.retain(|series| !series.samples.is_empty());
        series
    }
}

impl Bucket {
    /// The duration is that of the shortest profile if all were taken at one time, else the step.
    fn rate(self, time: i64, step: i64, summed: &ValueType) -> RangeSample {
        let duration = if self.first == self.last { self.duration_min } else { step };
        let over = if is_cpu_time(summed) { duration as f64 } else { duration as f64 / NS_PER_SECOND };
        RangeSample {
            time,
            value: self.value,
            value_per_second: if duration == 0 { 0.0 } else { self.value as f64 / over },
            duration,
            count: i32::try_from(self.count).unwrap_or(i32::MAX),
        }
    }
}

const NS_PER_SECOND: f64 = 1e9;

/// The first moment of each bucket; the others are counted only.
fn moments(values: BTreeMap<i64, i64>, step: i64) -> Vec<RangeSample> {
    let mut samples: Vec<RangeSample> = Vec::new();
    for (time, value) in values {
        match samples.last_mut() {
            Some(last) if bucket(last.time, step) == bucket(time, step) => last.count = last.count.saturating_add(1),
            _ => samples.push(RangeSample { time, value, value_per_second: value as f64, duration: 0, count: 1 }),
        }
    }
    samples
}
