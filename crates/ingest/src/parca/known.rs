//! Stacks that senders of v1 have sent, so that they need not send them again.
//!
//! An agent's ID is a hash of what it knows of a stack and does not send, so nobody here can hold an ID against the stack that
//! comes with it. Hence a stack is known to the *scope* that it came from and to no other: what a scope is, is its owner's to say.
//! Locations are shared between scopes, for they are kept by all that they say.

use std::collections::VecDeque;
use std::sync::Arc;

use super::stack_list::{Id, List, Writer};
use crate::error::IngestError;
use crate::tables::Map;

/// Of a stack beside its frames: key and entry in a table that is half full, and its place in the queue. bytes
const STACK_BYTES: u64 = 176;
/// Of a location beside what it says: twice a pointer, two counts, a table that is half full. bytes
const LOCATION_BYTES: u64 = 112;
/// A stack is asked for again after this long, so that one that was wrong does not stay. ns
const KNOWN_FOR: i64 = 900 * 1_000_000_000;
/// Of one stack; the decoder's own bound is what a sender meets.
const FRAMES_MAX: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    scope: u64,
    id: Id,
}

struct Stack {
    /// Of [`Known::locations`], each counted there.
    frames: Box<[u32]>,
    /// ns since the epoch
    learned: i64,
    /// Since the queue came by.
    used: bool,
}

struct Location {
    body: Arc<[u8]>,
    /// Frames that are this one.
    frames: u64,
}

/// Bounded in bytes. What was not used since it was last looked at goes first.
pub struct Known {
    bytes_max: u64,
    bytes: u64,
    evicted: u64,
    stacks: Map<Key, Stack>,
    /// Every key of `stacks` once.
    queue: VecDeque<Key>,
    locations: Vec<Option<Location>>,
    free: Vec<u32>,
    by_body: Map<Arc<[u8]>, u32>,
}

/// What is known of the stacks that a sender names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found<'i> {
    /// Those that are known; empty if none is.
    pub list: Vec<u8>,
    pub known: usize,
    /// The others, in the order in which they were named.
    pub unknown: Vec<&'i [u8]>,
}

/// All must be sent.
pub fn nothing_known<'i>(ids: &[&'i [u8]]) -> Found<'i> {
    Found { unknown: ids.to_vec(), ..Found::default() }
}

impl Known {
    /// Holds about `bytes_max` at most. 0 keeps nothing.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            evicted: 0,
            stacks: Map::default(),
            queue: VecDeque::new(),
            locations: Vec::new(),
            free: Vec::new(),
            by_body: Map::default(),
        }
    }

    /// What is held, in bytes, near enough for a lease.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Stacks that are held.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Stacks that had to go since the beginning.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Those of `ids` that came from `scope`, of which `now` (ns since the epoch) does not make them too old. The list takes
    /// about `list_bytes_max` at most; what would not fit is as if it were unknown.
    pub fn find<'i>(&mut self, scope: u64, ids: &[&'i [u8]], now: i64, list_bytes_max: usize) -> Found<'i> {
        let mut found = Found::default();
        let mut writer = Writer::<u32>::default();
        for &named in ids {
            let stack = match Id::try_from(named) {
                Ok(id) if writer.len() < list_bytes_max => {
                    let stack = self.stacks.get_mut(&Key { scope, id });
                    stack.filter(|stack| (0..KNOWN_FOR).contains(&now.saturating_sub(stack.learned))).map(|s| (id, s))
                }
                _ => None,
            };
            let Some((id, stack)) = stack else {
                found.unknown.push(named);
                continue;
            };
            stack.used = true;
            found.known += 1;
            writer.stack(&id, stack.frames.iter().copied(), |&location, body| {
                let location = self.locations.get(location as usize).and_then(Option::as_ref);
                body.extend_from_slice(location.map_or(&[], |location| &location.body));
            });
        }
        found.list = writer.finish();
        found
    }

    /// Takes in what `scope` has sent: the list that [`super::write`] made. What was known by the same ID before is forgotten.
    pub fn learn(&mut self, scope: u64, list: &[u8], now: i64) -> Result<(), IngestError> {
        if self.bytes_max == 0 {
            return Ok(());
        }
        let list = List::read(list, FRAMES_MAX)?;
        // each counts once for the list itself, so that none goes before it is used
        let numbers: Vec<u32> = list.locations.iter().map(|body| self.hold(body)).collect();
        let mut frames = Vec::new();
        let mut learned = Ok(());
        for stack in &list.stacks {
            learned = stack.frames(&list, &mut frames);
            if learned.is_err() {
                break;
            }
            for frame in &mut frames {
                *frame = numbers[*frame as usize];
                if let Some(Some(location)) = self.locations.get_mut(*frame as usize) {
                    location.frames += 1;
                }
            }
            self.insert(Key { scope, id: *stack.id }, frames.as_slice().into(), now);
            while self.bytes > self.bytes_max && self.evict() {}
        }
        for number in numbers {
            self.release(number);
        }
        while self.bytes > self.bytes_max && self.evict() {}
        learned
    }

    fn insert(&mut self, key: Key, frames: Box<[u32]>, now: i64) {
        self.bytes += stack_bytes(&frames);
        match self.stacks.insert(key, Stack { frames, learned: now, used: false }) {
            Some(before) => self.end(&before),
            None => self.queue.push_back(key),
        }
    }

    /// Whether there was one to go.
    fn evict(&mut self) -> bool {
        while let Some(key) = self.queue.pop_front() {
            match self.stacks.get_mut(&key) {
                Some(stack) if stack.used => {
                    stack.used = false;
                    self.queue.push_back(key);
                }
                _ => {
                    if let Some(stack) = self.stacks.remove(&key) {
                        self.end(&stack);
                    }
                    self.evicted += 1;
                    return true;
                }
            }
        }
        false
    }

    fn end(&mut self, stack: &Stack) {
        self.bytes -= stack_bytes(&stack.frames);
        for &frame in &stack.frames {
            self.release(frame);
        }
    }

    /// The number of the location that says `body`, counted once more.
    fn hold(&mut self, body: &[u8]) -> u32 {
        if let Some(&number) = self.by_body.get(body) {
            if let Some(Some(location)) = self.locations.get_mut(number as usize) {
                location.frames += 1;
            }
            return number;
        }
        let body: Arc<[u8]> = body.into();
        self.bytes += LOCATION_BYTES + body.len() as u64;
        let location = Some(Location { body: body.clone(), frames: 1 });
        let number = match self.free.pop() {
            Some(number) => {
                self.locations[number as usize] = location;
                number
            }
            None => {
                self.locations.push(location);
                self.locations.len() as u32 - 1
            }
        };
        self.by_body.insert(body, number);
        number
    }

    fn release(&mut self, number: u32) {
        let Some(slot) = self.locations.get_mut(number as usize) else { return };
        let Some(location) = slot else { return };
        location.frames -= 1;
        if location.frames == 0 {
            self.bytes -= LOCATION_BYTES + location.body.len() as u64;
            self.by_body.remove(&location.body);
            *slot = None;
            self.free.push(number);
        }
    }
}

fn stack_bytes(frames: &[u32]) -> u64 {
    STACK_BYTES + size_of_val(frames) as u64
}

#[cfg(test)]
#[path = "known/tests.rs"]
mod tests;
