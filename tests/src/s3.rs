//! A real S3 server: versitygw, over a folder of its own.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::free_address;

pub const BUCKET: &str = "profiles";
pub const ACCESS_KEY: &str = "e2e-access";
pub const SECRET_KEY: &str = "e2e-secret-key";

const READY_SECONDS: u64 = 30;

/// A running server with one empty bucket; ended, and its folder removed, when dropped.
pub struct S3Server {
    child: Child,
    pub address: SocketAddr,
    folder: TempDir,
    /// PEM of the authority that vouches for the server; `None` without TLS.
    ca: Option<PathBuf>,
}

/// Where `scripts/need tools` puts it. Without it the tests fail: to skip them would be to pass them.
pub fn tool(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools").join(name);
    assert!(binary.exists(), "there is no {}: build it with `scripts/need tools`", binary.display());
    binary
}

impl S3Server {
    pub fn start() -> S3Server {
        S3Server::run(tempfile::tempdir().expect("a temporary directory"), None)
    }

    /// Speaks TLS with a certificate that only [`S3Server::ca`] vouches for: itself, marked as an authority's, which is what
    /// `openssl req -x509` makes.
    pub fn start_with_tls() -> S3Server {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(folder.path().join("tls.crt"), params.self_signed(&key).expect("a certificate").pem())
            .expect("written");
        fs::write(folder.path().join("tls.key"), key.serialize_pem()).expect("written");
        let ca = folder.path().join("tls.crt");
        S3Server::run(folder, Some(ca))
    }

    fn run(folder: TempDir, ca: Option<PathBuf>) -> S3Server {
        let address = free_address();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("root").join(BUCKET)).expect("a folder");
        // metadata beside the objects: not every file system of a temporary directory has extended attributes
        fs::create_dir_all(path("metadata")).expect("a folder");
        let log = fs::File::create(path("log")).expect("a log file");
        let mut command = Command::new(tool("versitygw"));
        command.args(["--port", &address.to_string()]);
        if ca.is_some() {
            command.arg("--cert").arg(path("tls.crt")).arg("--key").arg(path("tls.key"));
        }
        command.arg("posix").arg("--sidecar").arg(path("metadata")).arg(path("root"));
        let child = command
            .env("ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("ROOT_SECRET_KEY", SECRET_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("versitygw starts");
        let mut server = S3Server { child, address, folder, ca };
        server.wait_until_ready();
        server
    }

    fn wait_until_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(READY_SECONDS);
        while TcpStream::connect(self.address).is_err() {
            let exited = self.child.try_wait().expect("a child");
            assert!(exited.is_none(), "versitygw ended with {exited:?}:\n{}", self.log());
            assert!(Instant::now() < end, "versitygw is not ready after {READY_SECONDS} s:\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// For the option `ca_file`.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Where the objects of the bucket lie as files.
    pub fn objects(&self) -> PathBuf {
        self.folder.path().join("root").join(BUCKET)
    }

    /// Names of the objects whose names begin with `folder` and a slash, sorted; all of them if it is empty.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.objects(), &self.objects().join(folder), &mut names);
        names.sort();
        names
    }

    /// Uploads in parts that were begun and neither finished nor given up.
    pub fn unfinished(&self) -> usize {
        let folders = fs::read_dir(self.objects().join(".sgwtmp/multipart")).into_iter().flatten().flatten();
        folders.map(|folder| fs::read_dir(folder.path()).map_or(0, Iterator::count)).sum()
    }

    /// `object_storage` for a server that reaches this one at `address`, which may be a proxy's.
    pub fn object_storage(&self, address: SocketAddr, prefix: &str) -> String {
        let keys = format!("access_key: {ACCESS_KEY}\n      secret_key: {SECRET_KEY}");
        self.object_storage_with(address, prefix, &keys)
    }

    /// The same, with other lines than the keys.
    pub fn object_storage_with(&self, address: SocketAddr, prefix: &str, lines: &str) -> String {
        let tls = match &self.ca {
            Some(ca) => format!("http_config: {{tls_config: {{ca_file: {}}}}}", ca.display()),
            None => "insecure: true".to_owned(),
        };
        format!(
            "object_storage:\n  bucket:\n    type: S3\n    prefix: \"{prefix}\"\n    config:\n      bucket: {BUCKET}\n      \
             endpoint: {address}\n      {lines}\n      {tls}\n\
             scrape_configs: []\n"
        )
    }
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        // unfinished uploads and lock files of the gateway
        if entry.file_name().to_string_lossy().starts_with(".sgw") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(root, &entry.path(), names),
            Ok(_) => {
                let path = entry.path();
                names.push(path.strip_prefix(root).unwrap_or(&path).display().to_string());
            }
            // gone in the meantime
            Err(_) => {}
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Both fail if the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
