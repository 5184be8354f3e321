//! What must hold of any bytes. The fuzz targets and a test ask the same; each says whether it took them.

use std::collections::BTreeMap;

use juju::json::Json;
use juju::memory::Meta;
use juju::{Dispatch, Event, yaml};

/// An environment, `NAME=value` line by line: what an event is called is what the hook is called, and every name that it gives
/// is one.
pub fn dispatch(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let variables: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let variable = |name: &str| variables.get(name).map(|value| (*value).to_owned());
    let found = match Dispatch::from_vars(variable) {
        Ok(found) => found,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert_eq!(found.unit.to_string(), variables["JUJU_UNIT_NAME"]);
    let path = variable("JUJU_DISPATCH_PATH").filter(|path| !path.is_empty());
    let hook = match path.as_deref() {
        Some(path) if path != "hooks/" => path.strip_prefix("hooks/"),
        _ => variables.get("JUJU_HOOK_NAME").copied(),
    };
    // A container, an endpoint or a storage that the variables call otherwise than the hook is believed.
    let renamed = ["JUJU_RELATION", "JUJU_WORKLOAD_NAME"].iter().any(|name| variable(name).is_some());
    match (&found.event, hook) {
        (Event::Action(action), _) => assert!(path.is_some_and(|path| path.starts_with("actions/")), "{action:?}"),
        (event, Some(hook)) if !renamed => assert_eq!(event.name(), hook),
        (event, _) => assert!(!event.name().is_empty()),
    }
    if let Event::Relation(e) = &found.event {
        for unit in [&e.unit, &e.departing].into_iter().flatten() {
            assert_eq!(unit.to_string().parse().as_ref(), Ok(unit));
        }
    }
    true
}

/// A text of a bag or a plan: what is read is written so that it is read again, as JSON and as YAML; and a charm's
/// declaration of any text is one or an error.
pub fn texts(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let json = Json::parse(text).ok();
    let yaml = yaml::parse(text).ok();
    for value in [&json, &yaml].into_iter().flatten() {
        let dumped = value.dumps();
        assert!(dumped.is_ascii(), "{dumped}");
        assert_eq!(Json::parse(&dumped).as_ref(), Ok(value), "{dumped}");
        let written = yaml::write(value);
        assert_eq!(yaml::parse(&written).as_ref(), Ok(value), "{written}");
    }
    if let Ok(meta) = Meta::from_charmcraft(text) {
        assert!(!meta.has_endpoint("") || meta.endpoint("").is_some());
    }
    json.is_some() || yaml.is_some()
}
