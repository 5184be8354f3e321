//! Which profiles, which of their values and which of their samples a selector means, in one part.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use profile::{Labels, ProfileType, Stream, ValueType};
use store::error::ReadError;
use store::part::{Part, PartLabelSets, Pick, SampleRow};

use crate::engine::Context;
use crate::error::QueryError;
use crate::selector::{self, Matcher};

/// A selector, ready to be held against streams.
pub(crate) struct Query {
    pub(crate) profile_type: ProfileType,
    matchers: Vec<Matcher>,
}

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, QueryError> {
        let selector = selector::parse(query).map_err(|error| QueryError::invalid(error.to_string()))?;
        Ok(Self { profile_type: selector.profile_type, matchers: selector.matchers })
    }

    pub(crate) fn has_no_matcher(&self) -> bool {
        self.matchers.is_empty()
    }

    /// Whether values are multiplied by the period in sums over time: counts of samples become what the
    /// samples stand for. Not where there is no period type to name the result by.
    pub(crate) fn counts_periods(&self) -> bool {
        let ProfileType { sample, period, .. } = &self.profile_type;
        sample.kind == "samples" && sample.unit == "count" && !period.kind.is_empty()
    }

    /// What a sum over time is in.
    pub(crate) fn summed_type(&self) -> &ValueType {
        if self.counts_periods() { &self.profile_type.period } else { &self.profile_type.sample }
    }

    /// What this query means among the streams of `part`, by row of [`Part::streams`].
    pub(crate) fn streams(&self, part: &dyn Part) -> Result<Vec<Option<StreamPick>>, ReadError> {
        let streams = part.streams();
        (0..streams.len() as u32).map(|row| self.stream(part, row, &streams[row as usize])).collect()
    }

    fn stream(&self, part: &dyn Part, row: u32, stream: &Stream) -> Result<Option<StreamPick>, ReadError> {
        let wanted = &self.profile_type;
        if stream.name != wanted.name || stream.delta != wanted.delta || stream.period_type != wanted.period {
            return Ok(None);
        }
        let matching = stream.sample_types.iter().enumerate().filter(|(_, sample_type)| **sample_type == wanted.sample);
        let values: Vec<u16> = matching.map(|(value, _)| value as u16).collect();
        if values.is_empty() {
            return Ok(None);
        }
        // a label of the stream decides; one that it lacks may be the samples' own
        let mut undecided = Vec::new();
        for matcher in &self.matchers {
            match stream.labels.get(&matcher.name) {
                Some(value) if !matcher.matches(Some(value)) => return Ok(None),
                Some(_) => {}
                None => undecided.push(matcher),
            }
        }
        let label_sets = if undecided.is_empty() { None } else { sample_filter(part, row, &undecided)? };
        if label_sets.as_ref().is_some_and(|sets| !sets.contains(&true)) {
            return Ok(None);
        }
        Ok(Some(StreamPick { values, label_sets }))
    }
}

/// What is wanted of one stream.
pub(crate) struct StreamPick {
    /// Which sample types; a stream may hold one type twice.
    pub(crate) values: Vec<u16>,
    /// Which sample label sets of the part; `None` for all.
    pub(crate) label_sets: Option<Arc<[bool]>>,
}

/// The label sets among `stream`'s that all `matchers` match; `None` if that is all of them.
fn sample_filter(part: &dyn Part, stream: u32, matchers: &[&Matcher]) -> Result<Option<Arc<[bool]>>, ReadError> {
    let of_stream = part.stream_label_sets(stream)?;
    let without = matchers.iter().all(|matcher| matcher.matches(None));
    if of_stream.iter().all(|&set| set == 0) {
        return Ok((!without).then(|| [false].into()));
    }
    let sets = part.label_sets()?;
    let mut wanted = vec![false; sets.sets.len()];
    let mut all = true;
    for &set in &*of_stream {
        let matches = matchers.iter().all(|matcher| {
            let value = set_label(&sets, set, &matcher.name);
            matcher.matches(value.as_deref())
        });
        wanted[set as usize] = matches;
        all &= matches;
    }
    Ok((!all).then(|| wanted.into()))
}

/// The string label `name` of a set; of several values the first.
pub(crate) fn set_label<'a>(sets: &'a PartLabelSets, set: u32, name: &str) -> Option<Cow<'a, str>> {
    let row = sets
        .sets
        .rows(set)
        .find(|&row| sets.sets.str[row] != 0 && sets.strings.get(sets.sets.key[row]) == name.as_bytes())?;
    Some(sets.strings.get_str(sets.sets.str[row]))
}

/// The string labels of a set. Numeric ones are neither listed nor matched.
pub(crate) fn set_labels(sets: &PartLabelSets, set: u32) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let rows = sets.sets.rows(set).filter(|&row| sets.sets.str[row] != 0);
    rows.map(|row| (sets.strings.get_str(sets.sets.key[row]), sets.strings.get_str(sets.sets.str[row])))
}

/// Labels of samples in `set` of a stream, or of its samples without any. The stream's labels win a clash.
pub(crate) fn series_labels(stream: &Labels, set: Option<(&PartLabelSets, u32)>) -> Vec<(String, String)> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    if let Some((sets, set)) = set {
        for (name, value) in set_labels(sets, set) {
            labels.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
    }
    labels.extend(stream.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    labels.into_iter().collect()
}

/// One value column of one profile that a query reads.
#[derive(Clone)]
pub(crate) struct Picked {
    /// Row of the part's profiles.
    pub(crate) profile: u32,
    pub(crate) stream: u32,
    pub(crate) value: u16,
    /// Each value is multiplied by this.
    pub(crate) weight: i64,
    pub(crate) label_sets: Option<Arc<[bool]>>,
    /// Whether all of the profile's samples lie in the range.
    pub(crate) whole: bool,
}

impl Picked {
    pub(crate) fn as_pick(&self) -> Pick<'_> {
        Pick { profile: self.profile, value: self.value, weight: self.weight, label_sets: self.label_sets.as_deref() }
    }
}

/// The values that `query` means in `part` between the ends of `range` (ns), in ascending order of profile.
pub(crate) fn pick(
    part: &dyn Part,
    query: &Query,
    range: &RangeInclusive<i64>,
    times_period: bool,
) -> Result<Vec<Picked>, ReadError> {
    let streams = query.streams(part)?;
    let mut picked = Vec::new();
    if streams.iter().all(Option::is_none) {
        return Ok(picked);
    }
    let profiles = part.profiles();
    for profile in 0..profiles.len() {
        let Some(stream) = &streams[profiles.stream[profile] as usize] else { continue };
        let (first, last) = (profiles.time[profile], profiles.time_max[profile]);
        if last < *range.start() || first > *range.end() {
            continue;
        }
        for &value in &stream.values {
            // a value that is 0 in every sample is no value, as in Parca
            if profiles.total(profile, usize::from(value)).1 == 0 {
                continue;
            }
            picked.push(Picked {
                profile: profile as u32,
                stream: profiles.stream[profile],
                value,
                weight: if times_period { profiles.period[profile] } else { 1 },
                label_sets: stream.label_sets.clone(),
                whole: range.contains(&first) && range.contains(&last),
            });
        }
    }
    Ok(picked)
}

/// Visits samples until `visit` fails or has seen enough; little more is read then.
pub(crate) fn visit_samples(
    context: &Context,
    part: &dyn Part,
    picks: &[Pick<'_>],
    mut visit: impl FnMut(SampleRow) -> Result<ControlFlow<()>, QueryError>,
) -> Result<(), QueryError> {
    let is_over = Cell::new(false);
    let mut end = Ok(());
    let read = part.samples(picks, &|| !is_over.get() && context.go_on(), &mut |sample| {
        if is_over.get() {
            return;
        }
        match visit(sample) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => is_over.set(true),
            Err(error) => {
                is_over.set(true);
                end = Err(error);
            }
        }
    });
    // a read that was ended here says that it was cancelled
    if is_over.get() { end } else { read.map_err(|error| context.name(error)) }
}
