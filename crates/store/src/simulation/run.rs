//! Random operations on a store in a world that fails, against a list of what was acknowledged.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{FIRST_TIME, Rng, SimClock, SimDecoder, SimDisk, SimObjects, SimRandom, ids, ids_by_samples, write};
use crate::options::StoreOptions;
use crate::store::{Environment, Store};

/// Steps of all runs together.
const STEPS: u64 = 100_000;

/// Of one run: short enough that looking at all that is stored stays cheap.
const STEPS_PER_RUN: u64 = 500;

const DISK_BYTES: u64 = 64 << 20;

/// Counts over all runs: a simulation in which nothing happens proves nothing.
#[derive(Default, Debug)]
struct Happened {
    acknowledged: u64,
    refused: u64,
    cuts: u64,
    failed_cuts: u64,
    crashes: u64,
    restarts: u64,
    failed_opens: u64,
    replayed: u64,
    torn_bytes: u64,
    checks: u64,
}

struct Run {
    seed: u64,
    step: u64,
    rng: Rng,
    disk: SimDisk,
    far: Option<Arc<SimObjects>>,
    clock: Arc<SimClock>,
    environment: Environment,
    options: StoreOptions,
    store: Option<Store>,
    next_id: u64,
    acknowledged: BTreeSet<u64>,
    /// Written and not acknowledged: may be there once, or not.
    unsure: BTreeSet<u64>,
    happened: Happened,
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, step, .. } = self;
            eprintln!("simulation failed: DECIMA_SIMULATION_SEED={seed}, step {step}");
        }
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(rng.u64(), DISK_BYTES);
        let clock = Arc::new(SimClock::new(FIRST_TIME));
        let far = rng.one_in(2).then(|| Arc::new(SimObjects::new(rng.u64())));
        let environment = Environment {
            disk: Arc::new(disk.clone()),
            clock: clock.clone(),
            random: Arc::new(SimRandom::new(rng.u64())),
            objects: far.clone().map(|far| far as _),
        };
        let options = StoreOptions {
            segment_bytes: 2048 + rng.below(16_384),
            head_cut_bytes: 20_000 + rng.below(400_000),
            head_cut_age: Duration::from_secs(600 + rng.below(7200)),
            wal_cut_bytes: 30_000 + rng.below(200_000),
            snapshot_every: 2 + rng.below(6),
            manifest_grace: Duration::from_secs(3600),
            disk_free_min: 0,
            ..StoreOptions::default()
        };
        let mut run = Self {
            seed,
            step: 0,
            rng,
            disk,
            far,
            clock,
            environment,
            options,
            store: None,
            next_id: 0,
            acknowledged: BTreeSet::new(),
            unsure: BTreeSet::new(),
            happened: Happened::default(),
        };
        run.open();
        run
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open")
    }

    /// Opens, if need be after more failures, at last without any.
    fn open(&mut self) {
        for attempt in 0.. {
            if attempt == 3 {
                self.heal();
            }
            match Store::open(self.options.clone(), self.environment.clone(), Arc::new(SimDecoder)) {
                Ok((store, report)) => {
                    self.happened.replayed += report.replayed_writes;
                    self.happened.torn_bytes += report.torn_bytes;
                    assert_eq!(report.damaged_bytes, 0, "only ends are torn: {report:?}");
                    assert!(
                        report.quarantined.iter().all(|left_out| left_out.reason.contains("timed out")),
                        "{report:?}"
                    );
                    assert_eq!(report.rejected_records, 0);
                    self.store = Some(store);
                    return;
                }
                Err(error) => {
                    self.happened.failed_opens += 1;
                    assert!(attempt < 3, "does not open in a world without failures: {error}");
                    if self.disk.crashed() {
                        self.disk.power_cycle();
                    }
                }
            }
        }
    }

    fn heal(&self) {
        self.disk.crash_in(u64::MAX);
        self.disk.set_sync_fails_one_in(0);
        self.disk.set_capacity(DISK_BYTES);
        if let Some(far) = &self.far {
            far.set_fails_one_in(0);
        }
    }

    fn step(&mut self) {
        self.step += 1;
        match self.rng.below(100) {
            0..60 => self.write(),
            60..75 => _ = self.store().maintain(),
            75..77 => _ = self.store().flush(),
            77..85 => self.clock.advance(Duration::from_secs(self.rng.below(300))),
            85..87 => self.restart(),
            87..88 => self.fail_power(),
            88..91 => self.disk.crash_in(self.rng.below(60)),
            91..94 => self.change_the_weather(),
            94..97 => self.check(),
            _ => self.clock.advance(Duration::from_secs(1)),
        }
        if self.disk.crashed() {
            self.fail_power();
        }
    }

    fn write(&mut self) {
        let count = 1 + self.rng.below(3);
        let written: Vec<u64> = (self.next_id..self.next_id + count).collect();
        self.next_id += count;
        let writes = written.iter().map(|id| write(*id, self.rng.below(1200) as usize)).collect();
        if self.store().write(writes).is_ok() {
            self.happened.acknowledged += count;
            self.acknowledged.extend(written);
        } else {
            self.happened.refused += count;
            self.unsure.extend(written);
        }
    }

    fn shut(&mut self) {
        let store = self.store.take().expect("open");
        let status = store.status();
        self.happened.cuts += status.cuts;
        self.happened.failed_cuts += status.cut_failures;
        if self.rng.one_in(3) {
            store.close();
        }
        drop(store);
        self.happened.restarts += 1;
    }

    fn restart(&mut self) {
        self.shut();
        if self.disk.crashed() {
            self.disk.power_cycle();
        } else {
            self.disk.restart_process();
        }
        self.reopen_and_check();
    }

    fn fail_power(&mut self) {
        self.shut();
        self.disk.power_cycle();
        self.happened.crashes += 1;
        self.reopen_and_check();
    }

    fn reopen_and_check(&mut self) {
        if self.rng.one_in(4) {
            self.disk.crash_in(self.rng.below(40));
        }
        self.open();
        if self.rng.one_in(6) {
            self.check();
        }
    }

    fn change_the_weather(&mut self) {
        let one_in = [0, 0, 3, 10, 30];
        self.disk.set_sync_fails_one_in(one_in[self.rng.below(5) as usize]);
        let room = [DISK_BYTES, DISK_BYTES, self.disk.used() + self.rng.below(20_000), 0];
        self.disk.set_capacity(room[self.rng.below(4) as usize]);
        if let Some(far) = &self.far {
            far.set_fails_one_in(one_in[self.rng.below(5) as usize]);
        }
    }

    /// Every acknowledged profile once, every other at most once, and none that nobody wrote.
    fn check(&mut self) {
        if let Some(far) = &self.far {
            // a line that fails while one reads says nothing about what is kept
            far.set_fails_one_in(0);
            let _ = self.store().maintain();
            if self.disk.crashed() {
                return;
            }
            assert!(self.store().status().quarantined.is_empty());
        }
        self.happened.checks += 1;
        let parts = self.store().parts("", None);
        let found = if self.rng.one_in(4) { ids_by_samples(&parts) } else { ids(&parts) };
        for pair in found.windows(2) {
            assert_ne!(pair[0], pair[1], "profile {} is there twice", pair[0]);
        }
        let found: BTreeSet<u64> = found.into_iter().collect();
        if let Some(lost) = self.acknowledged.difference(&found).next() {
            panic!("profile {lost} was acknowledged and is lost");
        }
        for id in found.difference(&self.acknowledged) {
            assert!(self.unsure.contains(id), "profile {id} was never written");
        }
    }

    fn finish(mut self) -> Happened {
        self.heal();
        if self.disk.crashed() {
            self.fail_power();
        }
        self.check();
        self.store().flush().expect("a healed world takes a flush");
        self.check();
        assert_eq!(self.store().status().wal_bytes, 0, "all is in blocks");
        self.restart();
        self.check();
        std::mem::take(&mut self.happened)
    }
}

impl Happened {
    fn add(&mut self, run: Happened) {
        let Happened { acknowledged, refused, cuts, failed_cuts, crashes, restarts, failed_opens, .. } = run;
        self.acknowledged += acknowledged;
        self.refused += refused;
        self.cuts += cuts;
        self.failed_cuts += failed_cuts;
        self.crashes += crashes;
        self.restarts += restarts;
        self.failed_opens += failed_opens;
        self.replayed += run.replayed;
        self.torn_bytes += run.torn_bytes;
        self.checks += run.checks;
    }
}

fn run(seed: u64) -> Happened {
    let mut run = Run::new(seed);
    for _ in 0..STEPS_PER_RUN {
        run.step();
    }
    run.finish()
}

/// `DECIMA_SIMULATION_SEED` repeats one run, `DECIMA_SIMULATION_STEPS` makes more or fewer of them.
#[test]
fn every_acknowledged_profile_is_there_exactly_once_whatever_fails() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("DECIMA_SIMULATION_SEED") {
        println!("one run of {STEPS_PER_RUN} steps: {:?}", run(seed));
        return;
    }
    let runs = number("DECIMA_SIMULATION_STEPS").unwrap_or(STEPS).div_ceil(STEPS_PER_RUN);
    let (next_seed, total) = (AtomicU64::new(0), Mutex::new(Happened::default()));
    // a run is one thread's, and repeatable; runs go side by side
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next_seed.fetch_add(1, Ordering::Relaxed);
                    if seed >= runs {
                        break;
                    }
                    let happened = run(seed);
                    total.lock().expect("not poisoned").add(happened);
                }
            });
        }
    });
    let total = total.into_inner().expect("not poisoned");
    println!("{runs} runs of {STEPS_PER_RUN} steps: {total:?}");
    let Happened { acknowledged, refused, cuts, failed_cuts, crashes, failed_opens, replayed, torn_bytes, .. } = total;
    let counts = [acknowledged, refused, cuts, failed_cuts, crashes, failed_opens, replayed, torn_bytes];
    assert!(counts.iter().all(|count| *count > 0), "something never happened");
}
