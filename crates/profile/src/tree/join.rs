//! Joining weighted trees by two cursors, and the shared list of frames that makes their rows comparable.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::weigh::Weight;
use super::{Key, WeightedTree};

/// The distinct frames of several trees in one ascending list, so that a tree's frames are compared as
/// `u32` rows and not as 128-bit keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FrameUnion {
    /// Ascending, each once.
    pub key: Vec<Key>,
    /// Per list given, each of its frames' row in `key`.
    pub row: Vec<Vec<u32>>,
}

impl FrameUnion {
    /// `lists` are ascending, each key once.
    pub fn new(lists: &[&[Key]]) -> Self {
        let mut merged: Vec<Vec<Key>> = lists.chunks(2).map(merge_pair).collect();
        // by halves, so that no key is copied more often than the logarithm says
        while merged.len() > 1 {
            merged =
                merged.chunks(2).map(|pair| merge_pair(&pair.iter().map(Vec::as_slice).collect::<Vec<_>>())).collect();
        }
        let key = merged.pop().unwrap_or_default();
        let row = lists.iter().map(|list| rows(&key, list)).collect();
        Self { key, row }
    }
}

fn merge_pair(pair: &[&[Key]]) -> Vec<Key> {
    match pair {
        [a, b] => merge(a, b),
        _ => pair.concat(),
    }
}

fn merge(a: &[Key], b: &[Key]) -> Vec<Key> {
    let mut merged = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        merged.push(a[i].min(b[j]));
        let (step_a, step_b) = (a[i] <= b[j], b[j] <= a[i]);
        i += usize::from(step_a);
        j += usize::from(step_b);
    }
    merged.extend_from_slice(&a[i..]);
    merged.extend_from_slice(&b[j..]);
    merged
}

/// Where each key of `some` stands in `all`, which holds them all.
fn rows(all: &[Key], some: &[Key]) -> Vec<u32> {
    let mut at = 0;
    some.iter()
        .map(|key| {
            // gallop: a small list must not walk through all of a large one
            let mut step = 1;
            while at + step < all.len() && all[at + step] < *key {
                at += step;
                step *= 2;
            }
            let within = &all[at..all.len().min(at + step + 1)];
            at += within.partition_point(|other| other < key);
            at as u32
        })
        .collect()
}

/// Adds two trees whose frames are rows of one list. Equal paths add up; what only one tree has is copied
/// as a whole subtree.
pub fn join<W: Weight>(a: &WeightedTree<W>, b: &WeightedTree<W>) -> WeightedTree<W> {
    let mut out = WeightedTree {
        depth: Vec::with_capacity(a.len().max(b.len())),
        end: Vec::with_capacity(a.len().max(b.len())),
        frame: Vec::with_capacity(a.len().max(b.len())),
        flat: Vec::with_capacity(a.len().max(b.len())),
    };
    // nodes of both trees whose subtrees are not finished yet
    let mut open: Vec<u32> = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        let in_both = (a.depth[i], a.frame[i]) == (b.depth[j], b.frame[j]);
        // deeper: still below a node that the other tree has left
        let a_first = a.depth[i] > b.depth[j] || (a.depth[i] == b.depth[j] && a.frame[i] < b.frame[j]);
        close(&mut out, &mut open, a.depth[i].max(b.depth[j]));
        if in_both {
            open.push(out.depth.len() as u32);
            out.depth.push(a.depth[i]);
            out.end.push(0);
            out.frame.push(a.frame[i]);
            out.flat.push(a.flat[i].plus(b.flat[j]));
            i += 1;
            j += 1;
        } else if a_first {
            i = copy(&mut out, a, i, a.end[i] as usize);
        } else {
            j = copy(&mut out, b, j, b.end[j] as usize);
        }
    }
    // the rest lies below nodes that are open; siblings follow one another
    while i < a.len() {
        close(&mut out, &mut open, a.depth[i]);
        i = copy(&mut out, a, i, a.end[i] as usize);
    }
    while j < b.len() {
        close(&mut out, &mut open, b.depth[j]);
        j = copy(&mut out, b, j, b.end[j] as usize);
    }
    close(&mut out, &mut open, 0);
    out
}

fn close<W: Weight>(out: &mut WeightedTree<W>, open: &mut Vec<u32>, depth: u16) {
    while let Some(&node) = open.last() {
        if out.depth[node as usize] < depth {
            break;
        }
        out.end[node as usize] = out.depth.len() as u32;
        open.pop();
    }
}

/// Appends nodes `from..to` of `tree`; gives `to`.
fn copy<W: Weight>(out: &mut WeightedTree<W>, tree: &WeightedTree<W>, from: usize, to: usize) -> usize {
    let shift = (out.depth.len() as u32).wrapping_sub(from as u32);
    out.depth.extend_from_slice(&tree.depth[from..to]);
    out.end.extend(tree.end[from..to].iter().map(|end| end.wrapping_add(shift)));
    out.frame.extend_from_slice(&tree.frame[from..to]);
    out.flat.extend_from_slice(&tree.flat[from..to]);
    to
}

/// Joins any number of trees, always the two smallest, so that no tree is copied often.
pub fn join_all<W: Weight>(trees: Vec<WeightedTree<W>>) -> WeightedTree<W> {
    let mut queue: BinaryHeap<BySize<W>> = trees.into_iter().map(BySize).collect();
    while let Some(BySize(smallest)) = queue.pop() {
        match queue.pop() {
            Some(BySize(next)) => queue.push(BySize(join(&smallest, &next))),
            None => return smallest,
        }
    }
    WeightedTree::empty()
}

/// The smallest tree is the greatest of a heap.
struct BySize<W>(WeightedTree<W>);

impl<W> BySize<W> {
    fn size(&self) -> Reverse<usize> {
        Reverse(self.0.depth.len())
    }
}

impl<W> Ord for BySize<W> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.size().cmp(&other.size())
    }
}

impl<W> PartialOrd for BySize<W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<W> PartialEq for BySize<W> {
    fn eq(&self, other: &Self) -> bool {
        self.size() == other.size()
    }
}

impl<W> Eq for BySize<W> {}
