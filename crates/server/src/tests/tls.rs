//! Several listeners, one of them with TLS.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{ListenOptions, Listener, Tls, TlsFiles};

/// The TLS of `localhost` from files in `directory`, and the certificate in them.
pub(super) fn self_signed(directory: &std::path::Path) -> (Tls, rcgen::Certificate) {
    signed_by_itself(directory, rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name"))
}

/// The same of `name`, with a certificate that is marked as an authority's.
pub(super) fn own_authority(directory: &std::path::Path, name: &str) -> (Tls, rcgen::Certificate) {
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    signed_by_itself(directory, params)
}

fn signed_by_itself(directory: &std::path::Path, params: rcgen::CertificateParams) -> (Tls, rcgen::Certificate) {
    let files = TlsFiles { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
    let key = rcgen::KeyPair::generate().expect("a key");
    let cert = params.self_signed(&key).expect("a certificate");
    std::fs::write(&files.certificate, cert.pem()).expect("written");
    std::fs::write(&files.key, key.serialize_pem()).expect("written");
    (Tls::load(files, &mut Registry::default()).expect("loaded"), cert)
}

async fn listener(tls: Option<Tls>) -> Listener {
    let options = ListenOptions { address: "127.0.0.1:0".into(), tls, ..ListenOptions::default() };
    Listener::bind(options).await.expect("a free port")
}

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

async fn ask(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin) -> std::io::Result<String> {
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("in time")?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn one_server_answers_on_a_plain_listener_and_on_one_with_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let (tls, cert) = self_signed(directory.path());

    let rig = Rig::new();
    let (plain, secure) = (listener(None).await, listener(Some(tls)).await);
    let (plain_address, secure_address) = (plain.address().expect("bound"), secure.address().expect("bound"));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(rig.server.serve(vec![plain, secure], stop.clone().cancelled_owned()));

    let answer = ask(TcpStream::connect(plain_address).await.expect("connected")).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let mut client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    for protocol in ["http/1.1", "h2"] {
        client.alpn_protocols = vec![protocol.into()];
        let connector = TlsConnector::from(Arc::new(client.clone()));
        let stream = TcpStream::connect(secure_address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, stream).await.expect("the certificate is the one that was loaded");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()), "both protocols are offered");
        if protocol == "http/1.1" {
            let answer = ask(stream).await.expect("answered");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
    }

    let without_tls = ask(TcpStream::connect(secure_address).await.expect("connected")).await.unwrap_or_default();
    assert!(!without_tls.contains("HTTP/1.1"), "who does not speak TLS gets no answer: {without_tls}");

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it stops").expect("without a panic");
    for address in [plain_address, secure_address] {
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }
}
