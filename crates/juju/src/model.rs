//! What Juju knows and a charm reads: names, data bags, relations, configuration, networks, storage, secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One data bag of a relation, of a unit or of an application. An absent key and an empty value are the same to Juju,
/// so a bag as read holds no empty value.
pub type Bag = BTreeMap<String, String>;

/// The name of an application, also of one in another model (`remote-…`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppName(String);

impl AppName {
    /// `None` for the empty name and for one with a slash, which names a unit.
    pub fn new(name: impl Into<String>) -> Option<AppName> {
        let name = name.into();
        (!name.is_empty() && !name.contains('/')).then_some(AppName(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for AppName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for AppName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// The name of a unit, `app/0`. Sorts by application, then by number: `a/2` comes before `a/10`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitName {
    app: AppName,
    number: u32,
}

impl UnitName {
    pub fn new(app: AppName, number: u32) -> UnitName {
        UnitName { app, number }
    }

    pub fn app(&self) -> &AppName {
        &self.app
    }

    pub fn number(&self) -> u32 {
        self.number
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.number)
    }
}

/// A text that is not `APPLICATION/NUMBER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAUnitName(pub String);

impl fmt::Display for NotAUnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not the name of a unit, such as app/0", self.0)
    }
}

impl std::error::Error for NotAUnitName {}

impl FromStr for UnitName {
    type Err = NotAUnitName;

    fn from_str(text: &str) -> Result<UnitName, NotAUnitName> {
        let parts = || {
            let (app, number) = text.split_once('/')?;
            // `parse` alone would also take `+1` and `01`, and two texts would name one unit.
            let canonical = number == "0" || (number.starts_with(|c: char| ('1'..='9').contains(&c)));
            Some(UnitName::new(AppName::new(app)?, canonical.then(|| number.parse().ok())??))
        };
        parts().ok_or_else(|| NotAUnitName(text.to_owned()))
    }
}

impl Serialize for UnitName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for UnitName {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<UnitName, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The number of a relation, unique in its model. Hook tools write it as `endpoint:number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelationId(pub u32);

impl RelationId {
    /// The number in `endpoint:number`, or in the bare number.
    pub fn parse(text: &str) -> Option<RelationId> {
        let number = text.rsplit_once(':').map_or(text, |(_, number)| number);
        (!number.starts_with('+')).then(|| number.parse().ok().map(RelationId))?
    }
}

impl From<u32> for RelationId {
    fn from(number: u32) -> RelationId {
        RelationId(number)
    }
}

impl fmt::Display for RelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One relation of one of our endpoints, as it was read.
///
/// A relation of which a part could not be read is no `Relation`; see [`crate::Snapshot::unreadable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    pub id: RelationId,
    pub endpoint: String,
    /// The application on the other side; our own for a peer relation. `None` where Juju does not tell any more.
    pub app: Option<AppName>,
    /// The units on the other side with their bags. For a peer relation: the other units of our application.
    pub units: BTreeMap<UnitName, Bag>,
    /// The other application's bag.
    pub app_data: Bag,
    /// Our application's bag: `None` where it was not read, or this unit may not read it because it is no leader.
    pub local_app: Option<Bag>,
    /// Our unit's bag: `None` where it was not read.
    pub local_unit: Option<Bag>,
    /// This dispatch is the relation's `broken` event: it is as good as gone.
    pub broken: bool,
}

impl Relation {
    /// A relation without units and data.
    pub fn new(id: u32, endpoint: impl Into<String>, app: &str) -> Relation {
        Relation {
            id: RelationId(id),
            endpoint: endpoint.into(),
            app: AppName::new(app),
            units: BTreeMap::new(),
            app_data: Bag::new(),
            local_app: None,
            local_unit: None,
            broken: false,
        }
    }

    /// As hook tools take it: `endpoint:number`.
    pub fn key(&self) -> String {
        format!("{}:{}", self.endpoint, self.id)
    }
}

/// The model that the unit is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelInfo {
    pub name: String,
    /// A UUID in lower case, as Juju gives it; not validated.
    pub uuid: String,
}

/// How an instance of storage is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageType {
    /// A device.
    Block,
    /// A folder.
    Filesystem,
}

impl FromStr for StorageType {
    type Err = String;

    fn from_str(text: &str) -> Result<StorageType, String> {
        match text {
            "block" => Ok(StorageType::Block),
            "filesystem" => Ok(StorageType::Filesystem),
            _ => Err(format!("{text:?} is no type of storage")),
        }
    }
}

/// A version of Juju: `3.6.11`, `4.0-beta5.1`. Compares as far as features go, by the first three numbers.
///
/// ```
/// use juju::model::JujuVersion;
/// let version: JujuVersion = "3.6.11".parse().unwrap();
/// assert!(version >= JujuVersion::new(3, 6, 2) && version < JujuVersion::new(4, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JujuVersion {
    pub major: u32,
    pub minor: u32,
    /// 0 in versions before a release, which have a tag in its place.
    pub patch: u32,
}

impl JujuVersion {
    pub const fn new(major: u32, minor: u32, patch: u32) -> JujuVersion {
        JujuVersion { major, minor, patch }
    }
}

impl fmt::Display for JujuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl FromStr for JujuVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<JujuVersion, String> {
        let parts = || {
            let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
            let (major, rest) = text.split_once('.')?;
            let (minor, rest) = rest.split_at(rest.find(['.', '-'])?);
            let patch = match rest.strip_prefix('.') {
                // a fourth number is that of a build
                Some(patch) => number(patch.split('.').next()?)?,
                None => 0,
            };
            Some(JujuVersion { major: number(major)?, minor: number(minor)?, patch })
        };
        parts().ok_or_else(|| format!("{text:?} is no version of Juju"))
    }
}

/// One configuration option's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ConfigValue {
    Bool(bool),
    Int(i64),
    /// Juju writes a whole float as an integer, so an option of type float may arrive as [`ConfigValue::Int`].
    Float(f64),
    String(String),
}

impl ConfigValue {
    fn kind(&self) -> &'static str {
        match self {
            ConfigValue::Bool(_) => "a boolean",
            ConfigValue::Int(v) if *v < 0 => "a negative integer",
            ConfigValue::Int(_) => "an integer",
            ConfigValue::Float(_) => "a float",
            ConfigValue::String(_) => "a string",
        }
    }
}

/// The configuration: defaults of config.yaml are already in it, options that have no value are not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, ConfigValue>);

/// An option whose value has another type than the charm asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub option: String,
    pub wanted: &'static str,
    pub found: &'static str,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "option {} is {}, not {}", self.option, self.found, self.wanted)
    }
}

impl std::error::Error for ConfigError {}

/// A type that a configuration option can be read as: `bool`, `i64`, `u16`, `u32`, `f64`, `String`.
pub trait FromConfig: Sized {
    const KIND: &'static str;
    fn from_config(value: &ConfigValue) -> Option<Self>;
}

impl FromConfig for bool {
    const KIND: &'static str = "a boolean";
    fn from_config(value: &ConfigValue) -> Option<bool> {
        if let ConfigValue::Bool(v) = value { Some(*v) } else { None }
    }
}

impl FromConfig for i64 {
    const KIND: &'static str = "an integer";
    fn from_config(value: &ConfigValue) -> Option<i64> {
        if let ConfigValue::Int(v) = value { Some(*v) } else { None }
    }
}

impl FromConfig for u16 {
    const KIND: &'static str = "a whole number from 0 to 65535";
    fn from_config(value: &ConfigValue) -> Option<u16> {
        if let ConfigValue::Int(v) = value { u16::try_from(*v).ok() } else { None }
    }
}

impl FromConfig for u32 {
    const KIND: &'static str = "a whole number from 0 to 4294967295";
    fn from_config(value: &ConfigValue) -> Option<u32> {
        if let ConfigValue::Int(v) = value { u32::try_from(*v).ok() } else { None }
    }
}

impl FromConfig for f64 {
    const KIND: &'static str = "a float";
    fn from_config(value: &ConfigValue) -> Option<f64> {
        match value {
            ConfigValue::Float(v) => Some(*v),
            ConfigValue::Int(v) => Some(*v as f64),
            _ => None,
        }
    }
}

impl FromConfig for String {
    const KIND: &'static str = "a string";
    fn from_config(value: &ConfigValue) -> Option<String> {
        if let ConfigValue::String(v) = value { Some(v.clone()) } else { None }
    }
}

impl Config {
    /// The option's value; `None` where it has neither a value nor a default.
    ///
    /// ```
    /// use juju::model::{Config, ConfigValue};
    /// let config = Config([("target".to_owned(), ConfigValue::Int(99))].into());
    /// assert_eq!(config.get::<f64>("target"), Ok(Some(99.0)));
    /// assert_eq!(config.get::<bool>("other"), Ok(None));
    /// assert_eq!(config.get::<bool>("target").unwrap_err().to_string(), "option target is an integer, not a boolean");
    /// ```
    pub fn get<T: FromConfig>(&self, option: &str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.0.get(option) else { return Ok(None) };
        T::from_config(value).map(Some).ok_or_else(|| ConfigError {
            option: option.to_owned(),
            wanted: T::KIND,
            found: value.kind(),
        })
    }

    /// The option's value, or `default`.
    pub fn get_or<T: FromConfig>(&self, option: &str, default: T) -> Result<T, ConfigError> {
        Ok(self.get(option)?.unwrap_or(default))
    }
}
