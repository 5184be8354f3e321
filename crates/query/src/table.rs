//! The table: one row per function, or per address without a name.

use profile::tree::Weight;

use crate::answer::Merged;
use crate::engine::Context;
use crate::error::QueryError;
use crate::frames::FrameColumnsBuilder;
use crate::functions::{self, Calls, FrameSums, first_contributors};
use crate::report::{Lists, Table};

pub(crate) fn table<W: Weight>(
    context: &Context,
    merged: &Merged<'_, W>,
    unit: String,
    is_diff: bool,
) -> Result<Table, QueryError> {
    let sums = FrameSums::new(merged);
    context.check()?;
    let first = first_contributors(merged);
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
    let calls = sums.calls(merged, &order, &row_of);
    table.callers = callers(&calls);
    let Lists { offsets, items } = calls.callees;
    table.callees = Lists { offsets, items: items.into_iter().map(i64::from).collect() };
    Ok(table)
}

/// The same calls by what is called: per row its callers, ascending.
fn callers<W>(calls: &Calls<W>) -> Lists<i64> {
    let callees = &calls.callees;
    let rows = callees.offsets.len() - 1;
    let mut offsets = vec![0i32; rows + 1];
    callees.items.iter().for_each(|&callee| offsets[callee as usize + 1] += 1);
    for row in 0..rows {
        offsets[row + 1] += offsets[row];
    }
    let mut place = offsets.clone();
    let mut items = vec![0; callees.items.len()];
    for caller in 0..rows {
        for &callee in callees.get(caller) {
            let place = &mut place[callee as usize];
            items[*place as usize] = caller as i64;
            *place += 1;
        }
    }
    Lists { offsets, items }
}
