//! /etc/resolv.conf: which name servers, and what is tried for a short name; see resolv.conf(5).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// As many servers as the C library takes; the others are passed over.
const SERVERS_MAX: usize = 3;

/// Search domains: Kubernetes allows 32.
const DOMAINS_MAX: usize = 32;

const DNS_PORT: u16 = 53;

/// What the file says, with resolv.conf(5)'s defaults and limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// Name servers, at least one.
    pub servers: Vec<SocketAddr>,
    /// Domains that a short name is looked for in, in order.
    pub search: Vec<String>,
    /// A name with this many dots is tried as it is first.
    pub ndots: usize,
    /// How long one server may take for one question.
    pub timeout: Duration,
    /// How often the servers are gone through.
    pub attempts: usize,
}

impl Default for ResolvConf {
    fn default() -> ResolvConf {
        ResolvConf {
            servers: vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl ResolvConf {
    /// What cannot be read is passed over, as the C library does.
    pub fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        let mut servers = Vec::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    servers.extend(address.map(|address| SocketAddr::new(address, DNS_PORT)));
                }
                Some("search") => conf.search = words.take(DOMAINS_MAX).map(str::to_owned).collect(),
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("options") => words.for_each(|option| conf.option(option)),
                _ => {}
            }
        }
        servers.truncate(SERVERS_MAX);
        if !servers.is_empty() {
            conf.servers = servers;
        }
        conf
    }

    fn option(&mut self, option: &str) {
        let Some((name, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u32>() else { return };
        match name {
            "ndots" => self.ndots = value.min(15) as usize,
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, 30).into()),
            "attempts" => self.attempts = value.clamp(1, 5) as usize,
            _ => {}
        }
    }

    /// The whole names to ask for, in order. A name that ends with a dot is whole already.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let dots = name.bytes().filter(|&byte| byte == b'.').count();
        let searched = self.search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.')));
        let mut names = Vec::from_iter(searched.map(|name| name.trim_end_matches('.').to_owned()));
        names.insert(if dots >= self.ndots { 0 } else { names.len() }, name.to_owned());
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_file_is_read() {
        let conf = ResolvConf::parse(
            "# made\nnameserver 10.152.183.10\nnameserver fe80::1%eth0\nnameserver fd00::a\n\
             search lens.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5 timeout:2 edns0 attempts:9 ndots:x\n",
        );
        assert_eq!(conf.servers, ["10.152.183.10:53".parse::<SocketAddr>().unwrap(), "[fd00::a]:53".parse().unwrap()]);
        assert_eq!(conf.search, ["lens.svc.cluster.local", "svc.cluster.local", "cluster.local"]);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (5, Duration::from_secs(2), 5));
    }

    #[test]
    fn without_a_file_the_defaults_of_the_manual_hold() {
        assert_eq!(ResolvConf::parse(""), ResolvConf::default());
        assert_eq!(ResolvConf::parse("nameserver\nnameserver here\noptions\nsearch\n"), ResolvConf::default());
        let four = ResolvConf::parse(&"nameserver 10.0.0.1\n".repeat(4));
        assert_eq!(four.servers.len(), SERVERS_MAX);
    }

    #[test]
    fn the_last_of_search_and_domain_counts() {
        assert_eq!(ResolvConf::parse("search a b\ndomain c d\n").search, ["c"]);
        assert_eq!(ResolvConf::parse("domain c\nsearch a b\n").search, ["a", "b"]);
    }

    #[test]
    fn a_short_name_is_searched_first_and_a_long_one_last() {
        let conf = ResolvConf::parse("search one.test two.test.\noptions ndots:2\n");
        assert_eq!(conf.candidates("a"), ["a.one.test", "a.two.test", "a"]);
        assert_eq!(conf.candidates("a.b"), ["a.b.one.test", "a.b.two.test", "a.b"]);
        assert_eq!(conf.candidates("a.b.c"), ["a.b.c", "a.b.c.one.test", "a.b.c.two.test"]);
        assert_eq!(conf.candidates("a."), ["a"]);
        assert_eq!(ResolvConf::parse("search .\n").candidates("a"), ["a", "a"]);
    }
}
