//! The bucket of the configuration: where blocks and debuginfo lie.

use bucket::{Bucket, Options, Provider};
use prometheus_client::registry::Registry;
use scrape::config::{self, Storage};
use store::StoreError;

/// What the file says, as the client wants it.
pub fn options(configured: &config::Bucket) -> Options {
    let provider = match &configured.storage {
        Storage::Filesystem { directory } => Provider::Filesystem { directory: directory.clone() },
    };
    Options { prefix: configured.prefix.clone(), provider }
}

/// For everything but the store, which has a client of its own.
pub fn connect(configured: &config::Bucket, registry: &mut Registry) -> Result<Bucket, StoreError> {
    let options = options(configured);
    let metrics = bucket::Metrics::register(registry, &name(&options));
    Bucket::connect(&options, metrics)
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
