use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::{Juju, null_is_empty};
use crate::tools::ToolError;

/// The cloud that the model is in, with its credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CloudSpec {
    /// `kubernetes`, `lxd`, `ec2`, …
    pub r#type: String,
    #[serde(default)]
    pub name: String,
    /// These five are empty where the cloud has no such thing.
    #[serde(default)]
    pub region: String,
    #[serde(default)]
    pub endpoint: String,
    #[serde(default)]
    pub identity_endpoint: String,
    #[serde(default)]
    pub storage_endpoint: String,
    #[serde(default)]
    pub credential: Option<CloudCredential>,
    /// In PEM.
    #[serde(default, rename = "cacertificates", deserialize_with = "null_is_empty")]
    pub ca_certificates: Vec<String>,
    #[serde(default)]
    pub skip_tls_verify: bool,
    #[serde(default)]
    pub is_controller_cloud: bool,
}

/// How to log in to a cloud. Its values are secret, and no part of what `{:?}` writes.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CloudCredential {
    pub auth_type: String,
    #[serde(default, rename = "attrs", deserialize_with = "null_is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// Attributes that Juju keeps to itself.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub redacted: Vec<String>,
}

impl fmt::Debug for CloudCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.attributes.keys().collect();
        f.debug_struct("CloudCredential")
            .field("auth_type", &self.auth_type)
            .field("attributes", &names)
            .finish_non_exhaustive()
    }
}

impl Juju<'_> {
    /// The model's cloud and the credential for it.
    ///
    /// # Errors
    /// [`PermissionDenied`](crate::tools::ToolErrorKind::PermissionDenied) without `juju trust`.
    pub fn cloud_spec(&self) -> Result<CloudSpec, ToolError> {
        self.read_as("credential-get", &[])
    }
}
