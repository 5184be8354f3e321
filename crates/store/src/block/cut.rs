//! A head as blocks: one per tenant and time window, partition by partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use profile::{ValueType, tree};

use super::contents::{Gathering, SeenSets};
use super::meta::{BlockFile, BlockMeta, FORMAT_VERSION, PartitionMeta, SampleFileMeta};
use super::profiles::{PROFILES_FILE, ProfileRows, ProfileWriter};
use super::samples::SampleWriter;
use super::subset::Subset;
use super::symbols;
use super::tables::TableWriter;
use crate::error::StoreError;
use crate::head::{Head, HeadPart};

pub(crate) const SYMBOLS_FILE: &str = "symbols.arrows";

/// Sets of sample types with a file of their own; what is beyond shares the generic file.
pub const SAMPLE_FILES_MAX: usize = 64;

/// An encoded block: its description, and its files but `meta.json`.
pub struct CutBlock {
    pub meta: BlockMeta,
    pub files: Vec<(String, Bytes)>,
}

impl Head {
    /// The whole head as blocks, handed over one at a time: one for each tenant and each aligned window of
    /// `window_ns` that a profile's time falls into, so that one late profile does not widen a block. In
    /// memory are the head and one encoded block, about a third of its samples' share.
    pub fn cut(
        &self,
        window_ns: i64,
        sink: &mut dyn FnMut(CutBlock) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let window_ns = window_ns.max(1);
        for tenant in self.tenants() {
            let parts = self.snapshots(&tenant);
            let times = || parts.iter().flat_map(|part| &part.rows.table.time);
            let windows: BTreeSet<i64> = times().map(|time| time.div_euclid(window_ns)).collect();
            for window in windows {
                let sources = parts.iter().filter_map(|part| {
                    let times = part.rows.table.time.iter().enumerate();
                    let within = times.filter(|(_, time)| time.div_euclid(window_ns) == window);
                    let rows: Vec<u32> = within.map(|(row, _)| row as u32).collect();
                    (!rows.is_empty()).then(|| PartitionSource::new(part.clone(), rows))
                });
                sink(encode(&tenant, sources.collect())?)?;
            }
        }
        Ok(())
    }
}

/// Profiles of one partition, in the order of the block.
struct PartitionSource {
    part: Arc<HeadPart>,
    rows: Vec<u32>,
    /// The streams of these profiles, sorted, and per stream of the part its place among them.
    streams: Vec<u32>,
    place: Vec<u32>,
}

impl PartitionSource {
    fn new(part: Arc<HeadPart>, mut rows: Vec<u32>) -> Self {
        let table = &part.rows.table;
        let mut used = vec![false; part.streams.len()];
        rows.iter().for_each(|&row| used[table.stream[row as usize] as usize] = true);
        let mut streams: Vec<u32> = (0..used.len() as u32).filter(|&stream| used[stream as usize]).collect();
        streams.sort_by(|&a, &b| part.streams[a as usize].cmp(&part.streams[b as usize]));
        let mut place = vec![0; used.len()];
        streams.iter().enumerate().for_each(|(at, &stream)| place[stream as usize] = at as u32);
        // by arrival among equal times
        rows.sort_by_key(|&row| (place[table.stream[row as usize] as usize], table.time[row as usize], row));
        Self { part, rows, streams, place }
    }

    fn types(&self, row: u32) -> &[ValueType] {
        let stream = self.part.rows.table.stream[row as usize];
        &self.part.streams[stream as usize].sample_types
    }
}

/// Which samples file each set of sample types goes to.
struct SampleFiles {
    by_types: BTreeMap<Vec<ValueType>, usize>,
    writers: Vec<SampleWriter>,
    generic: Option<usize>,
}

impl SampleFiles {
    /// Looks at all profiles first: a column is left out only if no profile needs it.
    fn plan(sources: &[PartitionSource]) -> Result<Self, StoreError> {
        let mut scaled_by_types: BTreeMap<&[ValueType], Vec<bool>> = BTreeMap::new();
        for source in sources {
            for &row in &source.rows {
                let run = source.part.run(row as usize);
                let scaled = scaled_by_types.entry(source.types(row)).or_insert_with(|| {
                    let mut scaled = vec![true; run.scales.len()];
                    scaled[0] = false;
                    scaled
                });
                scaled.iter_mut().zip(&run.scales).for_each(|(scaled, scale)| *scaled &= scale.is_some());
            }
        }
        let own = match scaled_by_types.len() {
            all if all <= SAMPLE_FILES_MAX => all,
            _ => SAMPLE_FILES_MAX - 1,
        };
        let mut files = Self { by_types: BTreeMap::new(), writers: Vec::new(), generic: None };
        for (types, scaled) in scaled_by_types.iter().take(own) {
            files.by_types.insert(types.to_vec(), files.writers.len());
            files.writers.push(SampleWriter::new(files.writers.len(), types, scaled)?);
        }
        if own < scaled_by_types.len() {
            files.generic = Some(files.writers.len());
            files.writers.push(SampleWriter::generic(files.writers.len())?);
        }
        Ok(files)
    }

    /// The file of these types, and whether it is the generic one.
    fn of(&self, types: &[ValueType]) -> (usize, bool) {
        match (self.by_types.get(types), self.generic) {
            (Some(&own), _) => (own, false),
            (None, generic) => (generic.unwrap_or_default(), true),
        }
    }
}

fn encode(tenant: &str, sources: Vec<PartitionSource>) -> Result<CutBlock, StoreError> {
    let mut meta = BlockMeta {
        version: FORMAT_VERSION,
        tenant: tenant.to_owned(),
        min_time: i64::MAX,
        max_time: i64::MIN,
        profiles: 0,
        samples: 0,
        stacks: 0,
        contents: None,
        partitions: Vec::new(),
        sample_files: Vec::new(),
        files: Vec::new(),
    };
    let mut sample_files = SampleFiles::plan(&sources)?;
    let mut profiles = ProfileWriter::new();
    let mut symbols = Vec::new();
    let mut contents = Gathering::default();
    for source in sources {
        encode_partition(&source, &mut meta, &mut contents, &mut sample_files, &mut profiles, &mut symbols)?;
    }
    meta.contents = Some(contents.finish());

    let mut block = CutBlock { meta, files: Vec::new() };
    block.add(PROFILES_FILE.to_owned(), profiles.finish()?);
    block.add(SYMBOLS_FILE.to_owned(), symbols);
    for writer in sample_files.writers {
        let (of_file, bytes): (SampleFileMeta, Vec<u8>) = writer.finish()?;
        block.add(of_file.name.clone(), bytes);
        block.meta.sample_files.push(of_file);
    }
    Ok(block)
}

impl CutBlock {
    fn add(&mut self, name: String, bytes: Vec<u8>) {
        self.meta.files.push(BlockFile::of(&name, &bytes));
        self.files.push((name, bytes.into()));
    }
}

fn encode_partition(
    source: &PartitionSource,
    meta: &mut BlockMeta,
    contents: &mut Gathering,
    sample_files: &mut SampleFiles,
    profiles: &mut ProfileWriter,
    out: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let PartitionSource { part, rows, streams, place } = source;
    let subset = Subset::of(part, rows);
    let from = &part.rows.table;
    let first_stream = profiles.first_stream();
    let mut to = ProfileRows {
        streams: streams.iter().map(|&stream| part.streams[stream as usize].clone()).collect(),
        ..ProfileRows::default()
    };
    let mut stream_sets: Vec<SeenSets> = to.streams.iter().map(|of| SeenSets::new(of.sample_types.len())).collect();
    let mut samples = 0u64;
    let (mut min_time, mut max_time) = (i64::MAX, i64::MIN);
    for &row in rows {
        let types = source.types(row);
        let row = row as usize;
        let stream = place[from.stream[row] as usize];
        let (file, is_generic) = sample_files.of(types);
        let writer = &mut sample_files.writers[file];
        to.first_row.push(writer.rows());
        to.file.push(file as u32);
        to.export.push(subset.export(part.rows.export[row]));
        let run = part.run(row);
        to.scale.extend(&run.scales);
        let sets = &mut stream_sets[stream as usize];
        let in_block = first_stream + stream;
        if is_generic {
            for (value_row, of) in types.iter().enumerate() {
                let of: Arc<str> = format!("{}/{}", of.kind, of.unit).into();
                part.run(row).each(from.samples[row], value_row, |stack, set, time, value| {
                    let (stack, set) = (subset.stack(stack), subset.label_set(set));
                    sets.note(set, value_row, value);
                    writer.push_typed(in_block, time, stack, set, value, &of);
                });
            }
        } else {
            run.each_row(from.samples[row], |stack, set, time, values| {
                let (stack, set) = (subset.stack(stack), subset.label_set(set));
                for (value_row, &value) in values.iter().enumerate() {
                    sets.note(set, value_row, value);
                }
                writer.push(in_block, time, stack, set, values);
            });
        }
        writer.flush_full()?;

        let table = &mut to.table;
        table.stream.push(stream);
        table.time.push(from.time[row]);
        table.time_max.push(from.time_max[row]);
        table.duration.push(from.duration[row]);
        table.period.push(from.period[row]);
        table.samples.push(from.samples[row]);
        for value in 0..types.len() {
            let (total, nonzero) = from.total(row, value);
            table.totals.push(total);
            table.nonzero.push(nonzero);
        }
        table.total_end.push(table.totals.len() as u32);
        samples += u64::from(from.samples[row]);
        min_time = min_time.min(from.time[row]);
        max_time = max_time.max(from.time_max[row]);
    }
    profiles.write(&to)?;

    let mut tables = TableWriter { out, tables: BTreeMap::new() };
    {
        // the head's trees fit only where nothing was left out
        let (name_tree, location_tree) = match part.built_trees().filter(|_| subset.stacks.is_none()) {
            Some(built) => built,
            None => {
                let tree::Trees { name, location } = tree::build(&subset.symbols.symbols, &subset.symbols.stacks);
                (Arc::new(name), Arc::new(location))
            }
        };
        symbols::write_symbols(&mut tables, &subset.symbols.symbols, &name_tree, &location_tree)?;
    }
    let of_streams: Vec<Vec<u32>> = stream_sets.iter().map(SeenSets::all).collect();
    symbols::write_label_sets(&mut tables, &subset.label_sets, &of_streams)?;
    contents.add(&to.streams, &stream_sets, &subset.label_sets);
    symbols::write_exports(&mut tables, &subset.exports)?;
    let tables = tables.tables;

    let stacks = subset.symbols.stacks.len() as u64;
    meta.partitions.push(PartitionMeta {
        service: part.service.clone(),
        min_time,
        max_time,
        first_profile: meta.profiles,
        profiles: rows.len() as u64,
        samples,
        stacks,
        tables,
    });
    meta.profiles += rows.len() as u64;
    meta.samples += samples;
    meta.stacks += stacks;
    meta.min_time = meta.min_time.min(min_time);
    meta.max_time = meta.max_time.max(max_time);
    Ok(())
}
