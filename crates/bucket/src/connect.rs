//! Options to a client.

use std::sync::Arc;
use std::time::Duration;
use std::{env, mem};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{Attribute, AttributeValue, Attributes, BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use store::{Kind, StoreError};

use crate::connector::{self, Connector};
use crate::options::{Azure, Encryption, Gcs, Options, Provider, S3, Tuning};
use crate::remote::{Remote, Signing};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where S3 is when neither configuration nor environment nor endpoint says.
const REGION_DEFAULT: &str = "us-east-1";

const GCS_SERVER: &str = "https://storage.googleapis.com";

const AZURE_ENDPOINT: &str = "blob.core.windows.net";

/// In the names of Amazon's own clients: keys, a web identity, a container's role, the machine's role.
const IDENTITY: [(&str, AmazonS3ConfigKey); 11] = [
    ("AWS_ACCESS_KEY_ID", AmazonS3ConfigKey::AccessKeyId),
    ("AWS_SECRET_ACCESS_KEY", AmazonS3ConfigKey::SecretAccessKey),
    ("AWS_SESSION_TOKEN", AmazonS3ConfigKey::Token),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", AmazonS3ConfigKey::WebIdentityTokenFile),
    ("AWS_ROLE_ARN", AmazonS3ConfigKey::RoleArn),
    ("AWS_ROLE_SESSION_NAME", AmazonS3ConfigKey::RoleSessionName),
    ("AWS_ENDPOINT_URL_STS", AmazonS3ConfigKey::StsEndpoint),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", AmazonS3ConfigKey::ContainerCredentialsRelativeUri),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", AmazonS3ConfigKey::ContainerCredentialsFullUri),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", AmazonS3ConfigKey::ContainerAuthorizationTokenFile),
    ("AWS_EC2_METADATA_SERVICE_ENDPOINT", AmazonS3ConfigKey::MetadataEndpoint),
];

pub(crate) fn remote(options: &Options) -> Result<Remote, StoreError> {
    match &options.provider {
        Provider::S3(s3) => connect_s3(s3, &options.prefix),
        Provider::Gcs(gcs) => connect_gcs(gcs, &options.prefix),
        Provider::Azure(azure) => connect_azure(azure, &options.prefix),
        Provider::Filesystem { directory } => {
            Err(StoreError::new(Kind::Invalid, directory, "a folder is not reached over the network"))
        }
    }
}

fn connect_s3(options: &S3, prefix: &str) -> Result<Remote, StoreError> {
    let url = format!("s3://{}", options.bucket);
    let scheme = if options.insecure { "http" } else { "https" };
    let on_aws = options.endpoint.ends_with(".amazonaws.com") || options.endpoint.ends_with(".amazonaws.com.cn");
    let path_style = options.path_style.unwrap_or(!on_aws);
    let endpoint = if path_style {
        format!("{scheme}://{}", options.endpoint)
    } else {
        format!("{scheme}://{}.{}", options.bucket, options.endpoint)
    };
    let mut builder = identity(options, &|name| env::var(name).ok());
    let region_known = builder.get_config_value(&AmazonS3ConfigKey::Region).is_some();
    let region =
        [options.region.as_str(), region_of(&options.endpoint).unwrap_or("")].into_iter().find(|r| !r.is_empty());
    if let Some(region) = region.or((!region_known).then_some(REGION_DEFAULT)) {
        builder = builder.with_region(region);
    }
    builder = match &options.encryption {
        Encryption::None => builder,
        Encryption::ByServer => match "aws_server_side_encryption".parse::<AmazonS3ConfigKey>() {
            Ok(key) => builder.with_config(key, "AES256"),
            Err(error) => return Err(refused(&url, &error)),
        },
        Encryption::ByKms { key_id } => builder.with_sse_kms_encryption(key_id),
        Encryption::ByKeyFile { path } => builder.with_ssec_encryption(base64(&connector::read(path)?)),
    };
    let mut tuning = options.tuning.clone();
    tuning.allow_http |= options.insecure;
    let built = builder
        .with_bucket_name(&options.bucket)
        .with_endpoint(&endpoint)
        .with_virtual_hosted_style_request(!path_style)
        .with_client_options(client(&tuning))
        .with_http_connector(Connector::new(&tuning, &endpoint)?)
        .with_retry(retry(&tuning))
        .build();
    let store = Arc::new(built.map_err(|error| refused(&url, &error))?);
    let attributes: Attributes = options
        .user_metadata
        .iter()
        .map(|(key, value)| (Attribute::Metadata(key.clone().into()), AttributeValue::from(value.clone())))
        .collect();
    let remote = Remote::new(store.clone(), Signing::Plain(store), url, prefix, options.tuning.part_bytes);
    Ok(remote.with_attributes(attributes))
}

/// Who one is, by the options or else by what `variable` says of the environment. What else stands there, as another endpoint
/// for all programs, is not for a bucket that has a configuration.
fn identity(options: &S3, variable: &dyn Fn(&str) -> Option<String>) -> AmazonS3Builder {
    let mut builder = AmazonS3Builder::new();
    let mut take = |name: &str, key: AmazonS3ConfigKey| {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            builder = mem::take(&mut builder).with_config(key, value);
        }
    };
    take("AWS_DEFAULT_REGION", AmazonS3ConfigKey::DefaultRegion);
    take("AWS_REGION", AmazonS3ConfigKey::Region);
    if options.access_key.is_empty() {
        for (name, key) in IDENTITY {
            take(name, key);
        }
        if !options.sts_endpoint.is_empty() {
            builder = builder.with_config(AmazonS3ConfigKey::StsEndpoint, &options.sts_endpoint);
        }
    } else {
        // all of them: a token that the environment has belongs to other keys
        builder = builder.with_access_key_id(&options.access_key).with_secret_access_key(&options.secret_key.0);
        if !options.session_token.0.is_empty() {
            builder = builder.with_token(&options.session_token.0);
        }
    }
    builder
}

/// Of `s3.eu-west-1.amazonaws.com` and its older form with a hyphen.
fn region_of(endpoint: &str) -> Option<&str> {
    let host = endpoint.strip_suffix(".amazonaws.com").or_else(|| endpoint.strip_suffix(".amazonaws.com.cn"))?;
    let region = host.strip_prefix("s3.").or_else(|| host.strip_prefix("s3-"))?;
    Some(region.strip_prefix("dualstack.").unwrap_or(region))
}

fn connect_gcs(options: &Gcs, prefix: &str) -> Result<Remote, StoreError> {
    let url = format!("gs://{}", options.bucket);
    // an account in the options is the one, whatever the environment has
    let builder = match options.service_account.0.as_str() {
        "" => GoogleCloudStorageBuilder::from_env(),
        account => GoogleCloudStorageBuilder::new().with_service_account_key(account),
    };
    let server = gcs_server(&options.service_account.0, builder.get_config_value(&GoogleConfigKey::BaseUrl));
    let built = builder
        .with_bucket_name(&options.bucket)
        .with_client_options(client(&options.tuning))
        .with_http_connector(Connector::new(&options.tuning, &server)?)
        .with_retry(retry(&options.tuning))
        .build();
    let store = Arc::new(built.map_err(|error| refused(&url, &error))?);
    Ok(Remote::new(store.clone(), Signing::Encoded(store), url, prefix, options.tuning.part_bytes))
}

/// Where requests for objects go: what the library reads of an account and of the environment.
fn gcs_server(account: &str, configured: Option<String>) -> String {
    let of_account = || {
        let account: serde_json::Value = serde_json::from_str(account).ok()?;
        account.get("gcs_base_url")?.as_str().map(str::to_owned)
    };
    configured.or_else(of_account).unwrap_or_else(|| GCS_SERVER.to_owned())
}

fn connect_azure(options: &Azure, prefix: &str) -> Result<Remote, StoreError> {
    let url = format!("azure://{}/{}", options.storage_account, options.container);
    let has_secret = !options.storage_account_key.0.is_empty() || !options.client_secret.0.is_empty();
    let builder = if has_secret { MicrosoftAzureBuilder::new() } else { MicrosoftAzureBuilder::from_env() };
    let mut builder = builder.with_account(&options.storage_account).with_container_name(&options.container);
    if !options.endpoint.is_empty() && options.endpoint != AZURE_ENDPOINT {
        let endpoint = &options.endpoint;
        let whole = if endpoint.contains("://") {
            endpoint.clone()
        } else {
            format!("https://{}.{endpoint}", options.storage_account)
        };
        builder = builder.with_endpoint(whole);
    }
    if !options.storage_account_key.0.is_empty() {
        builder = builder.with_access_key(&options.storage_account_key.0);
    }
    if !options.client_id.is_empty() {
        builder = builder.with_client_id(&options.client_id);
    }
    if !options.client_secret.0.is_empty() {
        builder = builder.with_client_secret(&options.client_secret.0);
    }
    if !options.tenant_id.is_empty() {
        builder = builder.with_tenant_id(&options.tenant_id);
    }
    let server = builder.get_config_value(&AzureConfigKey::Endpoint);
    let server = server.unwrap_or_else(|| format!("https://{}.{AZURE_ENDPOINT}", options.storage_account));
    let built = builder
        .with_client_options(client(&options.tuning))
        .with_http_connector(Connector::new(&options.tuning, &server)?)
        .with_retry(retry(&options.tuning))
        .build();
    let store: Arc<dyn ObjectStore> = Arc::new(built.map_err(|error| refused(&url, &error))?);
    // signed URLs of Azure need a header that upload clients do not send
    Ok(Remote::new(store, Signing::Not, url, prefix, options.tuning.part_bytes))
}

fn client(tuning: &Tuning) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(tuning.allow_http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(tuning.timeout)
        .with_pool_idle_timeout(tuning.idle_timeout)
}

fn retry(tuning: &Tuning) -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: tuning.retries, retry_timeout: tuning.retry_for }
}

fn refused(url: &str, error: &object_store::Error) -> StoreError {
    StoreError::new(Kind::Invalid, url, format!("the bucket cannot be used as configured: {error}"))
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for ix in 0..4 {
            let symbol = ALPHABET[(word >> (18 - 6 * ix)) as usize & 63];
            text.push(if ix <= chunk.len() { char::from(symbol) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Secret;

    #[test]
    fn a_region_is_read_from_an_aws_endpoint_only() {
        assert_eq!(region_of("s3.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("s3-ap-south-1.amazonaws.com"), Some("ap-south-1"));
        assert_eq!(region_of("s3.dualstack.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        assert_eq!(region_of("s3.amazonaws.com"), None);
        assert_eq!(region_of("s3.example.com"), None);
    }

    #[test]
    fn a_gcs_server_is_that_of_the_environment_of_the_account_or_googles() {
        let account = r#"{"gcs_base_url": "https://fake:4443", "client_email": "a"}"#;
        assert_eq!(gcs_server(account, Some("https://other".to_owned())), "https://other");
        assert_eq!(gcs_server(account, None), "https://fake:4443");
        for account in ["", "{}", r#"{"gcs_base_url": 1}"#] {
            assert_eq!(gcs_server(account, None), "https://storage.googleapis.com");
        }
    }

    #[test]
    fn the_environment_tells_who_one_is_and_only_where_the_options_do_not() {
        let variable = |name: &str| {
            let value = match name {
                "AWS_ACCESS_KEY_ID" => "theirs",
                "AWS_SECRET_ACCESS_KEY" => "their secret",
                "AWS_SESSION_TOKEN" => "their token",
                "AWS_REGION" => "eu-north-1",
                "AWS_DEFAULT_REGION" => "us-west-2",
                "AWS_ENDPOINT_URL_S3" | "AWS_ENDPOINT" => "https://elsewhere",
                "AWS_SKIP_SIGNATURE" => "true",
                _ => return None,
            };
            Some(value.to_owned())
        };
        let values = |options: &S3| {
            let builder = identity(options, &variable);
            let keys = ["access_key_id", "secret_access_key", "session_token", "region", "endpoint_url_s3"];
            keys.map(|key| builder.get_config_value(&format!("aws_{key}").parse().expect("a key")))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            values(&S3::default()),
            [some("theirs"), some("their secret"), some("their token"), some("eu-north-1"), None]
        );
        let ours = S3 { access_key: "ours".into(), secret_key: Secret("our secret".into()), ..S3::default() };
        assert_eq!(values(&ours), [some("ours"), some("our secret"), None, some("eu-north-1"), None]);
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
