//! Stacks as canonical preorder trees, and their join.
//!
//! *Canonical preorder*: node 0 is the root; a node stands before its children; siblings are ordered by
//! the content key of their frame, so that alike stacks give alike trees in every block without shared
//! ids. Two such trees are joined by two cursors, without a hash table.

use crate::symbols::{LocationIx, StackIx, StringIx};

/// A 128-bit content key: the fixed, collision-resistant hash of a frame's content (docs/format.md).
pub type Key = u128;

/// Distinct frames by *frame name*: stored name, else system name, else build ID or file and address.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Frames {
    /// Content keys; a tree's siblings are in ascending order of these.
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

/// Bits of [`NameTree::conflicts`].
pub mod conflict {
    pub const MAPPING_FILE: u16 = 1;
    pub const MAPPING_BUILD_ID: u16 = 2;
    pub const ADDRESS: u16 = 4;
    pub const LINE: u16 = 8;
    pub const INLINED: u16 = 16;
    pub const START_LINE: u16 = 32;
    pub const SYSTEM_NAME: u16 = 64;
    pub const FILENAME: u16 = 128;
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
    pub stack_node: Vec<StackIx>,
}
