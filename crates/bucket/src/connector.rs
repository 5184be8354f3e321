//! The HTTP client beneath: whom it trusts, who it is, and how long it waits.

use std::fs;
use std::path::Path;
use std::time::Duration;

use object_store::ClientOptions;
use object_store::client::{ClientConfigKey, HttpClient, HttpConnector};
use rustls::ClientConfig;
use store::{Kind, StoreError};
use trust::Authorities;

use crate::options::Tuning;

const USER_AGENT: &str = concat!("decima/", env!("CARGO_PKG_VERSION"));

/// Makes clients that verify servers as all of ours do (see [`trust`]): the library's own client refuses a server that shows the very
/// certificate that `ca_file` holds, if it is an authority's.
#[derive(Debug)]
pub(crate) struct Connector {
    tls: ClientConfig,
    timeout: Duration,
    idle_timeout: Duration,
}

impl Connector {
    /// `Invalid` or `Io` for files that are missing or hold something else; the error names the file.
    pub(crate) fn new(tuning: &Tuning) -> Result<Self, StoreError> {
        let invalid = |path: &Path, why: &str| StoreError::new(Kind::Invalid, path.display().to_string(), why);
        let mut authorities = Authorities::system();
        if let Some(path) = &tuning.ca_file {
            let given = Authorities::of_pem(&read(path)?);
            authorities = authorities.and(given.ok_or_else(|| invalid(path, "holds no certificate in PEM"))?);
        }
        let authorities = (!tuning.insecure_skip_verify).then_some(authorities);
        let builder = trust::client(authorities, rustls::DEFAULT_VERSIONS)
            .map_err(|error| StoreError::new(Kind::Invalid, "TLS", error.to_string()))?;
        let tls = match &tuning.identity {
            Some((certificate, key)) => trust::identified(builder, &read(certificate)?, &read(key)?)
                .map_err(|error| invalid(certificate, &format!("is of no use with {}: {error}", key.display())))?,
            None => builder.with_no_client_auth(),
        };
        Ok(Self { tls, timeout: tuning.timeout, idle_timeout: tuning.idle_timeout })
    }
}

impl HttpConnector for Connector {
    /// Of `options` only what differs between a bucket and a machine's own service for roles, which is asked by HTTP.
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let is_http_allowed =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        // what the library says as text: seconds, as we only give whole ones
        let connect_timeout = options.get_config_value(&ClientConfigKey::ConnectTimeout);
        let connect_timeout = connect_timeout.as_deref().and_then(|text| text.strip_suffix('s')?.parse().ok());
        let client = reqwest::Client::builder()
            .use_preconfigured_tls(self.tls.clone())
            .user_agent(USER_AGENT)
            .timeout(self.timeout)
            .connect_timeout(connect_timeout.map_or(crate::connect::CONNECT_TIMEOUT, Duration::from_secs))
            .pool_idle_timeout(self.idle_timeout)
            .http1_only()
            .https_only(!is_http_allowed)
            .build();
        let client = client.map_err(|error| object_store::Error::Generic { store: "HTTP", source: Box::new(error) })?;
        Ok(HttpClient::new(client))
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|error| StoreError::io(path.display().to_string(), "cannot be read", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_or_holds_something_else_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let nonsense = folder.path().join("nonsense.pem");
        fs::write(&nonsense, "nonsense").expect("written");
        let missing = folder.path().join("missing.pem");
        for file in [&nonsense, &missing] {
            for tuning in [
                Tuning { ca_file: Some(file.clone()), ..Tuning::default() },
                Tuning { identity: Some((file.clone(), nonsense.clone())), ..Tuning::default() },
            ] {
                let error = Connector::new(&tuning).expect_err("of no use").to_string();
                assert!(error.contains(&file.display().to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_service_of_the_machine_itself_is_waited_for_as_long_as_the_library_says() {
        let options = ClientOptions::new().with_connect_timeout(Duration::from_secs(1));
        assert_eq!(options.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref(), Some("1s"));
    }
}
