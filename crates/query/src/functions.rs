//! Sums by frame, wherever it stands: what the table, the top list and the call graph are made of.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use profile::NONE;
use profile::tree::{Weight, parents};

use crate::answer::Merged;
use crate::error::QueryError;
use crate::frames::Contributor;

/// A row per frame of the union. Recursive frames count once per frame.
pub(crate) struct FrameSums<W> {
    pub(crate) cumulative: Vec<W>,
    pub(crate) flat: Vec<W>,
    /// Whether the frame is on any seen stack.
    pub(crate) present: Vec<bool>,
    /// Of each node of the tree.
    node_cumulative: Vec<W>,
}

impl<W: Weight> FrameSums<W> {
    pub(crate) fn new(merged: &Merged<'_, W>) -> Self {
        let tree = &merged.tree;
        let frames = merged.union.key.len();
        let mut sums = Self {
            cumulative: vec![W::ZERO; frames],
            flat: vec![W::ZERO; frames],
            present: vec![false; frames],
            node_cumulative: tree.cumulative(),
        };
        for (node, &sum) in sums.node_cumulative.iter().enumerate().skip(1) {
            let frame = tree.frame[node] as usize;
            sums.present[frame] = true;
            sums.cumulative[frame] = sums.cumulative[frame].plus(sum);
            sums.flat[frame] = sums.flat[frame].plus(tree.flat[node]);
        }
        sums
    }

    /// Of everything, what has no frame included.
    pub(crate) fn total(&self) -> i64 {
        self.node_cumulative.first().map_or(0, |root| root.value())
    }

    /// (caller, callee) -> sum of what was called.
    pub(crate) fn calls(&self, merged: &Merged<'_, W>) -> HashMap<(u32, u32), W, RandomState> {
        let tree = &merged.tree;
        let mut calls: HashMap<(u32, u32), W, RandomState> = HashMap::default();
        let mut path: Vec<u32> = Vec::new();
        for (node, &sum) in self.node_cumulative.iter().enumerate().skip(1) {
            let frame = tree.frame[node];
            path.truncate(usize::from(tree.depth[node]) - 1);
            if let Some(&caller) = path.last() {
                let call = calls.entry((caller, frame)).or_insert(W::ZERO);
                *call = call.plus(sum);
            }
            path.push(frame);
        }
        calls
    }

    /// The frames that are there, by `value`, largest first, then by name.
    pub(crate) fn largest_first(
        &self,
        merged: &Merged<'_, W>,
        first: &[Option<Contributor>],
        value: impl Fn(usize) -> i64,
    ) -> Vec<u32> {
        let name = |frame: u32| first[frame as usize].map(|contributor| contributor.metadata(&merged.parts).name);
        let frames = 0..self.present.len() as u32;
        let mut order: Vec<u32> = frames.filter(|&frame| self.present[frame as usize]).collect();
        order.sort_by_cached_key(|&frame| (std::cmp::Reverse(value(frame as usize)), name(frame), frame));
        order
    }
}

/// Per frame of the union its place in `order`, or [`NONE`].
pub(crate) fn rows(frames: usize, order: &[u32]) -> Vec<u32> {
    let mut row_of = vec![NONE; frames];
    order.iter().enumerate().for_each(|(row, &frame)| row_of[frame as usize] = row as u32);
    row_of
}

/// Per frame of the union, its first contributor: that of the first stack in which it stands.
pub(crate) fn first_contributors<W>(merged: &Merged<'_, W>) -> Result<Vec<Option<Contributor>>, QueryError> {
    let mut first: Vec<Option<Contributor>> = vec![None; merged.union.key.len()];
    for (index, part) in merged.parts.iter().enumerate() {
        let location_tree = part.part.location_tree()?;
        let location_parent = parents(&location_tree.depth);
        let name_parent = parents(&part.name_tree.depth);
        let lines = &part.symbols.symbols.locations;
        let mut visited = vec![false; location_parent.len()];
        visited[0] = true;
        for (_, &leaf) in part.sums.seen.iter().zip(&location_tree.stack_node).filter(|(seen, _)| **seen) {
            let mut node = leaf as usize;
            while !std::mem::replace(&mut visited[node], true) {
                let location = location_tree.location[node];
                let mut name_node = location_tree.name_node[node] as usize;
                let lines = lines.lines(location);
                let without_lines = lines.is_empty().then_some(NONE);
                for line in lines.map(|line| line as u32).chain(without_lines) {
                    let frame = merged.union.row[index][part.name_tree.frame[name_node] as usize];
                    let contributor = Contributor { part: index as u32, location, line, conflicts: 0 };
                    first[frame as usize].get_or_insert(contributor);
                    name_node = name_parent[name_node] as usize;
                }
                node = location_parent[node] as usize;
            }
        }
    }
    Ok(first)
}
