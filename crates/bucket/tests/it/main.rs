//! A bucket in a real S3 server, over a way on which things go wrong.

mod contract;
mod faults;
mod gcs;
mod signing;
mod tls;

use std::time::Duration;

use bucket::options::{S3, Secret, Tuning};
use bucket::{Options, Provider};
use e2e::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// Calls are tried again for a short while only, so that errors arrive. `address` is the server's or a proxy's.
pub fn options(address: std::net::SocketAddr, prefix: &str, retries: usize) -> Options {
    let tuning = Tuning {
        part_bytes: 5 << 20,
        retries,
        retry_for: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        ..Tuning::default()
    };
    let s3 = S3 {
        bucket: BUCKET.to_owned(),
        endpoint: address.to_string(),
        access_key: ACCESS_KEY.to_owned(),
        secret_key: Secret(SECRET_KEY.to_owned()),
        insecure: true,
        tuning,
        ..S3::default()
    };
    Options { prefix: prefix.to_owned(), provider: Provider::S3(s3) }
}
