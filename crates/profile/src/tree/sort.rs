//! Sorting stacks by their runs of ranks, root first.

/// Runs of u32 symbols, one after the other.
pub(super) struct Runs {
    pub(super) end: Vec<u32>,
    pub(super) symbols: Vec<u32>,
}

impl Runs {
    pub(super) fn with_capacity(runs: usize, symbols: usize) -> Self {
        Self { end: Vec::with_capacity(runs), symbols: Vec::with_capacity(symbols) }
    }

    pub(super) fn close_run(&mut self) {
        self.end.push(self.symbols.len() as u32);
    }

    #[inline]
    pub(super) fn get(&self, run: u32) -> &[u32] {
        let run = run as usize;
        let start = if run == 0 { 0 } else { self.end[run - 1] as usize };
        &self.symbols[start..self.end[run] as usize]
    }

    /// The symbol at `at`, in bits 1.., or 0 past the end: a run comes before the longer ones it begins.
    #[inline]
    fn symbol(&self, run: u32, at: usize) -> u64 {
        self.get(run).get(at).map_or(0, |&symbol| u64::from(symbol) + 1)
    }

    /// All runs in lexicographic order, equal ones by index.
    ///
    /// Multikey quicksort: three-way partition by the symbol at one position, so that the long prefixes
    /// that stacks share are read once per partition and not once per comparison.
    pub(super) fn sorted(&self) -> Vec<u32> {
        /// Below this, comparing whole tails beats partitioning.
        const SMALL: usize = 12;
        let mut order: Vec<u32> = (0..self.end.len() as u32).collect();
        let mut keys: Vec<u64> = vec![0; order.len()];
        // (start, end, position)
        let mut work = vec![(0, order.len(), 0)];
        while let Some((start, end, at)) = work.pop() {
            let slice = &mut order[start..end];
            if slice.len() <= SMALL {
                slice.sort_unstable_by(|&a, &b| {
                    let tail = |run| {
                        let run: &[u32] = self.get(run);
                        &run[at.min(run.len())..]
                    };
                    tail(a).cmp(tail(b)).then(a.cmp(&b))
                });
                continue;
            }
            let keys = &mut keys[start..end];
            for (key, &run) in keys.iter_mut().zip(&*slice) {
                *key = self.symbol(run, at);
            }
            let (less, more) = partition(slice, keys);
            let ended = keys[less] == 0;
            if less > 0 {
                work.push((start, start + less, at));
            }
            if more < slice.len() {
                work.push((start + more, end, at));
            }
            if ended {
                // equal runs
                slice[less..more].sort_unstable();
            } else {
                work.push((start + less, start + more, at + 1));
            }
        }
        order
    }
}

/// Three-way partition around a median of three: `..less` below the pivot, `less..more` equal to it.
fn partition(runs: &mut [u32], keys: &mut [u64]) -> (usize, usize) {
    let len = keys.len();
    let mut candidates = [keys[0], keys[len / 2], keys[len - 1]];
    candidates.sort_unstable();
    let pivot = candidates[1];
    let (mut less, mut at, mut more) = (0, 0, len);
    while at < more {
        match keys[at].cmp(&pivot) {
            std::cmp::Ordering::Less => {
                keys.swap(less, at);
                runs.swap(less, at);
                less += 1;
                at += 1;
            }
            std::cmp::Ordering::Equal => at += 1,
            std::cmp::Ordering::Greater => {
                more -= 1;
                keys.swap(at, more);
                runs.swap(at, more);
            }
        }
    }
    (less, more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn multikey_quicksort_orders_runs_as_a_comparison_sort_does(
            runs in prop::collection::vec(prop::collection::vec(0u32..3, 0..6), 0..200)
        ) {
            let mut flat = Runs::with_capacity(runs.len(), 0);
            for run in &runs {
                flat.symbols.extend_from_slice(run);
                flat.close_run();
            }
            let mut expected: Vec<u32> = (0..runs.len() as u32).collect();
            expected.sort_by(|&a, &b| runs[a as usize].cmp(&runs[b as usize]).then(a.cmp(&b)));
            prop_assert_eq!(flat.sorted(), expected);
        }
    }
}
