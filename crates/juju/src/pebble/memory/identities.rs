//! Who may talk to Pebble.

use std::collections::BTreeMap;

use super::go::quote;
use crate::pebble::types::{Access, Identity, IdentityAction};
use crate::pebble::{PebbleError, Result};

#[derive(Debug, Default)]
pub(super) struct Identities(BTreeMap<String, Identity>);

const ACCESS: &str = "\"admin\", \"read\", \"metrics\", or \"untrusted\"";

/// As the API tells a secret.
const HIDDEN: &str = "*****";

fn check(name: &str, identity: &Identity) -> std::result::Result<(), String> {
    if let Some(cert) = &identity.cert {
        let begun = cert.pem.contains("-----BEGIN ") && cert.pem.contains("-----END ");
        if !begun {
            return Err("cert identity must include a PEM-encoded certificate".to_owned());
        }
    }
    let mut chars = name.chars();
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !chars.next().is_some_and(|c| c.is_ascii_alphabetic()) || !chars.all(legal) {
        // Pebble has not written the name into the identity yet
        return Err(
            "identity name \"\" invalid: must start with an alphabetic character and only contain alphanumeric \
             characters, underscore, and hyphen"
                .to_owned(),
        );
    }
    if identity.access == Access::Unknown {
        return Err(format!("invalid access value \"unknown\", must be {ACCESS}"));
    }
    if identity.basic.as_ref().is_some_and(|basic| basic.password.is_empty()) {
        return Err("basic identity must specify password (hashed)".to_owned());
    }
    if identity.local.is_none() && identity.basic.is_none() && identity.cert.is_none() {
        return Err("identity must have at least one type (\"local\", \"basic\", or \"cert\")".to_owned());
    }
    Ok(())
}

impl Identities {
    /// Secrets are hidden.
    pub(super) fn all(&self) -> BTreeMap<String, Identity> {
        let mut all = self.0.clone();
        for identity in all.values_mut() {
            if let Some(basic) = &mut identity.basic {
                basic.password = HIDDEN.to_owned();
            }
            if let Some(cert) = &mut identity.cert {
                cert.pem = HIDDEN.to_owned();
            }
        }
        all
    }

    pub(super) fn change(&mut self, action: IdentityAction, told: &[(&str, Option<&Identity>)]) -> Result<()> {
        let changed = self.changed(action, told).map_err(|why| PebbleError::answered(400, "", why))?;
        self.0 = changed;
        Ok(())
    }

    fn changed(
        &self,
        action: IdentityAction,
        told: &[(&str, Option<&Identity>)],
    ) -> std::result::Result<BTreeMap<String, Identity>, String> {
        let told: BTreeMap<&str, Option<&Identity>> = told.iter().copied().collect();
        for (name, identity) in &told {
            if let Some(identity) = identity {
                check(name, identity).map_err(|why| format!("invalid identity for {}: {why}", quote(name)))?;
            }
        }
        let names = |with: bool| {
            let found = told.keys().filter(|name| self.0.contains_key(**name) == with).copied();
            found.collect::<Vec<_>>().join(", ")
        };
        let verb = match action {
            IdentityAction::Add => "add",
            IdentityAction::Update => "update",
            IdentityAction::Replace => "replace",
            IdentityAction::Remove => "remove",
        };
        for (name, identity) in &told {
            let wrong = match action {
                IdentityAction::Add | IdentityAction::Update => identity.is_none().then_some("must not be null"),
                IdentityAction::Remove => identity.is_some().then_some("must be null"),
                IdentityAction::Replace => None,
            };
            if let Some(wrong) = wrong {
                return Err(format!("identity value for {} {wrong} for {verb} operation", quote(name)));
            }
        }
        match action {
            IdentityAction::Add if !names(true).is_empty() => {
                return Err(format!("identities already exist: {}", names(true)));
            }
            IdentityAction::Update | IdentityAction::Remove if !names(false).is_empty() => {
                return Err(format!("identities do not exist: {}", names(false)));
            }
            _ => {}
        }
        let mut changed = self.0.clone();
        for (name, identity) in told {
            match identity {
                Some(identity) => drop(changed.insert(name.to_owned(), identity.clone())),
                None => drop(changed.remove(name)),
            }
        }
        let mut of_user: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
        for (name, identity) in &changed {
            if let Some(local) = &identity.local {
                of_user.entry(local.user_id).or_default().push(name);
            }
        }
        match of_user.iter().find(|(_, names)| names.len() > 1) {
            Some((id, names)) => {
                Err(format!("cannot have multiple identities with user ID {id} ({})", names.join(", ")))
            }
            None => Ok(changed),
        }
    }
}
