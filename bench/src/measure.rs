//! CPU clocks, medians and one form of line.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Runs of a figure; the median counts.
pub const RUNS: usize = 5;

/// Time that this thread has spent on a CPU.
pub fn thread_cpu() -> Duration {
    elapsed(ClockId::ThreadCPUTime)
}

/// Time that all threads of this process have spent on CPUs, user and system.
pub fn process_cpu() -> Duration {
    elapsed(ClockId::ProcessCPUTime)
}

fn elapsed(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time of `work` on this thread.
pub fn on_thread<T>(work: impl FnOnce() -> T) -> Duration {
    let before = thread_cpu();
    std::hint::black_box(work());
    thread_cpu() - before
}

/// CPU time of `work` on all threads of this process.
pub fn in_process<T>(work: impl FnOnce() -> T) -> Duration {
    let before = process_cpu();
    std::hint::black_box(work());
    process_cpu() - before
}

/// The median time of each of `works` over [`RUNS`] rounds, after one that warms up. A round runs each once, so that
/// what else the machine does touches all alike and a ratio of two stays honest.
pub fn medians<const N: usize>(mut works: [&mut dyn FnMut() -> Duration; N]) -> [Duration; N] {
    let times = medians_of_all(N, |work| works[work]());
    std::array::from_fn(|work| times[work])
}

/// The same of `works` pieces of work, by their number.
pub fn medians_of_all(works: usize, mut run: impl FnMut(usize) -> Duration) -> Vec<Duration> {
    let mut runs = vec![Vec::new(); works];
    for round in 0..=RUNS {
        for (work, runs) in runs.iter_mut().enumerate() {
            let time = run(work);
            if round > 0 {
                runs.push(time);
            }
        }
    }
    runs.into_iter().map(median).collect()
}

/// The median time of [`RUNS`] runs, after one that warms up.
pub fn median_of(mut work: impl FnMut() -> Duration) -> Duration {
    let [time] = medians([&mut work]);
    time
}

/// The median of at least one.
pub fn median<T: Ord + Copy>(mut runs: Vec<T>) -> T {
    runs.sort();
    runs[runs.len() / 2]
}

pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// MB (10^6 bytes) per CPU-second.
pub fn mb_per_second(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// MB per CPU-second that libdeflate gunzips on the core for which bars in MB or ms are given.
const GUNZIP_OF_THE_BARS: f64 = 800.0;

/// How fast this core is, 1 being the core of the bars: what gunzip reached beside the figure.
pub fn speed(bytes: usize, gunzip: Duration) -> f64 {
    mb_per_second(bytes, gunzip) / GUNZIP_OF_THE_BARS
}

/// Prints one line: what, how much, against which bar.
pub fn line(what: &str, value: f64, unit: &str, bar: Bar) {
    let verdict = match bar {
        Bar::AtLeast(bar) if value >= bar => format!("ok, at least {bar:.2}"),
        Bar::AtLeast(bar) => format!("MISSED, at least {bar:.2}"),
        Bar::AtMost(bar) if value <= bar => format!("ok, at most {bar:.2}"),
        Bar::AtMost(bar) => format!("MISSED, at most {bar:.2}"),
        Bar::None => String::new(),
    };
    println!("  {what:<58} {value:>10.2} {unit:<14} {verdict}");
}
