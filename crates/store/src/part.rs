//! What a query reads: the head, or one partition of one block, behind one interface.

use std::sync::Arc;

use profile::tree::{LocationTree, NameTree};
use profile::{LabelSets, MappingRange, PprofExtras, Stacks, Stream, Symbols};

use crate::error::ReadError;

/// Profiles of a part: columns of equal length, sorted by stream and time in a block, by arrival in the head.
#[derive(Clone, Debug, Default)]
pub struct ProfileTable {
    /// Row in [`Part::streams`].
    pub stream: Vec<u32>,
    /// ns since the epoch, earliest and latest sample.
    pub time: Vec<i64>,
    pub time_max: Vec<i64>,
    /// ns
    pub duration: Vec<i64>,
    pub period: Vec<i64>,
    /// Number of samples.
    pub samples: Vec<u32>,
    /// End of the profile's run in `totals`: one sum per sample type of its stream, over all samples.
    pub total_end: Vec<u32>,
    pub totals: Vec<i64>,
    /// Per profile and sample type, parallel to `totals`: how many samples have a value other than 0
    /// (Parca keeps a row only for those).
    pub nonzero: Vec<u32>,
}

impl ProfileTable {
    pub fn len(&self) -> usize {
        self.stream.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }

    /// Sum and number of non-zero values of sample type `value` of profile `row`.
    pub fn total(&self, row: usize, value: usize) -> (i64, u32) {
        let start = if row == 0 { 0 } else { self.total_end[row - 1] as usize };
        (self.totals[start + value], self.nonzero[start + value])
    }
}

/// The symbols and stacks of a part, loaded together.
#[derive(Clone, Debug, Default)]
pub struct PartSymbols {
    pub symbols: Symbols,
    pub stacks: Stacks,
}

/// One value column of one profile, to be added up.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// Row in the [`ProfileTable`].
    pub profile: u32,
    /// Which sample type.
    pub value: u16,
    /// Each value is multiplied by this (the period, for `samples:count`; else 1).
    pub weight: i64,
    /// Only samples whose label set is `true` here; `None` takes all.
    pub label_sets: Option<&'a [bool]>,
}

/// Sums per stack of one part. `sum.len()` is the number of stacks of the part.
#[derive(Clone, Debug, Default)]
pub struct StackSums {
    pub sum: Vec<i64>,
    /// Whether any sample with a non-zero value was seen for the stack: a sum of 0 can hide one.
    pub seen: Vec<bool>,
}

/// One sample as handed to a visitor.
#[derive(Clone, Copy, Debug)]
pub struct SampleRow {
    /// Index into the picks.
    pub pick: u32,
    pub stack: u32,
    pub label_set: u32,
    /// ns since the epoch: its own for stamped samples, else the profile's.
    pub time: i64,
    /// Weighted.
    pub value: i64,
}

/// The head as it was when asked for, or one partition of a block. Never changes while held; calls that
/// read may block on the disk. A defect of the file is an error of this part only.
pub trait Part: Send + Sync {
    /// For messages: `head`, or block and partition.
    fn name(&self) -> String;
    fn streams(&self) -> &[Stream];
    fn profiles(&self) -> &ProfileTable;
    /// Sample label sets, with their own strings (row 0 is the empty set).
    fn label_sets(&self) -> Result<Arc<PartLabelSets>, ReadError>;
    /// The distinct label sets of those samples of row `stream` of [`Part::streams`] that have a value of some type, in
    /// ascending order. An implementation that does not keep them by stream answers with all sets of the part.
    fn stream_label_sets(&self, stream: u32) -> Result<Arc<[u32]>, ReadError> {
        let _ = stream;
        Ok((0..self.label_sets()?.sets.len() as u32).collect())
    }
    fn symbols(&self) -> Result<Arc<PartSymbols>, ReadError>;
    fn name_tree(&self) -> Result<Arc<NameTree>, ReadError>;
    fn location_tree(&self) -> Result<Arc<LocationTree>, ReadError>;
    /// Adds up by stack. Picks are in ascending order of `profile`. Calls `go_on` now and then (at least
    /// every 64 Ki samples) and stops with [`ReadError::cancelled`] when it says false.
    fn sum_by_stack(&self, picks: &[Pick<'_>], go_on: &dyn Fn() -> bool) -> Result<StackSums, ReadError>;
    /// Visits every sample with a non-zero value.
    fn samples(
        &self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(SampleRow),
    ) -> Result<(), ReadError>;
    /// What one profile keeps for its export: where its mappings lay, and the fields no query uses.
    fn export(&self, profile: u32) -> Result<ProfileExport, ReadError>;
}

/// Sample label sets and the strings they name.
#[derive(Clone, Debug, Default)]
pub struct PartLabelSets {
    pub strings: profile::Strings,
    pub sets: LabelSets,
}

#[derive(Clone, Debug, Default)]
pub struct ProfileExport {
    /// `mapping` is a row of the part's [`PartSymbols`].
    pub mappings: Vec<MappingRange>,
    /// String indices of the part's symbols.
    pub extras: PprofExtras,
}
