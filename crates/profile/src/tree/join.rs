//! Joining weighted trees by cursors, and the shared list of frames that makes their rows comparable.

use std::cmp::Reverse;

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

/// Trees that are joined at once: looking at every cursor must cost no more than copying twice.
const WAYS: usize = 16;

/// Adds trees whose frames are rows of one list. Equal paths add up; what only one tree has is copied as a
/// whole subtree.
pub fn join<W: Weight>(mut trees: Vec<WeightedTree<W>>) -> WeightedTree<W> {
    while trees.len() > 1 {
        // the smallest first, so that no tree is copied often
        trees.sort_unstable_by_key(|tree| Reverse(tree.len()));
        let some = trees.split_off(trees.len().saturating_sub(WAYS));
        trees.push(join_some(&some));
    }
    trees.pop().unwrap_or_else(WeightedTree::empty)
}

/// A cursor per tree. The next node is the deepest that a cursor stands at, as it lies below a node that the
/// others have left or do not have; of siblings the one whose frame comes first.
fn join_some<W: Weight>(trees: &[WeightedTree<W>]) -> WeightedTree<W> {
    let nodes = trees.iter().map(WeightedTree::len).sum();
    let mut out = WeightedTree {
        depth: Vec::with_capacity(nodes),
        end: Vec::with_capacity(nodes),
        frame: Vec::with_capacity(nodes),
        flat: Vec::with_capacity(nodes),
    };
    let mut at = vec![0; trees.len()];
    let mut place: Vec<u64> = trees.iter().map(|tree| place_of(tree, 0)).collect();
    // nodes of several trees whose subtrees are not finished yet
    let mut open: Vec<u32> = Vec::new();
    loop {
        let next = place.iter().copied().fold(PAST_END, u64::min);
        if next == PAST_END {
            close(&mut out, &mut open, 0);
            return out;
        }
        let mut among = (0..trees.len()).filter(|&tree| place[tree] == next);
        let (first, second) = (among.next().unwrap_or(0), among.next());
        let (tree, node) = (&trees[first], at[first]);
        close(&mut out, &mut open, tree.depth[node]);
        let Some(second) = second else {
            at[first] = copy(&mut out, tree, node, tree.end[node] as usize);
            place[first] = place_of(tree, at[first]);
            continue;
        };
        open.push(out.depth.len() as u32);
        out.depth.push(tree.depth[node]);
        out.end.push(0);
        out.frame.push(tree.frame[node]);
        let mut flat = W::ZERO;
        for other in std::iter::once(first).chain(second..trees.len()) {
            if place[other] == next {
                flat = flat.plus(trees[other].flat[at[other]]);
                at[other] += 1;
                place[other] = place_of(&trees[other], at[other]);
            }
        }
        out.flat.push(flat);
    }
}

const PAST_END: u64 = u64::MAX;

/// A node's place among those that cursors stand at: deeper ones first, then by frame.
#[inline]
fn place_of<W>(tree: &WeightedTree<W>, node: usize) -> u64 {
    match tree.depth.get(node) {
        Some(&depth) => u64::from(u16::MAX - depth) << 32 | u64::from(tree.frame[node]),
        None => PAST_END,
    }
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
