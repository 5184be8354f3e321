//! Sums by frame, wherever it stands: what the table, the top list and the call graph are made of.

use profile::NONE;
use profile::tree::{FrameRows, Weight, fitting, lines_of, parents};
use store::part::PartSymbols;

use crate::answer::Merged;
use crate::frames::Contributor;
use crate::merge::PartSums;
use crate::report::Lists;

/// A row per frame of the union. Recursive frames count once per frame.
pub(crate) struct FrameSums<W> {
    pub(crate) cumulative: Vec<W>,
    pub(crate) flat: Vec<W>,
    /// Whether the frame is on any seen stack.
    pub(crate) present: Vec<bool>,
}

impl<W: Weight> FrameSums<W> {
    pub(crate) fn new(merged: &Merged<'_, W>) -> Self {
        let frames = merged.union.key.len();
        let mut sums =
            Self { cumulative: vec![W::ZERO; frames], flat: vec![W::ZERO; frames], present: vec![false; frames] };
        merged.each_node(|_, frame, flat, sum| {
            let frame = frame as usize;
            sums.present[frame] = true;
            sums.cumulative[frame] = sums.cumulative[frame].plus(sum);
            sums.flat[frame] = sums.flat[frame].plus(flat);
        });
        sums
    }

    /// Who calls whom. `order` gives the frames their rows, `row_of` is its inverse.
    ///
    /// No hash table: nodes are dealt out by caller, and each caller's are added up in a column.
    pub(crate) fn calls(&self, merged: &Merged<'_, W>, order: &[u32], row_of: &[u32]) -> Calls<W> {
        // where the next call of each caller goes
        let mut place = vec![0u32; order.len() + 1];
        each_call(merged, row_of, |caller, _, _| place[caller as usize + 1] += 1);
        for caller in 0..order.len() {
            place[caller + 1] += place[caller];
        }
        let all = place[order.len()] as usize;
        let mut dealt_callee = vec![0u32; all];
        let mut dealt_sum = vec![W::ZERO; all];
        each_call(merged, row_of, |caller, callee, sum| {
            let place = &mut place[caller as usize];
            dealt_callee[*place as usize] = callee;
            dealt_sum[*place as usize] = sum;
            *place += 1;
        });

        let mut calls = Calls { callees: Lists::default(), sum: Vec::new() };
        let mut sum = vec![W::ZERO; order.len()];
        let mut is_called = vec![false; order.len()];
        let mut begin = 0;
        for &end in &place[..order.len()] {
            let first = calls.callees.items.len();
            let dealt = begin..end as usize;
            for (&callee, &value) in dealt_callee[dealt.clone()].iter().zip(&dealt_sum[dealt]) {
                let sum = &mut sum[callee as usize];
                *sum = sum.plus(value);
                if !std::mem::replace(&mut is_called[callee as usize], true) {
                    calls.callees.items.push(callee);
                }
            }
            begin = end as usize;
            calls.callees.items[first..].sort_unstable();
            for &callee in &calls.callees.items[first..] {
                calls.sum.push(std::mem::replace(&mut sum[callee as usize], W::ZERO));
                is_called[callee as usize] = false;
            }
            calls.callees.close();
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

/// `visit(caller's row, callee's row, what was called)` of every node whose parent is a frame.
fn each_call<W: Weight>(merged: &Merged<'_, W>, row_of: &[u32], mut visit: impl FnMut(u32, u32, W)) {
    let mut path: Vec<u32> = vec![NONE; merged.height];
    merged.each_node(|depth, frame, _, sum| {
        let (depth, callee) = (usize::from(depth), row_of[frame as usize]);
        path[depth] = callee;
        if depth > 1 {
            visit(path[depth - 1], callee, sum);
        }
    });
}

/// Calls, each pair once.
pub(crate) struct Calls<W> {
    /// Per row the rows that it calls, ascending.
    pub(crate) callees: Lists<u32>,
    /// Beside them: what was called.
    pub(crate) sum: Vec<W>,
}

impl<W: Weight> Calls<W> {
    /// (caller, callee, what was called), ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u32, W)> {
        let ends = self.callees.offsets.windows(2).enumerate();
        ends.flat_map(move |(caller, ends)| {
            (ends[0] as usize..ends[1] as usize).map(move |at| (caller as u32, self.callees.items[at], self.sum[at]))
        })
    }
}

/// Per frame of the union its place in `order`, or [`NONE`].
pub(crate) fn rows(frames: usize, order: &[u32]) -> Vec<u32> {
    let mut row_of = vec![NONE; frames];
    order.iter().enumerate().for_each(|(row, &frame)| row_of[frame as usize] = row as u32);
    row_of
}

/// Per frame of the union, its first contributor: that of the first stack in which it stands.
pub(crate) fn first_contributors<W>(merged: &Merged<'_, W>) -> Vec<Option<Contributor>> {
    let mut first: Vec<Option<Contributor>> = vec![None; merged.union.key.len()];
    for (index, part) in merged.parts.iter().enumerate() {
        let PartSymbols { symbols, stacks } = &*part.symbols;
        if let Some(rows) = &part.frame_rows {
            first_of_stacks(part, index, rows, &merged.union.row[index], &mut first);
            continue;
        }
        let tree = &part.name_tree;
        let parent = parents(&tree.depth);
        // wherever a location stands it has the same frames, so few stacks are gone through from end to end
        let mut met = vec![false; symbols.locations.len()];
        for (stack, _) in part.sums.seen.iter().enumerate().filter(|(_, seen)| **seen) {
            let locations = stacks.get(stack as u32);
            if locations.iter().all(|&location| met[location as usize]) {
                continue;
            }
            let mut node = tree.stack_node[stack] as usize;
            let frames = locations.iter().map(|&location| symbols.locations.lines(location).len().max(1));
            // a tree is no deeper than it can be: the innermost frames of a longer stack are not in it
            let mut outside = frames.sum::<usize>() - usize::from(tree.depth[node]);
            for &location in locations {
                let is_new = outside == 0 && !std::mem::replace(&mut met[location as usize], true);
                let lines = symbols.locations.lines(location);
                let without_lines = lines.is_empty().then_some(NONE);
                for line in lines.map(|line| line as u32).chain(without_lines) {
                    if outside > 0 {
                        outside -= 1;
                        continue;
                    }
                    if is_new {
                        let frame = merged.union.row[index][tree.frame[node] as usize];
                        let contributor = Contributor { part: index as u32, location, line, conflicts: 0 };
                        first[frame as usize].get_or_insert(contributor);
                    }
                    node = parent[node] as usize;
                }
            }
        }
    }
    first
}

/// The same of a part that has no tree but knows the frame of each line.
fn first_of_stacks(
    part: &PartSums,
    index: usize,
    rows: &FrameRows,
    frame_row: &[u32],
    first: &mut [Option<Contributor>],
) {
    let PartSymbols { symbols, stacks } = &*part.symbols;
    let mut met = vec![false; symbols.locations.len()];
    for (stack, _) in part.sums.seen.iter().enumerate().filter(|(_, seen)| **seen) {
        let locations = stacks.get(stack as u32);
        if locations.iter().all(|&location| met[location as usize]) {
            continue;
        }
        let outside = locations.len() - fitting(symbols, locations) as usize;
        for &location in &locations[outside..] {
            if !std::mem::replace(&mut met[location as usize], true) {
                for line in lines_of(symbols, location) {
                    let frame = frame_row[rows.get(location, line) as usize];
                    let contributor = Contributor { part: index as u32, location, line, conflicts: 0 };
                    first[frame as usize].get_or_insert(contributor);
                }
            }
        }
    }
}
