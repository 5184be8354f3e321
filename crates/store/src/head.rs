//! The head: recent batches in memory, readable while they are written.
//!
//! One head is one generation: the store swaps in a new one when it cuts, and the old one is read only
//! until its blocks are in the catalog. It is sharded by tenant and service into partitions, each with
//! its own symbols, stacks and samples behind one lock; readers hold snapshots, and what a reader holds is
//! copied when it next changes. No tree is built while writing.
//!
//! Map: [`intern`] symbols and stacks by content, and by the names of dictionaries ·
//! [`packed`] samples as bytes · [`partition`] one shard · [`view`] what a query reads.

mod intern;
mod packed;
mod partition;
mod view;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use profile::{Batch, Stream};

use crate::error::{Kind, StoreError};
use crate::part::Part;
use intern::{Hashes, Used};
use partition::{Partition, Scratch};
use profile::content::HashKey;

pub(crate) use view::HeadPart;
use view::TreeRoom;

/// Services of one tenant that get a partition of their own; the rest share one. A partition costs a
/// few kilobytes in memory and about ten in a block.
pub const PARTITIONS_MAX: usize = 64;

/// A stream's service is the value of the first of these labels that it has.
pub const SERVICE_LABELS: [&str; 8] =
    ["service_name", "service", "app_kubernetes_io_name", "app", "job", "container", "comm", "namespace"];

/// The value that decides which partition a stream falls into; empty if it has none of the labels.
pub fn service_of(stream: &Stream) -> &str {
    SERVICE_LABELS.iter().find_map(|name| stream.labels.get(name)).unwrap_or_default()
}

/// Bytes of trees that one head keeps; the trees of 40,000 stacks take some 20 MB.
pub const TREE_BYTES_MAX: u64 = 96 << 20;

/// One generation of recent batches. All methods may be called from any thread.
pub struct Head {
    key: HashKey,
    tenants: RwLock<HashMap<String, Tenant>>,
    /// Buffers of writers at rest: as many as ever wrote at once.
    scratch: Mutex<Vec<(Hashes, Scratch)>>,
    trees: Arc<TreeRoom>,
    bytes: AtomicU64,
    profiles: AtomicU64,
    samples: AtomicU64,
}

#[derive(Default)]
struct Tenant {
    by_service: HashMap<String, Arc<Partition>>,
    /// For the services past [`PARTITIONS_MAX`].
    rest: Option<Arc<Partition>>,
}

impl Head {
    /// `hash_key`: secret, drawn once per process.
    pub fn new(hash_key: [u64; 2]) -> Self {
        Self {
            key: HashKey::new(hash_key),
            tenants: RwLock::default(),
            scratch: Mutex::default(),
            trees: TreeRoom::new(TREE_BYTES_MAX),
            bytes: AtomicU64::new(0),
            profiles: AtomicU64::new(0),
            samples: AtomicU64::new(0),
        }
    }

    /// Takes all of a batch or nothing. [`Kind::Invalid`] when an index of it points nowhere,
    /// [`Kind::Overloaded`] when a partition can count no further (`u32` rows); it never refuses for lack
    /// of memory, which the store checks by [`Head::bytes`] before the write becomes durable.
    pub fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check().map_err(|defect| StoreError::new(Kind::Invalid, "batch", defect.to_string()))?;
        if batch.profiles.is_empty() {
            return Ok(());
        }
        let of_stream: Vec<Arc<Partition>> = batch.streams.iter().map(|stream| self.partition(stream)).collect();
        let mut groups: Vec<(Arc<Partition>, Vec<u32>)> = Vec::new();
        for (row, &stream) in batch.profiles.stream.iter().enumerate() {
            let partition = &of_stream[stream as usize];
            match groups.iter_mut().find(|(held, _)| Arc::ptr_eq(held, partition)) {
                Some((_, rows)) => rows.push(row as u32),
                None => groups.push((partition.clone(), vec![row as u32])),
            }
        }
        if let Some((full, _)) = groups.iter().find(|(partition, _)| !partition.has_room(batch)) {
            let what = "holds as many rows as can be counted; it will be cut";
            return Err(
                StoreError::new(Kind::Overloaded, full.name(), what).retry_after(std::time::Duration::from_secs(1))
            );
        }

        let pooled = self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let (mut hashes, mut scratch) = pooled.unwrap_or_default();
        hashes.compute(&self.key, &batch.symbols);
        for (partition, rows) in &groups {
            let used = if groups.len() == 1 { Used::All } else { Used::Profiles(rows) };
            let grown = partition.append(&self.key, batch, &hashes, &used, rows, &mut scratch);
            self.bytes.fetch_add(grown, Ordering::Relaxed);
        }
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push((hashes, scratch));
        self.profiles.fetch_add(batch.profiles.len() as u64, Ordering::Relaxed);
        self.samples.fetch_add(batch.samples.stack.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn partition(&self, stream: &Stream) -> Arc<Partition> {
        let service = service_of(stream);
        {
            let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(tenant) = tenants.get(&stream.tenant) {
                if let Some(partition) = tenant.by_service.get(service) {
                    return partition.clone();
                }
                if let (Some(rest), true) = (&tenant.rest, tenant.by_service.len() >= PARTITIONS_MAX - 1) {
                    return rest.clone();
                }
            }
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let tenant = tenants.entry(stream.tenant.clone()).or_default();
        if let Some(partition) = tenant.by_service.get(service) {
            return partition.clone();
        }
        if tenant.by_service.len() >= PARTITIONS_MAX - 1 {
            return tenant
                .rest
                .get_or_insert_with(|| Arc::new(Partition::new(&self.key, "(other services)", &self.trees)))
                .clone();
        }
        let partition = Arc::new(Partition::new(&self.key, service, &self.trees));
        tenant.by_service.insert(service.to_owned(), partition.clone());
        partition
    }

    /// Bytes of trees kept for the next query, at most [`TREE_BYTES_MAX`].
    pub fn tree_bytes(&self) -> u64 {
        self.trees.used()
    }

    /// Bytes held, by capacity, without trees and without what readers have had copied.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn profiles(&self) -> u64 {
        self.profiles.load(Ordering::Relaxed)
    }

    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.profiles() == 0
    }

    /// Snapshots of the partitions of `tenant` that have a profile within `range` (ns, both ends
    /// included; `None` is all), ordered by service. Each is complete: a caller filters its profiles.
    pub fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        self.snapshots(tenant)
            .into_iter()
            .filter(|part| part.overlaps(range))
            .map(|part| part as Arc<dyn Part>)
            .collect()
    }

    pub(crate) fn snapshots(&self, tenant: &str) -> Vec<Arc<HeadPart>> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let Some(tenant) = tenants.get(tenant) else { return Vec::new() };
        let mut held: Vec<&Arc<Partition>> = tenant.by_service.values().chain(&tenant.rest).collect();
        held.sort_by(|a, b| a.service().cmp(b.service()));
        held.into_iter().filter_map(|partition| partition.snapshot()).collect()
    }

    pub(crate) fn tenants(&self) -> Vec<String> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = tenants.keys().cloned().collect();
        names.sort();
        names
    }
}

#[cfg(test)]
mod tests {
    use profile::Dictionary;
    use profile::dictionary::{Binary, Function, Line, Location, Named};

    use super::*;
    use crate::oracle::{self, Rng};

    #[test]
    fn a_head_answers_exactly_like_the_batches_it_was_given() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let head = Head::new([seed, 99]);
            let mut batches = Vec::new();
            for _ in 0..1 + rng.below(5) {
                let batch = oracle::random_batch(&mut rng);
                head.append(&batch).expect("a sound batch");
                batches.push(batch);
                if rng.below(3) == 0 {
                    // a reader that holds a snapshot forces copies
                    let held: Vec<_> = oracle::TENANTS.iter().flat_map(|tenant| head.parts(tenant, None)).collect();
                    let before = oracle::answers(&held);
                    let batch = oracle::random_batch(&mut rng);
                    head.append(&batch).expect("a sound batch");
                    batches.push(batch);
                    assert_eq!(oracle::answers(&held), before, "seed {seed}: a snapshot changed");
                }
            }
            for tenant in oracle::TENANTS {
                let parts = head.parts(tenant, None);
                oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&batches, tenant), seed);
                oracle::check_sums(&parts, &mut rng);
            }
            assert_eq!(head.samples(), batches.iter().map(|batch| batch.samples.stack.len() as u64).sum::<u64>());
            assert!(head.bytes() > 0);
        }
    }

    /// `batch`, its stacks as rows of `dictionary`.
    fn named(mut batch: Batch, dictionary: &Arc<Dictionary>) -> Batch {
        (batch.profiles.mapping_ranges, batch.profiles.extras) = (Vec::new(), Vec::new());
        batch.profiles.mapping_end.fill(0);
        let mut named = Named::default();
        let (symbols, stacks) = (std::mem::take(&mut batch.symbols), std::mem::take(&mut batch.stacks));
        named.texts = (0..symbols.strings.len() as u32).map(|row| symbols.strings.get(row)).collect();
        let of = &symbols.mappings;
        named.mappings.extend((0..of.len()).map(|ix| Binary {
            file: of.file[ix],
            build_id: of.build_id[ix],
            range: of.range(ix),
        }));
        let of = &symbols.functions;
        named.functions.extend((0..of.len()).map(|ix| Function { texts: of.texts(ix), start_line: of.start_line[ix] }));
        let of = &symbols.lines;
        named.lines.extend((0..of.line.len()).map(|ix| Line {
            function: of.function[ix],
            line: of.line[ix],
            column: of.column[ix],
        }));
        let of = &symbols.locations;
        named.locations.extend((0..of.len()).map(|ix| Location {
            address: of.address[ix],
            mapping: of.mapping[ix],
            line_end: of.line_end[ix],
        }));
        (named.frames, named.stack_end) = (stacks.locations, stacks.end);
        let rows = dictionary.lock().rows(&named, |_| None);
        batch.samples.stack.iter_mut().for_each(|stack| *stack = rows[*stack as usize]);
        batch.symbols.strings = symbols.strings;
        batch.dictionary = Some(dictionary.clone());
        batch
    }

    #[test]
    fn a_head_answers_the_same_whether_stacks_are_rows_of_dictionaries_or_not() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let head = Head::new([seed, 99]);
            let key = |ix: u64| HashKey::new([seed + ix % 3, 5]);
            // more than a partition remembers
            let dictionaries: Vec<Arc<Dictionary>> = (0..6).map(|ix| Arc::new(Dictionary::new(key(ix)))).collect();
            let mut batches = Vec::new();
            for _ in 0..12 {
                let mut batch = oracle::random_batch(&mut rng);
                if rng.below(4) != 0 {
                    batch = named(batch, &dictionaries[rng.below(6) as usize]);
                }
                head.append(&batch).expect("a sound batch");
                let own = batch.without_dictionary();
                own.check().expect("a sound batch");
                batches.push(own);
            }
            for tenant in oracle::TENANTS {
                let parts = head.parts(tenant, None);
                oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&batches, tenant), seed);
            }
        }
    }

    #[test]
    fn a_batch_that_points_nowhere_is_refused_and_changes_nothing() {
        let mut rng = Rng::new(1);
        let head = Head::new([1, 2]);
        let mut batch = oracle::random_batch(&mut rng);
        batch.samples.stack.push(u32::MAX);
        let refused = head.append(&batch).expect_err("points nowhere");
        assert_eq!(refused.kind, Kind::Invalid);
        assert!(head.is_empty() && head.bytes() == 0, "nothing was taken");
    }

    #[test]
    fn more_services_than_partitions_share_the_last_one() {
        let head = Head::new([1, 2]);
        let mut rng = Rng::new(5);
        let mut batches = Vec::new();
        for service in 0..PARTITIONS_MAX + 20 {
            let mut batch = oracle::random_batch(&mut rng);
            for stream in &mut batch.streams {
                let labels = [("service".to_owned(), format!("s{service}"))];
                *stream =
                    Stream { tenant: String::new(), labels: profile::Labels::from_pairs(labels), ..stream.clone() };
            }
            head.append(&batch).expect("a sound batch");
            batches.push(batch);
        }
        let parts = head.parts("", None);
        assert_eq!(parts.len(), PARTITIONS_MAX);
        oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&batches, ""), 5);
    }

    #[test]
    fn trees_of_a_state_that_is_gone_give_their_room_back() {
        let head = Head::new([1, 2]);
        let mut rng = Rng::new(8);
        let build = || {
            for part in oracle::TENANTS.iter().flat_map(|tenant| head.parts(tenant, None)) {
                part.name_tree().expect("a head has its tree");
            }
        };
        head.append(&oracle::random_batch(&mut rng)).expect("a sound batch");
        build();
        let first = head.tree_bytes();
        assert!(first > 0);
        for _ in 0..50 {
            head.append(&oracle::random_batch(&mut rng)).expect("a sound batch");
        }
        assert!(head.tree_bytes() == 0, "no reader is left, and all symbols have changed");
        build();
        assert!(head.tree_bytes() > first);
    }

    #[test]
    fn only_partitions_within_the_range_are_given() {
        let head = Head::new([1, 2]);
        let mut rng = Rng::new(8);
        let batch = oracle::random_batch(&mut rng);
        head.append(&batch).expect("a sound batch");
        let tenant = &batch.streams[batch.profiles.stream[0] as usize].tenant;
        assert!(!head.parts(tenant, Some((i64::MIN, i64::MAX))).is_empty());
        let first = *batch.profiles.time.iter().min().expect("profiles");
        if let Some(before) = first.checked_sub(1) {
            assert!(head.parts(tenant, Some((i64::MIN, before))).is_empty());
        }
    }

    #[test]
    fn concurrent_writers_and_readers_lose_nothing() {
        let head = Head::new([1, 2]);
        let batches: Vec<Vec<Batch>> = (0..4)
            .map(|writer| {
                let mut rng = Rng::new(100 + writer);
                (0..10).map(|_| oracle::random_batch(&mut rng)).collect()
            })
            .collect();
        std::thread::scope(|scope| {
            for mine in &batches {
                scope.spawn(|| mine.iter().for_each(|batch| head.append(batch).expect("a sound batch")));
            }
            scope.spawn(|| {
                for _ in 0..10 {
                    for part in head.parts("", None) {
                        part.name_tree().expect("a head has its tree");
                    }
                }
            });
        });
        let all: Vec<Batch> = batches.into_iter().flatten().collect();
        for tenant in oracle::TENANTS {
            let parts = head.parts(tenant, None);
            oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&all, tenant), 0);
        }
    }
}
