//! One listener, every protocol.

use super::*;

const HAS_DATA: &str = "parca.query.v1alpha1.QueryService/HasProfileData";

async fn grpc_web(rig: &Rig, path: &str) -> (u16, String, String) {
    let mut request = Request::new(Body::from(frame(&[])));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().expect("a path");
    request.headers_mut().insert("content-type", "application/grpc-web+proto".parse().expect("a header"));
    read(rig.answer(request).await).await
}

#[tokio::test]
async fn grpc_web_is_found_under_any_prefix_with_its_status_in_the_body() {
    let rig = Rig::new();
    for prefix in ["", "/api", "/some/deep/prefix/api"] {
        let (status, content_type, body) = grpc_web(&rig, &format!("{prefix}/{HAS_DATA}")).await;
        assert_eq!((status, content_type.as_str()), (200, "application/grpc-web+proto"), "{prefix}");
        assert!(body.contains("grpc-status:0"), "{prefix}: {body:?}");
    }
}

#[tokio::test]
async fn grpc_over_http_1_is_told_to_use_http_2() {
    let rig = Rig::new();
    let mut request = Request::new(Body::empty());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("/{HAS_DATA}").parse().expect("a path");
    request.headers_mut().insert("content-type", "application/grpc".parse().expect("a header"));
    assert_eq!(rig.answer(request).await.status(), 505);
}

#[tokio::test]
async fn what_the_contract_has_and_nobody_serves_is_unimplemented_by_name() {
    let rig = Rig::new();
    for (path, message) in [
        (
            "/parca.query.v1alpha1.QueryService/NoSuch",
            "unknown method NoSuch for service parca.query.v1alpha1.QueryService",
        ),
        ("/no.such.Service/Method", "unknown service no.such.Service"),
    ] {
        let status = rig.call::<ProfileTypesResponse>(path, &ProfileTypesRequest::default()).await.expect_err(path);
        let told = (status.code(), status.message().to_owned());
        // tonic answers for unknown methods of services that are served, without words
        if !path.ends_with("NoSuch") {
            assert_eq!(told, (Code::Unimplemented, message.to_owned()), "{path}");
        }
        assert_eq!(told.0, Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn rest_speaks_json_with_defaults_and_parcas_errors() {
    let rig = Rig::new();
    let has_data = "/api/profiles/has_profile_data";
    let (status, content_type, body) = rig.http(Method::GET, has_data).await;
    assert_eq!((status, content_type.as_str(), body.as_str()), (200, "application/json", r#"{"hasData":false}"#));
    rig.write(&[("__name__", "process_cpu")], small_pprof()).await.expect("written");
    assert_eq!(rig.http(Method::GET, has_data).await.2, r#"{"hasData":true}"#);

    let blank = "/api/profiles/query_range?query=a:b:c:d:e";
    let (status, _, body) = rig.http(Method::GET, blank).await;
    let wanted = r#"{"code":3,"message":"end: cannot be blank; start: cannot be blank.","details":[]}"#;
    assert_eq!((status, body.as_str()), (400, wanted));

    let none = "/api/profiles/query_range?query=a:b:c:d:e&start=2026-01-15T00:00:00Z&end=2026-01-16T00:00:00Z";
    assert_eq!(rig.http(Method::GET, none).await.0, 404, "not found is not the UI's page");
    assert_eq!(rig.http(Method::DELETE, "/api/profiles/types").await.0, 501);
    assert!(rig.http(Method::GET, "/api/nosuch").await.1.starts_with("text/html"));
}

#[tokio::test]
async fn a_reply_that_nests_too_deep_for_rest_is_refused_with_what_to_ask_for() {
    let rig = Rig::new();
    let ask = async |depth: usize, report_type: &str| {
        let merge = "merge.start=2026-01-15T00:00:00Z&merge.end=2026-01-16T00:00:00Z";
        let query = format!("merge.query=deep{depth}:cpu:nanoseconds:cpu:nanoseconds:delta&report_type={report_type}");
        rig.http(Method::GET, &format!("/api/profiles/query?mode=MODE_MERGE&{merge}&{query}")).await
    };
    // nodes lie three deep in a reply, and what is told of each three deep in it: readers stop at a hundred
    let depths = 90..=110;
    for depth in depths.clone() {
        rig.write(&[("__name__", &format!("deep{depth}"))], deep_pprof(depth)).await.expect("written");
    }
    for nested in ["0", "REPORT_TYPE_FLAMEGRAPH_TABLE"] {
        let mut refused = 0;
        for depth in depths.clone() {
            let (status, _, body) = ask(depth, nested).await;
            match status {
                200 => assert_eq!(refused, 0, "{nested} at {depth}, but not flatter: {body}"),
                400 => {
                    refused += 1;
                    assert!(body.contains("REPORT_TYPE_FLAMEGRAPH_ARROW"), "{nested} at {depth}: {body}");
                }
                _ => panic!("{nested} at {depth}: {status} {body}"),
            }
        }
        assert!((1..depths.clone().count()).contains(&refused), "{nested}: {refused}");
    }
    assert_eq!(ask(110, "REPORT_TYPE_FLAMEGRAPH_ARROW").await.0, 200);
}

#[tokio::test]
async fn every_other_path_is_the_screens_page_and_the_prefix_moves_all_but_grpc() {
    let rig = Rig::with(ServerOptions { path_prefix: "/decima".into(), ..ServerOptions::default() });
    for path in ["/decima/", "/decima/targets", "/decima/explorer?x=1", "/", "/metrics"] {
        let (status, content_type, _) = rig.http(Method::GET, path).await;
        assert_eq!((status, content_type.as_str()), (200, "text/html; charset=utf-8"), "{path}");
    }
    assert_eq!(rig.http(Method::GET, "/decima/api/profiles/has_profile_data").await.2, r#"{"hasData":false}"#);
    assert!(rig.http(Method::GET, "/decima/metrics").await.2.contains("grpc_server_handled_total"));
    assert!(rig.types().await.is_empty(), "native gRPC stays at the root");
}

#[tokio::test]
async fn metrics_count_calls_by_method_and_code_with_the_bounds_that_alerts_ask_for() {
    let rig = Rig::new();
    rig.types().await;
    rig.write(&[("job", "x")], small_pprof()).await.expect_err("refused");
    let (_, content_type, text) = rig.http(Method::GET, "/metrics").await;
    assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
    let line = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line(&["grpc_server_handled_total{", "grpc_code=\"OK\"", "grpc_method=\"ProfileTypes\"", "} 1"]), "{text}");
    assert!(line(&["grpc_server_handled_total{", "grpc_code=\"InvalidArgument\"", "grpc_method=\"WriteRaw\"", "} 1"]));
    for bound in ["0.1", "0.3", "0.6", "1", "3", "5", "30"] {
        let le = format!("le=\"{bound}\"");
        assert!(line(&["grpc_server_handling_seconds_bucket{", &le, "grpc_method=\"WriteRaw\""]), "{bound}");
    }
    assert!(line(&["process_resident_memory_bytes "]) && line(&["decima_store_writes_total "]));
}

#[tokio::test]
async fn a_browser_may_call_only_from_where_it_is_allowed() {
    let allowed = |origins: &[&str], origin: &'static str| {
        let cors_origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let rig = Rig::with(ServerOptions { cors_origins, ..ServerOptions::default() });
        async move {
            let mut request = Request::new(Body::empty());
            *request.uri_mut() = "/api/profiles/has_profile_data".parse().expect("a path");
            request.headers_mut().insert("origin", origin.parse().expect("a header"));
            let response = rig.answer(request).await;
            let header = response.headers().get("access-control-allow-origin").cloned();
            header.map(|value| value.to_str().expect("text").to_owned())
        }
    };
    assert_eq!(allowed(&[], "http://a.example").await, None);
    assert_eq!(allowed(&["http://a.example"], "http://a.example").await.as_deref(), Some("http://a.example"));
    assert_eq!(allowed(&["http://a.example"], "http://b.example").await, None);
    assert_eq!(allowed(&["*"], "http://b.example").await.as_deref(), Some("http://b.example"));
}
