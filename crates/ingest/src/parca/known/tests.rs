use proptest::prelude::*;

use super::*;

impl Known {
    /// What is counted is what is there.
    fn check(&self) {
        let mut keys: Vec<Key> = self.queue.iter().copied().collect();
        keys.sort_by_key(|key| (key.scope, key.id));
        keys.dedup();
        assert_eq!(keys.len(), self.queue.len(), "no key waits twice");
        assert_eq!(keys.len(), self.stacks.len());
        assert!(keys.iter().all(|key| self.stacks.contains_key(key)));
        let mut frames = vec![0; self.locations.len()];
        let mut bytes = 0;
        for stack in self.stacks.values() {
            bytes += stack_bytes(&stack.frames);
            stack.frames.iter().for_each(|&frame| frames[frame as usize] += 1);
        }
        for (number, location) in self.locations.iter().enumerate() {
            assert_eq!(location.as_ref().map_or(0, |location| location.frames), frames[number]);
            if let Some(location) = location {
                bytes += LOCATION_BYTES + location.body.len() as u64;
                assert_eq!(self.by_body.get(&location.body), Some(&(number as u32)));
            }
        }
        assert_eq!(self.by_body.len() + self.free.len(), self.locations.len());
        assert_eq!((self.bytes, self.bytes <= self.bytes_max), (bytes, true));
    }
}

fn id(name: u8) -> Id {
    [name; 16]
}

/// Each location is its own text.
fn list(stacks: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::default();
    for (name, frames) in stacks {
        writer.stack(&id(*name), frames.iter().copied(), |&frame, body| body.extend(vec![frame; frame as usize]));
    }
    writer.finish()
}

/// What a list says.
fn told(list: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let list = List::read(list, 1_000).expect("a list");
    let mut frames = Vec::new();
    let stacks = list.stacks.iter().map(|stack| {
        stack.frames(&list, &mut frames).expect("frames");
        let bodies = frames.iter().map(|&frame| list.locations[frame as usize].len() as u8);
        (stack.id[0], bodies.collect())
    });
    stacks.collect()
}

fn find(known: &mut Known, scope: u64, names: &[u8], now: i64) -> (Vec<(u8, Vec<u8>)>, Vec<u8>) {
    let ids: Vec<Id> = names.iter().map(|&name| id(name)).collect();
    let ids: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
    let found = known.find(scope, &ids, now, usize::MAX);
    let stacks = told(&found.list);
    assert_eq!(found.known, stacks.len());
    (stacks, found.unknown.iter().map(|id| id[0]).collect())
}

#[test]
fn what_one_scope_has_sent_answers_for_no_other() {
    let mut known = Known::new(1 << 20);
    known.learn(1, &list(&[(7, vec![1, 2])]), 0).expect("a list");
    known.learn(2, &list(&[(7, vec![9]), (8, vec![1])]), 0).expect("a list");
    assert_eq!(find(&mut known, 1, &[7, 8], 1), (vec![(7, vec![1, 2])], vec![8]));
    assert_eq!(find(&mut known, 2, &[8, 7], 1), (vec![(8, vec![1]), (7, vec![9])], vec![]));
    assert_eq!(find(&mut known, 3, &[7, 8], 1), (vec![], vec![7, 8]));
    assert_eq!(known.locations.iter().flatten().count(), 3, "what two say alike is there once");
    known.check();
}

#[test]
fn what_is_sent_again_takes_the_place_of_what_was_known() {
    let mut known = Known::new(1 << 20);
    known.learn(1, &list(&[(7, vec![1, 2])]), 0).expect("a list");
    known.learn(1, &list(&[(7, vec![3])]), 5).expect("a list");
    known.check();
    assert_eq!(find(&mut known, 1, &[7], 6), (vec![(7, vec![3])], vec![]));
}

#[test]
fn a_stack_is_asked_for_again_after_a_time_and_when_the_clock_went_back() {
    let mut known = Known::new(1 << 20);
    known.learn(1, &list(&[(7, vec![1])]), 1_000).expect("a list");
    assert!(find(&mut known, 1, &[7], 1_000 + KNOWN_FOR - 1).1.is_empty());
    assert_eq!(find(&mut known, 1, &[7], 1_000 + KNOWN_FOR).1, [7]);
    assert_eq!(find(&mut known, 1, &[7], 999).1, [7]);
}

#[test]
fn ids_of_another_length_are_always_unknown() {
    let mut known = Known::new(1 << 20);
    known.learn(1, &list(&[(7, vec![1])]), 0).expect("a list");
    let ids: [&[u8]; 3] = [b"", &[7; 15], &[7; 17]];
    assert_eq!(known.find(1, &ids, 1, usize::MAX), Found { unknown: ids.to_vec(), ..Found::default() });
}

#[test]
fn of_a_list_that_would_be_too_long_the_rest_is_asked_for() {
    let mut known = Known::new(1 << 20);
    let stacks: Vec<(u8, Vec<u8>)> = (0..100).map(|name| (name, vec![name, 200])).collect();
    known.learn(1, &list(&stacks), 0).expect("a list");
    let ids: Vec<Id> = (0..100).map(id).collect();
    let ids: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
    let found = known.find(1, &ids, 1, 1_000);
    assert!(found.list.len() < 1_300, "{}", found.list.len());
    assert_eq!(told(&found.list), stacks[..found.known]);
    assert_eq!(found.unknown, ids[found.known..]);
}

#[test]
fn a_list_that_is_torn_or_lies_is_refused_and_what_was_known_stays() {
    let mut known = Known::new(1 << 20);
    known.learn(1, &list(&[(7, vec![1])]), 0).expect("a list");
    let whole = list(&[(7, vec![1, 2]), (8, vec![44, 2])]);
    for end in 1..whole.len() {
        known.learn(2, &whole[..end], 0).expect_err("torn");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut harmed = whole.clone();
            harmed[at] ^= 1 << bit;
            let _ = known.learn(2, &harmed, 0);
            known.check();
        }
    }
    assert_eq!(find(&mut known, 1, &[7], 1), (vec![(7, vec![1])], vec![]));
}

#[derive(Clone, Debug)]
enum Step {
    Learn { scope: u64, stacks: Vec<(u8, Vec<u8>)> },
    Find { scope: u64, names: Vec<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    let stack = (0..30u8, prop::collection::vec(0..40u8, 0..6));
    prop_oneof![
        (0..3u64, prop::collection::vec(stack, 0..12)).prop_map(|(scope, stacks)| Step::Learn { scope, stacks }),
        (0..3u64, prop::collection::vec(0..30u8, 0..12)).prop_map(|(scope, names)| Step::Find { scope, names }),
    ]
}

proptest! {
    /// The oracle is a list of all that was ever sent, searched from its end.
    #[test]
    fn what_is_known_is_what_was_sent_last_and_never_more_than_there_is_room_for(
        bytes_max in prop_oneof![Just(0), 400..4_000u64, Just(1 << 20)],
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut known = Known::new(bytes_max);
        let mut sent: Vec<(u64, u8, Vec<u8>)> = Vec::new();
        for (now, step) in steps.into_iter().enumerate() {
            match step {
                Step::Learn { scope, stacks } => {
                    known.learn(scope, &list(&stacks), now as i64).expect("a list");
                    sent.extend(stacks.into_iter().map(|(name, frames)| (scope, name, frames)));
                }
                Step::Find { scope, names } => {
                    let last = |name: u8| {
                        let found = sent.iter().rev().find(|(of, known, _)| (*of, *known) == (scope, name));
                        found.map(|(_, _, frames)| frames.clone())
                    };
                    let (stacks, unknown) = find(&mut known, scope, &names, now as i64);
                    for (name, frames) in &stacks {
                        prop_assert_eq!(Some(frames.clone()), last(*name));
                    }
                    let mut told: Vec<u8> = stacks.iter().map(|(name, _)| *name).chain(unknown.iter().copied()).collect();
                    let mut asked = names.clone();
                    told.sort_unstable();
                    asked.sort_unstable();
                    prop_assert_eq!(told, asked);
                    if bytes_max == 1 << 20 {
                        let wanted: Vec<u8> = names.iter().copied().filter(|&name| last(name).is_none()).collect();
                        prop_assert_eq!(unknown, wanted, "with room for all, all is known");
                    }
                }
            }
            known.check();
        }
    }
}
