use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use super::action::argument;
use super::{Juju, VersionMemory, null_is_empty, to_yaml_json};
use crate::desired::Port;
use crate::model::{Config, RelationId, StorageType};
use crate::status::Status;
use crate::tools::ToolError;

/// Whose status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    Unit,
    /// For the leader only.
    App,
}

/// What `network-get` says of a binding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Network {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub bind_addresses: Vec<BindAddress>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub egress_subnets: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub ingress_addresses: Vec<String>,
}

impl Network {
    /// The first address to listen on.
    pub fn bind_address(&self) -> Option<&str> {
        self.bind_addresses.iter().flat_map(|b| &b.addresses).map(|a| a.value.as_str()).find(|a| !a.is_empty())
    }

    /// The first address under which others reach this unit.
    pub fn ingress_address(&self) -> Option<&str> {
        self.ingress_addresses.first().map(String::as_str)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BindAddress {
    #[serde(default)]
    pub mac_address: String,
    #[serde(default)]
    pub interface_name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub addresses: Vec<Address>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Address {
    #[serde(default)]
    pub hostname: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    pub cidr: String,
}

/// What the operator has asked for: the units that there shall be, and the relations. Peer relations are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GoalState {
    #[serde(default)]
    pub units: BTreeMap<String, GoalStatus>,
    /// By endpoint, then by application and unit.
    #[serde(default)]
    pub relations: BTreeMap<String, BTreeMap<String, GoalStatus>>,
}

impl GoalState {
    /// How many units the application shall have, without those that are dying.
    pub fn planned_units(&self) -> usize {
        self.units.values().filter(|unit| unit.status != "dying").count()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct GoalStatus {
    pub status: String,
    #[serde(default)]
    pub since: String,
}

/// An instance of storage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Storage {
    #[serde(rename = "kind")]
    pub storage_type: StorageType,
    /// Where it is mounted, or its device, in the charm's container.
    pub location: PathBuf,
}

impl Juju<'_> {
    /// Whether this unit leads its application. A `true` is good for 30 seconds.
    pub fn is_leader(&self) -> Result<bool, ToolError> {
        self.read_as("is-leader", &[])
    }

    pub fn config(&self) -> Result<Config, ToolError> {
        let config: Option<Config> = self.read_as("config-get", &[])?;
        Ok(config.unwrap_or_default())
    }

    pub fn status(&self, whose: Whose) -> Result<Status, ToolError> {
        match whose {
            Whose::Unit => self.read_as("status-get", &["--include-data"]),
            Whose::App => {
                #[derive(Deserialize)]
                struct Answer {
                    #[serde(rename = "application-status")]
                    status: Status,
                }
                let answer: Answer = self.read_as("status-get", &["--include-data", "--application"])?;
                Ok(answer.status)
            }
        }
    }

    /// Sets the status if it is another one. Seen at once, and it stays even if the hook fails.
    ///
    /// A NUL in the message becomes U+FFFD, and what is past 100 KiB is cut off: it is an argument of a process.
    pub fn set_status(&self, whose: Whose, status: &Status) -> Result<bool, ToolError> {
        let status = &Status { kind: status.kind, message: argument(&status.message).into_owned() };
        if self.status(whose)? == *status {
            return Ok(false);
        }
        let application = format!("--application={}", whose == Whose::App);
        self.run("status-set", &[&application, status.kind.as_str(), "--", &status.message], None)?;
        match whose {
            Whose::Unit => self.keep("status-get", &["--include-data"], json!(status)),
            Whose::App => {
                self.keep("status-get", &["--include-data", "--application"], json!({"application-status": status}));
            }
        }
        Ok(true)
    }

    /// Sets the workload's version if it is another one than was set last. It stays even if the hook fails.
    pub fn set_workload_version(&self, version: &str) -> Result<bool, ToolError> {
        let known = match &*self.version.borrow() {
            VersionMemory::Known(version) => version.clone(),
            // Without the file, or with one that cannot be read, it is set again, which does no harm.
            VersionMemory::File(path) => fs::read_to_string(path).ok(),
        };
        if known.as_deref() == Some(version) {
            return Ok(false);
        }
        self.run("application-version-set", &["--", version], None)?;
        match &mut *self.version.borrow_mut() {
            VersionMemory::Known(known) => *known = Some(version.to_owned()),
            VersionMemory::File(path) => {
                if let Err(error) = fs::write(&*path, version) {
                    tracing::debug!(path = %path.display(), %error, "cannot remember the workload version");
                }
            }
        }
        Ok(true)
    }

    /// The ports that this unit has open.
    pub fn opened_ports(&self) -> Result<BTreeSet<Port>, ToolError> {
        let ports: Option<Vec<String>> = self.read_as("opened-ports", &[])?;
        ports
            .unwrap_or_default()
            .iter()
            .map(|p| p.parse().map_err(|e| ToolError::bad_answer("opened-ports".to_owned(), e)))
            .collect()
    }

    /// Opens and closes ports until just these are open. Gives whether anything had to be done.
    pub fn set_ports(&self, wish: &BTreeSet<Port>) -> Result<bool, ToolError> {
        let open = self.opened_ports()?;
        for port in open.difference(wish) {
            self.run("close-port", &[&port.to_string()], None)?;
        }
        for port in wish.difference(&open) {
            self.run("open-port", &[&port.to_string()], None)?;
        }
        let now: Vec<String> = wish.iter().map(Port::to_string).collect();
        self.keep("opened-ports", &[], json!(now));
        Ok(open != *wish)
    }

    /// The addresses of a binding (an endpoint, or an extra binding), as seen from a relation if one is given.
    pub fn network(&self, binding: &str, relation: Option<RelationId>) -> Result<Network, ToolError> {
        match relation {
            Some(id) => self.read_as("network-get", &["-r", &id.to_string(), binding]),
            None => self.read_as("network-get", &[binding]),
        }
    }

    pub fn goal_state(&self) -> Result<GoalState, ToolError> {
        self.read_as("goal-state", &[])
    }

    /// Where the file of a resource is. It is fetched if it has to be.
    pub fn resource(&self, name: &str) -> Result<PathBuf, ToolError> {
        let path = self.kept_or("resource-get", &[name], || {
            let path = self.run("resource-get", &["--", name], None)?;
            match path.trim_end() {
                "" => Err(ToolError::bad_answer(format!("resource-get {name}"), "no path")),
                path => Ok(json!(path)),
            }
        })?;
        Ok(path.as_str().unwrap_or_default().into())
    }

    /// Reboots the machine, at once or when the hook has ended. Not in actions.
    pub fn reboot(&self, now: bool) -> Result<(), ToolError> {
        self.run("juju-reboot", if now { &["--now"] } else { &[] }, None).map(drop)
    }

    /// The attached storage instances of a name, `name/0`.
    pub fn storage_list(&self, name: &str) -> Result<Vec<String>, ToolError> {
        let ids: Option<Vec<String>> = self.read_as("storage-list", &[name])?;
        Ok(ids.unwrap_or_default())
    }

    /// An attached instance of storage.
    pub fn storage(&self, id: &str) -> Result<Storage, ToolError> {
        self.read_as("storage-get", &["-s", id])
    }

    /// Asks for more instances of storage. They come when the hook has ended well.
    pub fn storage_add(&self, name: &str, count: u32) -> Result<(), ToolError> {
        self.run("storage-add", &[&format!("{name}={count}")], None).map(drop)
    }

    /// Charm state that Juju keeps for this unit.
    pub fn state(&self) -> Result<BTreeMap<String, String>, ToolError> {
        let state: Option<BTreeMap<String, String>> = self.read_as("state-get", &[])?;
        Ok(state.unwrap_or_default())
    }

    /// Sets the values that differ; kept when the hook ends well.
    pub fn set_state(&self, wish: &BTreeMap<String, String>) -> Result<bool, ToolError> {
        let mut state = self.state()?;
        let changes: Vec<(&str, &str)> =
            wish.iter().filter(|(k, v)| state.get(*k) != Some(v)).map(|(k, v)| (k.as_str(), v.as_str())).collect();
        if changes.is_empty() {
            return Ok(false);
        }
        self.run("state-set", &["--file", "-"], Some(&to_yaml_json(changes.iter().copied())))?;
        state.extend(changes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        self.keep("state-get", &[], json!(state));
        Ok(true)
    }

    /// Removes a key of the charm state if it is there.
    pub fn delete_state(&self, key: &str) -> Result<bool, ToolError> {
        let mut state = self.state()?;
        if state.remove(key).is_none() {
            return Ok(false);
        }
        self.run("state-delete", &["--", key], None)?;
        self.keep("state-get", &[], json!(state));
        Ok(true)
    }
}
