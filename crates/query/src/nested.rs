//! The flame graphs that go out as nested messages: every node unless a threshold was given, and a root that
//! stands for everything.

use profile::tree::Weight;

use crate::answer::Merged;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::flame::{Cut, Trim, flame_graph};
use crate::report::NestedFlameGraph;

pub(crate) fn nested<W: Weight>(
    engine: &Engine,
    context: &Context,
    merged: &Merged<'_, W>,
    unit: String,
    cut: Cut,
    tables: bool,
) -> Result<NestedFlameGraph, QueryError> {
    let mut graph = flame_graph(engine, context, merged, &[], unit, cut)?;
    let all = merged.cumulative[0];
    (graph.cumulative[0], graph.flat[0], graph.diff[0]) = (all.value(), merged.tree.flat[0].value(), all.diff());
    graph.height = height(merged);
    Ok(NestedFlameGraph { graph, tables, trims: !matches!(cut.trim, Trim::Nothing) })
}

/// Locations of the longest stack, and the root: inlined frames do not count here, as in Parca.
fn height<W>(merged: &Merged<'_, W>) -> i32 {
    let longest = merged.parts.iter().map(|part| {
        let stacks = part.sums.seen.iter().enumerate().filter(|(_, seen)| **seen);
        stacks.map(|(stack, _)| part.symbols.stacks.get(stack as u32).len()).max().unwrap_or(0)
    });
    i32::try_from(longest.max().unwrap_or(0) + 1).unwrap_or(i32::MAX)
}
