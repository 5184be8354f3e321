//! What an import brought in, and what it could not.

use std::collections::BTreeMap;
use std::fmt;

use ingest::Batch;

/// Sources that are named; more are counted.
const NAMED_MAX: usize = 1_000;

/// What came in of one profile type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfType {
    pub profiles: u64,
    /// With a value other than 0.
    pub samples: u64,
    /// Of all values.
    pub total: i128,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub source: String,
    /// How many rows; `None` for all that there is.
    pub rows: Option<u64>,
    pub reason: String,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    /// By profile type, as the API names it.
    pub types: BTreeMap<String, OfType>,
    /// Sources that were read to their end.
    pub read: u64,
    /// Sources of which nothing was missing.
    pub known: u64,
    /// Files that are no profiles by their names.
    pub passed_over: u64,
    pub left_out: Vec<LeftOut>,
    /// Beyond those that are named.
    pub more_left_out: u64,
}

impl Report {
    pub(crate) fn add(&mut self, batch: &Batch) {
        let width = batch.streams.first().map_or(0, |stream| stream.sample_types.len());
        let mut of_stream: Vec<OfType> = vec![OfType::default(); batch.streams.len() * width];
        for profile in 0..batch.profiles.len() {
            let first = batch.profiles.stream[profile] as usize * width;
            let mut present = vec![false; width];
            for sample in batch.profiles.samples(profile) {
                for (at, &value) in batch.samples.values[sample * width..][..width].iter().enumerate() {
                    if value != 0 {
                        let of = &mut of_stream[first + at];
                        of.samples += 1;
                        of.total += i128::from(value);
                        present[at] = true;
                    }
                }
            }
            for (at, _) in present.iter().enumerate().filter(|(_, present)| **present) {
                of_stream[first + at].profiles += 1;
            }
        }
        for (at, of) in of_stream.into_iter().enumerate().filter(|(_, of)| of.profiles > 0) {
            let name = batch.streams[at / width].profile_type(at % width).to_string();
            self.types.entry(name).or_default().add(of);
        }
    }

    pub(crate) fn leave_out(&mut self, left_out: LeftOut) {
        if self.left_out.len() < NAMED_MAX {
            self.left_out.push(left_out);
        } else {
            self.more_left_out += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (name, of) in other.types {
            self.types.entry(name).or_default().add(of);
        }
        self.read += other.read;
        self.known += other.known;
        self.passed_over += other.passed_over;
        self.more_left_out += other.more_left_out;
        other.left_out.into_iter().for_each(|left_out| self.leave_out(left_out));
    }

    /// Of all types, each value for itself.
    pub fn samples(&self) -> u64 {
        self.types.values().map(|of| of.samples).sum()
    }

    pub fn is_whole(&self) -> bool {
        self.left_out.is_empty()
    }
}

impl OfType {
    fn add(&mut self, other: Self) {
        self.profiles += other.profiles;
        self.samples += other.samples;
        self.total += other.total;
    }
}

/// A table by type, then a sentence, then a line for each source that was left out, wholly or in part.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widest = self.types.keys().map(String::len).max().unwrap_or(0);
        if !self.types.is_empty() {
            writeln!(f, "{:widest$} {:>12} {:>14} {:>24}", "type", "profiles", "samples", "total")?;
        }
        for (name, OfType { profiles, samples, total }) in &self.types {
            writeln!(f, "{name:widest$} {profiles:>12} {samples:>14} {total:>24}")?;
        }
        write!(f, "{} read, {} known before", self.read, self.known)?;
        if self.passed_over > 0 {
            write!(f, ", {} files passed over that are no profiles by their names", self.passed_over)?;
        }
        for LeftOut { source, rows, reason } in &self.left_out {
            match rows {
                Some(rows) => write!(f, "\nleft out: {rows} rows of {source}: {reason}")?,
                None => write!(f, "\nleft out: {source}: {reason}")?,
            }
        }
        if self.more_left_out > 0 {
            write!(f, "\nleft out: {} more", self.more_left_out)?;
        }
        Ok(())
    }
}
