//! gRPC calls, each with a deadline.

use std::{net::SocketAddr, time::Duration};

use http::uri::PathAndQuery;
use prost::Message;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_prost::ProstCodec;

use crate::wire::{
    ExportRequest, HasProfileDataResponse, InitiateUploadRequest, InitiateUploadResponse, LabelSet, MODE_MERGE,
    MarkUploadFinishedRequest, MergeProfile, Nothing, ProfileType, ProfileTypesResponse, QueryRangeRequest,
    QueryRangeResponse, QueryRequest, QueryResponse, RawProfileSeries, RawSample, ShouldInitiateUploadRequest,
    ShouldInitiateUploadResponse, Target, TargetsResponse, Timestamp, UploadData, UploadInfo, UploadInstructions,
    UploadRequest, UploadResponse, WriteArrowRequest, WriteRawRequest, WriteRequest,
};

const CALL_SECONDS: u64 = 30;

/// A large file, to a debug build, over a bad way.
const UPLOAD_SECONDS: u64 = 120;

/// One connection to a server.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    reply_bytes_max: usize,
}

impl Client {
    /// Connects at the first call.
    pub fn new(address: SocketAddr) -> Client {
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address is a URL");
        Client { channel: endpoint.connect_timeout(Duration::from_secs(5)).connect_lazy(), reply_bytes_max: 64 << 20 }
    }

    /// Takes no larger replies; over the same connection.
    pub fn with_limit(mut self, reply_bytes_max: usize) -> Client {
        self.reply_bytes_max = reply_bytes_max;
        self
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The reply of `path`, or its status.
    pub async fn call<Q, A>(&self, path: &'static str, message: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(self.reply_bytes_max);
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(CALL_SECONDS));
        let codec: ProstCodec<Q, A> = ProstCodec::default();
        let call = grpc.unary(request, PathAndQuery::from_static(path), codec);
        match tokio::time::timeout(Duration::from_secs(CALL_SECONDS + 5), call).await {
            Ok(reply) => reply.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// Stores one profile.
    pub async fn write(&self, labels: &[(&str, &str)], profile: Vec<u8>) -> Result<(), Status> {
        let series =
            RawProfileSeries { labels: Some(LabelSet::new(labels)), samples: vec![RawSample { raw_profile: profile }] };
        let request = WriteRawRequest { series: vec![series] };
        self.call("/parca.profilestore.v1alpha1.ProfileStoreService/WriteRaw", request).await.map(|Nothing {}| ())
    }

    pub async fn has_data(&self) -> Result<bool, Status> {
        let reply: HasProfileDataResponse =
            self.call("/parca.query.v1alpha1.QueryService/HasProfileData", Nothing {}).await?;
        Ok(reply.has_data)
    }

    /// Values at each second of `start..=end`, over all series that match; empty if there are none.
    pub async fn values(&self, query: &str, start: i64, end: i64) -> Result<Vec<(i64, i64)>, Status> {
        let request = QueryRangeRequest {
            query: query.to_owned(),
            start: Some(Timestamp::of_seconds(start)),
            end: Some(Timestamp::of_seconds(end)),
            step: Some(Timestamp::of_seconds(1)),
        };
        let reply: Result<QueryRangeResponse, Status> =
            self.call("/parca.query.v1alpha1.QueryService/QueryRange", request).await;
        let samples = match reply {
            Ok(reply) => reply.series.into_iter().flat_map(|series| series.samples),
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(Vec::new()),
            Err(status) => return Err(status),
        };
        Ok(samples.map(|sample| (sample.timestamp.map_or(0, |time| time.seconds), sample.value)).collect())
    }

    /// All profiles of `start..=end` merged.
    pub async fn merge(&self, query: &str, start: i64, end: i64, report_type: i32) -> Result<QueryResponse, Status> {
        let merge = MergeProfile {
            query: query.to_owned(),
            start: Some(Timestamp::of_seconds(start)),
            end: Some(Timestamp::of_seconds(end)),
        };
        self.query(QueryRequest { mode: MODE_MERGE, merge: Some(merge), report_type, ..QueryRequest::default() }).await
    }

    /// Any report.
    pub async fn query(&self, request: QueryRequest) -> Result<QueryResponse, Status> {
        self.call("/parca.query.v1alpha1.QueryService/Query", request).await
    }

    /// Whether a file is wanted, and why.
    pub async fn should_upload(&self, build_id: &str) -> Result<(bool, String), Status> {
        let request = ShouldInitiateUploadRequest { build_id: build_id.to_owned() };
        let path = "/parca.debuginfo.v1alpha1.DebuginfoService/ShouldInitiateUpload";
        let reply: ShouldInitiateUploadResponse = self.call(path, request).await?;
        Ok((reply.should_initiate_upload, reply.reason))
    }

    pub async fn initiate_upload(&self, build_id: &str, size: usize) -> Result<UploadInstructions, Status> {
        self.initiate(build_id, size, false).await
    }

    /// Even if an upload of it is under way or there.
    pub async fn force_upload(&self, build_id: &str, size: usize) -> Result<UploadInstructions, Status> {
        self.initiate(build_id, size, true).await
    }

    async fn initiate(&self, build_id: &str, size: usize, force: bool) -> Result<UploadInstructions, Status> {
        let (build_id, hash) = (build_id.to_owned(), format!("hash-{size}"));
        let request = InitiateUploadRequest { build_id, size: size as i64, hash, force };
        let path = "/parca.debuginfo.v1alpha1.DebuginfoService/InitiateUpload";
        let reply: InitiateUploadResponse = self.call(path, request).await?;
        reply.upload_instructions.ok_or_else(|| Status::internal("a reply without instructions"))
    }

    pub async fn finish_upload(&self, instructions: &UploadInstructions) -> Result<(), Status> {
        let UploadInstructions { build_id, upload_id, .. } = instructions.clone();
        let request = MarkUploadFinishedRequest { build_id, upload_id };
        let path = "/parca.debuginfo.v1alpha1.DebuginfoService/MarkUploadFinished";
        self.call(path, request).await.map(|Nothing {}| ())
    }

    /// Sends a file as agents do, in chunks; gives the size that the server says.
    pub async fn upload(&self, instructions: &UploadInstructions, file: &[u8]) -> Result<u64, Status> {
        const CHUNK_BYTES: usize = 1 << 20;
        let chunks: Vec<Vec<u8>> = file.chunks(CHUNK_BYTES).map(<[u8]>::to_vec).collect();
        self.upload_chunks(instructions, tokio_stream::iter(chunks)).await
    }

    /// The same, chunk by chunk as they come.
    pub async fn upload_chunks(
        &self,
        instructions: &UploadInstructions,
        chunks: impl Stream<Item = Vec<u8>> + Send + 'static,
    ) -> Result<u64, Status> {
        let UploadInstructions { build_id, upload_id, .. } = instructions.clone();
        let message = |data| UploadRequest { data: Some(data) };
        let info = tokio_stream::once(message(UploadData::Info(UploadInfo { build_id, upload_id })));
        let messages = info.chain(chunks.map(move |chunk| message(UploadData::ChunkData(chunk))));
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/parca.debuginfo.v1alpha1.DebuginfoService/Upload");
        let codec: ProstCodec<UploadRequest, UploadResponse> = ProstCodec::default();
        let call = grpc.client_streaming(Request::new(messages), path, codec);
        match tokio::time::timeout(Duration::from_secs(UPLOAD_SECONDS), call).await {
            Ok(reply) => reply.map(|reply| reply.into_inner().size),
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// Arrow of the newer kind.
    pub async fn write_arrow(&self, ipc_buffer: Vec<u8>) -> Result<(), Status> {
        let path = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow";
        self.call(path, WriteArrowRequest { ipc_buffer }).await.map(|Nothing {}| ())
    }

    /// Arrow of the older kind: the samples, and the stacks that the server asks for then.
    pub async fn write_v1(&self, samples: Vec<u8>, locations: Vec<u8>) -> Result<(), Status> {
        let messages = [samples, locations].map(|record| WriteRequest { record });
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/parca.profilestore.v1alpha1.ProfileStoreService/Write");
        let codec: ProstCodec<WriteRequest, WriteRequest> = ProstCodec::default();
        let call = async {
            let reply = grpc.streaming(Request::new(tokio_stream::iter(messages)), path, codec).await?;
            let mut questions = reply.into_inner();
            let first = questions.message().await?;
            assert!(first.is_some_and(|question| !question.record.is_empty()), "asks for stacks");
            while questions.message().await?.is_some() {}
            Ok(())
        };
        match tokio::time::timeout(Duration::from_secs(CALL_SECONDS), call).await {
            Ok(ended) => ended,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// The same as an agent does it: `answer` makes of the question, which is given back, what is sent then.
    pub async fn exchange_v1(
        &self,
        samples: Vec<u8>,
        answer: impl FnOnce(&[u8]) -> Vec<u8>,
    ) -> Result<Vec<u8>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/parca.profilestore.v1alpha1.ProfileStoreService/Write");
        let codec: ProstCodec<WriteRequest, WriteRequest> = ProstCodec::default();
        let (send, messages) = tokio::sync::mpsc::channel(2);
        let gone = |_| Status::unavailable("the call is over");
        let call = async {
            send.send(WriteRequest { record: samples }).await.map_err(gone)?;
            let mut questions =
                grpc.streaming(Request::new(ReceiverStream::new(messages)), path, codec).await?.into_inner();
            let question = questions.message().await?.ok_or_else(|| Status::unavailable("no question"))?.record;
            send.send(WriteRequest { record: answer(&question) }).await.map_err(gone)?;
            drop(send);
            while questions.message().await?.is_some() {}
            Ok(question)
        };
        match tokio::time::timeout(Duration::from_secs(CALL_SECONDS), call).await {
            Ok(ended) => ended,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// The first half of [`Client::write_v1`]: what is given back, once dropped, ends the call.
    pub async fn begin_v1(&self, samples: Vec<u8>) -> Result<tonic::Streaming<WriteRequest>, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/parca.profilestore.v1alpha1.ProfileStoreService/Write");
        let codec: ProstCodec<WriteRequest, WriteRequest> = ProstCodec::default();
        let messages = tokio_stream::iter([WriteRequest { record: samples }]).chain(tokio_stream::pending());
        let call = async {
            let mut questions = grpc.streaming(Request::new(messages), path, codec).await?.into_inner();
            let first = questions.message().await?;
            assert!(first.is_some_and(|question| !question.record.is_empty()), "asks for stacks");
            Ok(questions)
        };
        match tokio::time::timeout(Duration::from_secs(CALL_SECONDS), call).await {
            Ok(begun) => begun,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// OTLP, as it was written.
    pub async fn export(&self, request: &[u8]) -> Result<(), Status> {
        let request = ExportRequest::decode(request).expect("an export");
        let path = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
        self.call(path, request).await.map(|Nothing {}| ())
    }

    /// All profile types, each as a selector.
    pub async fn types(&self) -> Result<Vec<String>, Status> {
        let reply: ProfileTypesResponse =
            self.call("/parca.query.v1alpha1.QueryService/ProfileTypes", Nothing {}).await?;
        let mut types: Vec<String> = reply.types.iter().map(ProfileType::selector).collect();
        types.sort();
        Ok(types)
    }

    /// All scrape targets.
    pub async fn targets(&self) -> Result<Vec<Target>, Status> {
        let reply: TargetsResponse = self.call("/parca.scrape.v1alpha1.ScrapeService/Targets", Nothing {}).await?;
        Ok(reply.targets.into_values().flat_map(|targets| targets.targets).collect())
    }
}
