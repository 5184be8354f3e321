//! A part in memory, made of one batch, as simply as can be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use profile::tree::{self, LocationTree, NameTree, Trees};
use profile::{Batch, Stream};
use query::Source;
use store::budget::Budget;
use store::error::ReadError;
use store::part::{Part, PartLabelSets, PartSymbols, Pick, ProfileExport, ProfileTable, SampleRow, StackSums};

pub struct MemoryPart {
    batch: Batch,
    profiles: ProfileTable,
    symbols: Arc<PartSymbols>,
    label_sets: Arc<PartLabelSets>,
    name_tree: Arc<NameTree>,
    location_tree: Arc<LocationTree>,
}

impl MemoryPart {
    pub fn new(batch: Batch) -> Self {
        let mut profiles = ProfileTable::default();
        for profile in 0..batch.profiles.len() {
            let stream = batch.profiles.stream[profile];
            let width = batch.streams[stream as usize].sample_types.len();
            let samples = batch.profiles.samples(profile);
            profiles.stream.push(stream);
            profiles.time.push(batch.profiles.time[profile]);
            profiles.time_max.push(batch.profiles.time_max[profile]);
            profiles.duration.push(batch.profiles.duration[profile]);
            profiles.period.push(batch.profiles.period[profile]);
            profiles.samples.push(samples.len() as u32);
            for value in 0..width {
                let values = samples.clone().map(|sample| batch.samples.values[sample * width + value]);
                profiles.totals.push(values.clone().fold(0, i64::wrapping_add));
                profiles.nonzero.push(values.filter(|&value| value != 0).count() as u32);
            }
            profiles.total_end.push(profiles.totals.len() as u32);
        }
        let Trees { name, location } = tree::build(&batch.symbols, &batch.stacks);
        Self {
            profiles,
            symbols: Arc::new(PartSymbols { symbols: batch.symbols.clone(), stacks: batch.stacks.clone() }),
            label_sets: Arc::new(PartLabelSets {
                strings: batch.symbols.strings.clone(),
                sets: batch.label_sets.clone(),
            }),
            name_tree: Arc::new(name),
            location_tree: Arc::new(location),
            batch,
        }
    }

    fn set(&self, sample: usize) -> u32 {
        self.batch.samples.label_set.get(sample).copied().unwrap_or(0)
    }
}

impl Part for MemoryPart {
    fn name(&self) -> String {
        "memory".into()
    }

    fn streams(&self) -> &[Stream] {
        &self.batch.streams
    }

    fn profiles(&self) -> &ProfileTable {
        &self.profiles
    }

    fn label_sets(&self) -> Result<Arc<PartLabelSets>, ReadError> {
        Ok(self.label_sets.clone())
    }

    fn stream_label_sets(&self, stream: u32) -> Result<Arc<[u32]>, ReadError> {
        let profiles = (0..self.batch.profiles.len()).filter(|&profile| self.batch.profiles.stream[profile] == stream);
        let width = self.batch.streams[stream as usize].sample_types.len();
        let values = |sample: usize| &self.batch.samples.values[sample * width..(sample + 1) * width];
        let mut sets: Vec<u32> = profiles
            .flat_map(|profile| self.batch.profiles.samples(profile))
            .filter(|&sample| values(sample).iter().any(|&value| value != 0))
            .map(|sample| self.set(sample))
            .collect();
        sets.sort_unstable();
        sets.dedup();
        Ok(sets.into())
    }

    fn symbols(&self) -> Result<Arc<PartSymbols>, ReadError> {
        Ok(self.symbols.clone())
    }

    fn name_tree(&self) -> Result<Arc<NameTree>, ReadError> {
        Ok(self.name_tree.clone())
    }

    fn location_tree(&self) -> Result<Arc<LocationTree>, ReadError> {
        Ok(self.location_tree.clone())
    }

    fn sum_by_stack(&self, picks: &[Pick<'_>], go_on: &dyn Fn() -> bool) -> Result<StackSums, ReadError> {
        let stacks = self.batch.stacks.len();
        let mut sums = StackSums { sum: vec![0; stacks], seen: vec![false; stacks] };
        self.samples(picks, go_on, &mut |sample| {
            let sum = &mut sums.sum[sample.stack as usize];
            *sum = sum.wrapping_add(sample.value);
            sums.seen[sample.stack as usize] = true;
        })?;
        Ok(sums)
    }

    fn samples(
        &self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(SampleRow),
    ) -> Result<(), ReadError> {
        for (pick_ix, pick) in picks.iter().enumerate() {
            let profile = pick.profile as usize;
            let stream = &self.batch.streams[self.batch.profiles.stream[profile] as usize];
            for sample in self.batch.profiles.samples(profile) {
                if !go_on() {
                    return Err(ReadError::cancelled());
                }
                let value = self.batch.samples.values[sample * stream.sample_types.len() + usize::from(pick.value)];
                let label_set = self.set(sample);
                if value == 0 || pick.label_sets.is_some_and(|wanted| !wanted[label_set as usize]) {
                    continue;
                }
                visit(SampleRow {
                    pick: pick_ix as u32,
                    stack: self.batch.samples.stack[sample],
                    label_set,
                    time: self.batch.samples.time.get(sample).copied().unwrap_or(self.batch.profiles.time[profile]),
                    value: value.wrapping_mul(pick.weight),
                });
            }
        }
        Ok(())
    }

    fn export(&self, profile: u32) -> Result<ProfileExport, ReadError> {
        let profile = profile as usize;
        Ok(ProfileExport {
            mappings: self.batch.profiles.mappings(profile).to_vec(),
            extras: self.batch.profiles.extras.get(profile).cloned().unwrap_or_default(),
        })
    }
}

/// Such a part that counts what is read of its samples one by one.
pub struct Watched {
    part: MemoryPart,
    reads: AtomicUsize,
    visited: AtomicUsize,
}

impl Watched {
    pub fn new(batch: Batch) -> Self {
        Self { part: MemoryPart::new(batch), reads: AtomicUsize::new(0), visited: AtomicUsize::new(0) }
    }

    /// Reads, and samples that were met in them, since it was asked last.
    pub fn count(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::Relaxed), self.visited.swap(0, Ordering::Relaxed))
    }
}

impl Part for Watched {
    fn name(&self) -> String {
        self.part.name()
    }

    fn streams(&self) -> &[Stream] {
        self.part.streams()
    }

    fn profiles(&self) -> &ProfileTable {
        self.part.profiles()
    }

    fn label_sets(&self) -> Result<Arc<PartLabelSets>, ReadError> {
        self.part.label_sets()
    }

    fn stream_label_sets(&self, stream: u32) -> Result<Arc<[u32]>, ReadError> {
        self.part.stream_label_sets(stream)
    }

    fn symbols(&self) -> Result<Arc<PartSymbols>, ReadError> {
        self.part.symbols()
    }

    fn name_tree(&self) -> Result<Arc<NameTree>, ReadError> {
        self.part.name_tree()
    }

    fn location_tree(&self) -> Result<Arc<LocationTree>, ReadError> {
        self.part.location_tree()
    }

    fn sum_by_stack(&self, picks: &[Pick<'_>], go_on: &dyn Fn() -> bool) -> Result<StackSums, ReadError> {
        self.part.sum_by_stack(picks, go_on)
    }

    fn samples(
        &self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(SampleRow),
    ) -> Result<(), ReadError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.part.samples(picks, go_on, &mut |sample| {
            self.visited.fetch_add(1, Ordering::Relaxed);
            visit(sample);
        })
    }

    fn export(&self, profile: u32) -> Result<ProfileExport, ReadError> {
        self.part.export(profile)
    }
}

/// A store of such parts.
pub struct MemorySource {
    pub parts: Vec<Arc<dyn Part>>,
    pub budget: Budget,
}

impl MemorySource {
    pub fn new(batches: impl IntoIterator<Item = Batch>) -> Arc<Self> {
        let parts = batches.into_iter().map(|batch| Arc::new(MemoryPart::new(batch)) as Arc<dyn Part>).collect();
        Arc::new(Self { parts, budget: Budget::new(1 << 30) })
    }
}

impl Source for MemorySource {
    fn parts(&self, _tenant: &str, _range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        self.parts.clone()
    }

    fn budget(&self) -> &Budget {
        &self.budget
    }
}
