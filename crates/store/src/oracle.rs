//! A slow, simple store for tests: what parts must answer, computed straight from the batches, by content
//! and without any index.

use std::collections::BTreeMap;
use std::sync::Arc;

use profile::{
    Batch, LabelSets, Labels, MappingRange, NONE, PprofExtras, Stacks, Stream, Strings, Symbols, ValueType, tree,
};

use crate::part::{Part, Pick, ProfileExport};

pub(crate) const TENANTS: [&str; 2] = ["", "acme"];

/// xorshift64*, so that a failing seed can be run again.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn value(&mut self) -> i64 {
        match self.below(8) {
            0 | 1 => 0,
            2 => -(self.below(5) as i64),
            3 => i64::MAX - self.below(2) as i64,
            4 => i64::MIN + self.below(2) as i64,
            _ => self.below(1000) as i64,
        }
    }

    fn pick(&mut self, len: usize) -> u32 {
        self.below(len as u64) as u32
    }
}

/// A batch of a few profiles with every feature that a batch can have, over few names, so that several
/// batches share symbols. Hour-sized spread of times.
pub(crate) fn random_batch(rng: &mut Rng) -> Batch {
    let mut batch = Batch::default();
    let mut strings = Strings::with_empty();
    for _ in 0..12 {
        match rng.below(12) {
            0 => strings.push(&[b'x', 0xff, b'0' + rng.below(3) as u8]),
            1 => strings.push("naïve ∑".as_bytes()),
            _ => strings.push(format!("name{}", rng.below(20)).as_bytes()),
        };
    }
    let names = strings.len();
    batch.symbols.strings = strings;
    let symbols = &mut batch.symbols;
    for _ in 0..rng.below(3) {
        let of = &mut symbols.mappings;
        of.file.push(rng.pick(names));
        of.build_id.push(rng.pick(names));
        of.start.push(rng.below(1 << 40));
        of.limit.push(rng.below(1 << 40));
        of.offset.push(rng.below(1 << 20));
        of.flags.push(rng.below(16) as u8);
    }
    for _ in 0..1 + rng.below(8) {
        let of = &mut symbols.functions;
        of.name.push(rng.pick(names));
        of.system_name.push(rng.pick(names));
        of.filename.push(rng.pick(names));
        of.start_line.push(rng.value());
    }
    let functions = symbols.functions.len();
    for _ in 0..1 + rng.below(12) {
        for _ in 0..rng.below(4) {
            let none = rng.below(8) == 0;
            symbols.lines.function.push(if none { NONE } else { rng.pick(functions) });
            symbols.lines.line.push(rng.value());
            symbols.lines.column.push(rng.below(3) as i64);
        }
        let mappings = symbols.mappings.len();
        let none = mappings == 0 || rng.below(4) == 0;
        symbols.locations.mapping.push(if none { NONE } else { rng.pick(mappings) });
        symbols.locations.address.push(if rng.below(8) == 0 { u64::MAX } else { rng.below(5) });
        symbols.locations.is_folded.push(rng.below(8) == 0);
        symbols.locations.line_end.push(symbols.lines.line.len() as u32);
    }
    let locations = symbols.locations.len();
    for _ in 0..1 + rng.below(12) {
        let run: Vec<u32> = (0..rng.below(11)).map(|_| rng.pick(locations)).collect();
        batch.stacks.push(&run);
    }
    let with_labels = rng.below(2) == 0;
    if with_labels {
        batch.label_sets = LabelSets::with_empty();
        for _ in 0..rng.below(5) {
            let sets = &mut batch.label_sets;
            for _ in 0..1 + rng.below(3) {
                let numeric = rng.below(2) == 0;
                sets.key.push(rng.pick(names));
                sets.str.push(if numeric { 0 } else { rng.pick(names) });
                sets.num.push(if numeric { rng.value() } else { 0 });
                sets.unit.push(if numeric { rng.pick(names) } else { 0 });
            }
            sets.end.push(sets.key.len() as u32);
        }
    }
    let width = 1 + rng.below(3) as usize;
    for _ in 0..1 + rng.below(4) {
        let pod = rng.below(4);
        let labels = [
            ("service".to_owned(), format!("s{}", rng.below(3))),
            ("pod".to_owned(), if pod == 0 { String::new() } else { format!("p{pod} \"quoted\"\n") }),
        ];
        let kind = rng.below(3);
        batch.streams.push(Stream {
            tenant: TENANTS[rng.below(2) as usize].to_owned(),
            name: format!("process_{}", rng.below(2)),
            labels: Labels::from_pairs(labels),
            period_type: ValueType::new("cpu", "nanoseconds"),
            delta: rng.below(2) == 0,
            sample_types: (0..width).map(|ix| ValueType::new(format!("kind{kind}_{ix}"), "count")).collect(),
        });
    }
    let stamped = rng.below(3) == 0;
    let with_extras = rng.below(2) == 0;
    for _ in 0..1 + rng.below(5) {
        let stream = rng.pick(batch.streams.len());
        let far = if rng.below(6) == 0 { 20_000_000_000_000 } else { 0 };
        let time = far + rng.below(100) as i64 * 60_000_000_000;
        let scaled = (rng.below(2) == 0).then(|| rng.value());
        let mut time_max = time;
        for _ in 0..rng.below(12) {
            batch.samples.stack.push(rng.pick(batch.stacks.len()));
            if with_labels {
                batch.samples.label_set.push(rng.pick(batch.label_sets.len()));
            }
            let first = rng.value();
            batch.samples.values.push(first);
            for _ in 1..width {
                let value = scaled.map_or_else(|| rng.value(), |scale| first.wrapping_mul(scale));
                batch.samples.values.push(value);
            }
            if stamped {
                let at = time + rng.below(1000) as i64;
                time_max = time_max.max(at);
                batch.samples.time.push(at);
            }
        }
        let of = &mut batch.profiles;
        of.stream.push(stream);
        of.time.push(time);
        of.time_max.push(time_max);
        of.duration.push(rng.below(3) as i64);
        of.period.push(rng.value());
        of.sample_end.push(batch.samples.stack.len() as u32);
        for mapping in 0..batch.symbols.mappings.len() as u32 {
            of.mapping_ranges.push(MappingRange { mapping, start: rng.below(4), limit: 9, offset: u64::MAX });
        }
        of.mapping_end.push(of.mapping_ranges.len() as u32);
        if with_extras {
            of.extras.push(PprofExtras {
                comments: (0..rng.below(3)).map(|_| rng.pick(names)).collect(),
                drop_frames: rng.pick(names),
                keep_frames: rng.pick(names),
                default_sample_type: rng.pick(names),
                doc_url: rng.pick(names),
            });
        }
    }
    batch
}

/// Everything a part says about one profile, by content.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    stream: Stream,
    /// time, time_max, duration, period
    times: [i64; 4],
    samples: u32,
    totals: Vec<(i64, u32)>,
    /// Per sample type: the samples with a value, as (stack, labels, time, value), sorted.
    rows: Vec<Vec<(String, String, i64, i64)>>,
    export: String,
}

fn string(strings: &Strings, ix: u32) -> String {
    strings.get_str(ix).into_owned()
}

fn mapping(symbols: &Symbols, ix: u32) -> String {
    let of = &symbols.mappings;
    let [file, id] = [of.file[ix as usize], of.build_id[ix as usize]].map(|ix| string(&symbols.strings, ix));
    format!("{file:?} {id:?}")
}

fn stack(symbols: &Symbols, stacks: &Stacks, ix: u32) -> String {
    let Symbols { strings, functions, lines, locations, .. } = symbols;
    let mut text = String::new();
    for &location in stacks.get(ix) {
        let at = location as usize;
        if locations.mapping[at] != NONE {
            text += &mapping(symbols, locations.mapping[at]);
        }
        text += &format!("+{} {} [", locations.address[at], locations.is_folded[at]);
        for line in locations.lines(location) {
            if lines.function[line] != NONE {
                let ix = lines.function[line] as usize;
                let names = [functions.name[ix], functions.system_name[ix], functions.filename[ix]];
                text += &format!("{:?} {}", names.map(|ix| string(strings, ix)), functions.start_line[ix]);
            }
            text += &format!(" {}:{};", lines.line[line], lines.column[line]);
        }
        text += "] ";
    }
    text
}

fn label_set(strings: &Strings, sets: &LabelSets, ix: u32) -> String {
    if sets.is_empty() {
        return String::new();
    }
    let one = |row: usize| {
        let [key, str, unit] = [sets.key[row], sets.str[row], sets.unit[row]].map(|ix| string(strings, ix));
        format!("{key:?}={str:?} {} {unit:?};", sets.num[row])
    };
    sets.rows(ix).map(one).collect()
}

fn export(symbols: &Symbols, mappings: &[MappingRange], extras: &PprofExtras) -> String {
    let mut text = String::new();
    for range in mappings {
        text += &format!("{} {} {} {};", mapping(symbols, range.mapping), range.start, range.limit, range.offset);
    }
    let text_of = |ix: &u32| string(&symbols.strings, *ix);
    let named = [extras.drop_frames, extras.keep_frames, extras.default_sample_type, extras.doc_url];
    let comments: Vec<String> = extras.comments.iter().map(text_of).collect();
    text + &format!("{comments:?} {:?}", named.each_ref().map(text_of))
}

/// What parts must answer about the profiles of `tenant` in `batches`.
pub(crate) fn expected(batches: &[Batch], tenant: &str) -> Vec<Answer> {
    let mut answers = Vec::new();
    for batch in batches {
        let of = &batch.profiles;
        for row in 0..of.len() {
            let stream = batch.streams[of.stream[row] as usize].clone();
            if stream.tenant != tenant {
                continue;
            }
            let width = stream.sample_types.len();
            let mut totals = vec![(0i64, 0u32); width];
            let mut rows = vec![Vec::new(); width];
            for sample in of.samples(row) {
                let stack = stack(&batch.symbols, &batch.stacks, batch.samples.stack[sample]);
                let set = batch.samples.label_set.get(sample).copied().unwrap_or(0);
                let labels = label_set(&batch.symbols.strings, &batch.label_sets, set);
                let time = batch.samples.time.get(sample).copied().unwrap_or(of.time[row]);
                for (value, this) in batch.samples.values[sample * width..][..width].iter().enumerate() {
                    if *this != 0 {
                        totals[value].0 = totals[value].0.wrapping_add(*this);
                        totals[value].1 += 1;
                        rows[value].push((stack.clone(), labels.clone(), time, *this));
                    }
                }
            }
            rows.iter_mut().for_each(|rows| rows.sort());
            answers.push(Answer {
                stream,
                times: [of.time[row], of.time_max[row], of.duration[row], of.period[row]],
                samples: of.samples(row).len() as u32,
                totals,
                rows,
                export: export(&batch.symbols, of.mappings(row), &of.extras.get(row).cloned().unwrap_or_default()),
            });
        }
    }
    answers.sort();
    answers
}

/// What parts do answer; also checks each part against itself. Panics where a part gives an error.
pub(crate) fn answers(parts: &[Arc<dyn Part>]) -> Vec<Answer> {
    let mut answers: Vec<Answer> = parts.iter().flat_map(|part| answers_of(&**part).expect("a sound part")).collect();
    answers.sort();
    answers
}

/// What one part answers, or its first error.
pub(crate) fn answers_of(part: &dyn Part) -> Result<Vec<Answer>, crate::error::ReadError> {
    let symbols = part.symbols()?;
    let label_sets = part.label_sets()?;
    let trees = tree::build(&symbols.symbols, &symbols.stacks);
    assert!(*part.name_tree()? == trees.name, "the name tree is that of the symbols");
    assert!(*part.location_tree()? == trees.location, "the location tree is that of the symbols");
    let stacks: Vec<String> =
        (0..symbols.stacks.len() as u32).map(|ix| stack(&symbols.symbols, &symbols.stacks, ix)).collect();
    let mut answers = Vec::new();
    let table = part.profiles();
    let stream_sets: Vec<_> =
        (0..part.streams().len() as u32).map(|stream| part.stream_label_sets(stream)).collect::<Result<_, _>>()?;
    for row in 0..table.len() {
        let stream = part.streams()[table.stream[row] as usize].clone();
        let width = stream.sample_types.len();
        let mut rows = vec![Vec::new(); width];
        for (value, rows) in rows.iter_mut().enumerate() {
            let pick = Pick { profile: row as u32, value: value as u16, weight: 1, label_sets: None };
            part.samples(&[pick], &|| true, &mut |sample| {
                let labels = label_set(&label_sets.strings, &label_sets.sets, sample.label_set);
                let listed = &stream_sets[table.stream[row] as usize];
                assert!(listed.contains(&sample.label_set), "a label set is listed for its stream");
                rows.push((stacks[sample.stack as usize].clone(), labels, sample.time, sample.value));
            })?;
            rows.sort();
        }
        let ProfileExport { mappings, extras } = part.export(row as u32)?;
        answers.push(Answer {
            stream,
            times: [table.time[row], table.time_max[row], table.duration[row], table.period[row]],
            samples: table.samples[row],
            totals: (0..width).map(|value| table.total(row, value)).collect(),
            rows,
            export: export(&symbols.symbols, &mappings, &extras),
        });
    }
    Ok(answers)
}

/// Random picks summed by stack, against a sum over the visited samples.
pub(crate) fn check_sums(parts: &[Arc<dyn Part>], rng: &mut Rng) {
    for part in parts {
        let sets = part.label_sets().expect("a sound part").sets.len();
        let taken: Vec<bool> = (0..sets).map(|_| rng.below(2) == 0).collect();
        let table = part.profiles();
        let mut picks = Vec::new();
        for profile in 0..table.len() as u32 {
            let width = part.streams()[table.stream[profile as usize] as usize].sample_types.len();
            for _ in 0..rng.below(3) {
                picks.push(Pick {
                    profile,
                    value: rng.pick(width) as u16,
                    weight: if rng.below(2) == 0 { 1 } else { rng.value() },
                    label_sets: (rng.below(2) == 0).then_some(&taken[..]),
                });
            }
        }
        let sums = part.sum_by_stack(&picks, &|| true).expect("a sound part");
        let mut expected = BTreeMap::new();
        part.samples(&picks, &|| true, &mut |sample| {
            let pick = &picks[sample.pick as usize];
            assert!(pick.label_sets.is_none_or(|taken| taken[sample.label_set as usize]));
            let sum = expected.entry(sample.stack).or_insert(0i64);
            *sum = sum.wrapping_add(sample.value);
        })
        .expect("a sound part");
        assert_eq!(sums.sum.len(), part.symbols().expect("a sound part").stacks.len());
        for stack in 0..sums.sum.len() {
            let sum = expected.get(&(stack as u32));
            assert_eq!((sums.sum[stack], sums.seen[stack]), (sum.copied().unwrap_or(0), sum.is_some()));
        }
        if !picks.is_empty() {
            let stopped = part.sum_by_stack(&picks, &|| false).expect_err("told not to go on");
            assert_eq!(stopped.kind, crate::Kind::Cancelled);
        }
    }
}

pub(crate) fn assert_same(got: &[Answer], expected: &[Answer], seed: u64) {
    assert_eq!(got.len(), expected.len(), "seed {seed}: number of profiles");
    for (got, expected) in got.iter().zip(expected) {
        assert_eq!(got, expected, "seed {seed}");
    }
}
