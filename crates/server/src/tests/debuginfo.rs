//! Uploads of debuginfo: whatever a sender does, nothing half stays and the next one is served.

use std::convert::Infallible;

use bucket::{Bucket, Options, Provider};
use hyper::body::Frame;
use symbolize::{UploadOptions, Uploads};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::proto::parca::debuginfo::v1alpha1::upload_request::Data;
use crate::proto::parca::debuginfo::v1alpha1::*;

const INITIATE: &str = "/parca.debuginfo.v1alpha1.DebuginfoService/InitiateUpload";
const UPLOAD: &str = "/parca.debuginfo.v1alpha1.DebuginfoService/Upload";
const FINISH: &str = "/parca.debuginfo.v1alpha1.DebuginfoService/MarkUploadFinished";

/// Memory for all messages.
const REQUEST_BYTES: u64 = 20 << 20;

/// A server that takes debuginfo, and the bucket that it goes to.
struct Uploading {
    rig: Rig,
    bucket: Bucket,
    memory: store::Account,
    _directory: tempfile::TempDir,
}

impl Uploading {
    fn new(bytes_max: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let provider = Provider::Filesystem { directory: directory.path().display().to_string() };
        let options = Options { prefix: String::new(), provider };
        let bucket = Bucket::connect(&options, bucket::Metrics::unregistered("test")).expect("a bucket");
        let memory = store::Budget::new(1 << 20).account("uploads", 1 << 20);
        let options = UploadOptions { bytes_max, at_once: 1, ..UploadOptions::default() };
        let clock = Environment::local(directory.path().join("clock")).expect("a clock").clock;
        let metrics = symbolize::uploads::Metrics::default();
        let uploads = Uploads::new(bucket.clone(), options, clock, memory.clone(), metrics).expect("uploads");
        let uploads = Some(Arc::new(uploads));
        let rig = Rig::with(ServerOptions { uploads, request_bytes: REQUEST_BYTES, ..ServerOptions::default() });
        Self { rig, bucket, memory, _directory: directory }
    }

    async fn initiate(&self, build_id: &str) -> UploadInfo {
        let request = InitiateUploadRequest {
            build_id: build_id.into(),
            size: 5,
            hash: "h".into(),
            ..InitiateUploadRequest::default()
        };
        let reply: InitiateUploadResponse = self.rig.call(INITIATE, &request).await.expect("initiated");
        let instructions = reply.upload_instructions.expect("instructions");
        UploadInfo { build_id: build_id.into(), upload_id: instructions.upload_id, r#type: 0 }
    }

    async fn upload(&self, info: UploadInfo, chunks: &[&'static [u8]]) -> Result<UploadResponse, Status> {
        let mut body = BytesMut::from(&message(Data::Info(info))[..]);
        for chunk in chunks {
            body.extend_from_slice(&message(Data::ChunkData(Bytes::from_static(chunk))));
        }
        self.rig.call_bytes(UPLOAD, body.freeze()).await
    }

    async fn stored(&self, build_id: &str) -> Option<u64> {
        self.bucket.size(&format!("debuginfo/{build_id}/debuginfo")).await.expect("an answer")
    }
}

fn message(data: Data) -> Bytes {
    frame(&UploadRequest { data: Some(data) }.encode_to_vec())
}

#[tokio::test]
async fn an_upload_larger_than_it_may_be_is_refused_and_nothing_of_it_stays() {
    let server = Uploading::new(1000);
    let info = server.initiate("feed").await;
    let status = server.upload(info.clone(), &[&[7; 600], &[7; 600]]).await.expect_err("too large");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("exceeds the maximum allowed size 1000"), "{}", status.message());
    assert_eq!(server.stored("feed").await, None);
    let finish = MarkUploadFinishedRequest { build_id: "feed".into(), upload_id: info.upload_id.clone(), r#type: 0 };
    let status = server.rig.call::<MarkUploadFinishedResponse>(FINISH, &finish).await.expect_err("no file");
    assert_eq!(status.code(), Code::FailedPrecondition);
    let reply = server.upload(info, &[&[7; 600], &[7; 400]]).await.expect("what fits is taken");
    assert_eq!((reply.size, server.stored("feed").await), (1000, Some(1000)));
    assert_eq!(server.memory.used(), 0);
}

#[tokio::test]
async fn a_client_that_stops_halfway_leaves_nothing_and_makes_room_for_the_next() {
    let server = Uploading::new(1000);
    let info = server.initiate("feed").await;
    let (sender, sent) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
    let stream = Body::new(http_body_util::StreamBody::new(ReceiverStream::new(sent)));
    let mut request = Request::new(stream);
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = UPLOAD.parse().expect("a path");
    request.headers_mut().insert("content-type", "application/grpc".parse().expect("a header"));
    for data in [Data::Info(info.clone()), Data::ChunkData(Bytes::from_static(&[7; 10]))] {
        sender.send(Ok(Frame::data(message(data)))).await.expect("it is read");
    }
    let mut answer = Box::pin(server.rig.answer(request));
    // until it waits for what does not come
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), &mut answer).await;
    assert!(waits.is_err(), "an upload ends when its sender says so");
    let status = server.upload(info.clone(), &[b"x"]).await.expect_err("one at a time");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.metadata().contains_key("retry-after"));
    drop(answer);
    assert_eq!(server.stored("feed").await, None);
    let reply = server.upload(info, &[b"whole"]).await.expect("there is room again");
    assert_eq!((reply.size, server.stored("feed").await), (5, Some(5)));
    assert!(server.bucket.list("tmp").await.expect("a list").is_empty());
}

#[tokio::test]
async fn a_message_out_of_place_or_of_no_known_type_is_named() {
    let server = Uploading::new(1000);
    let chunk_first = message(Data::ChunkData(Bytes::from_static(b"x")));
    let status = server.rig.call_bytes::<UploadResponse>(UPLOAD, chunk_first).await.expect_err("no info");
    assert_eq!(status.code(), Code::InvalidArgument);
    let mut info = server.initiate("feed").await;
    let twice = [message(Data::Info(info.clone())), message(Data::Info(info.clone()))].concat();
    let status = server.rig.call_bytes::<UploadResponse>(UPLOAD, twice.into()).await.expect_err("two infos");
    assert_eq!(status.code(), Code::InvalidArgument);
    info.r#type = 77;
    let status = server.upload(info, &[]).await.expect_err("no such type");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "there is no debuginfo type 77"));
    assert_eq!(server.stored("feed").await, None);
}

#[tokio::test]
async fn a_file_larger_than_the_memory_for_messages_streams_through() {
    let server = Uploading::new(1 << 30);
    let info = server.initiate("feed").await;
    let chunks: Vec<&'static [u8]> = vec![&[7; 8 << 20]; 6];
    let reply = server.upload(info, &chunks).await.expect("48 MiB, of which all requests together may hold 20");
    assert_eq!(reply.size, 48 << 20);
}
