//! Look-ups against name servers on loopback.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// How a server treats a question.
#[derive(Clone, Copy)]
enum Way {
    /// By its zone, whatever else it knows: NXDOMAIN.
    Answers,
    /// With datagrams that answer nothing first.
    AnswersAfterNoise,
    Fails,
    Silent,
}

/// A name server on loopback that answers by a map from `(name, type)` to the content of records; it stops with the process. What it
/// is asked comes out of the channel.
fn server(way: Way, zone: &[(&str, u16, &[u8])]) -> (SocketAddr, Receiver<String>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut records: BTreeMap<(String, u16), Vec<Vec<u8>>> = BTreeMap::new();
    for (name, kind, data) in zone {
        records.entry(((*name).to_owned(), *kind)).or_default().push(data.to_vec());
    }
    let (asked, asks) = sync_channel(64);
    thread::spawn(move || {
        let mut datagram = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut datagram) {
            let question = &datagram[..length];
            let mut labels = Vec::new();
            let mut at = 12;
            while question[at] != 0 {
                let end = at + 1 + usize::from(question[at]);
                labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
                at = end;
            }
            let (name, kind) = (labels.join("."), u16::from_be_bytes([question[at + 1], question[at + 2]]));
            let _ = asked.try_send(format!("{name} {kind}"));
            let exists = records.keys().any(|(known, _)| *known == name);
            let found = records.get(&(name, kind)).cloned().unwrap_or_default();
            let mut reply = question.to_vec();
            reply[2] = 0x81;
            reply[3] = match way {
                Way::Fails => 0x82,
                _ if exists => 0x80,
                _ => 0x83,
            };
            reply[7] = found.len() as u8;
            for data in found {
                reply.extend([0xc0, 12]);
                reply.extend(kind.to_be_bytes());
                reply.extend([0, 1, 0, 0, 0, 60, 0, data.len() as u8]);
                reply.extend(data);
            }
            if matches!(way, Way::AnswersAfterNoise) {
                let mut other = reply.clone();
                other[0] ^= 1;
                socket.send_to(&other, client).unwrap();
                socket.send_to(b"noise", client).unwrap();
            }
            if !matches!(way, Way::Silent) {
                socket.send_to(&reply, client).unwrap();
            }
        }
    });
    (address, asks)
}

fn names(hosts: &str, resolv_conf: &str, servers: &[SocketAddr]) -> Names {
    let mut dns = ResolvConf::parse(resolv_conf);
    dns.servers = servers.to_vec();
    Names { hosts: Hosts::parse(hosts), dns }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn failure(result: Result<Vec<IpAddr>, LookupError>) -> LookupErrorKind {
    result.unwrap_err().kind
}

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;

#[test]
fn the_file_wins_over_the_servers() {
    let (address, asks) = server(Way::Answers, &[("web.test", A, &[10, 0, 0, 9])]);
    let names = names("10.0.0.1 web.test\n", "", &[address]);
    assert_eq!(names.addresses("web.test", SOON).unwrap(), [ip("10.0.0.1")]);
    assert_eq!(names.addresses("10.0.0.7", SOON).unwrap(), [ip("10.0.0.7")]);
    assert_eq!(names.names(ip("10.0.0.1"), SOON).unwrap(), ["web.test"]);
    assert!(asks.try_recv().is_err(), "a server was asked");
}

#[test]
fn a_short_name_is_found_in_a_search_domain() {
    let (address, asks) = server(Way::AnswersAfterNoise, &[("tempo.two.test", A, &[10, 0, 0, 4])]);
    let names = names("", "search one.test two.test\noptions ndots:5\n", &[address]);
    assert_eq!(names.addresses("tempo", SOON).unwrap(), [ip("10.0.0.4")]);
    assert_eq!(Vec::from_iter(asks.try_iter()), ["tempo.one.test 1", "tempo.two.test 1"]);
    assert_eq!(failure(names.addresses("loki", SOON)), LookupErrorKind::NotFound);
}

#[test]
fn ipv6_is_asked_for_where_there_is_no_ipv4() {
    let address = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let (server, asks) = server(Way::Answers, &[("six.test", AAAA, &address)]);
    assert_eq!(names("", "", &[server]).addresses("six.test", SOON).unwrap(), [ip("fd00::1")]);
    assert_eq!(Vec::from_iter(asks.try_iter()), ["six.test 1", "six.test 28"]);
}

#[test]
fn a_server_that_fails_or_is_gone_is_passed_over() {
    let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (fails, _) = server(Way::Fails, &[]);
    let (answers, _) = server(Way::Answers, &[("web.test", A, &[10, 0, 0, 4])]);
    assert_eq!(names("", "", &[gone, fails, answers]).addresses("web.test", SOON).unwrap(), [ip("10.0.0.4")]);
    assert_eq!(failure(names("", "", &[fails]).addresses("web.test", SOON)), LookupErrorKind::Servers);
    assert_eq!(failure(names("", "", &[gone]).addresses("web.test", SOON)), LookupErrorKind::Servers);
}

#[test]
fn a_server_that_is_silent_costs_no_more_than_the_time_given() {
    let (silent, _) = server(Way::Silent, &[]);
    let started = Instant::now();
    let error =
        names("", "search a.test b.test\n", &[silent]).addresses("web", Duration::from_millis(150)).unwrap_err();
    assert_eq!(error.kind, LookupErrorKind::TimedOut);
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::TimedOut);
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[test]
fn a_unit_of_kubernetes_has_the_name_that_the_file_gives_it() {
    let hosts = "127.0.0.1 localhost\n10.1.2.3 parca-0.parca-endpoints.lens.svc.cluster.local parca-0\n";
    assert_eq!(names(hosts, "", &[]).fqdn("parca-0", SOON), "parca-0.parca-endpoints.lens.svc.cluster.local");
}

/// `socket.getfqdn()` looks at the first line of the address, not at the lines of the name.
#[test]
fn the_full_name_is_what_python_makes_of_it() {
    let lookup = |hosts: &str, name: &str| names(hosts, "", &[]).fqdn(name, SOON);
    assert_eq!(lookup("127.0.0.1 localhost me\n", "me"), "localhost");
    assert_eq!(lookup("127.0.1.1 me.home.test me\n", "me"), "me.home.test");
    assert_eq!(lookup("10.0.0.1 a me b.test c.test\n", "me"), "b.test");
    assert_eq!(lookup("10.0.0.1 first.test\n10.0.0.1 me.test me\n", "me"), "first.test");
    assert_eq!(lookup("", "me"), "me");
}

#[test]
fn the_full_name_is_asked_of_the_servers_if_the_file_has_none() {
    let (server, asks) = server(
        Way::Answers,
        &[("me.home.test", A, &[10, 0, 0, 4]), ("4.0.0.10.in-addr.arpa", PTR, b"\x02me\x05house\x04test\0")],
    );
    let names = names("127.0.0.1 localhost\n", "search home.test\n", &[server]);
    assert_eq!(names.fqdn("me", SOON), "me.house.test");
    assert_eq!(Vec::from_iter(asks.try_iter()), ["me.home.test 1", "4.0.0.10.in-addr.arpa 12"]);
}
