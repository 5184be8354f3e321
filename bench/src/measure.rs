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

/// The median of [`RUNS`] runs of `work`, each as long as `work` says; a first one warms up and does not count.
pub fn median(mut work: impl FnMut() -> Duration) -> Duration {
    work();
    let mut runs: Vec<Duration> = (0..RUNS).map(|_| work()).collect();
    runs.sort();
    runs[RUNS / 2]
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

/// Prints one line: what, how much, against which bar.
pub fn line(what: &str, value: f64, unit: &str, bar: Bar) {
    let verdict = match bar {
        Bar::AtLeast(bar) if value >= bar => format!("ok, at least {bar}"),
        Bar::AtLeast(bar) => format!("MISSED, at least {bar}"),
        Bar::AtMost(bar) if value <= bar => format!("ok, at most {bar}"),
        Bar::AtMost(bar) => format!("MISSED, at most {bar}"),
        Bar::None => String::new(),
    };
    println!("  {what:<58} {value:>10.2} {unit:<14} {verdict}");
}
