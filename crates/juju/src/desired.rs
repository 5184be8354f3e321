//! What a charm wishes: the state that the applier brings about.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Bag, RelationId};
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
}

/// What shall be in our two bags of one relation. Keys that are not named are left alone; an empty value removes a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredBags {
    pub endpoint: String,
    pub unit: Bag,
    /// Written by the leader only.
    pub app: Bag,
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
