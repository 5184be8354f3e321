//! The HTTP client beneath: whom it trusts, who it is, by which name it calls the bucket's server, and how long it waits.
//!
//! It is our own, for two things that the library's own client cannot: to take a server that shows the very certificate that `ca_file`
//! holds, if it is an authority's, and to ask for another name than the URL's. Map: `client` one request and its time · `way` connections,
//! through a proxy where the environment names one.

mod client;
mod way;

use std::fs;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use object_store::ClientOptions;
use object_store::client::{ClientConfigKey, HttpClient, HttpConnector};
use rustls::ClientConfig;
use store::{Kind, StoreError};
use trust::Authorities;

use crate::options::Tuning;
use client::Client;
use way::{Names, Way};

/// Makes clients that verify servers as all of ours do (see [`trust`]).
#[derive(Debug)]
pub(crate) struct Connector {
    tls: ClientConfig,
    names: Names,
    timeout: Duration,
    idle_timeout: Duration,
}

impl Connector {
    /// `bucket` is the URL of its server, the only one to which `server_name` applies: roles are asked for from others.
    ///
    /// `Invalid` or `Io` for files that are missing or hold something else, and for a name that is none; the error names it.
    pub(crate) fn new(tuning: &Tuning, bucket: &str) -> Result<Self, StoreError> {
        let invalid = |at: String, why: &str| StoreError::new(Kind::Invalid, at, why);
        let of_file = |path: &Path, why: &str| invalid(path.display().to_string(), why);
        let mut authorities = Authorities::system();
        if let Some(path) = &tuning.ca_file {
            let given = Authorities::of_pem(&read(path)?);
            authorities = authorities.and(given.ok_or_else(|| of_file(path, "holds no certificate in PEM"))?);
        }
        let authorities = (!tuning.insecure_skip_verify).then_some(authorities);
        let builder = trust::client(authorities, rustls::DEFAULT_VERSIONS)
            .map_err(|error| invalid("TLS".to_owned(), &error.to_string()))?;
        let tls = match &tuning.identity {
            Some((certificate, key)) => trust::identified(builder, &read(certificate)?, &read(key)?)
                .map_err(|error| of_file(certificate, &format!("is of no use with {}: {error}", key.display())))?,
            None => builder.with_no_client_auth(),
        };
        let names = match tuning.server_name.as_str() {
            "" => Names::default(),
            name => {
                let given = trust::server_name(name)
                    .ok_or_else(|| invalid(format!("server_name {name:?}"), "is neither a host name nor an address"))?;
                let bucket: Uri = bucket
                    .parse()
                    .map_err(|error| invalid(bucket.to_owned(), &format!("is no URL of a server: {error}")))?;
                Names::for_host(bucket.host().unwrap_or_default(), given)
            }
        };
        Ok(Self { tls, names, timeout: tuning.timeout, idle_timeout: tuning.idle_timeout })
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
        let connect_timeout = connect_timeout.map_or(crate::connect::CONNECT_TIMEOUT, Duration::from_secs);
        let way = Way::new(self.tls.clone(), self.names.clone(), Matcher::from_env(), connect_timeout);
        Ok(HttpClient::new(Client::new(way, self.timeout, self.idle_timeout, is_http_allowed)))
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
                let error = Connector::new(&tuning, "https://bucket").expect_err("of no use").to_string();
                assert!(error.contains(&file.display().to_string()), "{error}");
            }
        }
    }

    #[test]
    fn a_server_name_that_is_none_is_refused_by_name() {
        let tuning = Tuning { server_name: "a b".to_owned(), ..Tuning::default() };
        let error = Connector::new(&tuning, "https://bucket").expect_err("no name");
        assert_eq!(error.kind, Kind::Invalid);
        assert_eq!(error.to_string(), "server_name \"a b\": is neither a host name nor an address");
    }

    #[test]
    fn a_service_of_the_machine_itself_is_waited_for_as_long_as_the_library_says() {
        let options = ClientOptions::new().with_connect_timeout(Duration::from_secs(1));
        assert_eq!(options.get_config_value(&ClientConfigKey::ConnectTimeout).as_deref(), Some("1s"));
    }
}
