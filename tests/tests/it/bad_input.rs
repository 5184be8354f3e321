//! Mistakes of users, neighbours and machines: each gets a message that says what and where, and nothing stored is lost.

use std::{
    fs,
    net::TcpListener,
    time::{Duration, Instant},
};

use e2e::{Client, Exited, Mounts, Place, Server, Stub, free_address, pprof, wire};
use libdeflater::{CompressionLvl, Compressor};
use tonic::Code;

const START: i64 = 1_768_464_000;

const LABELS: [(&str, &str); 2] = [("__name__", pprof::NAME), ("job", "e2e")];

async fn write(client: &Client, second: i64) -> Result<(), tonic::Status> {
    let stacks: Vec<(Vec<u64>, i64)> = (0..400).map(|stack| (vec![stack, second as u64, 7], 1)).collect();
    client.write(&LABELS, pprof::cpu(START + second, &stacks)).await
}

async fn stored(client: &Client) -> usize {
    client.values(pprof::CALLS, START, START + 100_000).await.expect("values").len()
}

/// A message of a server that refused to run.
fn assert_refused(exited: &Exited, parts: &[&str]) {
    assert!(!exited.status.success(), "{exited:?}");
    assert!(!exited.log.contains("panicked"), "{}", exited.log);
    for part in parts {
        assert!(exited.log.contains(part), "no {part:?} in:\n{}", exited.log);
    }
}

#[test]
fn a_typo_in_the_configuration_is_named_with_its_line() {
    let place = Place::new("");
    place.write_config(
        "object_storage:\n  bucket:\n    type: FILESYSTEM\n    config:\n      directory: ./data\nscrape_configs:\n  - job_nam: a\n",
    );
    let exited = Server::refused(&place, free_address(), &[], None);
    assert_refused(&exited, &["parca.yaml", "job_nam", "7"]);
    assert!(!place.data().exists(), "nothing was created");
}

#[test]
fn a_missing_configuration_is_named() {
    let place = Place::new("");
    fs::remove_file(place.path().join("parca.yaml")).expect("removed");
    assert_refused(&Server::refused(&place, free_address(), &[], None), &["parca.yaml"]);
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new("");
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("an address");
    assert_refused(&Server::refused(&place, address, &[], None), &[&address.to_string(), "in use"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_use_says_by_whom() {
    let place = Place::new("");
    let mut first = Server::start(&place, &[]).await;
    let exited = tokio::task::block_in_place(|| Server::refused(&place, free_address(), &[], None));
    assert_refused(&exited, &["in use", &first.id().to_string()]);
    assert!(first.is_running());
    write(&first.client(), 0).await.expect("the first still writes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_directory_that_cannot_be_written_is_named() {
    let place = Place::new("");
    fs::create_dir(place.data()).expect("created");
    let data = place.data().display().to_string();
    let Some(mounts) = Mounts::new(&format!("mount -t tmpfs -o size=1m,ro tmpfs {data}")) else {
        println!("not shown here: the system gives no mount namespaces to users");
        return;
    };
    let exited = Server::refused(&place, free_address(), &[], Some(&mounts));
    assert_refused(&exited, &["data", "ead-only"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_keeps_what_it_has_and_recovers() {
    let place = Place::new("");
    fs::create_dir(place.data()).expect("created");
    let data = place.data().display().to_string();
    let Some(mounts) = Mounts::new(&format!("mount -t tmpfs -o size=160m tmpfs {data}")) else {
        println!("not shown here: the system gives no mount namespaces to users");
        return;
    };
    let server = Server::start_in(&mounts, &place, &[]).await;
    let client = server.client();
    for second in 0..5 {
        write(&client, second).await.expect("room for five");
    }

    // A neighbour takes the rest of the disk.
    tokio::task::block_in_place(|| {
        mounts.run(place.path(), "dd if=/dev/zero of=data/ballast bs=64k 2>/dev/null || true")
    });
    let mut acknowledged = 5;
    let refused = loop {
        match write(&client, acknowledged).await {
            Ok(()) => acknowledged += 1,
            Err(status) => break status,
        }
        assert!(acknowledged < 5000, "the disk is full and takes everything");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("disk") || refused.message().contains("space"), "{refused}");
    assert_eq!(stored(&client).await as i64, acknowledged, "what was acknowledged is still there");

    // It goes away again: the server goes on without a restart.
    tokio::task::block_in_place(|| mounts.run(place.path(), "rm data/ballast"));
    let until = Instant::now() + Duration::from_secs(30);
    while let Err(status) = write(&client, acknowledged).await {
        assert!(Instant::now() < until, "still refused: {status}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    acknowledged += 1;
    server.kill();
    let server = Server::start_in(&mounts, &place, &[]).await;
    assert_eq!(stored(&server.client()).await as i64, acknowledged, "and after a crash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_that_hang_or_answer_nonsense_are_reported_and_the_good_one_is_scraped() {
    let silent = Stub::new(None);
    let html = Stub::new(Some(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<html>welcome</html>",
    ));
    let teapot = Stub::new(Some("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"));
    let place = Place::new(&format!(
        "
  - job_name: bad
    scrape_interval: 1s
    scrape_timeout: 2s
    static_configs:
      - targets: ['{}', '{}', '{}']
    profiling_config:
      pprof_config:
        process_cpu: {{enabled: false}}
        mutex: {{enabled: false}}
        block: {{enabled: false}}
        goroutine: {{enabled: false}}
        memory: {{enabled: true, path: /debug/pprof/heap}}
",
        silent.address, html.address, teapot.address
    ));
    let server = Server::start(&place, &[]).await;
    let client = server.client();
    let until = Instant::now() + Duration::from_secs(30);
    let targets = loop {
        let targets = client.targets().await.expect("targets");
        if targets.len() == 3 && targets.iter().all(|target| target.health == wire::HEALTH_BAD) {
            break targets;
        }
        assert!(Instant::now() < until, "{targets:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let error = |stub: &Stub| {
        let found = targets.iter().find(|target| target.url.contains(&stub.address.to_string()));
        found.map(|target| target.last_error.clone()).expect("a target")
    };
    assert!(error(&teapot).contains("503"), "{}", error(&teapot));
    assert!(!error(&html).is_empty());
    let silence = error(&silent);
    assert!(["deadline", "timeout", "timed out"].iter().any(|word| silence.contains(word)), "{silence}");
    write(&client, 0).await.expect("other profiles come in meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_too_large_or_broken_are_refused_and_the_server_lives() {
    let place = Place::new("");
    let mut server = Server::start(&place, &[]).await;
    let client = server.client();
    write(&client, 0).await.expect("a good one");

    let code = |result: Result<(), tonic::Status>| result.expect_err("refused").code();
    assert_eq!(code(client.write(&LABELS, vec![0; 65 << 20]).await), Code::ResourceExhausted);
    let good = pprof::cpu(START, &[(vec![1], 1)]);
    assert_eq!(code(client.write(&LABELS, good[..good.len() - 3].to_vec()).await), Code::InvalidArgument);
    assert_eq!(code(client.write(&[("job", "e2e")], good.clone()).await), Code::InvalidArgument);
    assert_eq!(code(client.write(&[("__name__", pprof::NAME), ("", "x")], good).await), Code::InvalidArgument);

    // Ten gigabytes of zeros in ten megabytes.
    let zeros = vec![0; 64 << 20];
    let mut compressor = Compressor::new(CompressionLvl::default());
    let mut member = vec![0; compressor.gzip_compress_bound(zeros.len())];
    let length = compressor.gzip_compress(&zeros, &mut member).expect("compressed");
    let bomb = member[..length].repeat(160);
    let refused = client.write(&LABELS, bomb).await.expect_err("refused");
    assert!(matches!(refused.code(), Code::InvalidArgument | Code::ResourceExhausted), "{refused}");

    let selector = client.values("not a selector {", START, START + 1).await.expect_err("refused");
    assert_eq!(selector.code(), Code::InvalidArgument);
    assert!(selector.message().contains("failed to parse query"), "{selector}");

    assert!(server.is_running(), "{}", server.log());
    assert_eq!(stored(&client).await, 1);
}
