//! [`Batch`]: what flows from every wire format into the store.

mod check;

pub use check::BatchDefect;

use std::collections::HashMap;
use std::sync::Arc;

use crate::dictionary::Dictionary;
use crate::labels::Stream;
use crate::symbols::{StackIx, Stacks, StringIx, Symbols};

/// A pprof with more sample types than this is refused: real profiles have at most a dozen.
pub const SAMPLE_TYPES_MAX: usize = 64;

/// Labels of samples: runs of rows, set 0 is the empty set.
///
/// A row is a string label (`key`, `str`) or a numeric one (`str` is 0; `num`, `unit`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSets {
    /// End of each set's run of rows.
    pub end: Vec<u32>,
    pub key: Vec<StringIx>,
    pub str: Vec<StringIx>,
    pub num: Vec<i64>,
    pub unit: Vec<StringIx>,
}

impl LabelSets {
    pub fn with_empty() -> Self {
        Self { end: vec![0], ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.end.len()
    }

    pub fn is_empty(&self) -> bool {
        self.end.is_empty()
    }

    /// The rows of set `ix`.
    pub fn rows(&self, ix: u32) -> std::ops::Range<usize> {
        let ix = ix as usize;
        let start = if ix == 0 { 0 } else { self.end[ix - 1] as usize };
        start..self.end[ix] as usize
    }
}

/// Where a mapping lay in one profile's address space; gives runtime addresses back on export:
/// `runtime = location.address + start - offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingRange {
    /// Row in [`crate::Mappings`].
    pub mapping: u32,
    pub start: u64,
    pub limit: u64,
    pub offset: u64,
}

/// Fields of profile.proto that no query uses, kept so that an export loses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PprofExtras {
    pub comments: Vec<StringIx>,
    pub drop_frames: StringIx,
    pub keep_frames: StringIx,
    /// Index of the default sample type's name in the strings.
    pub default_sample_type: StringIx,
    pub doc_url: StringIx,
}

/// A row per profile, as columns of equal length.
#[derive(Clone, Debug, Default)]
pub struct Profiles {
    /// Row in [`Batch::streams`].
    pub stream: Vec<u32>,
    /// ns since the epoch; for stamped samples the earliest.
    pub time: Vec<i64>,
    /// ns since the epoch; equals `time` but for stamped samples.
    pub time_max: Vec<i64>,
    /// ns; 0 for a moment.
    pub duration: Vec<i64>,
    pub period: Vec<i64>,
    /// End of each profile's run of samples.
    pub sample_end: Vec<u32>,
    /// End of each profile's run in `mapping_ranges`.
    pub mapping_end: Vec<u32>,
    pub mapping_ranges: Vec<MappingRange>,
    /// Empty, or one per profile.
    pub extras: Vec<PprofExtras>,
}

impl Profiles {
    pub fn len(&self) -> usize {
        self.stream.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }

    pub fn samples(&self, profile: usize) -> std::ops::Range<usize> {
        let start = if profile == 0 { 0 } else { self.sample_end[profile - 1] as usize };
        start..self.sample_end[profile] as usize
    }

    pub fn mappings(&self, profile: usize) -> &[MappingRange] {
        let start = if profile == 0 { 0 } else { self.mapping_end[profile - 1] as usize };
        &self.mapping_ranges[start..self.mapping_end[profile] as usize]
    }
}

/// A row per sample: a stack with one value per sample type of its stream, and a label set.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    pub stack: Vec<StackIx>,
    /// Empty (all samples have the empty set) or one per sample.
    pub label_set: Vec<u32>,
    /// Row-major: one value per sample type. All streams of one batch have equally many sample types, so
    /// sample `i` has `values[i * width..][..width]`.
    pub values: Vec<i64>,
    /// Empty, or ns since the epoch per sample (stamped samples).
    pub time: Vec<i64>,
}

/// Profiles with their own small symbol tables. Built by `ingest`, consumed by `store`; nothing later
/// knows which wire format it came from.
///
/// Invariants (checked by [`Batch::check`]): every index is in range; label set 0 is empty; string 0 is
/// empty; the columns of a table have equal length; runs end in order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub symbols: Symbols,
    pub stacks: Stacks,
    /// Where the samples' stacks are rows; `None` for [`Batch::stacks`]. What names rows of [`Batch::symbols`] does so in any
    /// case; a batch with a dictionary has neither mapping ranges nor extras.
    pub dictionary: Option<Arc<Dictionary>>,
    pub label_sets: LabelSets,
    pub streams: Vec<Stream>,
    pub profiles: Profiles,
    pub samples: Samples,
}

impl Batch {
    /// The same with the stacks and symbols of its samples, and no others, in tables of its own.
    #[must_use]
    pub fn without_dictionary(mut self) -> Self {
        let Some(dictionary) = self.dictionary.take() else { return self };
        let held = dictionary.lock();
        let (mut stacks, mut locations) = (HashMap::new(), HashMap::new());
        let mut rows = Vec::new();
        self.stacks = Stacks::default();
        for stack in &mut self.samples.stack {
            *stack = *stacks.entry(*stack).or_insert_with_key(|&stack| {
                let run: Vec<u32> = (held.stacks().get(stack).iter())
                    .map(|&location| {
                        *locations.entry(location).or_insert_with(|| {
                            rows.push(location);
                            rows.len() as u32 - 1
                        })
                    })
                    .collect();
                self.stacks.push(&run)
            });
        }
        let own = std::mem::replace(&mut self.symbols, held.excerpt(&rows)).strings;
        let rows: Vec<u32> = (0..own.len() as u32)
            .map(|row| if row == 0 { 0 } else { self.symbols.strings.push(own.get(row)) })
            .collect();
        let of = &mut self.label_sets;
        for text in of.key.iter_mut().chain(&mut of.str).chain(&mut of.unit) {
            *text = rows[*text as usize];
        }
        self
    }
}
