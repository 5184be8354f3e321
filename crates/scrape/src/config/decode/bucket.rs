//! `object_storage`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::bucket::{Azure, Encryption, Gcs, Http, Lookup, S3, Secret};
use super::super::error::Problem;
use super::super::{Bucket, Storage};
use super::reader::{Entry, Reader};
use crate::yaml::{Mark, NodeIx};

const SUPPORTED: &str = "supported: FILESYSTEM, S3, GCS, AZURE";

/// Bucket types that Parca knows and this version does not.
const OTHER_BUCKETS: [&str; 6] = ["SWIFT", "COS", "ALIYUNOSS", "BOS", "OCI", "OBS"];

const OBJECT_STORAGE_KEYS: [&str; 1] = ["bucket"];
const BUCKET_KEYS: [&str; 3] = ["type", "config", "prefix"];
const FILESYSTEM_KEYS: [&str; 1] = ["directory"];
const S3_KEYS: [&str; 20] = [
    "bucket",
    "endpoint",
    "region",
    "access_key",
    "secret_key",
    "session_token",
    "insecure",
    "bucket_lookup_type",
    "put_user_metadata",
    "sse_config",
    "part_size",
    "http_config",
    "signature_version2",
    "sts_endpoint",
    "list_objects_version",
    "disable_dualstack",
    "aws_sdk_auth",
    "send_content_md5",
    "trace",
    "max_retries",
];
const SSE_KEYS: [&str; 4] = ["type", "kms_key_id", "kms_encryption_context", "encryption_key"];
const GCS_KEYS: [&str; 7] =
    ["bucket", "service_account", "http_config", "use_grpc", "grpc_conn_pool_size", "chunk_size_bytes", "max_retries"];
const AZURE_KEYS: [&str; 15] = [
    "storage_account",
    "storage_account_key",
    "container",
    "endpoint",
    "az_tenant_id",
    "client_id",
    "client_secret",
    "http_config",
    "storage_connection_string",
    "user_assigned_id",
    "storage_create_container",
    "max_retries",
    "reader_config",
    "pipeline_config",
    "msi_resource",
];
const HTTP_KEYS: [&str; 10] = [
    "idle_conn_timeout",
    "response_header_timeout",
    "insecure_skip_verify",
    "tls_config",
    "tls_handshake_timeout",
    "expect_continue_timeout",
    "max_idle_conns",
    "max_idle_conns_per_host",
    "max_conns_per_host",
    "disable_compression",
];
const TLS_KEYS: [&str; 5] = ["ca_file", "cert_file", "key_file", "server_name", "insecure_skip_verify"];

/// What S3 takes as one part of an upload but the last, and what may be held in memory. bytes
const PART_SIZE: std::ops::RangeInclusive<u64> = 5 << 20..=1 << 30;

/// The bucket; `None` if there is none, or if an issue was found.
pub(super) fn object_storage(reader: &mut Reader, node: NodeIx) -> Option<Bucket> {
    let mut bucket = None;
    for entry in reader.mapping(node, "object_storage")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "bucket" => bucket = bucket_config(reader, entry.value, entry.mark),
            _ => reader.unknown_key(&entry, &OBJECT_STORAGE_KEYS),
        });
    }
    bucket
}

fn bucket_config(reader: &mut Reader, node: NodeIx, mark: Mark) -> Option<Bucket> {
    let issues_before = reader.issue_count();
    let mut kind = String::new();
    let mut kind_mark = mark;
    let mut prefix = String::new();
    let mut config = None;
    for entry in reader.mapping(node, "a bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "type" => {
                kind_mark = entry.mark;
                reader.string_into(entry.value, &mut kind);
            }
            "prefix" => reader.string_into(entry.value, &mut prefix),
            "config" => config = Some(entry.clone()),
            _ => reader.unknown_key(&entry, &BUCKET_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    if kind.is_empty() {
        reader.invalid(kind_mark, "type", format!("cannot be blank ({SUPPORTED})"));
    }
    let blank = config.as_ref().is_none_or(|entry| reader.is_blank(entry.value));
    if blank {
        reader.invalid(config.as_ref().map_or(mark, |entry| entry.mark), "config", "cannot be blank");
    }
    let config = config.filter(|_| !blank && !kind.is_empty())?;

    let upper = kind.to_ascii_uppercase();
    let storage = reader.within(&config, |reader| match upper.as_str() {
        "FILESYSTEM" => {
            filesystem_directory(reader, config.value, config.mark).map(|directory| Storage::Filesystem { directory })
        }
        "S3" => s3(reader, &config).map(Storage::S3),
        "GCS" => gcs(reader, &config).map(Storage::Gcs),
        "AZURE" => azure(reader, &config).map(Storage::Azure),
        _ => None,
    });
    if OTHER_BUCKETS.contains(&upper.as_str()) {
        let message = format!("{upper} is not yet supported ({SUPPORTED}); many services speak the protocol of S3 too");
        reader.issue_below(kind_mark, "type", Problem::NotYetSupported, message);
    } else if !matches!(upper.as_str(), "FILESYSTEM" | "S3" | "GCS" | "AZURE") {
        reader.invalid(kind_mark, "type", format!("bucket with type {kind} is not supported ({SUPPORTED})"));
    }
    Some(Bucket { prefix, storage: storage? })
}

fn filesystem_directory(reader: &mut Reader, node: NodeIx, mark: Mark) -> Option<String> {
    let issues_before = reader.issue_count();
    let mut directory = String::new();
    for entry in reader.mapping(node, "the config of a FILESYSTEM bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "directory" => reader.string_into(entry.value, &mut directory),
            _ => reader.unknown_key(&entry, &FILESYSTEM_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    if directory.is_empty() {
        reader.invalid(mark, "directory", "cannot be blank");
        return None;
    }
    Some(directory)
}

fn s3(reader: &mut Reader, config: &Entry) -> Option<S3> {
    let issues_before = reader.issue_count();
    let mut s3 = S3::default();
    let mut endpoint_mark = config.mark;
    for entry in reader.mapping(config.value, "the config of an S3 bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "bucket" => reader.string_into(entry.value, &mut s3.bucket),
            "endpoint" => {
                endpoint_mark = entry.mark;
                reader.string_into(entry.value, &mut s3.endpoint);
            }
            "region" => reader.string_into(entry.value, &mut s3.region),
            "access_key" => reader.string_into(entry.value, &mut s3.access_key),
            "secret_key" => secret_into(reader, &entry, &mut s3.secret_key),
            "session_token" => secret_into(reader, &entry, &mut s3.session_token),
            "insecure" => reader.bool_into(entry.value, &mut s3.insecure),
            "bucket_lookup_type" => s3.lookup = lookup(reader, &entry),
            "put_user_metadata" => s3.user_metadata = text_map(reader, &entry),
            "sse_config" => s3.encryption = encryption(reader, &entry),
            "part_size" => {
                reader.u64_into(entry.value, &mut s3.part_size);
                if s3.part_size != 0 && !PART_SIZE.contains(&s3.part_size) {
                    reader.invalid(entry.mark, "", "must be from 5 MiB to 1 GiB, in bytes");
                }
            }
            "http_config" => s3.http = http(reader, &entry),
            "signature_version2" => unless_false(reader, &entry),
            "sts_endpoint" => {
                reader.string_into(entry.value, &mut s3.sts_endpoint);
                if !s3.sts_endpoint.is_empty() && !s3.sts_endpoint.starts_with("https://") {
                    reader.invalid(entry.mark, "", "must be an https:// URL, as https://sts.eu-west-1.amazonaws.com");
                }
            }
            "list_objects_version" => {
                let mut version = String::new();
                reader.string_into(entry.value, &mut version);
                if !matches!(version.as_str(), "" | "v2") {
                    reader.not_yet_supported(&entry);
                }
            }
            // of the client that Parca uses, and nothing here
            "disable_dualstack" | "aws_sdk_auth" | "send_content_md5" | "trace" | "max_retries" => {}
            _ => reader.unknown_key(&entry, &S3_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    if s3.bucket.is_empty() {
        reader.invalid(config.mark, "bucket", "cannot be blank");
    }
    if s3.endpoint.is_empty() {
        reader.invalid(config.mark, "endpoint", "cannot be blank: write host:port, as s3.eu-west-1.amazonaws.com");
    } else if s3.endpoint.contains('/') {
        let message = "write host:port, without scheme and path; `insecure: true` is for HTTP";
        reader.invalid(endpoint_mark, "endpoint", message);
    }
    if s3.access_key.is_empty() != s3.secret_key.0.is_empty() {
        let (missing, given) = match s3.access_key.is_empty() {
            true => ("access_key", "secret_key"),
            false => ("secret_key", "access_key"),
        };
        let message = format!("is missing while {given} is there: give both, or neither for environment and roles");
        reader.invalid(config.mark, missing, message);
    }
    (reader.issue_count() == issues_before).then_some(s3)
}

fn lookup(reader: &mut Reader, entry: &Entry) -> Lookup {
    let mut text = String::new();
    reader.string_into(entry.value, &mut text);
    match text.as_str() {
        "" | "auto" => Lookup::Auto,
        "virtual-hosted" => Lookup::VirtualHosted,
        "path" => Lookup::Path,
        _ => {
            reader.invalid(entry.mark, "", "must be auto, virtual-hosted or path");
            Lookup::Auto
        }
    }
}

fn encryption(reader: &mut Reader, entry: &Entry) -> Encryption {
    let (mut kind, mut key_id, mut path) = (String::new(), String::new(), String::new());
    for entry in reader.mapping(entry.value, "sse_config").unwrap_or_default() {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "type" => reader.string_into(entry.value, &mut kind),
            "kms_key_id" => reader.string_into(entry.value, &mut key_id),
            "encryption_key" => reader.string_into(entry.value, &mut path),
            "kms_encryption_context" => {
                if !text_map(reader, &entry).is_empty() {
                    reader.not_yet_supported(&entry);
                }
            }
            _ => reader.unknown_key(&entry, &SSE_KEYS),
        });
    }
    let missing = match kind.as_str() {
        "SSE-KMS" if key_id.is_empty() => Some("kms_key_id"),
        "SSE-C" if path.is_empty() => Some("encryption_key"),
        _ => None,
    };
    if let Some(missing) = missing {
        reader.invalid(entry.mark, missing, format!("cannot be blank with {kind}"));
    }
    match kind.as_str() {
        "" => Encryption::None,
        "SSE-S3" => Encryption::ByServer,
        "SSE-KMS" => Encryption::ByKms { key_id },
        "SSE-C" => Encryption::ByKeyFile { path },
        _ => {
            reader.invalid(entry.mark, "type", "must be SSE-S3, SSE-KMS or SSE-C");
            Encryption::None
        }
    }
}

fn gcs(reader: &mut Reader, config: &Entry) -> Option<Gcs> {
    let issues_before = reader.issue_count();
    let mut gcs = Gcs::default();
    for entry in reader.mapping(config.value, "the config of a GCS bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "bucket" => reader.string_into(entry.value, &mut gcs.bucket),
            "service_account" => secret_into(reader, &entry, &mut gcs.service_account),
            "http_config" => gcs.http = http(reader, &entry),
            "use_grpc" | "grpc_conn_pool_size" | "chunk_size_bytes" | "max_retries" => {}
            _ => reader.unknown_key(&entry, &GCS_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    if gcs.bucket.is_empty() {
        reader.invalid(config.mark, "bucket", "cannot be blank");
        return None;
    }
    Some(gcs)
}

fn azure(reader: &mut Reader, config: &Entry) -> Option<Azure> {
    let issues_before = reader.issue_count();
    let mut azure = Azure::default();
    for entry in reader.mapping(config.value, "the config of an AZURE bucket")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "storage_account" => reader.string_into(entry.value, &mut azure.storage_account),
            "storage_account_key" => secret_into(reader, &entry, &mut azure.storage_account_key),
            "container" => reader.string_into(entry.value, &mut azure.container),
            "endpoint" => reader.string_into(entry.value, &mut azure.endpoint),
            "az_tenant_id" => reader.string_into(entry.value, &mut azure.tenant_id),
            "client_id" => reader.string_into(entry.value, &mut azure.client_id),
            "client_secret" => secret_into(reader, &entry, &mut azure.client_secret),
            "http_config" => azure.http = http(reader, &entry),
            "storage_connection_string" | "user_assigned_id" => unless_empty(reader, &entry),
            "storage_create_container" => unless_false(reader, &entry),
            "max_retries" | "reader_config" | "pipeline_config" | "msi_resource" => {}
            _ => reader.unknown_key(&entry, &AZURE_KEYS),
        });
    }
    if reader.issue_count() > issues_before {
        return None;
    }
    for (key, value) in [("storage_account", &azure.storage_account), ("container", &azure.container)] {
        if value.is_empty() {
            reader.invalid(config.mark, key, "cannot be blank");
        }
    }
    (reader.issue_count() == issues_before).then_some(azure)
}

fn http(reader: &mut Reader, entry: &Entry) -> Http {
    let mut http = Http::default();
    for entry in reader.mapping(entry.value, "http_config").unwrap_or_default() {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "idle_conn_timeout" => http.idle_conn_timeout = timeout(reader, &entry),
            "response_header_timeout" => http.response_header_timeout = timeout(reader, &entry),
            "insecure_skip_verify" => reader.bool_into(entry.value, &mut http.insecure_skip_verify),
            "tls_config" => {
                for entry in reader.mapping(entry.value, "tls_config").unwrap_or_default() {
                    reader.within(&entry, |reader| match entry.name.as_str() {
                        "ca_file" => reader.string_into(entry.value, &mut http.ca_file),
                        "cert_file" => reader.string_into(entry.value, &mut http.cert_file),
                        "key_file" => reader.string_into(entry.value, &mut http.key_file),
                        "insecure_skip_verify" => {
                            let mut skip = false;
                            reader.bool_into(entry.value, &mut skip);
                            http.insecure_skip_verify |= skip;
                        }
                        "server_name" => reader.string_into(entry.value, &mut http.server_name),
                        _ => reader.unknown_key(&entry, &TLS_KEYS),
                    });
                }
                if http.cert_file.is_empty() != http.key_file.is_empty() {
                    reader.invalid(entry.mark, "", "cert_file and key_file belong together: give both or neither");
                }
            }
            // of the client that Parca uses, and nothing here
            "tls_handshake_timeout"
            | "expect_continue_timeout"
            | "max_idle_conns"
            | "max_idle_conns_per_host"
            | "max_conns_per_host"
            | "disable_compression" => {}
            _ => reader.unknown_key(&entry, &HTTP_KEYS),
        });
    }
    http
}

/// `None` for 0: the default.
fn timeout(reader: &mut Reader, entry: &Entry) -> Option<Duration> {
    let mut duration = Duration::ZERO;
    super::duration_into(reader, entry.value, &mut duration);
    Some(duration).filter(|duration| !duration.is_zero())
}

fn secret_into(reader: &mut Reader, entry: &Entry, secret: &mut Secret) {
    reader.string_into(entry.value, &mut secret.0);
}

fn text_map(reader: &mut Reader, entry: &Entry) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for entry in reader.mapping(entry.value, "a mapping of texts").unwrap_or_default() {
        let mut value = String::new();
        reader.within(&entry, |reader| reader.string_into(entry.value, &mut value));
        map.insert(entry.name, value);
    }
    map
}

/// What this version cannot do is refused where it is asked for.
fn unless_empty(reader: &mut Reader, entry: &Entry) {
    let mut text = String::new();
    reader.string_into(entry.value, &mut text);
    if !text.is_empty() {
        reader.not_yet_supported(entry);
    }
}

fn unless_false(reader: &mut Reader, entry: &Entry) {
    let mut asked = false;
    reader.bool_into(entry.value, &mut asked);
    if asked {
        reader.not_yet_supported(entry);
    }
}
