//! Where a bucket is and how to get in. Plain values; [`crate::Bucket::connect`] says what cannot be used.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Options {
    /// Goes before every object's name; empty for none.
    pub prefix: String,
    pub provider: Provider,
}

#[derive(Clone, Debug)]
pub enum Provider {
    Filesystem { directory: String },
    S3(S3),
    Gcs(Gcs),
    Azure(Azure),
}

/// A password or key: it is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "<secret>" })
    }
}

#[derive(Clone, Debug, Default)]
pub struct S3 {
    pub bucket: String,
    /// `host[:port]`, no scheme.
    pub endpoint: String,
    /// Empty: taken from an AWS endpoint, else from the environment, else `us-east-1`.
    pub region: String,
    /// Empty, with `secret_key`: the environment, a web identity, the container's or the machine's role.
    pub access_key: String,
    pub secret_key: Secret,
    pub session_token: Secret,
    /// Where a web identity becomes keys, with its scheme, which must be `https`. Empty: that of the region, or the environment's.
    pub sts_endpoint: String,
    /// HTTP instead of HTTPS.
    pub insecure: bool,
    /// The bucket in the path or in the host name; `None`: in the host name on AWS only.
    pub path_style: Option<bool>,
    pub encryption: Encryption,
    /// Sent with every object that is written.
    pub user_metadata: BTreeMap<String, String>,
    pub tuning: Tuning,
}

/// On the server's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    #[default]
    None,
    /// SSE-S3
    ByServer,
    /// SSE-KMS
    ByKms { key_id: String },
    /// SSE-C: a file with the key of 32 bytes.
    ByKeyFile { path: PathBuf },
}

#[derive(Clone, Debug, Default)]
pub struct Gcs {
    pub bucket: String,
    /// JSON of a service account; empty: the environment or the machine's account.
    pub service_account: Secret,
    pub tuning: Tuning,
}

#[derive(Clone, Debug, Default)]
pub struct Azure {
    pub storage_account: String,
    pub storage_account_key: Secret,
    pub container: String,
    /// Without the account in front; empty: `blob.core.windows.net`.
    pub endpoint: String,
    pub tenant_id: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub tuning: Tuning,
}

/// How to talk to a remote bucket.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Parts of an upload of unknown length; two of them are in memory.
    pub part_bytes: usize,
    /// Of one call, after the first attempt.
    pub retries: usize,
    /// Until a call is given up, retries included.
    pub retry_for: Duration,
    /// Of one attempt.
    pub timeout: Duration,
    pub idle_timeout: Duration,
    /// PEM; added to the system's list of authorities.
    pub ca_file: Option<PathBuf>,
    /// A certificate with its chain and its key, both PEM, for a server that asks who calls.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What the bucket's server is asked for and verified by; empty: the host of its URL.
    pub server_name: String,
    pub insecure_skip_verify: bool,
    /// Plain HTTP is allowed. `insecure` of S3; for emulators elsewhere.
    pub allow_http: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            // the smallest that S3 takes is 5 MiB, and it takes 10,000 of them
            part_bytes: 8 << 20,
            retries: 10,
            retry_for: Duration::from_secs(60),
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(90),
            ca_file: None,
            identity: None,
            server_name: String::new(),
            insecure_skip_verify: false,
            allow_http: false,
        }
    }
}
