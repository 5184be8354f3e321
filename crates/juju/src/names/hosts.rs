//! /etc/hosts: `ADDRESS CANONICAL_NAME ALIAS...`, see hosts(5).

use std::net::IpAddr;

/// The lines that say something, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// An address and its names, the canonical one first; at least one.
    lines: Vec<(IpAddr, Vec<String>)>,
}

impl Hosts {
    /// Lines without an address or without a name are passed over.
    pub fn parse(text: &str) -> Hosts {
        let lines = text.lines().filter_map(|line| {
            let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
            let address = words.next()?.parse().ok()?;
            let names = Vec::from_iter(words.map(str::to_owned));
            (!names.is_empty()).then_some((address, names))
        });
        Hosts { lines: lines.collect() }
    }

    /// The addresses of a name, each once, in the order of the lines. Case does not matter, nor does a dot at the end.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut addresses = Vec::new();
        for (address, names) in &self.lines {
            if names.iter().any(|known| known.eq_ignore_ascii_case(name)) && !addresses.contains(address) {
                addresses.push(*address);
            }
        }
        addresses
    }

    /// The names on the first line of an address.
    pub fn names(&self, address: IpAddr) -> Option<&[String]> {
        self.lines.iter().find(|line| line.0 == address).map(|line| line.1.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1 localhost ip6-localhost # both
10.1.2.3\tparca-0.parca-endpoints.lens.svc.cluster.local\tparca-0
10.1.2.4
nonsense name
10.1.2.3 other
";

    #[test]
    fn a_name_has_the_addresses_of_all_lines_that_name_it() {
        let hosts = Hosts::parse(TEXT);
        assert_eq!(hosts.addresses("LOCALHOST"), ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert_eq!(hosts.addresses("parca-0."), ["10.1.2.3".parse::<IpAddr>().unwrap()]);
        for unknown in ["name", "both", "parca", ""] {
            assert!(hosts.addresses(unknown).is_empty(), "{unknown}");
        }
    }

    #[test]
    fn an_address_has_the_names_of_its_first_line() {
        let hosts = Hosts::parse(TEXT);
        let names = hosts.names("10.1.2.3".parse().unwrap()).unwrap();
        assert_eq!(names, ["parca-0.parca-endpoints.lens.svc.cluster.local", "parca-0"]);
        assert_eq!(hosts.names("10.1.2.4".parse().unwrap()), None);
    }
}
