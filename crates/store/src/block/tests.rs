use profile::Batch;

use super::*;
use crate::budget::Budget;
use crate::head::Head;
use crate::objects::MemoryObjects;
use crate::oracle::{self, Answer, Rng, TENANTS};

const HOUR: i64 = 3_600_000_000_000;

fn cache(bytes: u64) -> Arc<BlockCache> {
    BlockCache::new(&Budget::new(1 << 30), bytes)
}

/// Puts the files of a cut block under `folder`, and its meta.json as JSON.
fn store(objects: &MemoryObjects, folder: &str, cut: &CutBlock) {
    for (name, bytes) in &cut.files {
        objects.create(&format!("{folder}/{name}"), bytes).expect("a new name");
    }
}

/// All blocks of a head, by way of their JSON.
fn blocks_of(head: &Head, window: i64) -> Vec<Block> {
    let objects = Arc::new(MemoryObjects::default());
    let cache = cache(1 << 20);
    let mut blocks = Vec::new();
    head.cut(window, &mut |cut| {
        let folder = format!("blocks/{}", blocks.len());
        store(&objects, &folder, &cut);
        let json = cut.meta.to_json().expect("plain data");
        let meta = BlockMeta::from_json("meta.json", &json).expect("what was just written");
        assert_eq!(meta, cut.meta);
        blocks.push(Block::open(objects.clone(), &folder, meta, cache.clone())?);
        Ok(())
    })
    .expect("a head can be cut");
    blocks
}

fn parts_of(blocks: &[Block], tenant: &str) -> Vec<Arc<dyn Part>> {
    blocks.iter().flat_map(|block| block.parts(tenant, None).expect("a sound block")).collect()
}

fn head_of(batches: &[Batch], seed: u64) -> Head {
    let head = Head::new([seed, 4]);
    batches.iter().for_each(|batch| head.append(batch).expect("a sound batch"));
    head
}

#[test]
fn blocks_answer_exactly_like_the_batches_that_they_were_cut_from() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let batches: Vec<Batch> = (0..1 + rng.below(6)).map(|_| oracle::random_batch(&mut rng)).collect();
        let head = head_of(&batches, seed);
        if rng.below(2) == 0 {
            // the cut takes over trees that a query has had built
            TENANTS.iter().flat_map(|tenant| head.parts(tenant, None)).for_each(|part| {
                part.name_tree().expect("a head has its tree");
            });
        }
        let window = if rng.below(2) == 0 { HOUR } else { 10 * 60_000_000_000 };
        let blocks = blocks_of(&head, window);
        for tenant in TENANTS {
            let parts = parts_of(&blocks, tenant);
            oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&batches, tenant), seed);
            oracle::check_sums(&parts, &mut rng);
        }
        for block in &blocks {
            let meta = block.meta();
            assert!(meta.min_time.div_euclid(window) == (meta.max_time - 1000).max(meta.min_time).div_euclid(window));
            assert!(block.defect().is_none());
            let parts = block.parts(&meta.tenant, None).expect("a sound block");
            let tables = parts.iter().map(|part| part.profiles());
            assert_eq!(meta.profiles, tables.clone().map(|table| table.len() as u64).sum::<u64>());
            assert_eq!(meta.samples, tables.flat_map(|table| &table.samples).map(|&n| u64::from(n)).sum::<u64>());
        }
    }
}

#[test]
fn profiles_of_a_block_are_sorted_by_stream_and_time() {
    let mut rng = Rng::new(3);
    let batches: Vec<Batch> = (0..8).map(|_| oracle::random_batch(&mut rng)).collect();
    for part in parts_of(&blocks_of(&head_of(&batches, 3), i64::MAX), "") {
        assert!(part.streams().is_sorted());
        let table = part.profiles();
        let order: Vec<_> = table.stream.iter().zip(&table.time).collect();
        assert!(order.is_sorted());
    }
}

#[test]
fn a_block_outside_the_range_or_of_another_tenant_is_not_read() {
    let mut rng = Rng::new(3);
    let batch = oracle::random_batch(&mut rng);
    for block in blocks_of(&head_of(&[batch], 3), i64::MAX) {
        let meta = block.meta();
        let (tenant, after, at) = (&meta.tenant, meta.max_time + 1, meta.max_time);
        assert!(block.parts("nobody", None).expect("sound").is_empty());
        assert!(block.parts(tenant, Some((after, i64::MAX))).expect("sound").is_empty());
        assert!(!block.parts(tenant, Some((at, at))).expect("sound").is_empty());
    }
}

#[test]
fn sets_of_sample_types_beyond_the_bound_share_the_generic_file() {
    let mut rng = Rng::new(11);
    let mut batches = Vec::new();
    for ix in 0..SAMPLE_FILES_MAX + 9 {
        let mut batch = oracle::random_batch(&mut rng);
        for stream in &mut batch.streams {
            stream.tenant.clear();
            stream.sample_types.iter_mut().for_each(|of| of.kind = format!("kind{ix}"));
        }
        batches.push(batch);
    }
    let head = head_of(&batches, 11);
    let blocks = blocks_of(&head, i64::MAX);
    assert!(blocks.iter().any(|block| block.meta().sample_files.iter().any(|file| file.is_generic())));
    for block in &blocks {
        assert!(block.meta().sample_files.len() <= SAMPLE_FILES_MAX);
    }
    for tenant in TENANTS {
        let parts = parts_of(&blocks, tenant);
        oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&batches, tenant), 11);
        oracle::check_sums(&parts, &mut rng);
    }
}

#[test]
fn a_type_that_is_always_a_scale_of_the_first_has_no_column() {
    let mut rng = Rng::new(2);
    let mut batch = oracle::random_batch(&mut rng);
    while batch.streams[0].sample_types.len() != 2 || batch.samples.stack.len() < 4 {
        batch = oracle::random_batch(&mut rng);
    }
    let values = &mut batch.samples.values;
    values.chunks_exact_mut(2).for_each(|row| row[1] = row[0].wrapping_mul(10_000_000));
    let batches = [batch];
    let blocks = blocks_of(&head_of(&batches, 2), i64::MAX);
    for file in blocks.iter().flat_map(|block| &block.meta().sample_files) {
        assert_eq!(file.columns, [Some(4), None]);
    }
    for tenant in TENANTS {
        oracle::assert_same(&oracle::answers(&parts_of(&blocks, tenant)), &oracle::expected(&batches, tenant), 2);
    }
}

#[test]
fn more_rows_than_a_page_are_read_by_selection() {
    let mut rng = Rng::new(21);
    let head = Head::new([1, 2]);
    let mut batches = Vec::new();
    // one stream, some pages of samples
    let mut first = oracle::random_batch(&mut rng);
    while first.samples.time.len() + first.samples.label_set.len() > 0 || first.stacks.len() < 5 {
        first = oracle::random_batch(&mut rng);
    }
    first.streams.truncate(1);
    first.streams[0].tenant.clear();
    let width = first.streams[0].sample_types.len();
    for ix in 0..14 {
        let mut batch = first.clone();
        let profiles = &mut batch.profiles;
        *profiles = profile::Profiles::default();
        profiles.stream.push(0);
        profiles.time.push(ix);
        profiles.time_max.push(ix);
        profiles.duration.push(1);
        profiles.period.push(1);
        profiles.sample_end.push(3000);
        profiles.mapping_end.push(0);
        batch.samples.stack = (0..3000).map(|_| rng.below(batch.stacks.len() as u64) as u32).collect();
        batch.samples.values = (0..3000 * width).map(|_| rng.below(50) as i64).collect();
        head.append(&batch).expect("a sound batch");
        batches.push(batch);
    }
    let blocks = blocks_of(&head, i64::MAX);
    let parts = parts_of(&blocks, "");
    oracle::assert_same(&oracle::answers(&parts), &oracle::expected(&batches, ""), 21);
    oracle::check_sums(&parts, &mut rng);
}

/// Everything that a block answers, or its first error.
fn read_all(block: &Block) -> Result<Vec<Answer>, ReadError> {
    let mut answers = Vec::new();
    for part in block.parts(&block.meta().tenant, None)? {
        answers.extend(oracle::answers_of(&*part)?);
    }
    answers.sort();
    Ok(answers)
}

#[test]
fn a_flipped_byte_anywhere_is_an_error_that_names_the_file_or_changes_nothing() {
    let mut rng = Rng::new(77);
    let batches: Vec<Batch> = (0..3).map(|_| oracle::random_batch(&mut rng)).collect();
    let mut cuts = Vec::new();
    head_of(&batches, 77)
        .cut(i64::MAX, &mut |cut| {
            cuts.push(cut);
            Ok(())
        })
        .expect("a head can be cut");
    let mut errors = 0;
    for cut in &cuts {
        let open = |changed: Option<(usize, usize)>| {
            let objects = Arc::new(MemoryObjects::default());
            for (ix, (name, bytes)) in cut.files.iter().enumerate() {
                let mut bytes = bytes.to_vec();
                if let Some((_, at)) = changed.filter(|(file, _)| *file == ix) {
                    bytes[at] ^= 1 << (at % 8);
                }
                objects.create(&format!("b/{name}"), &bytes).expect("a new name");
            }
            Block::open(objects, "b", cut.meta.clone(), cache(0)).expect("the description is sound")
        };
        let sound = read_all(&open(None)).expect("nothing flipped");
        for (file, (name, bytes)) in cut.files.iter().enumerate() {
            // every byte of a small file, a sample of a large one
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 150) {
                let block = open(Some((file, at)));
                match read_all(&block) {
                    Ok(answers) => assert_eq!(answers, sound, "{name} byte {at}"),
                    Err(error) => {
                        errors += 1;
                        assert_eq!(error.kind, Kind::Corrupt, "{name} byte {at}: {error}");
                        assert!(error.at.contains(name), "{error} names {name}");
                        assert!(block.defect().is_some(), "the defect stays");
                    }
                }
            }
        }
    }
    assert!(errors > 100, "{errors} errors");
}

#[test]
fn a_missing_or_truncated_file_is_an_error_and_not_a_panic() {
    let mut rng = Rng::new(5);
    let batches: Vec<Batch> = (0..2).map(|_| oracle::random_batch(&mut rng)).collect();
    head_of(&batches, 5)
        .cut(i64::MAX, &mut |cut| {
            for victim in 0..cut.files.len() {
                for truncated in [false, true] {
                    let objects = Arc::new(MemoryObjects::default());
                    for (ix, (name, bytes)) in cut.files.iter().enumerate() {
                        let len = if ix != victim { bytes.len() } else { bytes.len() / 2 };
                        if ix != victim || truncated {
                            objects.create(&format!("b/{name}"), &bytes[..len]).expect("a new name");
                        }
                    }
                    let block = Block::open(objects, "b", cut.meta.clone(), cache(0))?;
                    read_all(&block).expect_err("something is not there");
                }
            }
            Ok(())
        })
        .expect("a head can be cut");
}

#[test]
fn the_cache_stays_within_its_bound_and_the_budget_knows_of_it() {
    let mut rng = Rng::new(9);
    let batches: Vec<Batch> = (0..10).map(|_| oracle::random_batch(&mut rng)).collect();
    let budget = Budget::new(1 << 30);
    let small = BlockCache::new(&budget, 4096);
    let objects = Arc::new(MemoryObjects::default());
    let mut count = 0;
    head_of(&batches, 9)
        .cut(60_000_000_000, &mut |cut| {
            count += 1;
            let folder = format!("b{count}");
            store(&objects, &folder, &cut);
            let block = Block::open(objects.clone(), &folder, cut.meta, small.clone())?;
            let first = read_all(&block)?;
            assert_eq!(read_all(&block)?, first, "from the cache");
            assert!(small.bytes() <= 4096, "{}", small.bytes());
            assert_eq!(budget.used(), small.bytes());
            block.forget();
            Ok(())
        })
        .expect("a head can be cut");
    assert!(count > 3);
    assert_eq!(budget.used(), 0, "everything was forgotten");
}
