//! The lines of a file that stand on stacks, each with what passed through it.

use std::collections::BTreeMap;

use profile::{NONE, Symbols};

use crate::engine::Context;
use crate::error::QueryError;
use crate::merge::PartSums;
use crate::report::SourceLines;
use crate::request::SourceReference;

/// The sums of a line: of every frame that is at it, and of the stacks that end there.
#[derive(Clone, Copy, Default)]
struct Sums {
    cumulative: i64,
    flat: i64,
}

/// Values are those of `compare`; of `base`, what a diff compares it with, only the lines.
pub(crate) fn lines(
    context: &Context,
    compare: &[PartSums],
    base: &[PartSums],
    unit: String,
    reference: &SourceReference,
) -> Result<SourceLines, QueryError> {
    let mut lines: BTreeMap<(&[u8], i64), Sums> = BTreeMap::new();
    for (part, counts) in compare.iter().map(|part| (part, true)).chain(base.iter().map(|part| (part, false))) {
        context.check()?;
        add_part(part, counts, reference, &mut lines);
    }

    let mut report = SourceLines { unit, ..SourceLines::default() };
    let mut last: Option<&[u8]> = None;
    for ((filename, line), sums) in lines {
        if last != Some(filename) {
            report.filename.dictionary.push(filename);
            last = Some(filename);
        }
        report.filename.keys.push(report.filename.dictionary.len() as i32 - 1);
        report.line.push(line);
        report.cumulative.push(sums.cumulative);
        report.flat.push(sums.flat);
    }
    Ok(report)
}

fn add_part<'a>(
    part: &'a PartSums,
    counts: bool,
    reference: &SourceReference,
    lines: &mut BTreeMap<(&'a [u8], i64), Sums>,
) {
    let symbols = &part.symbols.symbols;
    let is_wanted = wanted_locations(symbols, reference);
    if !is_wanted.contains(&true) {
        return;
    }
    let mut location_sums: Vec<Option<Sums>> = vec![None; is_wanted.len()];
    for (stack, &sum) in part.sums.sum.iter().enumerate().filter(|(stack, _)| part.sums.seen[*stack]) {
        let sum = if counts { sum } else { 0 };
        for (depth, &location) in part.symbols.stacks.get(stack as u32).iter().enumerate() {
            if is_wanted[location as usize] {
                let sums = location_sums[location as usize].get_or_insert_default();
                sums.cumulative = sums.cumulative.wrapping_add(sum);
                if depth == 0 {
                    sums.flat = sums.flat.wrapping_add(sum);
                }
            }
        }
    }
    for (location, sums) in location_sums.iter().enumerate() {
        let Some(sums) = sums else { continue };
        for (depth, row) in symbols.locations.lines(location as u32).enumerate() {
            let Some(filename) = filename(symbols, row).filter(|filename| matches(filename, reference)) else {
                continue;
            };
            let line = lines.entry((filename, symbols.lines.line[row])).or_default();
            line.cumulative = line.cumulative.wrapping_add(sums.cumulative);
            // a stack ends in the innermost frame of its leaf
            if depth == 0 {
                line.flat = line.flat.wrapping_add(sums.flat);
            }
        }
    }
}

/// The locations of the binary that have a line in the file.
fn wanted_locations(symbols: &Symbols, reference: &SourceReference) -> Vec<bool> {
    let functions = 0..symbols.functions.len();
    let in_file: Vec<bool> = functions
        .map(|function| matches(symbols.strings.get(symbols.functions.filename[function]), reference))
        .collect();
    let locations = 0..symbols.locations.len();
    let is_wanted = |location: usize| {
        let mut lines = symbols.locations.lines(location as u32);
        let has_line = lines.any(|row| {
            let function = symbols.lines.function[row];
            function != NONE && in_file[function as usize]
        });
        has_line && (reference.build_id.is_empty() || build_id(symbols, location) == reference.build_id.as_bytes())
    };
    locations.map(is_wanted).collect()
}

/// Empty without a mapping.
fn build_id(symbols: &Symbols, location: usize) -> &[u8] {
    match symbols.locations.mapping[location] {
        NONE => b"",
        mapping => symbols.strings.get(symbols.mappings.build_id[mapping as usize]),
    }
}

fn filename(symbols: &Symbols, row: usize) -> Option<&[u8]> {
    match symbols.lines.function[row] {
        NONE => None,
        function => Some(symbols.strings.get(symbols.functions.filename[function as usize])),
    }
}

/// The whole name, or its end from behind a slash. A name that was not recorded is in no file.
fn matches(filename: &[u8], reference: &SourceReference) -> bool {
    let wanted = reference.filename.as_bytes();
    match filename.strip_suffix(wanted) {
        _ if wanted.is_empty() || filename.is_empty() => false,
        Some(before) => before.is_empty() || before.ends_with(b"/"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_in_full_or_by_its_end_from_behind_a_slash() {
        let is = |filename: &str, wanted: &str| {
            let reference = SourceReference { build_id: String::new(), filename: wanted.to_owned() };
            matches(filename.as_bytes(), &reference)
        };
        for wanted in ["/src/a/b.go", "a/b.go", "b.go"] {
            assert!(is("/src/a/b.go", wanted), "{wanted}");
        }
        for wanted in ["", ".go", "/x/src/a/b.go", "rc/a/b.go", "a"] {
            assert!(!is("/src/a/b.go", wanted), "{wanted}");
        }
        assert!(!is("", ""));
    }
}
