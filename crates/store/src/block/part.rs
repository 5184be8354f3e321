//! One partition of a block, as a query reads it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parquet::file::metadata::ParquetMetaData;
use profile::Stream;
use profile::tree::{LocationTree, NameTree};

use super::Shared;
use super::cache::Item;
use super::meta::PartitionMeta;
use super::profiles::ProfileRows;
use super::samples::FIRST_VALUE;
use super::scan::{Columns, Piece, scan};
use super::symbols::{self, ReadLabelSets};
use crate::error::ReadError;
use crate::part::{Part, PartLabelSets, PartSymbols, Pick, ProfileExport, ProfileTable, SampleRow, StackSums};

pub(crate) struct BlockPart {
    pub(crate) block: Arc<Shared>,
    pub(crate) partition: u32,
    pub(crate) rows: Arc<ProfileRows>,
}

/// A pick as rows of one column of one file.
struct Located {
    pick: u32,
    rows: Range<u64>,
    /// What the column's values are multiplied by to give the picked value, without the weight.
    scale: i64,
    weight: i64,
}

/// Picks by file and column, each group in the order of its rows.
type Groups = BTreeMap<(u32, usize), Vec<Located>>;

impl BlockPart {
    fn meta(&self) -> &PartitionMeta {
        &self.block.meta.partitions[self.partition as usize]
    }

    fn locate(&self, picks: &[Pick<'_>]) -> Groups {
        let mut groups = Groups::new();
        for (ix, pick) in picks.iter().enumerate() {
            let row = pick.profile as usize;
            let (file, value) = (self.rows.file[row], pick.value as usize);
            let of = &self.block.meta.sample_files[file as usize];
            let samples = u64::from(self.rows.table.samples[row]);
            let mut first = self.rows.first_row[row];
            let (column, scale) = if of.is_generic() {
                // a profile's rows there are all samples of its first type, then of its second, ...
                first += samples * value as u64;
                (FIRST_VALUE, 1)
            } else {
                match of.columns[value] {
                    Some(column) => (column as usize, 1),
                    None => (FIRST_VALUE, self.rows.scale[self.rows.values(row).start + value].unwrap_or(0)),
                }
            };
            let rows = first..first + samples;
            groups.entry((file, column)).or_default().push(Located {
                pick: ix as u32,
                rows,
                scale,
                weight: pick.weight,
            });
        }
        for group in groups.values_mut() {
            if !group.is_sorted_by_key(|located| located.rows.start) {
                group.sort_by_key(|located| located.rows.start);
            }
        }
        groups
    }

    fn footer(&self, file: u32) -> Result<Arc<ParquetMetaData>, ReadError> {
        self.block.cached(Item::Footer(file), || {
            let footer = super::scan::read_footer(&self.block.samples[file as usize])?;
            let bytes = footer.memory_size();
            Ok((footer, bytes))
        })
    }

    /// Calls `each(located, rows of the piece, piece)` for every stretch of every pick.
    fn scan(
        &self,
        picks: &[Pick<'_>],
        with: impl Fn(&[Located]) -> (bool, bool),
        go_on: &dyn Fn() -> bool,
        mut each: impl FnMut(&Located, Range<usize>, &Piece<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        if !go_on() {
            return Err(ReadError::cancelled());
        }
        for ((file, column), group) in self.locate(picks) {
            let footer = self.footer(file)?;
            let mut ranges: Vec<Range<u64>> = Vec::new();
            for located in &group {
                match ranges.last_mut() {
                    Some(last) if last.end >= located.rows.start => last.end = last.end.max(located.rows.end),
                    _ => ranges.push(located.rows.clone()),
                }
            }
            let (label_set, time) = with(&group);
            let columns = Columns { value: column, label_set, time };
            let mut from = 0;
            scan(&self.block.samples[file as usize], &footer, columns, &ranges, go_on, |piece| {
                let (first, end) = (piece.first, piece.first + piece.stack.len() as u64);
                while group.get(from).is_some_and(|located| located.rows.end <= first) {
                    from += 1;
                }
                for located in group[from..].iter().take_while(|located| located.rows.start < end) {
                    let (start, stop) = (located.rows.start.max(first), located.rows.end.min(end));
                    if start < stop {
                        each(located, (start - first) as usize..(stop - first) as usize, &piece)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn read_sums(&self, picks: &[Pick<'_>], go_on: &dyn Fn() -> bool) -> Result<StackSums, ReadError> {
        let stacks = self.meta().stacks as usize;
        let mut sums = StackSums { sum: vec![0; stacks], seen: vec![false; stacks] };
        let filtered = |group: &[Located]| {
            let labels = group.iter().any(|located| picks[located.pick as usize].label_sets.is_some());
            (labels, false)
        };
        self.scan(picks, filtered, go_on, |located, rows, piece| {
            let StackSums { sum, seen } = &mut sums;
            let (stack, value) = (&piece.stack[rows.clone()], &piece.value[rows.clone()]);
            let mut outside = false;
            let mut add = |stack: i32, value: i64| match (
                sum.get_mut(stack as u32 as usize),
                seen.get_mut(stack as u32 as usize),
            ) {
                (Some(sum), Some(seen)) => {
                    // a stored value other than 0 may become 0 by its scale
                    let value = value.wrapping_mul(located.scale);
                    *sum = sum.wrapping_add(value.wrapping_mul(located.weight));
                    *seen |= value != 0;
                }
                _ => outside = true,
            };
            match picks[located.pick as usize].label_sets {
                None => stack.iter().zip(value).for_each(|(&stack, &value)| add(stack, value)),
                Some(taken) => {
                    for ((&stack, &value), &set) in stack.iter().zip(value).zip(&piece.label_set[rows]) {
                        if taken.get(set as u32 as usize).copied().unwrap_or(false) {
                            add(stack, value);
                        }
                    }
                }
            }
            if outside { Err(self.no_such_stack()) } else { Ok(()) }
        })?;
        Ok(sums)
    }

    fn no_such_stack(&self) -> ReadError {
        self.block
            .symbols
            .corrupt(format!("partition {:?}: a sample names a stack that is not there", self.meta().service))
    }

    fn read_samples(
        &self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(SampleRow),
    ) -> Result<(), ReadError> {
        let stacks = self.meta().stacks;
        self.scan(
            picks,
            |_| (true, true),
            go_on,
            |located, rows, piece| {
                let taken = picks[located.pick as usize].label_sets;
                for at in rows {
                    let (stack, label_set) = (piece.stack[at] as u32, piece.label_set[at] as u32);
                    if u64::from(stack) >= stacks {
                        return Err(self.no_such_stack());
                    }
                    let value = piece.value[at].wrapping_mul(located.scale);
                    if value != 0 && taken.is_none_or(|taken| taken.get(label_set as usize).copied().unwrap_or(false)) {
                        let value = value.wrapping_mul(located.weight);
                        visit(SampleRow { pick: located.pick, stack, label_set, time: piece.time[at], value });
                    }
                }
                Ok(())
            },
        )
    }

    fn read_label_sets(&self) -> Result<Arc<ReadLabelSets>, ReadError> {
        self.block.cached(Item::LabelSets(self.partition), || {
            let read = symbols::read_label_sets(&self.block.symbols, self.meta(), self.rows.streams.len())?;
            let PartLabelSets { strings, sets } = &*read.label_sets;
            let bytes = strings.bytes.len() + strings.spans.len() * 8 + sets.key.len() * 20 + sets.end.len() * 8;
            Ok((read, bytes))
        })
    }
}

impl Part for BlockPart {
    fn name(&self) -> String {
        format!("{}/{}", self.block.folder, self.meta().service)
    }

    fn streams(&self) -> &[Stream] {
        &self.rows.streams
    }

    fn profiles(&self) -> &ProfileTable {
        &self.rows.table
    }

    fn label_sets(&self) -> Result<Arc<PartLabelSets>, ReadError> {
        self.block.noting(self.read_label_sets().map(|read| read.label_sets.clone()))
    }

    fn stream_label_sets(&self, stream: u32) -> Result<Arc<[u32]>, ReadError> {
        self.block.noting(self.read_label_sets().map(|read| read.of_streams[stream as usize].clone()))
    }

    fn symbols(&self) -> Result<Arc<PartSymbols>, ReadError> {
        self.block.noting(self.block.cached(Item::Symbols(self.partition), || {
            let read = symbols::read_symbols(&self.block.symbols, self.meta())?;
            let bytes = symbols_bytes(&read);
            Ok((read, bytes))
        }))
    }

    fn name_tree(&self) -> Result<Arc<NameTree>, ReadError> {
        self.block.noting(self.block.cached(Item::NameTree(self.partition), || {
            let read = symbols::read_name_tree(&self.block.symbols, self.meta())?;
            let bytes = read.depth.len() * 20 + read.frames.key.len() * 20 + read.stack_node.len() * 4;
            Ok((read, bytes))
        }))
    }

    fn location_tree(&self) -> Result<Arc<LocationTree>, ReadError> {
        self.block.noting(self.block.cached(Item::LocationTree(self.partition), || {
            let read = symbols::read_location_tree(&self.block.symbols, self.meta())?;
            let bytes = read.depth.len() * 14 + read.stack_node.len() * 4;
            Ok((read, bytes))
        }))
    }

    fn sum_by_stack(&self, picks: &[Pick<'_>], go_on: &dyn Fn() -> bool) -> Result<StackSums, ReadError> {
        self.block.noting(self.read_sums(picks, go_on))
    }

    fn samples(
        &self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(SampleRow),
    ) -> Result<(), ReadError> {
        self.block.noting(self.read_samples(picks, go_on, visit))
    }

    fn export(&self, profile: u32) -> Result<ProfileExport, ReadError> {
        let exports = self.block.noting(self.block.cached(Item::Exports(self.partition), || {
            let read = symbols::read_exports(&self.block.symbols, self.meta())?;
            let bytes = read.iter().map(|of| of.mappings.len() * 32 + of.extras.comments.len() * 4 + 80).sum();
            Ok((read, bytes))
        }))?;
        let row = self.rows.export[profile as usize] as usize;
        let missing = || self.block.symbols.corrupt(format!("partition {:?} has no export {row}", self.meta().service));
        self.block.noting(exports.get(row).cloned().ok_or_else(missing))
    }
}

fn symbols_bytes(read: &PartSymbols) -> usize {
    let PartSymbols { symbols, stacks } = read;
    symbols.strings.bytes.len()
        + symbols.strings.spans.len() * 8
        + symbols.mappings.len() * 33
        + symbols.functions.len() * 20
        + symbols.lines.line.len() * 20
        + symbols.locations.len() * 17
        + stacks.len() * 4
        + stacks.locations.len() * 4
}
