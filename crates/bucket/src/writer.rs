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
}

enum To {
    /// `None` while it is written, and after a failure.
    Folder(Option<Draft>),
    Remote(Parts),
}

struct Parts {
    remote: Arc<Remote>,
    name: String,
    buffer: BytesMut,
    /// From the second part on: what fits into one is put at once.
    upload: Option<Box<dyn MultipartUpload>>,
    sending: Option<JoinHandle<Result<(), object_store::Error>>>,
}

impl Writer {
    pub(crate) fn to_folder(call: Call, draft: Draft) -> Self {
        Self { call: Some(call), to: To::Folder(Some(draft)) }
    }

    pub(crate) fn to_remote(call: Call, remote: Arc<Remote>, name: &str) -> Self {
        let parts = Parts { remote, name: name.to_owned(), buffer: BytesMut::new(), upload: None, sending: None };
        Self { call: Some(call), to: To::Remote(parts) }
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
            parts.abort();
        }
    }
}

impl Parts {
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), StoreError> {
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
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.remote.multipart(&self.name).await?,
        };
        let part = upload.put_part(PutPayload::from(self.buffer.split().freeze()));
        self.upload = Some(upload);
        self.sending = Some(tokio::spawn(part));
        Ok(())
    }

    async fn arrived(&mut self) -> Result<(), StoreError> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let sent = sending.await.map_err(|_| broken())?;
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
        let Some(mut upload) = self.upload.take() else { return Err(broken()) };
        match upload.complete().await {
            Ok(_) => Ok(()),
            Err(error) => {
                self.upload = Some(upload);
                Err(self.remote.failed(&self.name, "cannot be written", error))
            }
        }
    }

    /// As far as it goes: parts that stay are what a bucket's rule about unfinished uploads is for.
    fn abort(&mut self) {
        if let Some(sending) = self.sending.take() {
            sending.abort();
        }
        if let (Some(mut upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) {
            let at = self.remote.describe(&self.name);
            runtime.spawn(async move {
                if let Err(error) = upload.abort().await {
                    tracing::warn!(at, %error, "parts of an upload that was given up stay for now");
                }
            });
        }
    }
}

fn broken() -> StoreError {
    StoreError::new(Kind::Closed, "upload", "it failed before or was given up")
}
