//! The one way into the store: bytes become a batch, batch and bytes become durable. Pushed and scraped profiles
//! alike take it, and replay takes its first half.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ingest::{IngestError, IngestErrorKind, Limits, Scratch};
use profile::Batch;
use scrape::{Scraped, Sink, SinkError, Written};
use store::{Account, Clock, Kind, Record, ReplayDecoder, Store, StoreError};
use tonic::{Code, Status};

use crate::grpc::lease::refused;
use crate::grpc::stack::overloaded_for;
use crate::work::Workers;

/// [`Record::kind`] of a pprof as `WriteRaw` and scraping receive it.
const KIND_PPROF: u8 = 1;

/// [`Record::version`]: of the rules by which a payload becomes a batch.
const RULES_VERSION: u16 = 1;

/// A profile on its way in.
pub(crate) struct Incoming {
    /// `__name__` included.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) payload: Bytes,
    /// How many executables the sender described; must be none, or one per mapping.
    pub(crate) executables: usize,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    workers: Workers,
    memory: Account,
}

thread_local! {
    /// Buffers for decoding, kept from one profile to the next.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Writer {
    pub(crate) fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        workers: Workers,
        memory: Account,
    ) -> Self {
        Self { inner: Arc::new(Inner { store, clock, limits, workers, memory }) }
    }

    /// All of `incoming` durable, or an error and none of it accepted. Gives the number of samples.
    ///
    /// Cancel safe: a write that has begun is finished or not as if its sender had gone away.
    pub(crate) async fn write(
        &self,
        incoming: Vec<Incoming>,
        sender: String,
        receive_time: Option<i64>,
        deadline: Option<Instant>,
    ) -> Result<u64, Status> {
        let inner = self.inner.clone();
        self.inner.workers.run(deadline, move |_| inner.write(incoming, &sender, receive_time)).await?
    }
}

impl Inner {
    fn write(&self, incoming: Vec<Incoming>, sender: &str, receive_time: Option<i64>) -> Result<u64, Status> {
        let receive_time = receive_time.unwrap_or_else(|| self.clock.now_ns());
        let mut writes = Vec::with_capacity(incoming.len());
        let mut samples = 0;
        // what the batches hold until the store has them
        let mut lease = self.memory.empty_lease();
        for Incoming { labels, payload, executables } in incoming {
            let record = Record {
                kind: KIND_PPROF,
                version: RULES_VERSION,
                tenant: String::new(),
                receive_time,
                sender: sender.to_owned(),
                labels,
                payload,
            };
            let batch = decode(&record, &self.limits).map_err(ingest_status)?;
            let mappings = batch.symbols.mappings.len();
            if executables > 0 && executables != mappings {
                return Err(Status::invalid_argument(format!(
                    "invalid profile: profile has {mappings} mappings but {executables} executable infos"
                )));
            }
            lease.grow(batch_bytes(&batch)).map_err(refused)?;
            samples += batch.samples.stack.len() as u64;
            writes.push((record, batch));
        }
        if !writes.is_empty() {
            self.store.write(writes).map_err(store_status)?;
        }
        Ok(samples)
    }
}

fn decode(record: &Record, limits: &Limits) -> Result<Batch, IngestError> {
    SCRATCH.with_borrow_mut(|scratch| {
        ingest::pprof(record.labels.clone(), &record.payload, record.receive_time, limits, scratch)
    })
}

/// Bytes that a batch holds, near enough for a lease.
fn batch_bytes(batch: &Batch) -> u64 {
    let samples = batch.samples.stack.len() * 8 + batch.samples.values.len() * 8;
    let stacks = batch.stacks.locations.len() * 4 + batch.stacks.end.len() * 4;
    let symbols = &batch.symbols;
    let tables = symbols.strings.bytes.len()
        + symbols.strings.spans.len() * 8
        + symbols.functions.len() * 20
        + symbols.lines.line.len() * 20
        + symbols.locations.len() * 17;
    (samples + stacks + tables) as u64
}

/// Decodes what the WAL kept, by the same rules.
pub struct Replay {
    limits: Limits,
}

impl Replay {
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }
}

impl ReplayDecoder for Replay {
    fn decode(&self, record: &Record) -> Result<Batch, String> {
        match record.kind {
            KIND_PPROF => decode(record, &self.limits).map_err(|error| error.to_string()),
            kind => Err(format!("records of kind {kind} are from a newer version")),
        }
    }
}

impl Sink for Writer {
    async fn write(&self, scraped: Scraped) -> Result<Written, SinkError> {
        let Scraped { job, labels, body, receive_time_ns, normalized_addresses: _ } = scraped;
        let incoming = Incoming { labels, payload: body, executables: 0 };
        match Writer::write(self, vec![incoming], job, Some(receive_time_ns), None).await {
            Ok(samples) => Ok(Written { samples }),
            Err(status) => {
                let message = status.message().to_owned();
                Err(match status.code() {
                    Code::InvalidArgument | Code::Unknown => SinkError::Invalid(message),
                    Code::ResourceExhausted => SinkError::Overloaded(message),
                    _ => SinkError::Failed(message),
                })
            }
        }
    }
}

pub(crate) fn ingest_status(error: IngestError) -> Status {
    let message = error.to_string();
    match error.kind {
        IngestErrorKind::InvalidArgument => Status::invalid_argument(message),
        IngestErrorKind::Unknown => Status::unknown(message),
        IngestErrorKind::ResourceExhausted => Status::resource_exhausted(message),
    }
}

fn store_status(error: StoreError) -> Status {
    let message = error.to_string();
    match (error.kind, error.retry_after) {
        (_, Some(after)) => overloaded_for(message, after),
        (Kind::Overloaded | Kind::DiskFull, None) => Status::resource_exhausted(message),
        (Kind::Invalid, None) => Status::invalid_argument(message),
        (Kind::Closed | Kind::ReadOnly, None) => Status::unavailable(message),
        _ => Status::internal(message),
    }
}
