//! The invariants of a [`Batch`]: whoever takes one may index by what it says once it has passed.

use std::fmt;

use super::{Batch, SAMPLE_TYPES_MAX};
use crate::symbols::NONE;

/// The first broken invariant of a batch: the column, the row, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchDefect {
    pub column: &'static str,
    pub row: usize,
    pub what: &'static str,
}

impl fmt::Display for BatchDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}] {}", self.column, self.row, self.what)
    }
}

impl std::error::Error for BatchDefect {}

type Checked = Result<(), BatchDefect>;

/// Every index is below `rows`.
fn below(column: &'static str, indices: &[u32], rows: usize) -> Checked {
    // the maximum is found without a branch per row; only a defect looks for its place
    if indices.iter().copied().max().is_none_or(|max| (max as usize) < rows) {
        return Ok(());
    }
    let row = indices.iter().position(|&ix| ix as usize >= rows).unwrap_or_default();
    Err(BatchDefect { column, row, what: "points past its table" })
}

/// Every index is below `rows` or [`NONE`].
fn below_or_none(column: &'static str, indices: &[u32], rows: usize) -> Checked {
    match indices.iter().position(|&ix| ix != NONE && ix as usize >= rows) {
        Some(row) => Err(BatchDefect { column, row, what: "points past its table" }),
        None => Ok(()),
    }
}

fn as_long(column: &'static str, len: usize, rows: usize) -> Checked {
    match len == rows {
        true => Ok(()),
        false => {
            Err(BatchDefect { column, row: len.min(rows), what: "is where the column and its table differ in length" })
        }
    }
}

/// Run ends ascend and the last one is `rows`.
fn runs(column: &'static str, ends: &[u32], rows: usize) -> Checked {
    if let Some(row) = ends.windows(2).position(|pair| pair[0] > pair[1]) {
        return Err(BatchDefect { column, row: row + 1, what: "ends before the run in front of it" });
    }
    match ends.last().copied().unwrap_or(0) as usize == rows {
        true => Ok(()),
        false => Err(BatchDefect { column, row: ends.len(), what: "runs do not end where their rows end" }),
    }
}

impl Batch {
    /// Checks every invariant that is named on [`Batch`].
    pub fn check(&self) -> Result<(), BatchDefect> {
        self.check_symbols()?;
        self.check_label_sets()?;
        self.check_profiles()
    }

    fn check_symbols(&self) -> Checked {
        let symbols = &self.symbols;
        let strings = symbols.strings.len();
        let bytes = symbols.strings.bytes.len() as u64;
        let outside = symbols.strings.spans.iter().position(|&(at, len)| u64::from(at) + u64::from(len) > bytes);
        if let Some(row) = outside {
            return Err(BatchDefect { column: "strings.spans", row, what: "reaches past the bytes" });
        }
        if symbols.strings.spans.first().is_none_or(|&(_, len)| len != 0) {
            return Err(BatchDefect { column: "strings.spans", row: 0, what: "is not the empty string" });
        }

        let of = &symbols.mappings;
        as_long("mappings.build_id", of.build_id.len(), of.len())?;
        as_long("mappings.start", of.start.len(), of.len())?;
        as_long("mappings.limit", of.limit.len(), of.len())?;
        as_long("mappings.offset", of.offset.len(), of.len())?;
        as_long("mappings.flags", of.flags.len(), of.len())?;
        below("mappings.file", &of.file, strings)?;
        below("mappings.build_id", &of.build_id, strings)?;

        let of = &symbols.functions;
        as_long("functions.system_name", of.system_name.len(), of.len())?;
        as_long("functions.filename", of.filename.len(), of.len())?;
        as_long("functions.start_line", of.start_line.len(), of.len())?;
        below("functions.name", &of.name, strings)?;
        below("functions.system_name", &of.system_name, strings)?;
        below("functions.filename", &of.filename, strings)?;

        let of = &symbols.lines;
        let lines = of.function.len();
        as_long("lines.line", of.line.len(), lines)?;
        as_long("lines.column", of.column.len(), lines)?;
        below_or_none("lines.function", &of.function, symbols.functions.len())?;

        let of = &symbols.locations;
        as_long("locations.mapping", of.mapping.len(), of.len())?;
        as_long("locations.is_folded", of.is_folded.len(), of.len())?;
        as_long("locations.line_end", of.line_end.len(), of.len())?;
        below_or_none("locations.mapping", &of.mapping, symbols.mappings.len())?;
        runs("locations.line_end", &of.line_end, lines)?;

        runs("stacks.end", &self.stacks.end, self.stacks.locations.len())?;
        below("stacks.locations", &self.stacks.locations, symbols.locations.len())
    }

    fn check_label_sets(&self) -> Checked {
        let (of, strings) = (&self.label_sets, self.symbols.strings.len());
        if self.samples.label_set.is_empty() && of.is_empty() {
            return Ok(());
        }
        if of.end.first() != Some(&0) {
            return Err(BatchDefect { column: "label_sets.end", row: 0, what: "is not the empty set" });
        }
        as_long("label_sets.str", of.str.len(), of.key.len())?;
        as_long("label_sets.num", of.num.len(), of.key.len())?;
        as_long("label_sets.unit", of.unit.len(), of.key.len())?;
        runs("label_sets.end", &of.end, of.key.len())?;
        below("label_sets.key", &of.key, strings)?;
        below("label_sets.str", &of.str, strings)?;
        below("label_sets.unit", &of.unit, strings)
    }

    fn check_profiles(&self) -> Checked {
        let (of, samples) = (&self.profiles, &self.samples);
        as_long("profiles.time", of.time.len(), of.len())?;
        as_long("profiles.time_max", of.time_max.len(), of.len())?;
        as_long("profiles.duration", of.duration.len(), of.len())?;
        as_long("profiles.period", of.period.len(), of.len())?;
        as_long("profiles.sample_end", of.sample_end.len(), of.len())?;
        as_long("profiles.mapping_end", of.mapping_end.len(), of.len())?;
        below("profiles.stream", &of.stream, self.streams.len())?;
        runs("profiles.sample_end", &of.sample_end, samples.stack.len())?;
        runs("profiles.mapping_end", &of.mapping_end, of.mapping_ranges.len())?;
        if let Some(row) = (0..of.len()).find(|&row| of.time[row] > of.time_max[row]) {
            return Err(BatchDefect { column: "profiles.time_max", row, what: "is before the profile's time" });
        }
        if self.dictionary.is_some() && !(of.mapping_ranges.is_empty() && of.extras.is_empty()) {
            return Err(BatchDefect { column: "profiles", row: 0, what: "have ranges or extras beside a dictionary" });
        }
        let mappings = self.symbols.mappings.len();
        if let Some(row) = of.mapping_ranges.iter().position(|range| range.mapping as usize >= mappings) {
            return Err(BatchDefect { column: "profiles.mapping_ranges", row, what: "points past its table" });
        }
        let strings = self.symbols.strings.len();
        if !of.extras.is_empty() {
            as_long("profiles.extras", of.extras.len(), of.len())?;
            for (row, extras) in of.extras.iter().enumerate() {
                let named = [extras.drop_frames, extras.keep_frames, extras.default_sample_type, extras.doc_url];
                if named.iter().chain(&extras.comments).any(|&ix| ix as usize >= strings) {
                    return Err(BatchDefect { column: "profiles.extras", row, what: "points past its table" });
                }
            }
        }

        let width = self.streams.first().map_or(0, |stream| stream.sample_types.len());
        if let Some(row) = self.streams.iter().position(|stream| stream.sample_types.len() != width) {
            return Err(BatchDefect {
                column: "streams",
                row,
                what: "has another number of sample types than the first",
            });
        }
        if !self.streams.is_empty() && !(1..=SAMPLE_TYPES_MAX).contains(&width) {
            return Err(BatchDefect { column: "streams", row: 0, what: "has no sample type or too many" });
        }
        as_long("samples.values", samples.values.len(), samples.stack.len() * width)?;
        let stacks = self.dictionary.as_ref().map_or(self.stacks.len(), |dictionary| dictionary.stack_count());
        below("samples.stack", &samples.stack, stacks)?;
        if !samples.label_set.is_empty() {
            as_long("samples.label_set", samples.label_set.len(), samples.stack.len())?;
            below("samples.label_set", &samples.label_set, self.label_sets.len())?;
        }
        if !samples.time.is_empty() {
            as_long("samples.time", samples.time.len(), samples.stack.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Stream;
    use crate::symbols::Strings;
    use crate::types::ValueType;

    fn small() -> Batch {
        let mut batch = Batch::default();
        batch.symbols.strings = Strings::with_empty();
        batch.symbols.locations.mapping.push(NONE);
        batch.symbols.locations.address.push(7);
        batch.symbols.locations.is_folded.push(false);
        batch.symbols.locations.line_end.push(0);
        batch.stacks.push(&[0]);
        batch.streams.push(Stream { sample_types: vec![ValueType::new("cpu", "ns")], ..Stream::default() });
        let of = &mut batch.profiles;
        of.stream.push(0);
        of.time.push(1);
        of.time_max.push(1);
        of.duration.push(0);
        of.period.push(0);
        of.sample_end.push(1);
        of.mapping_end.push(0);
        batch.samples.stack.push(0);
        batch.samples.values.push(5);
        batch
    }

    #[test]
    fn an_index_past_its_table_is_named_by_column_and_row() {
        assert_eq!(small().check(), Ok(()));
        let defect = |change: fn(&mut Batch)| {
            let mut batch = small();
            change(&mut batch);
            batch.check().map_or_else(|defect| defect.column, |()| "none")
        };
        assert_eq!(defect(|b| b.samples.stack[0] = 1), "samples.stack");
        assert_eq!(defect(|b| b.stacks.locations[0] = 1), "stacks.locations");
        assert_eq!(defect(|b| b.symbols.locations.mapping[0] = 0), "locations.mapping");
        assert_eq!(defect(|b| b.symbols.locations.line_end[0] = 1), "locations.line_end");
        assert_eq!(defect(|b| b.profiles.sample_end[0] = 2), "profiles.sample_end");
        assert_eq!(defect(|b| b.profiles.time_max[0] = 0), "profiles.time_max");
        assert_eq!(defect(|b| b.profiles.stream[0] = 1), "profiles.stream");
        assert_eq!(defect(|b| b.samples.values.push(1)), "samples.values");
        assert_eq!(defect(|b| b.samples.label_set.push(0)), "label_sets.end");
        assert_eq!(defect(|b| b.samples.time = vec![1, 2]), "samples.time");
        assert_eq!(defect(|b| b.streams[0].sample_types.clear()), "streams");
        assert_eq!(defect(|b| b.symbols.strings.spans[0] = (0, 1)), "strings.spans");
    }
}
