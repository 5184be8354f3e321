//! TLS towards targets: whom we trust, and who we are.

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, SupportedProtocolVersion};
use trust::Authorities;

use crate::client::Texts;
use crate::config::tls::{TlsConfig, TlsVersion};

/// Trusts the system's authorities.
pub(crate) fn usual() -> Result<ClientConfig, Error> {
    Ok(trust::client(Some(Authorities::system()), rustls::DEFAULT_VERSIONS)?.with_no_client_auth())
}

/// What a `tls_config` asks for, with the texts that it stands for. The error names the key that is wrong, and never its value.
pub(crate) fn client_config(config: &TlsConfig, texts: &Texts) -> Result<ClientConfig, String> {
    let spoken = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    let versions: Vec<&'static SupportedProtocolVersion> =
        spoken.into_iter().filter(|(version, _)| config.takes(*version)).map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err("min_version and max_version leave neither TLS12 nor TLS13".to_owned());
    }
    let authorities = match &texts.ca {
        Some(pem) => Authorities::of_pem(pem).ok_or("there is no certificate in PEM in ca or ca_file")?,
        None => Authorities::system(),
    };
    let authorities = (!config.insecure_skip_verify).then_some(authorities);
    let builder = trust::client(authorities, &versions).map_err(|error| error.to_string())?;
    match &texts.client {
        Some((certificate, key)) => trust::identified(builder, certificate, key),
        None => Ok(builder.with_no_client_auth()),
    }
}
