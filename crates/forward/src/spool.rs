//! A queue on disk, in order, bounded: what came in and has not been handed on yet.
//!
//! ```text
//! LOCK   segments/<first sequence>-<nonce>   done/<ordinal>   refused/<sequence>.<kind>
//! ```
//! An entry is durable when [`Spool::append`] returns; appends that wait at the same time share one sync. The oldest entry is
//! read with [`Spool::next`] and stays until [`Spool::done`]. How far that has come stands in two slots of the newest file of `done`,
//! which are written in turn, so that a torn write leaves the other. A segment goes when all its entries are done.
//!
//! - **Nothing that was acknowledged is lost, and after a crash at most the one entry comes again that was taken and not done.**
//! - **No byte is written behind a failed sync or a crash:** the next entry begins a new segment.
//! - **The segments never take more than [`SpoolOptions::bytes_max`]**: over it an append is refused and the oldest entries stay.
//! - **A segment that cannot be read holds up no other**: it counts as lost, and its file stays until what is behind it is done and the
//!   spool is opened again.

mod frame;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use store::disk::{DiskFile, DiskLock};
use store::{Disk, Kind, Random, StoreError};
use tracing::warn;

use frame::{HEADER, Header, SEQUENCES, crc32c};

const SEGMENTS: &str = "segments";
const DONE: &str = "done";
const REFUSED: &str = "refused";

/// Large enough that making one is rare, small enough that what is done is given back soon. bytes
const SEGMENT_BYTES: u64 = 8 << 20;

/// Apart, so that no disk tears both. bytes
const SLOT_STRIDE: u64 = 4096;

/// Refused entries that are kept for somebody to look at.
const REFUSED_FILES_MAX: usize = 100;

/// Until the server that is away may have taken some.
const FULL_RETRY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct SpoolOptions {
    /// Of all segments together.
    pub bytes_max: u64,
    /// Of one segment; an entry that is larger has one to itself.
    pub segment_bytes: u64,
    /// Of the refused entries that are kept.
    pub refused_bytes_max: u64,
}

impl SpoolOptions {
    pub fn new(bytes_max: u64) -> Self {
        let segment_bytes = SEGMENT_BYTES.min(bytes_max / 4).max(HEADER as u64);
        Self { bytes_max, segment_bytes, refused_bytes_max: bytes_max / 8 }
    }
}

/// The oldest entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    /// When it came in, ns since the epoch.
    pub time: i64,
    pub kind: u32,
    pub payload: Bytes,
}

/// What was found when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub entries: u64,
    /// Of segments, that are no entries: a torn end, damage, or a file that cannot be read.
    pub lost_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// That are not done.
    pub entries: u64,
    /// Of their payloads.
    pub bytes: u64,
    /// Of all segments on disk.
    pub disk_bytes: u64,
    /// Of segments, that were passed over since the start: a torn end, damage, or a file that cannot be read.
    pub lost_bytes: u64,
}

pub struct Spool {
    disk: Arc<dyn Disk>,
    random: Arc<dyn Random>,
    options: SpoolOptions,
    state: Mutex<State>,
    /// A group of appends has ended.
    ended: Condvar,
    _lock: Box<dyn DiskLock>,
}

struct State {
    /// By age. Only the last may still grow.
    segments: VecDeque<Segment>,
    /// Of the last segment, while it takes entries and nobody writes.
    open: Option<Box<dyn DiskFile>>,
    /// Somebody writes a group; `open` is theirs meanwhile.
    writing: bool,
    /// Appends that nobody has begun to write, with their tickets.
    waiting: VecDeque<(u64, Waiting)>,
    next_ticket: u64,
    /// All tickets below have ended.
    ended_tickets: u64,
    /// Those of them that failed and have not been told yet.
    failed: Vec<(u64, StoreError)>,
    next_sequence: u64,
    /// All entries up to this sequence are done.
    done: u64,
    /// Where in the first segment the next entry is looked for.
    read_at: u64,
    entries: u64,
    bytes: u64,
    lost_bytes: u64,
    /// That files take which cannot be read.
    unreadable_bytes: u64,
    marks: Marks,
}

impl State {
    /// Of all segments.
    fn disk_bytes(&self) -> u64 {
        self.unreadable_bytes + self.segments.iter().map(|segment| segment.capacity).sum::<u64>()
    }
}

struct Waiting {
    time: i64,
    kind: u32,
    parts: Vec<Bytes>,
    len: u64,
}

struct Segment {
    path: String,
    nonce: u64,
    /// Reserved on disk.
    capacity: u64,
    /// Behind the last good entry.
    end: u64,
    /// The sequence of the last entry.
    last: u64,
}

/// The file that says what is done.
struct Marks {
    file: Box<dyn DiskFile>,
    slot: u64,
}

impl Marks {
    fn write(&mut self, sequence: u64) -> Result<(), StoreError> {
        let mut mark = [0; 12];
        mark[..8].copy_from_slice(&sequence.to_le_bytes());
        let crc = crc32c(&mark[..8]);
        mark[8..].copy_from_slice(&crc.to_le_bytes());
        self.slot = 1 - self.slot;
        self.file.write_at(self.slot * SLOT_STRIDE, &mut [IoSlice::new(&mark)])?;
        self.file.sync()
    }

    fn read(bytes: &[u8]) -> u64 {
        let slots = [0, SLOT_STRIDE as usize].map(|at| {
            let mark: &[u8; 12] = bytes.get(at..)?.first_chunk()?;
            let (sequence, crc) = mark.split_first_chunk::<8>()?;
            (crc == crc32c(sequence).to_le_bytes()).then(|| u64::from_le_bytes(*sequence))
        });
        slots.into_iter().flatten().filter(|sequence| *sequence < SEQUENCES).max().unwrap_or(0)
    }
}

impl Spool {
    /// Takes the directory; [`Kind::InUse`] when another process has it. `since` is told to a second one.
    pub fn open(
        disk: Arc<dyn Disk>,
        random: Arc<dyn Random>,
        options: SpoolOptions,
        since: &str,
    ) -> Result<(Self, Found), StoreError> {
        let lock = disk.lock("LOCK", since)?;
        for folder in [SEGMENTS, DONE, REFUSED] {
            disk.create_dir_all(folder)?;
        }
        disk.sync_dir("")?;
        let mut done = 0;
        let old_marks = disk.list(DONE)?;
        for file in &old_marks {
            done = done.max(Marks::read(&disk.read(&format!("{DONE}/{}", file.name))?));
        }
        let mut found = Found::default();
        let (mut segments, mut last, mut bytes, mut unreadable_bytes) = (VecDeque::new(), done, 0, 0);
        let files = disk.list(SEGMENTS)?.into_iter();
        let mut files = files.filter_map(|file| Some((parse_name(&file.name)?, file))).peekable();
        while let Some(((first, nonce), file)) = files.next() {
            let path = format!("{SEGMENTS}/{}", file.name);
            let read = match disk.read(&path) {
                Ok(read) => Bytes::from(read),
                Err(error) if error.kind == Kind::Io => {
                    // no entry of it has a number that is larger: each has a header
                    let most = first.saturating_add(file.bytes / HEADER as u64).min(SEQUENCES - 1);
                    let last_here = files.peek().map_or(most, |((next, _), _)| next.saturating_sub(1));
                    last = last.max(last_here);
                    if last_here <= done {
                        disk.remove(&path)?;
                    } else {
                        warn!(%error, bytes = file.bytes, "a part of the forward buffer cannot be read; it is passed over");
                        found.lost_bytes += file.bytes;
                        unreadable_bytes += file.bytes;
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (mut at, mut end, mut last_here) = (0, 0, 0);
            while let Some((begin, header, payload)) = frame::find(&read, nonce, at) {
                found.lost_bytes += (begin - at) as u64;
                at = payload.end;
                end = at as u64;
                last_here = last_here.max(header.sequence);
                if header.sequence > done {
                    found.entries += 1;
                    bytes += payload.len() as u64;
                }
            }
            // what was reserved and never written is no loss
            let rest = read.slice(at..);
            found.lost_bytes += rest.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
            last = last.max(last_here).max(first.saturating_sub(1));
            if last_here <= done {
                disk.remove(&path)?;
            } else {
                segments.push_back(Segment { path, nonce, capacity: file.bytes, end, last: last_here });
            }
        }
        let marks = new_marks(&*disk, &old_marks, done)?;
        let state = State {
            segments,
            open: None,
            writing: false,
            waiting: VecDeque::new(),
            next_ticket: 0,
            ended_tickets: 0,
            failed: Vec::new(),
            next_sequence: last + 1,
            done,
            read_at: 0,
            entries: found.entries,
            bytes,
            lost_bytes: found.lost_bytes,
            unreadable_bytes,
            marks,
        };
        let spool = Self { disk, random, options, state: Mutex::new(state), ended: Condvar::new(), _lock: lock };
        Ok((spool, found))
    }

    /// Durable when it returns. [`Kind::Overloaded`] when there is no room, with when to try again if there can be some then.
    ///
    /// Blocks; may be called by many threads at once.
    pub fn append(&self, time: i64, kind: u32, parts: Vec<Bytes>) -> Result<(), StoreError> {
        let len: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let need = HEADER as u64 + len;
        if need > self.options.bytes_max.min(u32::MAX.into()) {
            let what = format!("a message of {len} bytes is larger than the buffer of {}", self.options.bytes_max);
            return Err(StoreError::new(Kind::Overloaded, "forward buffer", what));
        }
        let mut state = self.state();
        if state.next_sequence + state.waiting.len() as u64 >= SEQUENCES {
            let what = "has used up its numbers: hand on what is in it, then move the folder aside";
            return Err(StoreError::new(Kind::Invalid, self.disk.describe(SEGMENTS), what));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back((ticket, Waiting { time, kind, parts, len }));
        loop {
            if ticket < state.ended_tickets {
                let failed = state.failed.iter().position(|(failed, _)| *failed == ticket);
                return failed.map_or(Ok(()), |ix| Err(state.failed.swap_remove(ix).1));
            }
            state = match state.writing {
                true => self.ended.wait(state).unwrap_or_else(PoisonError::into_inner),
                false => self.write_group(state),
            };
        }
    }

    /// Writes as many of those that wait as fit into one segment, and tells them.
    fn write_group<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let Some(first) = state.waiting.front().map(|(_, first)| HEADER as u64 + first.len) else { return state };
        let room = |state: &State| {
            let last = state.segments.back().filter(|_| state.open.is_some());
            last.map_or(0, |segment| segment.capacity - segment.end)
        };
        if room(&state) < first {
            let open = state.open.take();
            self.drop_done(&mut state);
            let capacity = self.options.segment_bytes.max(first);
            let used = state.disk_bytes();
            if used + capacity > self.options.bytes_max {
                // smaller ones still find room in it, unless it was done and is gone
                state.open = open.filter(|_| !state.segments.is_empty());
                let what = format!(
                    "the buffer is full: {} messages wait for the server that they go to, on {used} of {} bytes",
                    state.entries, self.options.bytes_max
                );
                let full = StoreError::new(Kind::Overloaded, "forward buffer", what).retry_after(FULL_RETRY);
                return self.end_first(state, full);
            }
            let sequence = state.next_sequence;
            state.writing = true;
            drop(state);
            let created = self.create_segment(sequence, capacity);
            state = self.state();
            state.writing = false;
            self.ended.notify_all();
            match created {
                Ok((segment, file)) => {
                    state.segments.push_back(segment);
                    state.open = Some(file);
                }
                Err(error) => return self.end_first(state, error),
            }
        }
        let (Some(file), Some(segment)) = (state.open.take(), state.segments.back()) else { return state };
        let (nonce, begin, capacity) = (segment.nonce, segment.end, segment.capacity);
        let mut group = Vec::new();
        let mut end = begin;
        let mut sequence = state.next_sequence;
        while let Some((_, next)) = state.waiting.front() {
            if end + HEADER as u64 + next.len > capacity {
                break;
            }
            let Some((ticket, next)) = state.waiting.pop_front() else { break };
            end += HEADER as u64 + next.len;
            group.push((ticket, sequence, next));
            sequence += 1;
        }
        // also if it fails: what may lie on the disk has these numbers
        state.next_sequence = sequence;
        state.writing = true;
        drop(state);

        let headers: Vec<[u8; HEADER]> = (group.iter())
            .map(|(_, sequence, next)| Header::new(*sequence, next.time, next.kind, &next.parts).encode(nonce))
            .collect();
        let mut slices = Vec::with_capacity(3 * group.len());
        for (header, (_, _, next)) in headers.iter().zip(&group) {
            slices.push(IoSlice::new(header));
            slices.extend(next.parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)));
        }
        let written = file.write_at(begin, &mut slices).and_then(|()| file.sync());

        let mut state = self.state();
        state.writing = false;
        if let Some((ticket, _, _)) = group.last() {
            state.ended_tickets = ticket + 1;
        }
        match written {
            Ok(()) => {
                state.open = Some(file);
                state.entries += group.len() as u64;
                state.bytes += group.iter().map(|(_, _, next)| next.len).sum::<u64>();
                if let Some(segment) = state.segments.back_mut() {
                    segment.end = end;
                    segment.last = sequence - 1;
                }
            }
            Err(error) => {
                // nothing is known about these bytes now; cut away they cannot come back after a restart, and take no room
                if let Some(segment) = state.segments.back_mut()
                    && self.disk.truncate(&segment.path, segment.end).is_ok()
                {
                    segment.capacity = segment.end;
                }
                state.failed.extend(group.iter().map(|(ticket, _, _)| (*ticket, error.clone())));
            }
        }
        self.ended.notify_all();
        state
    }

    fn end_first<'s>(&'s self, mut state: MutexGuard<'s, State>, error: StoreError) -> MutexGuard<'s, State> {
        if let Some((ticket, _)) = state.waiting.pop_front() {
            state.ended_tickets = ticket + 1;
            state.failed.push((ticket, error));
        }
        self.ended.notify_all();
        state
    }

    fn create_segment(&self, sequence: u64, capacity: u64) -> Result<(Segment, Box<dyn DiskFile>), StoreError> {
        let nonce = self.random.u64()?;
        let path = format!("{SEGMENTS}/{sequence:016x}-{nonce:016x}");
        let file = self.disk.create(&path, capacity)?;
        if let Err(error) = self.disk.sync_dir(SEGMENTS) {
            // at the latest it goes when the spool is opened
            let _ = self.disk.remove(&path);
            return Err(error);
        }
        Ok((Segment { path, nonce, capacity, end: 0, last: 0 }, file))
    }

    /// The oldest entry that is not done, if there is one; the same one until it is done.
    pub fn next(&self) -> Result<Option<Entry>, StoreError> {
        loop {
            let (path, nonce, begin, end, done) = {
                let mut state = self.state();
                self.drop_done(&mut state);
                let Some(segment) = state.segments.front().filter(|segment| state.read_at < segment.end) else {
                    // what damage took was counted until now
                    (state.entries, state.bytes) = (0, 0);
                    return Ok(None);
                };
                (segment.path.clone(), segment.nonce, state.read_at, segment.end, state.done)
            };
            let head = self.disk.read_range(&path, begin, HEADER as u64)?;
            let (mut next, mut lost) = (begin, 0);
            if let Some(header) = Header::decode(&head, nonce) {
                let payload = self.disk.read_range(&path, begin + HEADER as u64, header.len.into())?;
                if header.matches(&payload) {
                    if header.sequence > done {
                        let Header { sequence, time, kind, .. } = header;
                        return Ok(Some(Entry { sequence, time, kind, payload: payload.into() }));
                    }
                    next = begin + header.bytes();
                }
            }
            if next == begin {
                // damage: what is whole behind it still counts
                let rest = self.disk.read_range(&path, begin, end - begin)?;
                next = frame::find(&rest, nonce, 1).map_or(end, |(at, _, _)| begin + at as u64);
                lost = next - begin;
            }
            let mut state = self.state();
            state.lost_bytes += lost;
            if state.segments.front().is_some_and(|segment| segment.path == path) {
                state.read_at = next;
            }
        }
    }

    /// Passes over the oldest segment, which [`Spool::next`] cannot read, if the one behind it can be read: else it is the disk
    /// that cannot. Whether it did. For whom calls [`Spool::next`].
    pub fn pass_over(&self) -> bool {
        let (oldest, behind) = {
            let state = self.state();
            let (Some(oldest), Some(behind)) = (state.segments.front(), state.segments.get(1)) else { return false };
            (oldest.path.clone(), behind.path.clone())
        };
        if self.disk.read_range(&behind, 0, HEADER as u64).is_err() {
            return false;
        }
        let mut state = self.state();
        let Some(segment) = state.segments.pop_front_if(|segment| segment.path == oldest) else { return false };
        let bytes = segment.end.saturating_sub(state.read_at);
        warn!(
            file = self.disk.describe(&oldest),
            bytes, "a part of the forward buffer cannot be read; it is passed over"
        );
        state.lost_bytes += bytes;
        state.unreadable_bytes += segment.capacity;
        state.read_at = 0;
        true
    }

    /// `entry`, which [`Spool::next`] gave, has been taken care of: it is durable that it will not come again. After an error it
    /// does not come again either, unless the process ends before the next success.
    pub fn done(&self, entry: &Entry) -> Result<(), StoreError> {
        let mut state = self.state();
        state.done = state.done.max(entry.sequence);
        state.read_at += HEADER as u64 + entry.payload.len() as u64;
        state.entries = state.entries.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(entry.payload.len() as u64);
        let marked = state.marks.write(entry.sequence);
        self.drop_done(&mut state);
        marked
    }

    /// Keeps a copy of `entry` in `refused/`, named by its sequence and `suffix`; false if it has more bytes than all copies may. The oldest
    /// copies go when there are too many. The entry is not done by it: after an error it may be kept once more.
    pub fn keep(&self, entry: &Entry, suffix: &str) -> Result<bool, StoreError> {
        let len = entry.payload.len() as u64;
        if len > self.options.refused_bytes_max {
            return Ok(false);
        }
        let path = format!("{REFUSED}/{:016x}.{suffix}", entry.sequence);
        // a crash came between a copy and its mark: nobody knows how much of it is there
        match self.disk.remove(&path) {
            Err(error) if error.kind != Kind::NotFound => return Err(error),
            _ => {}
        }
        let mut files: VecDeque<_> = self.disk.list(REFUSED)?.into();
        let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
        while files.len() >= REFUSED_FILES_MAX || bytes + len > self.options.refused_bytes_max {
            let Some(oldest) = files.pop_front() else { break };
            self.disk.remove(&format!("{REFUSED}/{}", oldest.name))?;
            bytes -= oldest.bytes;
        }
        let file = self.disk.create(&path, 0)?;
        let written = file.write_at(0, &mut [IoSlice::new(&entry.payload)]).and_then(|()| file.sync());
        if written.is_err() {
            // half a copy would pass for one
            let _ = self.disk.remove(&path);
        }
        written?;
        self.disk.sync_dir(REFUSED)?;
        Ok(true)
    }

    pub fn status(&self) -> SpoolStatus {
        let state = self.state();
        let State { entries, bytes, lost_bytes, .. } = *state;
        SpoolStatus { entries, bytes, disk_bytes: state.disk_bytes(), lost_bytes }
    }

    /// Lets segments go of which all is done. One that stays after a crash goes when the spool is opened.
    fn drop_done(&self, state: &mut State) {
        while let Some(segment) = state.segments.front() {
            let grows = state.segments.len() == 1 && (state.open.is_some() || state.writing);
            if grows || state.read_at < segment.end {
                return;
            }
            // it is tried again when the spool is opened
            let _ = self.disk.remove(&segment.path);
            state.segments.pop_front();
            state.read_at = 0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (first, nonce) = name.split_once('-')?;
    let first = u64::from_str_radix(first, 16).ok().filter(|first| *first < SEQUENCES)?;
    Some((first, u64::from_str_radix(nonce, 16).ok()?))
}

/// A file of its own for this run: what is written now never lies over bytes of which nothing is known.
fn new_marks(disk: &dyn Disk, old: &[store::disk::DirEntry], done: u64) -> Result<Marks, StoreError> {
    let ordinals = old.iter().filter_map(|file| u64::from_str_radix(&file.name, 16).ok());
    let ordinal = ordinals.max().map_or(0, |last| last + 1);
    let file = disk.create(&format!("{DONE}/{ordinal:016x}"), 2 * SLOT_STRIDE)?;
    let mut marks = Marks { file, slot: 1 };
    marks.write(done)?;
    disk.sync_dir(DONE)?;
    for file in old {
        disk.remove(&format!("{DONE}/{}", file.name))?;
    }
    Ok(marks)
}

#[cfg(test)]
pub(crate) mod tests;
