//! Whole requests, over the wire into real servers on small stores: of the query API, and of all by which profiles and debuginfo come in.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, LocalKey};
use std::time::Duration;

use bucket::{Bucket, Options, Provider};
use bytes::Bytes;
use ingest::{Limits, Scratch};
use prometheus_client::registry::Registry;
use query::{Engine, EngineOptions};
use server::{ListenOptions, Listener, Replay, Server, ServerOptions};
use store::{Environment, MemoryObjects, Record, Store, StoreOptions, SystemClock, SystemRandom};
use symbolize::{UploadOptions, Uploads};

use crate::memory::MemoryDisk;

const METHODS: [&str; 8] =
    ["HasProfileData", "Labels", "ProfileTypes", "Query", "QueryRange", "Series", "ShareProfile", "Values"];

/// Name, job and file of what the recorded requests ask for. The last one is in the head, the others in blocks.
const PROFILES: [(&str, &str, &str); 12] = [
    ("process_cpu", "web", "cpu_web_a_00"),
    ("process_cpu", "web", "cpu_web_a_01"),
    ("process_cpu", "api", "cpu_web_a_00"),
    ("memory", "web", "heap_web_00"),
    ("inlined", "synth", "synth_inlined"),
    ("recursion", "synth", "synth_recursion"),
    ("labels", "synth", "synth_labels"),
    ("mappings", "synth", "synth_mappings"),
    ("conflict", "synth", "synth_conflict"),
    ("diff", "synth", "synth_diff_0"),
    ("dur", "synth", "synth_dur_0"),
    ("process_cpu", "web", "cpu_web_a_02"),
];

/// gRPC's codes that say that a request cannot be answered, and whose fault that is: its own, or what is not there.
/// OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, UNIMPLEMENTED.
const CODES: [u32; 7] = [0, 3, 4, 5, 8, 9, 12];
const INTERNAL: u32 = 13;

/// What gRPC and Parca call internal though it is the request's fault.
const INTERNAL_WORDS: [&str; 3] =
    ["decode Protobuf message", "multiple samples for the same timestamp", "a flame chart shows one profile"];

/// A method's name, a line's end and a message: the answer is whole and no mistake of the server, which goes on.
pub fn query_request(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let named = METHODS.iter().find(|method| method.as_bytes() == &bytes[..end]);
    // of another, or of none: any bytes are some request
    let method = named.unwrap_or(&METHODS[bytes.first().map_or(0, |&byte| usize::from(byte) % METHODS.len())]);
    let message = bytes.get(end + 1..).unwrap_or_default();
    let Answer { code, text } = QUERIES.grpc(&format!("/parca.query.v1alpha1.QueryService/{method}"), &frame(message));
    let is_of_request = code == INTERNAL && INTERNAL_WORDS.iter().any(|words| text.contains(words));
    assert!(CODES.contains(&code) || is_of_request, "{method}: code {code}, {text}");
    assert!(code == 0 || !text.is_empty(), "{method}: code {code} without a word");
    code == 0
}

/// How a request of bytes is sent: a name, the path, and what the body is.
const WAYS: [(&str, &str, Body); 16] = [
    ("WriteRaw", "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw", Body::Message),
    ("WriteArrow", "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow", Body::Message),
    ("Write", "/parca.profilestore.v1alpha1.ProfileStoreService/Write", Body::Frames),
    ("Export", "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", Body::Message),
    ("ShouldInitiateUpload", "/parca.debuginfo.v1alpha1.DebuginfoService/ShouldInitiateUpload", Body::Message),
    ("InitiateUpload", "/parca.debuginfo.v1alpha1.DebuginfoService/InitiateUpload", Body::Message),
    ("Upload", "/parca.debuginfo.v1alpha1.DebuginfoService/Upload", Body::Frames),
    ("MarkUploadFinished", "/parca.debuginfo.v1alpha1.DebuginfoService/MarkUploadFinished", Body::Message),
    ("ReportPanic", "/parca.telemetry.v1alpha1.TelemetryService/ReportPanic", Body::Message),
    ("otlp", OTLP, Body::Plain("application/x-protobuf", None)),
    ("otlp-gzip", OTLP, Body::Plain("application/x-protobuf", Some("gzip"))),
    ("otlp-zstd", OTLP, Body::Plain("application/x-protobuf", Some("zstd"))),
    ("otlp-json", OTLP, Body::Plain("application/json", None)),
    ("rest-writeraw", "/api/profiles/writeraw", Body::Plain("application/json", None)),
    ("rest-query", "/api/profiles/query", Body::Parameters),
    ("rest-query_range", "/api/profiles/query_range", Body::Parameters),
];
const OTLP: &str = "/v1development/profiles";

#[derive(Clone, Copy)]
enum Body {
    /// One message of gRPC-Web, whose length is put before it.
    Message,
    /// Messages with their lengths.
    Frames,
    /// Of a POST, with its type and its encoding.
    Plain(&'static str, Option<&'static str>),
    /// Behind the question mark of a GET.
    Parameters,
}

/// A way's name, a line's end and a body: the answer is whole and says of a refusal why, no handler panics, and the server goes on.
pub fn ingest_request(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let named = WAYS.iter().find(|(name, ..)| name.as_bytes() == &bytes[..end]);
    let (name, path, body) = named.unwrap_or(&WAYS[bytes.first().map_or(0, |&byte| usize::from(byte) % WAYS.len())]);
    let rest = bytes.get(end + 1..).unwrap_or_default();
    let (status, told) = match body {
        Body::Message | Body::Frames => {
            let framed = if matches!(body, Body::Message) { frame(rest) } else { rest.to_vec() };
            let Answer { code, text } = WRITES.grpc(path, &framed);
            (code, text)
        }
        Body::Plain(content_type, encoding) => {
            let encoding = encoding.map(|encoding| format!("content-encoding: {encoding}\r\n")).unwrap_or_default();
            let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\n{encoding}");
            let Http { status, body, .. } = WRITES.http(&head, rest);
            (if status == 200 { 0 } else { status }, String::from_utf8_lossy(&body).into_owned())
        }
        Body::Parameters => {
            let escaped: String = rest
                .iter()
                .map(|&byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'&' | b'=' | b'.' | b'%' | b'+' => {
                        char::from(byte).to_string()
                    }
                    _ => format!("%{byte:02X}"),
                })
                .take(8_000)
                .collect();
            let Http { status, body, .. } = WRITES.http(&format!("GET {path}?{escaped} HTTP/1.1\r\nhost: x\r\n"), b"");
            (if status == 200 { 0 } else { status }, String::from_utf8_lossy(&body).into_owned())
        }
    };
    assert!(status == 0 || !told.is_empty(), "{name}: {status} without a word");
    assert!(!told.contains("panicked"), "{name}: {told}");
    status == 0
}

struct Answer {
    code: u32,
    text: String,
}

/// What HTTP says.
struct Http {
    status: u32,
    headers: Vec<String>,
    body: Vec<u8>,
}

/// A server that is started when it is asked for the first time, one for all threads.
struct Running {
    address: OnceLock<SocketAddr>,
    assemble: fn() -> Server,
    connection: &'static LocalKey<RefCell<Option<BufReader<TcpStream>>>>,
}

thread_local! {
    static TO_QUERIES: RefCell<Option<BufReader<TcpStream>>> = const { RefCell::new(None) };
    static TO_WRITES: RefCell<Option<BufReader<TcpStream>>> = const { RefCell::new(None) };
}

static QUERIES: Running =
    Running { address: OnceLock::new(), assemble: || assembled(&PROFILES), connection: &TO_QUERIES };
static WRITES: Running = Running { address: OnceLock::new(), assemble: || assembled(&[]), connection: &TO_WRITES };

impl Running {
    /// A call by gRPC-Web over HTTP/1.1, of messages with their lengths.
    fn grpc(&'static self, path: &str, frames: &[u8]) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+proto\r\n");
        let Http { status, headers: mut trailers, body } = self.http(&head, frames);
        assert_eq!(status, 200);
        // messages if there are any, and the trailers, each behind a flag and a length
        let mut rest = body.as_slice();
        while let Some((head, behind)) = rest.split_first_chunk::<5>() {
            let (frame, behind) = behind.split_at(u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize);
            rest = behind;
            if head[0] & 0x80 != 0 {
                trailers.extend(String::from_utf8_lossy(frame).lines().map(str::to_owned));
            }
        }
        assert!(rest.is_empty(), "{} bytes behind the answer", rest.len());
        let trailer = |name: &str| {
            let found = trailers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(|value| value.trim().to_owned())
        };
        let code = trailer("grpc-status").and_then(|code| code.parse().ok()).expect("a status");
        Answer { code, text: trailer("grpc-message").unwrap_or_default() }
    }

    /// One request of HTTP/1.1, over the thread's connection where that is still open.
    fn http(&'static self, head: &str, body: &[u8]) -> Http {
        self.connection.with_borrow_mut(|kept| {
            let mut connection = kept.take().unwrap_or_else(|| {
                let stream = TcpStream::connect(self.address()).expect("the server listens");
                stream.set_nodelay(true).expect("a socket");
                stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a socket");
                BufReader::new(stream)
            });
            let (answer, stays) = exchange(&mut connection, head, body).expect("the server answers");
            *kept = stays.then_some(connection);
            answer
        })
    }

    fn address(&'static self) -> SocketAddr {
        *self.address.get_or_init(|| {
            let (send, receive) = std::sync::mpsc::sync_channel(1);
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let listening = ListenOptions { address: "127.0.0.1:0".to_owned(), ..ListenOptions::default() };
                    let listener = Listener::bind(listening).await.expect("a port");
                    send.send(listener.address().expect("an address")).expect("somebody waits");
                    (self.assemble)().serve(vec![listener], std::future::pending()).await;
                });
            });
            receive.recv().expect("the server starts")
        })
    }
}

fn frame(message: &[u8]) -> Vec<u8> {
    [&[0], &(message.len() as u32).to_be_bytes()[..], message].concat()
}

/// The answer, and whether the connection stays.
fn exchange(connection: &mut BufReader<TcpStream>, head: &str, body: &[u8]) -> io::Result<(Http, bool)> {
    let head = format!("{head}content-length: {}\r\n\r\n", body.len());
    connection.get_mut().write_all(&[head.as_bytes(), body].concat())?;
    let status = line(connection)?;
    let status = status.strip_prefix("HTTP/1.1 ").and_then(|status| status.get(..3)?.parse().ok());
    let mut answer = Http { status: status.expect("a status"), headers: Vec::new(), body: Vec::new() };
    let (mut is_chunked, mut bytes, mut stays) = (false, 0, true);
    loop {
        // the server writes names in small letters
        let header = line(connection)?;
        match header.split_once(": ") {
            Some(("transfer-encoding", _)) => is_chunked = true,
            Some(("content-length", len)) => bytes = len.parse().map_err(io::Error::other)?,
            Some(("connection", "close")) => stays = false,
            Some(_) => answer.headers.push(header),
            None => break,
        }
    }
    while is_chunked {
        let len = usize::from_str_radix(&line(connection)?, 16).map_err(io::Error::other)?;
        connection.by_ref().take(len as u64).read_to_end(&mut answer.body)?;
        line(connection)?;
        is_chunked = len > 0;
    }
    connection.by_ref().take(bytes).read_to_end(&mut answer.body)?;
    Ok((answer, stays))
}

fn line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// What is asked of it changes nothing; what is written to it takes no more than a little memory.
fn assembled(profiles: &[(&str, &str, &str)]) -> Server {
    let options = ServerOptions { uploads: Some(Arc::new(uploads())), ..ServerOptions::default() };
    let environment = Environment {
        disk: Arc::new(MemoryDisk::default()),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        objects: Some(Arc::new(MemoryObjects::new())),
    };
    let clock = environment.clock.clone();
    let replay = Arc::new(Replay::new(options.ingest));
    let small =
        StoreOptions { wal_bytes_max: 32 << 20, segment_bytes: 1 << 20, disk_free_min: 0, ..StoreOptions::default() };
    let store = Arc::new(Store::open(small, environment, replay).expect("a store").0);
    for (at, &(name, job, file)) in profiles.iter().enumerate() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/conformance/inputs/{file}.pb.gz"));
        let payload = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let labels = [("__name__", name), ("job", job), ("instance", "a"), ("test", name)];
        let labels: Vec<(String, String)> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let limits = Limits::default();
        let batch = ingest::pprof(labels.clone(), &payload, 0, &limits, &mut Scratch::default()).expect("a profile");
        if at + 1 < profiles.len() {
            let mut import = store.import();
            import.append(&batch).expect("appended");
            import.advance(&at.to_string(), 1).expect("advanced");
            import.commit().expect("in a block");
        } else {
            let record = Record {
                kind: 1,
                version: 0,
                tenant: String::new(),
                receive_time: 0,
                sender: String::new(),
                labels,
                payload: Bytes::from(payload),
            };
            store.write(vec![(record, batch)]).expect("in the head");
        }
    }
    let engine = Arc::new(Engine::new(store.clone(), EngineOptions::default()));
    let writer = server::writer(store.clone(), clock, &options);
    let mut registry = Registry::default();
    let scraper = scrape::Scraper::new(scrape::Options::new(Vec::new(), "test"), writer.clone(), &mut registry);
    let scraper = scraper.expect("a scraper");
    Server::new(options, store, engine, writer, scraper.handle(), registry).expect("a server")
}

/// Into a folder of the build's, which the next run uses again.
fn uploads() -> Uploads {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz-uploads");
    let provider = Provider::Filesystem { directory: directory.display().to_string() };
    let bucket = Bucket::connect(&Options { prefix: String::new(), provider }, bucket::Metrics::unregistered("fuzz"));
    let options = UploadOptions { bytes_max: 1 << 16, ..UploadOptions::default() };
    let memory = store::Budget::new(64 << 20).account("uploads", 64 << 20);
    let clock = Arc::new(SystemClock::new());
    Uploads::new(bucket.expect("a folder"), options, clock, memory, Default::default()).expect("uploads")
}
