//! What a charm's metadata has to say before it may provide or consume profiles.

use std::collections::BTreeMap;
use std::fmt;

use crate::RELATION_INTERFACE_NAME;
use crate::topology::InvalidUuidError;

/// The part of a charm's metadata.yaml that matters here. Endpoints: name to interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CharmMetadata {
    pub name: String,
    pub provides: BTreeMap<String, String>,
    pub requires: BTreeMap<String, String>,
    pub peers: BTreeMap<String, String>,
    /// Names of the containers, in order.
    pub containers: Vec<String>,
    /// `kubernetes` here is the mark of a podspec charm.
    pub series: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationRole {
    Provides,
    Requires,
    Peers,
}

impl fmt::Display for RelationRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RelationRole::Provides => "provides",
            RelationRole::Requires => "requires",
            RelationRole::Peers => "peers",
        })
    }
}

/// The metadata has no endpoint of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationNotFoundError {
    pub relation_name: String,
}

impl fmt::Display for RelationNotFoundError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "No relation named '{}' found", self.relation_name)
    }
}

/// The endpoint has another interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationInterfaceMismatchError {
    pub relation_name: String,
    pub expected_relation_interface: String,
    pub actual_relation_interface: String,
}

impl fmt::Display for RelationInterfaceMismatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relation_name, expected_relation_interface: expected, actual_relation_interface: actual } = self;
        write!(f, "The '{relation_name}' relation has '{actual}' as interface rather than the expected '{expected}'")
    }
}

/// The endpoint stands on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationRoleMismatchError {
    pub relation_name: String,
    pub expected_relation_role: RelationRole,
    pub actual_relation_role: RelationRole,
}

impl fmt::Display for RelationRoleMismatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relation_name, expected_relation_role: expected, actual_relation_role: actual } = self;
        write!(f, "The '{relation_name}' relation has role '{actual}' rather than the expected '{expected}'")
    }
}

/// Why a provider or a consumer cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConstructorError {
    RelationNotFound(RelationNotFoundError),
    RelationInterfaceMismatch(RelationInterfaceMismatchError),
    RelationRoleMismatch(RelationRoleMismatchError),
    /// The provider's own model.
    InvalidUuid(InvalidUuidError),
}

impl fmt::Display for ConstructorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConstructorError::RelationNotFound(error) => error.fmt(f),
            ConstructorError::RelationInterfaceMismatch(error) => error.fmt(f),
            ConstructorError::RelationRoleMismatch(error) => error.fmt(f),
            ConstructorError::InvalidUuid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RelationNotFoundError {}
impl std::error::Error for RelationInterfaceMismatchError {}
impl std::error::Error for RelationRoleMismatchError {}
impl std::error::Error for ConstructorError {}

impl CharmMetadata {
    /// The role and the interface of an endpoint.
    fn endpoint(&self, name: &str) -> Option<(RelationRole, &str)> {
        let sides = [
            (RelationRole::Requires, &self.requires),
            (RelationRole::Provides, &self.provides),
            (RelationRole::Peers, &self.peers),
        ];
        sides.into_iter().find_map(|(role, endpoints)| Some((role, endpoints.get(name)?.as_str())))
    }

    /// Checks that the endpoint is there, has the interface `parca_scrape` and stands on the wanted side, in this order.
    pub(crate) fn check(&self, relation_name: &str, expected: RelationRole) -> Result<(), ConstructorError> {
        let relation_name = relation_name.to_owned();
        let Some((role, interface)) = self.endpoint(&relation_name) else {
            return Err(ConstructorError::RelationNotFound(RelationNotFoundError { relation_name }));
        };
        if interface != RELATION_INTERFACE_NAME {
            return Err(ConstructorError::RelationInterfaceMismatch(RelationInterfaceMismatchError {
                relation_name,
                expected_relation_interface: RELATION_INTERFACE_NAME.to_owned(),
                actual_relation_interface: interface.to_owned(),
            }));
        }
        if role != expected {
            return Err(ConstructorError::RelationRoleMismatch(RelationRoleMismatchError {
                relation_name,
                expected_relation_role: expected,
                actual_relation_role: role,
            }));
        }
        Ok(())
    }
}
