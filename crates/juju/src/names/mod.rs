//! Names of hosts, looked up in /etc/hosts and then by DNS: a charm that is one static program has no C library to ask.
//!
//! It follows getaddrinfo(3), gethostbyaddr(3) and Python's `socket.getfqdn()`, as far as a charm needs them: /etc/hosts first,
//! then the name servers of /etc/resolv.conf with its search domains; A, AAAA and PTR over UDP. It never reads nsswitch.conf,
//! never speaks TCP, caches nothing, and every look-up ends within the time that is given.
//!
//! Map: [`hosts`] /etc/hosts · [`resolv_conf`] /etc/resolv.conf · [`dns`] questions and answers on the wire.

pub mod dns;
pub mod hosts;
pub mod resolv_conf;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};
use std::{fmt, fs, io};

use self::dns::{Answer, Question, Reply};
use self::hosts::Hosts;
use self::resolv_conf::ResolvConf;

/// Addresses that one name may have; more are passed over.
pub const ADDRESSES_MAX: usize = 64;

/// What kept a name, or an address, from being looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupErrorKind {
    /// There is none: nobody knows it, or it is no name of a host.
    NotFound,
    /// The time that was given passed, or no server answered in time.
    TimedOut,
    /// No name server can be reached, or each has refused.
    Servers,
    /// The answer does not fit into one datagram.
    TooLong,
}

/// A look-up that gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    pub kind: LookupErrorKind,
    /// What was looked up.
    pub what: String,
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            LookupErrorKind::NotFound => "there is no host of this name",
            LookupErrorKind::TimedOut => "no name server answered in time",
            LookupErrorKind::Servers => "no name server can be asked: see /etc/resolv.conf",
            LookupErrorKind::TooLong => "the name server's answer is too long",
        };
        write!(f, "{:?}: {why}", self.what)
    }
}

impl std::error::Error for LookupError {}

impl From<LookupError> for io::Error {
    fn from(error: LookupError) -> io::Error {
        let kind = match error.kind {
            LookupErrorKind::NotFound => io::ErrorKind::NotFound,
            LookupErrorKind::TimedOut => io::ErrorKind::TimedOut,
            LookupErrorKind::Servers | LookupErrorKind::TooLong => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// This host's name, as the kernel has it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What is asked for names: the two files, as they were when this was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub hosts: Hosts,
    pub dns: ResolvConf,
}

impl Names {
    /// Reads /etc/hosts and /etc/resolv.conf. One that is missing is like an empty one.
    pub fn of_this_host() -> Names {
        let read = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Names { hosts: Hosts::parse(&read("/etc/hosts")), dns: ResolvConf::parse(&read("/etc/resolv.conf")) }
    }

    /// The addresses of a host; at least one. IPv6 is asked for where there is no IPv4. An address is its own.
    ///
    /// # Errors
    /// There is none, or nobody said so within the time given.
    pub fn addresses(&self, name: &str, within: Duration) -> Result<Vec<IpAddr>, LookupError> {
        let until = Instant::now() + within;
        self.addresses_until(name, until).map_err(|kind| LookupError { kind, what: name.to_owned() })
    }

    /// The names of an address, the canonical one first; at least one.
    ///
    /// # Errors
    /// There is none, or nobody said so within the time given.
    pub fn names(&self, address: IpAddr, within: Duration) -> Result<Vec<String>, LookupError> {
        let until = Instant::now() + within;
        self.names_until(address, until).map_err(|kind| LookupError { kind, what: address.to_string() })
    }

    /// A host's fully qualified name, as Python's `socket.getfqdn(hostname)`: of the names of its first address the first that has
    /// a dot, else the canonical one; the name itself if it cannot be looked up within the time given.
    pub fn fqdn(&self, hostname: &str, within: Duration) -> String {
        let until = Instant::now() + within;
        let first = self.addresses_until(hostname, until).ok().and_then(|addresses| addresses.first().copied());
        let names = first.and_then(|address| self.names_until(address, until).ok()).unwrap_or_default();
        let dotted = names.iter().find(|name| name.contains('.'));
        dotted.or(names.first()).cloned().unwrap_or_else(|| hostname.to_owned())
    }

    fn addresses_until(&self, name: &str, until: Instant) -> Result<Vec<IpAddr>, LookupErrorKind> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let known = self.hosts.addresses(name);
        if !known.is_empty() {
            return Ok(known);
        }
        let mut failed = LookupErrorKind::NotFound;
        for candidate in self.dns.candidates(name) {
            for question in [Question::a(&candidate), Question::aaaa(&candidate)] {
                let question = question.ok_or(LookupErrorKind::NotFound)?;
                match self.ask(&question, until) {
                    Ok(Some(answers)) => {
                        let addresses = answers.into_iter().filter_map(Answer::address).take(ADDRESSES_MAX);
                        let addresses = Vec::from_iter(addresses);
                        if !addresses.is_empty() {
                            return Ok(addresses);
                        }
                    }
                    // there is nothing else of that name either
                    Ok(None) => break,
                    // a server that cannot say is asked for the next name all the same, as the C library does
                    Err(LookupErrorKind::Servers) => {
                        failed = LookupErrorKind::Servers;
                        break;
                    }
                    Err(kind) => return Err(kind),
                }
            }
        }
        Err(failed)
    }

    fn names_until(&self, address: IpAddr, until: Instant) -> Result<Vec<String>, LookupErrorKind> {
        if let Some(known) = self.hosts.names(address) {
            return Ok(known.to_vec());
        }
        let answers = self.ask(&Question::ptr(address), until)?.unwrap_or_default();
        let names = Vec::from_iter(answers.into_iter().filter_map(Answer::name));
        if names.is_empty() { Err(LookupErrorKind::NotFound) } else { Ok(names) }
    }

    /// Asks one server after the other until one answers, the first one first. `None`: there is no such name.
    fn ask(&self, question: &Question, until: Instant) -> Result<Option<Vec<Answer>>, LookupErrorKind> {
        let mut failed = LookupErrorKind::Servers;
        for _ in 0..self.dns.attempts {
            for &server in &self.dns.servers {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(LookupErrorKind::TimedOut);
                }
                match exchange(question, server, left.min(self.dns.timeout)) {
                    Ok(Reply::Answers(answers)) => return Ok(Some(answers)),
                    Ok(Reply::NoSuchName) => return Ok(None),
                    Ok(Reply::TooLong) => return Err(LookupErrorKind::TooLong),
                    Ok(Reply::Refused) => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => failed = LookupErrorKind::TimedOut,
                    // nobody listens there
                    Err(_) => {}
                }
            }
        }
        Err(failed)
    }
}

/// A question's number, which nobody who does not hear it can guess. It is made of the random keys that the standard library
/// has for its hash maps: the crate getrandom wants a file in /dev when the program is static.
fn random_id() -> [u8; 2] {
    let [first, second, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    [first, second]
}

/// Asks one server once. Datagrams that are no answer to this question are passed over.
fn exchange(question: &Question, server: SocketAddr, within: Duration) -> io::Result<Reply> {
    let until = Instant::now() + within;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // connected, so that only the server is heard; from a port of the system's choice
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let id = random_id();
    socket.send(&question.message(id))?;
    let mut datagram = [0; dns::MESSAGE_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut datagram).map_err(|error| match error.kind() {
            // what the timeout of a socket looks like
            io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
            _ => error,
        })?;
        if let Some(reply) = question.reply(id, &datagram[..length]) {
            return Ok(reply);
        }
    }
}
