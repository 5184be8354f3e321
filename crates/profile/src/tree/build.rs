//! Both canonical trees of a set of stacks: sort the stacks, then walk them by common prefixes.
//!
//! Costs about a microsecond per stack; done once per block, and once per state of the head.

use super::keys::FrameBy;
use super::sort::Runs;
use super::{DEPTH_MAX, Key, LocationTree, NameTree, conflict, keys, parents};
use crate::symbols::{LocationIx, NONE, StackIx, Stacks, Symbols};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trees {
    pub name: NameTree,
    pub location: LocationTree,
}

/// Builds the name tree and the location tree of all `stacks`.
///
/// Indices of `stacks` and `symbols` must be in range.
pub fn build(symbols: &Symbols, stacks: &Stacks) -> Trees {
    let kept = kept_locations(symbols, stacks, |_| true);
    let mut name = names(symbols, stacks, &kept, FrameBy::default());
    let parent = parents(&name.depth);
    let leaf = std::mem::take(&mut name.stack_node);
    let location = locations(symbols, stacks, &kept, &leaf, &parent, |node, location, line| {
        contribute(&mut name, symbols, node, location, line);
    });
    name.stack_node = leaf;
    Trees { name, location }
}

/// Builds the name tree of the stacks that are `seen`, with frames told apart `by` more than their names. Others are as
/// if they were empty, so that its conflicts are those of the stacks that are seen.
pub fn build_names(symbols: &Symbols, stacks: &Stacks, seen: &[bool], by: FrameBy) -> NameTree {
    let kept = kept_locations(symbols, stacks, |stack| seen[stack]);
    let mut name = names(symbols, stacks, &kept, by);
    let parent = parents(&name.depth);
    for (stack, &kept) in kept.iter().enumerate() {
        let mut node = name.stack_node[stack];
        let run = stacks.get(stack as StackIx);
        for &location in &run[run.len() - kept as usize..] {
            for line in lines_of(symbols, location) {
                contribute(&mut name, symbols, node, location, line);
                node = parent[node as usize];
            }
        }
    }
    name
}

/// Frames and nodes alone: what they stand for is for [`contribute`] to say.
fn names(symbols: &Symbols, stacks: &Stacks, kept: &[u32], by: FrameBy) -> NameTree {
    let (frames, frame_rows) = keys::frames_by(symbols, by);
    let mut runs = Runs::with_capacity(stacks.len(), stacks.locations.len());
    for (stack, &kept) in kept.iter().enumerate() {
        for &location in root_first(stacks.get(stack as StackIx), kept) {
            let lines = symbols.locations.lines(location);
            if lines.is_empty() {
                runs.symbols.push(frame_rows.of_location[location as usize]);
            } else {
                runs.symbols.extend(frame_rows.of_line[lines].iter().rev());
            }
        }
        runs.close_run();
    }
    let order = runs.sorted();
    let mut name = NameTree { frames, stack_node: vec![0; stacks.len()], ..NameTree::default() };
    walk(&runs, &order, |node| match node {
        Step::Open { depth, symbol, .. } => {
            name.depth.push(depth);
            name.end.push(0);
            name.frame.push(symbol);
        }
        Step::Close { node, end } => name.end[node as usize] = end,
        Step::Leaf { stack, node } => name.stack_node[stack as usize] = node,
    });
    name.location = vec![NONE; name.depth.len()];
    name.line = vec![NONE; name.depth.len()];
    name.conflicts = vec![0; name.depth.len()];
    name
}

/// The location tree of stacks whose leaves in the name tree are `name_leaf`. Tells of every location of it and each of
/// its lines ([`NONE`] for a location without) to which name node it contributes.
fn locations(
    symbols: &Symbols,
    stacks: &Stacks,
    kept: &[u32],
    name_leaf: &[u32],
    name_parent: &[u32],
    mut contribute: impl FnMut(u32, LocationIx, u32),
) -> LocationTree {
    let rank = ranks(&keys::locations(symbols));
    let mut runs = Runs::with_capacity(stacks.len(), stacks.locations.len());
    for (stack, &kept) in kept.iter().enumerate() {
        let run = root_first(stacks.get(stack as StackIx), kept);
        runs.symbols.extend(run.map(|&location| rank[location as usize]));
        runs.close_run();
    }
    let order = runs.sorted();
    let mut location = LocationTree { stack_node: vec![0; stacks.len()], ..LocationTree::default() };
    // the nodes from the root to the current leaf
    let mut path: Vec<u32> = Vec::new();
    walk(&runs, &order, |node| match node {
        Step::Open { depth, .. } => {
            path.truncate(usize::from(depth));
            path.push(location.depth.len() as u32);
            location.depth.push(depth);
            location.end.push(0);
            location.location.push(NONE);
            location.name_node.push(0);
        }
        Step::Close { node, end } => location.end[node as usize] = end,
        Step::Leaf { stack, node } => {
            path.truncate(usize::from(location.depth[node as usize]) + 1);
            location.stack_node[stack as usize] = node;
            // climb from the leaf to the first location that an earlier stack has named
            let mut name_node = name_leaf[stack as usize];
            let run = stacks.get(stack);
            for (&at, &leaf_first) in path[1..].iter().rev().zip(&run[run.len() + 1 - path.len()..]) {
                if location.location[at as usize] != NONE {
                    break;
                }
                location.location[at as usize] = leaf_first;
                location.name_node[at as usize] = name_node;
                for line in lines_of(symbols, leaf_first) {
                    contribute(name_node, leaf_first, line);
                    name_node = name_parent[name_node as usize];
                }
            }
        }
    });
    location
}

/// Rows of a location's lines, innermost first; [`NONE`] for a location without lines.
pub fn lines_of(symbols: &Symbols, location: LocationIx) -> impl DoubleEndedIterator<Item = u32> {
    let lines = symbols.locations.lines(location);
    let without_lines = lines.is_empty().then_some(NONE);
    lines.map(|line| line as u32).chain(without_lines)
}

/// How many locations of each stack, counted from the root, fit into a tree; 0 where it is not `wanted`.
fn kept_locations(symbols: &Symbols, stacks: &Stacks, wanted: impl Fn(usize) -> bool) -> Vec<u32> {
    let kept = |stack| if wanted(stack) { fitting(symbols, stacks.get(stack as StackIx)) } else { 0 };
    (0..stacks.len()).map(kept).collect()
}

/// How many locations of `stack`, counted from the root, fit into [`DEPTH_MAX`] frames: the others are in no tree.
pub fn fitting(symbols: &Symbols, stack: &[LocationIx]) -> u32 {
    let mut frames = 0;
    let fits = stack.iter().rev().take_while(|&&location| {
        frames += symbols.locations.lines(location).len().max(1);
        frames <= DEPTH_MAX
    });
    fits.count() as u32
}

pub(super) fn root_first(stack: &[LocationIx], kept: u32) -> impl Iterator<Item = &LocationIx> {
    stack.iter().rev().take(kept as usize)
}

/// Dense ranks of `keys` in ascending order; equal keys have one rank.
fn ranks(keys: &[Key]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    order.sort_unstable_by_key(|&ix| keys[ix as usize]);
    let mut rank = vec![0; keys.len()];
    let mut next = 0;
    for pair in 0..order.len() {
        if pair > 0 && keys[order[pair] as usize] != keys[order[pair - 1] as usize] {
            next += 1;
        }
        rank[order[pair] as usize] = next;
    }
    rank
}

enum Step {
    /// The next node in preorder; the root has symbol [`NONE`].
    Open { depth: u16, symbol: u32 },
    /// `node`'s subtree ends before node `end`.
    Close { node: u32, end: u32 },
    /// `stack` ends at `node`, which is open.
    Leaf { stack: StackIx, node: u32 },
}

/// Walks sorted runs as the preorder of their prefix tree.
fn walk(runs: &Runs, order: &[u32], mut step: impl FnMut(Step)) {
    step(Step::Open { depth: 0, symbol: NONE });
    let mut nodes = 1u32;
    let mut path = vec![0u32];
    let mut previous: &[u32] = &[];
    for &stack in order {
        let run = runs.get(stack);
        let common = previous.iter().zip(run).take_while(|(a, b)| a == b).count();
        while path.len() > common + 1 {
            if let Some(node) = path.pop() {
                step(Step::Close { node, end: nodes });
            }
        }
        for &symbol in &run[common..] {
            step(Step::Open { depth: path.len() as u16, symbol });
            path.push(nodes);
            nodes += 1;
        }
        step(Step::Leaf { stack, node: path[path.len() - 1] });
        previous = run;
    }
    while let Some(node) = path.pop() {
        step(Step::Close { node, end: nodes });
    }
}

/// Makes a line (or a location without lines) the representative of a node that has none, else compares
/// it with the representative.
fn contribute(tree: &mut NameTree, symbols: &Symbols, node: u32, location: LocationIx, line: u32) {
    let node = node as usize;
    if tree.location[node] == NONE {
        tree.location[node] = location;
        tree.line[node] = line;
        return;
    }
    if (tree.location[node], tree.line[node]) != (location, line) {
        let nameless = tree.frames.name[tree.frame[node] as usize] == 0;
        let shown = (tree.location[node], tree.line[node]);
        tree.conflicts[node] |= conflict::within(symbols, shown, (location, line), nameless, tree.conflicts[node]);
    }
}
