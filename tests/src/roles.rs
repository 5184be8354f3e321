//! Where a program on one of Amazon's machines asks for keys: the machine's metadata service, the agent of a pod's identity,
//! and STS, which takes a web identity. None of the three can be run anywhere else, so they are played here, by Amazon's
//! documentation; the keys that they give are those of [`crate::S3Server`], and it finds out whether they are used.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;

use crate::{ACCESS_KEY, SECRET_KEY};

const ROLE: &str = "profiles-role";
const METADATA_TOKEN: &str = "metadata-token";
const POD_TOKEN: &str = "pod-token";
const WEB_TOKEN: &str = "web.identity.token";

/// Over HTTP, but for STS: a web identity goes over TLS alone.
pub struct Roles {
    plain: SocketAddr,
    sts: SocketAddr,
    folder: TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Roles {
    /// STS has a certificate that only [`Roles::ca`] vouches for.
    pub fn start() -> Roles {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), certified.cert.pem()).expect("written");
        fs::write(folder.path().join("pod-token"), POD_TOKEN).expect("written");
        fs::write(folder.path().join("web-token"), WEB_TOKEN).expect("written");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|tls| tls.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key))
            .expect("a TLS configuration");
        let (plain, sts) = (listener(), listener());
        let mut roles = Roles {
            plain: plain.local_addr().expect("an address"),
            sts: sts.local_addr().expect("an address"),
            folder,
            asked: Arc::default(),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        roles.serve(plain, None);
        roles.serve(sts, Some(Arc::new(tls)));
        roles
    }

    fn serve(&mut self, listener: TcpListener, tls: Option<Arc<ServerConfig>>) {
        let (stop, asked) = (self.stop.clone(), self.asked.clone());
        self.threads.push(thread::spawn(move || {
            for connection in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(connection) = connection else { continue };
                // a client that hangs up is no failure of this
                let _ = connection.set_read_timeout(Some(Duration::from_secs(10)));
                let _ = match &tls {
                    None => answer(connection, &asked),
                    Some(tls) => ServerConnection::new(tls.clone())
                        .map_err(std::io::Error::other)
                        .and_then(|session| answer(StreamOwned::new(session, connection), &asked)),
                };
            }
        }));
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What Amazon's machines, and those who run programs on them, put into the environment for each way.
    pub fn of_the_machine(&self) -> Vec<(&'static str, String)> {
        vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", self.plain))]
    }

    pub fn of_a_pod(&self) -> Vec<(&'static str, String)> {
        let token = self.folder.path().join("pod-token");
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/v1/credentials", self.plain)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", text(&token)),
        ]
    }

    pub fn of_a_web_identity(&self) -> Vec<(&'static str, String)> {
        let token = self.folder.path().join("web-token");
        vec![
            ("AWS_WEB_IDENTITY_TOKEN_FILE", text(&token)),
            ("AWS_ROLE_ARN", format!("arn:aws:iam::123456789012:role/{ROLE}")),
        ]
    }

    /// For the option `sts_endpoint`.
    pub fn sts(&self) -> String {
        format!("https://{}", self.sts)
    }

    /// Requests that got keys.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a free port")
}

fn answer(mut connection: impl Read + Write, asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 << 10 {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |wanted: &str| {
        let line =
            head.lines().filter_map(|line| line.split_once(": ")).find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        line.map_or("", |(_, value)| value)
    };
    let (status, body) = keys(method, target, &header);
    if body.contains(SECRET_KEY) {
        asked.lock().expect("no panic").push(format!("{method} {target}"));
    }
    let length = body.len();
    write!(connection, "HTTP/1.1 {status} Answer\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    connection.flush()
}

/// They have ended already, so that they are asked for again all the time.
fn keys<'a>(method: &str, target: &str, header: &impl Fn(&str) -> &'a str) -> (u16, String) {
    const ENDS: &str = "2026-01-01T00:00:00Z";
    let json = format!(
        r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "{SECRET_KEY}",
            "Token": "", "LastUpdated": "{ENDS}", "Expiration": "{ENDS}"}}"#
    );
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path.trim_end_matches('/')) {
        ("PUT", "/latest/api/token") => (200, METADATA_TOKEN.to_owned()),
        ("GET", path) if path.starts_with("/latest/meta-data/iam/security-credentials") => {
            match (header("x-aws-ec2-metadata-token") == METADATA_TOKEN, path.rsplit('/').next()) {
                (true, Some("security-credentials")) => (200, ROLE.to_owned()),
                (true, Some(ROLE)) => (200, json),
                (true, _) => (404, String::new()),
                (false, _) => (401, String::new()),
            }
        }
        ("GET", "/v1/credentials") if header("authorization") == POD_TOKEN => (200, json),
        ("POST", "") => {
            let wanted = [
                "Action=AssumeRoleWithWebIdentity",
                &format!("WebIdentityToken={WEB_TOKEN}"),
                &format!("role%2F{ROLE}"),
            ];
            if !wanted.iter().all(|part| query.contains(part)) {
                return (
                    403,
                    "<ErrorResponse><Error><Code>InvalidIdentityToken</Code></Error></ErrorResponse>".to_owned(),
                );
            }
            let credentials = format!(
                "<Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId><SecretAccessKey>{SECRET_KEY}</SecretAccessKey>\
                 <SessionToken></SessionToken><Expiration>{ENDS}</Expiration></Credentials>"
            );
            let result = format!("<AssumeRoleWithWebIdentityResult>{credentials}</AssumeRoleWithWebIdentityResult>");
            (200, format!("<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>"))
        }
        _ => (403, String::new()),
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for address in [self.plain, self.sts] {
            // wakes its thread
            let _ = TcpStream::connect(address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
