//! Several processes, each with its own log, on one bucket.

use super::*;
use crate::objects::MemoryObjects;

fn process(bucket: &Arc<MemoryObjects>, seed: u64) -> World {
    let mut world = World::new();
    world.environment.random = Arc::new(SimRandom::new(seed));
    world.environment.objects = Some(bucket.clone());
    world
}

fn maintain(world: &World, store: &Store) {
    world.clock.advance(world.options.catalog_refresh);
    store.maintain().expect("housekeeping");
}

#[test]
fn two_processes_on_one_bucket_see_each_others_blocks_once() {
    let bucket = Arc::new(MemoryObjects::default());
    let (a, b) = (process(&bucket, 2), process(&bucket, 3));
    let ((store_a, _), (store_b, _)) = (a.open(), b.open());
    for round in 0..4 {
        write_some(&store_a, 10 * round..10 * round + 5);
        write_some(&store_b, 10 * round + 5..10 * round + 10);
        store_a.flush().expect("flush");
        store_b.flush().expect("flush");
        maintain(&a, &store_a);
        maintain(&b, &store_b);
        maintain(&a, &store_a);
        assert_eq!(all(&store_a), first(10 * (round + 1)));
        assert_eq!(all(&store_b), first(10 * (round + 1)));
    }
    let (store_a, _) = a.reopen(store_a);
    assert_eq!(all(&store_a), first(40));
    maintain(&a, &store_a);
    assert_eq!(all(&store_a), first(40));
}

#[test]
fn what_another_process_found_damaged_is_left_out_here_too() {
    let bucket = Arc::new(MemoryObjects::default());
    let (a, b) = (process(&bucket, 2), process(&bucket, 3));
    let (store_a, _) = a.open();
    write_some(&store_a, 0..3);
    store_a.flush().expect("flush");
    let (store_b, _) = b.open();
    let object = bucket.list("blocks").expect("a list").swap_remove(0);
    let name = object.name.split('/').nth(1).expect("a block").to_owned();
    let mut upkeep = store_a.upkeep().expect("open");
    let defect = StoreError::new(Kind::Corrupt, &object.name, "is damaged");
    store_a.core.condemn(&mut upkeep, &name, &defect).expect("listed");
    store_a.core.quarantine_defects(&mut upkeep).expect("written down");
    drop(upkeep);
    assert!(all(&store_b).len() == 3);
    maintain(&b, &store_b);
    assert!(all(&store_b).len() < 3, "the block is left out");
    assert_eq!(store_b.status().quarantined[0].block, name);
}

#[test]
fn processes_that_write_cut_and_tidy_at_once_lose_no_block_and_count_none_twice() {
    const PROCESSES: u64 = 3;
    const ROUNDS: u64 = 12;
    const WRITES: u64 = 5;
    let place = tempfile::tempdir().expect("a folder");
    let open = |process: u64| {
        let mut environment =
            Environment::local(place.path().join(format!("data-{process}"))).expect("a data directory");
        let bucket = crate::LocalDisk::open(place.path().join("bucket")).expect("a bucket");
        let objects = LocalObjects::open_shared(Arc::new(bucket), &process.to_string()).expect("a bucket");
        environment.objects = Some(Arc::new(objects));
        let options = StoreOptions {
            segment_bytes: 1 << 16,
            disk_free_min: 0,
            snapshot_every: 4,
            catalog_refresh: Duration::ZERO,
            manifest_grace: Duration::from_secs(60),
            ..StoreOptions::default()
        };
        Store::open(options, environment, Arc::new(SimDecoder)).expect("open").0
    };
    let stores: Vec<Store> = (0..PROCESSES).map(open).collect();
    std::thread::scope(|scope| {
        for (process, store) in stores.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let from = (process as u64 * ROUNDS + round) * WRITES;
                    write_some(store, from..from + WRITES);
                    store.flush().expect("flush");
                    store.maintain().expect("housekeeping");
                }
            });
        }
    });
    let written = first(PROCESSES * ROUNDS * WRITES);
    for store in &stores {
        // the first takes over what the others wrote last, the second opens it
        store.maintain().expect("housekeeping");
        store.maintain().expect("housekeeping");
        assert_eq!(all(store), written);
    }
    drop(stores);
    assert_eq!(all(&open(PROCESSES)), written, "a process that comes later sees the same");
    assert_eq!(all(&open(0)), written, "and so does one that was there before");
}
