//! Who the unit is: what the charm says of itself on relations.

use std::collections::BTreeMap;

use juju::json::{Json, Object};
use juju::{ModelInfo, UnitName};

/// The charm's name, as in charmcraft.yaml.
pub const CHARM: &str = "parca-k8s";

/// The port of HTTP: screen, API, metrics, profiles of itself.
pub const HTTP_PORT: u16 = 7994;

/// The port of gRPC.
pub const GRPC_PORT: u16 = 7993;

/// A unit, its model and its own address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub model: ModelInfo,
    pub unit: UnitName,
    /// The unit's fully qualified name.
    pub fqdn: String,
}

impl Identity {
    pub fn app(&self) -> &str {
        self.unit.app().as_str()
    }

    /// The labels that tell the application from others, `juju_` first, in order of their names. Prometheus puts the same on
    /// what it scrapes from us.
    pub fn labels(&self) -> BTreeMap<&'static str, String> {
        [
            ("juju_application", self.app().to_owned()),
            ("juju_charm", CHARM.to_owned()),
            ("juju_model", self.model.name.clone()),
            ("juju_model_uuid", self.model.uuid.clone()),
        ]
        .into()
    }

    /// `{"model", "model_uuid", "application", "unit", "charm_name"}`, the metadata of scrape and logging relations.
    pub fn metadata(&self) -> Json {
        let mut metadata = self.topology();
        metadata.insert("charm_name".to_owned(), CHARM.into());
        Json::Object(metadata)
    }

    /// `{"model", "model_uuid", "application", "unit"}`.
    pub fn topology(&self) -> Object {
        [
            ("model", self.model.name.clone()),
            ("model_uuid", self.model.uuid.clone()),
            ("application", self.app().to_owned()),
            ("unit", self.unit.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), Json::from(value)))
        .collect()
    }

    /// `MODEL_UUID8_APP`: short, and told apart from other models' applications.
    pub fn identifier(&self) -> String {
        let short: String = self.model.uuid.chars().take(8).collect();
        format!("{}_{short}_{}", self.model.name, self.app())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The unit of the recordings.
    pub(crate) fn recorded() -> Identity {
        Identity {
            model: ModelInfo { name: "lens".to_owned(), uuid: "4b2a7d5e-9c31-4f60-8a17-d3e5f0c2b691".to_owned() },
            unit: "parca-k8s/0".parse().expect("a unit"),
            fqdn: "parca-k8s-0.parca-k8s-endpoints.lens.svc.cluster.local".to_owned(),
        }
    }

    #[test]
    fn metadata_has_pythons_keys_in_pythons_order() {
        assert_eq!(
            recorded().metadata().dumps(),
            r#"{"model": "lens", "model_uuid": "4b2a7d5e-9c31-4f60-8a17-d3e5f0c2b691", "application": "parca-k8s", "unit": "parca-k8s/0", "charm_name": "parca-k8s"}"#
        );
    }
}
