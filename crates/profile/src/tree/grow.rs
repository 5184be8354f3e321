//! Trees of stacks of which nobody keeps a tree: the stacks are sorted once, summed up where they part, and written out as
//! far as they are shown.
//!
//! The stacks of all parts are sorted together, as runs of frames of one list, so there is nothing to join; any of them,
//! in that order, give a tree of their own. Nodes that the same stacks pass through are one *stretch*: of stretches there
//! are at most twice as many as stacks, while every frame of every stack may be a node.

use super::build::{fitting, root_first};
use super::ends;
use super::keys::FrameRows;
use super::sort::Runs;
use super::weigh::{Weight, WeightedTree};
use crate::symbols::{NONE, StackIx, Stacks, Symbols};

/// Stacks on their way to be [`Sorted`].
pub struct Sorter(Runs);

impl Sorter {
    /// With room for so many stacks and frames.
    pub fn with_capacity(stacks: usize, frames: usize) -> Self {
        Self(Runs::with_capacity(stacks, frames))
    }

    /// Adds all of `stacks`; those that are not seen are empty. `rows` are those of a list that all stacks share.
    ///
    /// Indices of `stacks` and `symbols` must be in range.
    pub fn add(&mut self, symbols: &Symbols, stacks: &Stacks, seen: &[bool], rows: &FrameRows) {
        let Self(runs) = self;
        for (stack, &seen) in seen.iter().enumerate().take(stacks.len()) {
            let stack = if seen { stacks.get(stack as StackIx) } else { &[] };
            for &location in root_first(stack, fitting(symbols, stack)) {
                let lines = symbols.locations.lines(location);
                if lines.is_empty() {
                    runs.symbols.push(rows.of_location[location as usize]);
                } else {
                    runs.symbols.extend(rows.of_line[lines].iter().rev());
                }
            }
            runs.close_run();
        }
    }

    pub fn sort(self) -> Sorted {
        let Self(runs) = self;
        let order = runs.sorted();
        let mut shared = Vec::with_capacity(order.len());
        let mut previous: &[u32] = &[];
        for &run in &order {
            let frames = runs.get(run);
            shared.push(common(previous, frames));
            previous = frames;
        }
        Sorted { runs, order, shared }
    }
}

/// How many frames two runs begin with alike.
fn common(a: &[u32], b: &[u32]) -> u16 {
    a.iter().zip(b).take_while(|(a, b)| a == b).count() as u16
}

/// Stacks as runs of frames. A *run* is the number under which a stack was added, counted over all that were.
pub struct Sorted {
    runs: Runs,
    /// Runs as they follow each other in a canonical preorder.
    pub order: Vec<u32>,
    /// How many frames each of them begins with as the one before does.
    shared: Vec<u16>,
}

/// So far apart, comparing two runs is faster than looking at all that lie between them.
const NEAR: usize = 64;

impl Sorted {
    /// How many frames the runs at two places, one after the other, begin with alike.
    fn shared(&self, a: usize, b: usize) -> u16 {
        if b - a <= NEAR {
            self.shared[a + 1..=b].iter().copied().min().unwrap_or(0)
        } else {
            common(self.runs.get(self.order[a]), self.runs.get(self.order[b]))
        }
    }

    /// Per run where it stands in the order.
    pub fn places(&self) -> Vec<u32> {
        let mut place = vec![0; self.order.len()];
        self.order.iter().enumerate().for_each(|(at, &run)| place[run as usize] = at as u32);
        place
    }

    /// The frames of the run at a place, root first.
    pub fn frames(&self, place: u32) -> &[u32] {
        self.runs.get(self.order[place as usize])
    }
}

/// Nodes below each other that the same stacks pass through.
#[derive(Clone, Copy)]
struct Stretch<W> {
    /// A run that they are of.
    run: u32,
    /// Depths of the first node and of the last.
    from: u16,
    to: u16,
    /// Weight of the stacks that end at the last one; none ends before.
    flat: W,
    /// Weight of all that pass through.
    sum: W,
}

impl<W> Stretch<W> {
    fn nodes(&self) -> u16 {
        self.to - self.from + 1
    }
}

/// The sums of a tree.
pub struct Sums<W> {
    /// In preorder.
    stretches: Vec<Stretch<W>>,
    /// Of the root.
    flat: W,
    total: W,
    height: usize,
}

/// Stretches while runs are gone through in order.
struct Open<W> {
    /// Stretches of less are left out.
    least: i64,
    total: W,
    flat: W,
    /// From the root to where the latest run ends, each with the number of the run that it began with, counted as they come.
    open: Vec<(u32, Stretch<W>)>,
    /// Each with the number of the next one that began with the same run, which is deeper, or [`NONE`].
    closed: Vec<(Stretch<W>, u32)>,
    /// The least deep that began with each run, or [`NONE`].
    first: Vec<u32>,
}

impl<W: Weight> Open<W> {
    /// Ends what is deeper.
    fn close(&mut self, depth: u16) {
        while let Some((began, stretch)) = self.open.last_mut().filter(|(_, stretch)| stretch.to > depth) {
            // of a stretch only a part may end: what passed through it so far passed through all of it
            let ended = Stretch { from: stretch.from.max(depth + 1), ..*stretch };
            if ended.sum.value() >= self.least {
                let first = &mut self.first[*began as usize];
                let deeper = std::mem::replace(first, self.closed.len() as u32);
                self.closed.push((ended, deeper));
            }
            if stretch.from <= depth {
                (stretch.to, stretch.flat) = (depth, W::ZERO);
                return;
            }
            self.open.pop();
            let above = self.open.last_mut().map_or(&mut self.total, |(_, above)| &mut above.sum);
            *above = above.plus(ended.sum);
        }
    }

    /// Adds a run that shares its first frames with the one before, and of which nothing else is open.
    fn add(&mut self, run: u32, shared: u16, frames: u16, weight: W) {
        if frames > shared {
            let stretch = Stretch { run, from: shared + 1, to: frames, flat: W::ZERO, sum: W::ZERO };
            self.open.push((self.first.len() as u32, stretch));
        }
        self.first.push(NONE);
        match self.open.last_mut() {
            Some((_, leaf)) => (leaf.flat, leaf.sum) = (leaf.flat.plus(weight), leaf.sum.plus(weight)),
            None => (self.flat, self.total) = (self.flat.plus(weight), self.total.plus(weight)),
        }
    }
}

impl<W: Weight> Sums<W> {
    /// Of `some` runs by their places in the order, ascending, with their weights.
    pub fn new(sorted: &Sorted, some: impl IntoIterator<Item = (u32, W)>) -> Self {
        Self::of_at_least(i64::MIN, sorted, some)
    }

    /// The same without nodes of less than `least`. No weight is negative, or `least` is [`i64::MIN`]: so with a node all that is below
    /// it is left out.
    pub fn of_at_least(least: i64, sorted: &Sorted, some: impl IntoIterator<Item = (u32, W)>) -> Self {
        let some = some.into_iter();
        let runs = if least == i64::MIN { some.size_hint().1.unwrap_or(0) } else { 0 };
        let mut open = Open {
            least,
            total: W::ZERO,
            flat: W::ZERO,
            open: Vec::new(),
            closed: Vec::with_capacity(2 * runs),
            first: Vec::with_capacity(some.size_hint().1.unwrap_or(0)),
        };
        let mut height = 1;
        let mut previous = None;
        for (place, weight) in some {
            let run = sorted.order[place as usize];
            let frames = sorted.runs.get(run).len();
            let shared = previous.map_or(0, |previous| sorted.shared(previous, place as usize));
            open.close(shared);
            open.add(run, shared, frames as u16, weight);
            height = height.max(frames + 1);
            previous = Some(place as usize);
        }
        open.close(0);
        let Open { total, flat, closed, first, .. } = open;
        let mut stretches = Vec::with_capacity(closed.len());
        for mut next in first {
            while let Some((stretch, deeper)) = closed.get(next as usize) {
                stretches.push(*stretch);
                next = *deeper;
            }
        }
        Self { stretches, flat, total, height }
    }

    /// Of everything.
    pub fn total(&self) -> W {
        self.total
    }

    /// Nodes on the longest path, the root included.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The tree without all that is below the root.
    pub fn root(&self) -> WeightedTree<W> {
        WeightedTree { flat: vec![self.flat], ..WeightedTree::empty() }
    }

    /// `visit(depth, frame, weight of what ends there, weight of the subtree)` for every node but the root, in preorder.
    pub fn each_node(&self, sorted: &Sorted, mut visit: impl FnMut(u16, u32, W, W)) {
        for stretch in &self.stretches {
            let frames = sorted.runs.get(stretch.run);
            for depth in stretch.from..=stretch.to {
                let flat = if depth == stretch.to { stretch.flat } else { W::ZERO };
                visit(depth, frames[usize::from(depth) - 1], flat, stretch.sum);
            }
        }
    }

    /// Which nodes are large enough, with all that leads to them: those that `keeps(value, parent's value)`. `root` is what the root
    /// counts for.
    pub fn enough(&self, root: i64, keeps: impl Fn(i64, i64) -> bool) -> Enough {
        let mut nodes = vec![0u16; self.stretches.len()];
        // the stretches that lead here: where each ends, and its value
        let mut path: Vec<(u16, i64)> = Vec::new();
        let mut at = 0;
        while let Some(stretch) = self.stretches.get(at) {
            let value = stretch.sum.value();
            while path.pop_if(|(to, _)| *to >= stretch.from).is_some() {}
            if keeps(value, path.last().map_or(root, |(_, value)| *value)) {
                nodes[at] = if stretch.nodes() == 1 || keeps(value, value) { stretch.nodes() } else { 1 };
            }
            path.push((stretch.to, value));
            at = self.next(at, nodes[at]);
        }
        Enough(nodes)
    }

    /// The stretch after one of which so many nodes are there.
    fn next(&self, at: usize, nodes: u16) -> usize {
        let Stretch { from, to, .. } = self.stretches[at];
        if nodes == to - from + 1 {
            return at + 1;
        }
        at + 1 + self.stretches[at + 1..].iter().take_while(|below| below.from > from).count()
    }

    /// Values of nodes that are large enough, each with how many follow each other.
    pub fn values(&self, enough: &Enough) -> impl Iterator<Item = (i64, usize)> {
        let nodes = self.stretches.iter().zip(&enough.0).filter(|(_, nodes)| **nodes > 0);
        nodes.map(|(stretch, &nodes)| (stretch.sum.value(), usize::from(nodes)))
    }

    /// The tree of nodes that are large enough and have a place, with all that leads to them. Beside it the weight of each
    /// node's subtree, with what is left out.
    pub fn tree(&self, sorted: &Sorted, enough: &Enough, mut places: Places) -> (WeightedTree<W>, Vec<W>) {
        let mut tree = self.root();
        let mut sums = vec![self.total];
        let mut at = 0;
        while let Some(&stretch) = self.stretches.get(at) {
            let Stretch { run, from, to, flat, sum } = stretch;
            let nodes = places.take(sum.value(), enough.0[at].into());
            let frames = sorted.runs.get(run);
            for (depth, &frame) in (from..=to).zip(&frames[usize::from(from) - 1..]).take(nodes) {
                tree.depth.push(depth);
                tree.frame.push(frame);
                tree.flat.push(if depth == to { flat } else { W::ZERO });
                sums.push(sum);
            }
            at = self.next(at, nodes as u16);
        }
        tree.end = ends(&tree.depth);
        (tree, sums)
    }
}

/// How many nodes of each stretch are large enough, from above.
pub struct Enough(Vec<u16>);

/// Places for the largest.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// What is smaller has none.
    smallest: i64,
    /// How many of those that are exactly as large have one: the first.
    ties: usize,
}

impl Places {
    /// For all that are as large.
    pub fn from(smallest: i64) -> Self {
        Self { smallest, ties: usize::MAX }
    }

    /// So many, for `values`, each with how many there are of it.
    pub fn new(places: usize, mut values: Vec<(i64, usize)>) -> Self {
        if values.iter().map(|(_, count)| count).sum::<usize>() <= places {
            return Self::from(i64::MIN);
        }
        values.sort_unstable_by(|a, b| b.cmp(a));
        let mut larger = 0;
        for same in values.chunk_by(|(a, _), (b, _)| a == b) {
            let count: usize = same.iter().map(|(_, count)| count).sum();
            if larger + count > places {
                return Self { smallest: same[0].0, ties: places - larger };
            }
            larger += count;
        }
        Self::from(i64::MIN)
    }

    /// How many of so many nodes below each other, all of this value, have a place.
    fn take(&mut self, value: i64, nodes: usize) -> usize {
        if value != self.smallest {
            return if value > self.smallest { nodes } else { 0 };
        }
        let taken = nodes.min(self.ties);
        self.ties -= taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::symbols::Strings;
    use crate::tree::keys::frames_by;
    use crate::tree::weigh::seen_nodes;
    use crate::tree::{FrameBy, build_names};

    /// Locations of one, two or no lines; functions 0 to 3 stand in several.
    fn symbols() -> Symbols {
        let mut symbols = Symbols { strings: Strings::with_empty(), ..Symbols::default() };
        for function in 0..4u8 {
            let name = symbols.strings.push(&[b'a' + function]);
            symbols.functions.name.push(name);
            symbols.functions.system_name.push(0);
            symbols.functions.filename.push(0);
            symbols.functions.start_line.push(0);
        }
        for (address, functions) in [&[0][..], &[1], &[2, 0], &[], &[3, 1], &[0]].into_iter().enumerate() {
            for &function in functions {
                symbols.lines.function.push(function);
                symbols.lines.line.push(address as i64);
                symbols.lines.column.push(0);
            }
            symbols.locations.mapping.push(NONE);
            symbols.locations.address.push(address as u64);
            symbols.locations.is_folded.push(false);
            symbols.locations.line_end.push(symbols.lines.line.len() as u32);
        }
        symbols
    }

    /// Rows of a tree that is large enough, the largest of them, found one by one.
    fn slowly(tree: &WeightedTree, budget: usize, keeps: impl Fn(i64, i64) -> bool) -> Vec<usize> {
        let sums = tree.cumulative();
        let parent = crate::tree::parents(&tree.depth);
        let mut shown = vec![true; tree.len()];
        for row in 1..tree.len() {
            let above = parent[row] as usize;
            shown[row] = shown[above] && keeps(sums[row], sums[above]);
        }
        let mut rows: Vec<usize> = (1..tree.len()).filter(|&row| shown[row]).collect();
        rows.sort_by_key(|&row| (std::cmp::Reverse(sums[row]), row));
        rows.truncate(budget.saturating_sub(1));
        rows.push(0);
        rows.sort_unstable();
        rows
    }

    proptest! {
        #[test]
        fn what_is_grown_is_the_tree_of_the_same_stacks(
            runs in prop::collection::vec((prop::collection::vec(0u32..6, 0..6), 0i64..5, any::<bool>()), 0..60),
            budget in 0usize..40,
            percent in 0i64..60,
        ) {
            let symbols = symbols();
            let mut stacks = Stacks::default();
            runs.iter().for_each(|(run, ..)| { stacks.push(run); });
            let seen: Vec<bool> = runs.iter().map(|(.., seen)| *seen).collect();
            let sum: Vec<i64> = runs.iter().map(|(_, sum, seen)| if *seen { *sum } else { 0 }).collect();
            let (frames, rows) = frames_by(&symbols, FrameBy::default());
            let mut sorter = Sorter::with_capacity(0, 0);
            sorter.add(&symbols, &stacks, &seen, &rows);
            let sorted = sorter.sort();
            let places = (0u32..).zip(&sorted.order).filter(|(_, run)| seen[**run as usize]);
            let some = places.map(|(place, &run)| (place, sum[run as usize]));
            let grown = Sums::new(&sorted, some.clone());
            let shown = |budget: usize, keeps: &dyn Fn(i64, i64) -> bool| {
                let enough = grown.enough(grown.total(), keeps);
                let places = Places::new(budget.max(1) - 1, grown.values(&enough).collect());
                grown.tree(&sorted, &enough, places)
            };

            let names = build_names(&symbols, &stacks, &seen, FrameBy::default());
            let node_seen = seen_nodes(&names.depth, &names.stack_node, &seen);
            let own: Vec<u32> = (0..frames.key.len() as u32).collect();
            let tree = WeightedTree::new(&names, sum.iter().copied(), &seen, &node_seen, &own);
            let sums = tree.cumulative();
            prop_assert_eq!(shown(usize::MAX, &|_, _| true), (tree.clone(), sums.clone()));
            prop_assert_eq!((grown.total(), grown.height()), (sums[0], tree.height()));
            let mut nodes = Vec::new();
            grown.each_node(&sorted, |depth, frame, flat, sum| nodes.push((depth, frame, flat, sum)));
            let expected: Vec<_> =
                (1..tree.len()).map(|row| (tree.depth[row], tree.frame[row], tree.flat[row], sums[row])).collect();
            prop_assert_eq!(nodes, expected);

            let keeps = |value: i64, above: i64| value > 0 && value * 100 > above * percent;
            let rows = slowly(&tree, budget, keeps);
            let (shown, shown_sums) = shown(budget, &keeps);
            let of = |row: &usize| (tree.depth[*row], tree.frame[*row], tree.flat[*row], sums[*row]);
            let expected: Vec<_> = rows.iter().map(of).collect();
            let got = (0..shown.len()).map(|row| (shown.depth[row], shown.frame[row], shown.flat[row], shown_sums[row]));
            prop_assert_eq!(got.collect::<Vec<_>>(), expected);
            prop_assert_eq!(&shown.end, &ends(&shown.depth));

            // what is left out with what is below it is what has no place
            let least = shown_sums.iter().skip(1).copied().min().unwrap_or(i64::MAX);
            let largest = Sums::of_at_least(least, &sorted, some);
            let enough = largest.enough(largest.total(), keeps);
            let all = grown.enough(grown.total(), |value, above| value >= least && keeps(value, above));
            let places = Places::from(least);
            prop_assert_eq!(largest.tree(&sorted, &enough, places), grown.tree(&sorted, &all, places));
            prop_assert_eq!(largest.height(), grown.height());
        }
    }
}
