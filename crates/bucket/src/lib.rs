//! An operator's bucket: objects by name in a folder of the local disk, in S3 or what speaks its protocol, in GCS or in Azure.
//!
//! It never knows what it keeps, reads no configuration file and holds no object in memory that its caller did not bound:
//! reads have a limit, writes of unknown length go through a [`Writer`] part by part.
//!
//! An object appears whole or not at all, and what is written is durable when the call returns. Remote calls are tried again
//! by `object_store` for as long as [`Remote`](options::Tuning) allows; their errors say which object and what the server said.
//!
//! Map: [`options`] where the bucket is · `connect` options to a client · `folder` the local disk · `remote` the cloud ·
//! `writer` uploads of unknown length · [`objects`] the store's blocking view of it · [`metrics`] operations counted.

mod connect;
mod connector;
mod folder;
pub mod metrics;
pub mod objects;
pub mod options;
mod remote;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
pub use metrics::Metrics;
pub use objects::BlockingObjects;
pub use options::{Options, Provider};
use store::objects::ObjectEntry;
pub use store::{Kind, StoreError};
pub use writer::Writer;

use folder::Folder;
use remote::Remote;

/// Cheap to clone. Its connections belong to the runtime that uses it first; another runtime connects for itself.
#[derive(Clone)]
pub struct Bucket {
    backend: Backend,
    metrics: Metrics,
}

#[derive(Clone)]
enum Backend {
    Folder(Arc<Folder>),
    Remote(Arc<Remote>),
}

/// Which content of an object one has seen; [`Bucket::replace`] writes only over that.
#[derive(Clone, Debug)]
pub struct Version(pub(crate) Seen);

#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Content(Bytes),
    Tagged(object_store::UpdateVersion),
}

impl Bucket {
    /// Speaks to nobody yet. [`Kind::Invalid`] says what of the options cannot be used.
    pub fn connect(options: &Options, metrics: Metrics) -> Result<Self, StoreError> {
        let backend = match &options.provider {
            Provider::Filesystem { directory } => {
                Backend::Folder(Arc::new(Folder::new(PathBuf::from(directory).join(&options.prefix))))
            }
            _ => Backend::Remote(Arc::new(connect::remote(options)?)),
        };
        Ok(Self { backend, metrics })
    }

    /// For another client of the same bucket: they count together.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// For messages: where the object lies.
    pub fn describe(&self, name: &str) -> String {
        match &self.backend {
            Backend::Folder(folder) => folder.describe(name),
            Backend::Remote(remote) => remote.describe(name),
        }
    }

    /// The object and its version; `None` if there is none. [`Kind::Invalid`] when it is larger than `max` bytes.
    pub async fn get(&self, name: &str, max: u64) -> Result<Option<(Bytes, Version)>, StoreError> {
        let call = self.metrics.start("get");
        call.end(match &self.backend {
            Backend::Folder(folder) => {
                let found = folder.run(name, move |folder, name| folder.read(name, max)).await?;
                Ok(found.map(|bytes| (bytes.clone(), Version(Seen::Content(bytes)))))
            }
            Backend::Remote(remote) => remote.get(name, max).await,
        })
    }

    /// [`Kind::NotFound`] without the object, [`Kind::Corrupt`] when it ends before `range` does.
    pub async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let call = self.metrics.start("get_range");
        call.end(match &self.backend {
            Backend::Folder(folder) => folder.run(name, move |folder, name| folder.read_range(name, range)).await,
            Backend::Remote(remote) => remote.get_range(name, range).await,
        })
    }

    /// Bytes of the object; `None` if there is none.
    pub async fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let call = self.metrics.start("exists");
        call.end(match &self.backend {
            Backend::Folder(folder) => folder.run(name, |folder, name| folder.size(name)).await,
            Backend::Remote(remote) => remote.size(name).await,
        })
    }

    /// [`Kind::AlreadyExists`] if the name is taken, and then the old bytes stay. After another error the object may exist or not.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let call = self.metrics.start("upload");
        call.end(match &self.backend {
            Backend::Folder(folder) => folder.run(name, move |folder, name| folder.create(name, &bytes)).await,
            Backend::Remote(remote) => remote.create(name, bytes).await,
        })
    }

    /// Writes over the content that was seen as `seen` (`None`: nothing is there). `false` if it is another by now, and then
    /// that stays.
    pub async fn replace(&self, name: &str, bytes: Bytes, seen: Option<Version>) -> Result<bool, StoreError> {
        let call = self.metrics.start("upload");
        call.end(match &self.backend {
            Backend::Folder(folder) => {
                folder.run(name, move |folder, name| folder.replace(name, &bytes, seen.as_ref())).await
            }
            Backend::Remote(remote) => remote.replace(name, bytes, seen).await,
        })
    }

    /// Begins an object of unknown length; nothing is seen of it until [`Writer::finish`].
    pub async fn writer(&self, name: &str) -> Result<Writer, StoreError> {
        match &self.backend {
            Backend::Folder(folder) => {
                let draft = folder.run(name, |folder, name| folder.draft(name)).await?;
                Ok(Writer::to_folder(self.metrics.start("upload"), draft))
            }
            Backend::Remote(remote) => Ok(Writer::to_remote(self.metrics.start("upload"), remote.clone(), name)),
        }
    }

    /// Memory that a [`Writer`] holds at most, in bytes.
    pub fn writer_bytes(&self) -> u64 {
        match &self.backend {
            Backend::Folder(_) => 0,
            Backend::Remote(remote) => 2 * remote.part_bytes as u64,
        }
    }

    /// No error when there is none.
    pub async fn delete(&self, name: &str) -> Result<(), StoreError> {
        let call = self.metrics.start("delete");
        call.end(match &self.backend {
            Backend::Folder(folder) => folder.run(name, |folder, name| folder.delete(name)).await,
            Backend::Remote(remote) => remote.delete(name).await,
        })
    }

    /// Names and sizes of all objects whose name begins with `folder` and a slash (all objects if it is empty), at any depth,
    /// sorted.
    pub async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let call = self.metrics.start("iter");
        call.end(match &self.backend {
            Backend::Folder(files) => files.run(folder, |files, folder| files.list(folder)).await,
            Backend::Remote(remote) => remote.list(folder).await,
        })
    }

    /// Whether [`Bucket::signed_put`] can be asked for: S3 and GCS.
    pub fn signs(&self) -> bool {
        matches!(&self.backend, Backend::Remote(remote) if remote.signs())
    }

    /// A URL that whoever has it may PUT the object to, until `expires_in` is over.
    pub async fn signed_put(&self, name: &str, expires_in: Duration) -> Result<String, StoreError> {
        match &self.backend {
            Backend::Folder(folder) => {
                Err(StoreError::new(Kind::Invalid, folder.describe(name), "a folder has no signed URLs"))
            }
            Backend::Remote(remote) => remote.signed_put(name, expires_in).await,
        }
    }
}
