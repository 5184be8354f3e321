//! The agent's Arrow protocols and OTLP, from the call to the store and back out of the log.

use super::*;
use crate::proto::parca::profilestore::v1alpha1::{WriteArrowRequest, WriteArrowResponse, WriteRequest, WriteResponse};

const WRITE_ARROW: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/WriteArrow";
const WRITE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/Write";

fn input(file: &str) -> Bytes {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/conformance/inputs");
    std::fs::read(std::path::Path::new(folder).join(file)).expect(file).into()
}

async fn write_arrow(rig: &Rig, file: &str) -> Result<(), Status> {
    let request = WriteArrowRequest { ipc_buffer: input(file) };
    rig.call::<WriteArrowResponse>(WRITE_ARROW, &request).await.map(drop)
}

/// Both messages at once: the sender need not wait for the question.
async fn write(rig: &Rig, samples: &str, locations: &str) -> Result<WriteResponse, Status> {
    let frames = [samples, locations].map(|file| frame(&WriteRequest { record: input(file) }.encode_to_vec()));
    rig.call_bytes(WRITE, frames.concat().into()).await
}

#[tokio::test]
async fn what_agents_write_in_either_version_is_there_after_a_restart() {
    let rig = Rig::new();
    write_arrow(&rig, "v2_cpu.arrow").await.expect("v2");
    let question = write(&rig, "v1_samples.arrow", "v1_locations.arrow").await.expect("v1");
    assert!(!question.record.is_empty(), "asks for stacks");
    let (_, _, metrics) = rig.http(Method::GET, "/metrics").await;
    for protocol in ["arrow-v1", "arrow-v2"] {
        let row = format!("protocol=\"{protocol}\",kind=\"unknown\",version=\"\",result=\"accepted\"}} 1");
        assert!(metrics.contains(&row), "{protocol}: {metrics}");
    }
    let before = rig.types().await;
    assert_eq!(before, ["parca_agent:samples", "parca_agent_v1:samples"]);
    let rig = rig.restarted();
    assert_eq!(rig.types().await, before);
}

#[tokio::test]
async fn a_sender_that_stops_halfway_is_told_so_and_leaves_nothing() {
    let rig = Rig::new();
    let samples = frame(&WriteRequest { record: input("v1_samples.arrow") }.encode_to_vec());
    let cut = rig.call_bytes::<WriteResponse>(WRITE, samples).await.expect_err("half a write");
    assert_eq!((cut.code(), cut.message()), (Code::InvalidArgument, "failed to receive request: EOF"));
    let refused =
        write(&rig, "v1_missing_samples.arrow", "v1_missing_locations.arrow").await.expect_err("a stack short");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(rig.types().await.is_empty());
    write(&rig, "v1_samples.arrow", "v1_locations.arrow").await.expect("the next one is taken");
}

/// How many stacks were asked for.
async fn asked_over(rig: &Rig, connection: Option<u64>) -> usize {
    let frames = ["v1_samples.arrow", "v1_locations.arrow"]
        .map(|file| frame(&WriteRequest { record: input(file) }.encode_to_vec()));
    let reply = rig.call_over::<WriteResponse>(connection.map(Connection), WRITE, frames.concat().into());
    let record = reply.await.expect("taken").record;
    let batches = arrow::ipc::reader::StreamReader::try_new(&record[..], None).expect("an IPC stream");
    batches.map(|batch| batch.expect("a batch").num_rows()).sum()
}

#[tokio::test]
async fn stacks_are_known_on_the_connection_that_brought_them_until_they_must_make_room() {
    let rig = Rig::new();
    let asked = [asked_over(&rig, Some(1)).await, asked_over(&rig, Some(1)).await, asked_over(&rig, Some(2)).await];
    assert_eq!(asked, [6, 0, 6]);
    // a call that came by another way than a connection of its sender's, as REST's do
    assert_eq!([asked_over(&rig, None).await, asked_over(&rig, None).await], [6, 6]);
    let (_, _, metrics) = rig.http(Method::GET, "/metrics").await;
    for row in ["_hits_total 6", "_misses_total 24", "_evictions_total 0", " 12"] {
        assert!(metrics.contains(&format!("decima_known_stacks{row}\n")), "{row}: {metrics}");
    }
    let rig = rig.restarted();
    assert_eq!(rig.types().await, ["parca_agent_v1:samples"]);
    assert_eq!(asked_over(&rig, Some(1)).await, 6, "a restart forgets");

    let rig = Rig::with(ServerOptions { known_stacks_bytes: 2_000, ..ServerOptions::default() });
    assert_eq!(
        [asked_over(&rig, Some(1)).await, asked_over(&rig, Some(2)).await, asked_over(&rig, Some(1)).await][0],
        6
    );
    let (_, _, metrics) = rig.http(Method::GET, "/metrics").await;
    assert!(!metrics.contains("decima_known_stacks_evictions_total 0\n"), "{metrics}");
    let rig = Rig::with(ServerOptions { known_stacks_bytes: 0, ..ServerOptions::default() });
    assert_eq!([asked_over(&rig, Some(1)).await, asked_over(&rig, Some(1)).await], [6, 6], "nothing is kept");
}

#[tokio::test]
async fn without_memory_for_what_is_known_all_is_asked_for_again() {
    let rig = Rig::new();
    assert_eq!([asked_over(&rig, Some(1)).await, asked_over(&rig, Some(1)).await], [6, 0]);
    let batches = rig.store.budget().account("batches", 0);
    let held = batches.lease(256 << 20).expect("all that there is");
    let samples = frame(&WriteRequest { record: input("v1_samples.arrow") }.encode_to_vec());
    let refused = rig.call_over::<WriteResponse>(Some(Connection(1)), WRITE, samples).await.expect_err("half a write");
    assert_eq!(refused.message(), "failed to receive request: EOF");
    let (_, _, metrics) = rig.http(Method::GET, "/metrics").await;
    assert!(metrics.contains("decima_known_stacks_misses_total 12\n"), "{metrics}");
    drop(held);
    assert_eq!(asked_over(&rig, Some(1)).await, 0);
}

const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";

#[tokio::test]
async fn an_export_of_any_version_is_there_after_a_restart() {
    use crate::proto::opentelemetry::proto::collector::profiles::v1development::ExportProfilesServiceResponse as Response;
    for version in ["1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11"] {
        let rig = Rig::new();
        let request = input(&format!("../../otlp/proto_{version}.pb"));
        let reply = rig.call_bytes::<Response>(EXPORT, frame(&request)).await.expect(version);
        assert_eq!(reply, Response { partial_success: None });
        let refused = rig.call_bytes::<Response>(EXPORT, frame(&request[..200])).await.expect_err("half of it");
        assert_eq!(refused.code(), Code::InvalidArgument);
        let rig = rig.restarted();
        assert_eq!(rig.types().await, ["old_profiler:cpu", "old_profiler:samples"], "{version}");
    }
}

#[tokio::test]
async fn an_export_over_grpc_is_taken_packed_with_gzip_or_zstd_and_refused_where_it_does_not_unpack() {
    use crate::proto::opentelemetry::proto::collector::profiles::v1development::ExportProfilesServiceResponse as Response;
    let protobuf = input("../../otlp/proto_1.10.pb");
    let zstd = zstd::bulk::compress(&protobuf, 1).expect("in memory");
    let bomb = zstd::bulk::compress(&vec![0; 65 << 20], 1).expect("in memory");
    let rig = Rig::new();
    let call = async |encoding: &str, flag: u8, message: &[u8]| {
        let mut body = frame(message).to_vec();
        body[0] = flag;
        let mut request = grpc(EXPORT, body.into());
        request.headers_mut().insert("grpc-encoding", encoding.parse().expect("a header"));
        rig.called::<Response>(request).await.map_err(|status| (status.code(), status.message().to_owned()))
    };
    for (encoding, message, wanted) in [
        ("zstd", &zstd[..zstd.len() / 2], Code::Internal),
        ("zstd", &protobuf, Code::Internal),
        ("zstd", b"", Code::Internal),
        ("zstd", &bomb, Code::ResourceExhausted),
        ("snappy", &protobuf, Code::Unimplemented),
    ] {
        let (code, told) = call(encoding, 1, message).await.expect_err("refused");
        assert_eq!(code, wanted, "{encoding}: {told}");
        assert!(!told.is_empty());
    }
    assert!(rig.types().await.is_empty());
    let taken = Ok(Response { partial_success: None });
    assert_eq!(call("gzip", 1, &profile::pprof::gzip(&protobuf)).await, taken);
    assert_eq!(call("zstd", 1, &zstd).await, taken);
    assert_eq!(call("zstd", 0, &protobuf).await, taken, "a sender may leave small messages as they are");
    assert_eq!(rig.types().await, ["old_profiler:cpu", "old_profiler:samples"]);
}

async fn post(rig: &Rig, content_type: &str, encoding: Option<&str>, body: impl Into<Bytes>) -> (u16, String, String) {
    let mut request = Request::new(Body::from(body.into()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = "/v1development/profiles".parse().expect("a path");
    request.headers_mut().insert("content-type", content_type.parse().expect("a header"));
    if let Some(encoding) = encoding {
        request.headers_mut().insert("content-encoding", encoding.parse().expect("a header"));
    }
    read(rig.answer(request).await).await
}

#[tokio::test]
async fn an_export_over_http_is_taken_as_protobuf_and_json_packed_or_not() {
    let (protobuf, json) = (input("../../otlp/proto_1.8.pb"), input("../../otlp/collector.json"));
    let gzip = |bytes: &[u8]| profile::pprof::gzip(bytes);
    let packed = gzip(&protobuf);
    for (content_type, encoding, body, reply) in [
        ("application/x-protobuf", None, protobuf.to_vec(), ""),
        ("application/x-protobuf", Some("gzip"), packed.clone(), ""),
        ("application/x-protobuf", Some("zstd"), zstd::bulk::compress(&protobuf, 1).expect("in memory"), ""),
        ("application/json; charset=utf-8", None, json.to_vec(), "{}"),
        ("application/json", Some("gzip"), gzip(&json), "{}"),
    ] {
        let rig = Rig::new();
        let (status, told, body) = post(&rig, content_type, encoding, body).await;
        assert_eq!((status, body.as_str()), (200, reply), "{content_type} {encoding:?}");
        assert!(content_type.starts_with(&told), "{told}");
        assert_eq!(rig.types().await, ["old_profiler:cpu", "old_profiler:samples"], "{content_type} {encoding:?}");
    }
    let rig = Rig::new();
    for (content_type, encoding, body, wanted) in [
        ("text/plain", None, protobuf.to_vec(), 415),
        ("application/x-protobuf", Some("br"), protobuf.to_vec(), 415),
        ("application/x-protobuf", Some("gzip"), packed[..packed.len() / 2].to_vec(), 400),
        ("application/x-protobuf", None, protobuf[..100].to_vec(), 400),
        ("application/x-protobuf", None, Vec::new(), 400),
        ("application/json", None, b"{\"resourceProfiles\": 5}".to_vec(), 400),
        ("application/json", None, b"{".to_vec(), 400),
    ] {
        let (status, _, body) = post(&rig, content_type, encoding, body).await;
        assert_eq!(status, wanted, "{content_type} {encoding:?}: {body}");
    }
    assert!(rig.types().await.is_empty());
}
