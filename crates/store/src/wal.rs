//! The write-ahead log of one writer: what was acknowledged survives a crash.
//!
//! Writers wait in a queue. The first of them becomes the leader, writes everything that waits with one
//! `writev`, syncs once, and wakes the others with the outcome. After a failed write or sync nothing is
//! known about the bytes since the last good one, so that segment is closed, its waiting writers get the
//! error, and the next write begins a new one.

mod frame;
mod replay;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::disk::{Disk, DiskFile};
use crate::error::{Kind, StoreError};
use crate::options::StoreOptions;
use crate::random::Random;
use crate::record::{Record, WalPosition};

use frame::Frame;
pub(crate) use frame::crc32c;
#[cfg(test)]
use replay::WalReport;
pub(crate) use replay::{Rejected, Replayed, encode_rejected};
use segment::SegmentId;

/// A writer whose segment was lost may succeed with the next one at once; leave the disk a moment.
const FAILED_RETRY: Duration = Duration::from_secs(1);

/// One folder of segments (see `SegmentId` and `Frame` for their format), `wal/<writer>`.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    folder: String,
    segment_bytes: u64,
    queue_bytes_max: u64,
    wal_bytes_max: u64,
    disk_free_min: u64,
    state: Mutex<State>,
    syncs: AtomicU64,
    failures: AtomicU64,
}

struct State {
    next_sequence: u64,
    next_ordinal: u64,
    /// Frames that wait for the next sync, in order of sequence, and those who wait for them.
    queue: Vec<Frame>,
    queue_bytes: u64,
    waiting: Option<Arc<Group>>,
    /// A leader is at the disk and has taken `active`.
    leading: bool,
    active: Option<Active>,
    /// Oldest first.
    sealed: VecDeque<Sealed>,
    closed: bool,
}

/// Writers that share one sync.
struct Group {
    /// Used with the mutex of [`State`].
    wake: Condvar,
    outcome: OnceLock<Result<(), StoreError>>,
}

/// The segment being written.
struct Active {
    id: SegmentId,
    file: Box<dyn DiskFile>,
    capacity: u64,
    /// Where the next frame goes; all before it is durable.
    end: u64,
    last_sequence: u64,
}

struct Sealed {
    id: SegmentId,
    /// On disk.
    bytes: u64,
    /// Of its last good frame; 0 if there is none.
    last_sequence: u64,
}

/// For [`crate::Status`].
pub(crate) struct WalStatus {
    pub(crate) bytes: u64,
    pub(crate) segments: u64,
    pub(crate) syncs: u64,
    pub(crate) failures: u64,
}

impl Wal {
    fn new(disk: Arc<dyn Disk>, random: Arc<dyn Random>, folder: String, options: &StoreOptions, state: State) -> Self {
        Self {
            disk,
            random,
            folder,
            segment_bytes: options.segment_bytes,
            queue_bytes_max: options.queue_bytes_max,
            wal_bytes_max: options.wal_bytes_max,
            disk_free_min: options.disk_free_min,
            state: Mutex::new(state),
            syncs: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Blocks until `records` are durable, all of them, or says why none is acknowledged.
    ///
    /// `assigned` runs when the write has its position, before any later write gets one and before
    /// [`Wal::last_assigned`] sees it; it must be quick and not call back.
    pub(crate) fn append<T>(
        &self,
        records: Vec<Record>,
        assigned: impl FnOnce(WalPosition) -> T,
    ) -> Result<T, StoreError> {
        let mut frame = frame::encode(records)?;
        let mut state = self.lock();
        self.check_room(&state, frame.bytes())?;
        frame.sequence = state.next_sequence;
        state.next_sequence += 1;
        let tag = assigned(WalPosition(frame.sequence));
        state.queue_bytes += frame.bytes();
        state.queue.push(frame);
        let group = state.waiting.get_or_insert_with(Group::new).clone();
        loop {
            if let Some(outcome) = group.outcome.get() {
                return outcome.clone().map(|()| tag);
            }
            state = if state.leading {
                group.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.lead(state)
            };
        }
    }

    fn check_room(&self, state: &State, more: u64) -> Result<(), StoreError> {
        let refuse =
            |what: String| Err(StoreError::new(Kind::Overloaded, self.describe(), what).retry_after(FAILED_RETRY));
        if state.closed {
            return Err(StoreError::new(Kind::Closed, self.describe(), "the store is closed"));
        }
        if !state.queue.is_empty() && state.queue_bytes + more > self.queue_bytes_max {
            return refuse(format!(
                "{} bytes wait for the disk already, of {} that may",
                state.queue_bytes, self.queue_bytes_max
            ));
        }
        let held = state.bytes();
        if held + state.queue_bytes + more > self.wal_bytes_max && held > 0 {
            return refuse(format!(
                "the log holds {held} of at most {} bytes and waits to be cut into blocks",
                self.wal_bytes_max
            ));
        }
        Ok(())
    }

    /// Writes and syncs all that waits, without the lock meanwhile.
    fn lead<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let Some(group) = state.waiting.take() else { return state };
        let mut frames = std::mem::take(&mut state.queue);
        state.queue_bytes = 0;
        state.leading = true;
        let mut segment = state.active.take();
        let mut sealed = None;
        if let Some(full) = segment.take_if(|segment| segment.end + total(&frames) > segment.capacity) {
            sealed = Some(full);
        }
        let ordinal = state.next_ordinal;
        if segment.is_none() {
            state.next_ordinal += 1;
        }
        drop(state);

        let sealed = sealed.map(|full| self.seal(full));
        let (segment, outcome) = self.commit(segment, ordinal, &mut frames);
        let (active, lost) = match (segment, &outcome) {
            (Some(segment), Ok(())) => (Some(segment), None),
            (Some(segment), Err(_)) => (None, Some(self.seal(segment))),
            (None, _) => (None, None),
        };

        let mut state = self.lock();
        state.sealed.extend(sealed.into_iter().chain(lost));
        state.active = active;
        state.leading = false;
        if group.outcome.set(outcome).is_err() {
            tracing::error!(at = %self.describe(), "a group of writes was led twice");
        }
        group.wake.notify_all();
        if let Some(next) = &state.waiting {
            next.wake.notify_one();
        }
        state
    }

    /// Appends `frames` to `segment`, or to a new one if there is none.
    fn commit(
        &self,
        segment: Option<Active>,
        ordinal: u64,
        frames: &mut [Frame],
    ) -> (Option<Active>, Result<(), StoreError>) {
        let mut segment = match segment.map_or_else(|| self.create(ordinal, total(frames)), Ok) {
            Ok(segment) => segment,
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                return (None, Err(error));
            }
        };
        let header = segment.id.header();
        let mut slices = Vec::with_capacity(1 + 3 * frames.len());
        let mut offset = segment.end;
        if segment.last_sequence == 0 {
            offset = 0;
            slices.push(IoSlice::new(&header));
        }
        for frame in frames.iter_mut() {
            frame.place(segment.id);
        }
        for frame in frames.iter() {
            frame.slices(&mut slices);
        }
        let written = segment.file.write_at(offset, &mut slices).and_then(|()| segment.file.sync());
        match written {
            Ok(()) => {
                // only a restart reads it; the next write is faster into the pages that this one gives back than into new ones
                segment.file.put_aside();
                self.syncs.fetch_add(1, Ordering::Relaxed);
                segment.end += total(frames);
                segment.last_sequence = frames.last().map_or(segment.last_sequence, |frame| frame.sequence);
                (Some(segment), Ok(()))
            }
            Err(mut error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                error.retry_after = error.retry_after.or(Some(FAILED_RETRY));
                (Some(segment), Err(error))
            }
        }
    }

    fn create(&self, ordinal: u64, frames: u64) -> Result<Active, StoreError> {
        let id = SegmentId { ordinal, nonce: self.random.u64()? };
        let path = self.path(id);
        let capacity = self.segment_bytes.max(segment::HEADER as u64 + frames);
        if let Ok(free) = self.disk.free_bytes()
            && free < capacity.saturating_add(self.disk_free_min)
        {
            let what = format!(
                "the disk is full: {free} bytes are free, the log needs {capacity} and leaves {} for cutting it; \
                 writes are refused until there is room",
                self.disk_free_min
            );
            return Err(StoreError::disk_full(self.disk.describe(&path), what));
        }
        let file = self.disk.create(&path, capacity)?;
        self.disk.sync_dir(&self.folder)?;
        Ok(Active { id, file, capacity, end: segment::HEADER as u64, last_sequence: 0 })
    }

    /// Gives back what was reserved and not used, and with it the frames that failed.
    fn seal(&self, segment: Active) -> Sealed {
        let mut bytes = segment.end;
        if let Err(error) = self.disk.truncate(&self.path(segment.id), segment.end) {
            tracing::warn!(%error, "the end of a log segment stays reserved");
            bytes = segment.capacity;
        }
        Sealed { id: segment.id, bytes, last_sequence: segment.last_sequence }
    }

    /// Runs `then` with the position of the newest write, while no write can get one.
    pub(crate) fn last_assigned<T>(&self, then: impl FnOnce(WalPosition) -> T) -> T {
        let state = self.lock();
        then(WalPosition(state.next_sequence - 1))
    }

    /// Deletes the segments whose writes are all at or below `covered`.
    pub(crate) fn release(&self, covered: WalPosition) -> Result<(), StoreError> {
        let mut free = Vec::new();
        {
            let mut state = self.lock();
            let (gone, kept): (VecDeque<Sealed>, _) =
                std::mem::take(&mut state.sealed).into_iter().partition(|sealed| sealed.last_sequence <= covered.0);
            free.extend(gone);
            state.sealed = kept;
            if let Some(active) = state.active.take_if(|active| active.last_sequence <= covered.0) {
                free.push(Sealed { id: active.id, bytes: active.capacity, last_sequence: active.last_sequence });
            }
        }
        let mut free = free.into_iter();
        while let Some(segment) = free.next() {
            match self.disk.remove(&self.path(segment.id)) {
                Ok(()) => {}
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => {
                    let mut state = self.lock();
                    for unreleased in free.rev() {
                        state.sealed.push_front(unreleased);
                    }
                    state.sealed.push_front(segment);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Refuses writes from now on, waits for those under way, and gives back unused space.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        while state.leading || state.waiting.is_some() {
            // rare and short: those who wait need every wake-up of their condition variable themselves
            drop(state);
            std::thread::sleep(Duration::from_millis(1));
            state = self.lock();
        }
        if let Some(active) = state.active.take() {
            let sealed = self.seal(active);
            state.sealed.push_back(sealed);
        }
    }

    pub(crate) fn status(&self) -> WalStatus {
        let state = self.lock();
        WalStatus {
            bytes: state.bytes(),
            segments: state.sealed.len() as u64 + u64::from(state.active.is_some() || state.leading),
            syncs: self.syncs.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    fn describe(&self) -> String {
        self.disk.describe(&self.folder)
    }

    fn path(&self, id: SegmentId) -> String {
        format!("{}/{}", self.folder, id.file_name())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// On disk, but for a segment that a leader is writing.
    fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.capacity)
    }
}

impl Group {
    fn new() -> Arc<Self> {
        Arc::new(Self { wake: Condvar::new(), outcome: OnceLock::new() })
    }
}

fn total(frames: &[Frame]) -> u64 {
    frames.iter().map(Frame::bytes).sum()
}
