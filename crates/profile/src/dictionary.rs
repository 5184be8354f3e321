//! [`Dictionary`]: symbols and stacks that senders name again and again, kept from one message to the next.
//!
//! An agent sends the tables of its stacks whole with every message, each time in another order, and nearly all of it was in
//! the message before. A decoder that finds what it reads in a dictionary makes nothing of it but a number; whoever takes its
//! batches does once per number what has to be done.

use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::content::{Domain, HashKey, Table};
use crate::symbols::{NONE, Stacks, Strings, Symbols};

/// What one message names: texts, mappings, functions, locations and stacks, each by its place in the one below. What is named
/// twice may be here twice, and so may be what no stack names.
pub struct Named<'a> {
    /// The first is empty.
    pub texts: Vec<&'a [u8]>,
    pub mappings: Vec<Binary>,
    pub functions: Vec<Function>,
    pub locations: Vec<Location>,
    pub lines: Vec<Line>,
    /// Of all stacks, leaf first.
    pub frames: Vec<u32>,
    /// End of each stack's run in `frames`.
    pub stack_end: Vec<u32>,
}

impl Default for Named<'_> {
    fn default() -> Self {
        Self {
            texts: vec![b""],
            mappings: Vec::new(),
            functions: Vec::new(),
            locations: Vec::new(),
            lines: Vec::new(),
            frames: Vec::new(),
            stack_end: Vec::new(),
        }
    }
}

/// A mapping, which is known by file and build ID; start, limit and offset are kept of the first to name it.
#[derive(Clone, Copy)]
pub struct Binary {
    /// In [`Named::texts`].
    pub file: u32,
    pub build_id: u32,
    pub range: [u64; 3],
}

/// A function as its sender calls it.
#[derive(Clone, Copy)]
pub struct Function {
    /// Name, system name and file, in [`Named::texts`].
    pub texts: [u32; 3],
    pub start_line: i64,
}

/// A place in a program.
#[derive(Clone, Copy)]
pub struct Location {
    /// Relative to the mapping.
    pub address: u64,
    /// In [`Named::mappings`], or [`NONE`].
    pub mapping: u32,
    /// End of its run in [`Named::lines`].
    pub line_end: u32,
}

/// A line of a location.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// In [`Named::functions`], or [`NONE`].
    pub function: u32,
    pub line: i64,
    pub column: i64,
}

/// Rows are only ever added, and what a row means never changes: a row that was handed out can be looked up at any time.
pub struct Dictionary {
    id: u64,
    stacks: AtomicU32,
    bytes: AtomicU64,
    entries: Mutex<Entries>,
}

/// What a dictionary holds.
pub struct Entries {
    key: HashKey,
    symbols: Symbols,
    stacks: Stacks,
    string_ids: Table,
    mapping_ids: Table,
    function_ids: Table,
    location_ids: Table,
    stack_ids: Table,
    /// Of a message's texts, and of one kind of what else it has.
    text_hashes: Vec<u128>,
    hashes: Vec<u128>,
}

impl Dictionary {
    /// `key` must be secret.
    pub fn new(key: HashKey) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            stacks: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            entries: Mutex::new(Entries::new(key)),
        }
    }

    /// No other dictionary of this process has, had or will have the same.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Rows of stacks that may be named.
    pub fn stack_count(&self) -> usize {
        self.stacks.load(Ordering::Acquire) as usize
    }

    /// Bytes held, by capacity, when it was last written to.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// For as long as what this gives is held, nobody else reads or writes.
    pub fn lock(&self) -> Locked<'_> {
        // rows of before a panic are whole, and nobody hands out those of after it
        Locked { of: self, entries: self.entries.lock().unwrap_or_else(PoisonError::into_inner) }
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("id", &self.id).field("stacks", &self.stacks).finish_non_exhaustive()
    }
}

/// [`Dictionary::lock`].
pub struct Locked<'a> {
    of: &'a Dictionary,
    entries: MutexGuard<'a, Entries>,
}

impl Deref for Locked<'_> {
    type Target = Entries;

    fn deref(&self) -> &Entries {
        &self.entries
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Entries {
        &mut self.entries
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.of.stacks.store(self.entries.stacks.len() as u32, Ordering::Release);
            self.of.bytes.store(self.entries.bytes(), Ordering::Relaxed);
        }
    }
}

impl Entries {
    fn new(key: HashKey) -> Self {
        let mut string_ids = Table::default();
        string_ids.insert(key.bytes(Domain::String, b""), 0);
        Self {
            key,
            symbols: Symbols { strings: Strings::with_empty(), ..Symbols::default() },
            stacks: Stacks::default(),
            string_ids,
            mapping_ids: Table::default(),
            function_ids: Table::default(),
            location_ids: Table::default(),
            stack_ids: Table::default(),
            text_hashes: Vec::new(),
            hashes: Vec::new(),
        }
    }

    /// Strings are as they were sent, UTF-8 or not.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub fn stacks(&self) -> &Stacks {
        &self.stacks
    }

    /// The rows of all stacks of `named`. `name` says what a function is called that has a system name only.
    ///
    /// Nearly everything is known mostly, and the tables are larger than a processor's cache: so of each kind all hashes come first,
    /// then all look-ups, which then do not wait for each other, and what is new last.
    pub fn rows(&mut self, named: &Named<'_>, name: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u32> {
        self.text_hashes.clear();
        self.text_hashes.extend(named.texts.iter().map(|text| self.key.bytes(Domain::String, text)));
        let mappings: Vec<u32> = named.mappings.iter().map(|mapping| self.mapping(named, mapping)).collect();
        let functions = self.functions(named, name);
        let locations = self.locations(named, &mappings, &functions);
        self.stack_rows(named, &locations)
    }

    fn functions(&mut self, named: &Named<'_>, name: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u32> {
        self.hashes.clear();
        self.hashes.extend(named.functions.iter().map(|function| {
            let mut hasher = self.key.start(Domain::Function);
            function.texts.iter().for_each(|&text| hasher.child(self.text_hashes[text as usize]));
            hasher.finish(function.start_line as u64)
        }));
        let mut rows: Vec<u32> = self.hashes.iter().map(|&hash| self.function_ids.row(hash)).collect();
        for (ix, row) in rows.iter_mut().enumerate().filter(|(_, row)| **row == NONE) {
            let hash = self.hashes[ix];
            *row = self.function_ids.row(hash);
            if *row == NONE {
                *row = self.add_function(hash, named, &named.functions[ix], &name);
            }
        }
        rows
    }

    #[cold]
    fn add_function(
        &mut self,
        hash: u128,
        named: &Named<'_>,
        of: &Function,
        name: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> u32 {
        let [own_name, system_name, filename] = of.texts;
        let symbol = named.texts[system_name as usize];
        let [system_name, filename] = [system_name, filename].map(|text| self.text(named, text));
        let name = match named.texts[own_name as usize] {
            [] => name(symbol).map_or(system_name, |name| self.string(self.key.bytes(Domain::String, &name), &name)),
            _ => self.text(named, own_name),
        };
        let row = self.symbols.functions.push([name, system_name, filename], of.start_line);
        self.function_ids.insert(hash, row);
        row
    }

    fn locations(&mut self, named: &Named<'_>, mappings: &[u32], functions: &[u32]) -> Vec<u32> {
        let row_of = |rows: &[u32], ix: u32| if ix == NONE { NONE } else { rows[ix as usize] };
        let mut begin = 0;
        self.hashes.clear();
        self.hashes.extend(named.locations.iter().map(|location| {
            let end = location.line_end as usize;
            let lines = &named.lines[begin..end];
            begin = end;
            let mapping = u64::from(row_of(mappings, location.mapping));
            if let [Line { function, line, column: 0 }] = lines {
                // as nearly all are
                let mut hasher = self.key.start(Domain::Line);
                hasher.mix(location.address, mapping | u64::from(row_of(functions, *function)) << 32);
                return hasher.finish(*line as u64);
            }
            let mut hasher = self.key.start(Domain::Location);
            hasher.mix(location.address, mapping | (lines.len() as u64) << 32);
            for line in lines {
                hasher.mix(line.line as u64, u64::from(row_of(functions, line.function)));
                hasher.mix(line.column as u64, 0);
            }
            hasher.finish(0)
        }));
        let mut rows: Vec<u32> = self.hashes.iter().map(|&hash| self.location_ids.row(hash)).collect();
        for (ix, row) in rows.iter_mut().enumerate().filter(|(_, row)| **row == NONE) {
            let hash = self.hashes[ix];
            *row = self.location_ids.row(hash);
            if *row != NONE {
                continue;
            }
            let location = named.locations[ix];
            let begin = if ix == 0 { 0 } else { named.locations[ix - 1].line_end };
            let Symbols { locations, lines, .. } = &mut self.symbols;
            for line in &named.lines[begin as usize..location.line_end as usize] {
                lines.function.push(row_of(functions, line.function));
                lines.line.push(line.line);
                lines.column.push(line.column);
            }
            *row = locations.len() as u32;
            locations.mapping.push(row_of(mappings, location.mapping));
            locations.address.push(location.address);
            locations.is_folded.push(false);
            locations.line_end.push(lines.line.len() as u32);
            self.location_ids.insert(hash, *row);
        }
        rows
    }

    fn stack_rows(&mut self, named: &Named<'_>, locations: &[u32]) -> Vec<u32> {
        let frames: Vec<u32> = named.frames.iter().map(|&frame| locations[frame as usize]).collect();
        let mut begin = 0;
        self.hashes.clear();
        self.hashes.extend(named.stack_end.iter().map(|&end| {
            let run = &frames[begin..end as usize];
            begin = end as usize;
            self.key.ids(Domain::Stack, run.iter().copied())
        }));
        let mut rows: Vec<u32> = self.hashes.iter().map(|&hash| self.stack_ids.row(hash)).collect();
        for (ix, row) in rows.iter_mut().enumerate().filter(|(_, row)| **row == NONE) {
            let hash = self.hashes[ix];
            *row = self.stack_ids.row(hash);
            if *row == NONE {
                let begin = if ix == 0 { 0 } else { named.stack_end[ix - 1] };
                *row = self.stacks.push(&frames[begin as usize..named.stack_end[ix] as usize]);
                self.stack_ids.insert(hash, *row);
            }
        }
        rows
    }

    fn mapping(&mut self, named: &Named<'_>, of: &Binary) -> u32 {
        let mut hasher = self.key.start(Domain::Mapping);
        hasher.child(self.text_hashes[of.file as usize]);
        hasher.child(self.text_hashes[of.build_id as usize]);
        let hash = hasher.finish(0);
        if let Some(row) = self.mapping_ids.find(hash) {
            return row;
        }
        let [file, build_id] = [of.file, of.build_id].map(|text| self.text(named, text));
        let row = self.symbols.mappings.push(file, build_id, of.range, 0);
        self.mapping_ids.insert(hash, row);
        row
    }

    /// The row of the message's `text`.
    fn text(&mut self, named: &Named<'_>, text: u32) -> u32 {
        self.string(self.text_hashes[text as usize], named.texts[text as usize])
    }

    fn string(&mut self, hash: u128, text: &[u8]) -> u32 {
        if let Some(row) = self.string_ids.find(hash) {
            return row;
        }
        let row = self.symbols.strings.push(text);
        self.string_ids.insert(hash, row);
        row
    }

    /// The locations at `rows`, and what they are made of, as tables of their own: the first of `rows` is location 0.
    pub fn excerpt(&self, rows: &[u32]) -> Symbols {
        let from = &self.symbols;
        let mut excerpt = Excerpt {
            from,
            into: Symbols { strings: Strings::with_empty(), ..Symbols::default() },
            strings: HashMap::from_iter([(0, 0)]),
            mappings: HashMap::default(),
            functions: HashMap::default(),
        };
        for &row in rows {
            let mapping = excerpt.mapping(from.locations.mapping[row as usize]);
            for line in from.locations.lines(row) {
                let function = excerpt.function(from.lines.function[line]);
                let lines = &mut excerpt.into.lines;
                lines.function.push(function);
                lines.line.push(from.lines.line[line]);
                lines.column.push(from.lines.column[line]);
            }
            let Symbols { locations, lines, .. } = &mut excerpt.into;
            locations.mapping.push(mapping);
            locations.address.push(from.locations.address[row as usize]);
            locations.is_folded.push(from.locations.is_folded[row as usize]);
            locations.line_end.push(lines.line.len() as u32);
        }
        excerpt.into
    }

    /// Bytes held, by capacity.
    fn bytes(&self) -> u64 {
        let Symbols { strings, mappings, functions, lines, locations } = &self.symbols;
        let tables = strings.bytes.capacity()
            + strings.spans.capacity() * 8
            + mappings.file.capacity() * 33
            + functions.name.capacity() * 20
            + lines.line.capacity() * 20
            + locations.address.capacity() * 17
            + self.stacks.end.capacity() * 4
            + self.stacks.locations.capacity() * 4;
        let ids = [&self.string_ids, &self.mapping_ids, &self.function_ids, &self.location_ids, &self.stack_ids];
        (tables
            + (self.text_hashes.capacity() + self.hashes.capacity()) * 16
            + ids.iter().map(|ids| ids.bytes()).sum::<usize>()) as u64
    }
}

type Map = HashMap<u32, u32, foldhash::fast::RandomState>;

/// Rows of a dictionary on their way into tables of their own, each once.
struct Excerpt<'a> {
    from: &'a Symbols,
    into: Symbols,
    strings: Map,
    mappings: Map,
    functions: Map,
}

impl Excerpt<'_> {
    fn string(&mut self, row: u32) -> u32 {
        let strings = &mut self.into.strings;
        *self.strings.entry(row).or_insert_with(|| strings.push(self.from.strings.get(row)))
    }

    fn mapping(&mut self, row: u32) -> u32 {
        if row == NONE {
            return NONE;
        }
        if let Some(&known) = self.mappings.get(&row) {
            return known;
        }
        let (of, at) = (&self.from.mappings, row as usize);
        let (file, build_id) = (self.string(of.file[at]), self.string(of.build_id[at]));
        let new = self.into.mappings.push(file, build_id, of.range(at), of.flags[at]);
        self.mappings.insert(row, new);
        new
    }

    fn function(&mut self, row: u32) -> u32 {
        if row == NONE {
            return NONE;
        }
        if let Some(&known) = self.functions.get(&row) {
            return known;
        }
        let (of, at) = (&self.from.functions, row as usize);
        let texts = of.texts(at).map(|text| self.string(text));
        let new = self.into.functions.push(texts, of.start_line[at]);
        self.functions.insert(row, new);
        new
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::batch::Batch;

    /// Random, and small, so that much of it is named again. Small numbers are all that there is to tell by.
    struct Rng(u64);

    impl Rng {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (self.0 >> 33) % end
        }
    }

    const TEXTS: [&[u8]; 6] = [b"", b"a", b"main.work", b"/src/a/rather/long/path.go", b"\xff\xfe", b"_Z1fv"];

    /// A message, and each stack of it in words.
    fn named(rng: &mut Rng) -> (Named<'static>, Vec<String>) {
        let mut named = Named::default();
        named.texts.extend((0..rng.below(10)).map(|_| TEXTS[rng.below(6) as usize]));
        let texts = named.texts.clone();
        let text = |rng: &mut Rng| rng.below(texts.len() as u64) as u32;
        let say = |text: u32| texts[text as usize];
        for _ in 0..rng.below(3) {
            named.mappings.push(Binary { file: text(rng), build_id: text(rng), range: [rng.below(3), 9, 9] });
        }
        for _ in 0..rng.below(8) {
            let texts = [text(rng), text(rng), text(rng)];
            named.functions.push(Function { texts, start_line: rng.below(2) as i64 });
        }
        let or_none =
            |rng: &mut Rng, len: usize| if len == 0 || rng.below(4) == 0 { NONE } else { rng.below(len as u64) as u32 };
        let mut words = Vec::new();
        for _ in 0..1 + rng.below(12) {
            let (address, mapping) = (rng.below(3), or_none(rng, named.mappings.len()));
            let binary = named.mappings.get(mapping as usize).map(|of| (say(of.file), say(of.build_id)));
            let mut lines = Vec::new();
            for _ in 0..rng.below(3) {
                let function = or_none(rng, named.functions.len());
                let line = Line { function, line: rng.below(2) as i64 - 1, column: rng.below(2) as i64 };
                let of = named.functions.get(function as usize);
                let of = of.map(|of| {
                    let [name, system_name, file] = of.texts.map(say);
                    (called(name, system_name), system_name, file, of.start_line)
                });
                lines.push(format!("{of:?} {} {}", line.line, line.column));
                named.lines.push(line);
            }
            named.locations.push(Location { address, mapping, line_end: named.lines.len() as u32 });
            words.push(format!("{binary:?} {address} {lines:?}"));
        }
        let mut stacks = Vec::new();
        for _ in 0..rng.below(12) {
            let frames: Vec<u32> = (0..rng.below(5)).map(|_| rng.below(words.len() as u64) as u32).collect();
            stacks.push(frames.iter().map(|&frame| words[frame as usize].as_str()).collect::<Vec<_>>().join(" < "));
            named.frames.extend(frames);
            named.stack_end.push(named.frames.len() as u32);
        }
        (named, stacks)
    }

    fn meaning(symbol: &[u8]) -> Option<Vec<u8>> {
        (symbol == b"_Z1fv").then(|| b"f".to_vec())
    }

    fn called(name: &[u8], system_name: &[u8]) -> Vec<u8> {
        match name {
            [] => meaning(system_name).unwrap_or_else(|| system_name.to_vec()),
            name => name.to_vec(),
        }
    }

    /// The stack of `row` in words.
    fn told(symbols: &Symbols, stacks: &Stacks, row: u32) -> String {
        let text = |row: u32| symbols.strings.get(row);
        let words = stacks.get(row).iter().map(|&location| {
            let at = location as usize;
            let mapping = symbols.locations.mapping[at] as usize;
            let of = &symbols.mappings;
            let binary = (mapping != NONE as usize).then(|| (text(of.file[mapping]), text(of.build_id[mapping])));
            let lines: Vec<String> = (symbols.locations.lines(location))
                .map(|line| {
                    let (of, function) = (&symbols.functions, symbols.lines.function[line] as usize);
                    let of = (function != NONE as usize).then(|| {
                        let name = text(of.name[function]).to_vec();
                        (name, text(of.system_name[function]), text(of.filename[function]), of.start_line[function])
                    });
                    format!("{of:?} {} {}", symbols.lines.line[line], symbols.lines.column[line])
                })
                .collect();
            format!("{binary:?} {} {lines:?}", symbols.locations.address[at])
        });
        words.collect::<Vec<_>>().join(" < ")
    }

    #[test]
    fn rows_mean_what_messages_said_and_the_same_never_has_two() {
        for seed in 0..300 {
            let mut rng = Rng(seed);
            let dictionary = Arc::new(Dictionary::new(HashKey::new([seed, 7])));
            let mut all: HashMap<String, u32> = HashMap::new();
            for _ in 0..12 {
                let (named, words) = named(&mut rng);
                let rows = dictionary.lock().rows(&named, meaning);
                assert_eq!(rows.len(), words.len());
                let held = dictionary.lock();
                for (row, word) in rows.iter().zip(&words) {
                    assert_eq!(told(held.symbols(), held.stacks(), *row), *word, "seed {seed}");
                }
                drop(held);
                // functions that are called otherwise may come to be the same
                if named.functions.iter().all(|of| named.texts[of.texts[0] as usize] != b"") {
                    for (row, word) in rows.iter().zip(&words) {
                        assert_eq!(*all.entry(word.clone()).or_insert(*row), *row, "seed {seed}: {word}");
                    }
                }
                assert!(rows.iter().all(|&row| (row as usize) < dictionary.stack_count()));

                // on its own a batch says the same
                let mut batch = Batch { dictionary: Some(dictionary.clone()), ..Batch::default() };
                batch.symbols.strings = Strings::with_empty();
                batch.samples.stack.clone_from(&rows);
                let own = batch.without_dictionary();
                for (stack, word) in own.samples.stack.iter().zip(&words) {
                    assert_eq!(told(&own.symbols, &own.stacks, *stack), *word, "seed {seed}");
                }
            }
            assert!(dictionary.bytes() > 0);
        }
    }
}
