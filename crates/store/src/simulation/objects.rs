//! An object store at the far end of a bad line.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use super::Rng;
use crate::error::{Kind, StoreError};
use crate::objects::{MemoryObjects, ObjectEntry, Objects};

/// Survives the death of the process, as remote storage does.
pub(crate) struct SimObjects {
    kept: MemoryObjects,
    line: Mutex<Line>,
}

struct Line {
    rng: Rng,
    /// One call in so many fails; 0 is never.
    fails_one_in: u64,
    /// Objects on their way: (calls left, name, bytes).
    delayed: Vec<(u64, String, Bytes)>,
}

/// What became of a `create` that reported an error.
enum Fate {
    Lost,
    Stored,
    /// Stored later, when nobody thinks of it any more.
    Delayed(u64),
    /// Only the beginning was stored. A catalog's files are small enough to be stored whole or not at all.
    Half,
}

impl SimObjects {
    pub(crate) fn new(seed: u64) -> Self {
        let line = Line { rng: Rng::new(seed), fails_one_in: 0, delayed: Vec::new() };
        Self { kept: MemoryObjects::new(), line: Mutex::new(line) }
    }

    pub(crate) fn set_fails_one_in(&self, times: u64) {
        self.lock().fails_one_in = times;
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("not poisoned")
    }

    /// Lets delayed objects arrive, and says whether this call goes wrong.
    fn call(&self, name: &str) -> (MutexGuard<'_, Line>, Result<(), StoreError>) {
        let mut line = self.lock();
        for (left, _, _) in &mut line.delayed {
            *left = left.saturating_sub(1);
        }
        let (due, later) = std::mem::take(&mut line.delayed).into_iter().partition(|(left, _, _)| *left == 0);
        line.delayed = later;
        let due: Vec<(u64, String, Bytes)> = due;
        for (_, name, bytes) in due {
            // too late if someone else was there first
            let _ = self.kept.create(&name, &bytes);
        }
        // most of a cut's calls are for blocks, and the interesting ones are not
        let times = match line.fails_one_in {
            0 => 0,
            times if name.ends_with(".manifest") => times.div_ceil(4).max(2),
            times => times,
        };
        let fails = times > 0 && line.rng.one_in(times);
        let outcome = if fails { Err(StoreError::new(Kind::Io, self.describe(name), "timed out")) } else { Ok(()) };
        (line, outcome)
    }
}

impl Objects for SimObjects {
    fn describe(&self, name: &str) -> String {
        format!("far:{name}")
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (mut line, outcome) = self.call(name);
        let Err(error) = outcome else { return self.kept.create(name, bytes) };
        let fate = match line.rng.below(4) {
            0 => Fate::Lost,
            1 => Fate::Stored,
            2 => {
                let calls = [3, 40][line.rng.below(2) as usize];
                Fate::Delayed(1 + line.rng.below(calls))
            }
            _ if name.starts_with("blocks/") => Fate::Half,
            _ => Fate::Lost,
        };
        match fate {
            Fate::Lost => {}
            Fate::Stored => self.kept.create(name, bytes)?,
            Fate::Half => self.kept.create(name, &bytes[..bytes.len() / 2])?,
            Fate::Delayed(calls) => line.delayed.push((calls, name.to_owned(), Bytes::copy_from_slice(bytes))),
        }
        Err(error)
    }

    fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        self.call(name).1?;
        self.kept.get(name)
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.call(name).1?;
        self.kept.get_range(name, range)
    }

    fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        self.call(folder).1?;
        self.kept.list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.call(name).1?;
        self.kept.delete(name)
    }
}
