//! The flame chart: stacks one after the other in time. Neighbours that share frames, outermost first, share
//! bars, as long as one bar ends where the next sample begins.

use std::collections::HashMap;
use std::ops::ControlFlow;

use foldhash::fast::RandomState;
use profile::tree::{FrameUnion, Key, WeightedTree, ends, parents};
use profile::{NONE, StackIx};

use crate::engine::{Context, Engine};
use crate::error::{ErrorKind, QueryError};
use crate::flame::{Cut, select};
use crate::frames::{Contributor, FrameColumnsBuilder};
use crate::groups::{Groups, LabelColumnsBuilder, LabelValues, SampleGroups};
use crate::merge::{PartPicks, PartSums, Scope, Side};
use crate::pick::visit_samples;
use crate::report::FlameGraph;

/// What a sample costs while it is sorted.
const BYTES_PER_SAMPLE: usize = 2 * size_of::<Sample>();
/// What a bar costs, by the thousand, with the tree that is made of it.
const BARS_PER_LEASE: usize = 16_384;
const BYTES_PER_BAR: usize = size_of::<Bar>() + 64;

/// A stack at a time. Ordered by time; what is alike lies together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sample {
    /// ns since the epoch
    time: i64,
    part: u32,
    stack: StackIx,
    group: u32,
    value: i64,
}

/// The chart, the total of all samples that are seen, those without any frame included, and that of the others.
///
/// [`ErrorKind::Internal`], as in Parca, where two stacks share a frame and a time: a chart has one at a time.
/// So has every profile that is not made of stamped samples.
pub(crate) fn chart(
    engine: &Engine,
    context: &Context,
    scope: &Scope,
    unit: String,
    cut: Cut,
) -> Result<(FlameGraph, i64, i64), QueryError> {
    let picks = scope.picks(engine, context)?;
    let side = Side::of_picks(engine, context, scope, &picks, false)?;
    let counts = picks.iter().map(|picks| {
        let profiles = picks.part.profiles();
        picks.picked.iter().map(|picked| profiles.samples[picked.profile as usize] as usize).sum::<usize>()
    });
    let _lease = engine.lease(counts.sum::<usize>().saturating_mul(BYTES_PER_SAMPLE))?;
    let mut groups = Groups::new(engine, &scope.look.labels);
    let samples = samples(context, scope, &picks, &side, &mut groups)?;
    let parts: Vec<&PartSums> = side.parts.iter().collect();
    let mut bars = Bars::new(&parts, &groups.values);
    let mut leases = Vec::new();
    for sample in samples {
        if bars.all.len() >= leases.len() * BARS_PER_LEASE {
            context.check()?;
            leases.push(engine.lease(BARS_PER_LEASE * BYTES_PER_BAR)?);
        }
        bars.add(sample)?;
    }
    Ok((bars.graph(context, &scope.look.labels, unit, cut)?, side.total, side.filtered))
}

/// A comparison has no times: Parca sees them all at 0 and refuses it like any two stacks at one time.
pub(crate) fn of_a_diff() -> QueryError {
    QueryError::new(ErrorKind::Internal, "a flame chart shows one profile over time: a comparison has no times")
}

/// Of the stacks that are seen, equal ones of one time and group added up.
fn samples<'a>(
    context: &Context,
    scope: &Scope,
    picks: &'a [PartPicks],
    side: &Side,
    groups: &mut Groups<'a>,
) -> Result<Vec<Sample>, QueryError> {
    let mut samples = Vec::new();
    for (part, picks) in picks.iter().enumerate() {
        let seen = &side.parts[part].sums.seen;
        let mut group_of = SampleGroups::new(groups, picks)?;
        let wanted: Vec<_> = picks.picked.iter().map(|picked| picked.as_pick()).collect();
        visit_samples(context, &*picks.part, &wanted, |row| {
            if scope.range.contains(&row.time) && seen.get(row.stack as usize) == Some(&true) {
                let group = group_of.group(&row)?;
                samples.push(Sample { time: row.time, part: part as u32, stack: row.stack, group, value: row.value });
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    samples.sort_unstable();
    samples.dedup_by(|next, first| {
        let of = |sample: &Sample| (sample.time, sample.part, sample.stack, sample.group);
        let same = of(next) == of(first);
        if same {
            first.value = first.value.wrapping_add(next.value);
        }
        same
    });
    Ok(samples)
}

struct Bar {
    parent: u32,
    depth: u16,
    /// Row of the union; [`NONE`] for the root and for the bar of a group.
    frame: u32,
    /// [`NONE`] for the root, and for what has no label.
    group: u32,
    /// ns since the epoch, of the first sample.
    begin: i64,
    cumulative: i64,
    flat: i64,
    /// Children in order of their begin.
    first_child: u32,
    last_child: u32,
    next_sibling: u32,
    contributor: Option<Contributor>,
}

struct Bars<'a> {
    parts: &'a [&'a PartSums],
    union: FrameUnion,
    name_parent: Vec<Vec<u32>>,
    /// In order of their begin; the root first.
    all: Vec<Bar>,
    groups: &'a [LabelValues],
    /// The bar that holds all of a group's, however far they lie apart; [`NONE`] before the first.
    group_bar: Vec<u32>,
    /// The latest outermost bar of each frame below the root or a group's: these may overlap, as threads do.
    outermost: HashMap<(u32, u32), u32, RandomState>,
    /// Of the sample at hand, leaf first.
    path: Vec<(u32, Contributor)>,
}

impl<'a> Bars<'a> {
    fn new(parts: &'a [&'a PartSums], groups: &'a [LabelValues]) -> Self {
        let keys: Vec<&[Key]> = parts.iter().map(|part| part.name_tree.frames.key.as_slice()).collect();
        let mut bars = Self {
            parts,
            union: FrameUnion::new(&keys),
            name_parent: parts.iter().map(|part| parents(&part.name_tree.depth)).collect(),
            groups,
            group_bar: vec![NONE; groups.len()],
            all: Vec::new(),
            outermost: HashMap::default(),
            path: Vec::new(),
        };
        bars.begin(NONE, NONE, NONE, i64::MIN, None);
        bars
    }

    /// Samples come in order of time.
    fn add(&mut self, sample: Sample) -> Result<(), QueryError> {
        self.find_path(sample);
        let outermost = self.group_bar(sample);
        let mut bar = outermost;
        let path = std::mem::take(&mut self.path);
        for &(frame, contributor) in path.iter().rev() {
            bar = match self.continued(bar, frame, sample)? {
                Some(known) => {
                    if let Some(first) = &mut self.all[known as usize].contributor {
                        first.join(self.parts, contributor);
                    }
                    known
                }
                None => self.begin(bar, frame, self.all[outermost as usize].group, sample.time, Some(contributor)),
            };
            let bar = &mut self.all[bar as usize];
            bar.cumulative = bar.cumulative.wrapping_add(sample.value);
        }
        if bar != 0 {
            let leaf = &mut self.all[bar as usize];
            leaf.flat = leaf.flat.wrapping_add(sample.value);
        }
        self.path = path;
        Ok(())
    }

    /// The bar below which a sample's begin: the root, or that of its labels, which the sample is added to.
    fn group_bar(&mut self, sample: Sample) -> u32 {
        let group = sample.group as usize;
        if self.groups[group].iter().all(Option::is_none) {
            return 0;
        }
        if self.group_bar[group] == NONE {
            self.group_bar[group] = self.begin(0, NONE, sample.group, sample.time, None);
        }
        let bar = &mut self.all[self.group_bar[group] as usize];
        bar.cumulative = bar.cumulative.wrapping_add(sample.value);
        self.group_bar[group]
    }

    /// The frames of a sample's stack, leaf first, and where each comes from.
    fn find_path(&mut self, sample: Sample) {
        let part_ix = sample.part as usize;
        let part = self.parts[part_ix];
        self.path.clear();
        let leaf = part.name_tree.stack_node[sample.stack as usize];
        let mut depth = usize::from(part.name_tree.depth[leaf as usize]);
        let mut node = leaf as usize;
        let mut sources = Vec::with_capacity(depth);
        'stack: for &location in part.symbols.stacks.get(sample.stack).iter().rev() {
            let lines = part.symbols.symbols.locations.lines(location);
            let nameless = lines.is_empty().then_some(NONE);
            for line in lines.rev().map(|line| line as u32).chain(nameless) {
                // deeper than a tree is
                if sources.len() == depth {
                    break 'stack;
                }
                sources.push((location, line));
            }
        }
        while depth > 0 {
            depth -= 1;
            let (location, line) = sources[depth];
            let frame = self.union.row[part_ix][part.name_tree.frame[node] as usize];
            self.path.push((frame, Contributor { part: sample.part, location, line, conflicts: 0 }));
            node = self.name_parent[part_ix][node] as usize;
        }
    }

    /// The bar below `parent` that the sample belongs to, if it is one that goes on.
    fn continued(&self, parent: u32, frame: u32, sample: Sample) -> Result<Option<u32>, QueryError> {
        let candidate = match self.all[parent as usize].frame {
            NONE => self.outermost.get(&(parent, frame)).copied(),
            _ => Some(self.all[parent as usize].last_child)
                .filter(|&last| last != NONE && self.all[last as usize].frame == frame),
        };
        let Some(candidate) = candidate else { return Ok(None) };
        let bar = &self.all[candidate as usize];
        if bar.begin == sample.time {
            let message = format!("multiple samples for the same timestamp is not allowed: {}", sample.time);
            return Err(QueryError::new(ErrorKind::Internal, message));
        }
        let end = i128::from(bar.begin) + i128::from(bar.cumulative);
        Ok((i128::from(sample.time) <= end).then_some(candidate))
    }

    fn begin(&mut self, parent: u32, frame: u32, group: u32, time: i64, contributor: Option<Contributor>) -> u32 {
        let bar = self.all.len() as u32;
        let depth = if parent == NONE { 0 } else { self.all[parent as usize].depth + 1 };
        self.all.push(Bar {
            parent,
            depth,
            frame,
            group,
            begin: time,
            cumulative: 0,
            flat: 0,
            last_child: NONE,
            first_child: NONE,
            next_sibling: NONE,
            contributor,
        });
        if parent != NONE {
            match std::mem::replace(&mut self.all[parent as usize].last_child, bar) {
                NONE => self.all[parent as usize].first_child = bar,
                elder => self.all[elder as usize].next_sibling = bar,
            }
        }
        if parent != NONE && frame != NONE && self.all[parent as usize].frame == NONE {
            self.outermost.insert((parent, frame), bar);
        }
        bar
    }

    /// Bars in preorder, children in order of their begin.
    fn preorder(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.all.len());
        let mut next = 0;
        while next != NONE {
            order.push(next);
            let bar = &self.all[next as usize];
            if bar.first_child != NONE {
                next = bar.first_child;
                continue;
            }
            let mut at = next;
            while at != NONE && self.all[at as usize].next_sibling == NONE {
                at = self.all[at as usize].parent;
            }
            next = if at == NONE { NONE } else { self.all[at as usize].next_sibling };
        }
        order
    }

    fn graph(self, context: &Context, labels: &[String], unit: String, cut: Cut) -> Result<FlameGraph, QueryError> {
        let order = self.preorder();
        let bar = |node: u32| &self.all[order[node as usize] as usize];
        let nodes = 0..order.len() as u32;
        let depth: Vec<u16> = nodes.clone().map(|node| bar(node).depth).collect();
        let tree: WeightedTree<i64> = WeightedTree {
            end: ends(&depth),
            frame: nodes.clone().map(|node| bar(node).frame).collect(),
            flat: nodes.map(|node| bar(node).flat).collect(),
            depth,
        };
        let cumulative = tree.cumulative();
        let (kept, trimmed) = select(&tree, &cumulative, cut);
        context.check()?;

        let mut graph = FlameGraph {
            unit,
            height: i32::try_from(tree.height()).unwrap_or(i32::MAX),
            trimmed,
            ..FlameGraph::default()
        };
        let mut columns = FrameColumnsBuilder::new(self.parts);
        let values: Vec<_> = self.groups.iter().map(Vec::as_slice).collect();
        let mut label_columns = LabelColumnsBuilder::new(labels, &values);
        let depths: Vec<u16> = kept.iter().map(|&node| tree.depth[node as usize]).collect();
        let parent = parents(&depths);
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); kept.len()];
        // where the next child of a row begins
        let mut free: Vec<i64> = Vec::with_capacity(kept.len());
        for (row, &node) in kept.iter().enumerate() {
            let bar = bar(node);
            let is_root = row == 0;
            let offset = if is_root { 0 } else { free[parent[row] as usize] };
            if !is_root {
                children[parent[row] as usize].push(row as u32);
                free[parent[row] as usize] = offset.wrapping_add(bar.cumulative);
            }
            free.push(offset);
            graph.parent.push(if is_root { -1 } else { parent[row] as i32 });
            graph.cumulative.push(bar.cumulative);
            // as in a flame graph, what has no frame is in the total of its labels only
            graph.flat.push(if bar.frame == NONE { 0 } else { bar.flat });
            graph.diff.push(0);
            graph.depth.push(u32::from(bar.depth));
            graph.value_offset.push(offset);
            graph.timestamp.push(if is_root { 0 } else { bar.begin });
            columns.push(bar.contributor.as_ref());
            label_columns.push((bar.group != NONE).then_some(bar.group), bar.frame == NONE && !is_root);
        }
        // what is shown, as in a flame graph
        graph.cumulative[0] = free[0];
        for children in children {
            graph.children.items.extend(children);
            graph.children.close();
        }
        (graph.frames, graph.inlined) = columns.finish();
        (graph.labels_only, graph.labels) = label_columns.finish();
        Ok(graph)
    }
}
