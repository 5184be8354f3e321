//! Every bad input gets the code that Parca gives and a message that says what; nothing stored is lost.

use profile::pprof::gzip;

use super::*;
use crate::RpcLimits;
use crate::proto::parca::query::v1alpha1::{QueryRangeRequest, QueryRangeResponse};

const NAMED: [(&str, &str); 2] = [("__name__", "process_cpu"), ("job", "test")];

/// Refuses `profile`, with a good one stored before it and still there after it.
async fn refused(labels: &[(&str, &str)], profile: Vec<u8>) -> Status {
    let rig = Rig::new();
    rig.write(&NAMED, small_pprof()).await.expect("a good profile");
    let status = rig.write(labels, profile).await.expect_err("a bad one");
    assert_eq!(rig.types().await, ["process_cpu:cpu", "process_cpu:samples"], "what was stored is there");
    rig.write(&NAMED, small_pprof()).await.expect("and the next good one is taken");
    status
}

#[tokio::test]
async fn wrong_gzip_is_refused_as_undecompressable() {
    let mut cut = gzip(&small_pprof());
    cut.truncate(cut.len() / 2);
    let status = refused(&NAMED, cut).await;
    assert_eq!(status.code(), Code::Unknown);
    assert!(status.message().starts_with("decompressing profile: "), "{}", status.message());
}

#[tokio::test]
async fn truncated_protobuf_is_refused_as_unparsable() {
    let mut cut = small_pprof();
    cut.truncate(cut.len() - 3);
    let status = refused(&NAMED, cut).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("failed to parse profile: "), "{}", status.message());
}

#[tokio::test]
async fn a_series_needs_a_name_and_labels_need_names() {
    let status = refused(&[("job", "test")], small_pprof()).await;
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "missing __name__ label"));
    let status = refused(&[("__name__", "w"), ("", "v")], small_pprof()).await;
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "invalid label name: "));
}

#[tokio::test]
async fn one_bad_series_refuses_the_whole_request() {
    let rig = Rig::new();
    let mut request = write_raw(&NAMED, small_pprof());
    request.series.extend(write_raw(&NAMED, b"nonsense".to_vec()).series);
    let reply: Result<crate::proto::parca::profilestore::v1alpha1::WriteRawResponse, Status> =
        rig.call(WRITE_RAW, &request).await;
    assert_eq!(reply.expect_err("refused").code(), Code::InvalidArgument);
    assert!(rig.types().await.is_empty(), "nothing of it is stored");
}

#[tokio::test]
async fn a_message_of_65_mib_is_refused_by_its_length_before_it_is_read() {
    let rig = Rig::new();
    let length: u32 = 65 << 20;
    let mut prefix = vec![0_u8];
    prefix.extend(length.to_be_bytes());
    let reply: Result<ProfileTypesResponse, Status> = rig.call_bytes(WRITE_RAW, prefix.into()).await;
    let status = reply.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "grpc: received message larger than max (68157440 vs. 67108864)");
    assert_eq!(rig.store.budget().used(), Rig::new().store.budget().used(), "and no memory is kept for it");
}

#[tokio::test]
async fn a_gzip_bomb_of_ten_gigabytes_is_stopped_at_the_limit() {
    // 160 members of 64 MiB each, 10 MB in all
    let member = gzip(&vec![0; 64 << 20]);
    let bomb: Vec<u8> = member.iter().copied().cycle().take(member.len() * 160).collect();
    let status = refused(&NAMED, bomb).await;
    assert!(matches!(status.code(), Code::ResourceExhausted | Code::InvalidArgument), "{status:?}");
    assert!(status.message().contains("larger than") || status.message().contains("failed to parse"), "{status:?}");
}

#[tokio::test]
async fn a_compressed_message_counts_as_what_it_may_become() {
    let limits = RpcLimits { message_bytes: 1 << 20, ..RpcLimits::default() };
    let rig = Rig::with(ServerOptions { limits, request_bytes: 1 << 20, ..ServerOptions::default() });
    let packed = gzip(&vec![0; 8 << 20]);
    let mut framed = vec![1_u8];
    framed.extend((packed.len() as u32).to_be_bytes());
    framed.extend(packed);
    let reply: Result<ProfileTypesResponse, Status> = rig.call_bytes(WRITE_RAW, framed.into()).await;
    assert_eq!(reply.expect_err("refused").code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_selector_that_does_not_parse_is_refused_in_parcas_words() {
    let rig = Rig::new();
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let request = QueryRangeRequest {
        query: "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta{job=".into(),
        start: at(1),
        end: at(2),
        ..QueryRangeRequest::default()
    };
    let reply: Result<QueryRangeResponse, Status> =
        rig.call("/parca.query.v1alpha1.QueryService/QueryRange", &request).await;
    let status = reply.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("failed to parse query"), "{}", status.message());
}

#[tokio::test]
async fn too_many_calls_at_once_are_told_when_to_come_back() {
    let limits = RpcLimits { in_flight: 0, ..RpcLimits::default() };
    let rig = Rig::with(ServerOptions { limits, ..ServerOptions::default() });
    let status = rig.write(&NAMED, small_pprof()).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").expect("when").to_str().expect("text"), "1000");

    let mut request = Request::new(Body::empty());
    *request.uri_mut() = "/api/profiles/types".parse().expect("a path");
    let response = rig.answer(request).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "1");
}

#[tokio::test]
async fn no_memory_for_a_message_is_an_error_that_can_be_tried_again() {
    let rig = Rig::with(ServerOptions { request_bytes: 64, ..ServerOptions::default() });
    let lease = rig.store.budget().account("requests", 64).lease(40).expect("room");
    let status = rig.call::<ProfileTypesResponse>(WRITE_RAW, &write_raw(&[("__name__", "w")], vec![0; 10])).await;
    assert_eq!(status.expect_err("no room").code(), Code::ResourceExhausted);
    drop(lease);
}
