//! Where data lies below a directory that somebody names: in it, or beside Parca's own in a folder of ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Our folder in a directory that holds something else already.
const FOLDER: &str = "decima";

/// What Decima's store begins a directory with, and the buffer of profiles that are handed on. Not `blocks`: a Parca has a folder of
/// that name too.
const OURS: [&str; 5] = ["LOCK", "wal", "catalog", "rejected", "forward"];

/// The directory itself where it is missing, empty or begun by Decima. One that holds something else, such as the data of a Parca
/// whose place Decima takes, is left as it is: `decima` in it is then ours, and stays so, that a way back finds all.
///
/// # Errors
/// The directory cannot be listed.
pub fn below(directory: &Path) -> io::Result<PathBuf> {
    let folder = directory.join(FOLDER);
    if folder.is_dir() {
        return Ok(folder);
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(directory.to_owned()),
        Err(error) => return Err(error),
    };
    let mut others = false;
    for entry in entries {
        if OURS.iter().any(|name| entry.as_ref().is_ok_and(|entry| entry.file_name() == *name)) {
            return Ok(directory.to_owned());
        }
        others = true;
    }
    Ok(if others { folder } else { directory.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_missing_empty_or_ours_is_used_itself() {
        let place = tempfile::tempdir().expect("a directory");
        let missing = place.path().join("missing");
        assert_eq!(below(&missing).expect("listed"), missing);
        assert_eq!(below(place.path()).expect("listed"), place.path());
        for name in OURS {
            let begun = place.path().join(format!("with-{name}"));
            fs::create_dir_all(begun.join(name)).expect("made");
            fs::write(begun.join("something"), "").expect("written");
            assert_eq!(below(&begun).expect("listed"), begun);
        }
    }

    #[test]
    fn the_blocks_of_a_parca_are_somebody_elses() {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(place.path().join("blocks/parca/stacktraces")).expect("made");
        assert_eq!(below(place.path()).expect("listed"), place.path().join("decima"));
    }

    #[test]
    fn what_somebody_else_keeps_in_it_is_left_alone_and_our_folder_is_found_again() {
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("databases")).expect("made");
        let ours = below(place.path()).expect("listed");
        assert_eq!(ours, place.path().join("decima"));
        fs::create_dir(&ours).expect("made");
        fs::remove_dir(place.path().join("databases")).expect("removed");
        fs::create_dir(place.path().join("wal")).expect("made");
        assert_eq!(below(place.path()).expect("listed"), ours, "once ours, always ours");
    }
}
