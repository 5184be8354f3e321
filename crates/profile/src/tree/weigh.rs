//! Values on a tree.

use super::NameTree;
use crate::symbols::NONE;

/// What a tree's nodes carry: a value, or a value beside its change.
///
/// Sums wrap at 64 bits, as in Parca: only so do parts add up alike in any order. (A sum that stops at the
/// bounds depends on what came first.)
pub trait Weight: Copy + PartialEq + std::fmt::Debug + Send + Sync {
    const ZERO: Self;
    fn plus(self, other: Self) -> Self;
    fn value(self) -> i64;
    /// 0 where nothing is compared.
    fn diff(self) -> i64;
}

impl Weight for i64 {
    const ZERO: Self = 0;

    #[inline]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline]
    fn value(self) -> i64 {
        self
    }

    #[inline]
    fn diff(self) -> i64 {
        0
    }
}

/// A value, and by how much it is more than before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub value: i64,
    pub diff: i64,
}

impl Weight for Change {
    const ZERO: Self = Self { value: 0, diff: 0 };

    #[inline]
    fn plus(self, other: Self) -> Self {
        Self { value: self.value.wrapping_add(other.value), diff: self.diff.wrapping_add(other.diff) }
    }

    #[inline]
    fn value(self) -> i64 {
        self.value
    }

    #[inline]
    fn diff(self) -> i64 {
        self.diff
    }
}

/// A tree with a weight per node, holding only nodes that some counted stack passes through. Columns of
/// equal length in canonical preorder; row 0 is the root.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WeightedTree<W = i64> {
    pub depth: Vec<u16>,
    /// One past the last node of the subtree.
    pub end: Vec<u32>,
    /// Row in a list of frames in ascending order of their keys; [`NONE`] for the root.
    pub frame: Vec<u32>,
    /// Weight of the stacks that end here.
    pub flat: Vec<W>,
}

impl<W: Weight> WeightedTree<W> {
    /// A root without value.
    pub fn empty() -> Self {
        Self { depth: vec![0], end: vec![1], frame: vec![NONE], flat: vec![W::ZERO] }
    }

    /// Puts the sums of stacks onto their leaves, and leaves out what no seen stack passes through.
    ///
    /// `sum` has a row per stack of the tree (or fewer); `node_seen` is [`seen_nodes`] of the same stacks;
    /// `frame_row` maps the tree's frames to rows of the list that the result names.
    pub fn new(
        tree: &NameTree,
        sum: impl IntoIterator<Item = W>,
        seen: &[bool],
        node_seen: &[bool],
        frame_row: &[u32],
    ) -> Self {
        let mut flat = vec![W::ZERO; tree.depth.len()];
        for ((weight, &seen), &node) in sum.into_iter().zip(seen).zip(&tree.stack_node) {
            if seen {
                let flat = &mut flat[node as usize];
                *flat = flat.plus(weight);
            }
        }
        let nodes = node_seen.iter().filter(|&&seen| seen).count() + 1;
        let mut out = Self {
            depth: Vec::with_capacity(nodes),
            end: Vec::new(),
            frame: Vec::with_capacity(nodes),
            flat: Vec::with_capacity(nodes),
        };
        out.depth.push(0);
        out.frame.push(NONE);
        out.flat.push(flat.first().copied().unwrap_or(W::ZERO));
        for node in 1..tree.depth.len() {
            if node_seen[node] {
                out.depth.push(tree.depth[node]);
                out.frame.push(frame_row[tree.frame[node] as usize]);
                out.flat.push(flat[node]);
            }
        }
        out.end = super::ends(&out.depth);
        out
    }

    /// Puts whole trees below the root of `self`, each as a node of the frame that is given with it. The frames
    /// come after those of the root's children, in ascending order.
    pub fn graft(&mut self, branches: impl IntoIterator<Item = (u32, Self)>) {
        for (frame, branch) in branches {
            let at = self.depth.len();
            self.depth.extend(branch.depth.iter().map(|depth| depth + 1));
            self.end.extend(branch.end.iter().map(|end| end + at as u32));
            self.frame.extend_from_slice(&branch.frame);
            self.frame[at] = frame;
            self.flat.extend_from_slice(&branch.flat);
        }
        self.end[0] = self.depth.len() as u32;
    }

    pub fn len(&self) -> usize {
        self.depth.len()
    }

    pub fn is_empty(&self) -> bool {
        self.depth.is_empty()
    }

    /// Value of each whole subtree.
    pub fn cumulative(&self) -> Vec<W> {
        cumulative(&self.depth, &self.flat)
    }

    /// Nodes on the longest path, the root included; 1 for an empty tree.
    pub fn height(&self) -> usize {
        deepest(&self.depth) + 1
    }
}

/// Sums of subtrees: one backward pass over a preorder.
pub fn cumulative<W: Weight>(depth: &[u16], flat: &[W]) -> Vec<W> {
    let mut sums = flat.to_vec();
    // the children, so far, of the node that is still to come at each depth
    let mut open = vec![W::ZERO; deepest(depth) + 2];
    for (sum, &depth) in sums.iter_mut().zip(depth).rev() {
        let depth = usize::from(depth);
        *sum = sum.plus(open[depth + 1]);
        open[depth + 1] = W::ZERO;
        open[depth] = open[depth].plus(*sum);
    }
    sums
}

/// The nodes that seen stacks pass through; `leaf` is a tree's `stack_node`.
pub fn seen_nodes(depth: &[u16], leaf: &[u32], seen: &[bool]) -> Vec<bool> {
    let mut nodes = vec![false; depth.len()];
    for (&leaf, _) in leaf.iter().zip(seen).filter(|(_, seen)| **seen) {
        nodes[leaf as usize] = true;
    }
    let mut open = vec![false; deepest(depth) + 2];
    for (node, &depth) in nodes.iter_mut().zip(depth).rev() {
        let depth = usize::from(depth);
        *node |= open[depth + 1];
        open[depth + 1] = false;
        open[depth] |= *node;
    }
    nodes
}

/// The rows that are marked, ascending.
pub fn seen_rows(seen: &[bool]) -> Vec<u32> {
    seen.iter().enumerate().filter(|(_, seen)| **seen).map(|(row, _)| row as u32).collect()
}

fn deepest(depth: &[u16]) -> usize {
    depth.iter().max().map_or(0, |&depth| usize::from(depth))
}
