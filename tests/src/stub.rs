//! HTTP servers that no scraper should meet.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// Answers every request with the same bytes, or never; until it is dropped.
pub struct Stub {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Stub {
    /// `None` keeps every connection open and says nothing.
    pub fn new(answer: Option<&'static str>) -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut silent = Vec::new();
            for connection in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                match answer {
                    Some(answer) => reply(connection, answer),
                    None => silent.push(connection),
                }
            }
        });
        Stub { address, stop, thread: Some(thread) }
    }
}

fn reply(mut connection: TcpStream, answer: &str) {
    // A scraper that hangs up early is no failure of the stub.
    let _ = connection.set_read_timeout(Some(Duration::from_secs(5)));
    let _ = connection.read(&mut [0; 4096]);
    let _ = connection.write_all(answer.as_bytes());
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
