//! HTTP clients: one for all jobs without a `tls_config`, one for each job that has one.
//!
//! HTTP/1.1, no proxy, no redirects, no transparent decompression, as in Parca. Files of a `tls_config` are looked at again while
//! the job is scraped; when they have changed, new connections use what they hold now.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::io::AsyncReadExt;

use crate::config::tls::{Pem, TlsConfig};

/// Certificates, their authorities and keys are a few KiB. bytes
const PEM_BYTES_MAX: u64 = 4 << 20;

/// Between two looks at the files of a `tls_config`: a job of many targets reads them once, a rotated certificate counts at once.
const FILES_LOOKED_AT_EVERY: Duration = Duration::from_secs(1);

/// Cheap to clone; clones share connections.
pub(crate) type Http = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// What a job is scraped with.
pub(crate) enum JobClient {
    /// As all others that have no `tls_config`.
    Plain(Box<Http>),
    Tls(Box<TlsClient>),
}

/// A client that is as its `tls_config` says, and as the files hold that it names.
pub(crate) struct TlsClient {
    config: TlsConfig,
    directory: PathBuf,
    current: tokio::sync::Mutex<Option<Made>>,
}

struct Made {
    looked_at: Instant,
    of: Texts,
    client: Http,
}

/// The texts that a `tls_config` stands for.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Texts {
    pub(crate) ca: Option<Vec<u8>>,
    /// Certificate and key.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl JobClient {
    /// `directory`: that of the configuration file, for relative paths.
    pub(crate) fn new(tls: Option<&TlsConfig>, directory: &Path, plain: &Http) -> JobClient {
        match tls {
            None => JobClient::Plain(Box::new(plain.clone())),
            Some(config) => JobClient::Tls(Box::new(TlsClient {
                config: config.clone(),
                directory: directory.to_owned(),
                current: tokio::sync::Mutex::default(),
            })),
        }
    }

    /// The client of this moment. The error says which file or value of `tls_config` cannot be used.
    pub(crate) async fn http(&self) -> Result<Http, String> {
        match self {
            JobClient::Plain(client) => Ok(client.as_ref().clone()),
            JobClient::Tls(client) => client.http().await,
        }
    }
}

impl TlsClient {
    async fn http(&self) -> Result<Http, String> {
        let mut current = self.current.lock().await;
        let now = Instant::now();
        if let Some(made) = current.as_ref()
            && now.duration_since(made.looked_at) < FILES_LOOKED_AT_EVERY
        {
            return Ok(made.client.clone());
        }
        let of = self.texts().await?;
        if let Some(made) = current.as_mut().filter(|made| made.of == of) {
            made.looked_at = now;
            return Ok(made.client.clone());
        }
        let tls = crate::tls::client_config(&self.config, &of).map_err(|why| format!("tls_config: {why}"))?;
        let client = match self.config.server_name.as_str() {
            "" => client(tls, None),
            name => {
                let none = || format!("tls_config: server_name {name:?} is neither a host name nor an address");
                client(tls, Some(trust::server_name(name).ok_or_else(none)?))
            }
        };
        *current = Some(Made { looked_at: now, of, client: client.clone() });
        Ok(client)
    }

    async fn texts(&self) -> Result<Texts, String> {
        let mut texts = Texts::default();
        if let Some(ca) = &self.config.ca {
            texts.ca = Some(self.text(ca, "ca_file").await?);
        }
        if let Some(client) = &self.config.client {
            let certificate = self.text(&client.certificate, "cert_file").await?;
            texts.client = Some((certificate, self.text(&client.key, "key_file").await?));
        }
        Ok(texts)
    }

    async fn text(&self, pem: &Pem, key: &str) -> Result<Vec<u8>, String> {
        match pem {
            Pem::Text(text) => Ok(text.0.clone().into_bytes()),
            Pem::File(file) => {
                let path = self.directory.join(file);
                read(&path).await.map_err(|error| format!("tls_config: cannot read {key} {}: {error}", path.display()))
            }
        }
    }
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = tokio::fs::File::open(path).await?;
    let mut text = Vec::new();
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut text).await?;
    if text.len() as u64 > PEM_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {PEM_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The client of jobs without `tls_config`.
pub(crate) fn plain() -> Result<Http, rustls::Error> {
    Ok(client(crate::tls::usual()?, None))
}

fn client(tls: ClientConfig, name: Option<rustls::pki_types::ServerName<'static>>) -> Http {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = match name {
        None => HttpsConnector::new(tcp, tls, false, Arc::new(DefaultServerNameResolver::default())),
        Some(name) => HttpsConnector::new(tcp, tls, false, Arc::new(FixedServerNameResolver::new(name))),
    };
    Client::builder(TokioExecutor::new()).timer(TokioTimer::new()).pool_timer(TokioTimer::new()).build(connector)
}
