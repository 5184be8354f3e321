//! A bucket in the cloud.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::Method;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attributes, Error, GetOptions, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, UpdateVersion,
};
use store::objects::ObjectEntry;
use store::{Kind, StoreError};

use crate::folder::{short, too_large};
use crate::{Seen, Version};

/// A server that is overloaded or away; the client has already tried for a while.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Before a list is asked for again.
const LIST_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// The longest part of a server's answer that stands in an error.
const TOLD_MAX: usize = 300;

/// What signs URLs, and how it wants to be told names.
pub(crate) enum Signing {
    Not,
    /// Letter by letter.
    Plain(Arc<dyn Signer>),
    /// Percent-encoded: Google's servers check a signature over the encoded path, and the client signs the one it is given.
    Encoded(Arc<dyn Signer>),
}

pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    signing: Signing,
    /// With a slash at its end; empty for none.
    prefix: String,
    /// As `s3://bucket`.
    url: String,
    attributes: Attributes,
    pub(crate) part_bytes: usize,
}

impl Remote {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        signing: Signing,
        url: String,
        prefix: &str,
        part_bytes: usize,
    ) -> Self {
        let trimmed = prefix.trim_matches('/');
        let prefix = if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") };
        Self { store, signing, prefix, url, attributes: Attributes::new(), part_bytes }
    }

    pub(crate) fn with_attributes(mut self, attributes: Attributes) -> Self {
        self.attributes = attributes;
        self
    }

    pub(crate) fn describe(&self, name: &str) -> String {
        format!("{}/{}{name}", self.url, self.prefix)
    }

    /// Names are kept letter by letter, as other writers of the bucket have them.
    fn path(&self, name: &str) -> Result<Path, StoreError> {
        Path::parse(format!("{}{name}", self.prefix))
            .map_err(|error| StoreError::new(Kind::Invalid, self.describe(name), format!("is no name: {error}")))
    }

    pub(crate) async fn get(&self, name: &str, max: u64) -> Result<Option<(Bytes, Version)>, StoreError> {
        let found = match self.store.get_opts(&self.path(name)?, GetOptions::default()).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(self.failed(name, "cannot be read", error)),
        };
        let meta = found.meta.clone();
        if meta.size > max {
            return Err(too_large(self.describe(name), max));
        }
        let bytes = found.bytes().await.map_err(|error| self.failed(name, "cannot be read", error))?;
        if bytes.len() as u64 != meta.size {
            return Err(short(self.describe(name), &(0..meta.size), bytes.len()));
        }
        Ok(Some((bytes, Version(Seen::Tagged(UpdateVersion { e_tag: meta.e_tag, version: meta.version })))))
    }

    pub(crate) async fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let read = self.store.get_range(&self.path(name)?, range.clone()).await;
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) => {
                // a range past the end is an error of many shapes; the size tells
                return match self.size(name).await {
                    Ok(Some(size)) if size < range.end => {
                        Err(short(self.describe(name), &range, size.saturating_sub(range.start) as usize))
                    }
                    _ => Err(self.failed(name, "cannot be read", error)),
                };
            }
        };
        if (bytes.len() as u64) < range.end - range.start {
            return Err(short(self.describe(name), &range, bytes.len()));
        }
        Ok(bytes)
    }

    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.seen(name).await?.map(|found| found.size))
    }

    /// What the server says about the object.
    pub(crate) async fn seen(&self, name: &str) -> Result<Option<ObjectMeta>, StoreError> {
        match self.store.head(&self.path(name)?).await {
            Ok(found) => Ok(Some(found)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(name, "cannot be looked at", error)),
        }
    }

    pub(crate) async fn create(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        match self.put(name, bytes.into(), PutMode::Create).await {
            Ok(()) => Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                Err(StoreError::new(Kind::AlreadyExists, self.describe(name), "the name is taken"))
            }
            Err(error) => Err(self.failed(name, "cannot be written", error)),
        }
    }

    pub(crate) async fn replace(&self, name: &str, bytes: Bytes, seen: Option<Version>) -> Result<bool, StoreError> {
        let mode = match seen {
            Some(Version(Seen::Tagged(version))) if version.e_tag.is_some() => PutMode::Update(version),
            // a server without tags has no conditions either: the last one wins, as in Parca
            Some(_) => PutMode::Overwrite,
            None => PutMode::Create,
        };
        match self.put(name, bytes.into(), mode).await {
            Ok(()) => Ok(true),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed(name, "cannot be written", error)),
        }
    }

    async fn put(&self, name: &str, payload: PutPayload, mode: PutMode) -> Result<(), Error> {
        let path = self.path(name).map_err(|error| Error::Generic { store: "bucket", source: Box::new(error) })?;
        let options = PutOptions { mode, attributes: self.attributes.clone(), ..PutOptions::default() };
        self.store.put_opts(&path, payload, options).await.map(drop)
    }

    pub(crate) async fn overwrite(&self, name: &str, payload: PutPayload) -> Result<(), StoreError> {
        let written = self.put(name, payload, PutMode::Overwrite).await;
        written.map_err(|error| self.failed(name, "cannot be written", error))
    }

    pub(crate) async fn multipart(&self, name: &str) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let options = PutMultipartOptions { attributes: self.attributes.clone(), ..PutMultipartOptions::default() };
        let begun = self.store.put_multipart_opts(&self.path(name)?, options).await;
        begun.map_err(|error| self.failed(name, "cannot be written", error))
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.store.delete(&self.path(name)?).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(name, "cannot be deleted", error)),
        }
    }

    /// The client tries requests again, but not where the list that comes back breaks off.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        for pause in LIST_PAUSES {
            match self.list_once(folder).await {
                Err(error) if error.retry_after.is_some() => tokio::time::sleep(pause).await,
                listed => return listed,
            }
        }
        self.list_once(folder).await
    }

    async fn list_once(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let whole = format!("{}{folder}", self.prefix);
        let whole = whole.trim_end_matches('/');
        let path = if whole.is_empty() {
            None
        } else {
            let parsed = Path::parse(whole);
            Some(parsed.map_err(|error| StoreError::new(Kind::Invalid, self.describe(folder), error.to_string()))?)
        };
        let mut listing = self.store.list(path.as_ref());
        let mut found = Vec::new();
        while let Some(entry) = listing.next().await {
            let entry = entry.map_err(|error| self.failed(folder, "cannot be listed", error))?;
            if let Some(name) = entry.location.as_ref().strip_prefix(&self.prefix) {
                found.push(ObjectEntry { name: name.to_owned(), bytes: entry.size });
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    pub(crate) fn signs(&self) -> bool {
        !matches!(self.signing, Signing::Not)
    }

    pub(crate) async fn signed_put(&self, name: &str, expires_in: Duration) -> Result<String, StoreError> {
        let (signer, path) = match &self.signing {
            Signing::Not => {
                return Err(StoreError::new(Kind::Invalid, self.describe(name), "this kind of bucket signs no URLs"));
            }
            Signing::Plain(signer) => (signer, self.path(name)?),
            Signing::Encoded(signer) => {
                let encoded = Path::parse(percent_encoded(self.path(name)?.as_ref()));
                (
                    signer,
                    encoded.map_err(|error| StoreError::new(Kind::Invalid, self.describe(name), error.to_string()))?,
                )
            }
        };
        let signed = signer.signed_url(Method::PUT, &path, expires_in).await;
        signed.map(String::from).map_err(|error| self.failed(name, "no URL can be signed", error))
    }

    /// What the server said, sorted into a [`Kind`].
    pub(crate) fn failed(&self, name: &str, what: &str, error: Error) -> StoreError {
        let (kind, retry_after) = match &error {
            Error::NotFound { .. } => (Kind::NotFound, None),
            Error::AlreadyExists { .. } => (Kind::AlreadyExists, None),
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => (Kind::ReadOnly, None),
            Error::InvalidPath { .. } | Error::NotSupported { .. } | Error::NotImplemented { .. } => {
                (Kind::Invalid, None)
            }
            _ => (Kind::Io, Some(RETRY_AFTER)),
        };
        let mut told = shortened(&error);
        // what the library says ends at "error sending request"; the cause below says whether it was the name, the port or the
        // certificate
        if let Some(cause) = deepest(&error).map(shortened)
            && !told.contains(&cause)
        {
            told.push_str(": ");
            told.push_str(&cause);
        }
        let mut failed = StoreError::new(kind, self.describe(name), format!("{what}: {told}"));
        failed.retry_after = retry_after;
        failed
    }
}

/// All but RFC 3986's unreserved characters and slashes.
fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn shortened(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string().replace('\n', " ");
    if let Some((end, _)) = told.char_indices().nth(TOLD_MAX) {
        told.truncate(end);
        told.push('…');
    }
    told
}

fn deepest<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| error.source()).last()
}
