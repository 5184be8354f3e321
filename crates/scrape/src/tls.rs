//! TLS towards targets: whom we trust, and who we are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::client::Texts;
use crate::config::tls::{TlsConfig, TlsVersion};

/// Trusts the authorities that are built in.
pub(crate) fn built_in() -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(authorities())
        .with_no_client_auth();
    Ok(config)
}

fn authorities() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// What a `tls_config` asks for, with the texts that it stands for. The error names the key that is wrong, and never its value.
pub(crate) fn client_config(config: &TlsConfig, texts: &Texts) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let spoken = [(TlsVersion::Tls13, &TLS13), (TlsVersion::Tls12, &TLS12)];
    let versions: Vec<&'static SupportedProtocolVersion> =
        spoken.into_iter().filter(|(version, _)| config.takes(*version)).map(|(_, version)| version).collect();
    if versions.is_empty() {
        return Err("min_version and max_version leave neither TLS12 nor TLS13".to_owned());
    }
    let verifier = Trust::new(config, texts.ca.as_deref(), provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let Some((certificate, key)) = &texts.client else { return Ok(builder.with_no_client_auth()) };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|_| "the certificate is no PEM")?;
    if chain.is_empty() {
        return Err("the certificate is no PEM: there is no BEGIN CERTIFICATE in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is no private key in PEM")?;
    let unusable = |error: Error| format!("the certificate cannot be used with the key: {error}");
    builder.with_client_auth_cert(chain, key).map_err(unusable)
}

/// `server_name`, as TLS sends and compares it.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("tls_config: server_name {name:?} is neither a host name nor an address"))
}

/// Whom we trust: authorities, or everybody.
#[derive(Debug)]
struct Trust {
    /// `None`: any certificate is taken.
    by: Option<Arc<WebPkiServerVerifier>>,
    /// Those of `ca`, which may also be shown by the target itself: who signs a certificate with its own key often marks it as an
    /// authority's. Go takes that, webpki does not.
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn new(config: &TlsConfig, ca: Option<&[u8]>, provider: Arc<CryptoProvider>) -> Result<Trust, String> {
        let mut given = Vec::new();
        let roots = match ca {
            None => authorities(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                // a bundle may hold one that makes no sense: the others still count, as in Go
                for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
                    if roots.add(certificate.clone()).is_ok() {
                        given.push(certificate);
                    }
                }
                if roots.is_empty() {
                    return Err("there is no certificate in PEM in ca or ca_file".to_owned());
                }
                roots
            }
        };
        let by = match config.insecure_skip_verify {
            true => None,
            false => {
                let by = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
                Some(by.map_err(|error| error.to_string())?)
            }
        };
        Ok(Trust { by, given, provider })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(by) = &self.by else { return Ok(ServerCertVerified::assertion()) };
        match by.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // webpki has looked at its time before
            Err(error) if is_authority(&error) && self.given.iter().any(|given| given == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether all that webpki has against a certificate is that it is an authority's.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
