//! The tree of samples that are told apart by labels: a node for each group below the root, and below that the group's own tree.
//!
//! All groups together have many times the nodes of the whole, and a graph shows the largest of them, at most its node
//! budget. So each group's tree is cut as soon as it is there, to what may be among these: a node is no larger than its parent,
//! so what is smaller than the budget's smallest so far is left out with all that is below it, and never in the way again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use foldhash::fast::RandomState;
use profile::tree::weigh::PathSums;
use profile::tree::{FrameUnion, Paths, Weight, WeightedTree, ends, join};
use profile::{NONE, StackIx};

use crate::answer::Slice;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::flame::{Cut, above};
use crate::frames::common_nodes;
use crate::groups::{GroupSums, LabelValues, too_many};
use crate::merge::{PartSums, in_parallel};

/// What a group's node costs: itself, its share of the join and of the trees that are joined.
const BYTES_PER_NODE: usize = 64;
/// Pieces of work for each thread, as groups differ in size.
const CHUNKS_PER_THREAD: usize = 4;

/// What a flame graph may show, of all groups.
pub(crate) struct Apart<'a, W> {
    /// In the order of the parts.
    pub(crate) slices: Vec<Slice<'a>>,
    /// The groups that have a label, in order.
    pub(crate) groups: Vec<&'a LabelValues>,
    pub(crate) tree: WeightedTree<W>,
    /// Per node of the tree the value of its whole subtree, with what is left out.
    pub(crate) cumulative: Vec<W>,
    /// Of the whole tree.
    pub(crate) height: usize,
}

/// The sums of a group, with the index of the part.
type Members<'a> = Vec<(usize, &'a GroupSums)>;

/// `weigh` makes a weight of a sum of the part of that index.
pub(crate) fn apart<'a, W: Weight>(
    engine: &Engine,
    context: &Context,
    parts: &[&'a PartSums],
    union: &FrameUnion,
    cut: Cut,
    weigh: &(impl Fn(i64, usize) -> W + Sync),
) -> Result<Apart<'a, W>, QueryError> {
    let mut of_labels: BTreeMap<Option<&'a LabelValues>, Members<'a>> = BTreeMap::new();
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
    let groups: Vec<(Option<&'a LabelValues>, Members<'a>)> = of_labels.into_iter().collect();
    let largest = Mutex::new(Largest::new(if sum_of_all.is_some() { cut.node_budget } else { usize::MAX }));
    let chunks: Vec<_> = groups.chunks(groups.len().div_ceil(options.threads * CHUNKS_PER_THREAD).max(1)).collect();
    let trees = in_parallel(options.threads, &chunks, |chunk| {
        let mut builder =
            Builder { engine, parts, union, cut, total: total.value(), largest: &largest, paths: HashMap::default() };
        let tree = |(labels, members): &(Option<&'a LabelValues>, Members<'a>)| {
            context.check()?;
            builder.build(labels.is_some(), members, weigh)
        };
        chunk.iter().map(tree).collect::<Result<Vec<_>, QueryError>>()
    })?;

    let mut out = Apart {
        slices: Vec::new(),
        groups: Vec::new(),
        tree: WeightedTree::empty(),
        cumulative: vec![total],
        height: 1,
    };
    let mut branches = Vec::new();
    let mut sums = Vec::new();
    for ((labels, _), group) in groups.iter().zip(trees.into_iter().flatten()) {
        out.height = out.height.max(group.height + usize::from(labels.is_some()));
        out.slices.extend(group.slices);
        match labels {
            None => {
                out.cumulative.extend_from_slice(&group.cumulative[1..]);
                out.tree = group.tree;
            }
            Some(labels) => {
                branches.push(((union.key.len() + out.groups.len()) as u32, group.tree));
                out.groups.push(labels);
                sums.push(group.cumulative);
            }
        }
    }
    out.tree.graft(branches);
    sums.into_iter().for_each(|sums| out.cumulative.extend(sums));
    out.slices.sort_by_key(|slice| slice.part);
    Ok(out)
}

/// What is left of one group's tree.
struct GroupTree<'a, W> {
    slices: Vec<Slice<'a>>,
    tree: WeightedTree<W>,
    cumulative: Vec<W>,
    height: usize,
}

struct Builder<'b, 'a> {
    engine: &'b Engine,
    parts: &'b [&'a PartSums],
    union: &'b FrameUnion,
    cut: Cut,
    /// Of all groups.
    total: i64,
    largest: &'b Mutex<Largest>,
    /// By part.
    paths: HashMap<usize, Paths, RandomState>,
}

impl<'b, 'a> Builder<'b, 'a> {
    fn build<W: Weight>(
        &mut self,
        has_labels: bool,
        members: &[(usize, &'a GroupSums)],
        weigh: &impl Fn(i64, usize) -> W,
    ) -> Result<GroupTree<'a, W>, QueryError> {
        if let &[(part, group)] = members {
            return self.of_one_part(has_labels, part, group, weigh);
        }
        let (mut trees, mut nodes_of, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for &(index, group) in members {
            let tree = &self.parts[index].name_tree;
            let union: &'b FrameUnion = self.union;
            let (paths, stacks) = self.leaves(index, group, weigh);
            let (weighted, nodes) = WeightedTree::of_stacks(tree, paths, &stacks, &union.row[index]);
            leases.push(self.engine.lease(nodes.len() * BYTES_PER_NODE)?);
            trees.push(weighted);
            nodes_of.push(nodes);
        }
        let whole = join(trees);
        let cumulative = whole.cumulative();
        let height = whole.height();
        let root = if has_labels { cumulative[0].value() } else { self.total };
        let mut kept = above(&whole, &cumulative, self.cut.trim, root, height);
        self.keep_largest(&mut kept, &cumulative);

        let depth: Vec<u16> = kept.iter().map(|&node| whole.depth[node as usize]).collect();
        let tree = WeightedTree {
            end: ends(&depth),
            depth,
            frame: kept.iter().map(|&node| whole.frame[node as usize]).collect(),
            flat: kept.iter().map(|&node| whole.flat[node as usize]).collect(),
        };
        let mut slices = Vec::with_capacity(members.len());
        for (&(part, group), nodes) in members.iter().zip(nodes_of) {
            let nodes = common_nodes(&tree, &self.parts[part].name_tree, &nodes, &self.union.row[part]);
            let lease = Some(self.engine.lease(nodes.len() * BYTES_PER_NODE)?);
            slices.push(Slice { part, group: Some(group), nodes, _lease: lease });
        }
        let cumulative = kept.iter().map(|&node| cumulative[node as usize]).collect();
        Ok(GroupTree { slices, tree, cumulative, height })
    }
}

impl<'a> Builder<'_, 'a> {
    /// The stacks of a group as leaves of its part's tree, in their order.
    fn leaves<W: Weight>(
        &mut self,
        part: usize,
        group: &GroupSums,
        weigh: &impl Fn(i64, usize) -> W,
    ) -> (&mut Paths, Vec<(u32, W)>) {
        let tree = &self.parts[part].name_tree;
        let leaf = |&(stack, sum): &(StackIx, i64)| (tree.stack_node[stack as usize], weigh(sum, part));
        let mut stacks: Vec<(u32, W)> = group.stacks.iter().map(leaf).collect();
        stacks.sort_unstable_by_key(|(leaf, _)| *leaf);
        (self.paths.entry(part).or_insert_with(|| Paths::new(&tree.depth)), stacks)
    }

    /// Takes the nodes, the root first, into account, and leaves those that may be shown.
    fn keep_largest<W: Weight>(&self, nodes: &mut Vec<u32>, cumulative: &[W]) {
        let value = |node: u32| cumulative[node as usize].value();
        let smallest = {
            let mut largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
            largest.add(nodes[1..].iter().map(|&node| value(node)))
        };
        nodes.retain(|&node| node == 0 || value(node) >= smallest);
    }

    /// The same as for many, where nothing has to be joined: only what is kept becomes a tree.
    fn of_one_part<W: Weight>(
        &mut self,
        has_labels: bool,
        part: usize,
        group: &'a GroupSums,
        weigh: &impl Fn(i64, usize) -> W,
    ) -> Result<GroupTree<'a, W>, QueryError> {
        let tree = &self.parts[part].name_tree;
        let (paths, stacks) = self.leaves(part, group, weigh);
        let PathSums { node, parent, flat, cumulative } = paths.sums(&stacks);
        let _whole = self.engine.lease(node.len() * BYTES_PER_NODE)?;
        let deepest = stacks.iter().map(|(leaf, _)| tree.depth[*leaf as usize]).max();
        let (trim, share) = (self.cut.trim, self.cut.trim.share());
        let smallest = self.largest.lock().unwrap_or_else(PoisonError::into_inner).smallest;
        let root = if has_labels { cumulative[0].value() } else { self.total };
        let mut is_kept = vec![false; node.len()];
        is_kept[0] = true;
        let mut kept = vec![0u32];
        for row in 1..node.len() {
            let above = parent[row] as usize;
            let value = cumulative[row].value();
            if is_kept[above] && value >= smallest {
                let above = if above == 0 { root } else { cumulative[above].value() };
                if trim.keeps(value, above as f64 * share) {
                    is_kept[row] = true;
                    kept.push(row as u32);
                }
            }
        }
        self.keep_largest(&mut kept, &cumulative);

        let nodes: Vec<u32> = kept.iter().map(|&row| node[row as usize]).collect();
        let depth: Vec<u16> = nodes.iter().map(|&node| tree.depth[node as usize]).collect();
        let frame_row = &self.union.row[part];
        let frame = nodes[1..].iter().map(|&node| frame_row[tree.frame[node as usize] as usize]);
        let tree = WeightedTree {
            end: ends(&depth),
            depth,
            frame: std::iter::once(NONE).chain(frame).collect(),
            flat: kept.iter().map(|&row| flat[row as usize]).collect(),
        };
        let lease = Some(self.engine.lease(nodes.len() * BYTES_PER_NODE)?);
        Ok(GroupTree {
            slices: vec![Slice { part, group: Some(group), nodes, _lease: lease }],
            cumulative: kept.iter().map(|&row| cumulative[row as usize]).collect(),
            tree,
            height: deepest.map_or(0, usize::from) + 1,
        })
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

    /// Gives what is known to be too small if it is smaller.
    fn add(&mut self, values: impl Iterator<Item = i64>) -> i64 {
        if self.places == usize::MAX {
            return i64::MIN;
        }
        for value in values {
            if value >= self.smallest {
                self.values.push(value);
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
        assert_eq!(largest.add([5, 1].into_iter()), i64::MIN);
        assert_eq!(largest.add([7].into_iter()), i64::MIN);
        assert_eq!(largest.add([2, 2, 2].into_iter()), 2);
        assert_eq!(largest.add([2, 1, 2, 2, 6, 5].into_iter()), 2);
        assert_eq!(largest.add([9].into_iter()), 6);
        assert_eq!(largest.add([9, 4, 9, 8].into_iter()), 9);
        assert_eq!(Largest::new(usize::MAX).add([1, 2].into_iter()), i64::MIN);
    }
}
