//! `ProfileStoreService`: profiles that are pushed.

use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::{Agents, deadline, unimplemented};
use crate::listener::Peer;
use crate::proto::parca::profilestore::v1alpha1::profile_store_service_server::ProfileStoreService;
use crate::proto::parca::profilestore::v1alpha1::*;
use crate::writer::{Incoming, Writer};

pub(crate) struct ProfileStoreApi {
    pub(crate) writer: Writer,
    pub(crate) agents: Agents,
}

#[tonic::async_trait]
impl ProfileStoreService for ProfileStoreApi {
    async fn write_raw(&self, request: Request<WriteRawRequest>) -> Result<Response<WriteRawResponse>, Status> {
        let began = Instant::now();
        let deadline = deadline(&request);
        let address =
            request.extensions().get::<Peer>().map(|peer| peer.0.ip().to_canonical().to_string()).unwrap_or_default();
        // `tenant` and `normalized` are ignored, as in Parca
        let series = request.into_inner().series;
        let agent = agent_id(&series, &address);
        let written = match incoming(series) {
            Ok(incoming) => self.writer.write(incoming, address, None, deadline).await,
            Err(status) => Err(status),
        };
        self.agents.pushed(agent, began, written.as_ref().map(|_| ()));
        written.map(|_| Response::new(WriteRawResponse {}))
    }

    type WriteStream = tokio_stream::Empty<Result<WriteResponse, Status>>;

    async fn write(&self, _: Request<Streaming<WriteRequest>>) -> Result<Response<Self::WriteStream>, Status> {
        unimplemented("Write")
    }

    async fn write_arrow(&self, _: Request<WriteArrowRequest>) -> Result<Response<WriteArrowResponse>, Status> {
        unimplemented("WriteArrow")
    }
}

/// Who writes: the first `node` label, else the address.
fn agent_id(series: &[RawProfileSeries], address: &str) -> String {
    let labels = series.iter().filter_map(|series| series.labels.as_ref()).flat_map(|set| &set.labels);
    let node = labels.into_iter().find(|label| label.name == "node" && !label.value.is_empty());
    node.map_or_else(|| address.to_owned(), |node| node.value.clone())
}

/// Labels are checked even of a series that brings no profile.
fn incoming(series: Vec<RawProfileSeries>) -> Result<Vec<Incoming>, Status> {
    let mut incoming = Vec::new();
    for RawProfileSeries { labels, samples } in series {
        let labels: Vec<(String, String)> =
            labels.unwrap_or_default().labels.into_iter().map(|label| (label.name, label.value)).collect();
        ingest::check_labels(&labels).map_err(crate::writer::ingest_status)?;
        for RawSample { raw_profile, executable_info } in samples {
            let executables = executable_info.len();
            incoming.push(Incoming { labels: labels.clone(), payload: raw_profile, executables });
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
