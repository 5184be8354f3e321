//! TLS towards the other server: whom we trust.

use rustls::ClientConfig;
use trust::Authorities;

/// HTTP/2 is asked for: gRPC servers refuse connections that do not. `authorities` in PEM; `None`: the system's.
pub(super) fn config(any_certificate: bool, authorities: Option<&[u8]>) -> Result<ClientConfig, String> {
    let authorities = match (any_certificate, authorities) {
        (true, _) => None,
        (false, Some(pem)) => Some(Authorities::of_pem(pem).ok_or("there is no certificate in PEM")?),
        (false, None) => Some(Authorities::system()),
    };
    let builder = trust::client(authorities, rustls::DEFAULT_VERSIONS).map_err(|error| error.to_string())?;
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
