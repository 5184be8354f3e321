//! The table: one row per function, or per address without a name.

use profile::tree::Weight;

use crate::answer::Merged;
use crate::engine::Context;
use crate::error::QueryError;
use crate::frames::FrameColumnsBuilder;
use crate::functions::{self, FrameSums, first_contributors};
use crate::report::{Lists, Table};

pub(crate) fn table<W: Weight>(
    context: &Context,
    merged: &Merged<'_, W>,
    unit: String,
    is_diff: bool,
) -> Result<Table, QueryError> {
    let sums = FrameSums::new(merged);
    context.check()?;
    let first = first_contributors(merged)?;
    context.check()?;
    let order = sums.largest_first(merged, &first, |frame| sums.cumulative[frame].value());
    let row_of = functions::rows(first.len(), &order);

    let mut table = Table { unit, ..Table::default() };
    let mut columns = FrameColumnsBuilder::new(&merged.parts);
    for &frame in &order {
        let frame = frame as usize;
        columns.push(first[frame].as_ref());
        table.cumulative.push(sums.cumulative[frame].value());
        table.cumulative_diff.push(is_diff.then(|| sums.cumulative[frame].diff()));
        table.flat.push(sums.flat[frame].value());
        table.flat_diff.push(sums.flat[frame].diff());
    }
    (table.frames, _) = columns.finish();
    let mut calls: Vec<(u32, u32)> = sums
        .calls(merged)
        .into_keys()
        .map(|(caller, callee)| (row_of[caller as usize], row_of[callee as usize]))
        .collect();
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
