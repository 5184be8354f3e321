//! Stacks as canonical preorder trees, and their join.
//!
//! *Canonical preorder*: node 0 is the root; a node stands before its children; siblings are ordered by
//! the content key of their frame, so that alike stacks give alike trees in every block without shared
//! ids. Two such trees are joined by two cursors, without a hash table.
//!
//! Map: [`keys`] content keys of frames and locations · [`conflict`] where a node's contributors differ · [`build()`] both trees of a set of stacks ·
//! [`weigh`] values on a tree · [`grow`] the same without a tree, for stacks that are looked at once · [`join`] weighted trees of several parts into one.

mod build;
pub mod conflict;
pub mod grow;
pub mod join;
pub mod keys;
mod sort;
pub mod weigh;

pub use build::{Trees, build, build_names, fitting, lines_of};
pub use conflict::FrameMetadata;
pub use grow::{Sorted, Sorter, Sums};
pub use join::{FrameUnion, join};
pub use keys::{FrameBy, FrameRows};
pub use weigh::{Change, Weight, WeightedTree};

use crate::symbols::{LocationIx, StringIx};

/// Deepest node of a tree. Frames farther from the root than this are left out and their values stay at
/// the deepest node: no real stack comes near it, and a depth fits a `u16`.
pub const DEPTH_MAX: usize = u16::MAX as usize - 1;

/// A 128-bit content key: the fixed, collision-resistant hash of a frame's content (docs/format.md).
pub type Key = u128;

/// Distinct frames by *frame name*: stored name, else system name, else build ID or file and address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frames {
    /// Content keys, ascending, each once: rows are in the order of a tree's siblings.
    pub key: Vec<Key>,
    /// The name, or string 0 for a frame that has none.
    pub name: Vec<StringIx>,
}

/// Stacks by frame name: what a flame graph shows. Columns of equal length, one row per node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameTree {
    /// 0 for the root only.
    pub depth: Vec<u16>,
    /// One past the last node of the subtree.
    pub end: Vec<u32>,
    /// Row in `frames`; `NONE` for the root.
    pub frame: Vec<u32>,
    /// A representative location of the node, and the line within its run that the node stands for
    /// (row in `Lines`, or `NONE` for a location without lines): where its metadata comes from.
    pub location: Vec<LocationIx>,
    pub line: Vec<u32>,
    /// Which metadata columns differ among the node's contributors (bits: [`conflict`]). A node without a
    /// bit has the same metadata for any subset of its stacks; one with a bit must be asked again over the
    /// stacks at hand, by way of the location tree.
    pub conflicts: Vec<u16>,
    pub frames: Frames,
    /// Per stack: its leaf's node (the root for an empty stack).
    pub stack_node: Vec<u32>,
}

/// Stacks by location: what every other grouping folds from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocationTree {
    pub depth: Vec<u16>,
    pub end: Vec<u32>,
    /// `NONE` for the root.
    pub location: Vec<LocationIx>,
    /// The name-tree node of the location's innermost line; its outer lines are that node's ancestors.
    pub name_node: Vec<u32>,
    /// Per stack: its leaf's node (the root for an empty stack).
    pub stack_node: Vec<u32>,
}

/// The parent of each node, from the depths of a preorder. The root is its own parent.
pub fn parents(depth: &[u16]) -> Vec<u32> {
    let mut parent = Vec::with_capacity(depth.len());
    // the last node seen at each depth
    let mut at_depth: Vec<u32> = Vec::new();
    for (node, &depth) in depth.iter().enumerate() {
        let depth = usize::from(depth);
        at_depth.truncate(depth);
        parent.push(at_depth.last().copied().unwrap_or(0));
        at_depth.push(node as u32);
    }
    parent
}

/// One past the last node of each subtree, from the depths of a preorder.
pub fn ends(depth: &[u16]) -> Vec<u32> {
    let len = depth.len();
    let mut end = vec![len as u32; len];
    for node in (0..len).rev() {
        let mut next = node + 1;
        while next < len && depth[next] > depth[node] {
            next = end[next] as usize;
        }
        end[node] = next as u32;
    }
    end
}
