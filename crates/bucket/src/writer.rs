//! An object of unknown length, written part by part: two parts are in memory at most.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::{MultipartUpload, PutPayload};
use store::{Kind, StoreError};
use tokio::task::JoinHandle;

use crate::folder::Draft;
use crate::metrics::Call;
use crate::remote::Remote;

/// Dropped without [`Writer::finish`], nothing of it stays.
pub struct Writer {
    call: Option<Call>,
    to: To,
    /// See [`Writer::hold`].
    held: Option<Held>,
}

type Held = Box<dyn Send + Sync>;

enum To {
    /// `None` while it is written, and after a failure.
    Folder(Option<Draft>),
    Remote(Parts),
}

struct Parts {
    remote: Arc<Remote>,
    name: String,
    buffer: BytesMut,
    /// Of the whole object so far.
    bytes: u64,
    /// From the second part on: what fits into one is put at once.
    upload: Option<Box<dyn MultipartUpload>>,
    /// Tasks of their own, here until their end is known: nobody may forget them who wants to clean up after them.
    beginning: Option<JoinHandle<Result<Box<dyn MultipartUpload>, StoreError>>>,
    sending: Option<JoinHandle<Result<(), object_store::Error>>>,
}

impl Writer {
    pub(crate) fn to_folder(call: Call, draft: Draft) -> Self {
        Self { call: Some(call), to: To::Folder(Some(draft)), held: None }
    }

    pub(crate) fn to_remote(call: Call, remote: Arc<Remote>, name: &str) -> Self {
        let parts = Parts {
            remote,
            name: name.to_owned(),
            buffer: BytesMut::new(),
            bytes: 0,
            upload: None,
            beginning: None,
            sending: None,
        };
        Self { call: Some(call), to: To::Remote(parts), held: None }
    }

    /// `held` is dropped once the writer has no more memory: that of one that is dropped has parts on their way for a while.
    pub fn hold(mut self, held: impl Send + Sync + 'static) -> Self {
        self.held = Some(Box::new(held));
        self
    }

    /// After an error the writer is of no more use.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match &mut self.to {
            To::Folder(draft) => {
                let Some(mut writing) = draft.take() else { return Err(broken()) };
                let written = tokio::task::spawn_blocking(move || writing.write(&bytes).map(|()| writing)).await;
                *draft = Some(written.map_err(|_| broken())??);
                Ok(())
            }
            To::Remote(parts) => parts.write(bytes).await,
        }
    }

    /// The object is there, whole and durable, in place of what was there before; or an error, and it is not.
    pub async fn finish(mut self) -> Result<(), StoreError> {
        let finished = match &mut self.to {
            To::Folder(draft) => match draft.take() {
                Some(draft) => {
                    let named = tokio::task::spawn_blocking(move || draft.replace()).await;
                    named.unwrap_or_else(|_| Err(broken()))
                }
                None => Err(broken()),
            },
            To::Remote(parts) => parts.finish().await,
        };
        match self.call.take() {
            Some(call) => call.end(finished),
            None => finished,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(call) = &self.call {
            call.fail();
        }
        if let To::Remote(parts) = &mut self.to {
            parts.abort(self.held.take());
        }
    }
}

impl Parts {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = self.remote.part_bytes - self.buffer.len();
            self.buffer.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.buffer.len() == self.remote.part_bytes {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Sends the buffer as the next part, once the one before has arrived.
    async fn send(&mut self) -> Result<(), StoreError> {
        self.arrived().await?;
        if self.upload.is_none() {
            let (remote, name) = (self.remote.clone(), self.name.clone());
            let beginning =
                self.beginning.get_or_insert_with(|| tokio::spawn(async move { remote.multipart(&name).await }));
            let begun = beginning.await;
            self.beginning = None;
            self.upload = Some(begun.map_err(|_| broken())??);
        }
        let Some(upload) = &mut self.upload else { return Err(broken()) };
        let part = upload.put_part(PutPayload::from(self.buffer.split().freeze()));
        self.sending = Some(tokio::spawn(part));
        Ok(())
    }

    async fn arrived(&mut self) -> Result<(), StoreError> {
        let Some(sending) = &mut self.sending else { return Ok(()) };
        let sent = sending.await;
        self.sending = None;
        let sent = sent.map_err(|_| broken())?;
        sent.map_err(|error| self.remote.failed(&self.name, "cannot be written", error))
    }

    async fn finish(&mut self) -> Result<(), StoreError> {
        if self.upload.is_none() {
            return self.remote.overwrite(&self.name, PutPayload::from(self.buffer.split().freeze())).await;
        }
        if !self.buffer.is_empty() {
            self.send().await?;
        }
        self.arrived().await?;
        let before = self.remote.seen(&self.name).await?;
        let Some(upload) = &mut self.upload else { return Err(broken()) };
        let Err(error) = upload.complete().await else {
            self.upload = None;
            return Ok(());
        };
        // an answer that was lost, and a second attempt that finds nothing to complete: what is there now tells
        if let Ok(Some(now)) = self.remote.seen(&self.name).await
            && now.size == self.bytes
            && before.is_none_or(|before| (before.e_tag, before.last_modified) != (now.e_tag, now.last_modified))
        {
            self.upload = None;
            return Ok(());
        }
        Err(self.remote.failed(&self.name, "cannot be written", error))
    }

    /// Once what is under way has ended: a part that arrives after the end of its upload would stay. As far as it goes: parts that
    /// stay are what a bucket's rule about unfinished uploads is for. `held` stays until then.
    fn abort(&mut self, held: Option<Held>) {
        let (beginning, sending, upload) = (self.beginning.take(), self.sending.take(), self.upload.take());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if beginning.is_none() && upload.is_none() {
            return;
        }
        let at = self.remote.describe(&self.name);
        runtime.spawn(async move {
            let _held = held;
            let begun = match beginning {
                Some(beginning) => beginning.await.ok().and_then(Result::ok),
                None => None,
            };
            if let Some(sending) = sending {
                // how it ended does not matter any more
                let _ = sending.await;
            }
            let Some(mut upload) = upload.or(begun) else { return };
            if let Err(error) = upload.abort().await {
                tracing::warn!(at, %error, "parts of an upload that was given up stay for now");
            }
        });
    }
}

fn broken() -> StoreError {
    StoreError::new(Kind::Closed, "upload", "it failed before or was given up")
}
