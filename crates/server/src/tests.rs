//! The server as its clients see it: real store and engine in a fresh directory, requests in and responses out.

mod bad_input;
mod catalogue;
mod debuginfo;
mod protocols;
mod pushed;
mod senders;
mod share;
mod stopping;
mod tls;

use std::sync::Arc;

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use prost::Message;
use query::{Engine, EngineOptions};
use store::{Environment, Store, StoreOptions};
use tonic::{Code, Status};

use crate::listener::{Answer, Connection};
use crate::proto::parca::profilestore::v1alpha1::{Label, LabelSet, RawProfileSeries, RawSample, WriteRawRequest};
use crate::proto::parca::query::v1alpha1::{ProfileTypesRequest, ProfileTypesResponse};
use crate::writer::Replay;
use crate::{Server, ServerOptions, writer};

const WRITE_RAW: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";
const PROFILE_TYPES: &str = "/parca.query.v1alpha1.QueryService/ProfileTypes";

/// A server on a store of its own; the directory goes with it.
struct Rig {
    server: Server,
    store: Arc<Store>,
    _directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Self::with(ServerOptions::default())
    }

    fn with(options: ServerOptions) -> Self {
        Self::within(tempfile::tempdir().expect("a directory"), options)
    }

    /// The same store, opened again: what is in memory only is gone, the log is replayed.
    fn restarted(self) -> Self {
        let Self { server, store, _directory: directory } = self;
        drop((server, store));
        Self::within(directory, ServerOptions::default())
    }

    fn within(directory: tempfile::TempDir, options: ServerOptions) -> Self {
        let environment = Environment::local(directory.path()).expect("a disk");
        let clock = environment.clock.clone();
        let replay = Arc::new(Replay::new(options.ingest));
        let (store, _) = Store::open(StoreOptions::default(), environment, replay).expect("a store");
        let store = Arc::new(store);
        let engine = Arc::new(Engine::new(store.clone(), EngineOptions::default()));
        let writer = writer(store.clone(), clock, &options);
        let mut registry = Registry::default();
        let nothing = scrape::Options::new(Vec::new(), "test");
        let scraper = scrape::Scraper::new(nothing, writer.clone(), &mut registry).expect("a scraper");
        let server = Server::new(options, store.clone(), engine, writer, scraper.handle(), registry).expect("a server");
        Self { server, store, _directory: directory }
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        self.server.front().answer(request).await
    }

    /// A unary call as a native gRPC client makes it.
    async fn call<Reply: Message + Default>(&self, path: &str, message: &impl Message) -> Result<Reply, Status> {
        self.call_bytes(path, frame(&message.encode_to_vec())).await
    }

    async fn call_bytes<Reply: Message + Default>(&self, path: &str, body: Bytes) -> Result<Reply, Status> {
        self.call_over(None, path, body).await
    }

    /// The same over a connection.
    async fn call_over<Reply: Message + Default>(
        &self,
        connection: Option<Connection>,
        path: &str,
        body: Bytes,
    ) -> Result<Reply, Status> {
        let mut request = grpc(path, body);
        if let Some(connection) = connection {
            request.extensions_mut().insert(connection);
        }
        self.called(request).await
    }

    async fn called<Reply: Message + Default>(&self, request: Request<Body>) -> Result<Reply, Status> {
        let (parts, body) = self.answer(request).await.into_parts();
        let failed = |headers| Status::from_header_map(headers).filter(|status| status.code() != Code::Ok);
        if let Some(status) = failed(&parts.headers) {
            return Err(status);
        }
        let collected = body.collect().await.expect("a body");
        if let Some(status) = collected.trailers().and_then(failed) {
            return Err(status);
        }
        Ok(Reply::decode(&collected.to_bytes()[5..]).expect("a reply"))
    }

    async fn write(&self, labels: &[(&str, &str)], profile: Vec<u8>) -> Result<(), Status> {
        self.call::<crate::proto::parca::profilestore::v1alpha1::WriteRawResponse>(
            WRITE_RAW,
            &write_raw(labels, profile),
        )
        .await
        .map(drop)
    }

    /// Names of the profile types that are stored.
    async fn types(&self) -> Vec<String> {
        let reply: ProfileTypesResponse =
            self.call(PROFILE_TYPES, &ProfileTypesRequest::default()).await.expect("profile types");
        reply.types.into_iter().map(|kind| format!("{}:{}", kind.name, kind.sample_type)).collect()
    }

    /// Plain HTTP: status, content type and body.
    async fn http(&self, method: Method, path: &str) -> (u16, String, String) {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().expect("a path");
        read(self.answer(request).await).await
    }
}

/// A call as a native gRPC client makes it.
fn grpc(path: &str, body: Bytes) -> Request<Body> {
    let request = Request::post(path).version(Version::HTTP_2).header("content-type", "application/grpc");
    request.body(Body::from(body)).expect("a request")
}

async fn read(response: Response<Body>) -> (u16, String, String) {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().expect("text").to_owned());
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, content_type.unwrap_or_default(), String::from_utf8_lossy(&body).into_owned())
}

fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.extend_from_slice(message);
    frame.freeze()
}

fn write_raw(labels: &[(&str, &str)], profile: Vec<u8>) -> WriteRawRequest {
    let labels = labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() }).collect();
    let sample = RawSample { raw_profile: profile.into(), executable_info: Vec::new() };
    let series = RawProfileSeries { labels: Some(LabelSet { labels }), samples: vec![sample] };
    WriteRawRequest { series: vec![series], ..WriteRawRequest::default() }
}

/// A pprof of one sample, `main` for 10 ms, not compressed.
fn small_pprof() -> Vec<u8> {
    deep_pprof(1)
}

/// The same where `main` calls itself, `depth` frames in all.
fn deep_pprof(depth: usize) -> Vec<u8> {
    use profile::pprof::{Pprof, encode};
    let mut pprof = Pprof::default();
    pprof.symbols.strings = profile::Strings::with_empty();
    pprof.label_sets = profile::LabelSets::with_empty();
    let [samples, count, cpu, nanoseconds, main] =
        ["samples", "count", "cpu", "nanoseconds", "main"].map(|text| pprof.symbols.strings.push(text.as_bytes()));
    pprof.sample_types = vec![(samples, count), (cpu, nanoseconds)];
    pprof.period_type = Some((cpu, nanoseconds));
    pprof.period = 10_000_000;
    pprof.time = 1_768_478_400_000_000_000;
    pprof.duration = 1_000_000_000;
    let symbols = &mut pprof.symbols;
    symbols.functions.name.push(main);
    symbols.functions.system_name.push(main);
    symbols.functions.filename.push(0);
    symbols.functions.start_line.push(0);
    symbols.lines.function.push(0);
    symbols.lines.line.push(1);
    symbols.lines.column.push(0);
    symbols.locations.mapping.push(profile::NONE);
    symbols.locations.address.push(0);
    symbols.locations.is_folded.push(false);
    symbols.locations.line_end.push(1);
    pprof.stacks.push(&vec![0; depth]);
    pprof.values = vec![1, 10_000_000];
    encode(&pprof)
}
