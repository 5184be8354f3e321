//! `ProfileStoreService`: profiles that are pushed.

use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{Agents, Pushing, deadline};
use crate::listener::Peer;
use crate::proto::parca::profilestore::v1alpha1::profile_store_service_server::ProfileStoreService;
use crate::proto::parca::profilestore::v1alpha1::*;
use crate::writer::{Format, Incoming, Writer, ingest_status};

/// Within which a sender of `Write` must have sent its stacks; Parca's.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct ProfileStoreApi {
    pub(crate) writer: Writer,
    pub(crate) agents: Agents,
}

#[tonic::async_trait]
impl ProfileStoreService for ProfileStoreApi {
    async fn write_raw(&self, request: Request<WriteRawRequest>) -> Result<Response<WriteRawResponse>, Status> {
        let pushing = Pushing::begin(&request, "pprof");
        let deadline = deadline(&request);
        let address = address(&request);
        // `tenant` is ignored, as in Parca
        let WriteRawRequest { series, normalized, .. } = request.into_inner();
        let agent = agent_id(&series, &address);
        let written = match incoming(series, normalized) {
            Ok(incoming) => self.writer.write(incoming, address, None, deadline).await,
            Err(status) => Err(status),
        };
        self.agents.pushed(agent, &pushing, written.as_ref().map(|_| ()));
        written.map(|_| Response::new(WriteRawResponse {}))
    }

    type WriteStream = Pin<Box<dyn Stream<Item = Result<WriteResponse, Status>> + Send>>;

    async fn write(&self, request: Request<Streaming<WriteRequest>>) -> Result<Response<Self::WriteStream>, Status> {
        let pushing = Pushing::begin(&request, "arrow-v1");
        let began = pushing.began();
        let address = address(&request);
        let until = deadline(&request).map_or(began + HANDSHAKE_MAX, |deadline| deadline.min(began + HANDSHAKE_MAX));
        let scope = self.writer.scope(&request);
        let mut requests = request.into_inner();
        let asked = async {
            let samples = next_record(&mut requests, until).await?;
            self.writer.ask(samples, scope, Some(until)).await
        };
        let asked = match asked.await {
            Ok(asked) => asked,
            Err(status) => {
                self.agents.pushed(address, &pushing, Err(&status));
                return Err(status);
            }
        };
        let reply = tokio_stream::once(Ok(WriteResponse { record: asked.question.clone() }));
        let api = self.clone();
        let stacks = async move {
            let written = async {
                let locations = next_record(&mut requests, until).await?;
                api.writer.write_asked(asked, locations, address.clone(), Some(until)).await
            };
            let written = written.await;
            api.agents.pushed(address, &pushing, written.as_ref().map(|_| ()));
            written.err().map(Err)
        };
        let refusal = stacks.into_stream().filter_map(|refusal| refusal);
        Ok(Response::new(Box::pin(reply.chain(refusal))))
    }

    async fn write_arrow(&self, request: Request<WriteArrowRequest>) -> Result<Response<WriteArrowResponse>, Status> {
        let pushing = Pushing::begin(&request, "arrow-v2");
        let (deadline, address) = (deadline(&request), address(&request));
        let incoming = Incoming::message(Format::ArrowV2, request.into_inner().ipc_buffer);
        let written = self.writer.write(vec![incoming], address.clone(), None, deadline).await;
        self.agents.pushed(address, &pushing, written.as_ref().map(|_| ()));
        written.map(|_| Response::new(WriteArrowResponse {}))
    }
}

pub(super) fn address<T>(request: &Request<T>) -> String {
    request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical().to_string()).unwrap_or_default()
}

/// The next message of a `Write`; Parca's words where there is none.
async fn next_record(requests: &mut Streaming<WriteRequest>, until: Instant) -> Result<Bytes, Status> {
    match tokio::time::timeout_at(until.into(), requests.message()).await {
        Ok(Ok(Some(request))) => Ok(request.record),
        Ok(Ok(None)) => Err(Status::invalid_argument("failed to receive request: EOF")),
        Ok(Err(status)) => Err(status),
        Err(_elapsed) => Err(Status::deadline_exceeded(format!("no message within {HANDSHAKE_MAX:?}"))),
    }
}

/// Who writes: the first `node` label, else the address.
fn agent_id(series: &[RawProfileSeries], address: &str) -> String {
    let labels = series.iter().filter_map(|series| series.labels.as_ref()).flat_map(|set| &set.labels);
    let node = labels.into_iter().find(|label| label.name == "node" && !label.value.is_empty());
    node.map_or_else(|| address.to_owned(), |node| node.value.clone())
}

/// Labels are checked even of a series that brings no profile.
fn incoming(series: Vec<RawProfileSeries>, normalized: bool) -> Result<Vec<Incoming>, Status> {
    let mut incoming = Vec::new();
    for RawProfileSeries { labels, samples } in series {
        let labels: Vec<(String, String)> =
            labels.unwrap_or_default().labels.into_iter().map(|label| (label.name, label.value)).collect();
        ingest::check_labels(&labels).map_err(ingest_status)?;
        for RawSample { raw_profile, executable_info } in samples {
            let profile = Incoming::pprof(labels.clone(), raw_profile);
            incoming.push(Incoming { executables: executable_info, normalized, ..profile });
        }
    }
    Ok(incoming)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(labels: &[(&str, &str)]) -> RawProfileSeries {
        let labels = labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() });
        RawProfileSeries { labels: Some(LabelSet { labels: labels.collect() }), samples: Vec::new() }
    }

    #[test]
    fn an_agent_is_known_by_its_node_or_else_by_its_address() {
        let named = [series(&[("__name__", "w")]), series(&[("__name__", "w"), ("node", "node-x")])];
        assert_eq!(agent_id(&named, "10.0.0.1"), "node-x");
        assert_eq!(agent_id(&named[..1], "10.0.0.1"), "10.0.0.1");
        let without_labels = [RawProfileSeries { labels: None, samples: Vec::new() }];
        assert_eq!(agent_id(&without_labels, "::1"), "::1");
    }
}
