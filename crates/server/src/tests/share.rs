//! Profiles that are shared: what goes to the share server, over TLS, and what comes of its answers.

use std::sync::{Arc, Mutex};

use axum::response::IntoResponse;
use forward::{Upstream, UpstreamOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::listener::Answer;
use crate::proto::parca::query::v1alpha1::*;
use crate::proto::parca::share::v1alpha1::{UploadRequest, UploadResponse};
use crate::{ListenOptions, Listener, Tls};

const SHARE: &str = "/parca.query.v1alpha1.QueryService/ShareProfile";

/// A share server: keeps what it is sent, and answers with a link or as it is told.
#[derive(Clone)]
struct ShareServer {
    received: Arc<Mutex<Vec<(String, UploadRequest)>>>,
    refuses: Option<Status>,
    /// The message of its answer.
    reply: Vec<u8>,
    /// Each answer takes a permit; closed if none has to wait.
    answers: Arc<Semaphore>,
}

impl Default for ShareServer {
    fn default() -> Self {
        let reply = UploadResponse { id: "1".into(), link: "https://share.example/1".into() }.encode_to_vec();
        let answers = Arc::new(Semaphore::new(0));
        answers.close();
        Self { received: Arc::default(), refuses: None, reply, answers }
    }
}

impl Answer for ShareServer {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let upload = UploadRequest::decode(&body[5..]).expect("an upload");
        self.received.lock().expect("not poisoned").push((path, upload));
        if let Some(status) = &self.refuses {
            return status.clone().into_http::<Body>();
        }
        if let Ok(permit) = self.answers.acquire().await {
            permit.forget();
        }
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a header"));
        let frames = [
            Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(frame(&self.reply))),
            Ok(hyper::body::Frame::trailers(trailers)),
        ];
        let body = Body::new(http_body_util::StreamBody::new(tokio_stream::iter(frames)));
        ([("content-type", "application/grpc")], body).into_response()
    }
}

/// Its address, its certificate, and the task that ends when it is dropped.
async fn started(server: ShareServer) -> (String, String, JoinHandle<()>) {
    started_with(server, super::tls::self_signed).await
}

async fn started_with(
    server: ShareServer,
    tls: impl FnOnce(&std::path::Path) -> (Tls, rcgen::Certificate),
) -> (String, String, JoinHandle<()>) {
    let directory = tempfile::tempdir().expect("a directory");
    let (tls, cert) = tls(directory.path());
    let options = ListenOptions { address: "127.0.0.1:0".into(), tls: Some(tls), ..ListenOptions::default() };
    let listener = Listener::bind(options).await.expect("a free port");
    let port = listener.address().expect("bound").port();
    let serving = tokio::spawn(listener.serve(server, std::future::pending()));
    (format!("localhost:{port}"), cert.pem(), serving)
}

fn rig(upstream: UpstreamOptions) -> Rig {
    Rig::with(ServerOptions { share: Some(Upstream::new(upstream).expect("options")), ..ServerOptions::default() })
}

fn request(query: &str, description: Option<&str>) -> ShareProfileRequest {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let merge = MergeProfile { query: query.to_owned(), start: at(1_768_478_000), end: at(1_768_479_000) };
    let query_request = QueryRequest {
        mode: query_request::Mode::Merge as i32,
        options: Some(query_request::Options::Merge(merge)),
        report_type: query_request::ReportType::FlamegraphArrow as i32,
        ..QueryRequest::default()
    };
    ShareProfileRequest { query_request: Some(query_request), description: description.map(str::to_owned) }
}

const CPU: &str = "w:cpu:nanoseconds:cpu:nanoseconds:delta";

async fn share(rig: &Rig, request: &ShareProfileRequest) -> Result<String, Status> {
    rig.call::<ShareProfileResponse>(SHARE, request).await.map(|reply| reply.link)
}

#[tokio::test]
async fn a_shared_profile_goes_over_tls_as_pprof_with_its_description_and_gives_the_link() {
    let server = ShareServer::default();
    let (address, pem, serving) = started(server.clone()).await;
    let trusting = UpstreamOptions { authorities: Some(pem.into()), ..UpstreamOptions::new(&address) };
    let rig = rig(trusting);
    rig.write(&[("__name__", "w")], small_pprof()).await.expect("written");
    let link = share(&rig, &request(CPU, Some("slow since noon"))).await.expect("shared");
    assert_eq!(link, "https://share.example/1");
    // what makes the original panic: no description
    share(&rig, &request(CPU, None)).await.expect("shared");
    let received = server.received.lock().expect("not poisoned").clone();
    let told: Vec<_> = received.iter().map(|(path, upload)| (path.as_str(), upload.description.as_str())).collect();
    let path = "/parca.share.v1alpha1.ShareService/Upload";
    assert_eq!(told, [(path, "slow since noon"), (path, "")]);
    let pprof = ingest::pprof(
        vec![("__name__".into(), "shared".into())],
        &received[0].1.profile,
        0,
        &ingest::Limits::default(),
        &mut ingest::Scratch::default(),
    );
    assert_eq!(pprof.expect("a profile").samples.values, [10_000_000]);
    let (_, _, metrics) = rig.http(Method::GET, "/metrics").await;
    assert!(metrics.contains("decima_share_uploads_total{grpc_code=\"OK\"} 2"), "{metrics}");
    serving.abort();
}

#[tokio::test]
async fn what_cannot_be_shared_has_the_codes_of_the_query_and_sends_nothing() {
    let server = ShareServer::default();
    let (address, pem, serving) = started(server.clone()).await;
    let rig = rig(UpstreamOptions { authorities: Some(pem.into()), ..UpstreamOptions::new(&address) });
    let code = |result: Result<String, Status>| result.expect_err("refused").code();
    assert_eq!(code(share(&rig, &request("nonsense", None)).await), Code::InvalidArgument);
    let without = ShareProfileRequest { description: Some("d".into()), ..ShareProfileRequest::default() };
    assert_eq!(code(share(&rig, &without).await), Code::InvalidArgument);
    let long = "d".repeat(5_000);
    assert_eq!(code(share(&rig, &request(CPU, Some(&long))).await), Code::InvalidArgument);
    let single = QueryRequest {
        options: Some(query_request::Options::Single(SingleProfile {
            time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
            query: CPU.to_owned(),
        })),
        ..QueryRequest::default()
    };
    let missing = ShareProfileRequest { query_request: Some(single), description: None };
    assert_eq!(code(share(&rig, &missing).await), Code::NotFound);
    assert!(server.received.lock().expect("not poisoned").is_empty());
    serving.abort();
}

#[tokio::test]
async fn a_server_that_is_not_trusted_or_refuses_or_is_not_there_is_an_error_that_says_so() {
    let refuses = Some(Status::resource_exhausted("too many profiles today"));
    let (address, pem, serving) = started(ShareServer { refuses, ..ShareServer::default() }).await;
    let trusting = UpstreamOptions { authorities: Some(pem.into()), ..UpstreamOptions::new(&address) };
    let careless = UpstreamOptions { any_certificate: true, ..UpstreamOptions::new(&address) };
    let refused = "rpc error: code = ResourceExhausted desc = too many profiles today";
    for (options, wanted) in [
        (trusting, refused),
        (careless, refused),
        (UpstreamOptions::new(&address), "UnknownIssuer"),
        (UpstreamOptions::new("127.0.0.1:1"), "rpc error: code = Unavailable desc = "),
    ] {
        let rig = rig(options);
        rig.write(&[("__name__", "w")], small_pprof()).await.expect("written");
        let status = share(&rig, &request(CPU, None)).await.expect_err("refused");
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.message().starts_with("failed to upload profile: rpc error: code = "), "{status}");
        assert!(status.message().contains(wanted), "{status}");
    }
    serving.abort();
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_taken_where_it_is_given_and_names_the_server() {
    for (name, refused) in [("localhost", None), ("elsewhere.example", Some("not valid for name"))] {
        let tls = |directory: &std::path::Path| super::tls::own_authority(directory, name);
        let (address, pem, serving) = started_with(ShareServer::default(), tls).await;
        let trusting = UpstreamOptions { authorities: Some(pem.into()), ..UpstreamOptions::new(&address) };
        for (options, refused) in
            [(trusting, refused), (UpstreamOptions::new(&address), Some("invalid peer certificate"))]
        {
            let rig = rig(options);
            rig.write(&[("__name__", "w")], small_pprof()).await.expect("written");
            match (share(&rig, &request(CPU, None)).await, refused) {
                (Ok(link), None) => assert_eq!(link, "https://share.example/1"),
                (Err(status), Some(says)) => assert!(status.message().contains(says), "{status}"),
                (answer, refused) => panic!("{name}: {answer:?}, and not {refused:?}"),
            }
        }
        serving.abort();
    }
}

#[tokio::test]
async fn a_reply_without_a_link_and_one_that_is_no_message_are_errors_that_say_so() {
    for (reply, wanted) in [
        (UploadResponse { id: "1".into(), link: String::new() }.encode_to_vec(), "the server gave no link"),
        (b"<html>".to_vec(), "the reply is none: "),
    ] {
        let (address, pem, serving) = started(ShareServer { reply, ..ShareServer::default() }).await;
        let rig = rig(UpstreamOptions { authorities: Some(pem.into()), ..UpstreamOptions::new(&address) });
        rig.write(&[("__name__", "w")], small_pprof()).await.expect("written");
        let status = share(&rig, &request(CPU, None)).await.expect_err("no link");
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.message().starts_with(&format!("failed to upload profile: {wanted}")), "{status}");
        serving.abort();
    }
}

#[tokio::test]
async fn a_fifth_profile_at_once_is_refused_before_it_is_looked_for() {
    let server = ShareServer { answers: Arc::new(Semaphore::new(0)), ..ShareServer::default() };
    let (address, pem, serving) = started(server.clone()).await;
    let rig = Arc::new(rig(UpstreamOptions { authorities: Some(pem.into()), ..UpstreamOptions::new(&address) }));
    rig.write(&[("__name__", "w")], small_pprof()).await.expect("written");
    let shares: Vec<_> = (0..4)
        .map(|_| {
            let rig = rig.clone();
            tokio::spawn(async move { share(&rig, &request(CPU, None)).await })
        })
        .collect();
    let received = || server.received.lock().expect("not poisoned").len();
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while received() < 4 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("four uploads under way");
    // what would be a wrong query is not even read
    let status = share(&rig, &request("nonsense", None)).await.expect_err("one too many");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("4 profiles are being shared already"), "{status}");
    assert_eq!(received(), 4);
    server.answers.add_permits(5);
    for share in shares {
        assert_eq!(share.await.expect("no panic").expect("shared"), "https://share.example/1");
    }
    share(&rig, &request(CPU, None)).await.expect("room again");
    serving.abort();
}

#[tokio::test]
async fn nothing_is_shared_unless_a_server_is_named() {
    let rig = Rig::new();
    let status = share(&rig, &request(CPU, None)).await.expect_err("off");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("--profile-share-server"), "{status}");
}
