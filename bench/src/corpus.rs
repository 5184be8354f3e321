//! Deterministic corpora: made-up profiles with the shapes of real fleets.
//!
//! Every corpus is a function of its seed alone, so that two runs, and two machines, measure the same
//! bytes. Profiles are written by a small protobuf writer of this file's own: a peer must not be fed by
//! the codec that is being measured.
//!
//! | corpus | shape |
//! |---|---|
//! | [`fleet`] | 10 services x 10 pods, 10 s Go CPU profiles, about 1,050 of 4,000 stacks each (Zipf), mean depth 32 |
//! | [`heaps`] | 10 services, 4 value types, about 3,600 of 5,000 stacks each |
//! | [`big_merge`] | 16 programs x 200 pods, 611 stacks each, 60 % of them never seen before |
//! | [`agent`] | nodes, pods and threads at 19 Hz: 13 samples a profile, 40 % bare addresses with build IDs |
//! | [`cardinality`] | 20,000 series of 3 to 8 samples |

use libdeflater::{CompressionLvl, Compressor};

/// xoshiro256++ seeded by splitmix64: small, fast, the same everywhere.
#[derive(Clone)]
pub struct Rng([u64; 4]);

impl Rng {
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    pub fn draw(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Uniform in `0..n`; `n` is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.draw() as u128 * n as u128) >> 64) as usize
    }

    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// One raw profile as a client sends it.
#[derive(Clone)]
pub struct Payload {
    pub labels: Vec<(String, String)>,
    /// pprof, uncompressed.
    pub raw: Vec<u8>,
    /// ns since the epoch, as in the profile.
    pub time: i64,
    pub samples: usize,
}

impl Payload {
    /// The same as it is sent: gzipped as Go does by default (level 6).
    pub fn gzip(&self) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::new(6).expect("a level"));
        let mut out = vec![0; compressor.gzip_compress_bound(self.raw.len())];
        let len = compressor.gzip_compress(&self.raw, &mut out).expect("the bound suffices");
        out.truncate(len);
        out
    }
}

/// A program: functions, locations and the stacks that it can be seen in.
struct Program {
    /// Per function: name, system name, file.
    functions: Vec<[String; 3]>,
    /// Per location: function (or none, for a bare address) and line.
    locations: Vec<(Option<u32>, u32)>,
    /// Leaf first.
    stacks: Vec<Vec<u32>>,
    /// Cumulative Zipf weights of the stacks.
    weights: Vec<f64>,
    binary: String,
    build_id: String,
}

struct ProgramShape {
    functions: usize,
    locations: usize,
    stacks: usize,
    depth: (usize, usize),
    /// Share of locations without a name.
    bare: f64,
}

const PACKAGES: [&str; 12] = [
    "runtime",
    "net/http",
    "encoding/json",
    "database/sql",
    "github.com/acme/platform/internal/cache",
    "github.com/acme/platform/pkg/router",
    "google.golang.org/grpc",
    "crypto/tls",
    "compress/gzip",
    "sync",
    "github.com/acme/billing/ledger",
    "bufio",
];
const NOUNS: [&str; 16] = [
    "Conn", "Reader", "Writer", "Request", "Response", "Cache", "Pool", "Ledger", "Router", "Session", "Codec",
    "Stream", "Buffer", "Index", "Worker", "Queue",
];
const VERBS: [&str; 16] = [
    "Read", "Write", "Flush", "Decode", "Encode", "Lookup", "Insert", "Remove", "Accept", "Dispatch", "Marshal",
    "Commit", "Scan", "Resolve", "Retry", "Sweep",
];

impl Program {
    fn new(rng: &mut Rng, name: &str, shape: &ProgramShape) -> Self {
        let functions: Vec<[String; 3]> = (0..shape.functions)
            .map(|ix| {
                let package = PACKAGES[rng.below(PACKAGES.len())];
                let noun = NOUNS[rng.below(NOUNS.len())];
                let verb = VERBS[rng.below(VERBS.len())];
                [
                    format!("{package}.(*{noun}).{verb}{ix}"),
                    format!("{package}.(*{noun}[...]).{verb}{ix}"),
                    format!("/src/{package}/{}_{ix}.go", noun.to_lowercase()),
                ]
            })
            .collect();
        let locations: Vec<(Option<u32>, u32)> = (0..shape.locations)
            .map(|ix| {
                let function = if ix < shape.functions { ix } else { rng.below(shape.functions) };
                let named = rng.unit() >= shape.bare;
                (named.then_some(function as u32), rng.between(10, 900) as u32)
            })
            .collect();
        let mut stacks: Vec<Vec<u32>> = Vec::with_capacity(shape.stacks);
        for _ in 0..shape.stacks {
            stacks.push(Self::branch(rng, &stacks, shape));
        }
        // the order of draws says nothing about the order of creation
        for ix in (1..stacks.len()).rev() {
            stacks.swap(ix, rng.below(ix + 1));
        }
        let mut sum = 0.0;
        let weights = (0..stacks.len())
            .map(|rank| {
                sum += 1.0 / (rank as f64 + 1.0);
                sum
            })
            .collect();
        let build_id = format!("{:016x}{:016x}{:08x}", rng.draw(), rng.draw(), rng.draw() as u32);
        Self { functions, locations, stacks, weights, binary: format!("/usr/local/bin/{name}"), build_id }
    }

    /// A new stack, leaf first: part of an older one from the root on, then calls of its own.
    fn branch(rng: &mut Rng, older: &[Vec<u32>], shape: &ProgramShape) -> Vec<u32> {
        let (low, high) = shape.depth;
        // the mean of two draws leans to the low end, as real depths do
        let depth = rng.between(low, high).min(rng.between(low, high + (high - low) / 2));
        let mut root_first: Vec<u32> = Vec::with_capacity(depth);
        if !older.is_empty() {
            let parent = &older[rng.below(older.len())];
            let shared = rng.below(parent.len()).min(depth - 1);
            root_first.extend(parent.iter().rev().take(shared));
        }
        while root_first.len() < depth {
            root_first.push(rng.below(shape.locations) as u32);
        }
        root_first.reverse();
        root_first
    }

    fn draw(&self, rng: &mut Rng) -> usize {
        let at = rng.unit() * self.weights[self.weights.len() - 1];
        self.weights.partition_point(|&sum| sum <= at).min(self.stacks.len() - 1)
    }

    /// (stack, times drawn) in order of first draw, until `distinct` differ or `draws` are used up.
    fn draws(&self, rng: &mut Rng, distinct: usize, draws: usize) -> Vec<(usize, i64)> {
        let mut slot = vec![u32::MAX; self.stacks.len()];
        let mut drawn: Vec<(usize, i64)> = Vec::with_capacity(distinct);
        for _ in 0..draws {
            let stack = self.draw(rng);
            if slot[stack] == u32::MAX {
                if drawn.len() == distinct {
                    break;
                }
                slot[stack] = drawn.len() as u32;
                drawn.push((stack, 0));
            }
            drawn[slot[stack] as usize].1 += 1;
        }
        drawn
    }
}

/// A protobuf message being written.
#[derive(Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(crate) fn uint(&mut self, field: u64, value: u64) {
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    pub(crate) fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn packed(&mut self, field: u64, values: impl Iterator<Item = u64>, scratch: &mut Message) {
        scratch.0.clear();
        values.for_each(|value| scratch.varint(value));
        self.bytes(field, &scratch.0);
    }
}

/// Numbers strings, functions and locations by first use, as a Go program does.
struct Writer<'a> {
    program: &'a Program,
    strings: std::collections::HashMap<String, u64>,
    table: Vec<String>,
    location_id: Vec<u64>,
    function_id: Vec<u64>,
    used_locations: Vec<u32>,
    samples: Message,
    part: Message,
    packed: Message,
    count: usize,
}

impl<'a> Writer<'a> {
    fn new(program: &'a Program) -> Self {
        let mut writer = Self {
            program,
            strings: std::collections::HashMap::new(),
            table: Vec::new(),
            location_id: vec![0; program.locations.len()],
            function_id: vec![0; program.functions.len()],
            used_locations: Vec::new(),
            samples: Message::default(),
            part: Message::default(),
            packed: Message::default(),
            count: 0,
        };
        writer.string("");
        writer
    }

    fn string(&mut self, text: &str) -> u64 {
        if let Some(&ix) = self.strings.get(text) {
            return ix;
        }
        let ix = self.table.len() as u64;
        self.table.push(text.to_owned());
        self.strings.insert(text.to_owned(), ix);
        ix
    }

    fn sample(&mut self, stack: usize, values: &[i64]) {
        let program = self.program;
        for &location in &program.stacks[stack] {
            if self.location_id[location as usize] == 0 {
                self.used_locations.push(location);
                self.location_id[location as usize] = self.used_locations.len() as u64;
            }
        }
        self.part.0.clear();
        let ids = program.stacks[stack].iter().map(|&location| self.location_id[location as usize]);
        self.part.packed(1, ids, &mut self.packed);
        self.part.packed(2, values.iter().map(|&value| value as u64), &mut self.packed);
        self.samples.bytes(2, &self.part.0);
        self.count += 1;
    }

    /// `types`: sample types, then the period type.
    fn finish(mut self, types: &[(&str, &str)], period: i64, time: i64, duration: i64) -> Vec<u8> {
        let program = self.program;
        let mut out = Message::default();
        let (period_type, sample_types) = types.split_last().expect("a period type");
        let value_type = |writer: &mut Self, (kind, unit): (&str, &str)| {
            let (kind, unit) = (writer.string(kind), writer.string(unit));
            let mut message = Message::default();
            message.uint(1, kind);
            message.uint(2, unit);
            message.0
        };
        for &sample_type in sample_types {
            let message = value_type(&mut self, sample_type);
            out.bytes(1, &message);
        }
        let period_message = value_type(&mut self, *period_type);
        out.0.extend_from_slice(&self.samples.0);

        let (binary, build_id) = (self.string(&program.binary), self.string(&program.build_id));
        let mut mapping = Message::default();
        mapping.uint(1, 1);
        mapping.uint(2, 0x40_0000);
        mapping.uint(3, 0x240_0000);
        mapping.uint(5, binary);
        mapping.uint(6, build_id);
        mapping.uint(7, 1);
        out.bytes(3, &mapping.0);

        let mut functions: Vec<u32> = Vec::new();
        for (ix, &location) in self.used_locations.iter().enumerate() {
            let (function, line) = program.locations[location as usize];
            let mut message = Message::default();
            message.uint(1, ix as u64 + 1);
            message.uint(2, 1);
            message.uint(3, 0x40_1000 + location as u64 * 37);
            if let Some(function) = function {
                let id = &mut self.function_id[function as usize];
                if *id == 0 {
                    functions.push(function);
                    *id = functions.len() as u64;
                }
                let mut line_message = Message::default();
                line_message.uint(1, *id);
                line_message.uint(2, line as u64);
                message.bytes(4, &line_message.0);
            }
            out.bytes(4, &message.0);
        }
        for (ix, &function) in functions.iter().enumerate() {
            let mut message = Message::default();
            message.uint(1, ix as u64 + 1);
            for (field, text) in program.functions[function as usize].iter().enumerate() {
                let text = self.string(text);
                message.uint(field as u64 + 2, text);
            }
            message.uint(5, function as u64 + 1);
            out.bytes(5, &message.0);
        }
        for text in &self.table {
            out.bytes(6, text.as_bytes());
        }
        out.uint(9, time as u64);
        out.uint(10, duration as u64);
        out.bytes(11, &period_message);
        out.uint(12, period as u64);
        out.0
    }
}

/// 2026-01-15T12:00:00Z
pub const START: i64 = 1_768_478_400_000_000_000;
const SECOND: i64 = 1_000_000_000;
const CPU: [(&str, &str); 3] = [("samples", "count"), ("cpu", "nanoseconds"), ("cpu", "nanoseconds")];
const HEAP: [(&str, &str); 5] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
    ("space", "bytes"),
];

fn labels(pairs: &[(&str, String)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
}

fn payload(labels: Vec<(String, String)>, samples: usize, raw: Vec<u8>, time: i64) -> Payload {
    Payload { labels, raw, time, samples }
}

fn programs(seed: u64, names: impl Iterator<Item = String>, shape: &ProgramShape) -> Vec<Program> {
    let mut rng = Rng::new(seed);
    names.map(|name| Program::new(&mut rng, &name, shape)).collect()
}

/// `profiles` profiles: one per pod and 10 s, pod after pod. 10,000 are the whole corpus.
pub fn fleet(profiles: usize) -> impl Iterator<Item = Payload> {
    let shape = ProgramShape { functions: 750, locations: 2_400, stacks: 4_000, depth: (15, 60), bare: 0.0 };
    let services = programs(1, (0..10).map(|ix| format!("service-{ix}")), &shape);
    (0..profiles).map(move |ix| {
        let (round, pod) = (ix / 100, ix % 100);
        let service = pod / 10;
        let mut rng = Rng::new(0xf1ee7 + ix as u64);
        let program = &services[service];
        let distinct = rng.between(1_000, 1_110);
        let mut writer = Writer::new(program);
        for (stack, count) in program.draws(&mut rng, distinct, 20_000) {
            writer.sample(stack, &[count, count * 10_000_000]);
        }
        let time = START + round as i64 * 10 * SECOND;
        let samples = writer.count;
        let raw = writer.finish(&CPU, 10_000_000, time, 10 * SECOND);
        let labels = labels(&[
            ("__name__", "process_cpu".into()),
            ("service", format!("service-{service}")),
            ("pod", format!("service-{service}-{}", pod % 10)),
            ("namespace", "prod".into()),
            ("job", "fleet".into()),
        ]);
        payload(labels, samples, raw, time)
    })
}

/// `profiles` heap profiles of 4 value types; 600 are the whole corpus.
pub fn heaps(profiles: usize) -> impl Iterator<Item = Payload> {
    let shape = ProgramShape { functions: 750, locations: 2_400, stacks: 5_000, depth: (15, 60), bare: 0.0 };
    let services = programs(2, (0..10).map(|ix| format!("service-{ix}")), &shape);
    (0..profiles).map(move |ix| {
        let (round, service) = (ix / 10, ix % 10);
        let mut rng = Rng::new(0x4ea5 + ix as u64);
        let program = &services[service];
        let mut writer = Writer::new(program);
        let distinct = rng.between(3_500, 3_700);
        for (stack, count) in program.draws(&mut rng, distinct, 200_000) {
            let size = 16i64 << (stack % 12);
            let objects = count * 512 + rng.below(512) as i64;
            let live = if rng.unit() < 0.4 { objects / 8 } else { 0 };
            writer.sample(stack, &[objects, objects * size, live, live * size]);
        }
        let time = START + round as i64 * 60 * SECOND;
        let samples = writer.count;
        let raw = writer.finish(&HEAP, 524_288, time, 0);
        let labels = labels(&[
            ("__name__", "memory".into()),
            ("service", format!("service-{service}")),
            ("job", "heaps".into()),
        ]);
        payload(labels, samples, raw, time)
    })
}

/// 3,200 profiles are the whole corpus; a pod sends one.
pub fn big_merge(profiles: usize) -> impl Iterator<Item = Payload> {
    let shape = ProgramShape { functions: 1_930, locations: 10_950, stacks: 32_000, depth: (10, 52), bare: 0.0 };
    let programs = programs(3, (0..16).map(|ix| format!("program-{ix}")), &shape);
    (0..profiles).map(move |ix| {
        let (program_ix, pod) = (ix % 16, ix / 16);
        let mut rng = Rng::new(0xb16 + ix as u64);
        // a pod's own program: 60 % of its stacks are its alone
        let base = &programs[program_ix];
        let mut own = Program {
            functions: base.functions.clone(),
            locations: base.locations.clone(),
            stacks: Vec::with_capacity(611),
            weights: Vec::new(),
            binary: base.binary.clone(),
            build_id: base.build_id.clone(),
        };
        for nth in 0..611 {
            let known = base.draw(&mut rng);
            let stack = match nth % 5 {
                0 | 1 => base.stacks[known].clone(),
                _ => Program::branch(&mut rng, std::slice::from_ref(&base.stacks[known]), &shape),
            };
            own.stacks.push(stack);
        }
        let mut writer = Writer::new(&own);
        for stack in 0..own.stacks.len() {
            let count = 1 + (rng.unit() * rng.unit() * 20.0) as i64;
            writer.sample(stack, &[count, count * 10_000_000]);
        }
        let time = START + pod as i64 * SECOND;
        let samples = writer.count;
        let raw = writer.finish(&CPU, 10_000_000, time, 10 * SECOND);
        let labels = labels(&[
            ("__name__", "process_cpu".into()),
            ("service", format!("program-{program_ix}")),
            ("pod", format!("program-{program_ix}-{pod}")),
            ("job", "big-merge".into()),
        ]);
        payload(labels, samples, raw, time)
    })
}

/// 25 nodes x 20 pods x 3 threads, 13 samples a profile; 45,000 are the whole corpus.
pub fn agent(profiles: usize) -> impl Iterator<Item = Payload> {
    let shape = ProgramShape { functions: 630, locations: 3_000, stacks: 4_750, depth: (8, 34), bare: 0.4 };
    let programs = programs(4, (0..10).map(|ix| format!("app-{ix}")), &shape);
    (0..profiles).map(move |ix| {
        let (round, thread) = (ix / 1_500, ix % 1_500);
        let (node, pod, comm) = (thread / 60, thread / 3, thread % 3);
        let mut rng = Rng::new(0xa9e47 + ix as u64);
        let program = &programs[pod % 10];
        let mut writer = Writer::new(program);
        for (stack, count) in program.draws(&mut rng, 13, 190) {
            writer.sample(stack, &[count]);
        }
        let time = START + round as i64 * 10 * SECOND;
        let samples = writer.count;
        let types = [("samples", "count"), ("cpu", "nanoseconds")];
        let raw = writer.finish(&types, 52_631_578, time, 10 * SECOND);
        let labels = labels(&[
            ("__name__", "parca_agent".into()),
            ("node", format!("node-{node}")),
            ("pod", format!("pod-{pod}")),
            ("comm", format!("worker-{comm}")),
        ]);
        payload(labels, samples, raw, time)
    })
}

/// 20,000 series twice, 3 to 8 samples each; 40,000 are the whole corpus.
pub fn cardinality(profiles: usize) -> impl Iterator<Item = Payload> {
    let shape = ProgramShape { functions: 2_000, locations: 6_000, stacks: 4_000, depth: (5, 26), bare: 0.0 };
    let programs = programs(5, (0..10).map(|ix| format!("tenant-{ix}")), &shape);
    (0..profiles).map(move |ix| {
        let (round, series) = (ix / 20_000, ix % 20_000);
        let mut rng = Rng::new(0xca4d + ix as u64);
        let program = &programs[series % 10];
        let mut writer = Writer::new(program);
        let distinct = rng.between(3, 8);
        for (stack, count) in program.draws(&mut rng, distinct, 40) {
            writer.sample(stack, &[count, count * 10_000_000]);
        }
        let time = START + round as i64 * 10 * SECOND;
        let samples = writer.count;
        let raw = writer.finish(&CPU, 10_000_000, time, 10 * SECOND);
        let labels = labels(&[
            ("__name__", "process_cpu".into()),
            ("service", format!("tenant-{}", series % 10)),
            ("series", format!("series-{series:05}")),
        ]);
        payload(labels, samples, raw, time)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_is_a_function_of_its_seed() {
        let first: Vec<Vec<u8>> = fleet(3).map(|payload| payload.raw).collect();
        let again: Vec<Vec<u8>> = fleet(3).map(|payload| payload.raw).collect();
        assert_eq!(first, again);
        assert_ne!(first[0], first[1]);
    }

    /// The shapes that the published figures of the peers were measured on.
    #[test]
    fn shapes_are_near_those_of_the_published_baselines() {
        let check = |name: &str, corpus: &mut dyn Iterator<Item = Payload>, samples: f64, raw: f64| {
            let (mut n, mut all_samples, mut all_raw, mut all_gzip) = (0.0, 0.0, 0.0, 0.0);
            for payload in corpus {
                n += 1.0;
                all_samples += payload.samples as f64;
                all_raw += payload.raw.len() as f64;
                all_gzip += payload.gzip().len() as f64;
            }
            println!("{name}: {:.0} samples, {:.0} bytes, {:.0} gzip", all_samples / n, all_raw / n, all_gzip / n);
            assert!((all_samples / n / samples - 1.0).abs() < 0.15, "{name}: samples {}", all_samples / n);
            assert!((all_raw / n / raw - 1.0).abs() < 0.25, "{name}: bytes {}", all_raw / n);
        };
        check("fleet", &mut fleet(20), 1_050.0, 231_000.0);
        check("heaps", &mut heaps(10), 3_600.0, 427_000.0);
        check("big-merge", &mut big_merge(16), 611.0, 396_000.0);
        check("agent", &mut agent(100), 13.0, 17_700.0);
        check("cardinality", &mut cardinality(100), 5.3, 11_500.0);
    }
}
