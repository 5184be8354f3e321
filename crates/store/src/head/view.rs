//! A partition of the head as it was when asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use profile::Stream;
use profile::tree::{self, LocationTree, NameTree};

use super::intern::reserve;
use super::packed::Run;
use crate::error::ReadError;
use crate::part::{Part, PartLabelSets, PartSymbols, Pick, ProfileExport, ProfileTable, SampleRow, StackSums};

/// Where the packed samples of a profile begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunAt {
    pub(crate) chunk: u32,
    pub(crate) at: u32,
}

/// Columns with one row per profile, by arrival.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pub(crate) table: ProfileTable,
    pub(crate) runs: Vec<RunAt>,
    /// Row in the exports.
    pub(crate) export: Vec<u32>,
}

impl Rows {
    /// Room for one more profile of `width` sample types.
    pub(crate) fn reserve(&mut self, width: usize) {
        let ProfileTable { stream, time, time_max, duration, period, samples, total_end, totals, nonzero } =
            &mut self.table;
        for column in [time, time_max, duration, period] {
            reserve(column, 1);
        }
        for column in [stream, samples, total_end, &mut self.export] {
            reserve(column, 1);
        }
        reserve(totals, width);
        reserve(nonzero, width);
        reserve(&mut self.runs, 1);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.table.time.capacity() * (4 * 8 + 4 * 4 + size_of::<RunAt>()) + self.table.totals.capacity() * 12
    }
}

/// Bytes of trees that a head keeps for the next query. What does not fit is built again each time.
pub(crate) struct TreeRoom {
    used: AtomicU64,
    max: u64,
}

impl TreeRoom {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), max })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let more = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

type BothTrees = (Arc<NameTree>, Arc<LocationTree>);

/// The trees of one state of a partition's symbols, built when a query first needs them.
pub(crate) struct TreeCache {
    /// With their bytes.
    built: Mutex<Option<(BothTrees, u64)>>,
    room: Arc<TreeRoom>,
}

impl TreeCache {
    pub(crate) fn new(room: Arc<TreeRoom>) -> Arc<Self> {
        Arc::new(Self { built: Mutex::default(), room })
    }

    pub(crate) fn room(&self) -> &Arc<TreeRoom> {
        &self.room
    }

    fn lock(&self) -> MutexGuard<'_, Option<(BothTrees, u64)>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn built(&self) -> Option<BothTrees> {
        self.lock().as_ref().map(|(trees, _)| trees.clone())
    }

    /// Whoever comes while they are being built waits for them.
    fn get(&self, symbols: &PartSymbols) -> BothTrees {
        let mut built = self.lock();
        if let Some((trees, _)) = &*built {
            return trees.clone();
        }
        let tree::Trees { name, location } = tree::build(&symbols.symbols, &symbols.stacks);
        let bytes = (name.depth.len() * 20 + name.frames.key.len() * 20 + location.depth.len() * 14) as u64
            + symbols.stacks.len() as u64 * 8;
        let trees = (Arc::new(name), Arc::new(location));
        if self.room.take(bytes) {
            *built = Some((trees.clone(), bytes));
        }
        trees
    }
}

impl Drop for TreeCache {
    fn drop(&mut self) {
        if let Some((_, bytes)) = self.lock().take() {
            self.room.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// A snapshot: never changes while held.
pub(crate) struct HeadPart {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) streams: Arc<Vec<Stream>>,
    pub(crate) stream_sets: Arc<Vec<Vec<u32>>>,
    pub(crate) rows: Arc<Rows>,
    pub(crate) chunks: Vec<Arc<Vec<u8>>>,
    pub(crate) symbols: Arc<PartSymbols>,
    pub(crate) label_sets: Arc<PartLabelSets>,
    pub(crate) exports: Arc<Vec<ProfileExport>>,
    pub(crate) trees: Arc<TreeCache>,
    /// ns, earliest and latest sample
    pub(crate) range: (i64, i64),
}

/// Samples between two questions whether to go on.
const SAMPLES_PER_CHECK: u32 = 1 << 16;

impl HeadPart {
    pub(crate) fn overlaps(&self, range: Option<(i64, i64)>) -> bool {
        range.is_none_or(|(start, end)| self.range.0 <= end && self.range.1 >= start)
    }

    /// The packed samples of profile `row`.
    pub(crate) fn run(&self, row: usize) -> Run<'_> {
        let RunAt { chunk, at } = self.rows.runs[row];
        let table = &self.rows.table;
        let width = self.streams[table.stream[row] as usize].sample_types.len();
        Run::new(&self.chunks[chunk as usize][at as usize..], width, table.time[row])
    }

    /// The trees, if a query has had them built.
    pub(crate) fn built_trees(&self) -> Option<(Arc<NameTree>, Arc<LocationTree>)> {
        self.trees.built()
    }

    /// Calls `each(pick, run, samples)` for every pick, and asks now and then whether to go on.
    fn runs<'a>(
        &'a self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        mut each: impl FnMut(usize, Run<'a>, u32),
    ) -> Result<(), ReadError> {
        let mut since_check = SAMPLES_PER_CHECK;
        for (ix, pick) in picks.iter().enumerate() {
            let samples = self.rows.table.samples[pick.profile as usize];
            since_check = since_check.saturating_add(samples);
            if since_check >= SAMPLES_PER_CHECK {
                since_check = 0;
                if !go_on() {
                    return Err(ReadError::cancelled());
                }
            }
            each(ix, self.run(pick.profile as usize), samples);
        }
        Ok(())
    }
}

impl Part for HeadPart {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn streams(&self) -> &[Stream] {
        &self.streams
    }

    fn profiles(&self) -> &ProfileTable {
        &self.rows.table
    }

    fn label_sets(&self) -> Result<Arc<PartLabelSets>, ReadError> {
        Ok(self.label_sets.clone())
    }

    fn stream_label_sets(&self, stream: u32) -> Result<Arc<[u32]>, ReadError> {
        Ok(self.stream_sets[stream as usize].as_slice().into())
    }

    fn symbols(&self) -> Result<Arc<PartSymbols>, ReadError> {
        Ok(self.symbols.clone())
    }

    fn name_tree(&self) -> Result<Arc<NameTree>, ReadError> {
        Ok(self.trees.get(&self.symbols).0)
    }

    fn location_tree(&self) -> Result<Arc<LocationTree>, ReadError> {
        Ok(self.trees.get(&self.symbols).1)
    }

    fn sum_by_stack(&self, picks: &[Pick<'_>], go_on: &dyn Fn() -> bool) -> Result<StackSums, ReadError> {
        let stacks = self.symbols.stacks.len();
        let mut sums = StackSums { sum: vec![0; stacks], seen: vec![false; stacks] };
        self.runs(picks, go_on, |ix, run, samples| {
            let StackSums { sum, seen } = &mut sums;
            let Pick { value, weight, label_sets, .. } = picks[ix];
            run.each(samples, value as usize, |stack, set, _, value| {
                if label_sets.is_none_or(|taken| taken.get(set as usize).copied().unwrap_or(false)) {
                    let stack = stack as usize;
                    sum[stack] = sum[stack].wrapping_add(value.wrapping_mul(weight));
                    seen[stack] |= value != 0;
                }
            });
        })?;
        Ok(sums)
    }

    fn samples(
        &self,
        picks: &[Pick<'_>],
        go_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(SampleRow),
    ) -> Result<(), ReadError> {
        self.runs(picks, go_on, |ix, run, samples| {
            let Pick { value, weight, label_sets, .. } = picks[ix];
            run.each(samples, value as usize, |stack, label_set, time, value| {
                let taken = label_sets.is_none_or(|taken| taken.get(label_set as usize).copied().unwrap_or(false));
                if taken && value != 0 {
                    visit(SampleRow { pick: ix as u32, stack, label_set, time, value: value.wrapping_mul(weight) });
                }
            });
        })
    }

    fn export(&self, profile: u32) -> Result<ProfileExport, ReadError> {
        Ok(self.exports[self.rows.export[profile as usize] as usize].clone())
    }
}
