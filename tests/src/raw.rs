//! Requests whose bytes are the test's own, right or wrong.

use std::{
    convert::Infallible,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, body::Body, client::GrpcService, codegen::Service};

use crate::Client;

const WAIT: Duration = Duration::from_secs(60);

/// A gRPC message in its frame.
pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// A frame that says it is `length` long, and is not.
pub fn frame_of_length(length: u32, message: &[u8]) -> Vec<u8> {
    let mut frame = frame(message);
    frame[1..5].copy_from_slice(&length.to_be_bytes());
    frame
}

impl Client {
    /// A call of `path` whose body is `pieces`, as they are. Gives the body of the reply, frames and all, or the status.
    pub async fn send(
        &self,
        path: &str,
        pieces: impl Stream<Item = Vec<u8>> + Send + 'static,
    ) -> Result<Bytes, Status> {
        let pieces = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
        let request = http::Request::post(format!("http://decima{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(pieces)))
            .expect("a request");
        let mut channel = self.channel();
        std::future::poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context))
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = async {
            let (parts, body) = Service::call(&mut channel, request).await.map_err(status)?.into_parts();
            if let Some(status) = failure(&parts.headers) {
                return Err(status);
            }
            let collected = body.collect().await?;
            match collected.trailers().and_then(failure) {
                Some(status) => Err(status),
                None => Ok(collected.to_bytes()),
            }
        };
        let answer = tokio::time::timeout(WAIT, answer).await;
        answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
    }
}

fn status(error: tonic::transport::Error) -> Status {
    Status::from_error(error.into())
}

fn failure(headers: &http::HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != tonic::Code::Ok)
}

/// Status and body of one request to an `http://` URL on this machine, over a connection of its own.
pub fn http(method: &str, url: &str, body: &[u8]) -> (u16, String) {
    http_with(method, url, &[], body)
}

/// The same with more headers.
pub fn http_with(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
    let reply = http_whole(method, url, headers, body);
    (reply.status, reply.body)
}

/// An answer of plain HTTP.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Its first line and its headers.
    pub head: String,
    pub body: String,
}

/// The same with all of the answer.
pub fn http_whole(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut head = format!("{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    let mut connection = TcpStream::connect(host).expect("connected");
    connection.set_read_timeout(Some(WAIT)).expect("a timeout");
    // a server may answer before it has read all
    let sent = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body));
    let mut reply = Vec::new();
    let read = connection.read_to_end(&mut reply);
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status in {head:?}; {sent:?}, {read:?}"));
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}
