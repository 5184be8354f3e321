//! Profiles from elsewhere, by crashes and rivals.

use super::*;
use crate::objects::MemoryObjects;

/// Imports the profiles of `source` from where the store is, `at_once` in each commit.
fn go_on(store: &Store, source: &str, profiles: u64, at_once: u64) -> Result<(), StoreError> {
    let mut at = store.imported(source)?;
    while at < profiles {
        let mut import = store.import();
        let end = profiles.min(at + at_once);
        for id in at..end {
            import.append(&write(id, 100).1)?;
        }
        import.advance(source, end)?;
        import.commit()?;
        at = end;
    }
    Ok(())
}

#[test]
fn what_is_imported_is_in_blocks_and_remembered_over_snapshots_and_starts() {
    let mut world = World::new();
    world.options.snapshot_every = 2;
    world.options.manifest_grace = Duration::ZERO;
    let (mut store, _) = world.open();
    for round in 1..8 {
        go_on(&store, "a", round * 10, 4).expect("imported");
        assert_eq!(all(&store), first(round * 10));
        world.clock.advance(Duration::from_secs(10));
        store.maintain().expect("housekeeping");
        store = world.reopen(store).0;
        assert_eq!((store.imported("a").expect("open"), store.imported("b").expect("open")), (round * 10, 0));
        assert_eq!(all(&store), first(round * 10));
        go_on(&store, "a", round * 10, 4).expect("nothing is left to do");
        assert_eq!(all(&store), first(round * 10));
    }
    assert!(world.files("catalog").iter().any(|name| name.ends_with(".snapshot")));
    assert_eq!(store.status().head_bytes, 0, "nothing of it is in the head or the log");
}

#[test]
fn an_import_goes_on_after_a_commit_and_one_of_nothing_changes_nothing() {
    let world = World::new();
    let (store, _) = world.open();
    let mut import = store.import();
    for round in 1..4 {
        for id in round * 10 - 10..round * 10 {
            import.append(&write(id, 100).1).expect("appended");
        }
        import.advance("a", round * 10).expect("advanced");
        import.commit().expect("committed");
        let manifests = world.files("catalog");
        import.commit().expect("there is nothing left to commit");
        assert_eq!(world.files("catalog"), manifests);
        assert!(import.is_empty() && !import.is_full());
        assert_eq!(import.imported("a").expect("open"), round * 10);
        assert_eq!(all(&store), first(round * 10));
    }
    drop(import);
    let (store, _) = world.reopen(store);
    assert_eq!(all(&store), first(30), "every block is there");
}

#[test]
fn a_crash_at_any_moment_of_an_import_neither_loses_nor_doubles() {
    let mut crashes = 0;
    for changes in 0.. {
        let world = World::new();
        let (store, _) = world.open();
        world.disk.crash_in(changes);
        let imported = go_on(&store, "a", 12, 5);
        let crashed = world.disk.crashed();
        assert!(crashed || imported.is_ok());
        drop(store);
        if changes % 2 == 0 {
            world.disk.power_cycle()
        } else {
            world.disk.restart_process()
        }
        let (store, _) = world.open();
        assert_eq!(all(&store), first(store.imported("a").expect("open")), "crash after {changes} changes");
        go_on(&store, "a", 12, 5).expect("imported");
        assert_eq!(all(&store), first(12), "crash after {changes} changes");
        if !crashed {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 10, "{crashes}");
}

#[test]
fn of_two_imports_of_one_source_at_once_only_one_gets_each_step() {
    let bucket = Arc::new(MemoryObjects::default());
    let process = |seed| {
        let mut world = World::new();
        world.environment.random = Arc::new(SimRandom::new(seed));
        world.environment.objects = Some(bucket.clone());
        world
    };
    let (a, b) = (process(2), process(3));
    let ((store_a, _), (store_b, _)) = (a.open(), b.open());
    let begin = |store: &'_ Store| {
        let mut import = store.import();
        import.append(&write(0, 100).1).expect("appended");
        import.advance("a", 1).expect("advanced");
        import.commit()
    };
    begin(&store_a).expect("the first");
    let blocks = bucket.list("blocks").expect("a list").len();
    let refused = begin(&store_b).expect_err("the second");
    assert_eq!(refused.kind, Kind::AlreadyExists, "{refused}");
    assert_eq!(bucket.list("blocks").expect("a list").len(), blocks, "nothing of the second stays");
    assert_eq!(store_b.imported("a").expect("open"), 1, "and it knows how far the first is");
    go_on(&store_b, "a", 3, 1).expect("the rest");
    for store in [&store_a, &store_b] {
        for world in [&a, &b] {
            world.clock.advance(world.options.catalog_refresh);
        }
        store.maintain().expect("housekeeping");
        store.maintain().expect("housekeeping");
        assert_eq!(all(store), first(3));
    }
}
