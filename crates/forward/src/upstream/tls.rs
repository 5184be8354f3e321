//! TLS towards the other server: whom we trust.

use std::path::PathBuf;

use rustls::ClientConfig;
use trust::Authorities;

/// Where systems keep their authorities, in Go's order (crypto/x509, root_linux.go).
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// HTTP/2 is asked for: gRPC servers refuse connections that do not. `authorities` in PEM; `None`: the system's.
pub(super) fn config(any_certificate: bool, authorities: Option<&[u8]>) -> Result<ClientConfig, String> {
    let authorities = match (any_certificate, authorities) {
        (true, _) => None,
        (false, Some(pem)) => Some(Authorities::of_pem(pem).ok_or("there is no certificate in PEM")?),
        (false, None) => Some(system()),
    };
    let builder = trust::client(authorities, rustls::DEFAULT_VERSIONS).map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Those of the first file that has any, or those that are built in.
fn system() -> Authorities {
    // the variable is Go's, and OpenSSL's
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut files = named.into_iter().chain(BUNDLES.map(PathBuf::from));
    files.find_map(|file| Authorities::of_pem(&std::fs::read(file).ok()?)).unwrap_or_else(Authorities::built_in)
}
