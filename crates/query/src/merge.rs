//! Sums by stack: one side of a report, part by part, in parallel.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use profile::ValueType;
use profile::tree::{FrameRows, NameTree};
use store::budget::Lease;
use store::part::{Part, PartSymbols, Pick, StackSums};

use crate::engine::{Context, Engine};
use crate::error::{ErrorKind, QueryError};
use crate::groups::{self, GroupSums};
use crate::pick::{Picked, Query, pick};
use crate::request::Selected;
use crate::view::Look;

const NS_PER_MS: i64 = 1_000_000;

/// A query with the range it covers.
pub(crate) struct Scope {
    pub(crate) query: Query,
    /// ns
    pub(crate) range: RangeInclusive<i64>,
    /// A single profile must exist, and its counts stay counts.
    pub(crate) single: bool,
    pub(crate) look: Arc<Look>,
}

impl Scope {
    pub(crate) fn new(selected: &Selected, look: &Arc<Look>) -> Result<Self, QueryError> {
        let look = look.clone();
        match selected {
            Selected::Single { query, time } => {
                // the millisecond decides
                let begin = time.div_euclid(NS_PER_MS).saturating_mul(NS_PER_MS);
                let range = begin..=begin.saturating_add(NS_PER_MS - 1);
                Ok(Self { query: Query::parse(query)?, range, single: true, look })
            }
            Selected::Merge { query, start, end } => {
                Ok(Self { query: Query::parse(query)?, range: *start..=*end, single: false, look })
            }
        }
    }

    fn times_period(&self) -> bool {
        !self.single && self.query.counts_periods()
    }

    /// What the values of a report over this scope are in.
    pub(crate) fn value_type(&self) -> &ValueType {
        if self.single { &self.query.profile_type.sample } else { self.query.summed_type() }
    }

    pub(crate) fn parts(&self, engine: &Engine, context: &Context) -> Vec<Arc<dyn Part>> {
        engine.parts(context, Some((*self.range.start(), *self.range.end())))
    }

    /// What this scope means in each part; parts without anything are left out. Not finding a single
    /// profile is an error.
    pub(crate) fn picks(&self, engine: &Engine, context: &Context) -> Result<Vec<PartPicks>, QueryError> {
        let mut picks = Vec::new();
        for part in self.parts(engine, context) {
            context.check()?;
            let picked = pick(&*part, &self.query, &self.range, self.times_period())?;
            if !picked.is_empty() {
                picks.push(PartPicks { part, picked });
            }
        }
        if self.single && picks.is_empty() { Err(QueryError::no_profile()) } else { Ok(picks) }
    }
}

pub(crate) struct PartPicks {
    pub(crate) part: Arc<dyn Part>,
    pub(crate) picked: Vec<Picked>,
}

/// Sums by stack of one part.
pub(crate) struct PartSums {
    pub(crate) part: Arc<dyn Part>,
    pub(crate) symbols: Arc<PartSymbols>,
    /// Without any node where [`PartSums::frame_rows`] are set, or where a report needs none.
    pub(crate) name_tree: Arc<NameTree>,
    /// Which of the tree's frames each line is, where the trees of all parts are to be grown from their stacks.
    pub(crate) frame_rows: Option<FrameRows>,
    pub(crate) sums: StackSums,
    /// The same by labels, where a request tells them apart.
    pub(crate) groups: Option<Vec<GroupSums>>,
    pub(crate) leases: Vec<Lease>,
}

/// What a report holds at most per stack and per node of a part's name tree, besides the parts' own caches:
/// sums, marks, the weighted tree and its share of the join.
const BYTES_PER_STACK: usize = 16;
const BYTES_PER_NODE: usize = 64;

/// Everything that one scope adds up to, as its [`Look`] sees it.
pub(crate) struct Side {
    pub(crate) parts: Vec<PartSums>,
    /// Of the stacks that are seen.
    pub(crate) total: i64,
    /// Of those that are not.
    pub(crate) filtered: i64,
}

impl Side {
    pub(crate) fn sum(engine: &Engine, context: &Context, scope: &Scope) -> Result<Self, QueryError> {
        let picks = scope.picks(engine, context)?;
        Self::of_picks(engine, context, scope, &picks, !scope.look.labels.is_empty())
    }

    /// With sums by labels, if they are wanted.
    pub(crate) fn of_picks(
        engine: &Engine,
        context: &Context,
        scope: &Scope,
        picks: &[PartPicks],
        by_labels: bool,
    ) -> Result<Self, QueryError> {
        let parts = in_parallel(engine.options().threads, picks, |picks| {
            let symbols = picks.part.symbols()?;
            let name_tree = if scope.look.needs_trees() { picks.part.name_tree()? } else { Arc::default() };
            let bytes = symbols.stacks.len() * BYTES_PER_STACK + name_tree.depth.len() * BYTES_PER_NODE;
            let mut leases = vec![engine.lease(bytes)?];
            let stacks = symbols.stacks.len();
            // where every stack is seen samples are gone through once
            let (sums, groups) = if by_labels && scope.look.is_plain() {
                let (groups, leased) = groups::sums(engine, context, scope, picks, stacks, None)?;
                leases.extend(leased);
                (groups::by_stack(&groups, stacks), Some(groups))
            } else {
                (sum_part(context, picks, &scope.range)?, None)
            };
            let mut sums =
                PartSums { part: picks.part.clone(), symbols, name_tree, frame_rows: None, sums, groups, leases };
            let filtered = scope.look.apply(engine, context, &mut sums)?;
            if by_labels && sums.groups.is_none() {
                let (groups, leased) = groups::sums(engine, context, scope, picks, stacks, Some(&sums.sums.seen))?;
                sums.groups = Some(groups);
                sums.leases.extend(leased);
            }
            Ok((sums, filtered))
        })?;
        let (parts, filtered): (Vec<_>, Vec<i64>) = parts.into_iter().unzip();
        let filtered = filtered.into_iter().fold(0i64, i64::wrapping_add);
        let values = parts.iter().flat_map(|part| &part.sums.sum);
        let total = values.fold(0i64, |total, &value| total.wrapping_add(value));
        Ok(Self { parts, total, filtered })
    }
}

impl Side {
    /// The total before any filter: what a relative diff goes by.
    pub(crate) fn whole(&self) -> i64 {
        self.total.wrapping_add(self.filtered)
    }
}

fn sum_part(context: &Context, picks: &PartPicks, range: &RangeInclusive<i64>) -> Result<StackSums, QueryError> {
    let of = |whole: bool| -> Vec<Pick<'_>> {
        picks.picked.iter().filter(|picked| picked.whole == whole).map(Picked::as_pick).collect()
    };
    let go_on = || context.go_on();
    let mut sums = picks.part.sum_by_stack(&of(true), &go_on).map_err(|error| context.name(error))?;
    let cut = of(false);
    if !cut.is_empty() {
        let read = picks.part.samples(&cut, &go_on, &mut |sample| {
            let stack = sample.stack as usize;
            if range.contains(&sample.time) && stack < sums.sum.len() {
                sums.sum[stack] = sums.sum[stack].wrapping_add(sample.value);
                sums.seen[stack] = true;
            }
        });
        read.map_err(|error| context.name(error))?;
    }
    context.check()?;
    Ok(sums)
}

/// Maps `items` on at most `threads` threads, the calling one included; results in the order of the items.
/// The first error wins, and no further item is begun.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<R, QueryError> + Sync,
) -> Result<Vec<R>, QueryError> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Result<R, QueryError>)>> = Mutex::new(Vec::with_capacity(items.len()));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            if result.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    let joined = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        run();
        others.into_iter().all(|thread| thread.join().is_ok())
    });
    if !joined {
        return Err(QueryError::new(ErrorKind::Internal, "a thread of the query panicked"));
    }
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}
