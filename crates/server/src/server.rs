//! Puts the pieces together: options and parts in, a running server out.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use forward::{Forwarder, Upstream};
use http::Request;
use ingest::Limits;
use prometheus_client::registry::Registry;
use query::Engine;
use store::{Budget, Clock, Store};
use symbolize::{Sources, Uploads};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::pb::{v1, v1alpha};

use crate::api::{
    Agents, AgentsApi, DebuginfoApi, EXPORT, OtlpApi, ProfileStoreApi, QueryApi, ScrapeApi, Share, TelemetryApi, pass,
};
use crate::front::{Front, Plain};
use crate::grpc::method::Methods;
use crate::grpc::reflection::Reflection;
use crate::grpc::stack::{GrpcStack, RpcLimits};
use crate::grpc::unimplemented;
use crate::known::KnownStacks;
use crate::listener::Listener;
use crate::metrics::{ProcessCollector, RpcMetrics, StoreCollector};
use crate::otlp_http::OtlpHttp;
use crate::plain::{self, HeapProfiler, SelfProfiler};
use crate::proto;
use crate::proto::parca::debuginfo::v1alpha1::debuginfo_service_server::DebuginfoServiceServer;
use crate::proto::parca::profilestore::v1alpha1::agents_service_server::AgentsServiceServer;
use crate::proto::parca::profilestore::v1alpha1::profile_store_service_server::ProfileStoreServiceServer;
use crate::proto::parca::query::v1alpha1::query_service_server::QueryServiceServer;
use crate::proto::parca::scrape::v1alpha1::scrape_service_server::ScrapeServiceServer;
use crate::proto::parca::telemetry::v1alpha1::telemetry_service_server::TelemetryServiceServer;
use crate::rest::Gateway;
use crate::work::Workers;
use crate::writer::{KnownSymbols, Writer};

/// Everything the server can be told, with defaults.
#[derive(Clone)]
pub struct ServerOptions {
    pub limits: RpcLimits,
    /// Memory for messages that are being received, in bytes: four of the largest.
    pub request_bytes: u64,
    /// Memory for profiles between decoding and the head, in bytes.
    pub batch_bytes: u64,
    /// Memory for stacks that senders of `Write` need not send again, in bytes; a sixteenth of the store's budget at most.
    pub known_stacks_bytes: u64,
    pub ingest: Limits,
    /// Writes at work at once. They wait for the disk together, so more than there are cores.
    pub writes_at_once: usize,
    /// Queries at work at once.
    pub queries_at_once: usize,
    /// Calls of either kind that may wait for a worker.
    pub waiting_max: usize,
    /// Empty, or with a slash in front and none at the end.
    pub path_prefix: String,
    /// Origins that browsers may call from; `*` for any.
    pub cors_origins: Vec<String>,
    pub heap_profiler: Option<HeapProfiler>,
    /// Without it debuginfo is not taken.
    pub uploads: Option<Arc<Uploads>>,
    /// Source files beside the lines that a report shows.
    pub sources: Option<Arc<Sources>>,
    /// The server that profiles are shared on; with nobody without.
    pub share: Option<Upstream>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            limits: RpcLimits::default(),
            request_bytes: 256 << 20,
            batch_bytes: 256 << 20,
            known_stacks_bytes: 64 << 20,
            ingest: Limits::default(),
            writes_at_once: cores * 4,
            queries_at_once: cores * 2,
            waiting_max: 512,
            path_prefix: String::new(),
            cors_origins: Vec::new(),
            heap_profiler: None,
            uploads: None,
            sources: None,
            share: None,
        }
    }
}

/// Ready to serve on any number of listeners.
pub struct Server {
    front: Front,
    health: HealthReporter,
}

/// What symbols of agents and collectors may take that they are expected to send again.
const KNOWN_SYMBOLS_BYTES: u64 = 64 << 20;

/// How profiles get in; made before the server, because the scraper needs it first.
pub fn writer(store: Arc<Store>, clock: Arc<dyn Clock>, options: &ServerOptions) -> Writer {
    let workers = Workers::new("write", options.writes_at_once, options.waiting_max);
    let memory = store.budget().account("batches", options.batch_bytes);
    let known_bytes = options.known_stacks_bytes.min(store.budget().total() / 16);
    let known = KnownStacks::new(known_bytes, &store.budget().account("known stacks", known_bytes));
    let symbols = known_symbols(store.budget());
    Writer::new(store, clock, options.ingest, workers, memory, known, symbols)
}

/// The same where profiles are handed on. `labels` are added to profiles that are scraped.
pub fn forwarding_writer(
    forwarder: Forwarder,
    labels: Vec<(String, String)>,
    clock: Arc<dyn Clock>,
    memory: &Budget,
    options: &ServerOptions,
) -> Writer {
    let workers = Workers::new("write", options.writes_at_once, options.waiting_max);
    let symbols = known_symbols(memory);
    let memory = memory.account("batches", options.batch_bytes);
    Writer::forwarding(forwarder, labels, clock, options.ingest, workers, memory, symbols)
}

fn known_symbols(memory: &Budget) -> KnownSymbols {
    let bytes = KNOWN_SYMBOLS_BYTES.min(memory.total() / 16);
    KnownSymbols::new(bytes, &memory.account("known symbols", bytes))
}

impl Server {
    /// Registers its metrics in `registry` and shows all of it under `/metrics`.
    pub fn new(
        options: ServerOptions,
        store: Arc<Store>,
        engine: Arc<Engine>,
        writer: Writer,
        scraper: scrape::Handle,
        mut registry: Registry,
    ) -> Result<Self, SetupError> {
        registry.register_collector(Box::new(StoreCollector::new(store.clone())));
        // the front has refused larger ones already, with the code that clients expect
        let message_bytes = options.limits.message_bytes + 1;
        let query = QueryApi {
            engine,
            sources: options.sources.clone(),
            workers: Workers::new("query", options.queries_at_once, options.waiting_max),
            reply_bytes_max: options.limits.message_bytes,
            share: options.share.clone().map(|upstream| Share::new(upstream, &mut registry)),
        };
        let services = Routes::new(
            QueryServiceServer::new(query)
                .max_decoding_message_size(message_bytes)
                .accept_compressed(CompressionEncoding::Gzip),
        )
        .add_service(
            DebuginfoServiceServer::new(DebuginfoApi(options.uploads.clone()))
                .max_decoding_message_size(message_bytes)
                .accept_compressed(CompressionEncoding::Gzip),
        );
        Self::assemble(options, store.budget(), services.into_axum_router(), writer, scraper, registry)
    }

    /// A server that hands on what comes in: it answers no queries, and debuginfo is the other server's affair.
    pub fn forwarding(
        options: ServerOptions,
        upstream: Upstream,
        memory: &Budget,
        writer: Writer,
        scraper: scrape::Handle,
        registry: Registry,
    ) -> Result<Self, SetupError> {
        let pass = move |request: Request<Body>| pass::answer(upstream.clone(), request);
        let services = Router::new().route(pass::DEBUGINFO, axum::routing::post(pass));
        Self::assemble(options, memory, services, writer, scraper, registry)
    }

    /// `services` and those that every server has, behind one front.
    fn assemble(
        options: ServerOptions,
        memory: &Budget,
        services: Router,
        writer: Writer,
        scraper: scrape::Handle,
        mut registry: Registry,
    ) -> Result<Self, SetupError> {
        let pool = proto::pool().map_err(|error| SetupError(format!("descriptors: {error}")))?;
        let methods = Methods::new(&pool);
        let metrics = RpcMetrics::register(&mut registry, methods.all());
        registry.register_collector(Box::new(ProcessCollector));

        let (health, health_service) = tonic_health::server::health_reporter();
        let agents = Agents::default();
        agents.register(&mut registry);
        writer.register(&mut registry);
        let message_bytes = options.limits.message_bytes + 1;
        let reflection = Reflection::new(pool.clone());
        let otlp = OtlpApi { writer: writer.clone(), agents: agents.clone(), message_bytes_max: message_bytes };
        let routes = Routes::new(health_service)
            .add_service(
                ProfileStoreServiceServer::new(ProfileStoreApi { writer, agents: agents.clone() })
                    .max_decoding_message_size(message_bytes)
                    .accept_compressed(CompressionEncoding::Gzip),
            )
            .add_service(AgentsServiceServer::new(AgentsApi(agents)))
            .add_service(ScrapeServiceServer::new(ScrapeApi(scraper)))
            .add_service(TelemetryServiceServer::new(TelemetryApi))
            .add_service(v1::server_reflection_server::ServerReflectionServer::new(reflection.clone()))
            .add_service(v1alpha::server_reflection_server::ServerReflectionServer::new(reflection));
        let export = move |request: Request<Body>| otlp.clone().answer(request);
        let routes = routes.into_axum_router().route(EXPORT, axum::routing::post(export));
        let routes = routes.reset_fallback().merge(services.reset_fallback()).fallback({
            let pool = pool.clone();
            move |request: Request<Body>| unimplemented::answer(pool.clone(), request)
        });

        let memory = memory.account("requests", options.request_bytes);
        let grpc = GrpcStack::new(routes, methods, metrics, options.limits.clone(), memory);
        let gateway = Gateway::new(&pool, grpc.clone(), options.limits.message_bytes);
        let otlp = OtlpHttp::new(&pool, grpc.clone(), options.limits.message_bytes)
            .ok_or_else(|| SetupError("descriptors: OTLP's request is missing".to_owned()))?;
        let profiler = SelfProfiler::new(options.heap_profiler);
        let http = plain::router(Arc::new(registry), gateway, otlp, profiler, &options.path_prefix);
        Ok(Self { front: Front::new(grpc, http, &options.cors_origins), health })
    }

    #[cfg(test)]
    pub(crate) fn front(&self) -> &Front {
        &self.front
    }

    /// Accepts on all of `listeners` until `stop` ends, then finishes what is under way. Health says SERVING in between.
    pub async fn serve(self, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
        self.health.set_service_status("", ServingStatus::Serving).await;
        let (stopping, stopped) = watch::channel(());
        let mut serving = JoinSet::new();
        for listener in listeners {
            let mut stopped = stopped.clone();
            serving.spawn(listener.serve(self.front.clone(), async move {
                // an error says that the sender is gone: it stops then too
                let _ = stopped.changed().await;
            }));
        }
        stop.await;
        self.health.set_service_status("", ServingStatus::NotServing).await;
        drop(stopping);
        while let Some(ended) = serving.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a listener ended badly");
            }
        }
    }
}

/// Serves `/debug/pprof` of this process and nothing else, until `stop` ends.
pub async fn serve_profiles(listener: Listener, heap: Option<HeapProfiler>, stop: impl Future<Output = ()>) {
    listener.serve(Plain(plain::profiles_only(SelfProfiler::new(heap))), stop).await;
}

/// The embedded descriptors do not hold together: a defect of the build.
#[derive(Debug)]
pub struct SetupError(String);

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server cannot be set up: {}", self.0)
    }
}

impl std::error::Error for SetupError {}
