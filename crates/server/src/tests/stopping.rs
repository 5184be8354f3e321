//! Over a real socket: binding, stopping, draining.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{ListenOptions, Listener};

async fn listener() -> Listener {
    let options = ListenOptions { address: "127.0.0.1:0".into(), ..ListenOptions::default() };
    Listener::bind(options).await.expect("a free port")
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("sent");
}

async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await;
    read.expect("in time").expect("text");
    text
}

#[tokio::test]
async fn a_port_in_use_is_told_in_one_line() {
    let first = listener().await;
    let address = first.address().expect("bound").to_string();
    let second = Listener::bind(ListenOptions { address: address.clone(), ..ListenOptions::default() }).await;
    let error = second.map(|_| ()).expect_err("in use").to_string();
    assert_eq!(
        error,
        format!("cannot listen on {address}: the port is in use; stop the other process or choose another address")
    );
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_stops() {
    let rig = Rig::new();
    let listener = listener().await;
    let address = listener.address().expect("bound");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(rig.server.serve(vec![listener], stop.clone().cancelled_owned()));

    let body = r#"{"series":[]}"#;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = format!(
        "POST /api/profiles/writeraw HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    send(&mut stream, &head).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    tokio::time::sleep(Duration::from_millis(200)).await;
    send(&mut stream, body).await;
    let answer = rest(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("{}"), "{answer}");
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("it stops").expect("without a panic");
    assert!(TcpStream::connect(address).await.is_err(), "and nobody listens any more");
}

#[tokio::test]
async fn who_sends_no_headers_is_cut_off() {
    let rig = Rig::new();
    let options = ListenOptions {
        address: "127.0.0.1:0".into(),
        header_timeout: Duration::from_millis(200),
        ..ListenOptions::default()
    };
    let listener = Listener::bind(options).await.expect("a free port");
    let address = listener.address().expect("bound");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(rig.server.serve(vec![listener], stop.clone().cancelled_owned()));
    let mut stream = TcpStream::connect(address).await.expect("connected");
    send(&mut stream, "GET / HTTP/1.1\r\nhost:").await;
    rest(stream).await;
    stop.cancel();
    serving.await.expect("without a panic");
}
