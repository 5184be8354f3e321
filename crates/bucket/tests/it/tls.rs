//! A bucket behind TLS: one that asks who calls, and one that has another name than its address.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bucket::options::Tuning;
use bucket::{Bucket, Metrics, Options, Provider};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::options;

/// A certificate that its own key signed, as an authority's or not.
fn self_signed(name: &str, is_ca: bool) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    if is_ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let key = rcgen::KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate"), key)
}

/// Answers `connections` of them, each once, that there is nothing; where there is a `client`, to nobody who does not show what that
/// vouches for. The names that were asked for come out.
fn serve(
    server: &(rcgen::Certificate, rcgen::KeyPair),
    client: Option<&rcgen::Certificate>,
    connections: usize,
) -> (SocketAddr, JoinHandle<Vec<Option<String>>>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = PrivateKeyDer::try_from(server.1.serialize_der()).expect("a key");
    let tls =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().expect("versions");
    let tls = match client {
        Some(client) => {
            let mut roots = RootCertStore::empty();
            roots.add(client.der().clone()).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            tls.with_client_cert_verifier(verifier.expect("a verifier"))
        }
        None => tls.with_no_client_auth(),
    };
    let tls = Arc::new(tls.with_single_cert(vec![server.0.der().clone()], key).expect("a configuration"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = move || {
        let mut names = Vec::new();
        for connection in listener.incoming().take(connections) {
            let session = ServerConnection::new(tls.clone()).expect("a session");
            let mut stream = StreamOwned::new(session, connection.expect("a connection"));
            let mut head = [0; 4096];
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                let reply = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(reply).expect("sent");
            }
            names.push(stream.conn.server_name().map(str::to_owned));
            stream.conn.send_close_notify();
            // it may be gone already
            let _ = stream.flush();
        }
        names
    };
    (address, thread::spawn(served))
}

/// A bucket at `address`, over TLS.
fn bucket(address: SocketAddr, tune: impl FnOnce(&mut Tuning)) -> Bucket {
    let Options { prefix, provider: Provider::S3(mut s3) } = options(address, "", 0) else { unreachable!() };
    s3.insecure = false;
    tune(&mut s3.tuning);
    let options = Options { prefix, provider: Provider::S3(s3) };
    Bucket::connect(&options, Metrics::unregistered("test")).expect("a bucket")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_who_calls_is_shown_the_certificate_and_may_be_its_own_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let (server, client) = (self_signed("127.0.0.1", true), self_signed("127.0.0.1", false));
    fs::write(path("ca.pem"), server.0.pem()).expect("written");
    fs::write(path("client.pem"), client.0.pem()).expect("written");
    fs::write(path("client.key"), client.1.serialize_pem()).expect("written");
    let (address, _) = serve(&server, Some(&client.0), 2);
    let with = |identity| {
        bucket(address, |tuning| {
            tuning.ca_file = Some(path("ca.pem"));
            tuning.identity = identity;
        })
    };
    let known = with(Some((path("client.pem"), path("client.key"))));
    assert_eq!(known.size("catalog/1").await.expect("an answer"), None);
    let refused = with(None).size("catalog/1").await.expect_err("it does not say who it is");
    assert!(refused.to_string().contains("CertificateRequired"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_asked_for_the_name_of_server_name_and_must_have_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = folder.path().join("ca.pem");
    let server = self_signed("store.internal", false);
    fs::write(&ca, server.0.pem()).expect("written");
    let (address, served) = serve(&server, None, 4);
    let named = |name: &str, any: bool| {
        bucket(address, |tuning| {
            tuning.ca_file = Some(ca.clone());
            tuning.server_name = name.to_owned();
            tuning.insecure_skip_verify = any;
        })
    };
    assert_eq!(named("store.internal", false).size("catalog/1").await.expect("an answer"), None);
    for name in ["others.internal", ""] {
        let refused = named(name, false).size("catalog/1").await.expect_err("it has another name").to_string();
        assert!(refused.contains("not valid for name"), "{name:?}: {refused}");
    }
    assert_eq!(named("others.internal", true).size("catalog/1").await.expect("an answer"), None);
    let some = |name: &str| Some(name.to_owned());
    let asked = served.join().expect("it ended well");
    assert_eq!(asked, [some("store.internal"), some("others.internal"), None, some("others.internal")]);
}
