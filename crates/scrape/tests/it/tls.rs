//! `tls_config` on connections over loopback: whom a job trusts, whom it asks for, who it is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use scrape::{Health, TargetStatus};

use super::scraping::{Behaviour, job, start};

/// Certificate and key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: rcgen::Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Pair {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        Pair { certificate: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// A certificate that its own key signed, marked as an authority's.
fn own_authority(name: &str) -> Pair {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    Pair { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

const ADVICE: &str = "name the authority that signed it in tls_config, as ca_file";

/// A target over TLS.
struct Server {
    address: std::net::SocketAddr,
    /// The names that clients have asked for.
    asked_for: Arc<Mutex<Vec<Option<String>>>>,
}

/// Serves with `pair`, to clients that show a certificate of `clients` if that is given.
async fn serve(pair: &Pair, clients: Option<&Authority>) -> Server {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config = builder.with_single_cert(chain, key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked_for: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let seen = asked_for.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // a client that ends the handshake is what some tests are about
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            seen.lock().unwrap().push(stream.get_ref().1.server_name().map(str::to_owned));
            let service = TowerToHyperService::new(Router::new().route("/profile", get(|| async { "a profile" })));
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Server { address, asked_for }
}

/// A text for a YAML file.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// The first scrape of `server` with this `tls_config`.
async fn scraped(server: &Server, tls_config: &str) -> TargetStatus {
    scraped_from(server, tls_config, std::path::Path::new("")).await
}

async fn scraped_from(server: &Server, tls_config: &str, directory: &std::path::Path) -> TargetStatus {
    let config = job(server.address, &format!("  scheme: https\n  tls_config: {{{tls_config}}}"));
    let running = start(config, Behaviour::Accept, |options| options.directory = directory.to_owned());
    let target = running.target_where(|target| target.health != Health::Unknown).await;
    running.stop().await;
    target
}

fn assert_up(target: &TargetStatus) {
    assert_eq!(target.health, Health::Up, "{target:?}");
}

fn assert_down(target: &TargetStatus, says: &str) {
    let error = target.last_error.as_deref().unwrap_or_default();
    assert!(target.health == Health::Down && error.contains(says), "{target:?} does not say {says:?}");
}

#[tokio::test]
async fn a_target_is_trusted_by_the_authority_that_its_job_names_and_by_no_other() {
    let authority = Authority::new();
    let server = serve(&authority.sign("127.0.0.1"), None).await;
    assert_up(&scraped(&server, &format!("ca: {}", quoted(&authority.pem))).await);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    assert_up(&scraped_from(&server, "ca_file: ca.pem", folder.path()).await);
    // beside one that is no certificate, as in Go
    let bundle = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", authority.pem);
    assert_up(&scraped(&server, &format!("ca: {}", quoted(&bundle))).await);

    let other = Authority::new();
    assert_down(&scraped(&server, &format!("ca: {}", quoted(&other.pem))).await, ADVICE);
    // the system's authorities
    assert_down(&scraped(&server, "").await, ADVICE);
}

#[tokio::test]
async fn the_name_of_server_name_is_asked_for_and_compared() {
    let authority = Authority::new();
    let server = serve(&authority.sign("profiles.internal"), None).await;
    let ca = format!("ca: {}", quoted(&authority.pem));
    assert_down(&scraped(&server, &ca).await, "certificate not valid for name");
    assert_up(&scraped(&server, &format!("{ca}, server_name: profiles.internal")).await);
    assert_eq!(server.asked_for.lock().unwrap().pop(), Some(Some("profiles.internal".to_owned())));
    assert_down(&scraped(&server, &format!("{ca}, server_name: others.internal")).await, "not valid for name");
}

#[tokio::test]
async fn insecure_skip_verify_takes_any_certificate() {
    let server = serve(&own_authority("elsewhere"), None).await;
    assert_down(&scraped(&server, "").await, "invalid peer certificate");
    assert_up(&scraped(&server, "insecure_skip_verify: true").await);
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_taken_where_the_job_names_it_and_the_name_is_right() {
    let pair = own_authority("127.0.0.1");
    let server = serve(&pair, None).await;
    let ca = format!("ca: {}", quoted(&pair.certificate));
    assert_up(&scraped(&server, &ca).await);
    assert_down(&scraped(&server, &format!("{ca}, server_name: others.internal")).await, "not valid for name");
    assert_down(&scraped(&server, "").await, "invalid peer certificate");
}

#[tokio::test]
async fn a_target_that_asks_who_we_are_gets_the_jobs_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = serve(&authority.sign("127.0.0.1"), Some(&clients)).await;
    let ca = format!("ca: {}", quoted(&authority.pem));
    let ours = clients.sign("decima");
    let (cert, key) = (quoted(&ours.certificate), quoted(&ours.key));
    assert_up(&scraped(&server, &format!("{ca}, cert: {cert}, key: {key}")).await);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("cert.pem"), &ours.certificate).unwrap();
    std::fs::write(folder.path().join("key.pem"), &ours.key).unwrap();
    assert_up(&scraped_from(&server, &format!("{ca}, cert_file: cert.pem, key_file: key.pem"), folder.path()).await);

    assert_down(&scraped(&server, &ca).await, "CertificateRequired");
    let stranger = Authority::new().sign("decima");
    let (cert, key) = (quoted(&stranger.certificate), quoted(&stranger.key));
    assert_down(&scraped(&server, &format!("{ca}, cert: {cert}, key: {key}")).await, "received fatal alert");
}

#[tokio::test]
async fn a_file_that_changes_counts_without_a_restart() {
    let authority = Authority::new();
    let server = serve(&authority.sign("127.0.0.1"), None).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let config = job(server.address, "  scheme: https\n  tls_config: {ca_file: ca.pem}");
    let running = start(config, Behaviour::Accept, |options| options.directory = folder.path().to_owned());
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_down(&target, &format!("cannot read ca_file {}", ca.display()));
    std::fs::write(&ca, &authority.pem).unwrap();
    running.target_where(|target| target.health == Health::Up).await;
    std::fs::write(&ca, Authority::new().pem).unwrap();
    let target = running.target_where(|target| target.health == Health::Down).await;
    assert_down(&target, ADVICE);
    running.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_named_and_a_key_never_shown() {
    let authority = Authority::new();
    let server = serve(&authority.sign("127.0.0.1"), None).await;
    let (ours, other) = (authority.sign("decima"), authority.sign("decima"));
    let pair = |cert: &str, key: &str| format!("cert: {}, key: {}", quoted(cert), quoted(key));
    let secret = other.key.lines().nth(1).unwrap();
    for (tls_config, says) in [
        ("ca: nonsense".to_owned(), "tls_config: there is no certificate in PEM in ca or ca_file"),
        ("ca_file: /nowhere/ca.pem".to_owned(), "tls_config: cannot read ca_file /nowhere/ca.pem: No such file"),
        (pair("nonsense", &ours.key), "tls_config: the certificate is no PEM"),
        (pair(&ours.certificate, secret), "tls_config: the key is no private key in PEM"),
        (pair(&ours.certificate, &other.key), "tls_config: the certificate cannot be used with the key"),
        ("server_name: a b".to_owned(), "server_name \"a b\" is neither a host name nor an address"),
        ("min_version: TLS13, max_version: TLS12".to_owned(), "leave neither TLS12 nor TLS13"),
        ("max_version: TLS11".to_owned(), "leave neither TLS12 nor TLS13"),
    ] {
        let target = scraped(&server, &tls_config).await;
        assert_down(&target, says);
        assert!(!target.last_error.unwrap().contains(secret), "a key is shown");
    }
    let config = job(server.address, &format!("  tls_config: {{{}}}", pair(&ours.certificate, &ours.key)));
    assert!(!format!("{config:?}").contains("BEGIN"), "a key is shown");
}

#[tokio::test]
async fn an_old_version_alone_is_not_spoken() {
    let authority = Authority::new();
    let server = serve(&authority.sign("127.0.0.1"), None).await;
    let ca = format!("ca: {}", quoted(&authority.pem));
    for versions in
        ["min_version: TLS10", "max_version: TLS12", "min_version: TLS13", "min_version: TLS12, max_version: TLS13"]
    {
        assert_up(&scraped(&server, &format!("{ca}, {versions}")).await);
    }
}

#[tokio::test]
async fn connections_are_kept_between_scrapes() {
    let authority = Authority::new();
    let server = serve(&authority.sign("127.0.0.1"), None).await;
    let more = format!("  scheme: https\n  tls_config: {{ca: {}}}", quoted(&authority.pem));
    let running = start(job(server.address, &more), Behaviour::Accept, |_| {});
    running.target_where(|target| target.health == Health::Up).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let sink = running.stop().await;
    let (scrapes, connections) = (sink.written().len(), server.asked_for.lock().unwrap().len());
    assert!(scrapes >= 3 && connections < scrapes, "{connections} connections for {scrapes} scrapes");
}
