use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::objects::MemoryObjects;
use crate::simulation::{FIRST_TIME, SimClock, SimObjects, SimRandom};

struct World {
    objects: Arc<MemoryObjects>,
    clock: Arc<SimClock>,
    random: SimRandom,
    options: StoreOptions,
}

impl World {
    fn new() -> Self {
        Self {
            objects: Arc::new(MemoryObjects::new()),
            clock: Arc::new(SimClock::new(FIRST_TIME)),
            random: SimRandom::new(4),
            options: StoreOptions { snapshot_every: 4, ..StoreOptions::default() },
        }
    }

    fn open(&self, writer: &str) -> Result<Catalog, StoreError> {
        Catalog::open(self.objects.clone(), self.clock.clone(), writer.to_owned(), &self.options)
    }

    fn cut(&self, block: &str, covered: u64) -> Change {
        let entry = BlockEntry { min_time: 1, max_time: 2, bytes: 3, meta_crc32c: 4 };
        let blocks = BTreeMap::from([(block.to_owned(), entry)]);
        Change::cut(&self.random, blocks, WalPosition(covered)).expect("random")
    }

    fn names(&self) -> Vec<String> {
        self.objects.list(FOLDER).expect("list").into_iter().map(|entry| entry.name).collect()
    }
}

fn blocks(catalog: &Catalog) -> Vec<&str> {
    catalog.state().blocks.keys().map(String::as_str).collect()
}

#[test]
fn two_writers_take_turns_and_both_see_everything() {
    let world = World::new();
    let mut one = world.open("one").expect("open");
    let mut two = world.open("two").expect("open");
    for round in 1..=10 {
        one.commit(&world.cut(&format!("a{round:02}"), round)).expect("commit");
        two.commit(&world.cut(&format!("b{round:02}"), 100 + round)).expect("commit");
    }
    one.commit(&world.cut("a11", 11)).expect("commit");
    let third = world.open("one").expect("open");
    assert_eq!(third.state(), one.state());
    assert_eq!(blocks(&third).len(), 21);
    assert_eq!(third.covered(), WalPosition(11));
    assert_eq!(world.open("two").expect("open").covered(), WalPosition(110));
}

#[test]
fn old_manifests_go_after_the_grace_and_nothing_is_forgotten() {
    let world = World::new();
    let mut catalog = world.open("one").expect("open");
    for round in 1..=13 {
        catalog.commit(&world.cut(&format!("a{round:02}"), round)).expect("commit");
    }
    let all = world.names().len();
    catalog.tend().expect("tend");
    assert_eq!(world.names().len(), all, "within the grace all stays");
    world.clock.advance(world.options.manifest_grace + Duration::from_secs(1));
    catalog.tend().expect("tend");
    let left = world.names();
    let snapshots = left.iter().filter(|name| name.ends_with(".snapshot")).count();
    assert_eq!((snapshots, left.len() - snapshots), (2, 13 - 8), "{left:?}");
    assert_eq!(world.open("one").expect("open").state(), catalog.state());
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    let world = World::new();
    let mut catalog = world.open("one").expect("open");
    for round in 1..=9 {
        catalog.commit(&world.cut(&format!("a{round:02}"), round)).expect("commit");
    }
    world.clock.advance(world.options.manifest_grace + Duration::from_secs(1));
    catalog.tend().expect("tend");
    let newest = world.names().into_iter().rfind(|name| name.ends_with(".snapshot")).expect("a snapshot");
    world.objects.overwrite(&newest, Bytes::from_static(b"decima-catalog 0 00000000\n{}"));
    assert_eq!(world.open("one").expect("open").state(), catalog.state());
}

#[test]
fn damage_a_gap_and_a_newer_version_are_refused_by_name() {
    let world = World::new();
    let mut catalog = world.open("one").expect("open");
    for round in 1..=3 {
        catalog.commit(&world.cut(&format!("a{round:02}"), round)).expect("commit");
    }
    let name = file::manifest_name(2);
    let good = world.objects.get(&name).expect("get");
    let refused = |bytes: Bytes| {
        world.objects.overwrite(&name, bytes);
        let error = world.open("one").map(|_| ()).expect_err("refused");
        assert!(error.at.contains(&name), "{error}");
        error.kind
    };
    let mut flipped = good.to_vec();
    let last = flipped.len() - 2;
    flipped[last] ^= 1;
    assert_eq!(refused(Bytes::from(flipped)), Kind::Corrupt);
    assert_eq!(refused(good.slice(..good.len() / 2)), Kind::Corrupt);
    assert_eq!(refused(Bytes::new()), Kind::Corrupt);
    assert_eq!(refused(Bytes::from_static(b"decima-catalog 1 00000000\n{}")), Kind::TooNew);
    assert_eq!(refused(world.objects.get(&file::manifest_name(1)).expect("get")), Kind::Corrupt);
    world.objects.delete(&name).expect("delete");
    let error = world.open("one").map(|_| ()).expect_err("a gap");
    assert_eq!(error.kind, Kind::Corrupt);
    assert!(error.at.contains(&name), "{error}");
}

#[test]
fn a_second_process_of_the_same_writer_is_found_out() {
    let world = World::new();
    let mut one = world.open("one").expect("open");
    let mut twin = world.open("one").expect("open");
    one.commit(&world.cut("a", 5)).expect("commit");
    let error = twin.commit(&world.cut("b", 5)).expect_err("the head would count twice");
    assert_eq!(error.kind, Kind::Closed);
}

#[test]
fn what_an_earlier_run_left_on_its_way_is_history_before_the_fence_and_nothing_after_it() {
    let world = World::new();
    let mut earlier = world.open("one").expect("open");
    earlier.commit(&world.cut("a", 5)).expect("commit");
    let mut later = world.open("one").expect("open");
    earlier.commit(&world.cut("b", 9)).expect("arrives late");
    later.fence(&world.random).expect("fence");
    assert_eq!((blocks(&later), later.covered()), (vec!["a", "b"], WalPosition(9)));
    // one more was on its way to the number that the fence has taken
    let name = file::manifest_name(later.number);
    assert_eq!(world.objects.create(&name, b"late").expect_err("taken").kind, Kind::AlreadyExists);
}

#[test]
fn a_change_is_made_once_whatever_the_line_says() {
    let mut settled_late = 0;
    for seed in 0..200 {
        let far = Arc::new(SimObjects::new(seed));
        let world = World::new();
        let open = || Catalog::open(far.clone(), world.clock.clone(), "one".to_owned(), &world.options);
        let mut catalog = open().expect("open");
        for round in 1..=6 {
            let change = world.cut(&format!("a{round}"), round);
            far.set_fails_one_in(2);
            let failed = (0..1000).take_while(|_| catalog.commit(&change).is_err()).count();
            assert!(failed < 1000, "seed {seed}: never settled");
            settled_late += failed;
            far.set_fails_one_in(0);
        }
        // whatever is still on its way arrives
        for _ in 0..40 {
            far.list(FOLDER).expect("list");
        }
        let reopened = open().expect("open");
        assert_eq!(reopened.covered(), WalPosition(6));
        assert_eq!(blocks(&reopened), ["a1", "a2", "a3", "a4", "a5", "a6"]);
        let mut adding = 0;
        for entry in far.list(FOLDER).expect("list") {
            if let Some(file::Name::Manifest(number)) = file::parse_name(&entry.name) {
                adding += reopened.read_manifest(number).expect("whole").change.add.len();
            }
        }
        assert_eq!(adding, 6, "seed {seed}: each block is added by one manifest");
    }
    assert!(settled_late > 100, "the line was too good: {settled_late}");
}
