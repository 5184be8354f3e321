//! The store on a simulated disk, one event at a time.

use std::sync::Arc;

use super::{Environment, Store};
use crate::error::StoreError;
use crate::options::StoreOptions;
use crate::simulation::{FIRST_TIME, SimClock, SimDecoder, SimDisk, SimRandom, ids, write};
use crate::status::OpenReport;

struct World {
    disk: SimDisk,
    environment: Environment,
    options: StoreOptions,
}

impl World {
    fn new() -> Self {
        let disk = SimDisk::new(1, 64 << 20);
        let environment = Environment {
            disk: Arc::new(disk.clone()),
            clock: Arc::new(SimClock::new(FIRST_TIME)),
            random: Arc::new(SimRandom::new(2)),
            objects: None,
        };
        let options = StoreOptions { segment_bytes: 4096, disk_free_min: 0, ..StoreOptions::default() };
        Self { disk, environment, options }
    }

    fn open(&self) -> Result<(Store, OpenReport), StoreError> {
        Store::open(self.options.clone(), self.environment.clone(), Arc::new(SimDecoder))
    }
}

#[test]
fn what_was_acknowledged_is_there_after_the_power_fails() {
    let world = World::new();
    let (store, _) = world.open().expect("open");
    for id in 0..100 {
        store.write(vec![write(2 * id, 10), write(2 * id + 1, 700)]).expect("write");
    }
    let all: Vec<u64> = (0..200).collect();
    assert_eq!(ids(&store.parts("", None)), all);
    drop(store);
    world.disk.power_cycle();
    let (store, report) = world.open().expect("open again");
    assert_eq!(report.replayed_writes, 100);
    assert_eq!(ids(&store.parts("", None)), all);
}
