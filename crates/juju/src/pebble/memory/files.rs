//! The container's files, with the errors of Go's `os`.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::go::{self, quote};
use crate::pebble::types::{FileInfo, FileType, MakeDir, Owner, WriteFile};
use crate::pebble::{PebbleError, Result};

/// A file or a folder.
#[derive(Clone, Debug)]
struct Node {
    /// `None` of a file.
    children: Option<BTreeMap<String, Node>>,
    content: Vec<u8>,
    /// Nine bits.
    permissions: u32,
    user_id: u32,
    group_id: u32,
    /// In nanoseconds since 1970.
    modified: i64,
}

/// Why the system refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    NotThere,
    NotAFolder,
    Exists,
    NotEmpty,
}

impl Refused {
    fn text(self) -> &'static str {
        match self {
            Refused::NotThere => "no such file or directory",
            Refused::NotAFolder => "not a directory",
            Refused::Exists => "file exists",
            Refused::NotEmpty => "directory not empty",
        }
    }
}

/// An error of one path, as Pebble reports it within an answer.
struct Fault {
    message: String,
    why: Option<Refused>,
}

impl Fault {
    fn of(operation: &str, path: &str, why: Refused) -> Fault {
        Fault { message: format!("{operation} {path}: {}", why.text()), why: Some(why) }
    }

    fn plain(message: String) -> Fault {
        Fault { message, why: None }
    }

    fn within(self, doing: &str) -> Fault {
        Fault { message: format!("{doing}: {}", self.message), ..self }
    }

    fn kind(&self) -> &'static str {
        if self.why == Some(Refused::NotThere) { "not-found" } else { "generic-file-error" }
    }

    /// Reported under 200.
    fn of_path(self) -> PebbleError {
        PebbleError::answered(200, self.kind(), self.message)
    }
}

#[derive(Debug)]
pub(super) struct Files {
    root: Node,
}

fn absolute(path: &str) -> std::result::Result<(), Fault> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(Fault::plain(format!("paths must be absolute, got {}", quote(path))))
}

/// The path without dots and needless slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The folder of a clean path, and the name in it.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => ("/", path),
    }
}

fn octal(permissions: u32) -> std::result::Result<u32, Fault> {
    if permissions <= 0o777 {
        return Ok(permissions);
    }
    Err(Fault::plain(format!("permissions must be a 3-digit octal string, got \"{permissions:03o}\"")))
}

fn owner(owner: &Owner, accounts: &Accounts) -> std::result::Result<(u32, u32), Fault> {
    let ids = accounts.of_owner(owner);
    let ids = ids.map_err(|why| Fault::plain(format!("cannot look up user and group: {why}")))?;
    Ok(ids.unwrap_or((accounts.user_id, accounts.group_id)))
}

impl Node {
    fn folder(permissions: u32, (user_id, group_id): (u32, u32), modified: i64) -> Node {
        Node { children: Some(BTreeMap::new()), content: Vec::new(), permissions, user_id, group_id, modified }
    }
}

impl Files {
    pub(super) fn new(accounts: &Accounts, now: i64) -> Files {
        Files { root: Node::folder(0o755, (accounts.user_id, accounts.group_id), now) }
    }

    /// As the system walks a path: `..` of what is not there is not there either.
    fn find(&self, path: &str) -> std::result::Result<&Node, Refused> {
        let mut walked = vec![&self.root];
        for part in path.split('/') {
            let here = walked[walked.len() - 1];
            let children = here.children.as_ref().ok_or(Refused::NotAFolder)?;
            match part {
                "" | "." => {}
                ".." if walked.len() > 1 => drop(walked.pop()),
                ".." => {}
                part => walked.push(children.get(part).ok_or(Refused::NotThere)?),
            }
        }
        Ok(walked[walked.len() - 1])
    }

    /// The children of a folder, by its clean path.
    fn folder_mut(&mut self, path: &str) -> std::result::Result<&mut BTreeMap<String, Node>, Refused> {
        let mut here = &mut self.root;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let children = here.children.as_mut().ok_or(Refused::NotAFolder)?;
            here = children.get_mut(part).ok_or(Refused::NotThere)?;
        }
        here.children.as_mut().ok_or(Refused::NotAFolder)
    }

    fn is_folder(&self, path: &str) -> Option<bool> {
        self.find(path).ok().map(|node| node.children.is_some())
    }

    /// # Errors
    /// Why no command can run there.
    pub(super) fn check_working_dir(&self, what: &str, path: &str) -> std::result::Result<(), String> {
        match self.find(path) {
            Ok(node) if node.children.is_some() => Ok(()),
            Ok(_) => Err(format!("{what} {} not a directory", quote(path))),
            Err(Refused::NotThere) => Err(format!("{what} {} does not exist", quote(path))),
            Err(why) => Err(format!("cannot stat {what} {}: stat {path}: {}", quote(path), why.text())),
        }
    }

    pub(super) fn list(
        &self,
        path: &str,
        pattern: Option<&str>,
        itself: bool,
        accounts: &Accounts,
    ) -> Result<Vec<FileInfo>> {
        if path.is_empty() {
            return Err(PebbleError::answered(400, "", "must specify path"));
        }
        if !path.starts_with('/') {
            return Err(PebbleError::answered(400, "", format!("path must be absolute, got {}", quote(path))));
        }
        let answered = |fault: Fault| {
            let status = if fault.why == Some(Refused::NotThere) { 404 } else { 400 };
            PebbleError::answered(status, fault.kind(), fault.message)
        };
        let node = self.find(path).map_err(|why| answered(Fault::of("stat", path, why)))?;
        let cleaned = clean(path);
        let entries: Vec<(String, &str, &Node)> = match &node.children {
            Some(children) if !itself => {
                let prefix = cleaned.trim_end_matches('/');
                children.iter().map(|(name, node)| (format!("{prefix}/{name}"), name.as_str(), node)).collect()
            }
            _ => vec![(cleaned.clone(), split(&cleaned).1, node)],
        };
        let mut infos = Vec::new();
        for (path, name, node) in entries {
            let matched = match pattern {
                Some(pattern) if !pattern.is_empty() => go::glob(pattern, name),
                _ => Some(true),
            };
            match matched {
                None => return Err(answered(Fault::plain("syntax error in pattern".to_owned()))),
                Some(false) => continue,
                Some(true) => {}
            }
            let is_file = node.children.is_none();
            infos.push(FileInfo {
                name: name.to_owned(),
                path,
                file_type: if is_file { FileType::File } else { FileType::Directory },
                size: is_file.then_some(node.content.len() as u64),
                permissions: format!("{:03o}", node.permissions),
                last_modified: go::rfc3339(node.modified - node.modified.rem_euclid(1_000_000_000)),
                user_id: Some(node.user_id),
                user: accounts.user_name(node.user_id).to_owned(),
                group_id: Some(node.group_id),
                group: accounts.group_name(node.group_id).to_owned(),
            });
        }
        Ok(infos)
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>> {
        absolute(path).map_err(Fault::of_path)?;
        let node = self.find(path).map_err(|why| Fault::of("stat", path, why).of_path())?;
        if node.children.is_some() {
            return Err(Fault::plain(format!("can only read a regular file: {}", quote(path))).of_path());
        }
        Ok(node.content.clone())
    }

    pub(super) fn write(
        &mut self,
        path: &str,
        content: &[u8],
        options: &WriteFile,
        accounts: &Accounts,
        now: i64,
    ) -> Result<()> {
        self.try_write(path, content, options, accounts, now).map_err(Fault::of_path)
    }

    fn try_write(
        &mut self,
        path: &str,
        content: &[u8],
        options: &WriteFile,
        accounts: &Accounts,
        now: i64,
    ) -> std::result::Result<(), Fault> {
        absolute(path)?;
        let owner = owner(&options.owner, accounts)?;
        let cleaned = clean(path);
        let (folder, name) = split(&cleaned);
        if options.make_dirs {
            let made = self.make(folder, 0o755, true, true, owner, now);
            made.map_err(|fault| fault.within("cannot create directory"))?;
        }
        let permissions = octal(options.permissions)?;
        if name.contains('*') {
            let why = format!("cannot create tempfile for filename containing '*': {}", quote(name));
            return Err(Fault::plain(why));
        }
        if name.is_empty() {
            return Err(Fault::plain("createtemp /.*~: pattern contains path separator".to_owned()));
        }
        // it is written beside its place first, under a name with a random number
        let beside = format!("{}/{name}.0~", folder.trim_end_matches('/'));
        let children = self.folder_mut(folder).map_err(|why| Fault::of("open", &beside, why))?;
        let to_place = format!("{beside} {path}");
        let is_folder = children.get(name).is_some_and(|node| node.children.is_some());
        // only the name beside it is a clean one
        self.find(split(path).0).map_err(|why| Fault::of("rename", &to_place, why))?;
        if is_folder {
            return Err(Fault::of("rename", &to_place, Refused::Exists));
        }
        let (user_id, group_id) = owner;
        let content = content.to_vec();
        let node = Node { children: None, content, permissions, user_id, group_id, modified: now };
        let children = self.folder_mut(folder).map_err(|why| Fault::of("open", &beside, why))?;
        children.insert(name.to_owned(), node);
        Ok(())
    }

    pub(super) fn make_dir(&mut self, path: &str, options: &MakeDir, accounts: &Accounts, now: i64) -> Result<()> {
        let mut make = || {
            absolute(path)?;
            let permissions = octal(options.permissions)?;
            let owner = owner(&options.owner, accounts)?;
            self.make(&clean(path), permissions, options.make_parents, options.make_parents, owner, now)
        };
        make().map_err(Fault::of_path)
    }

    /// By its clean path.
    fn make(
        &mut self,
        path: &str,
        permissions: u32,
        parents: bool,
        may_be_there: bool,
        owner: (u32, u32),
        now: i64,
    ) -> std::result::Result<(), Fault> {
        match self.is_folder(path) {
            Some(true) if may_be_there => return Ok(()),
            Some(true) => return Err(Fault::of("mkdir", path, Refused::Exists)),
            Some(false) => return Err(Fault::of("mkdir", path, Refused::NotAFolder)),
            None => {}
        }
        let (folder, name) = split(path);
        if parents && folder != "/" {
            self.make(folder, permissions, true, true, owner, now)?;
        }
        // it gets its name when its permissions are set
        let children = self.folder_mut(folder).map_err(|why| Fault::of("mkdir", &format!("{path}.mkdir-new"), why))?;
        children.insert(name.to_owned(), Node::folder(permissions, owner, now));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str, recursive: bool) -> Result<()> {
        self.try_remove(path, recursive).map_err(Fault::of_path)
    }

    fn try_remove(&mut self, path: &str, recursive: bool) -> std::result::Result<(), Fault> {
        absolute(path)?;
        let operation = if recursive { "unlinkat" } else { "remove" };
        let node = match self.find(path) {
            Ok(node) => node,
            Err(Refused::NotThere) if recursive => return Ok(()),
            Err(why) if recursive && self.find(split(path).0).err() == Some(why) => {
                return Err(Fault::of("open", split(path).0, why));
            }
            Err(why) => return Err(Fault::of(operation, path, why)),
        };
        if !recursive && node.children.as_ref().is_some_and(|children| !children.is_empty()) {
            return Err(Fault::of(operation, path, Refused::NotEmpty));
        }
        let cleaned = clean(path);
        let (folder, name) = split(&cleaned);
        let children = self.folder_mut(folder).map_err(|why| Fault::of(operation, path, why))?;
        children.remove(name);
        Ok(())
    }
}
