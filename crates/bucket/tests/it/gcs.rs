//! A bucket of GCS. No server of Google's runs here: this one does what the documentation of its XML API says of the requests that we make
//! (cloud.google.com/storage/docs/xml-api: objects with generations and preconditions, listings, uploads in parts), and nothing else.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use bucket::options::{Gcs, Secret, Tuning};
use bucket::{Bucket, Options, Provider};
use bytes::Bytes;

use crate::contract::{connect, holds_the_contract};

#[derive(Default)]
struct State {
    /// By name: generation and content.
    objects: BTreeMap<String, (u64, Vec<u8>)>,
    /// Parts by number, of uploads by number.
    uploads: BTreeMap<u64, BTreeMap<u64, Vec<u8>>>,
    /// Of objects and uploads: no two have the same.
    last: u64,
}

struct Asked {
    method: String,
    /// Of the object, decoded; empty for the bucket.
    name: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Serves one bucket, `test`, until the process ends.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let state = Arc::new(Mutex::new(State::default()));
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (connection, state) = (connection.expect("a connection"), state.clone());
            thread::spawn(move || {
                let mut reader = BufReader::new(connection);
                while let Some(asked) = asked(&mut reader) {
                    let is_head = asked.method == "HEAD";
                    let (status, headers, body) = answer(&mut state.lock().expect("no panic"), asked);
                    let mut reply = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
                    headers.iter().for_each(|(name, value)| write!(reply, "{name}: {value}\r\n").expect("text"));
                    let body = if is_head { &[][..] } else { &body };
                    let sent = reader.get_mut().write_all(&[reply.as_bytes(), b"\r\n", body].concat());
                    if sent.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// The next request; `None` where the other side has no more.
fn asked(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line()?;
    let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else { panic!("{first}") };
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let name = path.strip_prefix("/test").unwrap_or_else(|| panic!("another bucket: {target}"));
    let query = query.split('&').filter(|pair| !pair.is_empty());
    let query =
        query.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(key, value)| (decoded(key), decoded(value)));
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().expect("a number"))];
    let (method, name, query) = (method.to_owned(), decoded(name.trim_start_matches('/')), query.collect());
    reader.read_exact(&mut body).ok()?;
    Some(Asked { method, name, query, headers, body })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let hex = std::str::from_utf8(&rest[..2]).expect("two digits");
                rest = &rest[2..];
                u8::from_str_radix(hex, 16).expect("two digits")
            }
            other => other,
        });
    }
    String::from_utf8(bytes).expect("text")
}

type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

fn refusal(status: u16, code: &str) -> Answer {
    (status, Vec::new(), format!("<Error><Code>{code}</Code></Error>").into_bytes())
}

fn answer(state: &mut State, asked: Asked) -> Answer {
    let Asked { method, name, query, headers, body } = asked;
    let number = |text: &String| text.parse::<u64>().expect("a number");
    let (upload, part) = (query.get("uploadId").map(number), query.get("partNumber").map(number));
    let known = state.objects.get(&name).map_or(0, |(generation, _)| *generation);
    // of an object that is not there it is 0
    if headers.get("x-goog-if-generation-match").is_some_and(|wanted| number(wanted) != known) {
        return refusal(412, "PreconditionFailed");
    }
    match (method.as_str(), upload, part) {
        ("GET", ..) if name.is_empty() => (200, Vec::new(), listing(state, &query).into_bytes()),
        ("POST", None, None) if query.contains_key("uploads") => {
            state.last += 1;
            state.uploads.insert(state.last, BTreeMap::new());
            let id = state.last;
            let told =
                format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
            (200, Vec::new(), told.into_bytes())
        }
        ("PUT", Some(upload), Some(part)) => match state.uploads.get_mut(&upload) {
            Some(parts) => {
                parts.insert(part, body);
                (200, vec![("ETag", format!("\"{upload}-{part}\""))], Vec::new())
            }
            None => refusal(404, "NoSuchUpload"),
        },
        ("POST", Some(upload), None) => match state.uploads.remove(&upload) {
            Some(parts) => {
                let told = String::from_utf8(body).expect("text");
                let wanted = parts.keys().all(|part| told.contains(&format!("<PartNumber>{part}</PartNumber>")));
                assert!(wanted && !parts.is_empty(), "{told}");
                let generation = put(state, name, parts.into_values().flatten().collect());
                let told = format!(
                    "<CompleteMultipartUploadResult><ETag>\"{generation}\"</ETag></CompleteMultipartUploadResult>"
                );
                (200, vec![("x-goog-generation", generation.to_string())], told.into_bytes())
            }
            None => refusal(404, "NoSuchUpload"),
        },
        ("DELETE", Some(upload), None) => {
            state.uploads.remove(&upload);
            (204, Vec::new(), Vec::new())
        }
        ("PUT", None, None) => {
            let generation = put(state, name, body);
            (200, tags(generation), Vec::new())
        }
        ("GET" | "HEAD", None, None) => {
            let Some((generation, content)) = state.objects.get(&name) else { return refusal(404, "NoSuchKey") };
            let range = headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
            let Some((first, last)) = range else { return (200, tags(*generation), content.clone()) };
            let (first, last) = (number(&first.to_owned()) as usize, number(&last.to_owned()) as usize);
            if first >= content.len() {
                return refusal(416, "InvalidRange");
            }
            let end = content.len().min(last + 1);
            let mut headers = tags(*generation);
            headers.push(("Content-Range", format!("bytes {first}-{}/{}", end - 1, content.len())));
            (206, headers, content[first..end].to_vec())
        }
        ("DELETE", None, None) => match state.objects.remove(&name) {
            Some(_) => (204, Vec::new(), Vec::new()),
            None => refusal(404, "NoSuchKey"),
        },
        _ => panic!("{method} {name} {query:?}"),
    }
}

fn put(state: &mut State, name: String, content: Vec<u8>) -> u64 {
    state.last += 1;
    state.objects.insert(name, (state.last, content));
    state.last
}

fn tags(generation: u64) -> Vec<(&'static str, String)> {
    let modified = "Thu, 01 Jan 2026 00:00:00 GMT".to_owned();
    vec![
        ("ETag", format!("\"{generation}\"")),
        ("x-goog-generation", generation.to_string()),
        ("Last-Modified", modified),
    ]
}

/// Two a page, so that there are pages.
fn listing(state: &State, query: &BTreeMap<String, String>) -> String {
    assert_eq!(query.get("list-type").map(String::as_str), Some("2"));
    assert!(!query.contains_key("delimiter"), "nothing here lists by folder");
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").map_or("", String::as_str);
    let mut names = state.objects.iter().filter(|(name, _)| name.starts_with(prefix) && name.as_str() > after);
    let mut told = "<ListBucketResult>".to_owned();
    let mut last = "";
    for (name, (generation, content)) in names.by_ref().take(2) {
        last = name;
        write!(
            told,
            "<Contents><Key>{name}</Key><Size>{}</Size><ETag>\"{generation}\"</ETag><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>",
            content.len()
        )
        .expect("text");
    }
    if names.next().is_some() {
        write!(told, "<NextContinuationToken>{last}</NextContinuationToken>").expect("text");
    }
    told + "</ListBucketResult>"
}

fn bucket(address: SocketAddr, prefix: &str) -> Bucket {
    let account = format!(
        r#"{{"gcs_base_url": "http://{address}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#
    );
    let tuning = Tuning { allow_http: true, part_bytes: 5 << 20, retries: 0, ..Tuning::default() };
    let gcs = Gcs { bucket: "test".to_owned(), service_account: Secret(account), tuning };
    connect(&Options { prefix: prefix.to_owned(), provider: Provider::Gcs(gcs) })
}

#[tokio::test]
async fn gcs_holds_the_contract() {
    let address = serve();
    holds_the_contract(&bucket(address, "/deep/er/"), &bucket(address, "")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_create_or_replace_an_object_of_gcs_at_once_one_does_and_a_large_one_goes_in_parts() {
    let address = serve();
    let bucket = bucket(address, "a b/c+d");
    bucket.create("catalog/0", Bytes::from_static(b"first")).await.expect("created");
    let (_, seen) = bucket.get("catalog/0", 100).await.expect("read").expect("there");
    for replaces in [false, true] {
        let tasks: Vec<_> = (0..8_u8)
            .map(|who| {
                let (bucket, seen, bytes) = (bucket.clone(), seen.clone(), Bytes::from(vec![who; 100]));
                tokio::spawn(async move {
                    match replaces {
                        true => bucket.replace("catalog/0", bytes, Some(seen)).await.expect("an answer"),
                        false => bucket.create("catalog/1", bytes).await.is_ok(),
                    }
                })
            })
            .collect();
        let mut won = 0;
        for task in tasks {
            won += u32::from(task.await.expect("no panic"));
        }
        assert_eq!(won, 1, "replaces: {replaces}");
    }
    let file: Vec<u8> = (0..17_usize << 20).map(|at| (at ^ (at >> 9)) as u8).collect();
    let mut writer = bucket.writer("debuginfo/large").await.expect("begun");
    for chunk in file.chunks(1 << 20) {
        writer.write(Bytes::copy_from_slice(chunk)).await.expect("written");
    }
    writer.finish().await.expect("finished");
    let (there, _) = bucket.get("debuginfo/large", 1 << 30).await.expect("read").expect("there");
    assert!(there == file, "whole");
}
