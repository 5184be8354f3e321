//! Who may upload what, and the way of the bytes. The codes and reasons are Parca's: agents compare some of them byte by byte.
//!
//! An upload is asked for, initiated, sent and finished. What is known of it lies in the bucket, so any process may answer the
//! next call; of two that change the same metadata one wins and the other decides again.

mod metrics;
mod reason;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bucket::{Bucket, StoreError, Version, Writer};
use bytes::Bytes;
use prost_types::Timestamp;
use store::{Account, Clock};
use tokio::sync::Semaphore;

use crate::build_id::{BuildId, BuildIdError};
use crate::metadata::{self, Debuginfo, DebuginfoType, Quality, Source, State, Upload};
pub use metrics::Metrics;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Metadata is less than a kilobyte; a bucket may hold anything.
const METADATA_BYTES_MAX: u64 = 1 << 20;

/// Others may change the same metadata this many times in a row before a call gives up.
const ATTEMPTS: usize = 8;

/// On top of the longest upload, until one that was not finished counts as given up. Parca's.
const STALE_MARGIN: Duration = Duration::from_secs(120);

/// How long a signed URL may be good, says S3 and says GCS.
const SIGNED_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a file's first bytes are if it is an ELF file: the magic, then class and byte order.
const ELF_MAGIC: &[u8] = b"\x7fELF";
const ELF_IDENT_BYTES: u64 = 16;

#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// Of one file.
    pub bytes_max: u64,
    /// Of one upload.
    pub duration_max: Duration,
    /// Agents send files to the bucket themselves, to a URL that is signed for them.
    pub signed_urls: bool,
    /// Files on their way through this process at once; each holds two parts in memory.
    pub at_once: usize,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self { bytes_max: 1_000_000_000, duration_max: Duration::from_secs(900), signed_urls: false, at_once: 8 }
    }
}

/// Whether a file is wanted, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub wanted: bool,
    pub reason: &'static str,
}

/// An upload may begin.
#[derive(Clone, Debug)]
pub struct Initiated {
    pub upload_id: String,
    /// Where to PUT the file; `None`: through this server.
    pub signed_url: Option<String>,
}

/// What an agent asks about.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub build_id: &'a str,
    pub kind: DebuginfoType,
    pub hash: &'a str,
    pub force: bool,
}

#[derive(Clone, Debug)]
pub enum UploadError {
    Invalid(String),
    /// The upload is not wanted, or was not initiated.
    Precondition(String),
    AlreadyExists(&'static str),
    NotFound(&'static str),
    /// Too many at once, or the bucket is away: the same call may succeed later.
    Busy(String, Duration),
    Unimplemented(&'static str),
    Internal(String),
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(text) | Self::Precondition(text) | Self::Busy(text, _) | Self::Internal(text) => {
                f.write_str(text)
            }
            Self::AlreadyExists(text) | Self::NotFound(text) | Self::Unimplemented(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for UploadError {}

impl From<BuildIdError> for UploadError {
    fn from(error: BuildIdError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<StoreError> for UploadError {
    fn from(error: StoreError) -> Self {
        match error.retry_after {
            Some(after) => Self::Busy(error.to_string(), after),
            None => Self::Internal(error.to_string()),
        }
    }
}

/// The uploads of one bucket.
pub struct Uploads {
    bucket: Bucket,
    options: UploadOptions,
    clock: Arc<dyn Clock>,
    under_way: Arc<Semaphore>,
    memory: Account,
    metrics: Metrics,
}

impl Uploads {
    /// What files on their way hold is leased from `memory`. [`UploadError::Invalid`] if URLs are to be signed and the bucket
    /// cannot, or not for so long.
    pub fn new(
        bucket: Bucket,
        options: UploadOptions,
        clock: Arc<dyn Clock>,
        memory: Account,
        metrics: Metrics,
    ) -> Result<Self, UploadError> {
        if options.signed_urls && !bucket.signs() {
            let what = "signed URLs are made for buckets of type S3 and GCS only".to_owned();
            return Err(UploadError::Invalid(what));
        }
        if options.signed_urls && options.duration_max > SIGNED_MAX {
            let what =
                "a signed URL is good for seven days at most: --debuginfo-upload-max-duration is longer".to_owned();
            return Err(UploadError::Invalid(what));
        }
        let under_way = Arc::new(Semaphore::new(options.at_once.max(1)));
        Ok(Self { bucket, options, clock, under_way, memory, metrics })
    }

    pub fn options(&self) -> &UploadOptions {
        &self.options
    }

    /// Whether an agent should take the trouble of extracting and sending a file.
    pub async fn should_initiate(&self, asked: Asked<'_>) -> Result<Decision, UploadError> {
        let id = BuildId::parse(asked.build_id)?;
        let found = self.fetch(&id, asked.kind).await?;
        self.decide(found.as_ref().map(|(known, _)| known), asked)
    }

    /// `size`: as announced, in bytes.
    pub async fn initiate(&self, asked: Asked<'_>, size: i64) -> Result<Initiated, UploadError> {
        if asked.hash.is_empty() {
            return Err(UploadError::Invalid("hash must be set".into()));
        }
        if size == 0 {
            return Err(UploadError::Invalid("size must be set".into()));
        }
        let id = BuildId::parse(asked.build_id)?;
        let Ok(announced) = u64::try_from(size) else {
            return Err(UploadError::Invalid(format!("size must be positive, and is {size}")));
        };
        let upload_id = random_uuid()?;
        let mut failed = contended();
        for _ in 0..ATTEMPTS {
            let found = self.fetch(&id, asked.kind).await?;
            let begun = found.as_ref().and_then(|(known, _)| known.upload.as_ref());
            if begun.is_some_and(|upload| upload.id == upload_id) {
                // written by an attempt whose answer was lost: this upload is not in its own way
                return Ok(Initiated { upload_id, signed_url: self.sign(&id, asked.kind).await? });
            }
            let decision = self.decide(found.as_ref().map(|(known, _)| known), asked)?;
            if decision.reason == reason::EQUAL {
                return Err(UploadError::AlreadyExists(reason::EQUAL));
            }
            if !decision.wanted {
                return Err(UploadError::Precondition(format!(
                    "upload should not have been attempted to be initiated, a previous check should have failed with: {}",
                    decision.reason
                )));
            }
            if announced > self.options.bytes_max {
                return Err(self.too_large(announced));
            }
            let signed_url = self.sign(&id, asked.kind).await?;
            let upload = Upload {
                id: upload_id.clone(),
                hash: asked.hash.to_owned(),
                state: State::Uploading,
                started_at: Some(self.now()),
                finished_at: None,
            };
            let known = Debuginfo {
                build_id: asked.build_id.to_owned(),
                source: Source::Upload,
                upload: Some(upload),
                kind: asked.kind,
                ..Debuginfo::default()
            };
            match self.store(&id, &known, found.map(|(_, place)| place)).await {
                Ok(true) => return Ok(Initiated { upload_id, signed_url }),
                Ok(false) => {}
                // nobody knows whether it was written: what is there now says so
                Err(error @ UploadError::Busy(..)) => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    async fn sign(&self, id: &BuildId, kind: DebuginfoType) -> Result<Option<String>, UploadError> {
        if !self.options.signed_urls {
            return Ok(None);
        }
        let name = metadata::object_name(id, kind);
        Ok(Some(self.bucket.signed_put(&name, self.options.duration_max).await?))
    }

    /// Takes the bytes of an upload that was initiated.
    pub async fn receive(&self, build_id: &str, upload_id: &str, kind: DebuginfoType) -> Result<Receiver, UploadError> {
        if self.options.signed_urls {
            let what = "signed URL uploads are the only supported upload strategy for this service";
            return Err(UploadError::Unimplemented(what));
        }
        let id =
            BuildId::parse(build_id).map_err(|error| UploadError::Invalid(format!("invalid build ID: \"{error}\"")))?;
        let missing = |what| {
            UploadError::Precondition(format!("{what}, this indicates that the upload was not previously initiated"))
        };
        let (known, _) = self.fetch(&id, kind).await?.ok_or_else(|| missing("metadata not found"))?;
        let upload = known.upload.ok_or_else(|| missing("upload metadata not found"))?;
        if upload.id != upload_id {
            let what = "the upload ID does not match the one returned by the InitiateUpload call";
            return Err(UploadError::Invalid(what.into()));
        }
        let Ok(permit) = self.under_way.clone().try_acquire_owned() else {
            let what = format!("{} uploads are under way already", self.options.at_once);
            return Err(UploadError::Busy(what, Duration::from_secs(5)));
        };
        let lease = self.memory.lease(self.bucket.writer_bytes())?;
        let writer = self.bucket.writer(&metadata::object_name(&id, kind)).await?.hold((permit, lease));
        let progress = self.metrics.begin();
        Ok(Receiver { writer, bytes: 0, bytes_max: self.options.bytes_max, progress })
    }

    /// The file is there: whoever asks for it next is told so. One that is no ELF file where one was announced is marked, so
    /// that a better one will be taken.
    pub async fn finish(&self, build_id: &str, upload_id: &str, kind: DebuginfoType) -> Result<(), UploadError> {
        let id = BuildId::parse(build_id)?;
        let mut failed = contended();
        for _ in 0..ATTEMPTS {
            let found = self.fetch(&id, kind).await?;
            let (mut known, place) = found.ok_or(UploadError::NotFound("no debuginfo metadata found for build id"))?;
            let upload = known.upload.as_mut();
            let upload = upload.ok_or(UploadError::NotFound("no debuginfo upload metadata found for build id"))?;
            if upload.id != upload_id {
                return Err(UploadError::Invalid("upload id mismatch".into()));
            }
            upload.state = State::Uploaded;
            upload.finished_at = Some(self.now());
            if self.is_wrong_kind(&id, kind).await? {
                known.quality = Some(Quality { not_valid_elf: true, ..Quality::default() });
            }
            match self.store(&id, &known, Some(place)).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error @ UploadError::Busy(..)) => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    /// Whether the file should be an ELF file and is none. Without a file, or with one that is too large (a signed URL has no
    /// limit), an error.
    async fn is_wrong_kind(&self, id: &BuildId, kind: DebuginfoType) -> Result<bool, UploadError> {
        let name = metadata::object_name(id, kind);
        let Some(bytes) = self.bucket.size(&name).await? else {
            return Err(UploadError::Precondition("nothing was uploaded under this build ID".into()));
        };
        if bytes > self.options.bytes_max {
            self.bucket.delete(&name).await?;
            return Err(self.too_large(bytes));
        }
        if !matches!(kind, DebuginfoType::Debuginfo | DebuginfoType::Executable) {
            return Ok(false);
        }
        let start = self.bucket.get_range(&name, 0..bytes.min(ELF_IDENT_BYTES)).await?;
        let is_elf = start.len() as u64 == ELF_IDENT_BYTES
            && start.starts_with(ELF_MAGIC)
            && matches!(start[4], 1 | 2)
            && matches!(start[5], 1 | 2);
        Ok(!is_elf)
    }

    fn too_large(&self, bytes: u64) -> UploadError {
        self.metrics.too_large();
        let max = self.options.bytes_max;
        UploadError::Invalid(format!("upload size {bytes} exceeds maximum allowed size {max}"))
    }

    fn decide(&self, known: Option<&Debuginfo>, asked: Asked<'_>) -> Result<Decision, UploadError> {
        let yes = |reason| Ok(Decision { wanted: true, reason });
        let no = |reason| Ok(Decision { wanted: false, reason });
        let Some(known) = known else { return yes(reason::FIRST_TIME) };
        let is_invalid = known.quality.as_ref().is_some_and(|quality| quality.not_valid_elf);
        match (known.source, &known.upload) {
            (Source::Debuginfod, _) if is_invalid => yes(reason::DEBUGINFOD_INVALID),
            (Source::Debuginfod, _) => no(reason::DEBUGINFOD),
            (Source::Upload, Some(upload)) => match upload.state {
                State::Uploading if asked.force => yes(reason::IN_PROGRESS_FORCED),
                State::Uploading if self.is_stale(upload) => yes(reason::STALE),
                State::Uploading => no(reason::IN_PROGRESS),
                State::Uploaded if !is_invalid && asked.force => yes(reason::EXISTS_FORCED),
                State::Uploaded if !is_invalid => no(reason::EXISTS),
                State::Uploaded if asked.hash.is_empty() => yes(reason::INVALID),
                State::Uploaded if asked.hash == upload.hash => no(reason::EQUAL),
                State::Uploaded => yes(reason::NOT_EQUAL),
                State::Purged => yes(reason::PURGED),
                State::Unknown => Err(UploadError::Internal("metadata inconsistency: unknown upload state".into())),
            },
            (Source::Upload, None) => Err(UploadError::Internal("metadata inconsistency: upload is nil".into())),
            (Source::Unknown, _) => {
                Err(UploadError::Internal("metadata inconsistency: unknown debuginfo source".into()))
            }
        }
    }

    fn is_stale(&self, upload: &Upload) -> bool {
        let started = upload.started_at.map_or(0, |time| nanos(&time));
        let allowed = i64::try_from((self.options.duration_max + STALE_MARGIN).as_nanos()).unwrap_or(i64::MAX);
        started.saturating_add(allowed) < self.clock.now_ns()
    }

    /// What is known, and where it was read.
    async fn fetch(&self, id: &BuildId, kind: DebuginfoType) -> Result<Option<(Debuginfo, Place)>, UploadError> {
        let name = metadata::metadata_name(id, kind);
        if let Some((known, version)) = self.read(&name).await?
            && (known.kind == kind || kind != DebuginfoType::Debuginfo)
        {
            return Ok(Some((known, Place { name, version })));
        }
        if kind != DebuginfoType::SourceMap {
            return Ok(None);
        }
        // Parca's place for it
        let name = metadata::metadata_name(id, DebuginfoType::Debuginfo);
        let found = self.read(&name).await?.filter(|(known, _)| known.kind == kind);
        Ok(found.map(|(known, version)| (known, Place { name, version })))
    }

    async fn read(&self, name: &str) -> Result<Option<(Debuginfo, Version)>, UploadError> {
        let Some((json, version)) = self.bucket.get(name, METADATA_BYTES_MAX).await? else { return Ok(None) };
        let known = Debuginfo::from_json(&json)
            .map_err(|error| UploadError::Internal(format!("{}: {error}", self.bucket.describe(name))))?;
        Ok(Some((known, version)))
    }

    /// `false` if somebody else has changed it since.
    async fn store(&self, id: &BuildId, known: &Debuginfo, place: Option<Place>) -> Result<bool, UploadError> {
        let json = known.to_json().map_err(|error| UploadError::Internal(error.to_string()))?;
        let (name, version) = match place {
            Some(place) => (place.name, Some(place.version)),
            None => {
                let name = metadata::metadata_name(id, known.kind);
                // a source map's, left there by Parca, gives way to what the place is for
                let there = self.bucket.get(&name, METADATA_BYTES_MAX).await?;
                (name, there.map(|(_, version)| version))
            }
        };
        Ok(self.bucket.replace(&name, Bytes::from(json), version).await?)
    }

    fn now(&self) -> Timestamp {
        let now = self.clock.now_ns();
        Timestamp { seconds: now.div_euclid(NANOS_PER_SECOND), nanos: now.rem_euclid(NANOS_PER_SECOND) as i32 }
    }
}

struct Place {
    name: String,
    version: Version,
}

/// A file on its way in. Dropped before [`Receiver::finish`], nothing of it stays.
pub struct Receiver {
    writer: Writer,
    bytes: u64,
    bytes_max: u64,
    progress: metrics::Progress,
}

impl Receiver {
    /// [`UploadError::Invalid`] as soon as the file is longer than any may be, whatever its sender announced.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        let total = self.bytes + bytes.len() as u64;
        if total > self.bytes_max {
            self.progress.end("too_large");
            return Err(UploadError::Invalid(format!(
                "the upload is longer than announced: it exceeds the maximum allowed size {}",
                self.bytes_max
            )));
        }
        self.bytes = total;
        self.progress.received(bytes.len() as u64);
        Ok(self.writer.write(bytes).await?)
    }

    /// Durable, in place of what was there before; gives its size in bytes.
    pub async fn finish(self) -> Result<u64, UploadError> {
        let Self { writer, bytes, mut progress, bytes_max: _ } = self;
        match writer.finish().await {
            Ok(()) => {
                progress.end("received");
                Ok(bytes)
            }
            Err(error) => {
                progress.end("failed");
                Err(error.into())
            }
        }
    }
}

fn nanos(time: &Timestamp) -> i64 {
    time.seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(time.nanos))
}

fn contended() -> UploadError {
    UploadError::Busy("others change the same metadata all the time".into(), Duration::from_secs(1))
}

/// RFC 9562, version 4.
fn random_uuid() -> Result<String, UploadError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| UploadError::Internal(format!("no randomness: {error}")))?;
    let number = u128::from_be_bytes(bytes) & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
    let hex = format!("{number:032x}");
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}
