//! What a charm wishes: the state that the applier brings about.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use crate::model::{Bag, Relation, RelationId};
use crate::status::Status;

/// The wished state of everything that the charm speaks of. What it does not mention is left alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// The bags to have, by relation.
    pub bags: BTreeMap<RelationId, DesiredBags>,
    /// All ports that shall be open, `None` to leave them alone.
    pub ports: Option<BTreeSet<Port>>,
    /// Candidates for the unit's status; the most urgent is set. None: it is left alone.
    pub unit_status: Vec<Status>,
    /// The same for the application; set by the leader only.
    pub app_status: Vec<Status>,
    /// The workload's version.
    pub workload_version: Option<String>,
    /// What the action that runs answers. Passed over if the event is no action.
    pub answer: Answer,
}

/// An action's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Keys are lower-case letters, digits and hyphens; a dot makes a level below.
    pub results: BTreeMap<String, String>,
    /// Why the action has failed, if it has. The hook ends well all the same.
    pub failed: Option<String>,
}

/// What shall be in our two bags of one relation. Keys that are not named are left alone; an empty value removes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredBags {
    pub endpoint: String,
    pub unit: Bag,
    /// Written by the leader only.
    pub app: Bag,
}

impl From<&Relation> for DesiredBags {
    /// Nothing yet, for this relation.
    fn from(relation: &Relation) -> DesiredBags {
        DesiredBags { endpoint: relation.endpoint.clone(), ..DesiredBags::default() }
    }
}

/// A port, or a range of ports, of the unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    pub protocol: Protocol,
    pub from: u16,
    /// Included; the same as `from` for one port. Both are 0 for ICMP.
    pub to: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

impl Port {
    pub const fn tcp(port: u16) -> Port {
        Port { protocol: Protocol::Tcp, from: port, to: port }
    }

    pub const fn udp(port: u16) -> Port {
        Port { protocol: Protocol::Udp, from: port, to: port }
    }
}

/// A text that is no port, such as `80`, `80/tcp`, `8000-8010/udp` or `icmp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAPort {
    Text(String),
    /// Not 1 to 65535, or a range that ends before it begins.
    Range(String),
}

impl fmt::Display for NotAPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAPort::Text(text) => write!(f, "invalid port or port range \"{text}\""),
            NotAPort::Range(from) => write!(f, "port must be an integer in the range [1, 65535]; got {from}"),
        }
    }
}

impl std::error::Error for NotAPort {}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Icmp => return f.write_str("icmp"),
        };
        if self.from == self.to {
            write!(f, "{}/{protocol}", self.from)
        } else {
            write!(f, "{}-{}/{protocol}", self.from, self.to)
        }
    }
}

impl FromStr for Port {
    type Err = NotAPort;

    fn from_str(text: &str) -> Result<Port, NotAPort> {
        let lower = text.to_ascii_lowercase();
        if lower == "icmp" {
            return Ok(Port { protocol: Protocol::Icmp, from: 0, to: 0 });
        }
        let bad = || NotAPort::Text(text.to_owned());
        let (range, protocol) = match lower.split_once('/') {
            Some((range, "tcp")) => (range, Protocol::Tcp),
            Some((range, "udp")) => (range, Protocol::Udp),
            Some(_) => return Err(bad()),
            None => (lower.as_str(), Protocol::Tcp),
        };
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        if [from, to].iter().any(|n| n.is_empty() || !n.bytes().all(|b| b.is_ascii_digit())) {
            return Err(bad());
        }
        match (from.parse(), to.parse()) {
            (Ok(from), Ok(to)) if 1 <= from && from <= to => Ok(Port { protocol, from, to }),
            _ => Err(NotAPort::Range(from.to_owned())),
        }
    }
}
