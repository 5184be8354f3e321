//! Values on a tree.

use super::NameTree;
use crate::symbols::NONE;

/// A tree with a value per node, holding only nodes that some counted stack passes through. Columns of
/// equal length in canonical preorder; row 0 is the root.
///
/// Sums saturate at the bounds of `i64`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightedTree {
    pub depth: Vec<u16>,
    /// One past the last node of the subtree.
    pub end: Vec<u32>,
    /// Row in a list of frames in ascending order of their keys; [`NONE`] for the root.
    pub frame: Vec<u32>,
    /// Value of the stacks that end here.
    pub flat: Vec<i64>,
}

impl WeightedTree {
    /// A root without value.
    pub fn empty() -> Self {
        Self { depth: vec![0], end: vec![1], frame: vec![NONE], flat: vec![0] }
    }

    /// Puts the sums of stacks onto their leaves, and leaves out what no seen stack passes through.
    ///
    /// `sum` and `seen` have a row per stack of the tree (or fewer: a head may have learnt new stacks since);
    /// `frame_row` maps the tree's frames to rows of the list that the result names.
    pub fn new(tree: &NameTree, sum: &[i64], seen: &[bool], frame_row: &[u32]) -> Self {
        let mut flat = vec![0i64; tree.depth.len()];
        let mut kept = vec![false; tree.depth.len()];
        for ((&value, &seen), &node) in sum.iter().zip(seen).zip(&tree.stack_node) {
            if seen {
                let flat = &mut flat[node as usize];
                *flat = flat.saturating_add(value);
                kept[node as usize] = true;
            }
        }
        mark_ancestors(&tree.depth, &mut kept);
        let nodes = kept.iter().filter(|&&kept| kept).count().max(1);
        let mut out = Self {
            depth: Vec::with_capacity(nodes),
            end: Vec::new(),
            frame: Vec::with_capacity(nodes),
            flat: Vec::with_capacity(nodes),
        };
        out.depth.push(0);
        out.frame.push(NONE);
        out.flat.push(flat.first().copied().unwrap_or(0));
        for node in 1..tree.depth.len() {
            if kept[node] {
                out.depth.push(tree.depth[node]);
                out.frame.push(frame_row[tree.frame[node] as usize]);
                out.flat.push(flat[node]);
            }
        }
        out.end = super::ends(&out.depth);
        out
    }

    pub fn len(&self) -> usize {
        self.depth.len()
    }

    pub fn is_empty(&self) -> bool {
        self.depth.is_empty()
    }

    /// Value of each whole subtree.
    pub fn cumulative(&self) -> Vec<i64> {
        cumulative(&self.depth, &self.flat)
    }

    /// Nodes on the longest path, the root included; 1 for an empty tree.
    pub fn height(&self) -> usize {
        self.depth.iter().max().map_or(1, |&depth| usize::from(depth) + 1)
    }
}

/// Sums of subtrees: one backward pass over a preorder.
pub fn cumulative(depth: &[u16], flat: &[i64]) -> Vec<i64> {
    let mut sums = flat.to_vec();
    // the children of the node that is still to come at each depth
    let mut open = vec![0i64; depth.iter().max().map_or(0, |&depth| usize::from(depth)) + 2];
    for (node, &depth) in depth.iter().enumerate().rev() {
        let depth = usize::from(depth);
        let sum = sums[node].saturating_add(open[depth + 1]);
        open[depth + 1] = 0;
        open[depth] = open[depth].saturating_add(sum);
        sums[node] = sum;
    }
    sums
}

/// Marks every node above a marked one.
pub fn mark_ancestors(depth: &[u16], marked: &mut [bool]) {
    let mut open = vec![false; depth.iter().max().map_or(0, |&depth| usize::from(depth)) + 2];
    for (node, &depth) in depth.iter().enumerate().rev() {
        let depth = usize::from(depth);
        let mark = marked[node] | open[depth + 1];
        open[depth + 1] = false;
        open[depth] |= mark;
        marked[node] = mark;
    }
}
