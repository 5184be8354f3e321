use super::*;

#[test]
fn an_address_needs_host_and_port_and_a_scheme_goes_before_the_flag() {
    let told = |address, plain| uri(address, plain).map(|uri| uri.to_string());
    assert_eq!(told("grpc.example:443", false).as_deref(), Ok("https://grpc.example:443/"));
    assert_eq!(told("grpc.example:443", true).as_deref(), Ok("http://grpc.example:443/"));
    assert_eq!(told("http://[::1]:7070", false).as_deref(), Ok("http://[::1]:7070/"));
    assert_eq!(told("https://a.example:1/", true).as_deref(), Ok("https://a.example:1/"));
    for wrong in ["", "host", "host:", ":443", "host:port", "ftp://a:1", "user@host:1", "a b:1", "host:1/path"] {
        assert_eq!(told(wrong, false), Err(format!("{wrong:?} is no address of a server: give host:port")), "{wrong}");
    }
}

#[tokio::test]
async fn headers_and_tokens_go_with_every_call_and_a_token_file_is_read_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let headers = vec![("X-Scope-OrgID".to_owned(), "team".to_owned())];
    let options = UpstreamOptions { headers, token: Token::File(file.clone()), ..UpstreamOptions::new("localhost:1") };
    let upstream = Upstream::new(options).expect("sound options");
    let missing = upstream.metadata().await.expect_err("no file yet");
    assert_eq!(missing.code(), tonic::Code::Unauthenticated);
    for token in ["first", "second"] {
        std::fs::write(&file, format!("{token}\n")).expect("written");
        let metadata = upstream.metadata().await.expect("metadata");
        assert_eq!(metadata.get("authorization").expect("a token"), &format!("Bearer {token}"));
        assert_eq!(metadata.get("x-scope-orgid").expect("a header"), "team");
    }
    std::fs::write(&file, "se\u{7}cret").expect("written");
    let refused = upstream.metadata().await.expect_err("no text for a header");
    assert!(!refused.message().contains("cret"), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_and_says_why() {
    let upstream = Upstream::new(UpstreamOptions::new("http://127.0.0.1:1")).expect("sound options");
    let path = PathAndQuery::from_static("/a.B/C");
    let refused = upstream.call(path, Bytes::new(), Duration::from_secs(5)).await.expect_err("nobody is there");
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(refused.message().contains("refused"), "{refused}");
}

#[tokio::test]
async fn headers_that_no_call_can_carry_and_authorities_that_are_none_are_refused() {
    let with = |name: &str, value: &str| {
        let headers = vec![(name.to_owned(), value.to_owned())];
        Upstream::new(UpstreamOptions { headers, ..UpstreamOptions::new("a:1") }).map(|_| ()).expect_err("refused")
    };
    assert_eq!(with("a b", "c"), "\"a b\" is no name of a header");
    assert_eq!(with("a", "c\n"), "the value of header \"a\" is no text that one can hold");
    let options = UpstreamOptions { authorities: Some(b"none".to_vec()), ..UpstreamOptions::new("a:1") };
    assert_eq!(Upstream::new(options).map(|_| ()).expect_err("refused"), "there is no certificate in PEM");
}
