use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use proptest::prelude::*;

use super::test_server::{Shows, TestServer};
use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn no_names(name: &str, _: u16, _: Duration) -> io::Result<Vec<SocketAddr>> {
    Err(io::Error::other(format!("{name} is not known")))
}

const GET: Request<'static> = Request { method: "GET", path: "/a", headers: &[("Accept", "x/y")], body: b"" };

/// A server that answers each connection's requests with the given texts, one after the other, and says what it was asked.
fn server(connections: Vec<Vec<&'static str>>) -> (Url, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let serve = move || {
        let mut asked = Vec::new();
        for answers in connections {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            for answer in answers {
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    request.push(byte[0]);
                }
                asked.push(String::from_utf8(request).unwrap());
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
        asked
    };
    (url, thread::spawn(serve))
}

fn answer_to(text: &'static str) -> Result<Response, Error> {
    let (url, serving) = server(vec![vec![text]]);
    let answer = Client::new(url, None, &no_names, soon()).send(GET);
    serving.join().unwrap();
    answer
}

#[test]
fn urls_are_read_and_what_is_more_than_that_refused() {
    let url =
        |https, host: &str, port, path: &str| Some(Url { https, host: host.to_owned(), port, path: path.to_owned() });
    assert_eq!(Url::parse("http://tempo.lens.svc:4318"), url(false, "tempo.lens.svc", 4318, ""));
    assert_eq!(Url::parse("https://h/a/b"), url(true, "h", 443, "/a/b"));
    assert_eq!(Url::parse("http://[fd00::1]:80/"), url(false, "fd00::1", 80, "/"));
    assert_eq!(Url::parse("https://[fd00::1]"), url(true, "fd00::1", 443, ""));
    for text in [
        "",
        "h:80",
        "ftp://h",
        "http://",
        "http://h:x",
        "http://u@h",
        "http://h/?q",
        "http://h /",
        "http://[::1",
        "http://[::1]x",
    ] {
        assert_eq!(Url::parse(text), None, "{text}");
    }
}

#[test]
fn bodies_end_by_length_by_chunks_or_with_the_connection() {
    let body = |text| answer_to(text).map(|response| (response.code, String::from_utf8(response.body).unwrap()));
    assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Ok((200, "hi".to_owned())));
    assert_eq!(
        body("HTTP/1.1 404 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"),
        Ok((404, "abcde".to_owned()))
    );
    assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nall of it"), Ok((200, "all of it".to_owned())));
    assert_eq!(body("HTTP/1.1 204 No Content\r\n\r\n"), Ok((204, String::new())));
    assert_eq!(
        body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        Ok((201, String::new()))
    );
}

#[test]
fn answers_that_make_no_sense_are_errors() {
    let kind = |text| answer_to(text).unwrap_err().kind;
    assert_eq!(kind("SSH-2.0-x\r\n\r\n"), ErrorKind::Answer);
    assert_eq!(kind("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), ErrorKind::Answer);
    assert_eq!(kind("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), ErrorKind::Answer);
    assert_eq!(kind("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n"), ErrorKind::Answer);
    assert_eq!(kind("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"), ErrorKind::Connection);
    assert_eq!(kind(""), ErrorKind::Connection);
}

#[test]
fn one_connection_serves_many_requests_and_a_closed_one_is_opened_again() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (url, serving) = server(vec![vec![OK, OK], vec![OK]]);
    let mut client = Client::new(url, None, &no_names, soon());
    for _ in 0..3 {
        assert_eq!(client.send(GET).unwrap().body, b"x");
    }
    let asked = serving.join().unwrap();
    assert_eq!(asked.len(), 3);
    assert!(asked[0].starts_with("GET /a HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", asked[0]);
    assert!(asked[0].contains("\r\nAccept: x/y\r\n"));
}

#[test]
fn a_server_that_says_nothing_costs_the_deadline_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let begun = Instant::now();
    let error = Client::new(url, None, &no_names, begun + Duration::from_millis(150)).send(GET).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_server_that_drips_costs_the_deadline_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let dripping = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..100 {
            if stream.write_all(b"H").is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    let begun = Instant::now();
    let error = Client::new(url, None, &no_names, begun + Duration::from_millis(200)).send(GET).unwrap_err();
    assert_eq!(error.kind, ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    dripping.join().unwrap();
}

#[test]
fn names_are_asked_of_the_resolver() {
    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let (url, serving) = server(vec![vec![OK]]);
    let address = SocketAddr::new(url.host.parse().unwrap(), url.port);
    let resolve = move |name: &str, port: u16, _: Duration| {
        assert_eq!((name, port), ("parca.test", 80));
        Ok(vec![address])
    };
    let url = Url::parse("http://parca.test").unwrap();
    assert_eq!(Client::new(url, None, &resolve, soon()).send(GET).unwrap().code, 200);
    assert!(serving.join().unwrap()[0].contains("Host: parca.test:80\r\n"));
    let url = Url::parse("http://no.test").unwrap();
    let error = Client::new(url, None, &no_names, soon()).send(GET).unwrap_err();
    assert_eq!((error.kind, error.to_string().as_str()), (ErrorKind::Name, "no.test:80: no.test is not known"));
}

#[test]
fn a_server_is_trusted_by_its_authority_or_by_its_very_certificate() {
    for shows in [Shows::Signed, Shows::Authority] {
        let server = TestServer::start(shows, |_| (200, "yes".to_owned()));
        let url = || Url::parse(&format!("https://{}", server.address)).unwrap();
        let tls = trusting([server.ca.as_str()]).unwrap();
        let answer = Client::new(url(), Some(tls), &no_names, soon()).send(GET);
        assert_eq!(answer.map(|answer| answer.body), Ok(b"yes".to_vec()), "{shows:?}");

        let other = TestServer::start(shows, |_| (200, "no".to_owned()));
        let tls = trusting([other.ca.as_str()]).unwrap();
        let error = Client::new(url(), Some(tls), &no_names, soon()).send(GET).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Tls, "{error}");
        assert_eq!(Client::new(url(), None, &no_names, soon()).send(GET).unwrap_err().kind, ErrorKind::Tls);
    }
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let server = TestServer::start(Shows::Authority, |_| (200, "no".to_owned()));
    let address = server.address;
    let resolve = move |_: &str, _: u16, _: Duration| Ok(vec![address]);
    let url = Url::parse(&format!("https://elsewhere.test:{}", address.port())).unwrap();
    let tls = trusting([server.ca.as_str()]).unwrap();
    let error = Client::new(url, Some(tls), &resolve, soon()).send(GET).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Tls, "{error}");
}

#[test]
fn texts_without_certificates_are_no_authority() {
    assert!(trusting([]).is_err());
    assert!(trusting(["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]).is_err());
}

/// What a connection says, whatever it is asked.
struct Says(io::Cursor<Vec<u8>>);

impl Read for Says {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Says {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_is_taken_for_an_answer_is_one(
        start in prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 1"]),
        rest in "[0-9a-f\r\n :;é-]{0,60}",
    ) {
        let url = Url::parse("http://h").unwrap();
        let text = start.to_owned() + &rest;
        if let Ok((response, _)) = exchange(&mut Says(io::Cursor::new(text.clone().into_bytes())), &url, GET) {
            prop_assert!(text.starts_with("HTTP/1."), "{:?}", text);
            prop_assert!(response.body.len() < text.len(), "{:?}", text);
        }
    }

    #[test]
    fn a_url_that_is_taken_is_the_same_when_it_is_put_together_again(text in "(https?://)?[\\[\\]a-z0-9:/@?# é]{0,20}") {
        if let Some(url) = Url::parse(&text) {
            let scheme = if url.https { "https" } else { "http" };
            prop_assert_eq!(Url::parse(&format!("{scheme}://{}{}", url.authority(), url.path)), Some(url));
        }
    }
}
