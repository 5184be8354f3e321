//! A way to an HTTP server on which things go wrong as the test says.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// The server never hears of it; the client gets this status, also where it says that all went well.
    Status(u16),
    /// Nothing of it happens for so long, then everything.
    Delay(Duration),
    /// The server does it; the client never hears of that.
    LostReply,
    /// The server gets half of the body, and then the connection ends.
    HalfRequest,
    /// The client gets half of the reply, and then the connection ends.
    HalfReply,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::None => "none",
            Fault::Status(_) => "status",
            Fault::Delay(_) => "delay",
            Fault::LostReply => "lost reply",
            Fault::HalfRequest => "half request",
            Fault::HalfReply => "half reply",
        }
    }
}

/// A request before anything is done with it.
#[derive(Debug)]
pub struct Asked<'a> {
    /// From 0 on, since the plan was made.
    pub number: u64,
    pub method: &'a str,
    /// With its query.
    pub path: &'a str,
}

type Plan = Box<dyn FnMut(&Asked<'_>) -> Fault + Send>;

struct Shared {
    upstream: SocketAddr,
    stop: AtomicBool,
    plan: Mutex<(u64, Plan)>,
    happened: Mutex<BTreeMap<&'static str, u64>>,
}

/// HTTP/1.1, one request for each connection; until it is dropped.
pub struct FaultyProxy {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

const HEAD_MAX: usize = 64 << 10;
const WAIT: Duration = Duration::from_secs(30);

impl FaultyProxy {
    /// To `upstream`; at first nothing goes wrong.
    pub fn new(upstream: SocketAddr) -> FaultyProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            upstream,
            stop: AtomicBool::new(false),
            plan: Mutex::new((0, Box::new(|_| Fault::None))),
            happened: Mutex::default(),
        });
        let accepting = shared.clone();
        let thread = thread::spawn(move || {
            for connection in listener.incoming() {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                let shared = accepting.clone();
                // a connection that breaks is what this is for
                thread::spawn(move || shared.serve(connection).unwrap_or(()));
            }
        });
        FaultyProxy { address, shared, thread: Some(thread) }
    }

    /// From now on `plan` says what becomes of each request.
    pub fn plan(&self, plan: impl FnMut(&Asked<'_>) -> Fault + Send + 'static) {
        *self.shared.plan.lock().expect("no panic") = (0, Box::new(plan));
    }

    pub fn heal(&self) {
        self.plan(|_| Fault::None);
    }

    /// How often each kind of fault was met so far, by its name.
    pub fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.shared.happened.lock().expect("no panic").clone()
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(WAIT))?;
        let Some((head, body)) = read_request(&mut client)? else { return Ok(()) };
        let fault = {
            let mut line = head.split(' ');
            let (method, path) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
            let mut plan = self.plan.lock().expect("no panic");
            let number = plan.0;
            plan.0 += 1;
            (plan.1)(&Asked { number, method, path })
        };
        *self.happened.lock().expect("no panic").entry(fault.name()).or_default() += 1;
        match fault {
            Fault::Status(status) => {
                let text = format!("<?xml version=\"1.0\"?><Error><Code>Fault{status}</Code></Error>");
                let length = text.len();
                write!(client, "HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nETag: \"fault\"\r\n")?;
                return write!(client, "Content-Length: {length}\r\nConnection: close\r\n\r\n{text}");
            }
            Fault::Delay(time) => thread::sleep(time),
            _ => {}
        }
        let mut server = TcpStream::connect(self.upstream)?;
        server.set_read_timeout(Some(WAIT))?;
        let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
        write!(server, "{line}\r\nConnection: close\r\n{headers}")?;
        if fault == Fault::HalfRequest {
            server.write_all(&body[..body.len() / 2])?;
            return server.shutdown(Shutdown::Both);
        }
        server.write_all(&body)?;
        let mut reply = Vec::new();
        server.read_to_end(&mut reply)?;
        match fault {
            Fault::LostReply => Ok(()),
            Fault::HalfReply => client.write_all(&reply[..reply.len() / 2]),
            _ => client.write_all(&reply),
        }
    }
}

/// Head, with the empty line at its end, and body; `None` when nothing comes.
fn read_request(client: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut read = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let head_end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let more = client.read(&mut buffer)?;
        if more == 0 || read.len() > HEAD_MAX {
            return Ok(None);
        }
        read.extend_from_slice(&buffer[..more]);
    };
    let mut body = read.split_off(head_end);
    let head = String::from_utf8_lossy(&read).into_owned();
    // a connection of the client's pool must not be used again
    let head: String =
        head.split_inclusive("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).collect();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let length = length.unwrap_or(0);
    let missing = length.saturating_sub(body.len());
    client.take(missing as u64).read_to_end(&mut body)?;
    Ok(Some((head, body)))
}
