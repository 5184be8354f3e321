//! The call graph: functions (and nameless addresses), who calls whom, and what is too small to be shown
//! folded into the calls that pass through it.

use profile::NONE;
use profile::tree::Weight;

use crate::answer::Merged;
use crate::engine::Context;
use crate::error::QueryError;
use crate::frames::FrameColumnsBuilder;
use crate::functions::{FrameSums, first_contributors, rows};
use crate::report::{CallEdge, CallGraph};

/// A function below this share of everything is folded, if it can be. Parca's, to the bit.
const FOLDED_BELOW: f64 = 0.005_f32 as f64;

pub(crate) fn call_graph<W: Weight>(context: &Context, merged: &Merged<'_, W>) -> Result<CallGraph, QueryError> {
    let sums = FrameSums::new(merged);
    context.check()?;
    let first = first_contributors(merged);
    context.check()?;
    let order = sums.largest_first(merged, &first, |frame| sums.cumulative[frame].value());
    let total = merged.cumulative[0].value();
    let bar = total as f64 * FOLDED_BELOW;

    let row_of = rows(first.len(), &order);
    let value = |row: u32| sums.cumulative[order[row as usize] as usize].value();
    let mut edges: Vec<CallEdge> = sums
        .calls(merged, &order, &row_of)
        .iter()
        .map(|(caller, callee, sum)| CallEdge { is_collapsed: false, caller, callee, cumulative: sum.value() })
        .collect();
    let folded = folded(order.len(), &edges, |row| (value(row) as f64) < bar);
    edges = fold(edges, &folded);
    context.check()?;

    // rows of those that stay
    let mut shown = vec![NONE; order.len()];
    let mut graph = CallGraph { cumulative: total, ..CallGraph::default() };
    let mut columns = FrameColumnsBuilder::new(&merged.parts);
    for row in (0..order.len()).filter(|&row| folded[row] == NONE) {
        shown[row] = graph.node_cumulative.len() as u32;
        let frame = order[row] as usize;
        columns.push(first[frame].as_ref());
        graph.node_cumulative.push(sums.cumulative[frame].value());
        graph.node_flat.push(sums.flat[frame].value());
    }
    (graph.frames, _) = columns.finish();
    for edge in &mut edges {
        (edge.caller, edge.callee) = (shown[edge.caller as usize], shown[edge.callee as usize]);
    }
    // in order still: rows that stay keep theirs
    graph.edges = edges;
    Ok(graph)
}

/// Per row its only caller if the row is to be folded into it, else [`NONE`]. Foldable is what is small, has
/// exactly one caller and calls something itself, as in Parca.
fn folded(rows: usize, edges: &[CallEdge], is_small: impl Fn(u32) -> bool) -> Vec<u32> {
    let (mut callers, mut callees) = (vec![0u32; rows], vec![0u32; rows]);
    let mut only_caller = vec![NONE; rows];
    for edge in edges {
        callers[edge.callee as usize] += 1;
        callees[edge.caller as usize] += 1;
        only_caller[edge.callee as usize] = edge.caller;
    }
    let mut folded = vec![NONE; rows];
    for row in 0..rows as u32 {
        let at = row as usize;
        if callers[at] == 1 && callees[at] > 0 && is_small(row) {
            folded[at] = only_caller[at];
        }
    }
    keep_one_of_each_circle(&mut folded);
    folded
}

/// Callers that call each other in a circle, and nobody else any of them, would fold into nothing: the first
/// row of each circle stays. (Parca goes round for ever.)
fn keep_one_of_each_circle(folded: &mut [u32]) {
    // the walk that came by, 0 for none
    let mut walk_of = vec![0; folded.len()];
    for begin in 0..folded.len() {
        let walk = begin as u32 + 1;
        let mut at = begin;
        while folded[at] != NONE && walk_of[at] == 0 {
            walk_of[at] = walk;
            at = folded[at] as usize;
        }
        if folded[at] != NONE && walk_of[at] == walk {
            let mut first = at;
            let mut next = folded[at] as usize;
            while next != at {
                first = first.min(next);
                next = folded[next] as usize;
            }
            folded[first] = NONE;
        }
    }
}

/// Calls by way of folded rows become calls from the nearest row that stays, once per pair. Each keeps the
/// value that arrives. (Parca adds up the calls along the way, so that values grow with its length.)
///
/// `edges` are ascending, each pair once, and so is the result, collapsed ones last.
fn fold(edges: Vec<CallEdge>, folded: &[u32]) -> Vec<CallEdge> {
    let stays = |row: u32| folded[row as usize] == NONE;
    let arrive = edges.into_iter().filter(|edge| stays(edge.callee));
    let (mut edges, mut collapsed): (Vec<_>, Vec<_>) = arrive.partition(|edge| stays(edge.caller));
    for edge in &mut collapsed {
        edge.is_collapsed = true;
        while !stays(edge.caller) {
            edge.caller = folded[edge.caller as usize];
        }
    }
    collapsed.sort_unstable();
    collapsed.dedup_by(|next, edge| {
        let same = (next.caller, next.callee) == (edge.caller, edge.callee);
        if same {
            edge.cumulative = edge.cumulative.wrapping_add(next.cumulative);
        }
        same
    });
    edges.append(&mut collapsed);
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(calls: &[(u32, u32, i64)]) -> Vec<CallEdge> {
        let edge = |&(caller, callee, cumulative): &_| CallEdge { is_collapsed: false, caller, callee, cumulative };
        calls.iter().map(edge).collect()
    }

    #[test]
    fn a_chain_of_small_functions_becomes_one_call_with_the_value_that_arrives() {
        // 0 calls 1, 1 calls 2, 2 calls 3 and 4
        let calls = edges(&[(0, 1, 9), (1, 2, 8), (2, 3, 5), (2, 4, 3)]);
        let folded = folded(5, &calls, |row| row == 1 || row == 2);
        assert_eq!(folded, [NONE, 0, 1, NONE, NONE]);
        let collapsed = |callee, cumulative| CallEdge { is_collapsed: true, caller: 0, callee, cumulative };
        assert_eq!(fold(calls, &folded), [collapsed(3, 5), collapsed(4, 3)]);
    }

    #[test]
    fn what_has_two_callers_or_calls_nothing_stays() {
        let calls = edges(&[(0, 1, 1), (2, 1, 1), (1, 3, 2)]);
        assert_eq!(folded(4, &calls, |_| true), [NONE; 4]);
    }

    #[test]
    fn functions_that_call_each_other_in_a_circle_fold_into_one_that_stays() {
        // a stack that begins with 0 and goes round, and one function that calls itself alone
        let calls = edges(&[(0, 1, 4), (1, 2, 3), (2, 0, 2), (3, 3, 1)]);
        let folded = folded(4, &calls, |_| true);
        assert_eq!(folded, [NONE, 0, 1, NONE]);
        let kept: Vec<(u32, u32)> = fold(calls, &folded).iter().map(|edge| (edge.caller, edge.callee)).collect();
        assert_eq!(kept, [(3, 3), (0, 0)]);
    }
}
