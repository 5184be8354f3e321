//! A server for tests: on loopback, with or without TLS, ends when dropped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// The certificate to trust, in PEM; empty without TLS.
    pub(crate) ca: String,
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

/// Which certificate a server shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shows {
    Nothing,
    /// One that an authority signed.
    Signed,
    /// One that is its own authority, as small clusters have it.
    Authority,
}

type Answer = dyn Fn(&Asked) -> (u16, String) + Send;

impl TestServer {
    pub(crate) fn start(shows: Shows, answer: impl Fn(&Asked) -> (u16, String) + Send + 'static) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (ca, tls) = certificate(shows);
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (asked.clone(), stop.clone());
        let serving = thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                serve(stream, tls.clone(), &log, &answer);
            }
        });
        TestServer { address, ca, asked, stop, serving: Some(serving) }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(serving) = self.serving.take() {
            let ended = serving.join();
            assert!(ended.is_ok() || thread::panicking(), "the test's server failed");
        }
    }
}

fn certificate(shows: Shows) -> (String, Option<Arc<ServerConfig>>) {
    if shows == Shows::Nothing {
        return (String::new(), None);
    }
    let mut authority = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let (shown, key) = if shows == Shows::Authority {
        (authority_certificate.der().clone(), authority_key.serialize_der())
    } else {
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        (leaf.signed_by(&key, &issuer).unwrap().der().clone(), key.serialize_der())
    };
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![shown], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))
        .unwrap();
    (authority_certificate.pem(), Some(Arc::new(config)))
}

fn serve(stream: TcpStream, tls: Option<Arc<ServerConfig>>, log: &Mutex<Vec<Asked>>, answer: &Answer) {
    match tls {
        None => exchange(stream, log, answer),
        Some(config) => exchange(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), log, answer),
    }
}

/// Answers until the client goes away.
fn exchange(mut stream: impl Read + Write, log: &Mutex<Vec<Asked>>, answer: &Answer) {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let head = String::from_utf8(head).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap_or("0");
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        let mut words = head.split(' ').map(str::to_owned);
        let asked = Asked { method: words.next().unwrap(), path: words.next().unwrap(), head: head.clone(), body };
        let (code, text) = answer(&asked);
        log.lock().unwrap().push(asked);
        let answer = format!("HTTP/1.1 {code} Said\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}
