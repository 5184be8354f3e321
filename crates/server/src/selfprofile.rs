//! The process's own CPU profile: a timer signal 100 times per second of CPU, stacks unwound by the unwind tables.

use std::collections::HashMap;
use std::env;
use std::ffi::c_void;
use std::sync::Once;
use std::time::{Duration, UNIX_EPOCH};

use pprof::{ProfilerGuardBuilder, UnresolvedReport};
use profile::pprof::{Pprof, encode, gzip};
use profile::{FunctionIx, LocationIx, StringIx, Strings};

/// Per second of CPU time; as Go's profiler, so that numbers of both look alike.
const SAMPLES_PER_SECOND: i32 = 100;
const PERIOD_NANOS: i64 = 1_000_000_000 / SAMPLES_PER_SECOND as i64;

/// No code lies below: the kernel keeps the first page unmapped.
const FIRST_PAGE: usize = 4096;

/// Bits of [`profile::Mappings::flags`]: functions, files, lines and inlining are known.
const HAS_SYMBOLS: u8 = 1 | 2 | 4 | 8;

/// Samples for `length` and gives a gzipped pprof, with the thread's name as label `thread`. One at a time per process:
/// a second one fails.
///
/// Cancel safe: dropped, it stops the timer.
pub async fn cpu(length: Duration) -> Result<Vec<u8>, String> {
    let guard = ProfilerGuardBuilder::default()
        .frequency(SAMPLES_PER_SECOND)
        // a signal within the unwinder must not enter it again
        .blocklist(&["libgcc"])
        .build()
        .map_err(|error| format!("the profiler cannot start: {error}"))?;
    tokio::task::spawn_blocking(read_debug_information);
    tokio::time::sleep(length).await;
    let encoded = tokio::task::spawn_blocking(move || {
        let report =
            guard.report().build_unresolved().map_err(|error| format!("the profile cannot be read: {error}"))?;
        drop(guard);
        Ok(gzip(&encode(&pprof(&report))))
    });
    encoded.await.map_err(|error| format!("the profile cannot be written: {error}"))?
}

/// The first name that is asked for costs seconds in a large binary, later ones nothing: ask while samples are taken.
fn read_debug_information() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| backtrace::resolve(read_debug_information as *mut c_void, |_| ()));
}

fn pprof(report: &UnresolvedReport) -> Pprof {
    let mut columns = Columns::new();
    let timing = &report.timing;
    columns.profile.time =
        timing.start_time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(0));
    columns.profile.duration = i64::try_from(timing.duration.as_nanos()).unwrap_or(i64::MAX);
    for (frames, count) in &report.data {
        // the unwinder ends a thread's stack with an address that is none
        let addresses = frames.frames.iter().map(|frame| frame.ip() as usize);
        let addresses: Vec<usize> = addresses.filter(|address| *address > FIRST_PAGE).collect();
        let name = &frames.thread_name[..frames.thread_name_length];
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        columns.sample(&addresses, &String::from_utf8_lossy(name), *count as i64);
    }
    columns.profile
}

/// A profile in the making: rows by what they hold.
struct Columns {
    profile: Pprof,
    strings: HashMap<String, StringIx>,
    functions: HashMap<(StringIx, StringIx), FunctionIx>,
    /// By address.
    locations: HashMap<usize, LocationIx>,
    label_sets: HashMap<String, u32>,
    /// Locations of the profiler's own signal handler.
    handlers: Vec<LocationIx>,
}

/// What the profiler's signal handler is called. Frames up to it and the kernel's trampoline after it are not the
/// program's.
const HANDLER: &str = "perf_signal_handler";

impl Columns {
    fn new() -> Self {
        let mut columns = Self {
            profile: Pprof::default(),
            strings: HashMap::from([(String::new(), 0)]),
            functions: HashMap::new(),
            locations: HashMap::new(),
            label_sets: HashMap::new(),
            handlers: Vec::new(),
        };
        columns.profile.symbols.strings = Strings::with_empty();
        columns.profile.label_sets = profile::LabelSets::with_empty();
        let [samples, count, cpu, nanoseconds] =
            ["samples", "count", "cpu", "nanoseconds"].map(|text| columns.string(text));
        columns.profile.sample_types = vec![(samples, count), (cpu, nanoseconds)];
        columns.profile.period_type = Some((cpu, nanoseconds));
        columns.profile.period = PERIOD_NANOS;
        columns.binary();
        columns
    }

    /// The one mapping: this program. Its addresses are named already, so its place in memory does not matter.
    fn binary(&mut self) {
        let path = env::current_exe().map_or_else(|_| "decima".to_owned(), |path| path.to_string_lossy().into_owned());
        let file = self.string(&path);
        let mappings = &mut self.profile.symbols.mappings;
        mappings.file.push(file);
        mappings.build_id.push(0);
        mappings.start.push(0);
        mappings.limit.push(0);
        mappings.offset.push(0);
        mappings.flags.push(HAS_SYMBOLS);
    }

    /// `addresses`: leaf first.
    fn sample(&mut self, addresses: &[usize], thread: &str, count: i64) {
        let run: Vec<LocationIx> = addresses.iter().map(|address| self.location(*address)).collect();
        let handler = run.iter().position(|location| self.handlers.contains(location));
        let program = handler.map_or(&run[..], |at| run.get(at + 2..).unwrap_or_default());
        self.profile.stacks.push(program);
        self.profile.values.extend([count, count.saturating_mul(PERIOD_NANOS)]);
        let set = self.thread(thread);
        self.profile.label_set.push(set);
    }

    fn string(&mut self, text: &str) -> StringIx {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let ix = self.profile.symbols.strings.push(text.as_bytes());
        self.strings.insert(text.to_owned(), ix);
        ix
    }

    fn thread(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(known) = self.label_sets.get(name) {
            return *known;
        }
        let (key, value) = (self.string("thread"), self.string(name));
        let sets = &mut self.profile.label_sets;
        sets.key.push(key);
        sets.str.push(value);
        sets.num.push(0);
        sets.unit.push(0);
        sets.end.push(sets.key.len() as u32);
        let ix = (sets.end.len() - 1) as u32;
        self.label_sets.insert(name.to_owned(), ix);
        ix
    }

    /// The functions at an address, innermost first.
    fn location(&mut self, address: usize) -> LocationIx {
        if let Some(known) = self.locations.get(&address) {
            return *known;
        }
        let mut lines: Vec<(FunctionIx, i64)> = Vec::new();
        let mut is_handler = false;
        backtrace::resolve(address as *mut c_void, |symbol| {
            if let Some(function) = self.function(symbol) {
                lines.push((function, symbol.lineno().map_or(0, i64::from)));
            }
            is_handler |= symbol.name().is_some_and(|name| name.as_bytes() == HANDLER.as_bytes());
        });
        let symbols = &mut self.profile.symbols;
        for (function, line) in lines {
            symbols.lines.function.push(function);
            symbols.lines.line.push(line);
            symbols.lines.column.push(0);
        }
        symbols.locations.mapping.push(0);
        symbols.locations.address.push(address as u64);
        symbols.locations.is_folded.push(false);
        symbols.locations.line_end.push(symbols.lines.line.len() as u32);
        let ix = (symbols.locations.len() - 1) as u32;
        if is_handler {
            self.handlers.push(ix);
        }
        self.locations.insert(address, ix);
        ix
    }

    fn function(&mut self, symbol: &backtrace::Symbol) -> Option<FunctionIx> {
        let mangled = symbol.name()?;
        // the alternate form leaves out the hash that rustc appends
        let name = self.string(&format!("{mangled:#}"));
        let file = symbol.filename().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let file = self.string(&file);
        if let Some(known) = self.functions.get(&(name, file)) {
            return Some(*known);
        }
        let system_name = self.string(&String::from_utf8_lossy(mangled.as_bytes()));
        let functions = &mut self.profile.symbols.functions;
        functions.name.push(name);
        functions.system_name.push(system_name);
        functions.filename.push(file);
        functions.start_line.push(0);
        let ix = (functions.len() - 1) as u32;
        self.functions.insert((name, file), ix);
        Some(ix)
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use profile::pprof::{Ids, Limits, Scratch, decode};

    use super::*;

    #[inline(never)]
    fn spin_visibly(until: Instant) -> u64 {
        let mut sum = 0_u64;
        while Instant::now() < until {
            for number in 0..10_000_u64 {
                sum = black_box(sum.wrapping_mul(31).wrapping_add(number));
            }
        }
        sum
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_busy_function_is_in_the_profile_under_its_name_and_thread() {
        let until = Instant::now() + Duration::from_millis(1500);
        let busy = std::thread::Builder::new().name("spinner".into()).spawn(move || spin_visibly(until));
        let bytes = cpu(Duration::from_millis(1000)).await.expect("a profile");
        busy.expect("a thread").join().expect("no panic");
        let profile = decode(&bytes, Ids::Sequential, &Limits::default(), &mut Scratch::default()).expect("a pprof");
        let strings = profile.strings();
        let has = |text: &str| (0..strings.len() as u32).any(|ix| strings.get_str(ix).contains(text));
        assert!(has("spin_visibly"), "the function");
        let in_spin = |stack: u32| {
            let leaf = *profile.stacks.get(stack).first()?;
            let lines = profile.symbols.locations.lines(leaf);
            let names = lines.map(|line| profile.symbols.lines.function[line]);
            let mut names = names.map(|function| strings.get_str(profile.symbols.functions.name[function as usize]));
            Some(names.any(|name| name.contains("spin_visibly")))
        };
        assert!((0..profile.samples() as u32).any(|stack| in_spin(stack) == Some(true)), "as the leaf of a stack");
        assert!(has("spinner"), "the thread");
        assert_eq!(profile.period, 10_000_000);
        assert!(profile.duration >= 900_000_000 && profile.time > 0);
        assert_eq!(profile.values.len(), profile.samples() * 2);
    }
}
