//! Rows of a block, to profiles.

use std::sync::{Arc, LazyLock};

use profile::pprof::Limits;
use profile::{Batch, Labels, MappingRange, NONE, Profiles, Samples, Stream, ValueType};

use super::Defect;
use super::column::{Column, TextAt};
use super::location::{Layout, Location, decode};
use super::schema::{Open, Owner, Schema, TYPES};
use crate::demangle::name_functions;
use crate::error::IngestError;
use crate::tables::{Map, SampleLabel, Tables, relative};

/// Of a batch; it goes on to where a profile ends.
const ROWS: usize = 64 << 10;
/// ... but not for ever.
const ROWS_MAX: usize = 4 * ROWS;
/// Locations of a batch's stacks.
const FRAMES: usize = 4 << 20;
/// Bytes of a batch's symbols.
const SYMBOL_BYTES: usize = 16 << 20;

/// Locations of a batch, and lines, and half of its strings: half of what it may have, since a row may bring many.
const LOCATIONS: usize = 512 << 10;
/// Binaries of a batch; half, too.
const MAPPINGS: usize = 32 << 10;

/// Rows that are read for one batch: those that must be left out do not fill it.
pub(super) const READ_MAX: u64 = 1 << 20;

/// So many profiles of a type that have, on average, fewer samples than this are no profiles but samples with times.
const PROFILES_MIN: usize = 64;
const SAMPLES_MIN: usize = 4;

/// Samples with times form profiles of this length, as an agent's messages do. ns
const SLICE: i64 = 10_000_000_000;

/// Of a batch; none of it is met where rows are sound but by a stack that is deeper than any.
static LIMITS: LazyLock<Limits> = LazyLock::new(|| Limits {
    samples: ROWS_MAX,
    frames: FRAMES + Limits::default().stack_depth,
    unpacked_bytes: 2 * SYMBOL_BYTES,
    ..crate::stamped_limits()
});

/// What the rows of profiles have in common but for labels and time. Texts are rows of the batch's strings.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Family {
    types: [u32; TYPES.len()],
    period: i64,
    duration: i64,
}

/// Rows of a batch that grows.
pub(super) struct Rows {
    schema: Arc<Schema>,
    symbols: Symbols,
    texts: Vec<Memo>,
    frames: Memo,
    families: Vec<Family>,
    family_ids: Map<Family, u32>,
    /// A text for each label of the schema; 0 for none.
    label_runs: Vec<Box<[u32]>>,
    label_ids: Map<Box<[u32]>, u32>,
    /// Of each row: its family and its labels.
    kind: Vec<(u32, u32)>,
    time: Vec<i64>,
    value: Vec<i64>,
    stack: Vec<u32>,
    scratch: (Vec<u32>, Vec<u32>),
}

/// What the values of a column's table became.
#[derive(Default)]
struct Memo {
    table: u32,
    known: Vec<u32>,
}

impl Memo {
    fn get(&mut self, at: TextAt) -> &mut u32 {
        if self.table != at.table {
            self.known.clear();
            self.table = at.table;
        }
        let number = at.number as usize;
        if self.known.len() <= number {
            self.known.resize(number + 1, NONE);
        }
        &mut self.known[number]
    }

    /// Tables of another row group have the same numbers.
    fn forget(&mut self) {
        self.known.clear();
    }
}

/// Symbols of the batch, each once.
struct Symbols {
    tables: Tables<'static>,
    strings: Map<Box<[u8]>, u32>,
    functions: Map<(u32, u32, u32, i64), u32>,
    locations: Map<Box<[u8]>, u32>,
    /// Of each location, where its mapping lay: a row of `ranges`.
    range_of: Vec<u32>,
    ranges: Vec<MappingRange>,
    range_ids: Map<(u32, [u64; 3]), u32>,
}

impl Rows {
    pub(super) fn new(schema: &Arc<Schema>) -> Self {
        let symbols = Symbols {
            tables: Tables::new(&LIMITS),
            strings: Map::default(),
            functions: Map::default(),
            locations: Map::default(),
            range_of: Vec::new(),
            ranges: Vec::new(),
            range_ids: Map::default(),
        };
        Self {
            schema: schema.clone(),
            symbols,
            texts: (0..TYPES.len() + schema.labels.len()).map(|_| Memo::default()).collect(),
            frames: Memo::default(),
            families: Vec::new(),
            family_ids: Map::default(),
            label_runs: Vec::new(),
            label_ids: Map::default(),
            kind: Vec::new(),
            time: Vec::new(),
            value: Vec::new(),
            stack: Vec::new(),
            scratch: Default::default(),
        }
    }

    /// Whether the batch should end where its last profile does.
    pub(super) fn is_full(&self) -> bool {
        self.stack.len() >= ROWS || self.is_over_full()
    }

    pub(super) fn is_over_full(&self) -> bool {
        let of = &self.symbols.tables.symbols;
        self.stack.len() >= ROWS_MAX
            || self.symbols.tables.stacks.locations.len() >= FRAMES
            || of.strings.bytes.len() >= SYMBOL_BYTES
            || of.strings.len() >= 2 * LOCATIONS
            || of.locations.len() >= LOCATIONS
            || of.lines.line.len() >= LOCATIONS
            || of.mappings.len() >= MAPPINGS
    }

    pub(super) fn last_time(&self) -> Option<i64> {
        self.time.last().copied()
    }

    /// The columns of another row group follow.
    pub(super) fn begin_group(&mut self) {
        self.texts.iter_mut().for_each(Memo::forget);
        self.frames.forget();
    }

    /// Takes the next row; gives the reason if it cannot be kept. After an error the columns are no longer at one row.
    pub(super) fn read(&mut self, open: &mut Open<'_>, layout: Layout) -> Result<Option<String>, Defect> {
        let mut family =
            Family { types: [0; TYPES.len()], period: open.period.number()?, duration: open.duration.number()? };
        let (time, value) = (open.time()?, open.value.number()?);
        let (mut labels, mut frames) = std::mem::take(&mut self.scratch);
        labels.clear();
        frames.clear();
        let mut refused = None;
        let symbols = &mut self.symbols;
        let memos = self.texts.iter_mut();
        for (column, memo) in open.types.iter_mut().chain(&mut open.labels).zip(memos) {
            let text = match column.text_at()? {
                None => 0,
                Some(at) => {
                    let known = memo.get(at);
                    if *known == NONE {
                        match symbols.string(column.text(at).unwrap_or_default()) {
                            Ok(ix) => *known = ix,
                            Err(error) => refused = Some(error.message),
                        }
                    }
                    if *known == NONE { 0 } else { *known }
                }
            };
            labels.push(text);
        }
        let memo = &mut self.frames;
        open.stacktrace.list(|column, at| {
            let known = memo.get(at);
            if *known == NONE && refused.is_none() {
                match symbols.location(column, at, layout) {
                    Ok(location) => *known = location,
                    Err(reason) => refused = Some(reason),
                }
            }
            frames.push(*known);
            Ok(())
        })?;
        if refused.is_none() {
            match symbols.tables.stack(&frames) {
                Ok(stack) => {
                    family.types.copy_from_slice(&labels[..TYPES.len()]);
                    let kind = (self.family(family), self.labels(&labels[TYPES.len()..]));
                    self.kind.push(kind);
                    self.time.push(time);
                    self.value.push(value);
                    self.stack.push(stack);
                }
                Err(error) => refused = Some(error.message),
            }
        }
        self.scratch = (labels, frames);
        Ok(refused)
    }

    fn family(&mut self, family: Family) -> u32 {
        // rows are sorted by type: it is mostly the last one
        if let Some(&(last, _)) = self.kind.last()
            && self.families[last as usize] == family
        {
            return last;
        }
        let next = self.families.len() as u32;
        let id = *self.family_ids.entry(family.clone()).or_insert(next);
        if id == next {
            self.families.push(family);
        }
        id
    }

    fn labels(&mut self, run: &[u32]) -> u32 {
        if let Some(&(_, last)) = self.kind.last()
            && *self.label_runs[last as usize] == *run
        {
            return last;
        }
        intern(&mut self.label_runs, &mut self.label_ids, run)
    }

    pub(super) fn into_batch(mut self) -> Batch {
        let stamped = self.stamped();
        let mut grouped = Grouped::default();
        let mut split: Map<(u32, bool), (u32, u32)> = Map::default();
        let (mut profile_of, mut set_of) = (Vec::with_capacity(self.kind.len()), Vec::with_capacity(self.kind.len()));
        for (row, &(family, labels)) in self.kind.iter().enumerate() {
            let stamped = stamped[family as usize];
            let (series, set) = match split.get(&(labels, stamped)) {
                Some(&known) => known,
                None => {
                    let parts = split_labels(
                        &self.schema,
                        &mut self.symbols,
                        &mut self.label_runs,
                        &mut self.label_ids,
                        labels,
                        stamped,
                    );
                    split.insert((labels, stamped), parts);
                    parts
                }
            };
            let time = self.time[row];
            let slice = if stamped { time.div_euclid(SLICE) } else { time };
            profile_of.push(grouped.profile(Key { family, series, slice }));
            set_of.push(set);
        }
        self.assemble(grouped, &profile_of, &set_of, &stamped)
    }

    /// Whether the samples of each family have times of their own.
    fn stamped(&self) -> Vec<bool> {
        let mut rows = vec![0usize; self.families.len()];
        let mut profiles = vec![0usize; self.families.len()];
        let mut seen: Map<(u32, u32, i64), ()> = Map::default();
        let mut last = None;
        for (&(family, labels), &time) in self.kind.iter().zip(&self.time) {
            rows[family as usize] += 1;
            let key = (family, labels, time);
            if last != Some(key) && seen.insert(key, ()).is_none() {
                profiles[family as usize] += 1;
            }
            last = Some(key);
        }
        let families = self.families.iter().zip(rows.iter().zip(&profiles));
        families
            .map(|(family, (rows, &profiles))| {
                family.duration != 0 && profiles >= PROFILES_MIN && *rows < SAMPLES_MIN * profiles
            })
            .collect()
    }

    fn assemble(self, grouped: Grouped, profile_of: &[u32], set_of: &[u32], stamped: &[bool]) -> Batch {
        let Self { schema, symbols, families, label_runs, time, value, stack, .. } = self;
        let Symbols { tables, range_of, ranges, .. } = symbols;
        let mut profiles = Profiles::default();
        let mut streams: Vec<Stream> = Vec::new();
        let mut stream_ids: Map<([u32; TYPES.len()], bool, u32), u32> = Map::default();
        for key in &grouped.keys {
            let family = &families[key.family as usize];
            let delta = family.duration != 0;
            let id = *stream_ids.entry((family.types, delta, key.series)).or_insert_with(|| {
                let [name, sample_type, sample_unit, period_type, period_unit] =
                    family.types.map(|text| tables.text(text));
                let run = schema.labels.iter().zip(&label_runs[key.series as usize]);
                streams.push(Stream {
                    tenant: String::new(),
                    name,
                    labels: Labels::from_pairs(run.map(|(label, &text)| (label.name.clone(), tables.text(text)))),
                    period_type: ValueType::new(period_type, period_unit),
                    delta,
                    sample_types: vec![ValueType::new(sample_type, sample_unit)],
                });
                streams.len() as u32 - 1
            });
            profiles.stream.push(id);
            profiles.duration.push(family.duration);
            profiles.period.push(family.period);
        }

        // rows by profile, in order within each
        let mut end = vec![0u32; grouped.keys.len()];
        profile_of.iter().for_each(|&profile| end[profile as usize] += 1);
        let mut next: Vec<u32> = Vec::with_capacity(end.len());
        let mut sum = 0;
        for count in &mut end {
            next.push(sum);
            sum += *count;
            *count = sum;
        }
        let mut order = vec![0u32; profile_of.len()];
        for (row, &profile) in profile_of.iter().enumerate() {
            let at = &mut next[profile as usize];
            order[*at as usize] = row as u32;
            *at += 1;
        }
        let by_profile = |column: &[i64]| -> Vec<i64> { order.iter().map(|&row| column[row as usize]).collect() };
        let mut samples = Samples {
            stack: order.iter().map(|&row| stack[row as usize]).collect(),
            label_set: Vec::new(),
            values: by_profile(&value),
            time: by_profile(&time),
        };
        if set_of.iter().any(|&set| set != 0) {
            samples.label_set = order.iter().map(|&row| set_of[row as usize]).collect();
        }

        let mut last_profile = vec![NONE; ranges.len()];
        let mut start = 0;
        for (profile, &end) in end.iter().enumerate() {
            let rows = start as usize..end as usize;
            start = end;
            let times = &samples.time[rows.clone()];
            profiles.time.push(times.iter().copied().min().unwrap_or(0));
            profiles.time_max.push(times.iter().copied().max().unwrap_or(0));
            for &stack in &samples.stack[rows] {
                for &location in tables.stacks.get(stack) {
                    let range = range_of[location as usize];
                    if range != NONE && last_profile[range as usize] != profile as u32 {
                        last_profile[range as usize] = profile as u32;
                        profiles.mapping_ranges.push(ranges[range as usize]);
                    }
                }
            }
            profiles.mapping_end.push(profiles.mapping_ranges.len() as u32);
        }
        profiles.sample_end = end;
        if !stamped.contains(&true) {
            samples.time = Vec::new();
        }
        let mut batch = Batch { streams, profiles, samples, ..tables.into_batch() };
        name_functions(&mut batch.symbols);
        batch
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    family: u32,
    /// Labels of the series.
    series: u32,
    /// The profile's time, or a slice of it.
    slice: i64,
}

#[derive(Default)]
struct Grouped {
    keys: Vec<Key>,
    ids: Map<Key, u32>,
    last: u32,
}

impl Grouped {
    fn profile(&mut self, key: Key) -> u32 {
        if self.keys.get(self.last as usize) != Some(&key) {
            let next = self.keys.len() as u32;
            self.last = *self.ids.entry(key).or_insert(next);
            if self.last == next {
                self.keys.push(key);
            }
        }
        self.last
    }
}

/// The labels of the series, and the label set of the samples.
fn split_labels(
    schema: &Schema,
    symbols: &mut Symbols,
    runs: &mut Vec<Box<[u32]>>,
    ids: &mut Map<Box<[u32]>, u32>,
    labels: u32,
    stamped: bool,
) -> (u32, u32) {
    let mut series = runs[labels as usize].to_vec();
    let mut set: Vec<SampleLabel> = Vec::new();
    for (label, text) in schema.labels.iter().zip(&mut series) {
        let of_sample = label.owner == Owner::Sample || (stamped && label.owner == Owner::Either);
        if *text == 0 || !of_sample {
            continue;
        }
        // over the limit on symbols a label is lost, and nothing else
        if let Ok(name) = symbols.string(label.name.as_bytes()) {
            set.push((name, *text, 0, 0));
        }
        *text = 0;
    }
    set.sort_unstable();
    let set = symbols.tables.label_set(&set).unwrap_or(0);
    (intern(runs, ids, &series), set)
}

fn intern(runs: &mut Vec<Box<[u32]>>, ids: &mut Map<Box<[u32]>, u32>, run: &[u32]) -> u32 {
    if let Some(&id) = ids.get(run) {
        return id;
    }
    let id = runs.len() as u32;
    runs.push(run.into());
    ids.insert(run.into(), id);
    id
}

impl Symbols {
    fn string(&mut self, text: &[u8]) -> Result<u32, IngestError> {
        if text.is_empty() {
            return Ok(0);
        }
        if let Some(&ix) = self.strings.get(text) {
            return Ok(ix);
        }
        let ix = self.tables.new_string(text)?;
        self.strings.insert(text.into(), ix);
        Ok(ix)
    }

    fn location(&mut self, column: &Column<'_>, at: TextAt, layout: Layout) -> Result<u32, String> {
        let bytes = column.text(at).unwrap_or_default();
        if let Some(&known) = self.locations.get(bytes) {
            return Ok(known);
        }
        let mut location = Location::default();
        decode(bytes, layout, &mut location).ok_or("a frame is encoded in a way that no Parca uses")?;
        let lines = self.tables.symbols.lines.line.len();
        let ix = self.new_location(&location).map_err(|error| {
            // the next location must not get them
            let of = &mut self.tables.symbols.lines;
            of.function.truncate(lines);
            of.line.truncate(lines);
            of.column.truncate(lines);
            error.message
        })?;
        self.locations.insert(bytes.into(), ix);
        Ok(ix)
    }

    fn new_location(&mut self, of: &Location<'_>) -> Result<u32, IngestError> {
        let (mut mapping, mut range, mut address) = (NONE, NONE, of.address);
        if let Some(found) = of.mapping {
            let place = [found.start, found.start.wrapping_add(found.length), found.offset];
            if !of.is_stable {
                address = relative(address, place);
            }
            let (file, build_id) = (self.string(found.file)?, self.string(found.build_id)?);
            mapping = self.tables.mapping(file, build_id, place)?;
            let next = self.ranges.len() as u32;
            range = *self.range_ids.entry((mapping, place)).or_insert(next);
            if range == next {
                let [start, limit, offset] = place;
                self.ranges.push(MappingRange { mapping, start, limit, offset });
            }
        }
        for line in &of.lines {
            let function = match line.function {
                None => NONE,
                Some(function) => {
                    // what an agent sent in Arrow has the linker's name alone
                    let name = if function.name.is_empty() { function.system_name } else { function.name };
                    let (name, system) = (self.string(name)?, self.string(function.system_name)?);
                    let file = self.string(function.file)?;
                    self.function(name, system, file, function.start_line)?
                }
            };
            self.tables.line(function, line.line, line.column)?;
        }
        let ix = self.tables.location(mapping, address)?;
        self.range_of.push(range);
        Ok(ix)
    }

    fn function(&mut self, name: u32, system: u32, file: u32, start_line: i64) -> Result<u32, IngestError> {
        let key = (name, system, file, start_line);
        if let Some(&known) = self.functions.get(&key) {
            return Ok(known);
        }
        let ix = self.tables.function(name, system, file, start_line)?;
        self.functions.insert(key, ix);
        Ok(ix)
    }
}
