//! The tables of a batch under construction: what comes from the wire is interned by content where a sender names it twice, and
//! counted against the limits before it is kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use profile::pprof::Limits;
use profile::{Batch, LabelSets, NONE, Stacks, Strings, Symbols};

use crate::error::{IngestError, IngestErrorKind};

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// A label of a sample: key, text, number, unit; text is 0 for a number.
pub(crate) type SampleLabel = (u32, u32, i64, u32);

pub(crate) struct Tables<'s> {
    pub(crate) limits: &'s Limits,
    pub(crate) symbols: Symbols,
    pub(crate) stacks: Stacks,
    pub(crate) label_sets: LabelSets,
    strings: Map<&'s [u8], u32>,
    mappings: Map<(u32, u32), u32>,
    sets: Map<Vec<SampleLabel>, u32>,
}

impl<'s> Tables<'s> {
    pub(crate) fn new(limits: &'s Limits) -> Self {
        let mut strings = Map::default();
        strings.insert(&b""[..], 0);
        let mut sets = Map::default();
        sets.insert(Vec::new(), 0);
        Self {
            limits,
            symbols: Symbols { strings: Strings::with_empty(), ..Symbols::default() },
            stacks: Stacks::default(),
            label_sets: LabelSets::with_empty(),
            strings,
            mappings: Map::default(),
            sets,
        }
    }

    pub(crate) fn string(&mut self, text: &'s [u8]) -> Result<u32, IngestError> {
        match self.strings.entry(text) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(new) => Ok(*new.insert(push(&mut self.symbols.strings, text, self.limits)?)),
        }
    }

    /// A string that nobody will ask for again, or that was made here.
    #[inline]
    pub(crate) fn new_string(&mut self, text: &[u8]) -> Result<u32, IngestError> {
        if text.is_empty() {
            return Ok(0);
        }
        push(&mut self.symbols.strings, text, self.limits)
    }

    /// Ranges are those of the first to name the binary.
    pub(crate) fn mapping(&mut self, file: u32, build_id: u32, range: [u64; 3]) -> Result<u32, IngestError> {
        if let Some(&ix) = self.mappings.get(&(file, build_id)) {
            return Ok(ix);
        }
        let mappings = &mut self.symbols.mappings;
        within("mappings", mappings.len() + 1, self.limits.mappings)?;
        let ix = mappings.push(file, build_id, range, 0);
        self.mappings.insert((file, build_id), ix);
        Ok(ix)
    }

    #[inline]
    pub(crate) fn function(
        &mut self,
        name: u32,
        system_name: u32,
        filename: u32,
        start_line: i64,
    ) -> Result<u32, IngestError> {
        let functions = &mut self.symbols.functions;
        within("functions", functions.len() + 1, self.limits.functions)?;
        Ok(functions.push([name, system_name, filename], start_line))
    }

    /// Of the location that [`Tables::location`] will end.
    #[inline]
    pub(crate) fn line(&mut self, function: u32, line: i64, column: i64) -> Result<(), IngestError> {
        let lines = &mut self.symbols.lines;
        within("lines", lines.line.len() + 1, self.limits.lines)?;
        lines.function.push(function);
        lines.line.push(line);
        lines.column.push(column);
        Ok(())
    }

    /// `address` is relative to the mapping already.
    #[inline]
    pub(crate) fn location(&mut self, mapping: u32, address: u64) -> Result<u32, IngestError> {
        let locations = &mut self.symbols.locations;
        within("locations", locations.len() + 1, self.limits.locations)?;
        locations.mapping.push(mapping);
        locations.address.push(address);
        locations.is_folded.push(false);
        locations.line_end.push(self.symbols.lines.line.len() as u32);
        Ok(locations.len() as u32 - 1)
    }

    #[inline]
    pub(crate) fn stack(&mut self, locations: &[u32]) -> Result<u32, IngestError> {
        within("frames of one stack", locations.len(), self.limits.stack_depth)?;
        within("frames", self.stacks.locations.len() + locations.len(), self.limits.frames)?;
        within("stacks", self.stacks.len() + 1, self.limits.samples)?;
        Ok(self.stacks.push(locations))
    }

    /// `labels` sorted, so that the order in which they were sent makes no difference.
    pub(crate) fn label_set(&mut self, labels: &[SampleLabel]) -> Result<u32, IngestError> {
        if let Some(&ix) = self.sets.get(labels) {
            return Ok(ix);
        }
        within("labels of one sample", labels.len(), self.limits.sample_labels)?;
        within("labels", self.label_sets.key.len() + labels.len(), self.limits.labels)?;
        let of = &mut self.label_sets;
        for &(key, text, number, unit) in labels {
            of.key.push(key);
            of.str.push(text);
            of.num.push(number);
            of.unit.push(unit);
        }
        of.end.push(of.key.len() as u32);
        let ix = of.len() as u32 - 1;
        self.sets.insert(labels.to_vec(), ix);
        Ok(ix)
    }

    pub(crate) fn text(&self, ix: u32) -> String {
        self.symbols.strings.get_str(ix).into_owned()
    }

    /// Without streams, profiles and samples yet.
    pub(crate) fn into_batch(self) -> Batch {
        Batch { symbols: self.symbols, stacks: self.stacks, label_sets: self.label_sets, ..Batch::default() }
    }
}

#[inline]
fn push(strings: &mut Strings, text: &[u8], limits: &Limits) -> Result<u32, IngestError> {
    within("strings", strings.len() + 1, limits.strings)?;
    within("bytes of one string", text.len(), limits.string_bytes)?;
    within("bytes of strings", strings.bytes.len() + text.len(), limits.unpacked_bytes)?;
    Ok(strings.push(text))
}

/// `address - start + offset`, wrapping as the sender's address space does.
pub(crate) fn relative(address: u64, [start, _, offset]: [u64; 3]) -> u64 {
    address.wrapping_sub(start).wrapping_add(offset)
}

#[inline(always)]
pub(crate) fn within(what: &str, count: usize, limit: usize) -> Result<(), IngestError> {
    if count <= limit { Ok(()) } else { Err(over(what, limit)) }
}

#[cold]
fn over(what: &str, limit: usize) -> IngestError {
    IngestError::new(IngestErrorKind::ResourceExhausted, format!("profile over a limit: more than {limit} {what}"))
}

/// What a row of the wire became, for rows that are named more than once.
pub(crate) struct Memo(Vec<u32>);

impl Memo {
    pub(crate) fn new(rows: usize) -> Self {
        Self(vec![NONE; rows])
    }

    pub(crate) fn get(&self, row: usize) -> Option<u32> {
        self.0.get(row).copied().filter(|&ix| ix != NONE)
    }

    pub(crate) fn set(&mut self, row: usize, ix: u32) {
        if let Some(slot) = self.0.get_mut(row) {
            *slot = ix;
        }
    }
}
