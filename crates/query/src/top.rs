//! The top list: functions (and nameless addresses) by what they cost themselves.

use profile::tree::Weight;

use crate::answer::Merged;
use crate::engine::Context;
use crate::error::QueryError;
use crate::frames::FrameColumnsBuilder;
use crate::functions::{FrameSums, first_contributors};
use crate::report::Top;

/// Every frame counts, inlined ones too: Parca's list knows only the innermost of a location.
pub(crate) fn top<W: Weight>(context: &Context, merged: &Merged<'_, W>, unit: String) -> Result<Top, QueryError> {
    let sums = FrameSums::new(merged);
    context.check()?;
    let first = first_contributors(merged);
    context.check()?;
    let order = sums.largest_first(merged, &first, |frame| sums.flat[frame].value());

    let mut top = Top { unit, ..Top::default() };
    let mut columns = FrameColumnsBuilder::new(&merged.parts);
    for frame in order.into_iter().map(|frame| frame as usize) {
        columns.push(first[frame].as_ref());
        top.cumulative.push(sums.cumulative[frame].value());
        top.flat.push(sums.flat[frame].value());
        top.diff.push(sums.cumulative[frame].diff());
    }
    (top.frames, _) = columns.finish();
    Ok(top)
}
