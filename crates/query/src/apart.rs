//! The tree of samples that are told apart by labels: a node for each group below the root, and below that the group's own tree.
//!
//! All groups together have many times the nodes of the whole, and a graph shows the largest of them, at most its node
//! budget. So of each group's tree only that is written out which may be among these: a node is no larger than its parent,
//! so what is smaller than the budget's smallest so far is left out with all that is below it, and never in the way again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use profile::tree::grow::Places;
use profile::tree::{Sums, Weight, WeightedTree, ends};
use store::budget::Lease;

use crate::answer::Runs;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::flame::Cut;
use crate::groups::{Adder, GroupSums, LabelValues, too_many};
use crate::merge::{PartSums, in_parallel};

/// What a group's node costs: itself, and its share of the tree of all groups.
const BYTES_PER_NODE: usize = 64;
/// What a stack of a group costs: its place in the tree, and where it parts from others.
const BYTES_PER_STACK: usize = 96;
/// Pieces of work for each thread, as groups differ in size.
pub(crate) const CHUNKS_PER_THREAD: usize = 4;

/// What a flame graph may show, of all groups.
pub(crate) struct Apart<'a, W> {
    /// In order; what has none of the labels comes first, if it is there.
    pub(crate) groups: Vec<Group<'a>>,
    pub(crate) tree: WeightedTree<W>,
    /// Per node of the tree the value of its whole subtree, with what is left out.
    pub(crate) cumulative: Vec<W>,
    /// Of the whole tree.
    pub(crate) height: usize,
}

/// One group.
pub(crate) struct Group<'a> {
    /// `None` if there is none.
    pub(crate) labels: Option<&'a LabelValues>,
    /// Its stacks by their places among all, ascending.
    pub(crate) places: Vec<u32>,
    _lease: Option<Lease>,
}

/// The groups' nodes have frames from `first_frame` on; `weigh` makes a weight of a sum of the part of that index.
pub(crate) fn apart<'a, W: Weight>(
    engine: &Engine,
    context: &Context,
    parts: &[&'a PartSums],
    runs: &Runs,
    first_frame: usize,
    cut: Cut,
    weigh: &(impl Fn(i64, usize) -> W + Sync),
) -> Result<Apart<'a, W>, QueryError> {
    let mut of_labels: BTreeMap<Option<&'a LabelValues>, Vec<(usize, &'a GroupSums)>> = BTreeMap::new();
    let mut total = W::ZERO;
    // unless a value is negative or they are too many for 64 bits
    let mut sum_of_all = Some(0i64);
    for (index, part) in parts.iter().enumerate() {
        for group in part.groups.iter().flatten() {
            of_labels.entry(group.labels()).or_default().push((index, group));
            for &(_, sum) in &group.stacks {
                let weight = weigh(sum, index);
                total = total.plus(weight);
                let value = weight.value();
                sum_of_all = sum_of_all.filter(|_| value >= 0).and_then(|sum| sum.checked_add(value));
            }
        }
    }
    let options = engine.options();
    // what has none of the labels is a group too, as it is within a part
    if of_labels.len() > options.series_max {
        return Err(too_many(options.series_max));
    }
    let groups: Vec<_> = of_labels.into_iter().collect();
    let builder = Builder {
        engine,
        runs,
        place: runs.sorted.places(),
        cut,
        total: total.value(),
        largest: Mutex::new(Largest::new(if sum_of_all.is_some() { cut.node_budget } else { usize::MAX })),
    };
    let chunks: Vec<_> = groups.chunks(groups.len().div_ceil(options.threads * CHUNKS_PER_THREAD).max(1)).collect();
    let trees = in_parallel(options.threads, &chunks, |chunk| {
        let stacks = runs.sorted.order.len();
        let _adder = engine.lease(Adder::<W>::bytes(stacks))?;
        let mut adder = Adder::new(stacks);
        let tree = |(labels, sums): &(Option<&'a LabelValues>, Vec<(usize, &'a GroupSums)>)| {
            context.check()?;
            builder.build(*labels, sums, weigh, &mut adder)
        };
        chunk.iter().map(tree).collect::<Result<Vec<_>, QueryError>>()
    })?;

    let mut out = Apart {
        groups: Vec::with_capacity(groups.len()),
        tree: WeightedTree::empty(),
        cumulative: vec![total],
        height: 1,
    };
    let mut branches = Vec::new();
    let mut sums = Vec::new();
    // of the first groups much was kept that turned out to be too small
    let smallest = builder.largest().smallest;
    for group_tree in trees.into_iter().flatten() {
        let GroupTree { group, tree, cumulative, height } = group_tree.of_at_least(smallest);
        out.height = out.height.max(height + usize::from(group.labels.is_some()));
        match group.labels {
            None => {
                out.cumulative.extend_from_slice(&cumulative[1..]);
                out.tree = tree;
            }
            Some(_) => {
                branches.push(((first_frame + branches.len()) as u32, tree));
                sums.push(cumulative);
            }
        }
        out.groups.push(group);
    }
    out.tree.graft(branches);
    sums.into_iter().for_each(|sums| out.cumulative.extend(sums));
    Ok(out)
}

/// What is left of one group's tree.
struct GroupTree<'a, W> {
    group: Group<'a>,
    tree: WeightedTree<W>,
    cumulative: Vec<W>,
    height: usize,
}

impl<W: Weight> GroupTree<'_, W> {
    /// The same without nodes of less, each of which has all that is below it as small.
    fn of_at_least(self, smallest: i64) -> Self {
        let Self { group, tree, cumulative, height } = self;
        let large = |row: &usize| *row == 0 || cumulative[*row].value() >= smallest;
        let rows: Vec<usize> = (0..tree.len()).filter(large).collect();
        let depth: Vec<u16> = rows.iter().map(|&row| tree.depth[row]).collect();
        let tree = WeightedTree {
            end: ends(&depth),
            depth,
            frame: rows.iter().map(|&row| tree.frame[row]).collect(),
            flat: rows.iter().map(|&row| tree.flat[row]).collect(),
        };
        let cumulative = rows.iter().map(|&row| cumulative[row]).collect();
        Self { group, tree, cumulative, height }
    }
}

struct Builder<'b> {
    engine: &'b Engine,
    runs: &'b Runs,
    /// By run.
    place: Vec<u32>,
    cut: Cut,
    /// Of all groups.
    total: i64,
    largest: Mutex<Largest>,
}

impl Builder<'_> {
    fn largest(&self) -> MutexGuard<'_, Largest> {
        self.largest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn build<'a, W: Weight>(
        &self,
        labels: Option<&'a LabelValues>,
        of_parts: &[(usize, &'a GroupSums)],
        weigh: &impl Fn(i64, usize) -> W,
        adder: &mut Adder<W>,
    ) -> Result<GroupTree<'a, W>, QueryError> {
        let sorted = &self.runs.sorted;
        let stacks = of_parts.iter().map(|(_, group)| group.stacks.len()).sum();
        let _stacks = self.engine.lease(stacks * BYTES_PER_STACK)?;
        let mut weights: Vec<(u32, W)> = Vec::with_capacity(stacks);
        for &(part, group) in of_parts {
            let place = &self.place[self.runs.first[part] as usize..];
            weights.extend(group.stacks.iter().map(|&(stack, sum)| (place[stack as usize], weigh(sum, part))));
        }
        adder.add_up(&mut weights);
        let smallest = self.largest().smallest;
        let sums = Sums::of_at_least(smallest, sorted, weights.iter().copied());

        let root = if labels.is_some() { sums.total().value() } else { self.total };
        let enough = sums.enough(root, self.cut.keeps());
        let smallest = self.largest().add(sums.values(&enough));
        let (tree, cumulative) = sums.tree(sorted, &enough, Places::from(smallest));
        let lease = Some(self.engine.lease(tree.len() * BYTES_PER_NODE + stacks * size_of::<u32>())?);
        let places = weights.into_iter().map(|(place, _)| place).collect();
        let group = Group { labels, places, _lease: lease };
        Ok(GroupTree { group, tree, cumulative, height: sums.height() })
    }
}

/// The largest values so far, as many as there are places.
struct Largest {
    places: usize,
    /// At most twice as many as there are places.
    values: Vec<i64>,
    /// What is smaller has no place.
    smallest: i64,
}

impl Largest {
    fn new(places: usize) -> Self {
        Self { places: places.max(1), values: Vec::new(), smallest: i64::MIN }
    }

    /// Takes values, each so many times, into account; gives what is known to be too small if it is smaller.
    fn add(&mut self, values: impl Iterator<Item = (i64, usize)>) -> i64 {
        if self.places == usize::MAX {
            return i64::MIN;
        }
        for (value, mut count) in values {
            while count > 0 && value >= self.smallest {
                let some = count.min(2 * self.places - self.values.len());
                self.values.resize(self.values.len() + some, value);
                count -= some;
                if self.values.len() / 2 >= self.places {
                    self.settle();
                }
            }
        }
        self.smallest
    }

    fn settle(&mut self) {
        let (_, &mut smallest, _) = self.values.select_nth_unstable_by(self.places - 1, |a, b| b.cmp(a));
        self.smallest = smallest;
        self.values.truncate(self.places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_among_the_largest_is_known_before_twice_as_many_are_there() {
        let mut largest = Largest::new(3);
        let mut add = |values: &[i64]| largest.add(values.iter().map(|&value| (value, 1)));
        assert_eq!(add(&[5, 1]), i64::MIN);
        assert_eq!(add(&[7]), i64::MIN);
        assert_eq!(add(&[2, 2, 2]), 2);
        assert_eq!(add(&[2, 1, 2, 2, 6, 5]), 2);
        assert_eq!(add(&[9]), 6);
        assert_eq!(add(&[9, 4, 9, 8]), 9);
        assert_eq!(Largest::new(3).add([(1, 2), (4, 1), (3, 100), (2, 1)].into_iter()), 3);
        assert_eq!(Largest::new(usize::MAX).add([(1, 1), (2, 1)].into_iter()), i64::MIN);
    }
}
