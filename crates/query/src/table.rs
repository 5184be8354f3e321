//! The table: one row per function, or per address without a name.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use profile::NONE;
use profile::tree::{Weight, parents};

use crate::answer::Merged;
use crate::engine::Context;
use crate::error::QueryError;
use crate::frames::{Contributor, FrameColumnsBuilder};
use crate::report::{Lists, Table};

pub(crate) fn table<W: Weight>(
    context: &Context,
    merged: &Merged<'_, W>,
    unit: String,
    is_diff: bool,
) -> Result<Table, QueryError> {
    let tree = &merged.tree;
    let sums = tree.cumulative();
    let frames = merged.union.key.len();
    let (mut cumulative, mut flat) = (vec![W::ZERO; frames], vec![W::ZERO; frames]);
    let mut present = vec![false; frames];
    // (caller, callee) as frames
    let mut calls: HashSet<(u32, u32), RandomState> = HashSet::default();
    let mut path: Vec<u32> = Vec::new();
    for (node, &sum) in sums.iter().enumerate().skip(1) {
        let frame = tree.frame[node];
        path.truncate(usize::from(tree.depth[node]) - 1);
        if let Some(&caller) = path.last() {
            calls.insert((caller, frame));
        }
        path.push(frame);
        let frame = frame as usize;
        present[frame] = true;
        cumulative[frame] = cumulative[frame].plus(sum);
        flat[frame] = flat[frame].plus(tree.flat[node]);
    }
    context.check()?;

    let first = first_contributors(merged)?;
    context.check()?;
    let name = |frame: u32| first[frame as usize].map(|contributor| contributor.metadata(&merged.parts).name);
    let mut order: Vec<u32> = (0..frames as u32).filter(|&frame| present[frame as usize]).collect();
    order.sort_by_cached_key(|&frame| (std::cmp::Reverse(cumulative[frame as usize].value()), name(frame), frame));
    let mut row_of = vec![NONE; frames];
    order.iter().enumerate().for_each(|(row, &frame)| row_of[frame as usize] = row as u32);

    let mut table = Table { unit, ..Table::default() };
    let mut columns = FrameColumnsBuilder::new(&merged.parts);
    for &frame in &order {
        let frame = frame as usize;
        columns.push(first[frame].as_ref());
        table.cumulative.push(cumulative[frame].value());
        table.cumulative_diff.push(is_diff.then(|| cumulative[frame].diff()));
        table.flat.push(flat[frame].value());
        table.flat_diff.push(flat[frame].diff());
    }
    (table.frames, _) = columns.finish();
    let mut calls: Vec<(u32, u32)> =
        calls.into_iter().map(|(caller, callee)| (row_of[caller as usize], row_of[callee as usize])).collect();
    table.callees = lists(order.len(), &mut calls);
    calls.iter_mut().for_each(|(caller, callee)| std::mem::swap(caller, callee));
    table.callers = lists(order.len(), &mut calls);
    Ok(table)
}

/// Per row the partners of the calls that begin with it, ascending.
fn lists(rows: usize, calls: &mut [(u32, u32)]) -> Lists<i64> {
    calls.sort_unstable();
    let mut lists = Lists::default();
    let mut calls = calls.iter().peekable();
    for row in 0..rows as u32 {
        while let Some((_, partner)) = calls.next_if(|(first, _)| *first == row) {
            lists.items.push(i64::from(*partner));
        }
        lists.close();
    }
    lists
}

/// Per frame of the union, its first contributor: that of the first stack in which it stands.
fn first_contributors<W>(merged: &Merged<'_, W>) -> Result<Vec<Option<Contributor>>, QueryError> {
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
