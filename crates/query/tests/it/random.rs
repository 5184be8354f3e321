//! Random batches over a small universe, so that frames, stacks and labels meet often: the same content
//! under different row numbers, inlined and nameless frames, several binaries, clashes of metadata.

use std::collections::HashMap;

use profile::{Batch, LabelSets, Labels, MappingRange, NONE, Profiles, Stream, Strings, Symbols, ValueType};

/// xorshift64*: a seed gives the same profiles for ever.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    pub fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// (name, system name, file, start line)
    pub function: Option<(&'static str, &'static str, &'static str, i64)>,
    pub line: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    /// (file, build ID)
    pub binary: Option<(&'static str, &'static str)>,
    /// Relative to the binary.
    pub address: u64,
    /// Innermost first.
    pub lines: Vec<Line>,
}

/// Where every binary lies.
pub const START: u64 = 0x40_0000;

#[derive(Clone, Debug)]
pub struct Sample {
    /// Leaf first.
    pub stack: Vec<Location>,
    pub values: [i64; 2],
    pub labels: Vec<(&'static str, &'static str)>,
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub labels: Labels,
    pub delta: bool,
    pub time: i64,
    pub duration: i64,
    pub period: i64,
    pub samples: Vec<Sample>,
}

pub const NAME: &str = "process_cpu";
pub const SECOND: i64 = 1_000_000_000;

pub fn sample_types() -> Vec<ValueType> {
    vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")]
}

pub fn period_type() -> ValueType {
    ValueType::new("cpu", "nanoseconds")
}

fn location(random: &mut Random) -> Location {
    const BINARIES: [Option<(&str, &str)>; 4] =
        [None, Some(("/bin/app", "aa11")), Some(("/bin/app", "bb22")), Some(("/lib/noid.so", ""))];
    const NAMES: [&str; 6] = ["", "main", "work", "größe", "alloc", "free"];
    let line = |random: &mut Random| {
        let name = *random.pick(&NAMES);
        let system_name = if random.chance(4) { *random.pick(&NAMES) } else { name };
        let file = *random.pick(&["a.go", "a.go", "b.go"]);
        let function = (!random.chance(9)).then_some((name, system_name, file, 1 + random.below(2) as i64));
        Line { function, line: 1 + random.below(3) as i64 }
    };
    let lines = [0, 1, 1, 1, 1, 2, 3][random.below(7)];
    Location {
        binary: *random.pick(&BINARIES),
        address: random.below(4) as u64,
        lines: (0..lines).map(|_| line(random)).collect(),
    }
}

pub fn profile(random: &mut Random) -> Profile {
    let universe: Vec<Location> = (0..1 + random.below(12)).map(|_| location(random)).collect();
    let mut labels = vec![("job".to_owned(), (*random.pick(&["api", "web"])).to_owned())];
    if random.chance(2) {
        labels.push(("zone".to_owned(), (*random.pick(&["eu", "us"])).to_owned()));
    }
    let samples = (0..random.below(20))
        .map(|_| {
            let depth = random.below(6);
            let labels = match random.below(4) {
                0 => vec![("endpoint", *random.pick(&["GET", "PUT"]))],
                1 => vec![("endpoint", "GET"), ("zone", "moon")],
                _ => vec![],
            };
            Sample {
                stack: (0..depth).map(|_| random.pick(&universe).clone()).collect(),
                values: [random.below(4) as i64, [0, 10, 10, 25, -3][random.below(5)]],
                labels,
            }
        })
        .collect();
    Profile {
        labels: Labels::from_pairs(labels),
        delta: true,
        time: random.below(60) as i64 * SECOND + 1_000 * SECOND,
        duration: (1 + random.below(3)) as i64 * SECOND,
        period: 10,
        samples,
    }
}

pub fn profiles(seed: u64) -> Vec<Profile> {
    let mut random = Random::new(seed);
    (0..1 + random.below(6)).map(|_| profile(&mut random)).collect()
}

/// Spreads profiles over parts, several profiles in some.
pub fn batches(seed: u64, profiles: &[Profile]) -> Vec<Batch> {
    let mut random = Random::new(seed ^ 77);
    let mut groups: Vec<Vec<Profile>> = vec![Vec::new()];
    for profile in profiles {
        if random.chance(2) {
            groups.push(Vec::new());
        }
        let last = groups.len() - 1;
        groups[last].push(profile.clone());
    }
    groups.iter().map(|group| batch(group)).collect()
}

#[derive(Default)]
struct Tables {
    symbols: Symbols,
    strings: HashMap<String, u32>,
    locations: HashMap<Location, u32>,
    functions: HashMap<(&'static str, &'static str, &'static str, i64), u32>,
    mappings: HashMap<(&'static str, &'static str), u32>,
}

impl Tables {
    fn string(&mut self, string: &str) -> u32 {
        if let Some(&ix) = self.strings.get(string) {
            return ix;
        }
        let ix = self.symbols.strings.push(string.as_bytes());
        self.strings.insert(string.to_owned(), ix);
        ix
    }

    fn location(&mut self, location: &Location) -> u32 {
        if let Some(&ix) = self.locations.get(location) {
            return ix;
        }
        let mapping = location.binary.map_or(NONE, |binary| {
            self.mappings.get(&binary).copied().unwrap_or_else(|| {
                let (file, build_id) = (self.string(binary.0), self.string(binary.1));
                let mappings = &mut self.symbols.mappings;
                mappings.file.push(file);
                mappings.build_id.push(build_id);
                mappings.start.push(START);
                mappings.limit.push(START + 0x1000);
                mappings.offset.push(0);
                mappings.flags.push(0);
                let ix = mappings.len() as u32 - 1;
                self.mappings.insert(binary, ix);
                ix
            })
        });
        for line in &location.lines {
            let function = line.function.map_or(NONE, |function| {
                self.functions.get(&function).copied().unwrap_or_else(|| {
                    let (name, system_name, file) =
                        (self.string(function.0), self.string(function.1), self.string(function.2));
                    let functions = &mut self.symbols.functions;
                    functions.name.push(name);
                    functions.system_name.push(system_name);
                    functions.filename.push(file);
                    functions.start_line.push(function.3);
                    let ix = functions.len() as u32 - 1;
                    self.functions.insert(function, ix);
                    ix
                })
            });
            self.symbols.lines.function.push(function);
            self.symbols.lines.line.push(line.line);
            self.symbols.lines.column.push(0);
        }
        let locations = &mut self.symbols.locations;
        locations.mapping.push(mapping);
        locations.address.push(location.address);
        locations.is_folded.push(false);
        locations.line_end.push(self.symbols.lines.line.len() as u32);
        let ix = locations.len() as u32 - 1;
        self.locations.insert(location.clone(), ix);
        ix
    }
}

pub fn batch(profiles: &[Profile]) -> Batch {
    let mut tables = Tables::default();
    tables.symbols.strings = Strings::with_empty();
    tables.strings.insert(String::new(), 0);
    let mut batch = Batch { label_sets: LabelSets::with_empty(), ..Batch::default() };
    batch.profiles = Profiles::default();
    let mut stacks: HashMap<Vec<u32>, u32> = HashMap::new();
    let mut label_sets = HashMap::from([(Vec::new(), 0)]);
    for profile in profiles {
        let stream = Stream {
            tenant: String::new(),
            name: NAME.to_owned(),
            labels: profile.labels.clone(),
            period_type: period_type(),
            delta: profile.delta,
            sample_types: sample_types(),
        };
        let stream_ix = batch.streams.iter().position(|known| *known == stream).unwrap_or_else(|| {
            batch.streams.push(stream);
            batch.streams.len() - 1
        });
        for sample in &profile.samples {
            let run: Vec<u32> = sample.stack.iter().map(|location| tables.location(location)).collect();
            let table = &mut batch.stacks;
            batch.samples.stack.push(*stacks.entry(run).or_insert_with_key(|run| table.push(run)));
            batch.samples.values.extend(sample.values);
            let sets = &mut batch.label_sets;
            if let Some(&known) = label_sets.get(&sample.labels) {
                batch.samples.label_set.push(known);
                continue;
            }
            for (name, value) in &sample.labels {
                sets.key.push(tables.string(name));
                sets.str.push(tables.string(value));
                sets.num.push(0);
                sets.unit.push(0);
            }
            sets.end.push(sets.key.len() as u32);
            batch.samples.label_set.push(sets.len() as u32 - 1);
            label_sets.insert(sample.labels.clone(), sets.len() as u32 - 1);
        }
        let rows = &mut batch.profiles;
        rows.stream.push(stream_ix as u32);
        rows.time.push(profile.time);
        rows.time_max.push(profile.time);
        rows.duration.push(profile.duration);
        rows.period.push(profile.period);
        rows.sample_end.push(batch.samples.stack.len() as u32);
        // all that were met so far, and with them its own
        let mappings = 0..tables.symbols.mappings.len() as u32;
        rows.mapping_ranges.extend(mappings.map(|mapping| MappingRange {
            mapping,
            start: START,
            limit: START + 0x1000,
            offset: 0,
        }));
        rows.mapping_end.push(rows.mapping_ranges.len() as u32);
    }
    batch.symbols = tables.symbols;
    batch
}
