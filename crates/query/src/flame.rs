//! The flame graph: cut the merged tree to what is worth showing, then say what its rows are.

use profile::tree::{Weight, WeightedTree, ends, parents};

use crate::answer::Merged;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::frames::{Contributor, FrameColumnsBuilder, Kept, contributors, contributors_of_stacks};
use crate::groups::LabelColumnsBuilder;
use crate::report::{FlameGraph, Lists};

/// What is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) trim: Trim,
    /// Most rows, root included: the largest stay.
    pub(crate) node_budget: usize,
}

impl Cut {
    /// Whether a node of that value is large enough below a parent of that one.
    pub(crate) fn keeps(self) -> impl Fn(i64, i64) -> bool {
        let (trim, share) = (self.trim, self.trim.share());
        move |value, above| trim.keeps(value, above as f64 * share)
    }
}

/// Which nodes are too small, in percent of their parents. What is below them goes with them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trim {
    Nothing,
    /// What is less.
    Below(f32),
    /// What is not more, and what is not positive.
    UpTo(f32),
}

impl Trim {
    pub(crate) fn percent(self) -> f32 {
        match self {
            Self::Nothing => 0.0,
            Self::Below(percent) | Self::UpTo(percent) => percent,
        }
    }

    /// Of its parent's value; a bar is that.
    pub(crate) fn share(self) -> f64 {
        // not a number is no threshold, and below 0 nodes without value would be shown
        f64::from(self.percent().max(0.0)) / 100.0
    }

    pub(crate) fn keeps(self, value: i64, bar: f64) -> bool {
        match self {
            Self::Nothing => true,
            Self::Below(_) => value as f64 >= bar,
            Self::UpTo(_) => value > 0 && value as f64 > bar,
        }
    }
}

pub(crate) fn flame_graph<W: Weight>(
    engine: &Engine,
    context: &Context,
    merged: &Merged<'_, W>,
    labels: &[String],
    unit: String,
    cut: Cut,
) -> Result<FlameGraph, QueryError> {
    // of stacks without trees there is what is shown and no more
    let shown = merged.grown.as_ref().and_then(|grown| grown.tree(cut));
    let (tree, cumulative) = match &shown {
        None => (&merged.tree, merged.cumulative.as_slice()),
        Some((tree, cumulative)) => (tree, cumulative.as_slice()),
    };
    let (nodes, trimmed) = select(tree, cumulative, cut);
    context.check()?;

    let depth: Vec<u16> = nodes.iter().map(|&node| tree.depth[node as usize]).collect();
    let kept = Kept { end: ends(&depth), frame: nodes.iter().map(|&node| tree.frame[node as usize]).collect(), depth };
    let contributors = match &merged.grown {
        None => contributors(engine, context, merged, &kept)?,
        Some(grown) => contributors_of_stacks(engine, context, merged, grown, &kept)?,
    };
    context.check()?;
    let order = ByName::new(merged, &kept, &contributors);

    let rows = nodes.len();
    let mut graph = FlameGraph {
        unit,
        height: i32::try_from(merged.height).unwrap_or(i32::MAX),
        trimmed,
        parent: Vec::with_capacity(rows),
        cumulative: Vec::with_capacity(rows),
        flat: Vec::with_capacity(rows),
        diff: Vec::with_capacity(rows),
        depth: Vec::with_capacity(rows),
        value_offset: Vec::with_capacity(rows),
        ..FlameGraph::default()
    };
    let mut columns = FrameColumnsBuilder::new(&merged.parts);
    let values: Vec<_> = merged.groups.iter().map(|values| values.as_slice()).collect();
    let mut label_columns = LabelColumnsBuilder::new(labels, &values);
    let mut group_of: Vec<Option<u32>> = Vec::with_capacity(rows);
    let mut row_of = vec![0u32; rows];
    // (kept node, parent's row); a child's bar begins where `free` of its parent says
    let mut work: Vec<(u32, i32)> = vec![(0, -1)];
    let mut free: Vec<i64> = Vec::with_capacity(rows);
    while let Some((kept_node, parent)) = work.pop() {
        let row = graph.parent.len();
        row_of[kept_node as usize] = row as u32;
        let node = nodes[kept_node as usize] as usize;
        let value = if parent < 0 { root_value(&order, &nodes, cumulative) } else { cumulative[node].value() };
        let offset = if parent < 0 { 0 } else { free[parent as usize] };
        if parent >= 0 {
            free[parent as usize] = offset.wrapping_add(value);
        }
        free.push(offset);
        graph.parent.push(parent);
        graph.cumulative.push(value);
        graph.diff.push(if rows == 1 { 0 } else { cumulative[node].diff() });
        graph.depth.push(u32::from(kept.depth[kept_node as usize]));
        graph.value_offset.push(offset);
        columns.push(contributors[kept_node as usize].as_ref());
        let own_group = merged.group(kept.frame[kept_node as usize]);
        // samples without any frame are in the total, and in that of their labels, only, as in Parca
        let has_frame = parent >= 0 && own_group.is_none();
        graph.flat.push(if has_frame { tree.flat[node].value() } else { 0 });
        let group = own_group.or_else(|| *group_of.get(usize::try_from(parent).ok()?)?);
        label_columns.push(group, own_group.is_some());
        group_of.push(group);
        work.extend(order.children.get(kept_node as usize).iter().rev().map(|&child| (child, row as i32)));
    }

    let mut kept_of = vec![0u32; rows];
    row_of.iter().enumerate().for_each(|(kept_node, &row)| kept_of[row as usize] = kept_node as u32);
    graph.children = Lists { offsets: Vec::with_capacity(rows + 1), items: Vec::with_capacity(rows) };
    graph.children.offsets.push(0);
    for &kept_node in &kept_of {
        let children = order.children.get(kept_node as usize);
        graph.children.items.extend(children.iter().map(|&child| row_of[child as usize]));
        graph.children.close();
    }
    (graph.frames, graph.inlined) = columns.finish();
    (graph.labels_only, graph.labels) = label_columns.finish();
    Ok(graph)
}

/// What the root shows, as in Parca: the sum of the children that are shown. (Its diff is that of everything,
/// or 0 where no child is.)
fn root_value<W: Weight>(order: &ByName, nodes: &[u32], cumulative: &[W]) -> i64 {
    let children = order.children.get(0).iter();
    children.fold(0, |sum, &child| sum.wrapping_add(cumulative[nodes[child as usize] as usize].value()))
}

/// The nodes to show, in preorder, and the value of the subtrees that are not.
pub(crate) fn select<W: Weight>(tree: &WeightedTree<W>, cumulative: &[W], cut: Cut) -> (Vec<u32>, i64) {
    let mut nodes = above(tree, cumulative, cut.trim, cumulative[0].value(), tree.height());
    let budget = cut.node_budget.max(1);
    if nodes.len() > budget {
        keep_largest(tree, cumulative, &mut nodes, budget);
    }
    // everything, but for what ends in a node that is shown
    let shown = nodes.iter().fold(0i64, |sum, &node| sum.wrapping_add(tree.flat[node as usize].value()));
    (nodes, cumulative[0].value().wrapping_sub(shown))
}

/// The root, and the nodes that are large enough beside their parents, in preorder. `root` is what the root is worth.
pub(crate) fn above<W: Weight>(
    tree: &WeightedTree<W>,
    cumulative: &[W],
    trim: Trim,
    root: i64,
    height: usize,
) -> Vec<u32> {
    let share = trim.share();
    let mut nodes: Vec<u32> = vec![0];
    // what a child at depth + 1 must exceed, by depth
    let mut bar = vec![0.0f64; height + 1];
    bar[0] = root as f64 * share;
    let mut node = 1;
    while node < tree.len() {
        let value = cumulative[node].value();
        let depth = usize::from(tree.depth[node]);
        if trim.keeps(value, bar[depth - 1]) {
            bar[depth] = value as f64 * share;
            nodes.push(node as u32);
            node += 1;
        } else {
            node = tree.end[node] as usize;
        }
    }
    nodes
}

/// Keeps the `budget` largest of `nodes`, root included.
fn keep_largest<W: Weight>(tree: &WeightedTree<W>, cumulative: &[W], nodes: &mut Vec<u32>, budget: usize) {
    let mut values: Vec<i64> = nodes[1..].iter().map(|&node| cumulative[node as usize].value()).collect();
    let places = budget - 1;
    if places == 0 {
        nodes.truncate(1);
        return;
    }
    let (larger, &mut smallest, _) = values.select_nth_unstable_by(places - 1, |a, b| b.cmp(a));
    // how many of the nodes that are exactly as large as the smallest have a place
    let mut ties = places - larger.iter().filter(|&&value| value > smallest).count();
    let mut skip_to = 0;
    nodes.retain(|&node| {
        if node < skip_to {
            return false;
        }
        let value = cumulative[node as usize].value();
        let keep = node == 0 || value > smallest || (value == smallest && ties > 0);
        if keep {
            ties -= usize::from(node != 0 && value == smallest);
        } else {
            skip_to = tree.end[node as usize];
        }
        keep
    });
}

/// The children of every kept node, by name.
struct ByName {
    children: Lists<u32>,
}

impl ByName {
    fn new<W>(merged: &Merged<'_, W>, kept: &Kept, contributors: &[Option<Contributor>]) -> Self {
        let rank = ranks(merged, kept, contributors);
        let parent = parents(&kept.depth);
        let mut count = vec![0u32; parent.len()];
        parent[1..].iter().for_each(|&parent| count[parent as usize] += 1);
        let mut children = Lists { offsets: Vec::with_capacity(parent.len() + 1), items: vec![0; parent.len() - 1] };
        let mut begin = 0;
        let mut place: Vec<u32> = Vec::with_capacity(parent.len());
        children.offsets.push(0);
        for &count in &count {
            place.push(begin);
            begin += count;
            children.offsets.push(begin as i32);
        }
        for (node, &parent) in parent.iter().enumerate().skip(1) {
            let place = &mut place[parent as usize];
            children.items[*place as usize] = node as u32;
            *place += 1;
        }
        for node in 0..parent.len() {
            let siblings = children.offsets[node] as usize..children.offsets[node + 1] as usize;
            if siblings.len() > 1 {
                children.items[siblings].sort_unstable_by_key(|&child| rank[kept.frame[child as usize] as usize]);
            }
        }
        Self { children }
    }
}

/// Per frame of the union that is kept: its place by name, nameless ones last by binary and address. Groups, whose
/// frames follow, come before them all.
fn ranks<W>(merged: &Merged<'_, W>, kept: &Kept, contributors: &[Option<Contributor>]) -> Vec<u32> {
    let (frames, groups) = (merged.union.key.len(), merged.groups.len());
    let mut rank = vec![0u32; frames];
    let mut distinct = Vec::new();
    for (&frame, contributor) in kept.frame.iter().zip(contributors) {
        if let Some(contributor) = contributor
            && rank[frame as usize] == 0
        {
            rank[frame as usize] = 1;
            let metadata = contributor.metadata(&merged.parts);
            let place =
                if metadata.name.is_empty() { (metadata.mapping_file, metadata.address) } else { (&b""[..], 0) };
            distinct.push((metadata.name.is_empty(), metadata.name, place, frame));
        }
    }
    distinct.sort_unstable();
    for (place, (.., frame)) in distinct.into_iter().enumerate() {
        rank[frame as usize] = (groups + place) as u32;
    }
    rank.extend(0..groups as u32);
    rank
}
