//! Hands on what comes in: into the spool, and from there to the other server, the oldest first and one at a time.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use store::{Clock, Kind, Random, StoreError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::metrics::Metrics;
use crate::spool::{Entry, Spool};
use crate::upstream::Upstream;

/// Before the second attempt; each further one waits twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Of one call. A server that is alive answers faster even if its disk is slow.
const CALL_MAX: Duration = Duration::from_secs(60);

/// `INTERNAL` and `UNKNOWN` say neither that the message is bad nor that trying again helps: so many are heard.
const DOUBTS_MAX: u32 = 10;

/// A server that never ends a call, or has no room and does not say until when, may be right about this one message: so many are
/// heard, over an hour and a half at the longest wait, and the others get their turn.
const BURDENS_MAX: u32 = 200;

/// Of the oldest message, and of copies of refused ones, with the longest wait between them: a disk that comes back within ten minutes
/// loses nothing.
const DISK_ATTEMPTS_MAX: u32 = 20;

/// The file of a message that cannot be handed on because what it is was not known when this program was made.
const UNKNOWN: &str = "unknown";

/// What is under way when a stop is asked for may take so long, so that it need not be repeated.
const STOP_MAX: Duration = Duration::from_secs(5);

/// What is handed on. The numbers are [`Entry::kind`] and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    WriteRaw = 1,
    WriteArrow = 2,
    /// Two messages: see [`pair`].
    Write = 3,
    Export = 4,
}

impl Method {
    pub(crate) const ALL: [Self; 4] = [Self::WriteRaw, Self::WriteArrow, Self::Write, Self::Export];

    fn of(kind: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|method| *method as u32 == kind)
    }

    /// As metrics and files name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WriteRaw => "WriteRaw",
            Self::WriteArrow => "WriteArrow",
            Self::Write => "Write",
            Self::Export => "Export",
        }
    }

    fn path(self) -> PathAndQuery {
        PathAndQuery::from_static(match self {
            Self::WriteRaw => "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw",
            Self::WriteArrow => "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow",
            Self::Write => "/parca.profilestore.v1alpha1.ProfileStoreService/Write",
            Self::Export => "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        })
    }
}

/// Two messages of one exchange as the parts of one: what [`Method::Write`] takes.
pub fn pair(first: Vec<Bytes>, second: Vec<Bytes>) -> Vec<Bytes> {
    let length: u64 = first.iter().map(|part| part.len() as u64).sum();
    let mut parts = vec![Bytes::copy_from_slice(&length.to_le_bytes())];
    parts.extend(first);
    parts.extend(second);
    parts
}

/// What [`pair`] made.
fn unpaired(mut payload: Bytes) -> Option<[Bytes; 2]> {
    let length = usize::try_from(payload.try_get_u64_le().ok()?).ok()?;
    (length <= payload.len()).then(|| {
        let second = payload.split_off(length);
        [payload, second]
    })
}

/// A message of protocol buffers that has `value` in its field 1, without a copy of it.
pub fn field_1(value: Bytes) -> Vec<Bytes> {
    let mut head = BytesMut::with_capacity(11);
    head.put_u8(1 << 3 | 2);
    let mut len = value.len();
    while len >= 0x80 {
        head.put_u8(len as u8 | 0x80);
        len >>= 7;
    }
    head.put_u8(len as u8);
    vec![head.freeze(), value]
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Forwarder {
    inner: Arc<Inner>,
}

struct Inner {
    spool: Spool,
    upstream: Upstream,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    metrics: Metrics,
    arrived: Notify,
}

/// What an answer means for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The same message may be taken later.
    Later,
    /// The same, unless it is too much for that server at any time.
    Burden,
    /// Nobody can tell.
    Doubt,
    /// It will never be taken.
    Never,
}

/// What the server has answered to one message so far.
#[derive(Debug, Default)]
struct Tries {
    /// In all.
    attempts: u32,
    doubts: u32,
    burdens: u32,
}

impl Tries {
    /// One more attempt failed with `status`. Whether it was the last.
    fn failed(&mut self, status: &Status) -> bool {
        self.attempts += 1;
        match verdict(status) {
            Verdict::Later => false,
            Verdict::Burden => {
                self.burdens += 1;
                self.burdens >= BURDENS_MAX
            }
            Verdict::Doubt => {
                self.doubts += 1;
                self.doubts >= DOUBTS_MAX
            }
            Verdict::Never => true,
        }
    }
}

impl Forwarder {
    pub fn new(
        spool: Spool,
        upstream: Upstream,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
    ) -> Self {
        let forwarder =
            Self { inner: Arc::new(Inner { spool, upstream, clock, random, metrics, arrived: Notify::new() }) };
        forwarder.inner.show();
        forwarder
    }

    /// The connection, for calls that are handed on at once.
    pub fn upstream(&self) -> &Upstream {
        &self.inner.upstream
    }

    /// Takes a message, in parts, to be handed on. Durable when it returns; blocks.
    pub fn push(&self, method: Method, message: Vec<Bytes>) -> Result<(), StoreError> {
        let inner = &self.inner;
        let appended = inner.spool.append(inner.clock.now_ns(), method as u32, message);
        match &appended {
            Ok(()) => {
                inner.show();
                inner.arrived.notify_one();
            }
            Err(_) => inner.metrics.not_taken(),
        }
        appended
    }

    /// Hands on until `stop`. What is left then is handed on by the next process.
    pub async fn run(self, stop: CancellationToken) {
        let (mut failed_reads, mut failed_copies) = (0, 0);
        while !stop.is_cancelled() {
            let arrived = self.inner.arrived.notified();
            match self.blocking(|inner| inner.spool.next()).await {
                Ok(Some(entry)) => {
                    failed_reads = 0;
                    self.hand_on(entry, &mut failed_copies, &stop).await;
                }
                Ok(None) => {
                    self.inner.metrics.oldest(0);
                    tokio::select! {
                        () = arrived => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => {
                    let wait = self.cannot_read(&error, &mut failed_reads).await;
                    pause(wait, &stop).await;
                }
            }
        }
        let left = self.inner.spool.status().entries;
        if left > 0 {
            info!(messages = left, "messages stay in the forward buffer; they are handed on after the next start");
        }
    }

    /// One more read of the oldest message failed, after `failed` others. How long until the next.
    async fn cannot_read(&self, error: &StoreError, failed: &mut u32) -> Duration {
        warn!(%error, "the forward buffer cannot be read; it is tried again");
        *failed += 1;
        if *failed >= DISK_ATTEMPTS_MAX && matches!(self.blocking(|inner| Ok(inner.spool.pass_over())).await, Ok(true))
        {
            *failed = 0;
            self.inner.show();
            return Duration::ZERO;
        }
        BACKOFF_MAX
    }

    async fn hand_on(&self, entry: Entry, failed_copies: &mut u32, stop: &CancellationToken) {
        let inner = &self.inner;
        inner.metrics.oldest(entry.time);
        let Some(method) = Method::of(entry.kind) else {
            warn!(kind = entry.kind, "a message in the forward buffer is from a newer version; it is set aside");
            return self.set_aside(entry, UNKNOWN, failed_copies, stop).await;
        };
        let (mut tries, mut backoff) = (Tries::default(), BACKOFF_FIRST);
        loop {
            let answer = tokio::select! {
                answer = self.send(method, &entry) => answer,
                () = async { stop.cancelled().await; tokio::time::sleep(STOP_MAX).await } => return,
            };
            let Err(status) = answer else {
                if tries.attempts > 0 {
                    info!(
                        server = inner.upstream.address(),
                        failed = tries.attempts,
                        "the server takes messages again"
                    );
                }
                inner.metrics.sent(method);
                return self.end(entry).await;
            };
            inner.metrics.failed(status.code());
            if tries.failed(&status) {
                let attempts = tries.attempts;
                warn!(method = method.name(), %status, attempts, "the server refuses a message for good; it is set aside");
                return self.set_aside(entry, method.name(), failed_copies, stop).await;
            }
            if tries.attempts == 1 {
                warn!(server = inner.upstream.address(), %status, "the server takes nothing; messages wait in the forward buffer");
            }
            let wait = jittered(backoff, inner.random.u64().unwrap_or(0)).max(asked_for(&status));
            backoff = (2 * backoff).min(BACKOFF_MAX);
            if pause(wait, stop).await {
                return;
            }
        }
    }

    async fn send(&self, method: Method, entry: &Entry) -> Result<(), Status> {
        let (upstream, path) = (&self.inner.upstream, method.path());
        match method {
            Method::Write => {
                let torn = || Status::invalid_argument("the two messages of a write are not where they should be");
                let [first, second] = unpaired(entry.payload.clone()).ok_or_else(torn)?;
                upstream.exchange(path, vec![first, second], CALL_MAX).await
            }
            _ => upstream.call(path, entry.payload.clone(), CALL_MAX).await.map(drop),
        }
    }

    /// Keeps a copy of `entry`, which is refused for good, and ends it then. While none can be written it stays where it is, and those behind it
    /// wait.
    async fn set_aside(&self, entry: Entry, name: &'static str, failed: &mut u32, stop: &CancellationToken) {
        while let Some(wait) = self.keep(&entry, name, failed).await {
            if pause(wait, stop).await {
                return;
            }
        }
        self.inner.metrics.refused(name);
        self.end(entry).await;
    }

    /// One attempt to keep a copy, after `failed` others in a row, of any messages. How long until the next; none if there is a copy, or none
    /// is to be had.
    async fn keep(&self, entry: &Entry, name: &'static str, failed: &mut u32) -> Option<Duration> {
        let (copied, bytes) = (entry.clone(), entry.payload.len());
        match self.blocking(move |inner| inner.spool.keep(&copied, name)).await {
            Ok(true) => *failed = 0,
            Ok(false) => {
                warn!(method = name, bytes, "a refused message is larger than all that is kept of such: it is gone");
                self.inner.metrics.not_kept(name);
            }
            Err(error) => {
                *failed += 1;
                if *failed < DISK_ATTEMPTS_MAX {
                    warn!(%error, method = name, "a refused message cannot be kept aside; it is tried again");
                    return Some(BACKOFF_MAX);
                }
                warn!(%error, method = name, bytes, "a refused message cannot be kept aside: it is gone");
                self.inner.metrics.not_kept(name);
            }
        }
        None
    }

    /// Done with `entry`.
    async fn end(&self, entry: Entry) {
        if let Err(error) = self.blocking(move |inner| inner.spool.done(&entry)).await {
            warn!(%error, "the forward buffer cannot be written: after a crash a message may be handed on again");
        }
        self.inner.show();
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = self.inner.clone();
        let ended = tokio::task::spawn_blocking(move || work(&inner)).await;
        ended.unwrap_or_else(|error| Err(StoreError::new(Kind::Closed, "forward buffer", error.to_string())))
    }
}

impl Inner {
    fn show(&self) {
        self.metrics.show(&self.spool.status());
    }
}

fn verdict(status: &Status) -> Verdict {
    let says = |text| status.message().contains(text);
    match status.code() {
        // by grpc-go, by our memory budget, and by our decoders: the same message is never smaller
        Code::ResourceExhausted
            if ["larger than max", "can never fit", "over a limit", "arrow/ipc: "].into_iter().any(says) =>
        {
            Verdict::Never
        }
        // it knows when there is room for this message
        Code::ResourceExhausted if pushback(status).is_some() => Verdict::Later,
        // what answered is no gRPC server: a proxy that does not know ours at the moment, or is broken itself
        Code::Unimplemented if says("grpc-status header missing") => Verdict::Later,
        Code::Unknown if says("mapped from HTTP status code 5") => Verdict::Later,
        Code::DeadlineExceeded | Code::ResourceExhausted => Verdict::Burden,
        Code::Ok
        | Code::Cancelled
        | Code::Aborted
        | Code::Unavailable
        | Code::PermissionDenied
        | Code::Unauthenticated => Verdict::Later,
        Code::Unknown | Code::Internal => Verdict::Doubt,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss => Verdict::Never,
    }
}

/// Between half of `backoff` and all of it.
fn jittered(backoff: Duration, random: u64) -> Duration {
    backoff.mul_f64(0.5 + 0.5 * (random >> 11) as f64 / (1u64 << 53) as f64)
}

/// How long the server wants to be left alone.
fn asked_for(status: &Status) -> Duration {
    pushback(status).unwrap_or(Duration::ZERO).min(BACKOFF_MAX)
}

/// The same as it stands there. A negative one says never, and is passed over.
fn pushback(status: &Status) -> Option<Duration> {
    let millis = status.metadata().get("grpc-retry-pushback-ms")?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}

/// Whether `stop` came first.
async fn pause(time: Duration, stop: &CancellationToken) -> bool {
    tokio::time::timeout(time, stop.cancelled()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use store::Disk;
    use tonic::body::Body;

    use super::*;
    use crate::spool::tests::disk::CrashDisk;

    #[test]
    fn two_messages_stay_two_and_a_torn_pair_is_none() {
        let parts = pair(field_1(Bytes::from(vec![7; 300])), vec![Bytes::from_static(b"second")]);
        let joined = Bytes::from(parts.concat());
        let [first, second] = unpaired(joined.clone()).expect("a pair");
        assert_eq!((first.len(), &first[..3]), (303, &[10, 0xac, 2][..]));
        assert_eq!(second, "second");
        assert_eq!(unpaired(joined.slice(..100)), None);
        assert_eq!(unpaired(joined.slice(..5)), None);
    }

    #[test]
    fn what_the_message_is_to_blame_for_is_never_tried_again_and_what_the_server_is_always() {
        for (status, wanted) in [
            (Status::unavailable("connection refused"), Verdict::Later),
            (Status::resource_exhausted("no room for 5 bytes"), Verdict::Burden),
            (pushed_back("no room for 5 bytes: 6 of 7 in use here", "1000"), Verdict::Later),
            (pushed_back("no room for 5 bytes", "-1"), Verdict::Burden),
            (Status::deadline_exceeded("no answer within 60s"), Verdict::Burden),
            (
                Status::resource_exhausted("memory account requests: 5 bytes can never fit: the limit is 4"),
                Verdict::Never,
            ),
            (Status::resource_exhausted("profile over a limit: more than 4 samples"), Verdict::Never),
            (Status::resource_exhausted("arrow/ipc: 5 rows, more than 4"), Verdict::Never),
            (Status::resource_exhausted("grpc: received message larger than max (5 vs. 4)"), Verdict::Never),
            (Status::unauthenticated("who are you"), Verdict::Later),
            (Status::invalid_argument("missing __name__ label"), Verdict::Never),
            (Status::unimplemented("unknown method WriteArrow"), Verdict::Never),
            (Status::unimplemented("grpc-status header missing, mapped from HTTP status code 404"), Verdict::Later),
            (Status::unknown("invalid profile type"), Verdict::Doubt),
            (Status::unknown("grpc-status header missing, mapped from HTTP status code 500"), Verdict::Later),
            (Status::unknown("grpc-status header missing, mapped from HTTP status code 413"), Verdict::Doubt),
        ] {
            assert_eq!(verdict(&status), wanted, "{status}");
        }
    }

    fn pushed_back(message: &str, millis: &'static str) -> Status {
        let mut status = Status::resource_exhausted(message);
        status.metadata_mut().insert("grpc-retry-pushback-ms", millis.parse().expect("a header"));
        status
    }

    /// What is no gRPC server, and answers with a status of HTTP.
    #[derive(Clone)]
    struct Proxy(http::StatusCode);

    impl tonic::server::NamedService for Proxy {
        const NAME: &'static str = "parca.profilestore.v1alpha1.ProfileStoreService";
    }

    impl tower::Service<http::Request<Body>> for Proxy {
        type Response = http::Response<Body>;
        type Error = std::convert::Infallible;
        type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            let mut reply = http::Response::new(Body::empty());
            *reply.status_mut() = self.0;
            std::future::ready(Ok(reply))
        }
    }

    #[tokio::test]
    async fn what_a_proxy_answers_for_a_server_that_is_away_is_tried_again_for_as_long_as_it_does() {
        for (http, wanted) in [
            (500, Verdict::Later),
            (502, Verdict::Later),
            (503, Verdict::Later),
            (504, Verdict::Later),
            (404, Verdict::Later),
            (429, Verdict::Later),
            (401, Verdict::Later),
            (403, Verdict::Later),
            (413, Verdict::Doubt),
            (400, Verdict::Doubt),
            (301, Verdict::Doubt),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            let proxy = Proxy(http::StatusCode::from_u16(http).expect("a status"));
            let server = tonic::transport::Server::builder().add_service(proxy);
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            let serving = tokio::spawn(server.serve_with_incoming(incoming));
            let options = crate::UpstreamOptions::new(format!("http://{address}"));
            let upstream = Upstream::new(options).expect("sound options");
            let answer = upstream.call(Method::WriteRaw.path(), Bytes::new(), CALL_MAX).await;
            let status = answer.expect_err("no gRPC server");
            assert_eq!(verdict(&status), wanted, "{http}: {status}");
            serving.abort();
        }
    }

    #[test]
    fn a_message_has_all_its_doubts_after_an_outage_of_any_length() {
        let mut tries = Tries::default();
        for _ in 0..1_000 {
            assert!(!tries.failed(&Status::unavailable("connection refused")));
        }
        for doubt in 1..=DOUBTS_MAX {
            assert_eq!(tries.failed(&Status::unknown("what is this")), doubt == DOUBTS_MAX, "doubt {doubt}");
            assert!(doubt == DOUBTS_MAX || !tries.failed(&Status::unavailable("away again")));
        }
    }

    #[test]
    fn a_message_that_is_always_too_much_gives_way_in_the_end_and_one_that_waits_for_room_does_not() {
        let (mut slow, mut waits) = (Tries::default(), Tries::default());
        for burden in 1..=BURDENS_MAX {
            let status = match burden % 2 {
                0 => Status::deadline_exceeded("no answer within 60s"),
                _ => Status::resource_exhausted("too much"),
            };
            assert_eq!(slow.failed(&status), burden == BURDENS_MAX, "burden {burden}");
            assert!(!waits.failed(&pushed_back("no space left", "5000")));
        }
    }

    /// One over `disk`, to a server that is not there.
    fn forwarder(disk: Arc<dyn Disk>, messages: u64) -> Forwarder {
        let random = Arc::new(store::SystemRandom);
        let options = crate::SpoolOptions { segment_bytes: 64, ..crate::SpoolOptions::new(1 << 20) };
        let (spool, _) = Spool::open(disk, random.clone(), options, "a test").expect("opened");
        for number in 0..messages {
            spool.append(1, OF_TOMORROW, vec![Bytes::from(format!("message {number} of tomorrow"))]).expect("room");
        }
        let upstream = Upstream::new(crate::UpstreamOptions::new("http://127.0.0.1:1")).expect("sound options");
        Forwarder::new(spool, upstream, Arc::new(store::SystemClock::new()), random, Metrics::default())
    }

    async fn run_until_empty(forwarder: &Forwarder) {
        let stop = CancellationToken::new();
        let running = tokio::spawn(forwarder.clone().run(stop.clone()));
        let end = std::time::Instant::now() + Duration::from_secs(30);
        while forwarder.inner.spool.status().entries > 0 {
            assert!(std::time::Instant::now() < end, "it waits for ever");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        running.await.expect("no panic");
    }

    /// The number of no method.
    const OF_TOMORROW: u32 = 77;

    #[tokio::test]
    async fn a_message_of_a_newer_version_is_kept_aside_and_those_behind_it_get_their_turn() {
        let directory = tempfile::tempdir().expect("a directory");
        let forwarder = forwarder(Arc::new(store::LocalDisk::open(directory.path()).expect("a disk")), 2);
        run_until_empty(&forwarder).await;
        for number in 0..2 {
            let copy = directory.path().join(format!("refused/{:016x}.unknown", number + 1));
            assert_eq!(std::fs::read_to_string(copy).expect("a copy"), format!("message {number} of tomorrow"));
        }
    }

    #[tokio::test]
    async fn a_part_of_the_buffer_that_cannot_be_read_for_ten_minutes_is_passed_over() {
        let disk = CrashDisk::new(1);
        let forwarder = forwarder(Arc::new(disk.clone()), 3);
        let segments = disk.list("segments").expect("a folder");
        disk.break_file(&format!("segments/{}", segments[0].name), Kind::Io);
        let (mut failed, mut waited) = (0, Duration::ZERO);
        let next = loop {
            match forwarder.inner.spool.next() {
                Ok(next) => break next.expect("a message"),
                Err(error) => waited += forwarder.cannot_read(&error, &mut failed).await,
            }
            assert!(waited < Duration::from_secs(3_600), "it waits for ever");
        };
        assert_eq!(next.payload, "message 1 of tomorrow");
        assert!(waited >= Duration::from_secs(9 * 60), "{waited:?}");
        assert!(forwarder.inner.spool.status().lost_bytes > 0);
    }

    #[tokio::test]
    async fn a_refused_message_of_which_no_copy_can_be_written_waits_for_ten_minutes_and_those_behind_it_no_longer() {
        let disk = CrashDisk::new(1);
        let forwarder = forwarder(Arc::new(disk.clone()), 4);
        let spool = &forwarder.inner.spool;
        let mut failed = 0;
        let mut waited = Vec::new();
        disk.refuse_writes("refused");
        for message in 0..4 {
            if message == 3 {
                disk.refuse_writes("nowhere");
            }
            let entry = spool.next().expect("read").expect("a message");
            let mut waits = Duration::ZERO;
            while let Some(wait) = forwarder.keep(&entry, UNKNOWN, &mut failed).await {
                assert_eq!(spool.status().entries, 4 - message, "it is still there");
                waits += wait;
                assert!(waits < Duration::from_secs(3_600), "it waits for ever");
            }
            waited.push(waits);
            spool.done(&entry).expect("done");
        }
        assert!(waited[0] >= Duration::from_secs(9 * 60), "{waited:?}");
        assert_eq!(waited[1..], [Duration::ZERO; 3]);
        assert_eq!((failed, forwarder.inner.metrics.not_kept_in_all()), (0, 3));
        let copy = disk.read("refused/0000000000000004.unknown").expect("a copy of the last");
        assert_eq!(copy, b"message 3 of tomorrow");
    }

    #[tokio::test]
    async fn a_refused_message_waits_in_the_buffer_for_its_copy_also_over_a_stop() {
        let disk = CrashDisk::new(1);
        let forwarder = forwarder(Arc::new(disk.clone()), 1);
        disk.refuse_writes("refused");
        let stop = CancellationToken::new();
        let running = tokio::spawn(forwarder.clone().run(stop.clone()));
        let ended = pause(Duration::from_millis(300), &stop).await;
        stop.cancel();
        running.await.expect("no panic");
        assert!(!ended && forwarder.inner.spool.status().entries == 1, "it is handed on after the next start");
        disk.refuse_writes("nowhere");
        run_until_empty(&forwarder).await;
        assert_eq!(disk.read("refused/0000000000000001.unknown").expect("a copy"), b"message 0 of tomorrow");
    }

    #[test]
    fn waits_are_jittered_within_their_bounds() {
        let second = Duration::from_secs(1);
        assert_eq!(jittered(second, 0), second / 2);
        assert!(jittered(second, u64::MAX) <= second && jittered(second, u64::MAX) > second * 99 / 100);
    }
}
