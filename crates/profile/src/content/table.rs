//! Open addressing from content hash to dense id.

use crate::symbols::NONE;

/// Sixteen bytes: 96 bits of the hash and the id ([`NONE`] marks an empty slot).
#[derive(Clone, Copy)]
struct Slot {
    low: u64,
    mid: u32,
    id: u32,
}

const EMPTY: Slot = Slot { low: 0, mid: 0, id: NONE };

/// Hash -> id with linear probing. Two different contents that agree in 96 secret bits would be taken
/// for one; at 2^32 entries the chance of any such pair is below 2^-32.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    len: usize,
}

impl Table {
    #[inline(always)]
    fn home(&self, low: u64) -> usize {
        low as usize & (self.slots.len() - 1)
    }

    #[inline]
    pub fn find(&self, hash: u128) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (low, mid) = (hash as u64, (hash >> 64) as u32);
        let mask = self.slots.len() - 1;
        let mut at = self.home(low);
        loop {
            let slot = self.slots[at & mask];
            if slot.id == NONE {
                return None;
            }
            if slot.low == low && slot.mid == mid {
                return Some(slot.id);
            }
            at += 1;
        }
    }

    /// The same, [`NONE`] where there is none.
    #[inline]
    pub fn row(&self, hash: u128) -> u32 {
        self.find(hash).unwrap_or(NONE)
    }

    /// The hash must be absent.
    pub fn insert(&mut self, hash: u128, id: u32) {
        // at most five eighths full
        if self.slots.len() * 5 <= self.len * 8 {
            self.grow();
        }
        self.place(Slot { low: hash as u64, mid: (hash >> 64) as u32, id });
        self.len += 1;
    }

    fn place(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(slot.low);
        while self.slots[at & mask].id != NONE {
            at += 1;
        }
        self.slots[at & mask] = slot;
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(16);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; size]);
        for slot in old {
            if slot.id != NONE {
                self.place(slot);
            }
        }
    }

    pub fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_found_and_nothing_else() {
        let key = super::super::HashKey::new([3, 4]);
        let hash = |ix: u32| key.ids(super::super::Domain::Stack, [ix].into_iter());
        let mut table = Table::default();
        for ix in 0..10_000 {
            assert_eq!(table.find(hash(ix)), None);
            table.insert(hash(ix), ix);
        }
        for ix in 0..10_000 {
            assert_eq!(table.find(hash(ix)), Some(ix));
            assert_eq!(table.find(hash(ix + 10_000)), None);
        }
    }
}
