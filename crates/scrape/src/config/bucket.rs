//! `object_storage.bucket`: where blocks and debuginfo lie. The keys are those of Thanos' objstore, which Parca reads.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// `object_storage.bucket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Prepended to every object's name; empty for none.
    pub prefix: String,
    pub storage: Storage,
}

/// `object_storage.bucket.type` with its `config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// `FILESYSTEM`. The directory as written: relative to the working directory, not to the file. Never empty.
    Filesystem { directory: String },
    /// `S3`, and what speaks its protocol.
    S3(S3),
    /// `GCS`.
    Gcs(Gcs),
    /// `AZURE`.
    Azure(Azure),
}

/// A password or a key: never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "<secret>" })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3 {
    /// Never empty.
    pub bucket: String,
    /// `host[:port]`, never empty, no scheme.
    pub endpoint: String,
    /// Empty: as the endpoint or the environment says.
    pub region: String,
    /// Both or none; none: the environment, or the role of the machine, container or web identity.
    pub access_key: String,
    pub secret_key: Secret,
    pub session_token: Secret,
    /// Where a web identity becomes keys, an `https://` URL; empty: as the region or the environment says.
    pub sts_endpoint: String,
    /// HTTP, not HTTPS.
    pub insecure: bool,
    pub lookup: Lookup,
    pub user_metadata: BTreeMap<String, String>,
    pub encryption: Encryption,
    /// bytes; 0 for the default
    pub part_size: u64,
    pub http: Http,
}

/// `bucket_lookup_type`: whether a bucket stands in the host name or in the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lookup {
    #[default]
    Auto,
    VirtualHosted,
    Path,
}

/// `sse_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    #[default]
    None,
    /// `SSE-S3`
    ByServer,
    /// `SSE-KMS`
    ByKms { key_id: String },
    /// `SSE-C`: the file with the key.
    ByKeyFile { path: String },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gcs {
    /// Never empty.
    pub bucket: String,
    /// JSON; empty: the environment or the machine's account.
    pub service_account: Secret,
    pub http: Http,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Azure {
    /// Never empty.
    pub storage_account: String,
    pub storage_account_key: Secret,
    /// Never empty.
    pub container: String,
    pub endpoint: String,
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub http: Http,
}

/// `http_config`, as far as it changes something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    pub idle_conn_timeout: Option<Duration>,
    /// Until the answer to one attempt begins.
    pub response_header_timeout: Option<Duration>,
    pub insecure_skip_verify: bool,
    /// `tls_config.ca_file`; empty for the system's authorities alone.
    pub ca_file: String,
    /// `tls_config.cert_file` and `key_file`: both or neither.
    pub cert_file: String,
    pub key_file: String,
    /// `tls_config.server_name`; empty for the name that the bucket's URL has.
    pub server_name: String,
}
