//! Profiles as pprof: one profile as it was sent, many merged by stack, or the difference of two.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use profile::pprof::Pprof;
use profile::symbols::StackIx;
use profile::{LabelSets, MappingRange, Mappings, NONE, PprofExtras, Stacks, StringIx, Symbols, ValueType};
use store::budget::Lease;
use store::part::{Part, PartLabelSets};

use crate::answer::scaled;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::groups::{GroupSums, LabelValues, too_many};
use crate::merge::{PartPicks, Scope, Side};

/// A single profile is exported whole: labels, runtime addresses, comments. Of several, and of a range, the
/// sum by stack, as it is seen, and by the labels that are grouped by; samples without any frame are left out of it, as in Parca. Beside it the value of
/// what is filtered.
pub(crate) fn select(engine: &Engine, context: &Context, scope: &Scope) -> Result<(Vec<u8>, i64), QueryError> {
    if scope.single && scope.look.is_plain() {
        let picks = scope.picks(engine, context)?;
        if let [PartPicks { part, picked }] = picks.as_slice()
            && let [picked] = picked.as_slice()
        {
            return Ok((one(engine, context, scope, &**part, picked)?, 0));
        }
    }
    let side = Side::sum(engine, context, scope)?;
    let mut merge = Merge::default();
    merge.add_side(engine, context, scope, &side, |value| value)?;
    Ok((merge.finish(context, scope)?, side.filtered))
}

/// What changed from `base`, multiplied by `scale`, to `compare`.
pub(crate) fn diff(
    engine: &Engine,
    context: &Context,
    scope: &Scope,
    base: &Side,
    compare: &Side,
    scale: f64,
) -> Result<Vec<u8>, QueryError> {
    let mut merge = Merge::default();
    merge.add_side(engine, context, scope, compare, |value| value)?;
    merge.add_side(engine, context, scope, base, |value| scaled(value, scale).wrapping_neg())?;
    merge.finish(context, scope)
}

fn one(
    engine: &Engine,
    context: &Context,
    scope: &Scope,
    part: &dyn Part,
    picked: &crate::pick::Picked,
) -> Result<Vec<u8>, QueryError> {
    let symbols = part.symbols()?;
    let sets = part.label_sets()?;
    let mut export = Export::default();
    let mut from = FromPart::new(&symbols.symbols);
    let mut set_of: HashMap<u32, u32, RandomState> = HashMap::default();
    set_of.insert(0, 0);
    let (mut leases, mut owed) = (Vec::new(), 0);
    let (mut refused, has_room) = (None, Cell::new(true));
    let read = part.samples(&[picked.as_pick()], &|| has_room.get() && context.go_on(), &mut |sample| {
        if !scope.range.contains(&sample.time) || !has_room.get() {
            return;
        }
        let stack = symbols.stacks.get(sample.stack);
        owed += BYTES_PER_SAMPLE + BYTES_PER_FRAME * stack.len();
        if owed >= BYTES_PER_LEASE {
            match engine.lease(std::mem::take(&mut owed)) {
                Ok(lease) => leases.push(lease),
                Err(error) => {
                    has_room.set(false);
                    refused = Some(error);
                    return;
                }
            }
        }
        export.stacks.push(&export.tables.run(&mut from, stack));
        export.values.push(sample.value);
        let Export { tables, label_sets, .. } = &mut export;
        let set =
            set_of.entry(sample.label_set).or_insert_with(|| copy_set(tables, label_sets, &sets, sample.label_set));
        export.sample_sets.push(*set);
    });
    if let Some(error) = refused {
        return Err(error);
    }
    read.map_err(|error| context.name(error))?;
    leases.push(engine.lease(owed)?);

    let kept = part.export(picked.profile)?;
    let ranges: Vec<MappingRange> = kept
        .mappings
        .iter()
        .map(|range| MappingRange { mapping: export.tables.mapping(&mut from, range.mapping), ..*range })
        .collect();
    let mut string = |ix: StringIx| export.tables.string(symbols.symbols.strings.get(ix));
    export.extras = PprofExtras {
        comments: kept.extras.comments.iter().map(|&comment| string(comment)).collect(),
        drop_frames: string(kept.extras.drop_frames),
        keep_frames: string(kept.extras.keep_frames),
        default_sample_type: string(kept.extras.default_sample_type),
        doc_url: string(kept.extras.doc_url),
    };
    let profiles = part.profiles();
    let row = picked.profile as usize;
    export.tables.place(&ranges);
    Ok(export.encode(scope, profiles.time[row], profiles.duration[row], profiles.period[row]))
}

fn copy_set(tables: &mut Tables, out: &mut LabelSets, sets: &PartLabelSets, set: u32) -> u32 {
    for row in sets.sets.rows(set) {
        let mut string = |ix: StringIx| tables.string(sets.strings.get(ix));
        out.key.push(string(sets.sets.key[row]));
        out.str.push(string(sets.sets.str[row]));
        out.unit.push(string(sets.sets.unit[row]));
        out.num.push(sets.sets.num[row]);
    }
    out.end.push(out.key.len() as u32);
    (out.end.len() - 1) as u32
}

/// The set of a sample without labels.
const NO_LABELS: u32 = 0;

/// A profile in the making: a stack and a value per sample.
struct Export {
    tables: Tables,
    stacks: Stacks,
    values: Vec<i64>,
    /// One per sample.
    sample_sets: Vec<u32>,
    label_sets: LabelSets,
    extras: PprofExtras,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            tables: Tables::default(),
            stacks: Stacks::default(),
            values: Vec::new(),
            sample_sets: Vec::new(),
            label_sets: LabelSets::with_empty(),
            extras: PprofExtras::default(),
        }
    }
}

/// What a sample costs beside its stack: its place among others, its value and its labels, here and encoded.
const BYTES_PER_SAMPLE: usize = 64;
/// A frame of a sample: a row in the profile, and its number as it is encoded.
const BYTES_PER_FRAME: usize = 8;
const BYTES_PER_LEASE: usize = 1 << 20;
const STACKS_PER_CHECK: usize = 1 << 12;

/// Many profiles on their way into one: equal stacks with equal labels add up.
#[derive(Default)]
struct Merge {
    export: Export,
    /// Stacks by content, in rows of the tables.
    runs: Stacks,
    run_of: HashMap<Box<[u32]>, StackIx, RandomState>,
    /// The sample of each of `runs` and each label set.
    sample_of: HashMap<(StackIx, u32), u32, RandomState>,
    /// Per sample its row of `runs`.
    sample_runs: Vec<StackIx>,
    /// The label set of each group.
    set_of: HashMap<LabelValues, u32, RandomState>,
    leases: Vec<Lease>,
    /// What is held beside the leases. bytes
    owed: usize,
}

impl Merge {
    /// Adds all sums of a side.
    fn add_side(
        &mut self,
        engine: &Engine,
        context: &Context,
        scope: &Scope,
        side: &Side,
        weigh: impl Fn(i64) -> i64,
    ) -> Result<(), QueryError> {
        for part in &side.parts {
            let stacks = &part.symbols.stacks;
            let mut from = FromPart::new(&part.symbols.symbols);
            let mut rows = vec![NONE; stacks.len()];
            let mut add = |merge: &mut Self, stack: StackIx, sum: i64, set: u32| -> Result<(), QueryError> {
                if stacks.get(stack).is_empty() {
                    return Ok(());
                }
                let row = &mut rows[stack as usize];
                if *row == NONE {
                    *row = merge.run(&mut from, stacks.get(stack));
                }
                merge.add(*row, set, weigh(sum));
                if merge.owed >= BYTES_PER_LEASE || (stack as usize).is_multiple_of(STACKS_PER_CHECK) {
                    merge.settle(engine, context)?;
                }
                Ok(())
            };
            match &part.groups {
                None => {
                    let sums = part.sums.sum.iter().zip(&part.sums.seen).enumerate().filter(|(_, (_, seen))| **seen);
                    for (stack, (&sum, _)) in sums {
                        add(self, stack as StackIx, sum, NO_LABELS)?;
                    }
                }
                Some(groups) => {
                    for GroupSums { labels, stacks } in groups {
                        let set = self.set(engine, &scope.look.labels, labels)?;
                        for &(stack, sum) in stacks {
                            add(self, stack, sum, set)?;
                        }
                    }
                }
            }
            self.settle(engine, context)?;
        }
        Ok(())
    }

    /// Leases what is owed, where the answer is still wanted.
    fn settle(&mut self, engine: &Engine, context: &Context) -> Result<(), QueryError> {
        context.check()?;
        self.leases.push(engine.lease(std::mem::take(&mut self.owed))?);
        Ok(())
    }

    /// A part's stack as a row of `runs`.
    fn run(&mut self, from: &mut FromPart<'_>, stack: &[u32]) -> StackIx {
        match self.run_of.entry(self.export.tables.run(from, stack)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.owed += 2 * size_of_val(stack) + BYTES_PER_SAMPLE;
                let run = self.runs.push(new.key());
                *new.insert(run)
            }
        }
    }

    fn add(&mut self, run: StackIx, set: u32, value: i64) {
        let values = &mut self.export.values;
        let sample = *self.sample_of.entry((run, set)).or_insert_with(|| {
            self.owed += BYTES_PER_SAMPLE + BYTES_PER_FRAME * self.runs.get(run).len();
            self.sample_runs.push(run);
            self.export.sample_sets.push(set);
            values.push(0);
            values.len() as u32 - 1
        });
        let sum = &mut values[sample as usize];
        *sum = sum.wrapping_add(value);
    }

    /// A group's labels as a label set; the same group of two parts gives one.
    fn set(&mut self, engine: &Engine, names: &[String], values: &LabelValues) -> Result<u32, QueryError> {
        if let Some(&known) = self.set_of.get(values) {
            return Ok(known);
        }
        let most = engine.options().series_max;
        if self.set_of.len() == most {
            return Err(too_many(most));
        }
        let Export { tables, label_sets, .. } = &mut self.export;
        for (name, value) in names.iter().zip(values) {
            let Some(value) = value else { continue };
            label_sets.key.push(tables.string(name.as_bytes()));
            label_sets.str.push(tables.string(value.as_bytes()));
            label_sets.unit.push(0);
            label_sets.num.push(0);
        }
        label_sets.end.push(label_sets.key.len() as u32);
        let set = (label_sets.end.len() - 1) as u32;
        self.set_of.insert(values.clone(), set);
        Ok(set)
    }

    /// A merge: from the begin of its range. It has no one duration and period, so both are 0, as in Parca.
    fn finish(self, context: &Context, scope: &Scope) -> Result<Vec<u8>, QueryError> {
        let Self { mut export, runs, sample_runs, leases: _held, .. } = self;
        context.check()?;
        let mappings = &export.tables.symbols.mappings;
        let ranges: Vec<MappingRange> = (0..mappings.len())
            .map(|row| MappingRange {
                mapping: row as u32,
                start: mappings.start[row],
                limit: mappings.limit[row],
                offset: mappings.offset[row],
            })
            .collect();
        export.tables.place(&ranges);
        // without labels every stack is one sample's, in this order
        export.stacks = if sample_runs.len() == runs.len() && export.label_sets.len() == 1 {
            runs
        } else {
            let mut stacks = Stacks::default();
            for &run in &sample_runs {
                stacks.push(runs.get(run));
            }
            stacks
        };
        Ok(export.encode(scope, *scope.range.start(), 0, 0))
    }
}

impl Export {
    fn encode(mut self, scope: &Scope, time: i64, duration: i64, period: i64) -> Vec<u8> {
        let mut names = |value_type: &ValueType| {
            (self.tables.string(value_type.kind.as_bytes()), self.tables.string(value_type.unit.as_bytes()))
        };
        let period_type = &scope.query.profile_type.period;
        let pprof = Pprof {
            sample_types: vec![names(scope.value_type())],
            period_type: (*period_type != ValueType::default()).then(|| names(period_type)),
            period,
            time,
            duration,
            stacks: self.stacks,
            values: self.values,
            label_set: self.sample_sets,
            label_sets: self.label_sets,
            extras: self.extras,
            symbols: self.tables.symbols,
        };
        profile::pprof::gzip(&profile::pprof::encode(&pprof))
    }
}

/// Symbol tables, interned by content from the bottom up.
struct Tables {
    symbols: Symbols,
    strings: HashMap<Box<[u8]>, StringIx, RandomState>,
    mappings: HashMap<(StringIx, StringIx), u32, RandomState>,
    functions: HashMap<([StringIx; 3], i64), u32, RandomState>,
    locations: HashMap<LocationContent, u32, RandomState>,
}

/// Mapping, address, folded, and (function, line, column) of each line.
type LocationContent = (u32, u64, bool, Box<[(u32, i64, i64)]>);

impl Default for Tables {
    fn default() -> Self {
        let mut strings: HashMap<Box<[u8]>, StringIx, RandomState> = HashMap::default();
        strings.insert(Box::default(), 0);
        let symbols = Symbols { strings: profile::Strings::with_empty(), ..Symbols::default() };
        Self {
            symbols,
            strings,
            mappings: HashMap::default(),
            functions: HashMap::default(),
            locations: HashMap::default(),
        }
    }
}

/// Rows of a part's tables that are already known.
struct FromPart<'a> {
    symbols: &'a Symbols,
    location: Vec<u32>,
    function: Vec<u32>,
    mapping: Vec<u32>,
}

impl<'a> FromPart<'a> {
    fn new(symbols: &'a Symbols) -> Self {
        Self {
            symbols,
            location: vec![NONE; symbols.locations.len()],
            function: vec![NONE; symbols.functions.len()],
            mapping: vec![NONE; symbols.mappings.len()],
        }
    }
}

impl Tables {
    /// Gives locations their runtime addresses, and mappings a row per range of memory.
    fn place(&mut self, ranges: &[MappingRange]) {
        let identities = std::mem::take(&mut self.symbols.mappings);
        let mut ranges_of: Vec<Vec<u32>> = vec![Vec::new(); identities.len()];
        let mut placed = Mappings::default();
        for range in ranges {
            let identity = range.mapping as usize;
            ranges_of[identity].push(placed.len() as u32);
            placed.file.push(identities.file[identity]);
            placed.build_id.push(identities.build_id[identity]);
            placed.start.push(range.start);
            placed.limit.push(range.limit);
            placed.offset.push(range.offset);
            placed.flags.push(identities.flags[identity]);
        }
        let locations = &mut self.symbols.locations;
        for (mapping, address) in locations.mapping.iter_mut().zip(&mut locations.address) {
            let Some(rows) = ranges_of.get(*mapping as usize) else { continue };
            let runtime = |row: usize| address.wrapping_add(placed.start[row]).wrapping_sub(placed.offset[row]);
            let within = |row: usize| (placed.start[row]..placed.limit[row]).contains(&runtime(row));
            let row = rows.iter().find(|&&row| within(row as usize)).or(rows.first());
            *mapping = row.copied().unwrap_or(NONE);
            if let Some(&row) = row {
                *address = runtime(row as usize);
            }
        }
        self.symbols.mappings = placed;
    }

    /// A part's stack in rows of these.
    fn run(&mut self, from: &mut FromPart<'_>, stack: &[u32]) -> Box<[u32]> {
        stack.iter().map(|&location| self.location(from, location)).collect()
    }

    fn string(&mut self, string: &[u8]) -> StringIx {
        if let Some(&known) = self.strings.get(string) {
            return known;
        }
        let ix = self.symbols.strings.push(string);
        self.strings.insert(string.into(), ix);
        ix
    }

    fn mapping(&mut self, from: &mut FromPart<'_>, mapping: u32) -> u32 {
        if mapping == NONE || from.mapping[mapping as usize] != NONE {
            return if mapping == NONE { NONE } else { from.mapping[mapping as usize] };
        }
        let row = mapping as usize;
        let theirs = &from.symbols.mappings;
        let file = self.string(from.symbols.strings.get(theirs.file[row]));
        let build_id = self.string(from.symbols.strings.get(theirs.build_id[row]));
        let ours = &mut self.symbols.mappings;
        let new = || ours.push(file, build_id, theirs.range(row), theirs.flags[row]);
        let known = *self.mappings.entry((file, build_id)).or_insert_with(new);
        from.mapping[row] = known;
        known
    }

    fn function(&mut self, from: &mut FromPart<'_>, function: u32) -> u32 {
        if function == NONE || from.function[function as usize] != NONE {
            return if function == NONE { NONE } else { from.function[function as usize] };
        }
        let row = function as usize;
        let theirs = &from.symbols.functions;
        let texts = theirs.texts(row).map(|text| self.string(from.symbols.strings.get(text)));
        let start_line = theirs.start_line[row];
        let ours = &mut self.symbols.functions;
        let known = *self.functions.entry((texts, start_line)).or_insert_with(|| ours.push(texts, start_line));
        from.function[row] = known;
        known
    }

    fn location(&mut self, from: &mut FromPart<'_>, location: u32) -> u32 {
        let row = location as usize;
        if from.location[row] != NONE {
            return from.location[row];
        }
        let symbols = from.symbols;
        let mapping = self.mapping(from, symbols.locations.mapping[row]);
        let lines: Box<[(u32, i64, i64)]> = symbols
            .locations
            .lines(location)
            .map(|line| {
                let function = self.function(from, symbols.lines.function[line]);
                (function, symbols.lines.line[line], symbols.lines.column[line])
            })
            .collect();
        let content = (mapping, symbols.locations.address[row], symbols.locations.is_folded[row], lines);
        let known = match self.locations.get(&content) {
            Some(&known) => known,
            None => {
                let Symbols { lines, locations, .. } = &mut self.symbols;
                locations.mapping.push(content.0);
                locations.address.push(content.1);
                locations.is_folded.push(content.2);
                for &(function, line, column) in &content.3 {
                    lines.function.push(function);
                    lines.line.push(line);
                    lines.column.push(column);
                }
                locations.line_end.push(lines.line.len() as u32);
                let known = (locations.len() - 1) as u32;
                self.locations.insert(content, known);
                known
            }
        };
        from.location[row] = known;
        known
    }
}
