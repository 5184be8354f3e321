//! Whole requests of the query API, over the wire into a real server on a small store.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use ingest::{Limits, Scratch};
use prometheus_client::registry::Registry;
use query::{Engine, EngineOptions};
use server::{ListenOptions, Listener, Replay, Server, ServerOptions};
use store::{Environment, MemoryObjects, Record, Store, StoreOptions, SystemClock, SystemRandom};

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
    let Answer { code, text } = ask(method, message);
    let is_of_request = code == INTERNAL && INTERNAL_WORDS.iter().any(|words| text.contains(words));
    assert!(CODES.contains(&code) || is_of_request, "{method}: code {code}, {text}");
    assert!(code == 0 || !text.is_empty(), "{method}: code {code} without a word");
    code == 0
}

struct Answer {
    code: u32,
    text: String,
}

thread_local! {
    static CONNECTION: RefCell<Option<BufReader<TcpStream>>> = const { RefCell::new(None) };
}

fn ask(method: &str, message: &[u8]) -> Answer {
    CONNECTION.with_borrow_mut(|connection| {
        let connection = connection.get_or_insert_with(|| {
            let stream = TcpStream::connect(server()).expect("the server listens");
            stream.set_nodelay(true).expect("a socket");
            stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a socket");
            BufReader::new(stream)
        });
        call(connection, method, message).expect("the server answers")
    })
}

/// A call by gRPC-Web over HTTP/1.1.
fn call(connection: &mut BufReader<TcpStream>, method: &str, message: &[u8]) -> io::Result<Answer> {
    let head = format!(
        "POST /parca.query.v1alpha1.QueryService/{method} HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc-web+proto\r\n\
         content-length: {}\r\n\r\n",
        message.len() + 5
    );
    let len = (message.len() as u32).to_be_bytes();
    connection.get_mut().write_all(&[head.as_bytes(), &[0], &len, message].concat())?;

    let mut trailers = Vec::new();
    let (mut is_chunked, mut bytes) = (false, 0);
    assert_eq!(line(connection)?, "HTTP/1.1 200 OK");
    loop {
        // the server writes names in small letters
        let header = line(connection)?;
        match header.split_once(": ") {
            Some(("transfer-encoding", _)) => is_chunked = true,
            Some(("content-length", len)) => bytes = len.parse().map_err(io::Error::other)?,
            Some(_) => trailers.push(header),
            None => break,
        }
    }
    let mut body = Vec::new();
    while is_chunked {
        let len = usize::from_str_radix(&line(connection)?, 16).map_err(io::Error::other)?;
        connection.by_ref().take(len as u64).read_to_end(&mut body)?;
        line(connection)?;
        is_chunked = len > 0;
    }
    connection.by_ref().take(bytes).read_to_end(&mut body)?;
    // a message if there is one, and the trailers, each behind a flag and a length
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
    Ok(Answer { code, text: trailer("grpc-message").unwrap_or_default() })
}

fn line(connection: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// One server for all requests of the process: what is asked changes nothing.
fn server() -> SocketAddr {
    static SERVER: OnceLock<SocketAddr> = OnceLock::new();
    *SERVER.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listening = ListenOptions { address: "127.0.0.1:0".to_owned(), ..ListenOptions::default() };
                let listener = Listener::bind(listening).await.expect("a port");
                send.send(listener.address().expect("an address")).expect("somebody waits");
                assembled().serve(vec![listener], std::future::pending()).await;
            });
        });
        receive.recv().expect("the server starts")
    })
}

fn assembled() -> Server {
    let options = ServerOptions::default();
    let environment = Environment {
        disk: Arc::new(MemoryDisk::default()),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        objects: Some(Arc::new(MemoryObjects::new())),
    };
    let clock = environment.clock.clone();
    let replay = Arc::new(Replay::new(options.ingest));
    let store = Arc::new(Store::open(StoreOptions::default(), environment, replay).expect("a store").0);
    for (at, (name, job, file)) in PROFILES.into_iter().enumerate() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../testdata/conformance/inputs/{file}.pb.gz"));
        let payload = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let labels = [("__name__", name), ("job", job), ("instance", "a"), ("test", name)];
        let labels: Vec<(String, String)> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let limits = Limits::default();
        let batch = ingest::pprof(labels.clone(), &payload, 0, &limits, &mut Scratch::default()).expect("a profile");
        if at + 1 < PROFILES.len() {
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
