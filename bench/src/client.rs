//! What a client says to the built server over gRPC.

use std::time::Duration;

use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::corpus::Payload;
use crate::process::Server;
use crate::wire::{Empty, Label, LabelSet, RawProfileSeries, RawSample, WriteRawRequest};

/// Connections that write at the same time, each waiting for its acknowledgement.
const CONNECTIONS: usize = 16;

pub async fn connect(server: &Server) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");
    Grpc::new(channel).max_decoding_message_size(64 << 20)
}

/// One call, its reply of any kind.
pub async fn call<Q, R>(grpc: &mut Grpc<Channel>, path: &'static str, request: Q) -> Result<R, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    R: prost::Message + Default + Send + Sync + 'static,
{
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let codec: ProstCodec<Q, R> = ProstCodec::default();
    let reply = grpc.unary(Request::new(request), PathAndQuery::from_static(path), codec).await?;
    Ok(reply.into_inner())
}

/// Every profile acknowledged; one that is refused for lack of room is sent again.
pub async fn write_all(server: &Server, payloads: &[Payload], packed: &[Bytes]) {
    let lanes = (0..CONNECTIONS).map(|lane| async move {
        let mut grpc = connect(server).await;
        for (payload, packed) in payloads.iter().zip(packed).skip(lane).step_by(CONNECTIONS) {
            loop {
                match call::<_, Empty>(&mut grpc, WRITE_RAW, write_request(payload, packed)).await {
                    Ok(_) => break,
                    Err(status) if status.code() == Code::ResourceExhausted => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(status) => panic!("WriteRaw: {status}"),
                }
            }
        }
    });
    let mut lanes: Vec<_> = lanes.map(Box::pin).collect();
    // all of them on this thread, until the last is done
    std::future::poll_fn(|context| {
        lanes.retain_mut(|lane| lane.as_mut().poll(context).is_pending());
        if lanes.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

const WRITE_RAW: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw";
pub const QUERY: &str = "/parca.query.v1alpha1.QueryService/Query";

fn write_request(payload: &Payload, packed: &Bytes) -> WriteRawRequest {
    let label = |(name, value): &(String, String)| Label { name: name.clone(), value: value.clone() };
    let labels = LabelSet { labels: payload.labels.iter().map(label).collect() };
    let samples = vec![RawSample { raw_profile: packed.clone() }];
    WriteRawRequest { series: vec![RawProfileSeries { labels: Some(labels), samples }] }
}
