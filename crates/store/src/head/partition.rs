//! One shard of the head: the streams of one service, with their symbols, stacks and packed samples.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use profile::content::{Domain, HashKey, Table};
use profile::{Batch, PprofExtras, Stream};

use super::intern::{Hashes, Ids, Interner, Used};
use super::packed::{self, Unpacked};
use super::view::{HeadPart, Rows, RunAt, TreeCache, TreeRoom};
use crate::part::ProfileExport;

/// Packed samples are kept in buffers of this size: large enough that the list of them is short, small
/// enough that copying the one being filled, when a reader holds it, takes some 20 us.
const CHUNK_BYTES: usize = 256 << 10;

/// Buffers of one writer, reused.
#[derive(Default)]
pub(crate) struct Scratch {
    ids: Ids,
    /// Of what a dictionary holds and the partition has not met.
    excerpt: Hashes,
    samples: Vec<Unpacked>,
    packed: Vec<u8>,
}

pub(crate) struct Partition {
    service: String,
    inner: Mutex<Inner>,
}

struct Inner {
    interner: Interner,
    streams: Arc<Vec<Stream>>,
    /// Per stream the label sets of its samples, ascending.
    stream_sets: Arc<Vec<Vec<u32>>>,
    stream_ids: HashMap<Stream, u32>,
    rows: Arc<Rows>,
    chunks: Vec<Arc<Vec<u8>>>,
    exports: Arc<Vec<ProfileExport>>,
    export_ids: Table,
    /// Of the present symbols; replaced when they change.
    trees: Arc<TreeCache>,
    /// ns, earliest and latest sample
    range: (i64, i64),
    stream_bytes: usize,
    export_bytes: usize,
    chunk_bytes: usize,
    /// As last reported to the head.
    bytes: u64,
}

impl Partition {
    pub(crate) fn new(key: &HashKey, service: &str, room: &Arc<TreeRoom>) -> Self {
        Self {
            service: service.to_owned(),
            inner: Mutex::new(Inner {
                interner: Interner::new(key),
                streams: Arc::default(),
                stream_sets: Arc::default(),
                stream_ids: HashMap::new(),
                rows: Arc::default(),
                chunks: Vec::new(),
                exports: Arc::default(),
                export_ids: Table::default(),
                trees: TreeCache::new(room.clone()),
                range: (i64::MAX, i64::MIN),
                stream_bytes: 0,
                export_bytes: 0,
                chunk_bytes: 0,
                bytes: 0,
            }),
        }
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn name(&self) -> String {
        format!("head/{}", self.service)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_room(&self, batch: &Batch) -> bool {
        let inner = self.lock();
        let values = inner.rows.table.totals.len() as u64 + batch.profiles.len() as u64 * 64;
        inner.interner.has_room(batch) && values < u64::from(u32::MAX)
    }

    /// Adds the profiles `rows` of a checked batch. Returns by how many bytes the partition grew.
    pub(crate) fn append(
        &self,
        key: &HashKey,
        batch: &Batch,
        hashes: &Hashes,
        used: &Used<'_>,
        rows: &[u32],
        scratch: &mut Scratch,
    ) -> u64 {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let mut changed = match &batch.dictionary {
            None => inner.interner.intern(key, batch, hashes, used, &mut scratch.ids),
            Some(dictionary) => {
                let samples = rows.iter().flat_map(|&row| batch.profiles.samples(row as usize));
                let stacks = samples.map(|sample| batch.samples.stack[sample]);
                inner.interner.intern_named(key, dictionary, stacks, &mut scratch.excerpt, &mut scratch.ids)
            }
        };
        inner.interner.intern_label_sets(key, batch, hashes, used, &mut scratch.ids);
        for &row in rows {
            changed |= inner.add_profile(key, batch, hashes, row as usize, scratch);
        }
        // a reader of the old state may yet build its trees
        if changed && Arc::get_mut(&mut inner.trees).is_none_or(|trees| trees.built().is_some()) {
            inner.trees = TreeCache::new(inner.trees.room().clone());
        }
        let now = inner.count_bytes();
        let grown = now.saturating_sub(inner.bytes);
        inner.bytes = inner.bytes.max(now);
        grown
    }

    /// `None` while it is empty.
    pub(crate) fn snapshot(&self) -> Option<Arc<HeadPart>> {
        let inner = self.lock();
        if inner.rows.table.is_empty() {
            return None;
        }
        Some(Arc::new(HeadPart {
            name: self.name(),
            service: self.service.clone(),
            streams: inner.streams.clone(),
            stream_sets: inner.stream_sets.clone(),
            rows: inner.rows.clone(),
            chunks: inner.chunks.clone(),
            symbols: inner.interner.symbols.clone(),
            label_sets: inner.interner.label_sets.clone(),
            exports: inner.exports.clone(),
            trees: inner.trees.clone(),
            range: inner.range,
        }))
    }
}

impl Inner {
    /// Returns whether a symbol was new.
    fn add_profile(
        &mut self,
        key: &HashKey,
        batch: &Batch,
        hashes: &Hashes,
        row: usize,
        scratch: &mut Scratch,
    ) -> bool {
        let from = &batch.profiles;
        let stream = self.stream(&batch.streams[from.stream[row] as usize]);
        let width = self.streams[stream as usize].sample_types.len();
        let samples = from.samples(row);
        let values = &batch.samples.values[samples.start * width..samples.end * width];
        let time = from.time[row];

        scratch.samples.clear();
        scratch.samples.extend(samples.clone().enumerate().map(|(ix, sample)| {
            let label_set = match batch.samples.label_set.get(sample) {
                Some(&set) => scratch.ids.label_sets[set as usize],
                None => 0,
            };
            Unpacked {
                stack: scratch.ids.stacks[batch.samples.stack[sample] as usize],
                label_set,
                time: batch.samples.time.get(sample).copied().unwrap_or(time),
                row: ix as u32,
            }
        }));
        let plain = batch.samples.label_set.is_empty() && batch.samples.time.is_empty();
        if plain {
            scratch.samples.sort_unstable_by_key(|sample| u64::from(sample.stack) << 32 | u64::from(sample.row));
        } else {
            scratch.samples.sort_unstable();
        }
        scratch.packed.clear();
        packed::pack(&mut scratch.packed, &scratch.samples, values, width, time);
        let run = self.keep_run(&scratch.packed);
        self.note_label_sets(stream, &scratch.samples, values, width);
        let (export, changed) = self.export(key, batch, hashes, row);

        self.range.0 = self.range.0.min(time);
        self.range.1 = self.range.1.max(from.time_max[row]);
        let rows = Arc::make_mut(&mut self.rows);
        rows.reserve(width);
        rows.runs.push(run);
        rows.export.push(export);
        let table = &mut rows.table;
        table.stream.push(stream);
        table.time.push(time);
        table.time_max.push(from.time_max[row]);
        table.duration.push(from.duration[row]);
        table.period.push(from.period[row]);
        table.samples.push(samples.len() as u32);
        for value in 0..width {
            let mut total = 0i64;
            let mut nonzero = 0u32;
            for row in values.chunks_exact(width) {
                total = total.wrapping_add(row[value]);
                nonzero += u32::from(row[value] != 0);
            }
            table.totals.push(total);
            table.nonzero.push(nonzero);
        }
        table.total_end.push(table.totals.len() as u32);
        changed
    }

    fn stream(&mut self, stream: &Stream) -> u32 {
        if let Some(&id) = self.stream_ids.get(stream) {
            return id;
        }
        let id = self.streams.len() as u32;
        Arc::make_mut(&mut self.streams).push(stream.clone());
        Arc::make_mut(&mut self.stream_sets).push(Vec::new());
        self.stream_ids.insert(stream.clone(), id);
        // the list and the map each hold one: strings, their headers, and the map's slot
        let strings: usize = stream.labels.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        let types: usize = stream.sample_types.iter().map(|of| of.kind.len() + of.unit.len() + 48).sum();
        self.stream_bytes += 2 * (strings + types + stream.name.len() + size_of::<Stream>()) + 16;
        id
    }

    /// Of samples with a value: what is 0 in every type is nowhere to be seen.
    fn note_label_sets(&mut self, stream: u32, samples: &[Unpacked], values: &[i64], width: usize) {
        let mut last = None;
        for sample in samples {
            let of_sample = sample.row as usize * width..(sample.row as usize + 1) * width;
            if last == Some(sample.label_set) || values[of_sample].iter().all(|&value| value == 0) {
                continue;
            }
            last = Some(sample.label_set);
            let held = &self.stream_sets[stream as usize];
            if let Err(at) = held.binary_search(&sample.label_set) {
                Arc::make_mut(&mut self.stream_sets)[stream as usize].insert(at, sample.label_set);
                self.stream_bytes += 8;
            }
        }
    }

    fn keep_run(&mut self, packed: &[u8]) -> RunAt {
        let full = self.chunks.last().is_none_or(|last| last.len() + packed.len() > CHUNK_BYTES);
        if full {
            self.chunks.push(Arc::default());
        }
        let chunk = self.chunks.len() - 1;
        let last = &mut self.chunks[chunk];
        if Arc::get_mut(last).is_none() {
            // a reader holds it: go on in a copy
            let mut copy = Vec::with_capacity(last.capacity());
            copy.extend_from_slice(last);
            *last = Arc::new(copy);
        }
        let at = last.len() as u32;
        if let Some(last) = Arc::get_mut(last) {
            let before = last.capacity();
            last.extend_from_slice(packed);
            self.chunk_bytes += last.capacity() - before;
        }
        RunAt { chunk: chunk as u32, at }
    }

    /// Profiles of a process mostly share their mapping ranges and extras: they are kept once.
    fn export(&mut self, key: &HashKey, batch: &Batch, hashes: &Hashes, row: usize) -> (u32, bool) {
        let (mappings, mut changed) = self.interner.mapping_ranges(batch, hashes, batch.profiles.mappings(row));
        let strings_before = self.interner.symbols.symbols.strings.len();
        let mut string = |ix: u32| self.interner.add_string(&batch.symbols, hashes, ix);
        let extras = match batch.profiles.extras.get(row) {
            None => PprofExtras::default(),
            Some(extras) => PprofExtras {
                comments: extras.comments.iter().map(|&comment| string(comment)).collect(),
                drop_frames: string(extras.drop_frames),
                keep_frames: string(extras.keep_frames),
                default_sample_type: string(extras.default_sample_type),
                doc_url: string(extras.doc_url),
            },
        };
        changed |= self.interner.symbols.symbols.strings.len() != strings_before;
        let mut hasher = key.start(Domain::Export);
        hasher.mix(mappings.len() as u64, extras.comments.len() as u64);
        for range in &mappings {
            hasher.mix(u64::from(range.mapping), range.start);
            hasher.mix(range.limit, range.offset);
        }
        for &comment in &extras.comments {
            hasher.mix(u64::from(comment), 0);
        }
        hasher.mix(u64::from(extras.drop_frames), u64::from(extras.keep_frames));
        hasher.mix(u64::from(extras.default_sample_type), u64::from(extras.doc_url));
        let hash = hasher.finish(0);
        if let Some(id) = self.export_ids.find(hash) {
            return (id, changed);
        }
        let id = self.exports.len() as u32;
        self.export_bytes += mappings.len() * 32 + extras.comments.len() * 4 + size_of::<ProfileExport>();
        Arc::make_mut(&mut self.exports).push(ProfileExport { mappings, extras });
        self.export_ids.insert(hash, id);
        (id, changed)
    }

    fn count_bytes(&self) -> u64 {
        let bytes = self.interner.bytes()
            + self.rows.bytes()
            + self.chunk_bytes
            + self.chunks.capacity() * 48
            + self.stream_bytes
            + self.export_bytes
            + self.export_ids.bytes();
        bytes as u64
    }
}
