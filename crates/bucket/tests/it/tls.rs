//! A bucket that asks who calls.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;

use bucket::{Bucket, Metrics, Options, Provider};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::options;

/// A certificate that its own key signed, as an authority's or not.
fn self_signed(is_ca: bool) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    if is_ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate"), key)
}

/// Answers `connections` of them, each once, that there is nothing; to nobody who does not show what `client` vouches for.
fn serve(server: &(rcgen::Certificate, rcgen::KeyPair), client: &rcgen::Certificate, connections: usize) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(client.der().clone()).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let key = PrivateKeyDer::try_from(server.1.serialize_der()).expect("a key");
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.expect("a verifier"))
        .with_single_cert(vec![server.0.der().clone()], key)
        .expect("a configuration");
    let tls = Arc::new(tls);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for connection in listener.incoming().take(connections) {
            let session = ServerConnection::new(tls.clone()).expect("a session");
            let mut stream = StreamOwned::new(session, connection.expect("a connection"));
            let mut head = [0; 4096];
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                let reply = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(reply).expect("sent");
            }
            stream.conn.send_close_notify();
            // it may be gone already
            let _ = stream.flush();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_who_calls_is_shown_the_certificate_and_may_be_its_own_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (server, client) = (self_signed(true), self_signed(false));
    fs::write(path("ca.pem"), server.0.pem()).expect("written");
    fs::write(path("client.pem"), client.0.pem()).expect("written");
    fs::write(path("client.key"), client.1.serialize_pem()).expect("written");
    let address = serve(&server, &client.0, 2);
    let with = |identity| {
        let Options { prefix, provider: Provider::S3(mut s3) } = options(address, "", 0) else { unreachable!() };
        s3.insecure = false;
        s3.tuning.ca_file = Some(path("ca.pem"));
        s3.tuning.identity = identity;
        let options = Options { prefix, provider: Provider::S3(s3) };
        Bucket::connect(&options, Metrics::unregistered("test")).expect("a bucket")
    };
    let known = with(Some((path("client.pem"), path("client.key"))));
    assert_eq!(known.size("catalog/1").await.expect("an answer"), None);
    let refused = with(None).size("catalog/1").await.expect_err("it does not say who it is");
    assert!(refused.to_string().contains("CertificateRequired"), "{refused}");
}
