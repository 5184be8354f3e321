//! Samples told apart by their labels: which group each one belongs to, and what every group sums up to.
//!
//! A group is what a request's labels are worth: a label of the stream decides, one that it lacks may be the
//! sample's own. A part holds few of all the pairs of group and stack, so its sums are lists and not columns.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use foldhash::fast::RandomState;
use profile::StackIx;
use profile::tree::Weight;
use store::budget::Lease;
use store::part::{PartLabelSets, SampleRow, StackSums};

use crate::engine::{Context, Engine};
use crate::error::{ErrorKind, QueryError};
use crate::merge::{PartPicks, Scope};
use crate::pick::{Picked, set_label, visit_samples};
use crate::report::{Dictionary, LabelColumn, TextColumn};

/// The values of the labels that a request names, in its order; `None` for one that a sample lacks.
pub(crate) type LabelValues = Vec<Option<String>>;

/// Distinct label values, numbered as they are met.
pub(crate) struct Groups<'a> {
    names: &'a [String],
    most: usize,
    pub(crate) values: Vec<LabelValues>,
    known: HashMap<LabelValues, u32, RandomState>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(engine: &Engine, names: &'a [String]) -> Self {
        Self { names, most: engine.options().series_max, values: Vec::new(), known: HashMap::default() }
    }

    /// The number of a group; [`too_many`] are an error.
    pub(crate) fn number(&mut self, values: &LabelValues) -> Result<u32, QueryError> {
        if let Some(&known) = self.known.get(values) {
            return Ok(known);
        }
        if self.values.len() == self.most {
            return Err(too_many(self.most));
        }
        let number = self.values.len() as u32;
        self.values.push(values.clone());
        self.known.insert(values.clone(), number);
        Ok(number)
    }
}

/// More groups than anybody can read; each has a tree of its own.
pub(crate) fn too_many(most: usize) -> QueryError {
    let message = format!(
        "group_by gives more than {most} groups: narrow the query down with matchers, or group by fewer labels"
    );
    QueryError::new(ErrorKind::ResourceExhausted, message)
}

/// Gives each sample of one part its group.
pub(crate) struct SampleGroups<'g, 'a> {
    groups: &'g mut Groups<'a>,
    picks: &'a PartPicks,
    /// `None` where the streams have all the labels.
    sets: Option<Arc<PartLabelSets>>,
    /// By stream and label set.
    known: HashMap<(u32, u32), u32, RandomState>,
    /// Samples of one profile and label set follow each other.
    last: Option<((u32, u32), u32)>,
}

impl<'g, 'a> SampleGroups<'g, 'a> {
    pub(crate) fn new(groups: &'g mut Groups<'a>, picks: &'a PartPicks) -> Result<Self, QueryError> {
        let streams = picks.part.streams();
        let lacks = |picked: &Picked| {
            let labels = &streams[picked.stream as usize].labels;
            groups.names.iter().any(|name| labels.get(name).is_none())
        };
        let sets = if picks.picked.iter().any(lacks) { Some(picks.part.label_sets()?) } else { None };
        Ok(Self { groups, picks, sets, known: HashMap::default(), last: None })
    }

    /// The group of a sample; [`too_many`] are an error.
    pub(crate) fn group(&mut self, sample: &SampleRow) -> Result<u32, QueryError> {
        let asked = (sample.pick, sample.label_set);
        if let Some((last, group)) = self.last
            && last == asked
        {
            return Ok(group);
        }
        let stream = self.picks.picked[sample.pick as usize].stream;
        let group = match self.known.get(&(stream, sample.label_set)) {
            Some(&known) => known,
            None => {
                let group = self.groups.number(&self.values(stream, sample.label_set))?;
                self.known.insert((stream, sample.label_set), group);
                group
            }
        };
        self.last = Some((asked, group));
        Ok(group)
    }

    fn values(&self, stream: u32, set: u32) -> LabelValues {
        let labels = &self.picks.part.streams()[stream as usize].labels;
        let value = |name: &String| match (labels.get(name), &self.sets) {
            (Some(value), _) => Some(value.to_owned()),
            (None, Some(sets)) => set_label(sets, set, name).map(std::borrow::Cow::into_owned),
            (None, None) => None,
        };
        self.groups.names.iter().map(value).collect()
    }
}

impl GroupSums {
    /// `None` if there is none.
    pub(crate) fn labels(&self) -> Option<&LabelValues> {
        Some(&self.labels).filter(|labels| labels.iter().any(Option::is_some))
    }
}

/// What a group sums up to in one part.
pub(crate) struct GroupSums {
    pub(crate) labels: LabelValues,
    /// Each seen stack once, ascending.
    pub(crate) stacks: Vec<(StackIx, i64)>,
}

/// Values by stack of one group, on their way to its sums. The samples of a profile follow each other, so a table of all
/// pairs of group and stack would be asked far more often than adding up lists now and then costs.
enum Gathered {
    /// Values, and how many of them make it worth to add up.
    Few(Vec<(StackIx, i64)>, usize),
    /// As soon as this takes no more room.
    Many(Adder<i64>),
}

/// Sums by stack, or by anything else that is numbered.
pub(crate) struct Adder<W> {
    /// 0 between two uses, as is `met`.
    sum: Vec<W>,
    /// A bit each.
    met: Vec<u64>,
}

impl<W: Weight> Adder<W> {
    pub(crate) fn new(stacks: usize) -> Self {
        Self { sum: vec![W::ZERO; stacks], met: vec![0; stacks.div_ceil(64)] }
    }

    pub(crate) fn bytes(stacks: usize) -> usize {
        stacks * size_of::<W>() + stacks.div_ceil(8)
    }

    #[inline]
    fn add(&mut self, stack: StackIx, value: W) {
        let sum = &mut self.sum[stack as usize];
        *sum = sum.plus(value);
        self.met[stack as usize / 64] |= 1 << (stack % 64);
    }

    /// Appends what was added, in ascending order.
    fn take(&mut self, values: &mut Vec<(StackIx, W)>) {
        for (place, word) in self.met.iter_mut().enumerate() {
            let mut word = std::mem::take(word);
            while word != 0 {
                let stack = place * 64 + word.trailing_zeros() as usize;
                values.push((stack as StackIx, std::mem::replace(&mut self.sum[stack], W::ZERO)));
                word &= word - 1;
            }
        }
    }

    /// Makes of many values of a stack one, stacks in ascending order.
    pub(crate) fn add_up(&mut self, values: &mut Vec<(StackIx, W)>) {
        // so few that looking at every stack would take longer
        if values.len() < self.met.len() / 8 {
            values.sort_unstable_by_key(|(stack, _)| *stack);
            values.dedup_by(|(next, value), (stack, sum)| {
                *sum = if next == stack { sum.plus(*value) } else { *sum };
                next == stack
            });
            return;
        }
        for (stack, value) in values.drain(..) {
            self.add(stack, value);
        }
        self.take(values);
    }
}

const BYTES_PER_VALUE: usize = size_of::<(StackIx, i64)>();
/// What a group has room for at first.
const VALUES: usize = 64;

/// The sums of every group of a part that has so many stacks, of those that are `seen`; `None` for all.
pub(crate) fn sums(
    engine: &Engine,
    context: &Context,
    scope: &Scope,
    picks: &PartPicks,
    stacks: usize,
    seen: Option<&[bool]>,
) -> Result<(Vec<GroupSums>, Vec<Lease>), QueryError> {
    let mut groups = Groups::new(engine, &scope.look.labels);
    let mut gathered: Vec<Gathered> = Vec::new();
    let mut group_of = SampleGroups::new(&mut groups, picks)?;
    let mut leases = vec![engine.lease(Adder::<i64>::bytes(stacks))?];
    let mut adder = Adder::new(stacks);
    let wanted: Vec<_> = picks.picked.iter().map(Picked::as_pick).collect();
    visit_samples(context, &*picks.part, &wanted, |sample| {
        let stack = sample.stack as usize;
        let is_seen = stack < stacks && seen.is_none_or(|seen| seen[stack]);
        if !is_seen || !scope.range.contains(&sample.time) {
            return Ok(ControlFlow::Continue(()));
        }
        let group = group_of.group(&sample)? as usize;
        if gathered.len() <= group {
            gathered.push(Gathered::Few(Vec::new(), 0));
        }
        match &mut gathered[group] {
            Gathered::Many(sums) => sums.add(sample.stack, sample.value),
            Gathered::Few(values, full) => {
                if values.len() == *full {
                    adder.add_up(values);
                    // so each value is added up twice at the most, on average
                    let most = (2 * values.len()).max(VALUES);
                    if most * BYTES_PER_VALUE >= Adder::<i64>::bytes(stacks) {
                        leases.push(engine.lease(Adder::<i64>::bytes(stacks))?);
                        let mut sums = Adder::new(stacks);
                        values
                            .drain(..)
                            .chain([(sample.stack, sample.value)])
                            .for_each(|(stack, value)| sums.add(stack, value));
                        gathered[group] = Gathered::Many(sums);
                        return Ok(ControlFlow::Continue(()));
                    }
                    leases.push(engine.lease((most - values.capacity().min(most)) * BYTES_PER_VALUE)?);
                    values.reserve_exact(most - values.len());
                    *full = most;
                }
                values.push((sample.stack, sample.value));
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    context.check()?;
    let of_group = |(labels, gathered): (LabelValues, Gathered)| {
        let stacks = match gathered {
            Gathered::Few(mut values, _) => {
                adder.add_up(&mut values);
                values
            }
            Gathered::Many(mut sums) => {
                let met = sums.met.iter().map(|word| word.count_ones() as usize).sum();
                let mut values = Vec::with_capacity(met);
                sums.take(&mut values);
                values
            }
        };
        GroupSums { labels, stacks }
    };
    Ok((groups.values.into_iter().zip(gathered).map(of_group).collect(), leases))
}

/// What all `groups` of a part that has so many stacks sum up to.
pub(crate) fn by_stack(groups: &[GroupSums], stacks: usize) -> StackSums {
    let mut all = StackSums { sum: vec![0; stacks], seen: vec![false; stacks] };
    for &(stack, value) in groups.iter().flat_map(|group| &group.stacks) {
        let stack = stack as usize;
        all.sum[stack] = all.sum[stack].wrapping_add(value);
        all.seen[stack] = true;
    }
    all
}

/// Builds the columns that tell a report's rows apart by labels, row by row.
pub(crate) struct LabelColumnsBuilder {
    /// By group and label: its row in the label's dictionary, or -1.
    keys: Vec<Vec<i32>>,
    columns: Vec<LabelColumn>,
    labels_only: Vec<bool>,
}

impl LabelColumnsBuilder {
    /// A column for every label that some group has.
    pub(crate) fn new(names: &[String], groups: &[&[Option<String>]]) -> Self {
        let mut keys: Vec<Vec<i32>> = vec![Vec::new(); groups.len()];
        let mut columns = Vec::new();
        for (label, name) in names.iter().enumerate() {
            if groups.iter().all(|group| group[label].is_none()) {
                continue;
            }
            let mut known: HashMap<&str, i32, RandomState> = HashMap::default();
            let mut dictionary = Dictionary::default();
            for (group, keys) in groups.iter().zip(&mut keys) {
                keys.push(match &group[label] {
                    None => -1,
                    Some(value) => *known.entry(value).or_insert_with(|| dictionary.push(value.as_bytes())),
                });
            }
            columns.push(LabelColumn { name: name.clone(), values: TextColumn { keys: Vec::new(), dictionary } });
        }
        Self { keys, columns, labels_only: Vec::new() }
    }

    /// A row of a group, or of none; `labels_only` for the one that stands for the group itself.
    pub(crate) fn push(&mut self, group: Option<u32>, labels_only: bool) {
        self.labels_only.push(labels_only);
        for (label, column) in self.columns.iter_mut().enumerate() {
            column.values.keys.push(group.map_or(-1, |group| self.keys[group as usize][label]));
        }
    }

    pub(crate) fn finish(self) -> (Vec<bool>, Vec<LabelColumn>) {
        (self.labels_only, self.columns)
    }
}
