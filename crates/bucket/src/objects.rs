//! The store's view of a bucket: [`store::Objects`], which blocks, on a runtime of its own. So the store stays synchronous,
//! and may be called from any thread, within another runtime or without.

use std::ops::Range;
use std::sync::mpsc;

use bytes::Bytes;
use store::objects::ObjectEntry;
use store::{Kind, Objects, StoreError};
use tokio::runtime::{Builder, Runtime};

use crate::{Bucket, Metrics, Options};

/// Largest object that is read whole: what the catalog and `meta.json` never reach.
const OBJECT_BYTES_MAX: u64 = 256 << 20;

pub struct BlockingObjects {
    bucket: Bucket,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

impl BlockingObjects {
    pub fn connect(options: &Options, metrics: Metrics) -> Result<Self, StoreError> {
        let bucket = Bucket::connect(options, metrics)?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("bucket").enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::io("bucket", "cannot start a thread", error))?;
        Ok(Self { bucket, runtime: Some(runtime) })
    }

    /// Finds out whether the server keeps what the catalog relies on: a name that is taken is not given again. One that does
    /// not is refused by name.
    pub fn check_conditional_create(&self, nonce: u64) -> Result<(), StoreError> {
        let name = format!("tmp/conditional-create-{nonce:016x}");
        self.create(&name, b"first")?;
        let second = self.create(&name, b"second");
        let deleted = self.delete(&name);
        match second {
            Err(error) if error.kind == Kind::AlreadyExists => deleted,
            Err(error) => Err(error),
            Ok(()) => {
                let what = "the server has no conditional writes (If-None-Match on PUT): it gives a name that is taken \
                            again, so the catalog of two writers would lose blocks. Use a newer version of it, or another";
                Err(StoreError::new(Kind::Invalid, self.describe(""), what))
            }
        }
    }

    fn run<T, R>(&self, call: impl FnOnce(Bucket) -> R + Send + 'static) -> Result<T, StoreError>
    where
        T: Send + 'static,
        R: Future<Output = Result<T, StoreError>> + Send,
    {
        let gone = || StoreError::new(Kind::Closed, self.describe(""), "the bucket is closed");
        let runtime = self.runtime.as_ref().ok_or_else(gone)?;
        let (reply, answer) = mpsc::sync_channel(1);
        let bucket = self.bucket.clone();
        runtime.spawn(async move {
            // nobody waits any more if this fails
            let _ = reply.send(call(bucket).await);
        });
        answer.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for BlockingObjects {
    /// Within another runtime nobody may wait for this one.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Objects for BlockingObjects {
    fn describe(&self, name: &str) -> String {
        self.bucket.describe(name)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let (name, bytes) = (name.to_owned(), Bytes::copy_from_slice(bytes));
        self.run(move |bucket| async move { bucket.create(&name, bytes).await })
    }

    fn get(&self, name: &str) -> Result<Bytes, StoreError> {
        let owned = name.to_owned();
        let found = self.run(move |bucket| async move { bucket.get(&owned, OBJECT_BYTES_MAX).await })?;
        let absent = || StoreError::new(Kind::NotFound, self.describe(name), "no such object");
        found.map(|(bytes, _)| bytes).ok_or_else(absent)
    }

    fn get_range(&self, name: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let name = name.to_owned();
        self.run(move |bucket| async move { bucket.get_range(&name, range).await })
    }

    fn list(&self, folder: &str) -> Result<Vec<ObjectEntry>, StoreError> {
        let folder = folder.to_owned();
        self.run(move |bucket| async move { bucket.list(&folder).await })
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.run(move |bucket| async move { bucket.delete(&name).await })
    }
}
