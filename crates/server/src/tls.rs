//! TLS of a listener: a certificate and its key from two files, read again when they change.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// Between looks at the files. Certificates are renewed days before they end, so seconds are soon enough.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A larger file is no certificate chain: it would be read again and again.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where certificate and key lie, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate first, then those that lead from it to a root.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// A certificate that is in use, and the files it came from. Cheap to clone; all clones show the same certificate.
#[derive(Clone)]
pub struct Tls {
    files: TlsFiles,
    current: Arc<Current>,
    metrics: Metrics,
    acceptor: TlsAcceptor,
    seen: Stamp,
    look_interval: Duration,
}

impl Tls {
    /// Reads both files. An error names the file.
    pub fn load(files: TlsFiles, registry: &mut Registry) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // before they are read: what is written while they are is seen as a change
        let seen = stamp(&files);
        let key = read(&files, &provider)?;
        let current = Arc::new(Current(Mutex::new(Arc::new(key))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::new(&files.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let metrics = Metrics::register(registry);
        Ok(Self {
            files,
            current,
            metrics,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            seen,
            look_interval: LOOK_INTERVAL,
        })
    }

    pub(crate) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }

    /// Looks at the files every two seconds until `stop` ends. New connections get what lies there; connections that are
    /// open keep what they have. What cannot be used (a key that does not belong to the certificate, because one of the
    /// two was written a moment ago) is logged once and looked at again, and the certificate before stays in use.
    pub async fn watch(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut seen = self.seen;
        let mut told = String::new();
        loop {
            tokio::select! {
                () = &mut stop => return,
                () = tokio::time::sleep(self.look_interval) => {}
            }
            let stamp = stamp(&self.files);
            if stamp == seen && told.is_empty() {
                continue;
            }
            seen = stamp;
            match self.reload().await {
                Ok(true) => {
                    self.metrics.reloads.inc();
                    info!(certificate = %self.files.certificate.display(), "a new certificate is in use");
                    told.clear();
                }
                Ok(false) => told.clear(),
                Err(error) => {
                    let sentence = error.to_string();
                    if sentence != told {
                        self.metrics.failures.inc();
                        warn!(%error, "the certificate before stays in use");
                        told = sentence;
                    }
                }
            }
        }
    }

    /// Whether the files hold another certificate than the one in use, which is then in use.
    async fn reload(&self) -> Result<bool, TlsError> {
        let files = self.files.clone();
        let reading =
            tokio::task::spawn_blocking(move || read(&files, &Arc::new(rustls::crypto::ring::default_provider())));
        let key = match reading.await {
            Ok(key) => key?,
            Err(error) => return Err(TlsError::new(&self.files.certificate, error.to_string())),
        };
        Ok(self.current.replace(key))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(Mutex<Arc<CertifiedKey>>);

impl Current {
    fn get(&self) -> Arc<CertifiedKey> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether `key` shows other certificates than the one before it.
    fn replace(&self, key: CertifiedKey) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_other = current.cert != key.cert;
        *current = Arc::new(key);
        is_other
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.get())
    }
}

#[derive(Clone, Default)]
struct Metrics {
    reloads: Counter,
    failures: Counter,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "decima_tls_reloads",
            "Times that a new certificate was taken into use",
            metrics.reloads.clone(),
        );
        registry.register(
            "decima_tls_reload_failures",
            "Times that certificate or key could not be read anew",
            metrics.failures.clone(),
        );
        metrics
    }
}

/// Why certificate and key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    path: PathBuf,
    what: String,
}

impl TlsError {
    fn new(path: &std::path::Path, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), what: what.into() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use {} for TLS: {}", self.path.display(), self.what)
    }
}

impl std::error::Error for TlsError {}

/// What tells that a file was written: when, and how long it is. `None` for one that is not there.
type Stamp = [Option<(SystemTime, u64)>; 2];

fn stamp(files: &TlsFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(files: &TlsFiles, provider: &Arc<CryptoProvider>) -> Result<CertifiedKey, TlsError> {
    let text = |path: &PathBuf| bounded(path).map_err(|error| TlsError::new(path, error.to_string()));
    let certificate_error = |what: String| TlsError::new(&files.certificate, what);
    let key_error = |what: String| TlsError::new(&files.key, what);

    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text(&files.certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| certificate_error(format!("it is not PEM: {error}")))?;
    if chain.is_empty() {
        return Err(certificate_error("there is no CERTIFICATE in it".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?)
        .map_err(|error| key_error(format!("there is no private key in PEM in it: {error}")))?;
    let signer = provider.key_provider.load_private_key(key).map_err(|error| key_error(error.to_string()))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err(key_error(format!("it is not the key of the certificate in {}", files.certificate.display())))
        }
        // a key whose public half the provider does not tell
        Err(rustls::Error::InconsistentKeys(_)) => Ok(certified),
        Err(error) => Err(certificate_error(error.to_string())),
    }
}

fn bounded(path: &PathBuf) -> io::Result<Vec<u8>> {
    let bytes = std::fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has {bytes} bytes, more than the {FILE_BYTES_MAX} allowed")));
    }
    std::fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a new certificate for `localhost` and its key; returns the certificate.
    fn issue(files: &TlsFiles) -> CertificateDer<'static> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        std::fs::write(&files.certificate, cert.pem()).expect("written");
        std::fs::write(&files.key, signing_key.serialize_pem()).expect("written");
        cert.der().clone()
    }

    fn files(directory: &std::path::Path, name: &str) -> TlsFiles {
        TlsFiles { certificate: directory.join(format!("{name}.crt")), key: directory.join(format!("{name}.key")) }
    }

    fn load(files: &TlsFiles) -> Result<Tls, String> {
        Tls::load(files.clone(), &mut Registry::default()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_renewed_certificate_comes_into_use_and_a_broken_one_does_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let files = files(directory.path(), "server");
        let first = issue(&files);
        let tls = Tls { look_interval: Duration::from_millis(20), ..load(&files).expect("loaded") };
        assert_eq!(tls.current.get().cert, std::slice::from_ref(&first));
        let stop = tokio_util::sync::CancellationToken::new();
        let watching = tokio::spawn(tls.clone().watch(stop.clone().cancelled_owned()));

        std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\nnonsense").expect("written");
        until(|| tls.metrics.failures.get() == 1).await;
        assert_eq!(tls.current.get().cert, [first], "the one before stays");

        let second = issue(&files);
        until(|| tls.current.get().cert == [second.clone()]).await;
        until(|| tls.metrics.reloads.get() == 1).await;
        stop.cancel();
        watching.await.expect("it stops");
    }

    async fn until(holds: impl Fn() -> bool) {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not happen");
    }

    #[test]
    fn what_cannot_be_used_is_told_with_the_name_of_the_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let (good, other) = (files(directory.path(), "good"), files(directory.path(), "other"));
        issue(&good);
        issue(&other);
        let crossed = TlsFiles { certificate: good.certificate.clone(), key: other.key.clone() };
        let swapped = TlsFiles { certificate: good.key.clone(), key: good.certificate.clone() };
        let missing = TlsFiles { certificate: directory.path().join("none.crt"), ..good.clone() };
        let huge = TlsFiles { certificate: directory.path().join("huge.crt"), ..good.clone() };
        std::fs::write(&huge.certificate, vec![b'x'; FILE_BYTES_MAX as usize + 1]).expect("written");
        for (files, file, what) in [
            (crossed, "other.key", "is not the key of the certificate in"),
            (swapped, "good.key", "there is no CERTIFICATE in it"),
            (missing, "none.crt", "No such file"),
            (huge, "huge.crt", "more than the 1048576 allowed"),
        ] {
            let error = load(&files).expect_err("refused");
            assert!(error.contains(file) && error.contains(what), "{error}");
        }
    }
}
