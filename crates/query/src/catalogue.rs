//! What there is: profile types, label names, label values. Blocks that lie in the range whole tell these themselves; of
//! others it reads profile rows, and samples only where those do not say which labels lie in the range.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;

use foldhash::fast::RandomState;
use profile::{ProfileType, Stream, ValueType};
use store::listing::Listing;
use store::part::{Part, Pick, SampleRow};

use crate::engine::{Context, Engine};
use crate::error::{ErrorKind, QueryError};
use crate::pick::{Query, StreamPick, series_labels, set_labels, visit_samples};
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
        for stream in present_streams(context, &**part, request.range(), None)? {
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
    // samples are read only where no profile lies in the range whole, wherever it is
    let mut cut = Vec::new();
    for part in &listing.parts {
        context.check()?;
        let presence = Presence::of_profiles(&**part, request.range(), None);
        if !presence.is_empty() {
            return Ok(true);
        }
        if !presence.open.is_empty() {
            cut.push(presence);
        }
    }
    for mut presence in cut {
        context.check()?;
        presence.read(context, request.range(), true)?;
        if !presence.is_empty() {
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
    let max = engine.options().series_max;
    let mut found = BTreeSet::new();
    for part in engine.parts(context, request.bounds.range()) {
        context.check()?;
        for query in &queries {
            for (stream, sets) in streams_with_sets(context, &*part, request.bounds.range(), Some(query))? {
                let table = if sets == [0] { None } else { Some(part.label_sets()?) };
                for set in sets {
                    let labels = series_labels(&stream.labels, table.as_deref().map(|table| (table, set)));
                    found.insert(SeriesName { profile_type: query.profile_type.clone(), labels });
                }
                if found.len() > max {
                    let what = format!("more than {max} series match: narrow it down with matchers or less time");
                    return Err(QueryError::new(ErrorKind::ResourceExhausted, what));
                }
            }
        }
    }
    Ok(found.into_iter().collect())
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
        for_each_label(context, &**part, bounds.range(), query, visit)?;
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

/// What of a part lies in a range.
struct Presence<'a> {
    part: &'a dyn Part,
    /// By row of [`Part::streams`].
    streams: Vec<Present<'a>>,
    /// A profile that the range cuts, and a value of its stream that no whole profile has: its samples tell where they lie.
    open: Vec<(u32, u16)>,
}

impl<'a> Presence<'a> {
    /// As far as profiles tell, of the streams and values that `wanted` names; `None` for all.
    fn of_profiles(part: &'a dyn Part, range: Option<(i64, i64)>, wanted: Option<&[Option<StreamPick>]>) -> Self {
        let profiles = part.profiles();
        let streams = part.streams().iter().enumerate();
        let mut streams: Vec<Present<'a>> = streams
            .map(|(row, stream)| {
                let values = vec![false; stream.sample_types.len()];
                Present { row: row as u32, stream, values, profiles: Vec::new(), whole: true }
            })
            .collect();
        let mut cut: Vec<usize> = Vec::new();
        for profile in 0..profiles.len() {
            let stream = profiles.stream[profile] as usize;
            if wanted.is_some_and(|wanted| wanted[stream].is_none()) {
                continue;
            }
            let (first, last) = (profiles.time[profile], profiles.time_max[profile]);
            let of = &mut streams[stream];
            if range.is_some_and(|(start, end)| start > end || last < start || first > end) {
                of.whole = false;
                continue;
            }
            of.profiles.push(profile as u32);
            if range.is_some_and(|(start, end)| first < start || last > end) {
                of.whole = false;
                cut.push(profile);
            } else if of.values.contains(&false) {
                for (value, present) in of.values.iter_mut().enumerate() {
                    *present |= profiles.total(profile, value).1 > 0;
                }
            }
        }
        let is_wanted = |stream: usize, value: usize| match wanted.and_then(|wanted| wanted[stream].as_ref()) {
            Some(pick) => pick.values.contains(&(value as u16)),
            None => wanted.is_none(),
        };
        let mut open = Vec::new();
        for profile in cut {
            let stream = profiles.stream[profile] as usize;
            for (value, present) in streams[stream].values.iter().enumerate() {
                if !present && profiles.total(profile, value).1 > 0 && is_wanted(stream, value) {
                    open.push((profile as u32, value as u16));
                }
            }
        }
        Self { part, streams, open }
    }

    fn is_empty(&self) -> bool {
        self.streams.iter().all(|stream| !stream.values.contains(&true))
    }

    /// Looks at samples of what is open, until nothing is; with `one` until anything is known to be there.
    fn read(&mut self, context: &Context, range: Option<(i64, i64)>, one: bool) -> Result<(), QueryError> {
        let open = std::mem::take(&mut self.open);
        let stream = &self.part.profiles().stream;
        let of = |&(profile, value): &(u32, u16)| (stream[profile as usize] as usize, usize::from(value));
        let mut left = if one { 1 } else { open.iter().map(of).collect::<BTreeSet<_>>().len() };
        let streams = &mut self.streams;
        let picks: Vec<Pick<'_>> = open.iter().map(|&(profile, value)| pick_all(profile, value)).collect();
        visit_between(context, self.part, &picks, range, |sample| {
            let (stream, value) = of(&open[sample.pick as usize]);
            left -= usize::from(!std::mem::replace(&mut streams[stream].values[value], true));
            left > 0
        })
    }
}

/// All samples of a profile that have this value.
fn pick_all(profile: u32, value: u16) -> Pick<'static> {
    Pick { profile, value, weight: 1, label_sets: None }
}

/// The streams of which some value is present.
fn present_streams<'a>(
    context: &Context,
    part: &'a dyn Part,
    range: Option<(i64, i64)>,
    wanted: Option<&[Option<StreamPick>]>,
) -> Result<Vec<Present<'a>>, QueryError> {
    let mut presence = Presence::of_profiles(part, range, wanted);
    presence.read(context, range, false)?;
    presence.streams.retain(|stream| stream.values.contains(&true));
    Ok(presence.streams)
}

/// Visits samples in the range for as long as `visit` wants more.
fn visit_between(
    context: &Context,
    part: &dyn Part,
    picks: &[Pick<'_>],
    range: Option<(i64, i64)>,
    mut visit: impl FnMut(SampleRow) -> bool,
) -> Result<(), QueryError> {
    if picks.is_empty() {
        return Ok(());
    }
    visit_samples(context, part, picks, |sample| {
        let is_within = range.is_none_or(|(start, end)| start <= sample.time && sample.time <= end);
        Ok(if is_within && !visit(sample) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })
}

/// The labels of one stream that may be listed.
struct Candidate<'a> {
    present: Present<'a>,
    values: Vec<u16>,
    /// Sample label sets of which any may be listed, ascending.
    sets: Vec<u32>,
    /// Whether only samples tell which of them lie in the range.
    ask: bool,
}

/// The streams that have samples in the range, of all or of those that `query` means; with each the sample label sets that are
/// met there, ascending.
fn streams_with_sets<'a>(
    context: &Context,
    part: &'a dyn Part,
    range: Option<(i64, i64)>,
    query: Option<&Query>,
) -> Result<impl Iterator<Item = (&'a Stream, Vec<u32>)>, QueryError> {
    let wanted = query.map(|query| query.streams(part)).transpose()?;
    let mut candidates = Vec::new();
    for present in present_streams(context, part, range, wanted.as_deref())? {
        let (values, filter) = match &wanted {
            None => ((0..present.values.len() as u16).collect(), None),
            Some(wanted) => match &wanted[present.row as usize] {
                Some(pick) => (pick.values.clone(), pick.label_sets.clone()),
                None => continue,
            },
        };
        if !values.iter().any(|&value| present.values[usize::from(value)]) {
            continue;
        }
        let of_stream = part.stream_label_sets(present.row)?;
        let sets = of_stream.iter().copied().filter(|&set| filter.as_ref().is_none_or(|filter| filter[set as usize]));
        let sets: Vec<u32> = sets.collect();
        let all_values = values.len() == present.values.len();
        let ask = of_stream.iter().any(|&set| set != 0) && !(present.whole && all_values);
        candidates.push(Candidate { present, values, sets, ask });
    }
    keep_sets_between(context, part, range, &mut candidates)?;
    let candidates = candidates.into_iter().filter(|candidate| !candidate.sets.is_empty());
    Ok(candidates.map(|Candidate { present, sets, .. }| (present.stream, sets)))
}

/// Visits labels of streams and of their samples; some more than once.
fn for_each_label(
    context: &Context,
    part: &dyn Part,
    range: Option<(i64, i64)>,
    query: Option<&Query>,
    visit: &mut dyn FnMut(&str, &str),
) -> Result<(), QueryError> {
    for (stream, sets) in streams_with_sets(context, part, range, query)? {
        stream.labels.iter().for_each(|(name, value)| visit(name, value));
        if sets == [0] {
            continue;
        }
        let table = part.label_sets()?;
        for set in sets {
            for (name, value) in set_labels(&table, set) {
                // the stream's label wins a clash
                if stream.labels.get(&name).is_none() {
                    visit(&name, &value);
                }
            }
        }
    }
    Ok(())
}

/// Leaves of the candidates that have to be asked those sets that samples in the range have where they have a wanted value.
///
/// Most streams show all of their sets in any profile, but one set that lies outside of the range costs all of a stream's
/// profiles. So the first read takes one profile of each stream, and every further one twice as many of those of
/// which sets are missing.
fn keep_sets_between(
    context: &Context,
    part: &dyn Part,
    range: Option<(i64, i64)>,
    candidates: &mut [Candidate<'_>],
) -> Result<(), QueryError> {
    let profiles = part.profiles();
    // by candidate and set
    let mut missing: HashSet<(u32, u32), RandomState> = HashSet::default();
    // per candidate: how many sets are missing, and what was not read yet
    let mut left = vec![0usize; candidates.len()];
    let mut unread: Vec<std::vec::IntoIter<u32>> = Vec::with_capacity(candidates.len());
    for (row, candidate) in candidates.iter_mut().enumerate() {
        if candidate.ask {
            missing.extend(candidate.sets.iter().map(|&set| (row as u32, set)));
            left[row] = candidate.sets.len();
        }
        unread.push(std::mem::take(&mut candidate.present.profiles).into_iter());
    }
    let mut at_once = 1;
    while !missing.is_empty() {
        let mut wanted: Vec<(Pick<'_>, u32)> = Vec::new();
        for (row, candidate) in candidates.iter().enumerate().filter(|(row, _)| left[*row] > 0) {
            for profile in unread[row].by_ref().take(at_once) {
                let values = candidate.values.iter().copied();
                let values = values.filter(|&value| profiles.total(profile as usize, usize::from(value)).1 > 0);
                wanted.extend(values.map(|value| (pick_all(profile, value), row as u32)));
            }
        }
        if wanted.is_empty() && unread.iter().zip(&left).all(|(unread, &left)| left == 0 || unread.len() == 0) {
            break;
        }
        wanted.sort_by_key(|(pick, _)| pick.profile);
        let (picks, of): (Vec<Pick<'_>>, Vec<u32>) = wanted.into_iter().unzip();
        let mut last = None;
        visit_between(context, part, &picks, range, |sample| {
            let seen = (of[sample.pick as usize], sample.label_set);
            if last.replace(seen) != Some(seen) && missing.remove(&seen) {
                left[seen.0 as usize] -= 1;
            }
            !missing.is_empty()
        })?;
        at_once *= 2;
    }
    for (row, candidate) in candidates.iter_mut().enumerate() {
        candidate.sets.retain(|&set| !missing.contains(&(row as u32, set)));
    }
    Ok(())
}

/// Whether a rate of this type is in cores: ns of CPU per ns.
pub(crate) fn is_cpu_time(value_type: &ValueType) -> bool {
    value_type.kind == "cpu" && value_type.unit == "nanoseconds"
}
