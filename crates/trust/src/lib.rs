//! Whom our clients trust over TLS: [`Authorities`], or everybody.
//!
//! It follows Go in two things, so that what worked with Parca goes on working: of a bundle the certificates that make sense count beside
//! others that make none, and a server may show a certificate that is an authority's, if it is itself one of those that were given. That is
//! what `openssl req -x509` makes, and what webpki alone refuses.
//!
//! It opens no socket, and no file but those of [`Authorities::system`].

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

/// Where systems keep their authorities, in Go's order (crypto/x509, root_linux.go).
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Who may vouch for a server.
#[derive(Clone, Debug)]
pub struct Authorities {
    roots: RootCertStore,
    /// Those that a server may also show as its own.
    given: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Mozilla's list.
    pub fn built_in() -> Self {
        Self { roots: RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, given: Vec::new() }
    }

    /// Those of the first file that has any, or Mozilla's list; read once, as Go does.
    pub fn system() -> Self {
        static SYSTEM: LazyLock<Authorities> = LazyLock::new(|| {
            // the variable is Go's, and OpenSSL's
            let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
            let mut files = named.into_iter().chain(BUNDLES.map(PathBuf::from));
            files.find_map(|file| Authorities::of_pem(&fs::read(file).ok()?)).unwrap_or_else(Authorities::built_in)
        });
        SYSTEM.clone()
    }

    /// Both may vouch.
    pub fn and(mut self, others: Self) -> Self {
        self.roots.roots.extend(others.roots.roots);
        self.given.extend(others.given);
        self
    }

    /// The certificates of `pem`; `None` where there is none that makes sense.
    pub fn of_pem(pem: &[u8]) -> Option<Self> {
        let mut authorities = Self { roots: RootCertStore::empty(), given: Vec::new() };
        for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
            if authorities.roots.add(certificate.clone()).is_ok() {
                authorities.given.push(certificate);
            }
        }
        (!authorities.roots.is_empty()).then_some(authorities)
    }
}

/// A client's configuration that trusts `authorities`, or any certificate where there are none given; what is left to say is whether
/// it has a certificate of its own.
pub fn client(
    authorities: Option<Authorities>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let trust = Trust::new(authorities)?;
    let builder = ClientConfig::builder_with_provider(trust.provider.clone()).with_protocol_versions(versions)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(Arc::new(trust)))
}

/// A client that shows `certificate`, a chain in PEM, where a server asks, and has its `key`, in PEM too. The error says which of the two
/// is wrong, and never its content.
pub fn identified(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &[u8],
    key: &[u8],
) -> Result<ClientConfig, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|_| "the certificate is no PEM")?;
    if chain.is_empty() {
        return Err("the certificate is no PEM: there is no BEGIN CERTIFICATE in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "the key is no private key in PEM")?;
    let unusable = |error: Error| format!("the certificate cannot be used with the key: {error}");
    builder.with_client_auth_cert(chain, key).map_err(unusable)
}

/// What TLS asks for and compares in the place of a URL's host: a host's name or an address, which may stand in brackets; `None` for
/// anything else.
pub fn server_name(name: &str) -> Option<ServerName<'static>> {
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ServerName::try_from(bare.to_owned()).ok()
}

/// Signatures are checked in any case: who speaks has the key of what was shown.
#[derive(Debug)]
struct Trust {
    /// `None`: any certificate is taken.
    by: Option<Arc<WebPkiServerVerifier>>,
    given: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    fn new(authorities: Option<Authorities>) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let Some(Authorities { roots, given }) = authorities else {
            return Ok(Self { by: None, given: Vec::new(), provider });
        };
        let by = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        let by = by.map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { by: Some(by), given, provider })
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
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A certificate for `localhost` that its own key signed, and that is an authority's or not. It holds until 4096.
    fn self_signed(is_ca: rcgen::IsCa) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.is_ca = is_ca;
        params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate")
    }

    fn an_authoritys() -> rcgen::Certificate {
        self_signed(rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained))
    }

    /// What is said of a server that shows `certificate`, called `name`, at `now` in seconds.
    fn verified(trust: &Trust, certificate: &rcgen::Certificate, name: &'static str, now: u64) -> Result<(), String> {
        let name = ServerName::try_from(name).expect("a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let verified = trust.verify_server_cert(certificate.der(), &[], &name, &[], now);
        verified.map(drop).map_err(|error| error.to_string())
    }

    const NOW: u64 = 1_800_000_000;
    const YEAR_5000: u64 = 95_617_584_000;

    #[test]
    fn a_self_signed_certificate_is_taken_where_it_was_given_for_its_name_and_its_time_alone() {
        for certificate in [self_signed(rcgen::IsCa::NoCa), an_authoritys()] {
            // beside one that makes no sense, as in Go
            let bundle = format!("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", certificate.pem());
            let trust = Trust::new(Authorities::of_pem(bundle.as_bytes())).expect("trust");
            assert_eq!(verified(&trust, &certificate, "localhost", NOW), Ok(()));
            for (name, now, says) in [("elsewhere", NOW, "not valid for name"), ("localhost", YEAR_5000, "expired")] {
                let refused = verified(&trust, &certificate, name, now).expect_err("refused");
                assert!(refused.contains(says), "{refused}");
            }
            let stranger = verified(&trust, &an_authoritys(), "localhost", NOW).expect_err("it was not given");
            assert!(stranger.starts_with("invalid peer certificate"), "{stranger}");
            let built_in = Trust::new(Some(Authorities::built_in())).expect("trust");
            let refused = verified(&built_in, &certificate, "localhost", NOW).expect_err("nobody vouches for it");
            assert!(refused.starts_with("invalid peer certificate"), "{refused}");
            let anybody = Trust::new(None).expect("trust");
            assert_eq!(verified(&anybody, &certificate, "elsewhere", YEAR_5000), Ok(()));
        }
    }

    #[test]
    fn a_server_is_called_by_a_host_name_or_an_address() {
        for name in ["store.internal", "localhost", "127.0.0.1", "[::1]", "::1"] {
            assert!(server_name(name).is_some(), "{name}");
        }
        for name in ["", "a b", "[]", "[::1", "https://store.internal", "store.internal:9000"] {
            assert!(server_name(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_text_without_a_certificate_gives_no_authorities() {
        for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Authorities::of_pem(pem.as_bytes()).is_none(), "{pem}");
        }
    }
}
