//! What there is: profile types, label names, label values. Blocks that lie in the range whole tell these themselves; of
//! others it reads profile rows, never samples.

use std::collections::BTreeSet;

use profile::{ProfileType, Stream, ValueType};
use store::listing::Listing;
use store::part::Part;

use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::pick::{Query, set_labels};
use crate::request::{LabelsRequest, TypesRequest, ValuesRequest};

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
        for stream in present_streams(&**part, request) {
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
        if !present_streams(&**part, request).is_empty() {
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
        for_each_label(&**part, bounds, query, visit)?;
    }
    Ok(())
}

/// A stream with profiles in the range.
struct Present<'a> {
    row: u32,
    stream: &'a Stream,
    /// Per sample type, whether any sample has a value.
    values: Vec<bool>,
}

fn present_streams<'a>(part: &'a dyn Part, bounds: &TypesRequest) -> Vec<Present<'a>> {
    let range = bounds.range();
    let profiles = part.profiles();
    let mut present: Vec<Option<Vec<bool>>> = vec![None; part.streams().len()];
    for profile in 0..profiles.len() {
        let (first, last) = (profiles.time[profile], profiles.time_max[profile]);
        if range.is_some_and(|(start, end)| start > end || last < start || first > end) {
            continue;
        }
        let stream = profiles.stream[profile] as usize;
        let width = part.streams()[stream].sample_types.len();
        let values = present[stream].get_or_insert_with(|| vec![false; width]);
        if !values.iter().all(|&present| present) {
            for (value, present) in values.iter_mut().enumerate() {
                *present |= profiles.total(profile, value).1 > 0;
            }
        }
    }
    let rows = present.into_iter().zip(part.streams()).enumerate();
    rows.filter_map(|(row, (values, stream))| {
        let values = values.filter(|values| values.contains(&true))?;
        Some(Present { row: row as u32, stream, values })
    })
    .collect()
}

/// Visits labels of streams and of their samples; some more than once.
fn for_each_label(
    part: &dyn Part,
    bounds: &TypesRequest,
    query: Option<&Query>,
    visit: &mut dyn FnMut(&str, &str),
) -> Result<(), QueryError> {
    let picks = query.map(|query| query.streams(part)).transpose()?;
    for present in present_streams(part, bounds) {
        let mut filter = None;
        if let Some(picks) = &picks {
            match &picks[present.row as usize] {
                Some(pick) if pick.values.iter().any(|&value| present.values[usize::from(value)]) => {
                    filter = pick.label_sets.clone();
                }
                _ => continue,
            }
        }
        let labels = &present.stream.labels;
        labels.iter().for_each(|(name, value)| visit(name, value));
        let of_stream = part.stream_label_sets(present.row)?;
        let mut sets = of_stream.iter().filter(|&&set| set != 0).peekable();
        if sets.peek().is_none() {
            continue;
        }
        let table = part.label_sets()?;
        for &set in sets.filter(|&&set| filter.as_ref().is_none_or(|filter| filter[set as usize])) {
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

/// Whether a rate of this type is in cores: ns of CPU per ns.
pub(crate) fn is_cpu_time(value_type: &ValueType) -> bool {
    value_type.kind == "cpu" && value_type.unit == "nanoseconds"
}
