//! URLs that are signed for agents: S3's by asking the server, GCS's by what its documentation says a server would check.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bucket::options::{Azure, Gcs, Secret};
use bucket::{Bucket, Kind, Metrics, Options, Provider};
use e2e::S3Server;

use crate::options;

const HOUR: Duration = Duration::from_secs(3600);

fn connect(options: &Options) -> Bucket {
    Bucket::connect(options, Metrics::unregistered("test")).expect("a bucket")
}

/// Names of all the characters that a build ID may have.
const NAMES: [&str; 3] =
    ["debuginfo/abcdef/debuginfo", "debuginfo/go/a_B-9.x=y+z:0@w~v/executable", "debuginfo/a+b/sources"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_signed_for_s3_takes_one_object_and_only_for_its_time() {
    let s3 = S3Server::start();
    let bucket = connect(&options(s3.address, "team a/b+c", 1));
    assert!(bucket.signs());
    for name in NAMES {
        let url = bucket.signed_put(name, HOUR).await.expect("signed");
        assert_eq!(put(&url, b"whole"), 200, "{url}\n{}", s3.log());
        let (there, _) =
            bucket.get(name, 10).await.expect("read").unwrap_or_else(|| panic!("nothing at {name}: {url}"));
        assert_eq!(there, "whole", "{name}");
    }
    let short = bucket.signed_put("debuginfo/late/debuginfo", Duration::from_secs(1)).await.expect("signed");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert_eq!(put(&short, b"whole"), 403, "{short}");
    let longer = short.replace("X-Amz-Expires=1&", "X-Amz-Expires=3600&");
    assert_ne!(longer, short);
    assert_eq!(put(&longer, b"whole"), 403, "the time is signed too");
    assert_eq!(bucket.size("debuginfo/late/debuginfo").await.expect("an answer"), None);
}

/// The status of a PUT to an `http://` URL of this machine.
fn put(url: &str, body: &[u8]) -> u16 {
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a plain URL");
    let mut connection = TcpStream::connect(host).expect("connected");
    connection.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let length = body.len();
    let head = format!("PUT /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    connection.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    let reply = std::io::read_to_string(connection).expect("a reply");
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no status in {reply:?}"))
}

fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

/// RFC 3986 without reserved characters, as Google wants them in a query.
fn encoded(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    text.bytes().map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%').then(|| std::str::from_utf8(&after[..2]).expect("hexadecimal"));
        bytes.push(escaped.map_or(*first, |hex| u8::from_str_radix(hex, 16).expect("hexadecimal")));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).expect("text")
}

/// What Google's servers do with it (cloud.google.com/storage/docs/authentication/canonical-requests and signatures): the text
/// that was to be signed, made from the request alone. Its SHA-256 is OpenSSL's.
fn signed_text(url: &str, method: &str, folder: &Path) -> (String, Vec<u8>) {
    let (base, query) = url.split_once('?').expect("a query");
    let path = decoded(base.strip_prefix("https://storage.googleapis.com").expect("Google's host"));
    let path: Vec<String> = path.split('/').map(encoded).collect();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .map(|pair| pair.split_once('=').expect("a value"))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    pairs.sort();
    let value = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).expect(wanted).1.clone();
    assert_eq!(value("X-Goog-Algorithm"), "GOOG4-RSA-SHA256");
    assert_eq!((value("X-Goog-Expires"), value("X-Goog-SignedHeaders")), ("900".into(), "host".into()));
    let date = value("X-Goog-Date");
    let scope = format!("{}/auto/storage/goog4_request", &date[..8]);
    assert_eq!(value("X-Goog-Credential"), format!("uploads@project.iam.gserviceaccount.com/{scope}"));
    let signature: Vec<u8> = value("X-Goog-Signature")
        .as_bytes()
        .chunks(2)
        .map(|hex| u8::from_str_radix(std::str::from_utf8(hex).expect("text"), 16).expect("hexadecimal"))
        .collect();
    let unsigned = pairs.iter().filter(|(name, _)| name != "X-Goog-Signature");
    let query: Vec<String> = unsigned.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let request = format!(
        "{method}\n{}\n{}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD",
        path.join("/"),
        query.join("&")
    );
    let file = folder.join("request");
    std::fs::write(&file, request).expect("written");
    let digest = openssl(&["dgst", "-sha256", "-r", file.to_str().expect("text")]);
    let digest = digest.split(' ').next().expect("a digest");
    (format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{digest}"), signature)
}

fn is_signed(text: &str, signature: &[u8], folder: &Path) -> bool {
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    std::fs::write(path("text"), text).expect("written");
    std::fs::write(path("signature"), signature).expect("written");
    let verify = ["dgst", "-sha256", "-verify", &path("public"), "-signature", &path("signature"), &path("text")];
    Command::new("openssl").args(verify).output().expect("openssl runs").status.success()
}

#[tokio::test]
async fn a_url_signed_for_gcs_is_what_googles_servers_would_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &path("private")]);
    openssl(&["pkey", "-in", &path("private"), "-pubout", "-out", &path("public")]);
    let key = std::fs::read_to_string(path("private")).expect("a key").replace('\n', "\\n");
    let account = format!(
        r#"{{"type": "service_account", "private_key_id": "1", "private_key": "{key}",
            "client_email": "uploads@project.iam.gserviceaccount.com", "client_id": "2"}}"#
    );
    let gcs = Gcs { bucket: "profiles".into(), service_account: Secret(account), ..Gcs::default() };
    let bucket = connect(&Options { prefix: "p".into(), provider: Provider::Gcs(gcs) });
    assert!(bucket.signs());
    for name in NAMES {
        let url = bucket.signed_put(name, Duration::from_secs(900)).await.expect("signed without a word to Google");
        let (base, _) = url.split_once('?').expect("a query");
        assert_eq!(decoded(base), format!("https://storage.googleapis.com/profiles/p/{name}"));
        let (text, signature) = signed_text(&url, "PUT", folder.path());
        assert!(is_signed(&text, &signature, folder.path()), "{url}\n{text}");
        for (other, method) in [(url.replace("debuginfo", "debuginfa"), "PUT"), (url.clone(), "DELETE")] {
            let (text, signature) = signed_text(&other, method, folder.path());
            assert!(!is_signed(&text, &signature, folder.path()), "{method} {other}");
        }
    }
}

#[tokio::test]
async fn azure_and_a_folder_sign_nothing_and_say_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let azure = Azure {
        storage_account: "account".into(),
        storage_account_key: Secret("a2V5".into()),
        container: "c".into(),
        ..Azure::default()
    };
    let filesystem = Provider::Filesystem { directory: folder.path().display().to_string() };
    for provider in [Provider::Azure(azure), filesystem] {
        let bucket = connect(&Options { prefix: String::new(), provider });
        assert!(!bucket.signs());
        assert_eq!(bucket.signed_put("a/b", HOUR).await.expect_err("no URL").kind, Kind::Invalid);
    }
}
