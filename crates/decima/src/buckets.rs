//! The bucket of the configuration: where blocks and debuginfo lie.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use bucket::options::{self, Tuning};
use bucket::{BlockingObjects, Bucket, Options, Provider};
use prometheus_client::registry::Registry;
use scrape::config::bucket::{Azure, Encryption, Gcs, Http, Lookup, S3};
use scrape::config::{self, Storage};
use store::{Environment, LocalDisk, LocalObjects, Objects, StoreError};

/// What the file says, as the client wants it.
pub fn options(configured: &config::Bucket) -> Options {
    let provider = match &configured.storage {
        Storage::Filesystem { directory } => Provider::Filesystem { directory: directory.clone() },
        Storage::S3(s3) => Provider::S3(s3_options(s3)),
        Storage::Gcs(gcs) => Provider::Gcs(gcs_options(gcs)),
        Storage::Azure(azure) => Provider::Azure(azure_options(azure)),
    };
    Options { prefix: configured.prefix.clone(), provider }
}

fn s3_options(s3: &S3) -> options::S3 {
    let mut tuning = tuning(&s3.http);
    if s3.part_size > 0 {
        tuning.part_bytes = s3.part_size as usize;
    }
    options::S3 {
        bucket: s3.bucket.clone(),
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        access_key: s3.access_key.clone(),
        secret_key: secret(&s3.secret_key),
        session_token: secret(&s3.session_token),
        sts_endpoint: s3.sts_endpoint.clone(),
        insecure: s3.insecure,
        path_style: match s3.lookup {
            Lookup::Auto => None,
            Lookup::VirtualHosted => Some(false),
            Lookup::Path => Some(true),
        },
        encryption: match &s3.encryption {
            Encryption::None => options::Encryption::None,
            Encryption::ByServer => options::Encryption::ByServer,
            Encryption::ByKms { key_id } => options::Encryption::ByKms { key_id: key_id.clone() },
            Encryption::ByKeyFile { path } => options::Encryption::ByKeyFile { path: path.into() },
        },
        user_metadata: s3.user_metadata.clone(),
        tuning,
    }
}

fn gcs_options(gcs: &Gcs) -> options::Gcs {
    options::Gcs {
        bucket: gcs.bucket.clone(),
        service_account: secret(&gcs.service_account),
        tuning: tuning(&gcs.http),
    }
}

fn azure_options(azure: &Azure) -> options::Azure {
    options::Azure {
        storage_account: azure.storage_account.clone(),
        storage_account_key: secret(&azure.storage_account_key),
        container: azure.container.clone(),
        endpoint: azure.endpoint.clone(),
        tenant_id: azure.tenant_id.clone(),
        client_id: azure.client_id.clone(),
        client_secret: secret(&azure.client_secret),
        tuning: tuning(&azure.http),
    }
}

fn secret(secret: &config::bucket::Secret) -> options::Secret {
    options::Secret(secret.0.clone())
}

fn tuning(http: &Http) -> Tuning {
    let usual = Tuning::default();
    Tuning {
        timeout: http.response_header_timeout.unwrap_or(usual.timeout),
        idle_timeout: http.idle_conn_timeout.unwrap_or(usual.idle_timeout),
        ca_file: Some(&http.ca_file).filter(|path| !path.is_empty()).map(Into::into),
        identity: Some((&http.cert_file, &http.key_file))
            .filter(|(certificate, _)| !certificate.is_empty())
            .map(|(certificate, key)| (certificate.into(), key.into())),
        server_name: http.server_name.clone(),
        insecure_skip_verify: http.insecure_skip_verify,
        ..usual
    }
}

/// The store's objects in a folder that is not its data directory `root`, so that processes with other data directories may have
/// theirs there too.
pub fn folder(folder: &Path, root: &Path) -> Result<Arc<dyn Objects>, StoreError> {
    let mut path = DefaultHasher::new();
    root.canonicalize().unwrap_or_else(|_| root.to_owned()).hash(&mut path);
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().replace('/', "_");
    let process = format!("{host}-{:016x}", path.finish());
    Ok(Arc::new(LocalObjects::open_shared(Arc::new(LocalDisk::open(folder)?), &process)?))
}

/// The store's objects in the cloud. It is tried out first whether the server keeps what the catalog relies on.
pub fn remote(
    configured: &config::Bucket,
    environment: &Environment,
    bucket: &Bucket,
) -> Result<Arc<dyn Objects>, StoreError> {
    let objects = BlockingObjects::connect(&options(configured), bucket.metrics().clone())?;
    objects.check_conditional_create(environment.random.u64()?)?;
    Ok(Arc::new(objects))
}

/// For everything but the store, which has a client of its own.
pub fn connect(configured: &config::Bucket, registry: &mut Registry) -> Result<Bucket, StoreError> {
    let options = options(configured);
    let metrics = bucket::Metrics::register(registry, &name(&options));
    Bucket::connect(&options, metrics)
}

/// Of a bucket that nobody asks for its metrics.
pub fn metrics(options: &Options) -> bucket::Metrics {
    bucket::Metrics::register(&mut Registry::default(), &name(options))
}

/// In metrics, as Parca's object store has it.
fn name(options: &Options) -> String {
    match &options.provider {
        Provider::Filesystem { directory } => format!("fs: {directory}"),
        Provider::S3(s3) => s3.bucket.clone(),
        Provider::Gcs(gcs) => gcs.bucket.clone(),
        Provider::Azure(azure) => azure.container.clone(),
    }
}
