//! The tables of a batch whose sender has mostly sent them before: symbols and stacks become rows of a dictionary, and only what
//! samples have beside them is the batch's own.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use profile::content::HashKey;
use profile::dictionary::{Binary, Dictionary, Function, Line, Location, Named};
use profile::pprof::Limits;
use profile::{Batch, NONE};

use crate::demangle::demangled;
use crate::error::IngestError;
use crate::tables::{Map, Tables, within};

/// Dictionaries at rest for longer than a message.
const DICTIONARIES_MAX: usize = 4;

/// What all of them may take by default, bytes.
const BYTES_MAX: u64 = 64 << 20;

/// The dictionaries that decoders take turns with: one each that is at it at the same time, at most four between messages. One that
/// has grown past its quarter of the bytes is left to the batches that name it, and a new one begins.
pub struct Dictionaries {
    key: HashKey,
    bytes_max: u64,
    /// The one used last is the last.
    resting: Mutex<Vec<Arc<Dictionary>>>,
}

impl Default for Dictionaries {
    fn default() -> Self {
        Self::new(BYTES_MAX)
    }
}

impl Dictionaries {
    /// Holds about `bytes_max` between messages.
    pub fn new(bytes_max: u64) -> Self {
        let secret = || RandomState::new().build_hasher().finish();
        Self { key: HashKey::new([secret(), secret()]), bytes_max, resting: Mutex::default() }
    }

    /// Bytes that the resting ones hold.
    pub fn bytes(&self) -> u64 {
        self.resting().iter().map(|dictionary| dictionary.bytes()).sum()
    }

    /// Whether a dictionary is small enough to be used again.
    pub fn keep(&self, dictionary: &Dictionary) -> bool {
        dictionary.bytes() <= self.bytes_max / DICTIONARIES_MAX as u64
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Arc<Dictionary>>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that the stacks of `named` have in a dictionary, and that.
    fn rows(&self, named: &Named<'_>) -> (Vec<u32>, Arc<Dictionary>) {
        let taken = self.resting().pop();
        // a panic leaves it to nobody
        let dictionary = taken.unwrap_or_else(|| Arc::new(Dictionary::new(self.key.clone())));
        let rows = dictionary.lock().rows(named, name);
        if self.keep(&dictionary) {
            let mut resting = self.resting();
            if resting.len() < DICTIONARIES_MAX {
                resting.push(dictionary.clone());
            }
        }
        (rows, dictionary)
    }
}

/// A name of up to so many bytes may be longer than four times its symbol.
const NAME_BYTES_MIN: usize = 256;

/// What a symbol means, if that is another name. Substitutions let one be any times as long as its symbol, and then it is not taken.
fn name(symbol: &[u8]) -> Option<Vec<u8>> {
    match demangled(symbol) {
        Cow::Owned(name) => Some(name).filter(|name| name.len() <= NAME_BYTES_MIN.max(4 * symbol.len())),
        Cow::Borrowed(_) => None,
    }
}

/// The number of the text that is empty.
pub(crate) const NO_TEXT: u32 = 0;

/// What one message says of symbols and stacks: each thing that is added gets the number after the one before. All that it names is
/// counted against the limits, whether it is known or not: a message is taken or refused whatever came before it. What its symbols
/// mean is not counted, as that is found out once only: it is a name a function, each bounded by its symbol ([`NAME_BYTES_MIN`]).
pub(crate) struct Shared<'s> {
    pub(crate) limits: &'s Limits,
    /// Label sets, and the strings of these.
    pub(crate) own: Tables<'s>,
    dictionaries: &'s Dictionaries,
    named: Named<'s>,
    mappings: Map<[&'s [u8]; 2], u32>,
    string_bytes: usize,
}

impl<'s> Shared<'s> {
    pub(crate) fn new(limits: &'s Limits, dictionaries: &'s Dictionaries) -> Self {
        Self {
            limits,
            own: Tables::new(limits),
            dictionaries,
            named: Named::default(),
            mappings: Map::default(),
            string_bytes: 0,
        }
    }

    #[inline]
    pub(crate) fn text(&mut self, bytes: &'s [u8]) -> Result<u32, IngestError> {
        let texts = &mut self.named.texts;
        self.string_bytes += bytes.len();
        within("strings", texts.len(), self.limits.strings)?;
        within("bytes of one string", bytes.len(), self.limits.string_bytes)?;
        within("bytes of strings", self.string_bytes, self.limits.unpacked_bytes)?;
        texts.push(bytes);
        Ok(texts.len() as u32 - 1)
    }

    /// [`NONE`] for a binary that has neither a name nor a build ID. Ranges are those of the first to name it.
    pub(crate) fn mapping(&mut self, file: u32, build_id: u32, range: [u64; 3]) -> Result<u32, IngestError> {
        let texts = [file, build_id].map(|text| self.named.texts[text as usize]);
        if texts.iter().all(|text| text.is_empty()) {
            return Ok(NONE);
        }
        if let Some(&known) = self.mappings.get(&texts) {
            return Ok(known);
        }
        let mappings = &mut self.named.mappings;
        within("mappings", mappings.len() + 1, self.limits.mappings)?;
        mappings.push(Binary { file, build_id, range });
        let number = mappings.len() as u32 - 1;
        self.mappings.insert(texts, number);
        Ok(number)
    }

    /// Of name, system name and file. A function is called by its name where it has one, else by what its system name means.
    #[inline]
    pub(crate) fn function(&mut self, texts: [u32; 3], start_line: i64) -> Result<u32, IngestError> {
        let functions = &mut self.named.functions;
        within("functions", functions.len() + 1, self.limits.functions)?;
        functions.push(Function { texts, start_line });
        Ok(functions.len() as u32 - 1)
    }

    /// Of the location that [`Shared::location`] will end.
    #[inline]
    pub(crate) fn line(&mut self, line: Line) -> Result<(), IngestError> {
        let lines = &mut self.named.lines;
        within("lines", lines.len() + 1, self.limits.lines)?;
        lines.push(line);
        Ok(())
    }

    /// `address` is relative to the mapping already.
    #[inline]
    pub(crate) fn location(&mut self, mapping: u32, address: u64) -> Result<u32, IngestError> {
        let Named { locations, lines, .. } = &mut self.named;
        within("locations", locations.len() + 1, self.limits.locations)?;
        locations.push(Location { address, mapping, line_end: lines.len() as u32 });
        Ok(locations.len() as u32 - 1)
    }

    #[inline]
    pub(crate) fn stack(&mut self, locations: &[u32]) -> Result<u32, IngestError> {
        let Named { frames, stack_end, .. } = &mut self.named;
        within("frames of one stack", locations.len(), self.limits.stack_depth)?;
        within("frames", frames.len() + locations.len(), self.limits.frames)?;
        within("stacks", stack_end.len() + 1, self.limits.samples)?;
        frames.extend_from_slice(locations);
        stack_end.push(frames.len() as u32);
        Ok(stack_end.len() as u32 - 1)
    }

    /// The number that the next text will have; `count` are to follow.
    pub(crate) fn begin_texts(&mut self, count: usize) -> Result<u32, IngestError> {
        begin("strings", &mut self.named.texts, count, self.limits.strings)
    }

    /// The same of functions.
    pub(crate) fn begin_functions(&mut self, count: usize) -> Result<u32, IngestError> {
        begin("functions", &mut self.named.functions, count, self.limits.functions)
    }

    /// The same of locations, most of which have a line.
    pub(crate) fn begin_locations(&mut self, count: usize) -> Result<u32, IngestError> {
        let first = begin("locations", &mut self.named.locations, count, self.limits.locations)?;
        self.named.lines.reserve(count);
        Ok(first)
    }

    /// What `make` makes, its samples with the rows of a dictionary in place of the numbers that [`Shared::stack`] gave, and the row
    /// of each number.
    pub(crate) fn into_batch(
        self,
        make: impl FnOnce(Tables<'s>) -> Result<Batch, IngestError>,
    ) -> Result<(Batch, Vec<u32>), IngestError> {
        let mut batch = make(self.own)?;
        let own = &batch.symbols.strings;
        within("strings", self.named.texts.len() - 1 + own.len(), self.limits.strings)?;
        within("bytes of strings", self.string_bytes + own.bytes.len(), self.limits.unpacked_bytes)?;
        let (rows, dictionary) = self.dictionaries.rows(&self.named);
        batch.samples.stack.iter_mut().for_each(|stack| *stack = rows[*stack as usize]);
        batch.dictionary = Some(dictionary);
        Ok((batch, rows))
    }
}

fn begin<T>(what: &str, table: &mut Vec<T>, count: usize, limit: usize) -> Result<u32, IngestError> {
    within(what, table.len() + count, limit)?;
    table.reserve(count);
    Ok(table.len() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of one stack, its function named by `symbol`.
    fn batch(dictionaries: &Dictionaries, symbol: &[u8]) -> Batch {
        let limits = Limits::default();
        let mut tables = Shared::new(&limits, dictionaries);
        let symbol = tables.text(symbol).expect("a text");
        let function = tables.function([NO_TEXT, symbol, NO_TEXT], 0).expect("a function");
        tables.line(Line { function, line: 1, column: 0 }).expect("a line");
        let location = tables.location(NONE, 7).expect("a location");
        let stack = tables.stack(&[location]).expect("a stack");
        let make = |own: Tables<'_>| {
            let mut batch = own.into_batch();
            batch.samples.stack.push(stack);
            Ok(batch)
        };
        tables.into_batch(make).expect("a batch").0
    }

    fn called(batch: Batch) -> String {
        let symbols = batch.without_dictionary().symbols;
        symbols.strings.get_str(symbols.functions.name[0]).into_owned()
    }

    #[test]
    fn a_dictionary_that_has_grown_too_large_is_left_to_its_batches_and_a_new_one_begins() {
        let dictionaries = Dictionaries::new(4 * 4_096);
        let id = |batch: &Batch| batch.dictionary.as_ref().map(|dictionary| dictionary.id());
        let first = batch(&dictionaries, b"small");
        let second = batch(&dictionaries, b"another");
        assert_eq!(id(&first), id(&second), "taken up again");
        assert!(dictionaries.bytes() > 0);
        let large = batch(&dictionaries, &[b'x'; 5_000]);
        assert_eq!(id(&large), id(&first));
        assert!(large.dictionary.as_ref().is_some_and(|dictionary| !dictionaries.keep(dictionary)));
        assert_eq!(dictionaries.bytes(), 0, "nobody but its batches has it");
        let next = batch(&dictionaries, b"small");
        assert_ne!(id(&next), id(&first));
        assert_eq!([first, second, next].map(called), ["small", "another", "small"]);
        assert_eq!(called(large).len(), 5_000);
    }

    #[test]
    fn a_name_that_is_much_longer_than_its_symbol_stays_a_symbol() {
        let dictionaries = Dictionaries::default();
        assert_eq!(called(batch(&dictionaries, b"_ZN3foo3barEi")), "foo::bar");
        // a function of a tuple of ten numbers, and of that tuple twenty times more
        let symbol = format!("_RINvC1a1fTllllllllllE{}E", "B7_".repeat(20));
        let meaning = demangled(symbol.as_bytes());
        assert!(
            matches!(meaning, Cow::Owned(_)) && meaning.len() > NAME_BYTES_MIN.max(4 * symbol.len()),
            "{meaning:?}"
        );
        assert_eq!(called(batch(&dictionaries, symbol.as_bytes())), symbol);
    }
}
