//! The pprof codec: profile.proto (github.com/google/pprof) to columns and back.
//!
//! [`decode`] reads gzip, zstd or plain bytes in one pass into columns, with no struct per sample;
//! strings stay where they were unpacked. [`encode`] writes the columns back without loss. Every count
//! and size is capped by [`Limits`]; a defect names message, field and index, in the words that Parca's
//! WriteRaw uses where it has any (recorded in testdata/vectors/pprof_validate.jsonl).

mod decode;
mod encode;
mod fast;
#[cfg(test)]
mod tests;
mod unpack;
mod wire;

use std::borrow::Cow;
use std::fmt;

use crate::batch::{LabelSets, PprofExtras};
use crate::symbols::{Stacks, StringIx, Strings, Symbols};

pub use decode::{Ids, Scratch, decode, decode_message};
pub use encode::encode;
pub use unpack::{gzip, unpack};

/// A profile as columns. Ids of the wire are gone: rows refer to each other by index.
///
/// `symbols.locations.address` holds addresses as the profile has them (absolute);
/// `ingest` makes them relative to the mapping.
#[derive(Clone, Debug, Default)]
pub struct Pprof {
    pub symbols: Symbols,
    /// (type, unit), in the order of the values of each sample.
    pub sample_types: Vec<(StringIx, StringIx)>,
    pub period_type: Option<(StringIx, StringIx)>,
    pub period: i64,
    /// ns since the epoch; 0 where the profile has none.
    pub time: i64,
    /// ns
    pub duration: i64,
    /// One stack per sample.
    pub stacks: Stacks,
    /// Row-major: `sample_types.len()` values per sample.
    pub values: Vec<i64>,
    /// Per sample, the row of `label_sets`; empty when no sample has labels.
    pub label_set: Vec<u32>,
    pub label_sets: LabelSets,
    pub extras: PprofExtras,
}

/// Bounds of one profile.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes after decompression.
    pub unpacked_bytes: usize,
    pub samples: usize,
    /// Values of all samples.
    pub values: usize,
    /// Locations of all samples.
    pub frames: usize,
    /// Labels of all samples.
    pub labels: usize,
    pub locations: usize,
    /// Lines of all locations.
    pub lines: usize,
    pub functions: usize,
    pub mappings: usize,
    pub strings: usize,
    /// Bytes of one string.
    pub string_bytes: usize,
    /// Locations of one sample.
    pub stack_depth: usize,
    /// Labels of one sample.
    pub sample_labels: usize,
    pub sample_types: usize,
    pub comments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // four times the largest message that the API takes: real profiles compress 2.5 to 4 times
            unpacked_bytes: 256 << 20,
            // what the columns of these take together is a few times the bytes above
            samples: 4 << 20,
            values: 32 << 20,
            frames: 64 << 20,
            labels: 8 << 20,
            locations: 4 << 20,
            lines: 8 << 20,
            functions: 4 << 20,
            mappings: 64 << 10,
            strings: 8 << 20,
            string_bytes: 64 << 10,
            // parca-agent stops at 128, Go at 64 (128 from 1.23), async-profiler at 2,048
            stack_depth: 4_096,
            sample_labels: 256,
            sample_types: crate::batch::SAMPLE_TYPES_MAX,
            comments: 64 << 10,
        }
    }
}

/// What is wrong with a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    pub kind: DefectKind,
    pub what: Cow<'static, str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// The compressed bytes do not unpack.
    Compression,
    /// The bytes are no protobuf message of this type.
    Wire,
    /// The message contradicts itself.
    Content,
    /// A bound of [`Limits`] is exceeded.
    Limit,
}

impl Defect {
    fn proto(what: impl fmt::Display) -> Self {
        Self { kind: DefectKind::Wire, what: format!("proto: {what}").into() }
    }

    fn truncated() -> Self {
        Self { kind: DefectKind::Wire, what: "unexpected EOF".into() }
    }

    fn content(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: DefectKind::Content, what: what.into() }
    }

    fn limit(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: DefectKind::Limit, what: what.into() }
    }

    fn compression(what: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: DefectKind::Compression, what: what.into() }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Defect {}

impl Pprof {
    pub fn samples(&self) -> usize {
        self.stacks.len()
    }

    pub fn strings(&self) -> &Strings {
        &self.symbols.strings
    }
}
