//! Parca's two Arrow protocols: `WriteArrow` (v2, one message) and `Write` (v1, samples first, then the stacks asked for).
//!
//! Both are a table of samples with labels, types and time; they differ in where the stacks are. A sample's labels, types,
//! period and duration are columns, mostly in long runs: a *segment* is a run of rows over which none of them changes, and
//! all that is done for labels and types is done once a segment.
//!
//! Map: [`rows`] samples to profiles · [`frames`] locations, lines, functions · [`v1`] the two-way call · [`known`] stacks that need
//! not be sent again · [`stack_list`] such stacks as bytes.

mod frames;
mod known;
mod rows;
mod stack_list;
mod v1;

use profile::Batch;
use profile::pprof::Limits;

use crate::arrow::{Column, Stream, malformed};
use crate::error::IngestError;
use crate::shared::{Dictionaries, Shared};
use crate::tables::{Map, within};

pub use known::{Found, Known, nothing_known};
pub use v1::{Asked, ask, join, join_with_known, split, write, write_with_known};

use frames::Frames;
use rows::{Columns, Rows};

const VERSION_KEY: &str = "parca_write_schema_version";

/// The bounds of a message of stamped samples. An agent's has some thousand rows; what the columns of these take
/// together is a few dozen MiB.
pub fn stamped_limits() -> Limits {
    Limits {
        unpacked_bytes: 64 << 20,
        samples: 1 << 20,
        values: 1 << 20,
        frames: 8 << 20,
        labels: 4 << 20,
        locations: 1 << 20,
        lines: 2 << 20,
        functions: 1 << 20,
        strings: 2 << 20,
        ..Limits::default()
    }
}

/// Decodes the IPC stream of `WriteArrow`.
///
/// - The profile's name is the column `producer`; other labels that begin with `__` are dropped.
/// - Rows of the same name, types, period and duration form a profile with stamped samples. Labels that are the same in all
///   of its rows are the series', the others the samples'.
/// - A function has the system name only; its name is made of it.
/// - A row without a time gets the receive time (ns since the epoch).
///
/// Errors have the codes of Parca's WriteArrow.
pub fn write_arrow(
    payload: &[u8],
    receive_time: i64,
    limits: &Limits,
    dictionaries: &Dictionaries,
) -> Result<Batch, IngestError> {
    let stream = Stream::read(payload, limits.unpacked_bytes)
        .map_err(|error| error.within("failed to create arrow IPC reader"))?;
    match stream.metadata(VERSION_KEY) {
        Some("v2") => {}
        // v1 has its stacks in a second message
        Some("v1") => return Err(malformed("validate record: missing column \"locations\"")),
        Some(other) => {
            return Err(malformed(format!("failed to add sample record: unsupported schema version {other:?}")));
        }
        None => return Err(malformed("failed to add sample record: missing schema version in metadata")),
    }
    let mut tables = Shared::new(limits, dictionaries);
    let mut rows = Rows::default();
    let mut batches = stream.batches(limits.frames);
    let mut locations = Vec::new();
    while let Some(record) = batches.next()? {
        within("samples", rows.len() + record.rows, limits.samples)?;
        let columns = Columns::of(&record)?;
        let stacktrace =
            record.column("stacktrace").ok_or_else(|| malformed("validate record: missing column \"locations\""))?;
        let mut frames = Frames::default();
        // of the column and the rows of it that a list has; agents' lists share them
        let mut stacks: Map<(*const Column<'_>, usize, usize), u32> = Map::default();
        let mut empty = None;
        rows.read(&record, &columns, &mut tables, receive_time, |tables, row| {
            let list = match stacktrace.at(row)? {
                Some(at) => Some(at.list()?),
                None => None,
            };
            let Some((range, items)) = list.filter(|(range, _)| !range.is_empty()) else {
                return match empty {
                    Some(stack) => Ok(stack),
                    None => Ok(*empty.insert(tables.stack(&[])?)),
                };
            };
            let key = (std::ptr::from_ref(items), range.start, range.end);
            if let Some(&stack) = stacks.get(&key) {
                return Ok(stack);
            }
            frames.stack(tables, items, range, &mut locations)?;
            let stack = tables.stack(&locations)?;
            stacks.insert(key, stack);
            Ok(stack)
        })?;
    }
    Ok(tables.into_batch(|own| rows.into_batch(own))?.0)
}
