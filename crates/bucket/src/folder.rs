//! A bucket in a folder: an object is a file. All calls block.
//!
//! New bytes go to a temporary name, are synced, and get their real name by a link (which never replaces) or a rename; then
//! the folder is synced. Reading creates nothing.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use store::objects::ObjectEntry;
use store::{Kind, StoreError};

use crate::{Seen, Version};

/// Where unfinished objects lie. The store empties the folder of this name at start where both share one.
const TEMPORARY: &str = "tmp";

pub(crate) struct Folder {
    root: PathBuf,
    next_temporary: AtomicU64,
    /// Makes reading and replacing one step, within this process: a data directory has only one.
    replacing: Mutex<()>,
}

impl Folder {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, next_temporary: AtomicU64::new(0), replacing: Mutex::new(()) }
    }

    /// On a thread that may block.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce(&Self, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (folder, name) = (self.clone(), name.to_owned());
        let done = tokio::task::spawn_blocking(move || work(&folder, &name)).await;
        done.unwrap_or_else(|error| Err(StoreError::new(Kind::Closed, "", format!("the work was given up: {error}"))))
    }

    pub(crate) fn describe(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    /// The file of an object. A name that would leave the folder is refused, wherever it came from.
    fn path(&self, name: &str) -> Result<PathBuf, StoreError> {
        let within =
            name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'));
        if !within {
            return Err(StoreError::new(Kind::Invalid, format!("{name:?}"), "is no name of an object"));
        }
        Ok(self.root.join(name))
    }

    pub(crate) fn read(&self, name: &str, max: u64) -> Result<Option<Bytes>, StoreError> {
        let path = self.path(name)?;
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(StoreError::io(self.describe(name), "cannot be opened", error)),
        };
        let mut bytes = Vec::new();
        let read = file.take(max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| StoreError::io(self.describe(name), "cannot be read", error))?;
        if bytes.len() as u64 > max {
            return Err(too_large(self.describe(name), max));
        }
        Ok(Some(Bytes::from(bytes)))
    }

    pub(crate) fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let path = self.path(name)?;
        let failed = |error| StoreError::io(self.describe(name), "cannot be read", error);
        let mut file = File::open(&path).map_err(failed)?;
        file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
        let wanted = range.end.saturating_sub(range.start);
        let mut bytes = Vec::new();
        file.take(wanted).read_to_end(&mut bytes).map_err(failed)?;
        if (bytes.len() as u64) < wanted {
            return Err(short(self.describe(name), &range, bytes.len()));
        }
        Ok(Bytes::from(bytes))
    }

    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        match fs::metadata(self.path(name)?) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(StoreError::io(self.describe(name), "cannot be looked at", error)),
        }
    }

    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut draft = self.draft(name)?;
        draft.write(bytes)?;
        draft.create()
    }

    pub(crate) fn replace(&self, name: &str, bytes: &[u8], seen: Option<&Version>) -> Result<bool, StoreError> {
        let mut draft = self.draft(name)?;
        draft.write(bytes)?;
        let _one_at_a_time = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Version(Seen::Content(seen))) = seen else {
            return match draft.create() {
                Ok(()) => Ok(true),
                Err(error) if error.kind == Kind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            };
        };
        if self.read(name, seen.len() as u64).ok().flatten().as_ref() != Some(seen) {
            return Ok(false);
        }
        draft.replace()?;
        Ok(true)
    }

    /// Begins an object under a temporary name.
    pub(crate) fn draft(&self, name: &str) -> Result<Draft, StoreError> {
        let path = self.path(name)?;
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        let failed = |what: &str| {
            let (at, what) = (self.describe(name), what.to_owned());
            move |error| StoreError::io(at, what, error)
        };
        create_folder(&self.root, &folder).map_err(failed("its folder cannot be made"))?;
        let temporary = self.root.join(TEMPORARY);
        create_folder(&self.root, &temporary).map_err(failed("a folder for unfinished files cannot be made"))?;
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        // in containers every process has the same id, and every container a host name of its own
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().replace('/', "_");
        let temporary = temporary.join(format!("upload-{host}-{}-{number}", std::process::id()));
        // one of an earlier process with the same id is left over
        let _ = fs::remove_file(&temporary);
        let file = File::options().write(true).create_new(true).open(&temporary);
        let file = file.map_err(failed("a temporary file cannot be made"))?;
        Ok(Draft { file, temporary, path, folder, at: self.describe(name) })
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), StoreError> {
        match fs::remove_file(self.path(name)?) {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(StoreError::io(self.describe(name), "cannot be deleted", error)),
        }
    }

    pub(crate) fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let mut found = Vec::new();
        let start = if folder.is_empty() { self.root.clone() } else { self.path(folder)? };
        self.list_into(&start, folder, &mut found)?;
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    fn list_into(&self, path: &Path, folder: &str, found: &mut Vec<ObjectEntry>) -> Result<(), StoreError> {
        let failed = |error| StoreError::io(path.display().to_string(), "cannot be listed", error);
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            // what is not UTF-8 was not written as an object
            let Ok(file_name) = entry.file_name().into_string() else { continue };
            let name = if folder.is_empty() { file_name } else { format!("{folder}/{file_name}") };
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if is_absent(&error) => continue,
                Err(error) => return Err(failed(error)),
            };
            if metadata.is_dir() {
                self.list_into(&entry.path(), &name, found)?;
            } else if metadata.is_file() {
                found.push(ObjectEntry { name, bytes: metadata.len() });
            }
        }
        Ok(())
    }
}

/// An object under its temporary name; removed unless it gets its real one.
pub(crate) struct Draft {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
    folder: PathBuf,
    at: String,
}

impl Draft {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_all(bytes).map_err(|error| StoreError::io(&self.at, "cannot be written", error))
    }

    fn create(self) -> Result<(), StoreError> {
        self.name(|temporary, path| fs::hard_link(temporary, path))
    }

    /// Whatever was there.
    pub(crate) fn replace(self) -> Result<(), StoreError> {
        self.name(|temporary, path| fs::rename(temporary, path))
    }

    fn name(self, name: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), StoreError> {
        let named = self.file.sync_all().and_then(|()| name(&self.temporary, &self.path));
        let named = named.and_then(|()| File::open(&self.folder)?.sync_all());
        named.map_err(|error| StoreError::io(&self.at, "cannot be written", error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // after a rename it is gone already
        let _ = fs::remove_file(&self.temporary);
    }
}

/// Makes every folder from `root` down to `folder` and syncs the names of those that are new.
fn create_folder(root: &Path, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if folder != root
        && let Some(parent) = folder.parent()
    {
        create_folder(root, parent)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        // the root's own parents are the operator's
        Err(error) if error.kind() == ErrorKind::NotFound && folder == root => fs::create_dir_all(folder)?,
        Err(error) => return Err(error),
    }
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

pub(crate) fn too_large(at: String, max: u64) -> StoreError {
    StoreError::new(Kind::Invalid, at, format!("is larger than {max} bytes"))
}

pub(crate) fn short(at: String, range: &Range<u64>, found: usize) -> StoreError {
    StoreError::new(Kind::Corrupt, at, format!("ends {found} bytes after {}, and {range:?} is asked for", range.start))
}
