//! `tls_config` of a scrape job: whom to trust, and who we are. The keys and the rules are those of Prometheus' common
//! configuration, which Parca reads.

use super::bucket::Secret;

/// `tls_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Authorities to trust, several in one text; without it the system's.
    pub ca: Option<Pem>,
    /// Our own certificate, for targets that ask for one.
    pub client: Option<ClientCertificate>,
    /// The name that the target's certificate must have, and that it is asked for; empty for that of its address.
    pub server_name: String,
    /// Any certificate is taken.
    pub insecure_skip_verify: bool,
    pub min_version: Option<TlsVersion>,
    pub max_version: Option<TlsVersion>,
}

/// A certificate, with what stands between it and its authority, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: Pem,
    pub key: Pem,
}

/// Where a text in PEM comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// `ca`, `cert`, `key`
    Text(Secret),
    /// `ca_file`, `cert_file`, `key_file`: relative to the folder of the configuration file.
    File(String),
}

/// A version of TLS. The first two are known and not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl TlsVersion {
    pub const ALL: [TlsVersion; 4] = [TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12, TlsVersion::Tls13];

    /// `TLS12`
    pub fn name(self) -> &'static str {
        match self {
            TlsVersion::Tls10 => "TLS10",
            TlsVersion::Tls11 => "TLS11",
            TlsVersion::Tls12 => "TLS12",
            TlsVersion::Tls13 => "TLS13",
        }
    }
}

impl TlsConfig {
    /// Whether this version may be spoken.
    pub fn takes(&self, version: TlsVersion) -> bool {
        self.min_version.is_none_or(|min| min <= version) && self.max_version.is_none_or(|max| version <= max)
    }
}
