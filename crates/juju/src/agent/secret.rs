use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Juju, call_text};
use crate::model::{RelationId, UnitName};
use crate::tools::{ToolError, ToolErrorKind};

/// How a secret is named: by its identifier, with `secret:` or without, or by a label of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretRef<'a> {
    Id(&'a str),
    Label(&'a str),
    /// By its identifier; somebody else's secret has our label from now on, by which events then name it.
    Labelled {
        id: &'a str,
        label: &'a str,
    },
}

impl<'a> SecretRef<'a> {
    fn args(self) -> Vec<&'a str> {
        match self {
            SecretRef::Id(id) => vec![id],
            SecretRef::Label(label) => vec!["--label", label],
            SecretRef::Labelled { id, label } => vec![id, "--label", label],
        }
    }
}

/// Which revision of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretRevision {
    /// The one that we track: the newest when it was first read, or last refreshed.
    Tracked,
    /// The newest, without tracking it.
    Peek,
    /// The newest, which is tracked from now on.
    Refresh,
}

/// Who owns a secret of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretOwner {
    /// For the leader only.
    #[serde(alias = "app")]
    Application,
    Unit,
}

/// A secret to be made. Its values are no part of what `{:?}` writes.
#[derive(Clone, PartialEq, Eq)]
pub struct NewSecret {
    /// Keys of at least three characters: lower-case letters, digits, hyphens.
    pub content: BTreeMap<String, String>,
    pub owner: SecretOwner,
    pub label: Option<String>,
    pub description: Option<String>,
    /// A time in RFC 3339 or a duration.
    pub expire: Option<String>,
    /// `never`, `hourly`, `daily`, `weekly`, `monthly`, `quarterly`, `yearly`.
    pub rotate: Option<String>,
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.content.keys().collect();
        f.debug_struct("NewSecret")
            .field("content", &keys)
            .field("owner", &self.owner)
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// What shall change in a secret; `None` leaves it alone. Its values are no part of what `{:?}` writes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretChange {
    pub content: Option<BTreeMap<String, String>>,
    pub label: Option<String>,
    pub description: Option<String>,
    pub expire: Option<String>,
    pub rotate: Option<String>,
}

impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.content.as_ref().map(|content| content.keys().collect::<Vec<_>>());
        f.debug_struct("SecretChange").field("content", &keys).field("label", &self.label).finish_non_exhaustive()
    }
}

/// What Juju says of a secret of ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretInfo {
    /// Without `secret:`.
    #[serde(skip)]
    pub id: String,
    /// The newest. One that this dispatch has added does not count yet.
    pub revision: u32,
    #[serde(default)]
    pub label: String,
    pub owner: SecretOwner,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub rotation: String,
    #[serde(default, alias = "expires")]
    pub expiry: Option<String>,
    #[serde(default)]
    pub access: Vec<SecretAccess>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SecretAccess {
    pub target: String,
    /// The relation, as Juju writes it.
    pub scope: serde_json::Value,
    pub role: String,
}

impl Juju<'_> {
    /// The content of a secret.
    pub fn secret(
        &self,
        which: SecretRef<'_>,
        revision: SecretRevision,
    ) -> Result<BTreeMap<String, String>, ToolError> {
        let mut args = which.args();
        match revision {
            SecretRevision::Tracked => {}
            SecretRevision::Peek => args.push("--peek"),
            SecretRevision::Refresh => args.push("--refresh"),
        }
        let is_news = !self.is_kept("secret-get", &args);
        let content = self.read_as("secret-get", &args)?;
        if is_news && (revision == SecretRevision::Refresh || matches!(which, SecretRef::Labelled { .. })) {
            // From now on this is what is tracked, and this its label, whichever way it was asked for before.
            self.forget("secret-get");
            self.keep("secret-get", &args, serde_json::json!(content));
        }
        Ok(content)
    }

    /// What Juju says of a secret of ours.
    pub fn secret_info(&self, which: SecretRef<'_>) -> Result<SecretInfo, ToolError> {
        let args = match which {
            SecretRef::Labelled { id, .. } => vec![id],
            which => which.args(),
        };
        let mut answer: BTreeMap<String, SecretInfo> = self.read_as("secret-info-get", &args)?;
        let (id, mut info) = answer
            .pop_first()
            .ok_or_else(|| ToolError::bad_answer(call_text("secret-info-get", &args), "no secret"))?;
        info.id = id;
        Ok(info)
    }

    /// Our secrets: the unit's, and for the leader the application's.
    pub fn secret_ids(&self) -> Result<Vec<String>, ToolError> {
        let ids: Option<Vec<String>> = self.read_as("secret-ids", &[])?;
        Ok(ids.unwrap_or_default())
    }

    /// Makes a secret. Gives its identifier, `secret:…`; it exists when the hook has ended well.
    pub fn secret_add(&self, secret: &NewSecret) -> Result<String, ToolError> {
        let owner = match secret.owner {
            SecretOwner::Application => "application",
            SecretOwner::Unit => "unit",
        };
        let mut args = vec!["--owner".to_owned(), owner.to_owned()];
        flags(
            &mut args,
            [
                ("--label", &secret.label),
                ("--description", &secret.description),
                ("--expire", &secret.expire),
                ("--rotate", &secret.rotate),
            ],
        );
        let id = self.secret_write("secret-add", args, Some(&secret.content))?;
        Ok(id.trim().to_owned())
    }

    /// Changes what differs in a secret of ours. Gives whether anything had to be done.
    pub fn secret_set(&self, id: &str, change: &SecretChange) -> Result<bool, ToolError> {
        let content = match &change.content {
            Some(wish) if self.secret(SecretRef::Id(id), SecretRevision::Peek)? != *wish => Some(wish),
            _ => None,
        };
        let mut args = vec![id.to_owned()];
        let SecretChange { label, description, expire, rotate, .. } = change;
        if label.is_some() || description.is_some() || expire.is_some() || rotate.is_some() {
            let info = self.secret_info(SecretRef::Id(id))?;
            let other = |wish: &Option<String>, now: Option<&str>| wish.clone().filter(|w| now != Some(w.as_str()));
            flags(
                &mut args,
                [
                    ("--label", &other(label, Some(&info.label))),
                    ("--description", &other(description, Some(&info.description))),
                    ("--expire", &other(expire, info.expiry.as_deref())),
                    ("--rotate", &other(rotate, Some(&info.rotation))),
                ],
            );
        }
        if content.is_none() && args.len() == 1 {
            return Ok(false);
        }
        self.secret_write("secret-set", args, content)?;
        Ok(true)
    }

    /// Removes a secret of ours, or one revision of it.
    pub fn secret_remove(&self, id: &str, revision: Option<u32>) -> Result<(), ToolError> {
        let mut args = vec![id.to_owned()];
        flags(&mut args, [("--revision", &revision.map(|r| r.to_string()))]);
        self.secret_write("secret-remove", args, None).map(drop)
    }

    /// Lets the other side of a relation see a secret of ours, if it may not yet: the whole application, or one unit. Gives
    /// whether anything had to be done.
    pub fn secret_grant(&self, id: &str, relation: RelationId, unit: Option<&UnitName>) -> Result<bool, ToolError> {
        if self.is_granted(id, relation, unit)? {
            return Ok(false);
        }
        self.secret_share("secret-grant", id, relation, unit)?;
        Ok(true)
    }

    /// Takes back what `secret_grant` gave, if it is given. Gives whether anything had to be done.
    pub fn secret_revoke(&self, id: &str, relation: RelationId, unit: Option<&UnitName>) -> Result<bool, ToolError> {
        if !self.is_granted(id, relation, unit)? {
            return Ok(false);
        }
        self.secret_share("secret-revoke", id, relation, unit)?;
        Ok(true)
    }

    /// Juju knows one grant of a secret for each that sees it, whatever the relation.
    fn is_granted(&self, id: &str, relation: RelationId, unit: Option<&UnitName>) -> Result<bool, ToolError> {
        // As names, or as Juju's tags.
        let (name, tag) = match unit {
            Some(unit) => (unit.to_string(), format!("unit-{}-{}", unit.app(), unit.number())),
            None => match self.relation_app(relation)? {
                Some(app) => (app.to_string(), format!("application-{app}")),
                None => return Ok(false),
            },
        };
        let access = match self.secret_info(SecretRef::Id(id)) {
            Ok(info) => info.access,
            // The tool that writes will say so, if it is so.
            Err(error) if error.kind == ToolErrorKind::SecretNotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(access.iter().any(|access| access.target == name || access.target == tag))
    }

    fn secret_share(
        &self,
        tool: &str,
        id: &str,
        relation: RelationId,
        unit: Option<&UnitName>,
    ) -> Result<(), ToolError> {
        let mut args = vec![id.to_owned(), "--relation".to_owned(), relation.to_string()];
        flags(&mut args, [("--unit", &unit.map(ToString::to_string))]);
        self.secret_write(tool, args, None).map(drop)
    }

    /// Runs a tool that changes secrets. The content goes by files that only we can read: arguments are for everybody.
    fn secret_write(
        &self,
        tool: &str,
        mut args: Vec<String>,
        content: Option<&BTreeMap<String, String>>,
    ) -> Result<String, ToolError> {
        let files = match content {
            Some(content) => {
                let files = ContentFiles::write(content).map_err(|e| ToolError::not_run(tool.to_owned(), &e))?;
                for key in content.keys() {
                    args.push(format!("{key}#file={}", files.path(key).display()));
                }
                Some(files)
            }
            None => None,
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let answer = self.run(tool, &args, None);
        drop(files);
        for reader in ["secret-get", "secret-info-get", "secret-ids"] {
            self.forget(reader);
        }
        answer
    }
}

fn flags<const N: usize>(args: &mut Vec<String>, values: [(&str, &Option<String>); N]) {
    for (flag, value) in values {
        if let Some(value) = value {
            args.extend([flag.to_owned(), value.clone()]);
        }
    }
}

/// A directory of our own with a file for each key, gone when this is dropped.
struct ContentFiles(PathBuf);

impl ContentFiles {
    fn write(content: &BTreeMap<String, String>) -> io::Result<ContentFiles> {
        let temporary = std::env::temp_dir();
        // A container may have no such directory; the charm's own is always there.
        let parent = if temporary.is_dir() { temporary } else { PathBuf::from(".") };
        let files = (0..1000)
            .map(|n| parent.join(format!("juju-secret-{}-{n}", std::process::id())))
            .find_map(|path| match DirBuilder::new().mode(0o700).create(&path) {
                // Somebody else's, or an earlier run's.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => None,
                made => Some(made.map(|()| ContentFiles(path))),
            })
            .unwrap_or_else(|| Err(io::Error::other("no name is free for a temporary directory")))?;
        for (key, value) in content {
            if key.contains(['/', '\0', '=', '#']) || key.is_empty() || key.starts_with('.') {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{key:?} cannot be a secret's key")));
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(files.path(key))?;
            file.write_all(value.as_bytes())?;
        }
        Ok(files)
    }

    fn path(&self, key: &str) -> PathBuf {
        Path::new(&self.0).join(key)
    }
}

impl Drop for ContentFiles {
    fn drop(&mut self) {
        // Nothing to be done if it fails: it is only for us to read, and goes with the pod.
        let _ = fs::remove_dir_all(&self.0);
    }
}
