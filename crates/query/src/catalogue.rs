//! What there is: profile types, label names, label values. Blocks that lie in the range whole tell these themselves; of
//! others it reads profile rows, and samples only where those do not say which labels lie in the range.

use std::cell::Cell;
use std::collections::BTreeSet;

use profile::{ProfileType, Stream, ValueType};
use store::listing::Listing;
use store::part::{Part, Pick, SampleRow};

use crate::engine::{Context, Engine};
use crate::error::{ErrorKind, QueryError};
use crate::pick::{Query, StreamPick, series_labels, set_labels};
use crate::report::SeriesName;
use crate::request::{LabelsRequest, SeriesRequest, TypesRequest, ValuesRequest};

impl TypesRequest {
    /// Inclusive bounds; `None` for all times.
    fn range(&self) -> Option<(i64, i64)> {
        match (self.start.unwrap_or(0), self.end.unwrap_or(0)) {
            (0, _) | (_, 0) => None,
            (start, end) => Some((start.saturating_add(1), end.saturating_sub(1))),
        }
    }
}

pub(crate) fn profile_types(
    engine: &Engine,
    context: &Context,
    request: &TypesRequest,
) -> Result<Vec<ProfileType>, QueryError> {
    let listing = engine.listing(context, request.range());
    let mut types: BTreeSet<ProfileType> = listing.types().into_iter().collect();
    for part in &listing.parts {
        context.check()?;
        for stream in present_streams(context, &**part, request)? {
            for (value, _) in stream.values.iter().enumerate().filter(|(_, present)| **present) {
                types.insert(stream.stream.profile_type(value));
            }
        }
    }
    Ok(types.into_iter().collect())
}

pub(crate) fn has_profile_data(engine: &Engine, context: &Context, request: &TypesRequest) -> Result<bool, QueryError> {
    let listing = engine.listing(context, request.range());
    if !listing.types().is_empty() {
        return Ok(true);
    }
    for part in &listing.parts {
        context.check()?;
        if !present_streams(context, &**part, request)?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn labels(engine: &Engine, context: &Context, request: &LabelsRequest) -> Result<Vec<String>, QueryError> {
    let query = if request.profile_type.is_empty() {
        None
    } else {
        Some(Query::parse(&with_matchers(&request.profile_type, &request.matchers))?)
    };
    let mut names = BTreeSet::new();
    visit_labels(engine, context, &request.bounds, query.as_ref(), &mut |name, _| {
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
    })?;
    Ok(names.into_iter().collect())
}

/// Matchers are ignored, as in Parca; a profile type is heeded.
pub(crate) fn values(engine: &Engine, context: &Context, request: &ValuesRequest) -> Result<Vec<String>, QueryError> {
    let query = if request.profile_type.is_empty() { None } else { Some(Query::parse(&request.profile_type)?) };
    let mut values = BTreeSet::new();
    visit_labels(engine, context, &request.bounds, query.as_ref(), &mut |name, value| {
        if name == request.label_name && !values.contains(value) {
            values.insert(value.to_owned());
        }
    })?;
    Ok(values.into_iter().collect())
}

/// Series that any of the selectors means and that have a value within the bounds, sorted.
pub(crate) fn series(
    engine: &Engine,
    context: &Context,
    request: &SeriesRequest,
) -> Result<Vec<SeriesName>, QueryError> {
    if request.selectors.is_empty() {
        return Err(QueryError::invalid("no selector is given: at least one match, such as a profile type, is needed"));
    }
    let queries = request.selectors.iter().map(|selector| Query::parse(selector));
    let queries = queries.collect::<Result<Vec<_>, _>>()?;
    let mut found = BTreeSet::new();
    for part in engine.parts(context, request.bounds.range()) {
        context.check()?;
        let present = present_streams(context, &*part, &request.bounds)?;
        for query in &queries {
            let picks = query.streams(&*part)?;
            for stream in &present {
                let Some(pick) = &picks[stream.row as usize] else { continue };
                if pick.values.iter().any(|&value| stream.values[usize::from(value)]) {
                    add_series(context, &*part, &request.bounds, stream, (query, pick), &mut found)?;
                }
            }
            let max = engine.options().series_max;
            if found.len() > max {
                let what = format!("more than {max} series match: narrow it down with matchers or less time");
                return Err(QueryError::new(ErrorKind::ResourceExhausted, what));
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn add_series(
    context: &Context,
    part: &dyn Part,
    bounds: &TypesRequest,
    present: &Present<'_>,
    (query, pick): (&Query, &StreamPick),
    found: &mut BTreeSet<SeriesName>,
) -> Result<(), QueryError> {
    let mut sets = part.stream_label_sets(present.row)?.to_vec();
    let mut table = None;
    if sets.iter().any(|&set| set != 0) {
        sets.retain(|&set| pick.label_sets.as_ref().is_none_or(|wanted| wanted[set as usize]));
        sets = sets_between(context, part, bounds, present, &pick.values, &sets)?;
        table = Some(part.label_sets()?);
    }
    for set in sets {
        let labels = series_labels(&present.stream.labels, table.as_deref().map(|table| (table, set)));
        found.insert(SeriesName { profile_type: query.profile_type.clone(), labels });
    }
    Ok(())
}

/// `type{matcher,matcher}`: matchers are joined into the braces, as in Parca.
fn with_matchers(profile_type: &str, matchers: &[String]) -> String {
    if matchers.is_empty() { profile_type.to_owned() } else { format!("{profile_type}{{{}}}", matchers.join(",")) }
}

/// Visits labels of all that `query` means within the bounds; some more than once.
fn visit_labels(
    engine: &Engine,
    context: &Context,
    bounds: &TypesRequest,
    query: Option<&Query>,
    visit: &mut dyn FnMut(&str, &str),
) -> Result<(), QueryError> {
    // what blocks tell is by type: matchers have to be held against streams
    let listing = match query {
        Some(query) if !query.has_no_matcher() => Listing::of_parts(engine.parts(context, bounds.range())),
        _ => engine.listing(context, bounds.range()),
    };
    listing.each_label(query.map(|query| &query.profile_type), visit);
    for part in &listing.parts {
        context.check()?;
        for_each_label(context, &**part, bounds, query, visit)?;
    }
    Ok(())
}

/// A stream of which samples lie in the range.
struct Present<'a> {
    row: u32,
    stream: &'a Stream,
    /// Per sample type, whether any sample in the range has a value.
    values: Vec<bool>,
    /// Rows of its profiles that have samples in the range, or may have.
    profiles: Vec<u32>,
    /// Whether all of its samples in this part lie in the range.
    whole: bool,
}

fn present_streams<'a>(
    context: &Context,
    part: &'a dyn Part,
    bounds: &TypesRequest,
) -> Result<Vec<Present<'a>>, QueryError> {
    let range = bounds.range();
    let profiles = part.profiles();
    let streams = part.streams().iter().enumerate();
    let mut present: Vec<Present<'a>> = streams
        .map(|(row, stream)| {
            let values = vec![false; stream.sample_types.len()];
            Present { row: row as u32, stream, values, profiles: Vec::new(), whole: true }
        })
        .collect();
    let mut cut: Vec<u32> = Vec::new();
    for profile in 0..profiles.len() {
        let (first, last) = (profiles.time[profile], profiles.time_max[profile]);
        let of = &mut present[profiles.stream[profile] as usize];
        if range.is_some_and(|(start, end)| start > end || last < start || first > end) {
            of.whole = false;
            continue;
        }
        of.profiles.push(profile as u32);
        if range.is_some_and(|(start, end)| first < start || last > end) {
            of.whole = false;
            cut.push(profile as u32);
            continue;
        }
        if !of.values.iter().all(|&present| present) {
            for (value, present) in of.values.iter_mut().enumerate() {
                *present |= profiles.total(profile, value).1 > 0;
            }
        }
    }
    // of a profile that the range cuts its samples tell where they lie
    for profile in cut {
        let of = &mut present[profiles.stream[profile as usize] as usize];
        for value in 0..of.values.len() {
            if !of.values[value] {
                let pick = Pick { profile, value: value as u16, weight: 1, label_sets: None };
                each_until(context, part, &[pick], range, &mut |_| {
                    of.values[value] = true;
                    false
                })?;
            }
        }
    }
    present.retain(|present| present.values.contains(&true));
    Ok(present)
}

/// Visits samples in the range until `visit` says that it has seen enough.
fn each_until(
    context: &Context,
    part: &dyn Part,
    picks: &[Pick<'_>],
    range: Option<(i64, i64)>,
    visit: &mut dyn FnMut(SampleRow) -> bool,
) -> Result<(), QueryError> {
    let enough = Cell::new(false);
    let read = part.samples(picks, &|| !enough.get() && context.go_on(), &mut |sample| {
        if !enough.get() && range.is_none_or(|(start, end)| start <= sample.time && sample.time <= end) {
            enough.set(!visit(sample));
        }
    });
    if enough.get() { Ok(()) } else { read.map_err(|error| context.name(error)) }
}

/// Visits labels of streams and of their samples; some more than once.
fn for_each_label(
    context: &Context,
    part: &dyn Part,
    bounds: &TypesRequest,
    query: Option<&Query>,
    visit: &mut dyn FnMut(&str, &str),
) -> Result<(), QueryError> {
    let picks = query.map(|query| query.streams(part)).transpose()?;
    for present in present_streams(context, part, bounds)? {
        let (values, filter) = match &picks {
            None => ((0..present.values.len() as u16).collect(), None),
            Some(picks) => match &picks[present.row as usize] {
                Some(pick) => (pick.values.clone(), pick.label_sets.clone()),
                None => continue,
            },
        };
        if !values.iter().any(|&value| present.values[usize::from(value)]) {
            continue;
        }
        let of_stream = part.stream_label_sets(present.row)?;
        let wanted = of_stream.iter().copied().filter(|&set| filter.as_ref().is_none_or(|filter| filter[set as usize]));
        let mut sets: Vec<u32> = wanted.collect();
        let all_values = values.len() == present.values.len();
        if of_stream.iter().any(|&set| set != 0) && !(present.whole && all_values) {
            sets = sets_between(context, part, bounds, &present, &values, &sets)?;
        }
        if sets.is_empty() {
            continue;
        }
        let labels = &present.stream.labels;
        labels.iter().for_each(|(name, value)| visit(name, value));
        if sets == [0] {
            continue;
        }
        let table = part.label_sets()?;
        for set in sets {
            for (name, value) in set_labels(&table, set) {
                // the stream's label wins a clash
                if labels.get(&name).is_none() {
                    visit(&name, &value);
                }
            }
        }
    }
    Ok(())
}

/// Those of `sets` that samples in the range have where they have one of `values`. Reads samples until each was seen, mostly soon.
fn sets_between(
    context: &Context,
    part: &dyn Part,
    bounds: &TypesRequest,
    present: &Present<'_>,
    values: &[u16],
    sets: &[u32],
) -> Result<Vec<u32>, QueryError> {
    let mut missing = vec![false; sets.last().map_or(0, |&last| last as usize + 1)];
    sets.iter().for_each(|&set| missing[set as usize] = true);
    let mut left = sets.len();
    let profiles = part.profiles();
    let all = present.profiles.iter().flat_map(|&profile| values.iter().map(move |&value| (profile, value)));
    let picks: Vec<Pick<'_>> = all
        .filter(|&(profile, value)| profiles.total(profile as usize, usize::from(value)).1 > 0)
        .map(|(profile, value)| Pick { profile, value, weight: 1, label_sets: None })
        .collect();
    each_until(context, part, &picks, bounds.range(), &mut |sample| {
        left -= usize::from(missing.get_mut(sample.label_set as usize).is_some_and(std::mem::take));
        left > 0
    })?;
    Ok(sets.iter().copied().filter(|&set| !missing[set as usize]).collect())
}

/// Whether a rate of this type is in cores: ns of CPU per ns.
pub(crate) fn is_cpu_time(value_type: &ValueType) -> bool {
    value_type.kind == "cpu" && value_type.unit == "nanoseconds"
}
