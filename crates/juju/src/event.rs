//! Why the charm runs: the event, and what else the environment of a dispatch says.

use std::fmt;
use std::path::PathBuf;

use crate::model::{AppName, JujuVersion, ModelInfo, RelationId, StorageType, UnitName};

/// An event, as the environment of a dispatch describes it.
///
/// What Juju adds later arrives as [`Event::Unknown`] and has to end well, so that a charm can be rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Install,
    Start,
    Stop,
    Remove,
    ConfigChanged,
    UpdateStatus,
    UpgradeCharm,
    LeaderElected,
    Relation(RelationEvent),
    Storage(StorageEvent),
    Secret(SecretEvent),
    Pebble(PebbleEvent),
    Action(ActionEvent),
    /// Up to Juju 3.
    LeaderSettingsChanged,
    /// Up to Juju 3.
    CollectMetrics,
    /// Up to Juju 3.
    MeterStatusChanged,
    /// Up to Juju 3.
    PreSeriesUpgrade,
    /// Up to Juju 3.
    PostSeriesUpgrade,
    /// The hook's name.
    Unknown(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelationEventKind {
    Created,
    Joined,
    Changed,
    Departed,
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationEvent {
    pub kind: RelationEventKind,
    pub endpoint: String,
    pub id: RelationId,
    pub app: Option<AppName>,
    /// The unit that the event is about: not for created and broken, nor where the application's bag changed.
    pub unit: Option<UnitName>,
    /// Departed only: the unit that goes, which may be this one.
    pub departing: Option<UnitName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageEventKind {
    Attached,
    Detaching,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageEvent {
    pub kind: StorageEventKind,
    /// The storage's name in the charm's metadata.
    pub name: String,
    /// `name/0`; empty where Juju did not say.
    pub id: String,
    pub location: Option<PathBuf>,
    pub storage_type: Option<StorageType>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretEventKind {
    Changed,
    Rotate,
    Remove,
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretEvent {
    pub kind: SecretEventKind,
    /// With its scheme, `secret:…`, as Juju gives it.
    pub id: String,
    pub label: Option<String>,
    /// Remove and expired only.
    pub revision: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PebbleEvent {
    /// The container's name.
    pub container: String,
    pub kind: PebbleEventKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PebbleEventKind {
    Ready,
    CustomNotice(Notice),
    CheckFailed { check: String },
    CheckRecovered { check: String },
}

/// Which notice an event is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub id: String,
    pub kind: String,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionEvent {
    pub name: String,
    pub uuid: String,
}

impl Event {
    /// The hook's name, as Juju writes it: `config-changed`, `db-relation-changed`; `NAME-action` for an action.
    pub fn name(&self) -> String {
        match self {
            Event::Install => "install".to_owned(),
            Event::Start => "start".to_owned(),
            Event::Stop => "stop".to_owned(),
            Event::Remove => "remove".to_owned(),
            Event::ConfigChanged => "config-changed".to_owned(),
            Event::UpdateStatus => "update-status".to_owned(),
            Event::UpgradeCharm => "upgrade-charm".to_owned(),
            Event::LeaderElected => "leader-elected".to_owned(),
            Event::LeaderSettingsChanged => "leader-settings-changed".to_owned(),
            Event::CollectMetrics => "collect-metrics".to_owned(),
            Event::MeterStatusChanged => "meter-status-changed".to_owned(),
            Event::PreSeriesUpgrade => "pre-series-upgrade".to_owned(),
            Event::PostSeriesUpgrade => "post-series-upgrade".to_owned(),
            Event::Relation(e) => format!("{}-relation-{}", e.endpoint, e.kind),
            Event::Storage(e) => format!("{}-storage-{}", e.name, e.kind),
            Event::Secret(e) => format!("secret-{}", e.kind),
            Event::Pebble(e) => format!("{}-pebble-{}", e.container, e.kind),
            Event::Action(e) => format!("{}-action", e.name),
            Event::Unknown(name) => name.clone(),
        }
    }

    /// The relation event of this endpoint, if it is one.
    pub fn relation(&self, endpoint: &str) -> Option<&RelationEvent> {
        match self {
            Event::Relation(e) if e.endpoint == endpoint => Some(e),
            _ => None,
        }
    }

    /// The action, if it is one.
    pub fn action(&self) -> Option<&ActionEvent> {
        if let Event::Action(e) = self { Some(e) } else { None }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// One run of the charm: the event and who and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    pub event: Event,
    pub unit: UnitName,
    pub model: ModelInfo,
    /// Where the charm is unpacked. What is written here is lost when the pod is replaced.
    pub charm_dir: PathBuf,
    /// `None` where Juju does not say, as in meter-status-changed, or says what is no version.
    pub juju_version: Option<JujuVersion>,
    /// The trace of Juju's that this dispatch is a part of.
    pub trace: Option<TraceContext>,
    /// The proxies of the model: they are for the charm, Juju does not set the usual variables.
    pub proxy: Proxy,
    pub place: Place,
}

impl Dispatch {
    /// A dispatch of which no more is known.
    pub fn new(event: Event, unit: UnitName, model: ModelInfo) -> Dispatch {
        Dispatch {
            event,
            unit,
            model,
            charm_dir: PathBuf::from("."),
            juju_version: None,
            trace: None,
            proxy: Proxy::default(),
            place: Place::default(),
        }
    }
}

/// Where the unit runs, as far as Juju tells; in Kubernetes that is nearly nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The machine's number, or `1/lxd/0` for a container on one.
    pub machine: Option<String>,
    pub availability_zone: Option<String>,
    /// The unit that this one, a subordinate, goes with.
    pub principal: Option<UnitName>,
    /// Of the controllers, `host:port`.
    pub api_addresses: Vec<String>,
    /// The version of Kubernetes.
    pub cloud_api_version: Option<String>,
}

/// As in W3C trace context: 32 and 16 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: String,
    pub span_id: String,
    pub flags: u8,
}

/// `None` where the model sets no such proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    pub http: Option<String>,
    pub https: Option<String>,
    pub ftp: Option<String>,
    pub no_proxy: Option<String>,
}

/// As hooks are called: `created`.
impl fmt::Display for RelationEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RelationEventKind::Created => "created",
            RelationEventKind::Joined => "joined",
            RelationEventKind::Changed => "changed",
            RelationEventKind::Departed => "departed",
            RelationEventKind::Broken => "broken",
        })
    }
}

/// As hooks are called: `attached`.
impl fmt::Display for StorageEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StorageEventKind::Attached => "attached",
            StorageEventKind::Detaching => "detaching",
        })
    }
}

/// As hooks are called: `changed`.
impl fmt::Display for SecretEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecretEventKind::Changed => "changed",
            SecretEventKind::Rotate => "rotate",
            SecretEventKind::Remove => "remove",
            SecretEventKind::Expired => "expired",
        })
    }
}

/// As hooks are called: `check-failed`.
impl fmt::Display for PebbleEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PebbleEventKind::Ready => "ready",
            PebbleEventKind::CustomNotice(_) => "custom-notice",
            PebbleEventKind::CheckFailed { .. } => "check-failed",
            PebbleEventKind::CheckRecovered { .. } => "check-recovered",
        })
    }
}
