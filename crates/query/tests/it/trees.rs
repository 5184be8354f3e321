//! Trees: built, weighed and joined.

use profile::tree::grow::Places;
use profile::tree::keys::frames;
use profile::tree::weigh::{cumulative, seen_nodes};
use profile::tree::{FrameUnion, NameTree, Sorted, Sorter, Sums, Trees, WeightedTree, build, ends, join, parents};
use profile::{Batch, NONE};

use crate::random::{Random, batch, batches, profiles};

fn weigh(tree: &NameTree, batch: &Batch, union_row: &[u32]) -> WeightedTree {
    let mut sum = vec![0i64; batch.stacks.len()];
    let mut seen = vec![false; batch.stacks.len()];
    for (sample, &stack) in batch.samples.stack.iter().enumerate() {
        sum[stack as usize] += batch.samples.values[sample * 2 + 1];
        seen[stack as usize] = true;
    }
    let node_seen = seen_nodes(&tree.depth, &tree.stack_node, &seen);
    WeightedTree::new(tree, sum, &seen, &node_seen, union_row)
}

#[test]
fn a_tree_is_in_canonical_preorder_and_leads_every_stack_to_its_leaf() {
    for seed in 0..300 {
        let batch = batch(&profiles(seed));
        let Trees { name, location } = build(&batch.symbols, &batch.stacks);
        for (depth, end) in [(&name.depth, &name.end), (&location.depth, &location.end)] {
            assert_eq!(*end, ends(depth), "seed {seed}");
            assert_eq!(depth.iter().filter(|&&depth| depth == 0).count(), 1);
        }
        assert!(name.frames.key.is_sorted_by(|a, b| a < b));
        let parent = parents(&name.depth);
        for node in 1..name.depth.len() {
            let before = (1..node).rev().find(|&other| parent[other] == parent[node]);
            assert!(before.is_none_or(|other| name.frame[other] < name.frame[node]), "seed {seed}: siblings ascend");
        }
        let location_parent = parents(&location.depth);
        for stack in 0..batch.stacks.len() {
            let (mut at, mut name_at) = (location.stack_node[stack], name.stack_node[stack]);
            for &expected in batch.stacks.get(stack as u32) {
                assert_eq!(location.location[at as usize], expected, "seed {seed}");
                assert_eq!(location.name_node[at as usize], name_at, "seed {seed}");
                at = location_parent[at as usize];
                for _ in 0..batch.symbols.locations.lines(expected).len().max(1) {
                    name_at = parent[name_at as usize];
                }
            }
            assert_eq!((at, name_at), (0, 0), "seed {seed}: the root is reached");
        }
        for node in 1..name.depth.len() {
            let (location, line) = (name.location[node], name.line[node]);
            let lines = batch.symbols.locations.lines(location);
            assert!(if line == NONE { lines.is_empty() } else { lines.contains(&(line as usize)) }, "seed {seed}");
        }
    }
}

/// All stacks of `batch`, sorted.
fn sorted(batch: &Batch) -> Sorted {
    let (_, rows) = frames(&batch.symbols);
    let mut sorter = Sorter::with_capacity(0, 0);
    sorter.add(&batch.symbols, &batch.stacks, &vec![true; batch.stacks.len()], &rows);
    sorter.sort()
}

#[test]
fn the_tree_of_some_stacks_alone_is_what_one_sees_of_the_whole() {
    for seed in 0..300 {
        let batch = batch(&profiles(seed));
        let tree = build(&batch.symbols, &batch.stacks).name;
        let sorted = sorted(&batch);
        let frame_row: Vec<u32> = (0..tree.frames.key.len() as u32).collect();
        let mut random = Random::new(seed ^ 0x7EE);
        for share in [1, 2, 4] {
            let seen: Vec<bool> = (0..batch.stacks.len()).map(|_| random.chance(share)).collect();
            let some = (0..).zip(&sorted.order).filter(|(_, stack)| seen[**stack as usize]);
            let sums = Sums::new(&sorted, some.map(|(place, &stack)| (place, 1 + i64::from(stack))));
            let enough = sums.enough(sums.total(), |_, _| true);
            let node_seen = seen_nodes(&tree.depth, &tree.stack_node, &seen);
            let weights = 1..=seen.len() as i64;
            let expected = WeightedTree::new(&tree, weights, &seen, &node_seen, &frame_row);
            let cumulative = expected.cumulative();
            assert_eq!(sums.height(), expected.height(), "seed {seed}");
            assert_eq!(sums.tree(&sorted, &enough, Places::from(i64::MIN)), (expected, cumulative), "seed {seed}");
        }
    }
}

#[test]
fn trees_of_parts_join_to_the_tree_of_the_whole() {
    for seed in 0..300 {
        let profiles = profiles(seed);
        let parts = batches(seed, &profiles);
        let trees: Vec<NameTree> = parts.iter().map(|part| build(&part.symbols, &part.stacks).name).collect();
        let keys: Vec<&[u128]> = trees.iter().map(|tree| tree.frames.key.as_slice()).collect();
        let union = FrameUnion::new(&keys);
        let weighed =
            (0..parts.len()).map(|part| weigh(&trees[part], &parts[part], &union.row[part])).collect::<Vec<_>>();
        let joined = join(weighed);

        let whole = batch(&profiles);
        let tree = build(&whole.symbols, &whole.stacks).name;
        assert_eq!(tree.frames.key, union.key, "seed {seed}");
        let rows: Vec<u32> = (0..union.key.len() as u32).collect();
        assert_eq!(joined, weigh(&tree, &whole, &rows), "seed {seed}");
        assert_eq!(joined.end, ends(&joined.depth), "seed {seed}");
        assert_eq!(joined.cumulative()[0], joined.flat.iter().sum::<i64>());
    }
}

#[test]
fn sums_wrap_at_64_bits_so_that_parts_add_up_in_any_order() {
    assert_eq!(cumulative(&[0, 1, 1], &[1, i64::MAX, -1]), [i64::MAX, i64::MAX, -1]);
    assert_eq!(cumulative(&[0, 1, 1], &[1, -1, i64::MAX]), [i64::MAX, -1, i64::MAX]);
    assert_eq!(cumulative(&[0, 1], &[1, i64::MAX]), [i64::MIN, i64::MAX]);
}

#[test]
fn a_stack_deeper_than_a_depth_can_say_is_cut_at_its_leaf() {
    let mut batch = batch(&[]);
    batch.symbols.locations.mapping.push(NONE);
    batch.symbols.locations.address.push(7);
    batch.symbols.locations.is_folded.push(false);
    batch.symbols.locations.line_end.push(0);
    batch.stacks.push(&vec![0; 100_000]);
    let trees = build(&batch.symbols, &batch.stacks);
    let deepest = profile::tree::DEPTH_MAX;
    assert_eq!(trees.name.depth.len(), deepest + 1);
    assert_eq!(trees.name.stack_node, [deepest as u32]);
    assert_eq!(trees.location.stack_node, [deepest as u32]);
    let sorted = sorted(&batch);
    assert_eq!(Sums::new(&sorted, [(0, 1i64)]).height(), deepest + 1);
}
