//! Interning by content: string -> function -> location -> stack, computed upward.
//!
//! First all content hashes of a batch, without the lock; then one probe per location, and only where a
//! location is new one per function and string; then one hash and one probe per stack. A known profile
//! costs its hashes, its location probes and its stack probes.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use profile::content::{Domain, HashKey, Table};
use profile::{Batch, Dictionary, LabelSets, MappingRange, NONE, Strings, Symbols};

use crate::part::{PartLabelSets, PartSymbols};

/// Stands for an absent mapping or function within a hash.
const ABSENT: u128 = 0x5bd1_e995_7f4a_7c15_0123_4567_89ab_cdef;

/// Content hashes of a batch's symbols. Reused from batch to batch.
#[derive(Default)]
pub(crate) struct Hashes {
    strings: Vec<u128>,
    mappings: Vec<u128>,
    functions: Vec<u128>,
    locations: Vec<u128>,
}

impl Hashes {
    pub(crate) fn compute(&mut self, key: &HashKey, symbols: &Symbols) {
        let Symbols { strings, mappings, functions, lines, locations } = symbols;
        self.strings.clear();
        self.strings.extend((0..strings.len() as u32).map(|ix| key.bytes(Domain::String, strings.get(ix))));
        let string = &self.strings;

        self.mappings.clear();
        self.mappings.extend((0..mappings.len()).map(|ix| {
            let mut hasher = key.start(Domain::Mapping);
            hasher.child(string[mappings.file[ix] as usize]);
            hasher.child(string[mappings.build_id[ix] as usize]);
            hasher.finish(0)
        }));

        self.functions.clear();
        self.functions.extend((0..functions.len()).map(|ix| {
            let mut hasher = key.start(Domain::Function);
            hasher.child(string[functions.name[ix] as usize]);
            hasher.child(string[functions.system_name[ix] as usize]);
            hasher.child(string[functions.filename[ix] as usize]);
            hasher.finish(functions.start_line[ix] as u64)
        }));

        let child = |hashes: &[u128], ix: u32| if ix == NONE { ABSENT } else { hashes[ix as usize] };
        let (mapping_hashes, function_hashes) = (&self.mappings, &self.functions);
        self.locations.clear();
        self.locations.extend((0..locations.len()).map(|ix| {
            let mut hasher = key.start(Domain::Location);
            hasher.child(child(mapping_hashes, locations.mapping[ix]));
            let run = locations.lines(ix as u32);
            let count = (run.len() as u64) << 1 | u64::from(locations.is_folded[ix]);
            hasher.mix(locations.address[ix], count);
            for line in run {
                hasher.child(child(function_hashes, lines.function[line]));
                hasher.mix(lines.line[line] as u64, lines.column[line] as u64);
            }
            hasher.finish(0)
        }));
    }
}

/// What a batch's rows are called in the partition. Reused from batch to batch.
#[derive(Default)]
pub(crate) struct Ids {
    locations: Vec<u32>,
    stack_hashes: Vec<u128>,
    /// Per stack of the batch; [`NONE`] where no sample at hand uses it.
    pub(crate) stacks: Vec<u32>,
    /// Per label set of the batch; [`NONE`] where no sample at hand uses it.
    pub(crate) label_sets: Vec<u32>,
}

/// Which rows of a batch a partition takes.
pub(crate) enum Used<'a> {
    All,
    /// Rows of the batch's profiles.
    Profiles(&'a [u32]),
}

/// The symbols and stacks of a partition, and the tables that find them by content.
pub(crate) struct Interner {
    /// Copied on write where a reader holds it.
    pub(crate) symbols: Arc<PartSymbols>,
    pub(crate) label_sets: Arc<PartLabelSets>,
    strings: Table,
    mappings: Table,
    functions: Table,
    locations: Table,
    stacks: Table,
    label_strings: Table,
    label_set_ids: Table,
    /// The one used last is the first.
    named: Vec<Named>,
}

/// Dictionaries that a partition has names for: as many as decoders take turns with.
const NAMED_MAX: usize = 4;

type Names = HashMap<u32, u32, RandomState>;

/// What the rows of a dictionary that the partition has met are called in it.
#[derive(Default)]
struct Named {
    dictionary: u64,
    locations: Names,
    stacks: Names,
}

impl Interner {
    pub(crate) fn new(key: &HashKey) -> Self {
        let mut strings = Table::default();
        strings.insert(key.bytes(Domain::String, b""), 0);
        let mut label_strings = Table::default();
        label_strings.insert(key.bytes(Domain::String, b""), 0);
        let mut label_set_ids = Table::default();
        label_set_ids.insert(key.start(Domain::LabelSet).finish(0), 0);
        let mut symbols = PartSymbols::default();
        symbols.symbols.strings = Strings::with_empty();
        Self {
            symbols: Arc::new(symbols),
            label_sets: Arc::new(PartLabelSets { strings: Strings::with_empty(), sets: LabelSets::with_empty() }),
            strings,
            mappings: Table::default(),
            functions: Table::default(),
            locations: Table::default(),
            stacks: Table::default(),
            label_strings,
            label_set_ids,
            named: Vec::new(),
        }
    }

    /// Whether `batch` would still be countable with `u32` if all of it were new.
    pub(crate) fn has_room(&self, batch: &Batch) -> bool {
        let PartSymbols { symbols, stacks } = &*self.symbols;
        if let Some(dictionary) = &batch.dictionary {
            // no row of it takes less than a byte
            let new = usize::try_from(dictionary.bytes()).unwrap_or(usize::MAX);
            let tables = [stacks.len(), stacks.locations.len(), symbols.lines.line.len(), symbols.strings.len()];
            return tables.into_iter().all(|held| fits(held, new))
                && fits(symbols.strings.bytes.len(), new.saturating_mul(3))
                && self.has_room_for_label_sets(batch);
        }
        // a replaced byte may take three
        fits(symbols.strings.bytes.len(), batch.symbols.strings.bytes.len().saturating_mul(3))
            && fits(symbols.strings.len(), batch.symbols.strings.len())
            && fits(symbols.lines.line.len(), batch.symbols.lines.line.len())
            && fits(stacks.locations.len(), batch.stacks.locations.len())
            && fits(stacks.len(), batch.stacks.len())
            && self.has_room_for_label_sets(batch)
    }

    fn has_room_for_label_sets(&self, batch: &Batch) -> bool {
        fits(self.label_sets.strings.bytes.len(), batch.symbols.strings.bytes.len().saturating_mul(3))
            && fits(self.label_sets.sets.key.len(), batch.label_sets.key.len())
    }

    /// Interns locations and stacks; returns whether any was new. `ids.stacks` tells what they are called.
    pub(crate) fn intern(
        &mut self,
        key: &HashKey,
        batch: &Batch,
        hashes: &Hashes,
        used: &Used<'_>,
        ids: &mut Ids,
    ) -> bool {
        // 1. which stacks and locations are asked for
        let (stack_count, location_count) = (batch.stacks.len(), batch.symbols.locations.len());
        let mut stack_used = Vec::new();
        let mut location_used = Vec::new();
        if let Used::Profiles(rows) = used {
            stack_used.resize(stack_count, false);
            location_used.resize(location_count, false);
            for &row in *rows {
                for sample in batch.profiles.samples(row as usize) {
                    stack_used[batch.samples.stack[sample] as usize] = true;
                }
            }
            for stack in (0..stack_count).filter(|&stack| stack_used[stack]) {
                for &location in batch.stacks.get(stack as u32) {
                    location_used[location as usize] = true;
                }
            }
        }
        let wanted = |flags: &[bool], ix: usize| flags.is_empty() || flags[ix];

        // 2. all location probes, then what is missing
        let mut changed = false;
        ids.locations.clear();
        ids.locations.extend(hashes.locations.iter().map(|&hash| self.locations.find(hash).unwrap_or(NONE)));
        for ix in 0..location_count {
            if ids.locations[ix] == NONE && wanted(&location_used, ix) {
                changed = true;
                ids.locations[ix] = self.add_location(&batch.symbols, hashes, ix);
            }
        }

        // 3. all stack hashes, all stack probes, then what is missing
        let location_ids = &ids.locations;
        ids.stack_hashes.clear();
        ids.stack_hashes.extend((0..stack_count).map(|stack| {
            let run = batch.stacks.get(stack as u32);
            key.ids(Domain::Stack, run.iter().map(|&location| location_ids[location as usize]))
        }));
        ids.stacks.clear();
        ids.stacks.extend(ids.stack_hashes.iter().map(|&hash| self.stacks.find(hash).unwrap_or(NONE)));
        let mut run = Vec::new();
        for stack in 0..stack_count {
            if ids.stacks[stack] != NONE || !wanted(&stack_used, stack) {
                continue;
            }
            let hash = ids.stack_hashes[stack];
            // an equal stack may stand earlier in the batch
            if let Some(id) = self.stacks.find(hash) {
                ids.stacks[stack] = id;
                continue;
            }
            changed = true;
            run.clear();
            run.extend(batch.stacks.get(stack as u32).iter().map(|&location| location_ids[location as usize]));
            ids.stacks[stack] = self.add_stack(hash, &run);
        }
        changed
    }

    /// The same of stacks that are rows of a dictionary: only those that the partition meets for the first time are looked at.
    pub(crate) fn intern_named(
        &mut self,
        key: &HashKey,
        dictionary: &Dictionary,
        stacks: impl Iterator<Item = u32>,
        hashes: &mut Hashes,
        ids: &mut Ids,
    ) -> bool {
        let known = self.named.iter().position(|named| named.dictionary == dictionary.id());
        let mut named = match known {
            Some(ix) => self.named.remove(ix),
            None => Named { dictionary: dictionary.id(), ..Named::default() },
        };
        if ids.stacks.len() < dictionary.stack_count() {
            ids.stacks.resize(dictionary.stack_count(), NONE);
        }
        let mut missing = Vec::new();
        for stack in stacks {
            match named.stacks.get(&stack) {
                Some(&id) => ids.stacks[stack as usize] = id,
                None => missing.push(stack),
            }
        }
        if !missing.is_empty() {
            self.name(key, dictionary, &mut named, &mut missing, hashes);
            for stack in &missing {
                ids.stacks[*stack as usize] = named.stacks[stack];
            }
        }
        self.named.truncate(NAMED_MAX - 1);
        self.named.insert(0, named);
        !missing.is_empty()
    }

    /// Gives names to stacks that have none.
    fn name(
        &mut self,
        key: &HashKey,
        dictionary: &Dictionary,
        named: &mut Named,
        stacks: &mut Vec<u32>,
        hashes: &mut Hashes,
    ) {
        distinct(stacks);
        let held = dictionary.lock();
        let frames = stacks.iter().flat_map(|&stack| held.stacks().get(stack).iter().copied());
        let mut new: Vec<u32> = frames.filter(|frame| !named.locations.contains_key(frame)).collect();
        distinct(&mut new);
        let symbols = held.excerpt(&new);
        hashes.compute(key, &symbols);
        for (ix, &row) in new.iter().enumerate() {
            named.locations.insert(row, self.add_location(&symbols, hashes, ix));
        }
        let mut run = Vec::new();
        for &stack in stacks.iter() {
            run.clear();
            run.extend(held.stacks().get(stack).iter().map(|location| named.locations[location]));
            let hash = key.ids(Domain::Stack, run.iter().copied());
            let known = self.stacks.find(hash);
            named.stacks.insert(stack, known.unwrap_or_else(|| self.add_stack(hash, &run)));
        }
    }

    /// A stack whose hash has no row.
    fn add_stack(&mut self, hash: u128, run: &[u32]) -> u32 {
        let stacks = &mut Arc::make_mut(&mut self.symbols).stacks;
        reserve(&mut stacks.locations, run.len());
        reserve(&mut stacks.end, 1);
        let id = stacks.push(run);
        self.stacks.insert(hash, id);
        id
    }

    fn add_location(&mut self, from: &Symbols, hashes: &Hashes, ix: usize) -> u32 {
        let hash = hashes.locations[ix];
        if let Some(id) = self.locations.find(hash) {
            return id;
        }
        let mapping = match from.locations.mapping[ix] {
            NONE => NONE,
            mapping => self.add_mapping(from, hashes, mapping as usize),
        };
        let run = from.locations.lines(ix as u32);
        for line in run.clone() {
            let function = match from.lines.function[line] {
                NONE => NONE,
                function => self.add_function(from, hashes, function as usize),
            };
            let lines = &mut Arc::make_mut(&mut self.symbols).symbols.lines;
            lines.function.push(function);
            lines.line.push(from.lines.line[line]);
            lines.column.push(from.lines.column[line]);
        }
        let Symbols { locations, lines, .. } = &mut Arc::make_mut(&mut self.symbols).symbols;
        let id = locations.len() as u32;
        locations.mapping.push(mapping);
        locations.address.push(from.locations.address[ix]);
        locations.is_folded.push(from.locations.is_folded[ix]);
        locations.line_end.push(lines.line.len() as u32);
        self.locations.insert(hash, id);
        id
    }

    fn add_function(&mut self, from: &Symbols, hashes: &Hashes, ix: usize) -> u32 {
        let hash = hashes.functions[ix];
        if let Some(id) = self.functions.find(hash) {
            return id;
        }
        let of = &from.functions;
        let texts = of.texts(ix).map(|text| self.add_string(from, hashes, text));
        let id = Arc::make_mut(&mut self.symbols).symbols.functions.push(texts, of.start_line[ix]);
        self.functions.insert(hash, id);
        id
    }

    /// The mapping's row; start, limit, offset and flags are those of its first contributor.
    fn add_mapping(&mut self, from: &Symbols, hashes: &Hashes, ix: usize) -> u32 {
        let hash = hashes.mappings[ix];
        if let Some(id) = self.mappings.find(hash) {
            return id;
        }
        let of = &from.mappings;
        let file = self.add_string(from, hashes, of.file[ix]);
        let build_id = self.add_string(from, hashes, of.build_id[ix]);
        let mappings = &mut Arc::make_mut(&mut self.symbols).symbols.mappings;
        let id = mappings.push(file, build_id, of.range(ix), of.flags[ix]);
        self.mappings.insert(hash, id);
        id
    }

    /// The string's row. Only here is UTF-8 checked: once per distinct string.
    pub(crate) fn add_string(&mut self, from: &Symbols, hashes: &Hashes, ix: u32) -> u32 {
        let hash = hashes.strings[ix as usize];
        if let Some(id) = self.strings.find(hash) {
            return id;
        }
        let strings = &mut Arc::make_mut(&mut self.symbols).symbols.strings;
        let id = strings.push(from.strings.get_str(ix).as_bytes());
        self.strings.insert(hash, id);
        id
    }

    /// Mapping ranges under the partition's names of the mappings; returns whether a mapping was new.
    pub(crate) fn mapping_ranges(
        &mut self,
        batch: &Batch,
        hashes: &Hashes,
        ranges: &[MappingRange],
    ) -> (Vec<MappingRange>, bool) {
        let before = self.symbols.symbols.mappings.len();
        let named = ranges
            .iter()
            .map(|range| MappingRange {
                mapping: self.add_mapping(&batch.symbols, hashes, range.mapping as usize),
                ..*range
            })
            .collect();
        (named, self.symbols.symbols.mappings.len() != before)
    }

    /// Interns the label sets that the samples at hand use; `ids.label_sets` tells what they are called.
    pub(crate) fn intern_label_sets(
        &mut self,
        key: &HashKey,
        batch: &Batch,
        hashes: &Hashes,
        used: &Used<'_>,
        ids: &mut Ids,
    ) {
        ids.label_sets.clear();
        if batch.samples.label_set.is_empty() {
            return;
        }
        ids.label_sets.resize(batch.label_sets.len(), NONE);
        let mut one = |sample: usize| {
            let set = batch.samples.label_set[sample];
            if ids.label_sets[set as usize] == NONE {
                ids.label_sets[set as usize] = self.add_label_set(key, batch, hashes, set);
            }
        };
        match used {
            Used::All => (0..batch.samples.label_set.len()).for_each(&mut one),
            Used::Profiles(rows) => {
                rows.iter().flat_map(|&row| batch.profiles.samples(row as usize)).for_each(&mut one)
            }
        }
    }

    fn add_label_set(&mut self, key: &HashKey, batch: &Batch, hashes: &Hashes, set: u32) -> u32 {
        let from = &batch.label_sets;
        let rows = from.rows(set);
        let mut hasher = key.start(Domain::LabelSet);
        for row in rows.clone() {
            hasher.child(hashes.strings[from.key[row] as usize]);
            hasher.child(hashes.strings[from.str[row] as usize]);
            hasher.child(hashes.strings[from.unit[row] as usize]);
            hasher.mix(from.num[row] as u64, 0);
        }
        let hash = hasher.finish(0);
        if let Some(id) = self.label_set_ids.find(hash) {
            return id;
        }
        for row in rows {
            let name = self.add_label_string(batch, hashes, from.key[row]);
            let str = self.add_label_string(batch, hashes, from.str[row]);
            let unit = self.add_label_string(batch, hashes, from.unit[row]);
            let sets = &mut Arc::make_mut(&mut self.label_sets).sets;
            sets.key.push(name);
            sets.str.push(str);
            sets.num.push(from.num[row]);
            sets.unit.push(unit);
        }
        let sets = &mut Arc::make_mut(&mut self.label_sets).sets;
        let id = sets.len() as u32;
        sets.end.push(sets.key.len() as u32);
        self.label_set_ids.insert(hash, id);
        id
    }

    fn add_label_string(&mut self, batch: &Batch, hashes: &Hashes, ix: u32) -> u32 {
        let hash = hashes.strings[ix as usize];
        if let Some(id) = self.label_strings.find(hash) {
            return id;
        }
        let strings = &mut Arc::make_mut(&mut self.label_sets).strings;
        let id = strings.push(batch.symbols.strings.get_str(ix).as_bytes());
        self.label_strings.insert(hash, id);
        id
    }

    /// Bytes held, by capacity.
    pub(crate) fn bytes(&self) -> usize {
        let PartSymbols { symbols, stacks } = &*self.symbols;
        let Symbols { strings, mappings, functions, lines, locations } = symbols;
        let PartLabelSets { strings: label_strings, sets } = &*self.label_sets;
        strings_bytes(strings)
            + strings_bytes(label_strings)
            + mappings.file.capacity() * 33
            + functions.name.capacity() * 20
            + lines.line.capacity() * 20
            + locations.address.capacity() * 17
            + stacks.end.capacity() * 4
            + stacks.locations.capacity() * 4
            + sets.end.capacity() * 4
            + sets.key.capacity() * 20
            // eight bytes and one of the table's own a slot, of which seven in eight may be used
            + self.named.iter().map(|of| (of.locations.capacity() + of.stacks.capacity()) * 11).sum::<usize>()
            + [&self.strings, &self.mappings, &self.functions, &self.locations, &self.stacks]
                .iter()
                .chain(&[&self.label_strings, &self.label_set_ids])
                .map(|table| table.bytes())
                .sum::<usize>()
    }
}

/// Whether rows can be counted with `u32` when `new` are added.
fn fits(held: usize, new: usize) -> bool {
    held as u64 + new as u64 + 1 < u64::from(u32::MAX)
}

fn distinct(rows: &mut Vec<u32>) {
    rows.sort_unstable();
    rows.dedup();
}

fn strings_bytes(strings: &Strings) -> usize {
    strings.bytes.capacity() + strings.spans.capacity() * 8
}

/// Room for `more` rows. Past a mebibyte a vector grows by a quarter and not by doubling, which would
/// leave up to half of a large head unused.
pub(crate) fn reserve<T>(column: &mut Vec<T>, more: usize) {
    if column.capacity() - column.len() >= more {
        return;
    }
    if column.capacity() * size_of::<T>() < 1 << 20 {
        column.reserve(more);
    } else {
        column.reserve_exact(more.max(column.len() / 4));
    }
}
