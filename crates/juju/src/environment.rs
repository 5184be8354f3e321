//! From the environment of a dispatch to a typed [`Dispatch`].
//!
//! Juju sets variables that do not apply to the empty text: empty and absent are the same here.

use std::fmt;
use std::path::PathBuf;

use crate::event::{
    ActionEvent, Dispatch, Event, Notice, PebbleEvent, PebbleEventKind, Place, Proxy, RelationEvent, RelationEventKind,
    SecretEvent, SecretEventKind, StorageEvent, StorageEventKind, TraceContext,
};
use crate::model::{AppName, ModelInfo, RelationId, UnitName};

/// An environment that no dispatch of Juju's has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotADispatch {
    /// The variable is not set, or empty.
    Missing(&'static str),
    Invalid {
        variable: &'static str,
        value: String,
    },
}

impl fmt::Display for NotADispatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotADispatch::Missing(variable) => write!(f, "{variable} is not set: a charm is started by Juju"),
            NotADispatch::Invalid { variable, value } => write!(f, "{variable} has the impossible value {value:?}"),
        }
    }
}

impl std::error::Error for NotADispatch {}

const RELATION_KINDS: [(&str, RelationEventKind); 5] = [
    ("-relation-created", RelationEventKind::Created),
    ("-relation-joined", RelationEventKind::Joined),
    ("-relation-changed", RelationEventKind::Changed),
    ("-relation-departed", RelationEventKind::Departed),
    ("-relation-broken", RelationEventKind::Broken),
];

impl Dispatch {
    /// The dispatch that the variables describe. `var` gives the value of a variable.
    ///
    /// An event that is not known, or whose variables make no sense, is [`Event::Unknown`].
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Dispatch, NotADispatch> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let need = |name: &'static str| var(name).ok_or(NotADispatch::Missing(name));
        let unit = need("JUJU_UNIT_NAME")?;
        let unit = unit
            .parse::<UnitName>()
            .map_err(|_| NotADispatch::Invalid { variable: "JUJU_UNIT_NAME", value: unit.clone() })?;
        let path = var("JUJU_DISPATCH_PATH");
        let event = match path.as_deref().and_then(|p| p.strip_prefix("actions/")) {
            Some(name) => Event::Action(ActionEvent {
                name: var("JUJU_ACTION_NAME")
                    .or_else(|| Some(name.to_owned()).filter(|name| !name.is_empty()))
                    .ok_or(NotADispatch::Missing("JUJU_ACTION_NAME"))?,
                uuid: var("JUJU_ACTION_UUID").unwrap_or_default(),
            }),
            None => {
                let name = path.as_deref().and_then(|p| p.strip_prefix("hooks/")).filter(|name| !name.is_empty());
                let name = name.map(str::to_owned).or_else(|| var("JUJU_HOOK_NAME"));
                let name = name.ok_or(NotADispatch::Missing("JUJU_DISPATCH_PATH"))?;
                hook(&name, &var).unwrap_or(Event::Unknown(name))
            }
        };
        Ok(Dispatch {
            event,
            unit,
            model: ModelInfo {
                name: var("JUJU_MODEL_NAME").unwrap_or_default(),
                uuid: var("JUJU_MODEL_UUID").unwrap_or_default(),
            },
            charm_dir: var("JUJU_CHARM_DIR").or_else(|| var("CHARM_DIR")).map_or_else(|| ".".into(), PathBuf::from),
            juju_version: var("JUJU_VERSION").and_then(|text| text.parse().ok()),
            trace: trace(&var),
            proxy: Proxy {
                http: var("JUJU_CHARM_HTTP_PROXY"),
                https: var("JUJU_CHARM_HTTPS_PROXY"),
                ftp: var("JUJU_CHARM_FTP_PROXY"),
                no_proxy: var("JUJU_CHARM_NO_PROXY"),
            },
            place: Place {
                machine: var("JUJU_MACHINE_ID"),
                availability_zone: var("JUJU_AVAILABILITY_ZONE"),
                principal: var("JUJU_PRINCIPAL_UNIT").and_then(|text| text.parse().ok()),
                api_addresses: var("JUJU_API_ADDRESSES")
                    .map(|all| all.split_whitespace().map(str::to_owned).collect())
                    .unwrap_or_default(),
                cloud_api_version: var("CLOUD_API_VERSION"),
            },
        })
    }
}

/// The event of a hook; `None` for a hook that is not known, or lacks what its kind must say.
fn hook(name: &str, var: &impl Fn(&str) -> Option<String>) -> Option<Event> {
    Some(match name {
        "install" => Event::Install,
        "start" => Event::Start,
        "stop" => Event::Stop,
        "remove" => Event::Remove,
        "config-changed" => Event::ConfigChanged,
        "update-status" => Event::UpdateStatus,
        "upgrade-charm" => Event::UpgradeCharm,
        "leader-elected" => Event::LeaderElected,
        "leader-settings-changed" => Event::LeaderSettingsChanged,
        "collect-metrics" => Event::CollectMetrics,
        "meter-status-changed" => Event::MeterStatusChanged,
        "pre-series-upgrade" => Event::PreSeriesUpgrade,
        "post-series-upgrade" => Event::PostSeriesUpgrade,
        "secret-changed" => secret(SecretEventKind::Changed, var)?,
        "secret-rotate" => secret(SecretEventKind::Rotate, var)?,
        "secret-remove" => secret(SecretEventKind::Remove, var)?,
        "secret-expired" => secret(SecretEventKind::Expired, var)?,
        _ => {
            for (ending, kind) in RELATION_KINDS {
                if let Some(endpoint) = name.strip_suffix(ending) {
                    return relation(kind, endpoint, var);
                }
            }
            for (ending, kind) in
                [("-storage-attached", StorageEventKind::Attached), ("-storage-detaching", StorageEventKind::Detaching)]
            {
                if let Some(storage) = name.strip_suffix(ending) {
                    return Some(Event::Storage(StorageEvent {
                        kind,
                        name: storage.to_owned(),
                        id: var("JUJU_STORAGE_ID").unwrap_or_default(),
                        location: var("JUJU_STORAGE_LOCATION").map(PathBuf::from),
                        storage_type: var("JUJU_STORAGE_KIND").and_then(|text| text.parse().ok()),
                    }));
                }
            }
            pebble(name, var)?
        }
    })
}

fn relation(kind: RelationEventKind, endpoint: &str, var: &impl Fn(&str) -> Option<String>) -> Option<Event> {
    let unit = |name: &str| match var(name) {
        None => Some(None),
        // In older versions of Juju the remote unit of a broken relation was its application.
        Some(text) if !text.contains('/') => Some(None),
        Some(text) => text.parse().ok().map(Some),
    };
    Some(Event::Relation(RelationEvent {
        kind,
        endpoint: var("JUJU_RELATION").unwrap_or_else(|| endpoint.to_owned()),
        id: RelationId::parse(&var("JUJU_RELATION_ID")?)?,
        app: var("JUJU_REMOTE_APP").and_then(AppName::new),
        unit: unit("JUJU_REMOTE_UNIT")?,
        departing: unit("JUJU_DEPARTING_UNIT")?,
    }))
}

fn secret(kind: SecretEventKind, var: &impl Fn(&str) -> Option<String>) -> Option<Event> {
    let revision = match var("JUJU_SECRET_REVISION") {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some(Event::Secret(SecretEvent { kind, id: var("JUJU_SECRET_ID")?, label: var("JUJU_SECRET_LABEL"), revision }))
}

fn pebble(name: &str, var: &impl Fn(&str) -> Option<String>) -> Option<Event> {
    let (container, kind) = name.rsplit_once("-pebble-")?;
    let check = || var("JUJU_PEBBLE_CHECK_NAME");
    let kind = match kind {
        "ready" => PebbleEventKind::Ready,
        "custom-notice" => PebbleEventKind::CustomNotice(Notice {
            id: var("JUJU_NOTICE_ID")?,
            kind: var("JUJU_NOTICE_TYPE").unwrap_or_default(),
            key: var("JUJU_NOTICE_KEY").unwrap_or_default(),
        }),
        "check-failed" => PebbleEventKind::CheckFailed { check: check()? },
        "check-recovered" => PebbleEventKind::CheckRecovered { check: check()? },
        _ => return None,
    };
    Some(Event::Pebble(PebbleEvent {
        container: var("JUJU_WORKLOAD_NAME").unwrap_or_else(|| container.to_owned()),
        kind,
    }))
}

/// All three or nothing, and only what W3C trace context allows: it comes from outside and goes into a header.
fn trace(var: &impl Fn(&str) -> Option<String>) -> Option<TraceContext> {
    let hex = |text: &String, digits: usize| {
        text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit()) && text.bytes().any(|b| b != b'0')
    };
    let trace_id = var("JUJU_TRACE_ID").filter(|t| hex(t, 32))?;
    let span_id = var("JUJU_SPAN_ID").filter(|s| hex(s, 16))?;
    let flags = var("JUJU_TRACE_FLAGS").and_then(|f| u8::from_str_radix(&f, 16).ok()).unwrap_or(0);
    Some(TraceContext { trace_id: trace_id.to_ascii_lowercase(), span_id: span_id.to_ascii_lowercase(), flags })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{JujuVersion, StorageType};

    fn dispatch(vars: &[(&str, &str)]) -> Dispatch {
        let mut all: BTreeMap<&str, &str> = BTreeMap::from([("JUJU_UNIT_NAME", "parca-k8s/0")]);
        all.extend(vars.iter().copied());
        Dispatch::from_vars(|name| all.get(name).map(|v| (*v).to_owned())).unwrap()
    }

    fn event(vars: &[(&str, &str)]) -> Event {
        dispatch(vars).event
    }

    #[test]
    fn every_event_of_juju_is_told_from_its_variables() {
        for (name, expected) in [
            ("install", Event::Install),
            ("start", Event::Start),
            ("stop", Event::Stop),
            ("remove", Event::Remove),
            ("config-changed", Event::ConfigChanged),
            ("update-status", Event::UpdateStatus),
            ("upgrade-charm", Event::UpgradeCharm),
            ("leader-elected", Event::LeaderElected),
            ("leader-settings-changed", Event::LeaderSettingsChanged),
            ("collect-metrics", Event::CollectMetrics),
            ("meter-status-changed", Event::MeterStatusChanged),
            ("pre-series-upgrade", Event::PreSeriesUpgrade),
            ("post-series-upgrade", Event::PostSeriesUpgrade),
        ] {
            let found = event(&[("JUJU_DISPATCH_PATH", &format!("hooks/{name}"))]);
            assert_eq!(found, expected);
            assert_eq!(found.name(), name);
        }
        for (ending, kind) in RELATION_KINDS {
            let found = event(&[
                ("JUJU_DISPATCH_PATH", &format!("hooks/db{ending}")),
                ("JUJU_RELATION", "db"),
                ("JUJU_RELATION_ID", "db:7"),
                ("JUJU_REMOTE_APP", "pg"),
                ("JUJU_REMOTE_UNIT", if ending.ends_with("changed") { "pg/11" } else { "" }),
                ("JUJU_DEPARTING_UNIT", if ending.ends_with("departed") { "parca-k8s/0" } else { "" }),
            ]);
            assert_eq!(found.name(), format!("db{ending}"));
            let Event::Relation(e) = found else { panic!("{found}") };
            assert_eq!((e.kind, e.id, e.app.unwrap().as_str()), (kind, RelationId(7), "pg"));
            assert_eq!(e.unit.map(|u| u.to_string()), ending.ends_with("changed").then(|| "pg/11".to_owned()));
            assert_eq!(e.departing.is_some(), ending.ends_with("departed"));
        }
        for (name, kind) in [("attached", StorageEventKind::Attached), ("detaching", StorageEventKind::Detaching)] {
            let found = event(&[
                ("JUJU_DISPATCH_PATH", &format!("hooks/my-data-storage-{name}")),
                ("JUJU_STORAGE_ID", "my-data/0"),
                ("JUJU_STORAGE_LOCATION", "/srv"),
                ("JUJU_STORAGE_KIND", "filesystem"),
            ]);
            let expected = StorageEvent {
                kind,
                name: "my-data".to_owned(),
                id: "my-data/0".to_owned(),
                location: Some("/srv".into()),
                storage_type: Some(StorageType::Filesystem),
            };
            assert_eq!(found, Event::Storage(expected));
        }
        for (name, kind, revision) in [
            ("secret-changed", SecretEventKind::Changed, ""),
            ("secret-rotate", SecretEventKind::Rotate, ""),
            ("secret-remove", SecretEventKind::Remove, "3"),
            ("secret-expired", SecretEventKind::Expired, "3"),
        ] {
            let found = event(&[
                ("JUJU_DISPATCH_PATH", &format!("hooks/{name}")),
                ("JUJU_SECRET_ID", "secret:abc"),
                ("JUJU_SECRET_LABEL", ""),
                ("JUJU_SECRET_REVISION", revision),
            ]);
            let expected =
                SecretEvent { kind, id: "secret:abc".to_owned(), label: None, revision: revision.parse().ok() };
            assert_eq!(found.name(), name);
            assert_eq!(found, Event::Secret(expected));
        }
        let pebble = |name: &str, kind| {
            let found = event(&[
                ("JUJU_DISPATCH_PATH", &format!("hooks/{name}")),
                ("JUJU_WORKLOAD_NAME", "my-app"),
                ("JUJU_NOTICE_ID", "4"),
                ("JUJU_NOTICE_TYPE", "custom"),
                ("JUJU_NOTICE_KEY", "example.com/x"),
                ("JUJU_PEBBLE_CHECK_NAME", "up"),
            ]);
            assert_eq!(found.name(), name);
            assert_eq!(found, Event::Pebble(PebbleEvent { container: "my-app".to_owned(), kind }));
        };
        let text = str::to_owned;
        pebble("my-app-pebble-ready", PebbleEventKind::Ready);
        let notice = Notice { id: text("4"), kind: text("custom"), key: text("example.com/x") };
        pebble("my-app-pebble-custom-notice", PebbleEventKind::CustomNotice(notice));
        pebble("my-app-pebble-check-failed", PebbleEventKind::CheckFailed { check: text("up") });
        pebble("my-app-pebble-check-recovered", PebbleEventKind::CheckRecovered { check: text("up") });
        let found = event(&[
            ("JUJU_DISPATCH_PATH", "actions/list-endpoints"),
            ("JUJU_HOOK_NAME", ""),
            ("JUJU_ACTION_NAME", "list-endpoints"),
            ("JUJU_ACTION_UUID", "u"),
        ]);
        assert_eq!(found.name(), "list-endpoints-action");
        assert_eq!(found, Event::Action(ActionEvent { name: text("list-endpoints"), uuid: text("u") }));
    }

    #[test]
    fn what_is_not_known_passes_through() {
        for name in ["brand-new", "x-relation-frobbed", "db-relation-changed", "secret-changed", "a-pebble-odd"] {
            assert_eq!(event(&[("JUJU_DISPATCH_PATH", &format!("hooks/{name}"))]), Event::Unknown(name.to_owned()));
        }
    }

    #[test]
    fn an_empty_variable_is_an_absent_one() {
        let found = dispatch(&[
            ("JUJU_DISPATCH_PATH", "hooks/start"),
            ("JUJU_VERSION", ""),
            ("JUJU_CHARM_HTTP_PROXY", ""),
            ("JUJU_CHARM_NO_PROXY", "localhost"),
        ]);
        assert_eq!(found.juju_version, None);
        assert_eq!(found.proxy, Proxy { no_proxy: Some("localhost".to_owned()), ..Proxy::default() });
        let empty = Dispatch::from_vars(|name| (name == "JUJU_UNIT_NAME").then(String::new));
        assert_eq!(empty, Err(NotADispatch::Missing("JUJU_UNIT_NAME")));
        let odd = Dispatch::from_vars(|name| (name == "JUJU_UNIT_NAME").then(|| "a/b".to_owned()));
        assert_eq!(odd.unwrap_err().to_string(), "JUJU_UNIT_NAME has the impossible value \"a/b\"");
    }

    #[test]
    fn who_and_where_the_unit_is_is_told() {
        let found = dispatch(&[
            ("JUJU_DISPATCH_PATH", "hooks/start"),
            ("JUJU_MODEL_NAME", "lens"),
            ("JUJU_MODEL_UUID", "4b2a7d5e-9c31-4f60-8a17-d3e5f0c2b691"),
            ("JUJU_CHARM_DIR", "/srv/charm"),
            ("JUJU_VERSION", "3.6.11"),
            ("JUJU_MACHINE_ID", "1/lxd/0"),
            ("JUJU_AVAILABILITY_ZONE", "east"),
            ("JUJU_PRINCIPAL_UNIT", "web/3"),
            ("JUJU_API_ADDRESSES", "10.1.1.1:17070 10.1.1.2:17070"),
            ("CLOUD_API_VERSION", "1.32.0"),
        ]);
        assert_eq!((found.unit.app().as_str(), found.unit.number()), ("parca-k8s", 0));
        assert_eq!((&*found.model.name, &*found.model.uuid), ("lens", "4b2a7d5e-9c31-4f60-8a17-d3e5f0c2b691"));
        assert_eq!(found.charm_dir, PathBuf::from("/srv/charm"));
        assert_eq!(found.juju_version, Some(JujuVersion::new(3, 6, 11)));
        let place = Place {
            machine: Some("1/lxd/0".to_owned()),
            availability_zone: Some("east".to_owned()),
            principal: "web/3".parse().ok(),
            api_addresses: vec!["10.1.1.1:17070".to_owned(), "10.1.1.2:17070".to_owned()],
            cloud_api_version: Some("1.32.0".to_owned()),
        };
        assert_eq!(found.place, place);
        assert_eq!(dispatch(&[("JUJU_DISPATCH_PATH", "hooks/start")]).place, Place::default());
    }

    #[test]
    fn versions_of_juju_are_told_from_what_is_none() {
        for (text, expected) in [
            ("3.6.11", Some((3, 6, 11))),
            ("3.6.11.2", Some((3, 6, 11))),
            ("4.0-beta5.1", Some((4, 0, 0))),
            ("3.6", None),
            ("three.six.0", None),
            ("3.+6.0", None),
            ("", None),
        ] {
            let version = expected.map(|(major, minor, patch)| JujuVersion::new(major, minor, patch));
            assert_eq!(text.parse().ok(), version, "{text}");
        }
    }

    #[test]
    fn without_a_dispatch_path_the_hook_s_name_tells_the_event() {
        assert_eq!(event(&[("JUJU_HOOK_NAME", "start")]), Event::Start);
        let none = Dispatch::from_vars(|name| (name == "JUJU_UNIT_NAME").then(|| "a/0".to_owned()));
        assert_eq!(none.unwrap_err(), NotADispatch::Missing("JUJU_DISPATCH_PATH"));
        assert_eq!(event(&[("JUJU_DISPATCH_PATH", "hooks/"), ("JUJU_HOOK_NAME", "stop")]), Event::Stop);
        let nameless = |name: &str| match name {
            "JUJU_UNIT_NAME" => Some("a/0".to_owned()),
            "JUJU_DISPATCH_PATH" => Some("actions/".to_owned()),
            _ => None,
        };
        assert_eq!(Dispatch::from_vars(nameless), Err(NotADispatch::Missing("JUJU_ACTION_NAME")));
    }

    #[test]
    fn a_trace_is_taken_whole_or_not_at_all() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let trace = |id: &str, span: &str| {
            dispatch(&[
                ("JUJU_DISPATCH_PATH", "hooks/start"),
                ("JUJU_TRACE_ID", id),
                ("JUJU_SPAN_ID", span),
                ("JUJU_TRACE_FLAGS", "01"),
            ])
            .trace
        };
        assert_eq!(trace(id, "b7ad6b7169203331").unwrap().flags, 1);
        assert_eq!(trace(id, ""), None);
        assert_eq!(trace("0af7651916cd43dd8448eb211c80319\n", "b7ad6b7169203331"), None);
        assert_eq!(trace(&"0".repeat(32), "b7ad6b7169203331"), None);
    }

    proptest! {
        #[test]
        fn no_environment_panics(
            path in "(hooks|actions)?/?[a-z-]{0,12}(-relation-|-storage-|-pebble-|secret-)?(created|changed|attached|ready|removed?|check-failed)?",
            values in proptest::collection::vec(".{0,12}", 8),
        ) {
            let names = [
                "JUJU_UNIT_NAME", "JUJU_RELATION_ID", "JUJU_REMOTE_UNIT", "JUJU_SECRET_ID", "JUJU_SECRET_REVISION",
                "JUJU_TRACE_ID", "JUJU_DEPARTING_UNIT", "JUJU_REMOTE_APP",
            ];
            let find = |name: &str| match name {
                "JUJU_DISPATCH_PATH" => Some(path.clone()),
                "JUJU_UNIT_NAME" => Some("a/0".to_owned()),
                _ => names.iter().position(|n| *n == name).map(|at| values[at].clone()),
            };
            let found = Dispatch::from_vars(find);
            if let Ok(found) = found
                && !matches!(found.event, Event::Action(_))
                && let Some(name) = path.strip_prefix("hooks/")
                && !name.is_empty()
            {
                prop_assert_eq!(found.event.name(), name);
            }
        }
    }
}
