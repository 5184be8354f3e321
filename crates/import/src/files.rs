//! Files of pprof, alone or in folders.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ingest::{Limits, Scratch};
use profile::Stream;
use store::StoreError;

use crate::report::LeftOut;
use crate::{Importer, name_of};

/// What a pprof's name ends with.
const ENDINGS: [&str; 9] =
    [".pb.gz", ".pb", ".pb.zst", ".pprof", ".pprof.gz", ".prof", ".prof.gz", ".profile", ".profile.gz"];

/// The largest message that the API takes. bytes
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Folders within folders.
const DEPTH_MAX: usize = 64;

/// What files do not say of themselves.
#[derive(Clone, Debug, Default)]
pub struct FileOptions {
    /// `None`: by what a profile measures, see [`usual_name`].
    pub name: Option<String>,
    /// Without `__name__`.
    pub labels: Vec<(String, String)>,
}

/// The name under which a scraped profile of this kind is known: of the first of its sample types that is known, else `profile`.
pub fn usual_name(stream: &Stream) -> &'static str {
    let of_kind = |kind: &str| match kind {
        "cpu" => Some("process_cpu"),
        "inuse_space" | "inuse_objects" | "alloc_space" | "alloc_objects" => Some("memory"),
        "goroutine" => Some("goroutine"),
        // Go's profiles of mutexes say the same of themselves
        "contentions" | "delay" => Some("block"),
        "wall" => Some("wallclock"),
        _ => None,
    };
    stream.sample_types.iter().find_map(|of| of_kind(&of.kind)).unwrap_or("profile")
}

impl Importer<'_> {
    /// Brings in a file, or the files of a folder and of the folders in it whose names are those of profiles. A file is named by its
    /// bytes and labels, so one that was moved or is there twice is the same.
    pub fn files(&mut self, path: &Path, options: &FileOptions) -> Result<(), StoreError> {
        let mut scratch = Scratch::default();
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => self.folder(path, options, &mut scratch, 0),
            Ok(_) => self.file(path, options, &mut scratch),
            Err(error) => {
                self.leave_out(path, error.to_string());
                Ok(())
            }
        }
    }

    fn folder(
        &mut self,
        path: &Path,
        options: &FileOptions,
        scratch: &mut Scratch,
        depth: usize,
    ) -> Result<(), StoreError> {
        if depth > DEPTH_MAX {
            self.leave_out(path, format!("more than {DEPTH_MAX} folders within folders"));
            return Ok(());
        }
        let entries = fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut entries: Vec<PathBuf> = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.leave_out(path, error.to_string());
                return Ok(());
            }
        };
        // mostly by time, and the same each run
        entries.sort();
        for entry in entries {
            // a link to a folder may lead back here
            let is_link = entry.is_symlink();
            if entry.is_dir() {
                if !is_link {
                    self.folder(&entry, options, scratch, depth + 1)?;
                }
            } else if is_profile(&entry) {
                self.file(&entry, options, scratch)?;
            } else {
                self.pending.passed_over += 1;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, options: &FileOptions, scratch: &mut Scratch) -> Result<(), StoreError> {
        let (bytes, modified) = match read(path) {
            Ok(read) => read,
            Err(error) => {
                self.leave_out(path, error.to_string());
                return Ok(());
            }
        };
        let mut labels = options.labels.clone();
        labels.push(("__name__".to_owned(), options.name.clone().unwrap_or_else(|| "profile".to_owned())));
        let mut parts: Vec<&[u8]> = vec![b"pprof", &bytes];
        parts.extend(labels.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]));
        let source = name_of(&parts);
        if self.imported(&source)? > 0 {
            self.pending.known += 1;
            return Ok(());
        }
        match ingest::pprof_file(labels, &bytes, modified, &Limits::default(), scratch) {
            Ok(mut batch) => {
                for stream in batch.streams.iter_mut().filter(|_| options.name.is_none()) {
                    stream.name = usual_name(stream).to_owned();
                }
                self.take(&batch, &[(&source, 1)])?;
                self.pending.read += 1;
            }
            Err(error) => self.leave_out(path, error.message),
        }
        self.progress(&path.display().to_string(), 0, 0);
        Ok(())
    }

    fn leave_out(&mut self, path: &Path, reason: String) {
        self.pending.leave_out(LeftOut { source: path.display().to_string(), rows: None, reason });
    }
}

fn is_profile(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    ENDINGS.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

/// The bytes, and when the file was changed last (ns since the epoch).
fn read(path: &Path) -> io::Result<(Vec<u8>, i64)> {
    let file = File::open(path)?;
    let modified = file.metadata()?.modified()?;
    let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok((bytes, modified))
}
