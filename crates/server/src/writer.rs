//! The one way into the store: bytes become a batch, batch and bytes become durable. Pushed and scraped profiles
//! alike take it, and replay takes its first half. Where profiles are handed on to another server the bytes go, as they were
//! received, into the buffer before it: what is refused there is refused here, before anybody waits for it.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use forward::forwarder::{field_1, pair};
use forward::{Forwarder, Method};
use ingest::{Dictionaries, IngestError, IngestErrorKind, Limits, Otlp, Scratch};
use profile::{Batch, Dictionary};
use prometheus_client::registry::Registry;
use prost::Message;
use scrape::{Scraped, Sink, SinkError, Written};
use store::{Account, Clock, Kind, Lease, Record, ReplayDecoder, Store, StoreError};
use tonic::{Code, Request, Status};

use crate::grpc::lease::refused;
use crate::grpc::stack::overloaded_for;
use crate::known::{KnownStacks, Scope};
use crate::proto::parca::profilestore::v1alpha1::{
    ExecutableInfo, Label, LabelSet, RawProfileSeries, RawSample, WriteRawRequest,
};
use crate::work::Workers;

/// [`Record::version`]: of the rules by which a payload becomes a batch.
const RULES_VERSION: u16 = 1;

/// What a payload is. The numbers are [`Record::kind`] and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// As `WriteRaw` and scraping receive it.
    Pprof = 1,
    /// The IPC stream of `WriteArrow`.
    ArrowV2 = 2,
    /// Both messages of a `Write`, as [`ingest::v1::join`] lays them out.
    ArrowV1 = 3,
    /// An OTLP export request, unpacked; one that came as JSON is turned into protobuf first.
    Otlp = 4,
    /// Both messages of a `Write` and the stacks that were not asked for, as [`ingest::v1::join_with_known`] lays them out.
    ArrowV1Known = 5,
}

/// What became of a write.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepted {
    pub(crate) samples: u64,
    /// Profiles that were left out of an OTLP export.
    pub(crate) rejected: u64,
    /// Why the first of them was.
    pub(crate) reason: String,
}

impl Format {
    fn of(kind: u8) -> Option<Self> {
        let all = [Self::Pprof, Self::ArrowV2, Self::ArrowV1, Self::Otlp, Self::ArrowV1Known];
        all.into_iter().find(|format| *format as u8 == kind)
    }
}

/// Profiles on their way in.
pub(crate) struct Incoming {
    pub(crate) format: Format,
    /// Of a pprof, `__name__` included; the others bring their own.
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) payload: Bytes,
    /// The executables that the sender described; must be none, or one per mapping.
    pub(crate) executables: Vec<ExecutableInfo>,
    /// What the sender says of its addresses: handed on, and nothing else.
    pub(crate) normalized: bool,
    /// Of a `Write`: whose stacks are known from then on.
    pub(crate) scope: Option<Scope>,
}

impl Incoming {
    /// A message that says all about itself.
    pub(crate) fn message(format: Format, payload: Bytes) -> Self {
        Self { format, payload, ..Self::pprof(Vec::new(), Bytes::new()) }
    }

    pub(crate) fn pprof(labels: Vec<(String, String)>, payload: Bytes) -> Self {
        Self { format: Format::Pprof, labels, payload, executables: Vec::new(), normalized: false, scope: None }
    }
}

/// The first half of a `Write`.
pub(crate) struct Asked {
    /// The reply's record.
    pub(crate) question: Bytes,
    samples: Bytes,
    /// The stacks that are known, as [`ingest::v1::ask`] gave them: they stay with the call, whatever is forgotten meanwhile.
    list: Vec<u8>,
    scope: Option<Scope>,
    /// Of `list`.
    _lease: Lease,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Writer {
    inner: Arc<Inner>,
}

/// What becomes of a write.
enum Destination {
    Store(Arc<Store>),
    /// `labels`: added to profiles that are scraped, where they have none of that name.
    Forward {
        forwarder: Forwarder,
        labels: Vec<(String, String)>,
    },
}

struct Inner {
    destination: Destination,
    clock: Arc<dyn Clock>,
    limits: Limits,
    workers: Workers,
    memory: Account,
    known: KnownStacks,
    symbols: KnownSymbols,
}

/// What agents and collectors name in one message after the other.
pub(crate) struct KnownSymbols {
    dictionaries: Dictionaries,
    lease: Mutex<Lease>,
}

impl KnownSymbols {
    /// Holds about `bytes_max`, leased from `memory`.
    pub(crate) fn new(bytes_max: u64, memory: &Account) -> Self {
        Self { dictionaries: Dictionaries::new(bytes_max), lease: Mutex::new(memory.empty_lease()) }
    }

    /// Bytes that nobody but `batch` keeps.
    fn left_to(&self, batch: &Batch) -> u64 {
        let dictionary = batch.dictionary.as_deref().filter(|dictionary| !self.dictionaries.keep(dictionary));
        dictionary.map_or(0, Dictionary::bytes)
    }

    fn count(&self) {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner).set(self.dictionaries.bytes());
    }
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
        known: KnownStacks,
        symbols: KnownSymbols,
    ) -> Self {
        let destination = Destination::Store(store);
        Self { inner: Arc::new(Inner { destination, clock, limits, workers, memory, known, symbols }) }
    }

    pub(crate) fn forwarding(
        forwarder: Forwarder,
        labels: Vec<(String, String)>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        workers: Workers,
        memory: Account,
        symbols: KnownSymbols,
    ) -> Self {
        let destination = Destination::Forward { forwarder, labels };
        let known = KnownStacks::new(0, &memory);
        Self { inner: Arc::new(Inner { destination, clock, limits, workers, memory, known, symbols }) }
    }

    /// All of `incoming` durable, or an error and none of it accepted.
    ///
    /// Cancel safe: a write that has begun is finished or not as if its sender had gone away.
    pub(crate) async fn write(
        &self,
        incoming: Vec<Incoming>,
        sender: String,
        receive_time: Option<i64>,
        deadline: Option<Instant>,
    ) -> Result<Accepted, Status> {
        let inner = self.inner.clone();
        self.inner.workers.run(deadline, move |_| inner.write(incoming, &sender, receive_time)).await?
    }

    /// Whose stacks a call's are, where stacks are kept.
    pub(crate) fn scope<T>(&self, request: &Request<T>) -> Option<Scope> {
        match &self.inner.destination {
            Destination::Store(_) => self.inner.known.scope(request),
            // what the other server knows is not known here
            Destination::Forward { .. } => None,
        }
    }

    /// What a sender of `Write` must send after `samples`.
    pub(crate) async fn ask(
        &self,
        samples: Bytes,
        scope: Option<Scope>,
        deadline: Option<Instant>,
    ) -> Result<Asked, Status> {
        let inner = self.inner.clone();
        self.inner.workers.run(deadline, move |_| inner.ask(samples, scope)).await?
    }

    /// Both halves of a `Write`, as [`Writer::write`].
    pub(crate) async fn write_asked(
        &self,
        asked: Asked,
        locations: Bytes,
        sender: String,
        deadline: Option<Instant>,
    ) -> Result<Accepted, Status> {
        let inner = self.inner.clone();
        let write = move |_| {
            let Asked { samples, list, scope, _lease, .. } = asked;
            let (format, payload) = if list.is_empty() {
                (Format::ArrowV1, ingest::v1::join(&samples, &locations))
            } else {
                (Format::ArrowV1Known, ingest::v1::join_with_known(&samples, &locations, &list))
            };
            let incoming = Incoming { scope, ..Incoming::message(format, payload.into()) };
            inner.write(vec![incoming], &sender, None)
        };
        self.inner.workers.run(deadline, write).await?
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        self.inner.known.register(registry);
    }
}

impl Inner {
    fn ask(&self, samples: Bytes, scope: Option<Scope>) -> Result<Asked, Status> {
        let ask = |scope: Option<Scope>| {
            let now = self.clock.now_ns();
            ingest::v1::ask(&samples, &ingest::stamped_limits(), |ids| self.known.find(scope, ids, now))
                .map_err(ingest_status)
        };
        let mut asked = ask(scope)?;
        let mut lease = self.memory.empty_lease();
        if lease.grow(asked.list.len() as u64).is_err() {
            // no room for what is known: let it be sent, when there may be some
            asked = ask(None)?;
        }
        self.known.asked(asked.known, asked.unknown);
        Ok(Asked { question: asked.question.into(), samples, list: asked.list, scope, _lease: lease })
    }

    fn write(&self, incoming: Vec<Incoming>, sender: &str, receive_time: Option<i64>) -> Result<Accepted, Status> {
        let receive_time = receive_time.unwrap_or_else(|| self.clock.now_ns());
        let mut writes = Vec::with_capacity(incoming.len());
        let mut on = Vec::new();
        let mut accepted = Accepted::default();
        // what the batches hold until the store has them
        let mut lease = self.memory.empty_lease();
        let mut sent = Vec::new();
        for Incoming { format, labels, payload, executables, normalized, scope } in incoming {
            let record = Record {
                kind: format as u8,
                version: RULES_VERSION,
                tenant: String::new(),
                receive_time,
                sender: sender.to_owned(),
                labels,
                payload,
            };
            let mut stacks = scope.map(|scope| (scope, Vec::new()));
            let list = stacks.as_mut().map(|(_, list)| list);
            let Otlp { batch, rejected, reason } =
                decode(format, &record, &self.limits, &self.symbols.dictionaries, list).map_err(ingest_status)?;
            self.symbols.count();
            sent.extend(stacks);
            let mappings = batch.symbols.mappings.len();
            if !executables.is_empty() && executables.len() != mappings {
                let infos = executables.len();
                return Err(Status::invalid_argument(format!(
                    "invalid profile: profile has {mappings} mappings but {infos} executable infos"
                )));
            }
            lease.grow(batch_bytes(&batch) + self.symbols.left_to(&batch)).map_err(refused)?;
            accepted.samples += batch.samples.stack.len() as u64;
            (accepted.rejected, accepted.reason) = (accepted.rejected + rejected, reason);
            match &self.destination {
                Destination::Store(_) => writes.push((record, batch)),
                Destination::Forward { .. } => on.push(On { format, record, executables, normalized }),
            }
        }
        match &self.destination {
            Destination::Store(store) if !writes.is_empty() => store.write(writes).map_err(store_status)?,
            Destination::Forward { forwarder, .. } if !on.is_empty() => {
                let (method, message) = message(on)?;
                forwarder.push(method, message).map_err(store_status)?;
            }
            _ => {}
        }
        for (scope, list) in sent {
            self.known.learn(scope, &list, receive_time);
        }
        Ok(accepted)
    }
}

/// A sound profile that goes on.
struct On {
    format: Format,
    record: Record,
    executables: Vec<ExecutableInfo>,
    normalized: bool,
}

/// What one call brought, as one call again.
fn message(on: Vec<On>) -> Result<(Method, Vec<Bytes>), Status> {
    let Some(format) = on.first().map(|on| on.format) else { return Err(Status::internal("nothing to hand on")) };
    if format == Format::Pprof {
        return Ok((Method::WriteRaw, vec![write_raw(on).encode_to_vec().into()]));
    }
    let [On { record: Record { payload, .. }, .. }] = &on[..] else {
        return Err(Status::internal("several messages in one call"));
    };
    let payload = payload.clone();
    Ok(match format {
        Format::ArrowV2 => (Method::WriteArrow, field_1(payload)),
        Format::ArrowV1 => {
            let (samples, locations) = ingest::v1::split(&payload).map_err(ingest_status)?;
            let [samples, locations] = [samples, locations].map(|part| field_1(payload.slice_ref(part)));
            (Method::Write, pair(samples, locations))
        }
        Format::ArrowV1Known => return Err(Status::internal("what is handed on knows no stacks")),
        Format::Otlp | Format::Pprof => (Method::Export, vec![payload]),
    })
}

/// Profiles that stand one after the other and have the same labels are one series again.
fn write_raw(on: Vec<On>) -> WriteRawRequest {
    let mut request = WriteRawRequest { normalized: on.iter().any(|on| on.normalized), ..WriteRawRequest::default() };
    let mut last: Option<Vec<(String, String)>> = None;
    for On { record: Record { labels, payload, .. }, executables, .. } in on {
        let sample = RawSample { raw_profile: payload, executable_info: executables };
        match request.series.last_mut() {
            Some(series) if last.as_ref() == Some(&labels) => series.samples.push(sample),
            _ => {
                let set = labels.iter().map(|(name, value)| Label { name: name.clone(), value: value.clone() });
                let labels_of = Some(LabelSet { labels: set.collect() });
                request.series.push(RawProfileSeries { labels: labels_of, samples: vec![sample] });
                last = Some(labels);
            }
        }
    }
    request
}

/// `limits` are those of a pprof; messages of stamped samples have their own. `sent` becomes the stacks that a `Write` brought.
fn decode(
    format: Format,
    record: &Record,
    limits: &Limits,
    dictionaries: &Dictionaries,
    sent: Option<&mut Vec<u8>>,
) -> Result<Otlp, IngestError> {
    let (payload, time) = (&record.payload, record.receive_time);
    let batch = match format {
        Format::Pprof => {
            SCRATCH.with_borrow_mut(|scratch| ingest::pprof(record.labels.clone(), payload, time, limits, scratch))
        }
        Format::ArrowV2 => ingest::write_arrow(payload, time, &ingest::stamped_limits(), dictionaries),
        Format::ArrowV1 => ingest::v1::write(payload, time, &ingest::stamped_limits(), dictionaries, sent),
        Format::ArrowV1Known => {
            ingest::v1::write_with_known(payload, time, &ingest::stamped_limits(), dictionaries, sent)
        }
        Format::Otlp => return ingest::otlp(payload, time, &ingest::stamped_limits(), dictionaries),
    };
    Ok(Otlp { batch: batch?, rejected: 0, reason: String::new() })
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
    dictionaries: Dictionaries,
}

impl Replay {
    pub fn new(limits: Limits) -> Self {
        Self { limits, dictionaries: Dictionaries::default() }
    }
}

impl ReplayDecoder for Replay {
    fn decode(&self, record: &Record) -> Result<Batch, String> {
        let Some(format) = Format::of(record.kind) else {
            return Err(format!("records of kind {} are from a newer version", record.kind));
        };
        let decoded =
            decode(format, record, &self.limits, &self.dictionaries, None).map_err(|error| error.to_string())?;
        Ok(decoded.batch)
    }
}

impl Sink for Writer {
    async fn write(&self, scraped: Scraped) -> Result<Written, SinkError> {
        let Scraped { job, mut labels, body, receive_time_ns, normalized_addresses: normalized } = scraped;
        if let Destination::Forward { labels: external, .. } = &self.inner.destination {
            let missing = external.iter().filter(|(name, _)| labels.iter().all(|(known, _)| known != name));
            let missing: Vec<_> = missing.cloned().collect();
            labels.extend(missing);
        }
        let incoming = Incoming { normalized, ..Incoming::pprof(labels, body) };
        match Writer::write(self, vec![incoming], job, Some(receive_time_ns), None).await {
            Ok(accepted) => Ok(Written { samples: accepted.samples }),
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
