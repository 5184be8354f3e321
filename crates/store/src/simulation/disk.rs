//! A disk that keeps only what it promised to keep.

use std::collections::{BTreeMap, HashMap};
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Rng;
use crate::disk::{DirEntry, Disk, DiskFile, DiskLock};
use crate::error::{Kind, StoreError};

/// Bytes that a real disk writes at once; a torn write keeps any of a write's sectors.
const SECTOR: u64 = 512;

/// Clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    inodes: HashMap<u64, Inode>,
    next_inode: u64,
    /// What programs see, and what a crash leaves at least.
    names: Names,
    durable: Names,
    /// Since the last sync of its folder: (folder, change).
    unsynced_names: Vec<(String, NameChange)>,
    capacity: u64,
    locked: bool,
    /// Changes until the crash.
    crash_in: Option<u64>,
    crashed: bool,
    /// Of the process: files opened before a crash are dead after it.
    boot: u64,
    /// One sync in so many fails; 0 is never.
    sync_fails_one_in: u64,
    read_only: bool,
    hard_links: bool,
}

/// The root's path is the empty string and always there.
type Names = BTreeMap<String, Node>;

#[derive(Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File(u64),
}

#[derive(Clone)]
enum NameChange {
    Set(String, Node),
    Remove(String),
}

#[derive(Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Length(len) => bytes.resize(*len as usize, 0),
            Change::Write(offset, data) => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(data);
            }
        }
    }

    /// What a crash or a failed sync may leave of it.
    fn apply_torn(&self, bytes: &mut Vec<u8>, rng: &mut Rng) {
        match self {
            Change::Length(_) => {
                if rng.one_in(2) {
                    self.apply(bytes);
                }
            }
            Change::Write(offset, data) => {
                let keep_one_in = 1 + rng.below(3);
                let mut at = 0;
                while at < data.len() {
                    let sector_end = (SECTOR - (offset + at as u64) % SECTOR) as usize;
                    let end = (at + sector_end).min(data.len());
                    if rng.one_in(keep_one_in) {
                        Change::Write(offset + at as u64, data[at..end].to_vec()).apply(bytes);
                    }
                    at = end;
                }
            }
        }
    }
}

impl SimDisk {
    pub(crate) fn new(seed: u64, capacity: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            inodes: HashMap::new(),
            next_inode: 1,
            names: Names::new(),
            durable: Names::new(),
            unsynced_names: Vec::new(),
            capacity,
            locked: false,
            crash_in: None,
            crashed: false,
            boot: 0,
            sync_fails_one_in: 0,
            read_only: false,
            hard_links: true,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The machine stops during the `changes`-th change from now; from then on all calls fail.
    pub(crate) fn crash_in(&self, changes: u64) {
        self.lock().crash_in = Some(changes);
    }

    pub(crate) fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// The machine is back: unsynced names and bytes are there or not, as chance has it.
    pub(crate) fn power_cycle(&self) {
        let state = &mut *self.lock();
        let keep_one_in = 1 + state.rng.below(3);
        for (_, change) in std::mem::take(&mut state.unsynced_names) {
            if state.rng.one_in(keep_one_in) {
                change.apply(&mut state.durable);
            }
        }
        // a name whose folder was lost is lost
        let folders: Vec<String> =
            state.durable.iter().filter(|(_, node)| **node == Node::Folder).map(|(name, _)| name.clone()).collect();
        state.durable.retain(|name, _| {
            name.match_indices('/').all(|(at, _)| folders.binary_search(&name[..at].to_owned()).is_ok())
        });
        let reachable: Vec<u64> = state
            .durable
            .values()
            .filter_map(|node| if let Node::File(inode) = node { Some(*inode) } else { None })
            .collect();
        state.inodes.retain(|inode, _| reachable.contains(inode));
        let mut inodes: Vec<(&u64, &mut Inode)> = state.inodes.iter_mut().collect();
        inodes.sort_by_key(|(inode, _)| **inode);
        for (_, inode) in inodes {
            for change in std::mem::take(&mut inode.unsynced) {
                change.apply_torn(&mut inode.durable, &mut state.rng);
            }
            inode.seen.clone_from(&inode.durable);
        }
        state.names.clone_from(&state.durable);
        state.restart();
    }

    /// Only the process was killed: all that it wrote is there.
    pub(crate) fn restart_process(&self) {
        self.lock().restart();
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.lock().capacity = bytes;
    }

    pub(crate) fn set_sync_fails_one_in(&self, times: u64) {
        self.lock().sync_fails_one_in = times;
    }

    pub(crate) fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    pub(crate) fn set_hard_links(&self, there: bool) {
        self.lock().hard_links = there;
    }

    /// Flips bits of one byte, durably.
    pub(crate) fn damage(&self, path: &str, at: u64) {
        let state = &mut *self.lock();
        let Some(Node::File(inode)) = state.names.get(path) else { panic!("no file {path}") };
        let inode = state.inodes.get_mut(inode).expect("inode");
        inode.seen[at as usize] ^= 0x55;
        inode.durable[at as usize] ^= 0x55;
    }

    pub(crate) fn used(&self) -> u64 {
        self.lock().used()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Counts a change; the error is the end of the process.
    fn change(&self, path: &str) -> Result<MutexGuard<'_, State>, StoreError> {
        let mut state = self.look(path)?;
        if state.read_only {
            return Err(StoreError::new(Kind::ReadOnly, self.describe(path), "read-only file system"));
        }
        if let Some(left) = &mut state.crash_in {
            if *left == 0 {
                state.crashed = true;
                return Err(StoreError::new(Kind::Io, self.describe(path), "crashed"));
            }
            *left -= 1;
        }
        Ok(state)
    }

    fn look(&self, path: &str) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.crashed {
            return Err(StoreError::new(Kind::Io, self.describe(path), "crashed"));
        }
        Ok(state)
    }

    fn not_found(&self, path: &str) -> StoreError {
        StoreError::new(Kind::NotFound, self.describe(path), "not found")
    }

    fn taken(&self, path: &str) -> StoreError {
        StoreError::new(Kind::AlreadyExists, self.describe(path), "exists")
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        match self {
            NameChange::Set(name, node) => names.insert(name.clone(), *node),
            NameChange::Remove(name) => names.remove(name),
        };
    }
}

impl State {
    fn restart(&mut self) {
        self.locked = false;
        self.crashed = false;
        self.crash_in = None;
        self.boot += 1;
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(|inode| inode.seen.len() as u64).sum()
    }

    fn rename(&mut self, change: NameChange) {
        let (NameChange::Set(name, _) | NameChange::Remove(name)) = &change;
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
        change.apply(&mut self.names);
        self.unsynced_names.push((folder, change));
    }

    fn grow(&self, path: &str, by: u64) -> Result<(), StoreError> {
        if self.used() + by > self.capacity {
            return Err(StoreError::disk_full(format!("sim:/{path}"), "no space left"));
        }
        Ok(())
    }

    fn inode(&mut self, path: &str) -> Option<&mut Inode> {
        match self.names.get(path)? {
            Node::File(inode) => self.inodes.get_mut(inode),
            Node::Folder => None,
        }
    }

    /// Frees files without a name. One that is still open and unnamed is of no use to the store.
    fn collect(&mut self) {
        let State { names, durable, unsynced_names, inodes, .. } = self;
        let in_names = |inode: u64, names: &Names| names.values().any(|node| *node == Node::File(inode));
        inodes.retain(|inode, _| {
            in_names(*inode, names)
                || in_names(*inode, durable)
                || unsynced_names
                    .iter()
                    .any(|(_, change)| matches!(change, NameChange::Set(_, Node::File(set)) if set == inode))
        });
    }
}

impl Disk for SimDisk {
    fn describe(&self, path: &str) -> String {
        format!("sim:/{path}")
    }

    fn lock(&self, path: &str, _since: &str) -> Result<Box<dyn DiskLock>, StoreError> {
        let mut state = self.change(path)?;
        if state.locked {
            return Err(StoreError::new(Kind::InUse, self.describe(path), "in use"));
        }
        state.locked = true;
        Ok(Box::new(SimLock { disk: self.clone(), boot: state.boot }))
    }

    fn create_dir_all(&self, path: &str) -> Result<(), StoreError> {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        for end in ends {
            let folder = &path[..end];
            if !folder.is_empty() && !self.look(path)?.names.contains_key(folder) {
                self.change(path)?.rename(NameChange::Set(folder.to_owned(), Node::Folder));
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> Result<Vec<DirEntry>, StoreError> {
        let state = self.look(path)?;
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = state.names.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix));
        let direct = below.filter(|(name, _)| !name[prefix.len()..].contains('/'));
        let entries = direct.map(|(name, node)| {
            let (is_dir, bytes) = match node {
                Node::Folder => (true, 0),
                Node::File(inode) => (false, state.inodes[inode].seen.len() as u64),
            };
            DirEntry { name: name[prefix.len()..].to_owned(), is_dir, bytes }
        });
        Ok(entries.collect())
    }

    fn create(&self, path: &str, capacity: u64) -> Result<Box<dyn DiskFile>, StoreError> {
        let mut state = self.change(path)?;
        if state.names.contains_key(path) {
            return Err(self.taken(path));
        }
        state.grow(path, capacity)?;
        let inode = state.next_inode;
        state.next_inode += 1;
        let mut created = Inode::default();
        if capacity > 0 {
            created.seen.resize(capacity as usize, 0);
            created.unsynced.push(Change::Length(capacity));
        }
        state.inodes.insert(inode, created);
        state.rename(NameChange::Set(path.to_owned(), Node::File(inode)));
        Ok(Box::new(SimFile { disk: self.clone(), boot: state.boot, inode, path: path.to_owned() }))
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, StoreError> {
        let mut state = self.look(path)?;
        let inode = state.inode(path).ok_or_else(|| self.not_found(path))?;
        Ok(inode.seen.clone())
    }

    fn read_range(&self, path: &str, offset: u64, len: u64) -> Result<Vec<u8>, StoreError> {
        let whole = self.read(path)?;
        let start = whole.len().min(offset as usize);
        let end = whole.len().min((offset + len) as usize);
        Ok(whole[start..end].to_vec())
    }

    fn truncate(&self, path: &str, len: u64) -> Result<(), StoreError> {
        let mut state = self.change(path)?;
        let inode = state.inode(path).ok_or_else(|| self.not_found(path))?;
        inode.seen.resize(len as usize, 0);
        for change in inode.unsynced.drain(..).chain([Change::Length(len)]) {
            change.apply(&mut inode.durable);
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StoreError> {
        let mut state = self.change(path)?;
        if !matches!(state.names.get(path), Some(Node::File(_))) {
            return Err(self.not_found(path));
        }
        state.rename(NameChange::Remove(path.to_owned()));
        state.collect();
        Ok(())
    }

    fn remove_dir(&self, path: &str) -> Result<(), StoreError> {
        if self.list(path)?.is_empty() {
            self.change(path)?.rename(NameChange::Remove(path.to_owned()));
        }
        Ok(())
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<(), StoreError> {
        let mut state = self.change(to)?;
        if !state.hard_links {
            return Err(StoreError::new(Kind::ReadOnly, self.describe(to), "operation not permitted"));
        }
        let node = *state.names.get(from).ok_or_else(|| self.not_found(from))?;
        if state.names.contains_key(to) {
            return Err(self.taken(to));
        }
        state.rename(NameChange::Set(to.to_owned(), node));
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> Result<(), StoreError> {
        let mut state = self.change(path)?;
        let state = &mut *state;
        let (now, later) =
            std::mem::take(&mut state.unsynced_names).into_iter().partition(|(folder, _)| folder == path);
        state.unsynced_names = later;
        let now: Vec<(String, NameChange)> = now;
        for (_, change) in now {
            change.apply(&mut state.durable);
        }
        state.collect();
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, StoreError> {
        let state = self.look("")?;
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

struct SimFile {
    disk: SimDisk,
    boot: u64,
    inode: u64,
    path: String,
}

impl SimFile {
    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.disk.change(&self.path)?;
        assert_eq!(state.boot, self.boot, "a file of a dead process is used");
        Ok(state)
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, offset: u64, slices: &mut [IoSlice<'_>]) -> Result<(), StoreError> {
        let data: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        // a crash within the write leaves some of it
        let outcome = self.open().map(|_| ());
        let mut state = self.disk.lock();
        let crashed = state.crashed;
        if !crashed {
            outcome.clone()?;
        }
        let end = offset + data.len() as u64;
        let seen = state.inodes.get(&self.inode).map_or(0, |inode| inode.seen.len() as u64);
        if !crashed {
            state.grow(&self.path, end.saturating_sub(seen))?;
        }
        if state.boot == self.boot
            && let Some(inode) = state.inodes.get_mut(&self.inode)
        {
            let change = Change::Write(offset, data);
            change.apply(&mut inode.seen);
            inode.unsynced.push(change);
        }
        outcome
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.open()?;
        let state = &mut *state;
        let fails = state.sync_fails_one_in > 0 && state.rng.one_in(state.sync_fails_one_in);
        let Some(inode) = state.inodes.get_mut(&self.inode) else { return Ok(()) };
        for change in inode.unsynced.drain(..) {
            // after a failed sync the pages count as clean: what did not reach the disk never will
            if fails { change.apply_torn(&mut inode.durable, &mut state.rng) } else { change.apply(&mut inode.durable) }
        }
        if fails {
            Err(StoreError::new(Kind::Io, self.disk.describe(&self.path), "input/output error"))
        } else {
            Ok(())
        }
    }
}

struct SimLock {
    disk: SimDisk,
    boot: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.boot == self.boot {
            state.locked = false;
        }
    }
}
