//! What a charm declares, read from its charmcraft.yaml or from metadata.yaml and its companions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::json::Json;
use crate::model::ConfigValue;
use crate::yaml;

/// What a charm declares of itself, as far as a unit agent cares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Meta {
    pub name: String,
    pub requires: BTreeMap<String, Endpoint>,
    pub provides: BTreeMap<String, Endpoint>,
    pub peers: BTreeMap<String, Endpoint>,
    pub extra_bindings: BTreeSet<String>,
    /// Containers, with the storage that is mounted in each: storage name to place.
    pub containers: BTreeMap<String, BTreeMap<String, String>>,
    pub storage: BTreeSet<String>,
    pub resources: BTreeSet<String>,
    pub config: BTreeMap<String, ConfigOption>,
    pub actions: BTreeMap<String, Action>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    pub interface: String,
    /// How many relations it takes.
    pub limit: Option<u32>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ConfigOption {
    pub kind: ConfigKind,
    pub default: Option<ConfigValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    String,
    Int,
    Float,
    Boolean,
    Secret,
}

impl ConfigKind {
    /// Whether an option of this type may have that value.
    pub fn takes(self, value: &ConfigValue) -> bool {
        match self {
            ConfigKind::String | ConfigKind::Secret => matches!(value, ConfigValue::String(_)),
            ConfigKind::Int => matches!(value, ConfigValue::Int(_)),
            ConfigKind::Float => matches!(value, ConfigValue::Float(_) | ConfigValue::Int(_)),
            ConfigKind::Boolean => matches!(value, ConfigValue::Bool(_)),
        }
    }
}

/// An action, with its parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Action {
    pub params: BTreeMap<String, Param>,
    /// Parameters that must be given.
    pub required: BTreeSet<String>,
    /// `additionalProperties: false`: no other parameters are taken.
    pub is_closed: bool,
}

/// A parameter of an action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Param {
    /// JSON schema's name of its type, if it is declared.
    pub kind: Option<String>,
    pub default: Option<serde_json::Value>,
}

impl Param {
    /// Whether the value has the declared type. A type that JSON schema does not have takes none.
    pub fn takes(&self, value: &serde_json::Value) -> bool {
        match self.kind.as_deref() {
            None => true,
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("number") => value.is_number(),
            Some("integer") => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|v| v.fract() == 0.0),
            Some("array") => value.is_array(),
            Some("object") => value.is_object(),
            Some("null") => value.is_null(),
            Some(_) => false,
        }
    }
}

/// A declaration that makes no sense, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaError(String);

impl fmt::Display for MetaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MetaError {}

impl Meta {
    /// Reads charmcraft.yaml, which holds everything.
    ///
    /// ```
    /// let meta = juju::memory::Meta::from_charmcraft("
    /// name: tiny
    /// provides: {web: {interface: http}}
    /// config: {options: {port: {type: int, default: 80}}}
    /// actions: {greet: {params: {name: {type: string, default: you}}}}
    /// ").unwrap();
    /// assert_eq!(meta.provides["web"].interface, "http");
    /// assert!(meta.config.contains_key("port"));
    /// ```
    pub fn from_charmcraft(text: &str) -> Result<Meta, MetaError> {
        let whole = parse(text, "charmcraft.yaml")?;
        let config = whole.get("config").and_then(|c| c.get("options")).cloned().unwrap_or_default();
        let actions = whole.get("actions").cloned().unwrap_or_default();
        Meta::from_values(&whole, &config, &actions)
    }

    /// Reads the files of a packed charm; the latter two may be empty.
    pub fn from_metadata(metadata: &str, config: &str, actions: &str) -> Result<Meta, MetaError> {
        let metadata = parse(metadata, "metadata.yaml")?;
        let config = parse(config, "config.yaml")?;
        let actions = parse(actions, "actions.yaml")?;
        Meta::from_values(&metadata, config.get("options").unwrap_or(&Json::Null), &actions)
    }

    /// From the parts as values: metadata, the mapping of config options, the mapping of actions.
    pub fn from_values(metadata: &Json, options: &Json, actions: &Json) -> Result<Meta, MetaError> {
        let name =
            metadata.get("name").and_then(Json::as_str).ok_or_else(|| MetaError("there is no name".to_owned()))?;
        let part = |key: &'static str| members(metadata.get(key), key);
        let names = |key: &'static str| -> Result<BTreeSet<String>, MetaError> {
            Ok(part(key)?.map(|(name, _)| name.to_owned()).collect())
        };
        let endpoints = |role: &'static str| -> Result<BTreeMap<String, Endpoint>, MetaError> {
            part(role)?
                .map(|(name, spec)| {
                    let interface = match spec {
                        Json::String(interface) => Some(interface.as_str()),
                        spec => spec.get("interface").and_then(Json::as_str),
                    };
                    let interface = interface
                        .ok_or_else(|| MetaError(format!("{role}: {name}: there is no interface")))?
                        .to_owned();
                    let limit = match spec.get("limit") {
                        Some(Json::Number(n)) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
                        _ => None,
                    };
                    Ok((name.to_owned(), Endpoint { interface, limit }))
                })
                .collect()
        };
        let containers = part("containers")?
            .map(|(name, spec)| {
                let mounts = spec.get("mounts").and_then(Json::as_array).unwrap_or_default();
                let text = |mount: &Json, key: &str| mount.get(key).and_then(Json::as_str).map(str::to_owned);
                let mounts = mounts.iter().filter_map(|m| Some((text(m, "storage")?, text(m, "location")?))).collect();
                (name.to_owned(), mounts)
            })
            .collect();
        let config = members(Some(options), "config options")?
            .map(|(name, spec)| Ok((name.to_owned(), option(name, spec)?)))
            .collect::<Result<_, MetaError>>()?;
        let actions = members(Some(actions), "actions")?
            .map(|(name, spec)| {
                let params = members(spec.get("params"), "params")?
                    .map(|(param, spec)| {
                        let default = spec.get("default").map(|d| serde_json::json!(d));
                        let kind = spec.get("type").and_then(Json::as_str).map(str::to_owned);
                        (param.to_owned(), Param { kind, default })
                    })
                    .collect();
                let required = spec.get("required").and_then(Json::as_array).unwrap_or_default();
                let required = required.iter().filter_map(Json::as_str).map(str::to_owned).collect();
                let is_closed = spec.get("additionalProperties") == Some(&Json::Bool(false));
                Ok((name.to_owned(), Action { params, required, is_closed }))
            })
            .collect::<Result<_, MetaError>>()?;
        Ok(Meta {
            name: name.to_owned(),
            requires: endpoints("requires")?,
            provides: endpoints("provides")?,
            peers: endpoints("peers")?,
            extra_bindings: names("extra-bindings")?,
            containers,
            storage: names("storage")?,
            resources: names("resources")?,
            config,
            actions,
        })
    }

    /// Whether the charm has such an endpoint. `juju-info` every charm has.
    pub fn has_endpoint(&self, name: &str) -> bool {
        self.endpoint(name).is_some() || name == "juju-info"
    }

    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        [&self.requires, &self.provides, &self.peers].into_iter().find_map(|role| role.get(name))
    }

    pub fn is_peer(&self, endpoint: &str) -> bool {
        self.peers.contains_key(endpoint)
    }
}

fn parse(text: &str, file: &str) -> Result<Json, MetaError> {
    yaml::parse(text).map_err(|e| MetaError(format!("{file}: {e}")))
}

/// The members of a mapping; none where there is none.
fn members<'a>(value: Option<&'a Json>, what: &str) -> Result<impl Iterator<Item = (&'a str, &'a Json)>, MetaError> {
    let members = match value {
        None | Some(Json::Null) => None,
        Some(value) => {
            let object = value.as_object();
            Some(object.ok_or_else(|| MetaError(format!("{what} is {}, not a mapping", value.kind())))?)
        }
    };
    Ok(members.into_iter().flatten().map(|(key, value)| (key.as_str(), value)))
}

fn option(name: &str, spec: &Json) -> Result<ConfigOption, MetaError> {
    let kind = match spec.get("type").and_then(Json::as_str) {
        None | Some("string") => ConfigKind::String,
        Some("int") => ConfigKind::Int,
        Some("float") => ConfigKind::Float,
        Some("boolean") => ConfigKind::Boolean,
        Some("secret") => ConfigKind::Secret,
        Some(other) => return Err(MetaError(format!("option {name} has the unknown type {other}"))),
    };
    let default = match spec.get("default") {
        None | Some(Json::Null) => None,
        Some(Json::Bool(value)) => Some(ConfigValue::Bool(*value)),
        Some(Json::String(value)) => Some(ConfigValue::String(value.clone())),
        Some(Json::Number(value)) => match value.as_i64() {
            Some(value) => Some(ConfigValue::Int(value)),
            None => value.as_f64().map(ConfigValue::Float),
        },
        Some(other) => return Err(MetaError(format!("option {name} has {} as its default", other.kind()))),
    };
    if let Some(default) = &default
        && !kind.takes(default)
    {
        return Err(MetaError(format!("option {name} has a default of another type")));
    }
    Ok(ConfigOption { kind, default })
}
