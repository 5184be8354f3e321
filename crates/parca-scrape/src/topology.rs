//! Juju topology: which model, application and unit profiles come from, as labels.

use std::fmt;
use std::ops::Deref;

use juju::json::Json;
use juju::{ModelInfo, UnitName};

/// Where an application runs; the class of that name in Python's `cosl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JujuTopology {
    model: String,
    model_uuid: String,
    application: String,
    /// Empty where it is not known.
    unit: String,
    /// Empty where it is not known.
    charm_name: String,
}

/// A model's UUID that is not the lower-case text of a version 4 UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUuidError {
    pub uuid: String,
}

impl fmt::Display for InvalidUuidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a valid UUID.", self.uuid)
    }
}

impl std::error::Error for InvalidUuidError {}

/// Why an object tells no topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopologyError {
    NotAnObject(&'static str),
    Missing(&'static str),
    NotText(&'static str, &'static str),
    InvalidUuid(InvalidUuidError),
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TopologyError::NotAnObject(kind) => write!(f, "it is {kind}, not an object"),
            TopologyError::Missing(key) => write!(f, "it has no `{key}`"),
            TopologyError::NotText(key, kind) => write!(f, "its `{key}` is {kind}, not a string"),
            TopologyError::InvalidUuid(error) => write!(f, "its `model_uuid` {error}"),
        }
    }
}

impl std::error::Error for TopologyError {}

impl JujuTopology {
    /// # Errors
    /// `model_uuid` is not the lower-case text of a version 4 UUID.
    pub fn new(
        model: &str,
        model_uuid: &str,
        application: &str,
        unit: &str,
        charm_name: &str,
    ) -> Result<JujuTopology, InvalidUuidError> {
        if !is_uuid4(model_uuid) {
            return Err(InvalidUuidError { uuid: model_uuid.to_owned() });
        }
        Ok(JujuTopology {
            model: model.to_owned(),
            model_uuid: model_uuid.to_owned(),
            application: application.to_owned(),
            unit: unit.to_owned(),
            charm_name: charm_name.to_owned(),
        })
    }

    /// The topology of a running charm.
    ///
    /// # Errors
    /// As [`JujuTopology::new`].
    pub fn from_charm(model: &ModelInfo, unit: &UnitName, charm_name: &str) -> Result<JujuTopology, InvalidUuidError> {
        JujuTopology::new(&model.name, &model.uuid, unit.app().as_str(), &unit.to_string(), charm_name)
    }

    /// Reads `{"model", "model_uuid", "application"}`, and `unit` and `charm_name` if they are there; other keys do not matter.
    ///
    /// # Errors
    /// One of the three is missing or no string, or as [`JujuTopology::new`].
    pub fn from_json(value: &Json) -> Result<JujuTopology, TopologyError> {
        let members = value.as_object().ok_or(TopologyError::NotAnObject(value.kind()))?;
        let optional = |key: &'static str| match members.get(key) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.as_str())),
            Some(other) => Err(TopologyError::NotText(key, other.kind())),
        };
        let required = |key: &'static str| match members.get(key) {
            Some(Json::Null) => Err(TopologyError::NotText(key, "null")),
            _ => optional(key)?.ok_or(TopologyError::Missing(key)),
        };
        JujuTopology::new(
            required("model")?,
            required("model_uuid")?,
            required("application")?,
            optional("unit")?.unwrap_or_default(),
            optional("charm_name")?.unwrap_or_default(),
        )
        .map_err(TopologyError::InvalidUuid)
    }

    pub fn model(&self) -> &str {
        &self.model
    }

    pub fn model_uuid(&self) -> &str {
        &self.model_uuid
    }

    pub fn application(&self) -> &str {
        &self.application
    }

    pub fn unit(&self) -> &str {
        &self.unit
    }

    pub fn charm_name(&self) -> &str {
        &self.charm_name
    }

    /// `model`, `model_uuid`, `application`, `unit`, `charm_name`, in this order, empty ones too.
    pub fn fields(&self) -> [(&'static str, &str); 5] {
        [
            ("model", &self.model),
            ("model_uuid", &self.model_uuid),
            ("application", &self.application),
            ("unit", &self.unit),
            ("charm_name", &self.charm_name),
        ]
    }

    /// [`JujuTopology::fields`] as an object: those of `included` alone if it names any, none of `excluded`, each under the
    /// name that `remapped` has for it.
    pub fn as_dict(&self, remapped: &[(&str, &str)], excluded: &[&str], included: &[&str]) -> Json {
        let wanted = |key: &str| !excluded.contains(&key) && (included.is_empty() || included.contains(&key));
        let named = |key: &'static str| {
            remapped.iter().find(|(from, _)| *from == key).map_or_else(|| key.to_owned(), |(_, to)| (*to).to_owned())
        };
        Json::object(self.fields().into_iter().filter(|(k, _)| wanted(k)).map(|(k, v)| (named(k), Json::from(v))))
    }

    /// `<model>_<first 8 of the UUID>_<application>`, unique enough for a name; slashes become underscores.
    pub fn identifier(&self) -> String {
        format!("{}_{}_{}", self.model, &self.model_uuid[..8], self.application).replace('/', "_")
    }

    /// The labels of an application: `juju_model`, `juju_model_uuid`, `juju_application`, `juju_charm`, without empty ones.
    pub fn label_matchers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let labels = [
            ("juju_model", self.model.as_str()),
            ("juju_model_uuid", &self.model_uuid),
            ("juju_application", &self.application),
            ("juju_charm", &self.charm_name),
        ];
        labels.into_iter().filter(|(_, value)| !value.is_empty())
    }

    /// [`JujuTopology::label_matchers`] for an alert's expression: the charm is left out, for it changes in a refresh.
    pub fn alert_expression(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.label_matchers().filter(|(label, _)| *label != "juju_charm")
    }
}

/// The topology of a provider of profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderTopology(pub JujuTopology);

impl ProviderTopology {
    pub fn scrape_identifier(&self) -> String {
        format!("juju_{}_parca_scrape", self.0.identifier())
    }
}

impl Deref for ProviderTopology {
    type Target = JujuTopology;

    fn deref(&self) -> &JujuTopology {
        &self.0
    }
}

/// Whether Python's `str(UUID(text, version=4)) == text`: forcing the version and variant bits changes nothing.
fn is_uuid4(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 36
        && bytes.iter().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => *byte == b'-',
            14 => *byte == b'4',
            19 => matches!(byte, b'8' | b'9' | b'a' | b'b'),
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "aaf0b2a6-e006-41eb-ba80-0242ac130004";

    fn topology() -> JujuTopology {
        JujuTopology::new("lens", UUID, "zinc", "zinc/0", "zinc-k8s").unwrap()
    }

    #[test]
    fn a_uuid_is_the_lower_case_text_of_version_4() {
        for (uuid, valid) in [
            (UUID, true),
            ("aaf0b2a6-e006-41eb-8a80-0242ac130004", true),
            ("00000000-0000-0000-0000-000000000001", false),
            ("aaf0b2a6-e006-11eb-ba80-0242ac130004", false),
            ("aaf0b2a6-e006-41eb-ca80-0242ac130004", false),
            ("AAF0B2A6-E006-41EB-BA80-0242AC130004", false),
            ("aaf0b2a6e00641ebba800242ac130004", false),
            ("{aaf0b2a6-e006-41eb-ba80-0242ac130004}", false),
            ("aaf0b2a6-e006-41eb-ba80-0242ac13000g", false),
            ("aaf0b2a6-e006-41eb-ba80-0242ac13000é", false),
            ("lens", false),
            ("", false),
        ] {
            let made = JujuTopology::new("m", uuid, "a", "", "");
            assert_eq!(made.is_ok(), valid, "{uuid}");
            if let Err(error) = made {
                assert_eq!(error.to_string(), format!("'{uuid}' is not a valid UUID."));
            }
        }
    }

    #[test]
    fn fields_come_in_order_and_can_be_renamed_left_out_and_picked() {
        let json = |text| Json::parse(text).unwrap();
        let all = r#"{"model": "lens", "model_uuid": "aaf0b2a6-e006-41eb-ba80-0242ac130004", "application": "zinc", "unit": "zinc/0", "charm_name": "zinc-k8s"}"#;
        assert_eq!(topology().as_dict(&[], &[], &[]).dumps(), all);
        let some = topology().as_dict(&[("charm_name", "charm")], &["unit", "model_uuid"], &[]);
        assert_eq!(some.dumps(), r#"{"model": "lens", "application": "zinc", "charm": "zinc-k8s"}"#);
        let picked = topology().as_dict(&[], &["unit"], &["unit", "model"]);
        assert_eq!(picked, json(r#"{"model": "lens"}"#), "excluded wins");
    }

    #[test]
    fn identifiers_name_model_and_application() {
        assert_eq!(topology().identifier(), "lens_aaf0b2a6_zinc");
        assert_eq!(ProviderTopology(topology()).scrape_identifier(), "juju_lens_aaf0b2a6_zinc_parca_scrape");
        assert_eq!(JujuTopology::new("a/b", UUID, "c/d", "", "").unwrap().identifier(), "a_b_aaf0b2a6_c_d");
    }

    #[test]
    fn labels_leave_the_unit_and_what_is_empty_out() {
        let labels = |topology: &JujuTopology| topology.label_matchers().map(|(k, _)| k).collect::<Vec<_>>();
        assert_eq!(labels(&topology()), ["juju_model", "juju_model_uuid", "juju_application", "juju_charm"]);
        let bare = JujuTopology::new("", UUID, "zinc", "zinc/0", "").unwrap();
        assert_eq!(labels(&bare), ["juju_model_uuid", "juju_application"]);
        let alert: Vec<_> = topology().alert_expression().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(alert, ["juju_model=lens", &format!("juju_model_uuid={UUID}"), "juju_application=zinc"]);
    }

    #[test]
    fn an_object_needs_model_uuid_and_application() {
        let read = |text: &str| JujuTopology::from_json(&Json::parse(text).unwrap()).map_err(|e| e.to_string());
        let uuid = format!(r#""model_uuid": "{UUID}""#);
        assert!(read(&format!(r#"{{"model": "m", {uuid}, "application": "a", "extra": 1, "unit": null}}"#)).is_ok());
        let without = |text: &str| read(&format!("{{{text}}}")).unwrap_err();
        assert_eq!(without(&format!(r#""model": "m", {uuid}"#)), "it has no `application`");
        assert_eq!(without(&format!(r#""application": "a", {uuid}"#)), "it has no `model`");
        assert_eq!(without(r#""application": "a", "model": "m""#), "it has no `model_uuid`");
        assert_eq!(
            without(&format!(r#""model": 5, "application": "a", {uuid}"#)),
            "its `model` is a number, not a string"
        );
        assert_eq!(read("[1]").unwrap_err(), "it is a list, not an object");
        let wrong = without(r#""model": "m", "application": "a", "model_uuid": "x""#);
        assert_eq!(wrong, "its `model_uuid` 'x' is not a valid UUID.");
    }
}
