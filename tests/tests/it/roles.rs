//! A bucket whose keys stand in no configuration: the server gets them where programs on Amazon's machines do.

use std::net::SocketAddr;

use e2e::{Place, Roles, S3Server, Server, free_address};

/// An upload with a server that has `variables` in its environment; gives its log.
async fn works(config: &str, variables: &[(&str, String)], build_id: &str) -> String {
    let place = Place::with_config(config);
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start_with(&place, &["--log-level=debug"], &variables).await;
    let client = server.client();
    let instructions = client.initiate_upload(build_id, 5).await.expect("initiated");
    assert_eq!(client.upload(&instructions, b"\x7fELF1").await.expect("uploaded"), 5);
    client.finish_upload(&instructions).await.expect("finished");
    server.log()
}

fn config(s3: &S3Server, at: SocketAddr, lines: &str) -> String {
    s3.object_storage_with(at, "", lines)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_come_from_the_machines_role_a_pods_identity_or_the_environment() {
    let (s3, roles) = (S3Server::start(), Roles::start());
    let keys = vec![
        ("AWS_ACCESS_KEY_ID", e2e::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", e2e::SECRET_KEY.to_owned()),
        // where the bucket is says the configuration alone
        ("AWS_ENDPOINT_URL_S3", format!("http://{}", free_address())),
    ];
    for (name, variables) in [("machine", roles.of_the_machine()), ("pod", roles.of_a_pod()), ("keys", keys)] {
        let before = roles.asked().len();
        let log = works(&config(&s3, s3.address, "region: us-east-1"), &variables, &format!("feed-{name}")).await;
        assert!(!log.contains(e2e::SECRET_KEY), "{log}");
        let stored = std::fs::read(s3.objects().join(format!("debuginfo/feed-{name}/debuginfo"))).expect("the object");
        assert_eq!(stored, b"\x7fELF1");
        let asked = roles.asked()[before..].to_vec();
        // more than once: keys are renewed before they end
        assert_eq!(asked.len() > 1, name != "keys", "{name}: {asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_identity_becomes_keys_over_tls() {
    let (s3, roles) = (S3Server::start(), Roles::start());
    let lines = format!(
        "sts_endpoint: {}\n      http_config: {{tls_config: {{ca_file: {}}}}}",
        roles.sts(),
        roles.ca().display()
    );
    let log = works(&config(&s3, s3.address, &lines), &roles.of_a_web_identity(), "feed01").await;
    assert!(!log.contains(e2e::SECRET_KEY) && !log.contains("web.identity.token"), "{log}");
    assert!(roles.asked().iter().all(|asked| asked.starts_with("POST ")), "{:?}", roles.asked());
    assert!(!roles.asked().is_empty());
    assert!(s3.objects().join("debuginfo/feed01/debuginfo").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_the_configuration_are_not_mixed_with_those_of_the_environment() {
    let (s3, roles) = (S3Server::start(), Roles::start());
    let mut variables = roles.of_the_machine();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        variables.push((name, "another's".to_owned()));
    }
    works(&s3.object_storage(s3.address, ""), &variables, "feed01").await;
    assert!(roles.asked().is_empty(), "{:?}", roles.asked());
    assert!(s3.objects().join("debuginfo/feed01/debuginfo").exists());
}
