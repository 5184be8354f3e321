//! The unit's key and certificate in its secrets, under the labels of the Python charm, so that a refresh, and a new pod, find
//! them and ask for nothing.
//!
//! The certificate's secret ends at nine tenths of what is left of its life; that event is when it is renewed.

use std::time::{SystemTime, UNIX_EPOCH};

use juju::agent::{NewSecret, SecretChange, SecretOwner, SecretRef, SecretRevision};
use juju::event::{Event, SecretEventKind};
use juju::model::{Bag, RelationId};
use juju::tools::ToolErrorKind;
use juju::{Juju, Snapshot, ToolError};

use crate::Identity;
use crate::keys::{self, KeyError, PrivateKey};
use crate::relation::certificates;
use crate::workload::Certificate;

/// The identifier of the Python library, `charms.tls_certificates_interface`.
const LIBRARY: &str = "afd8c2bccf834997afce12c2706d2ede";

/// The endpoint.
const ENDPOINT: &str = "certificates";

/// Where the unit is with its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What the unit has from now on.
    pub certificate: Option<Certificate>,
    /// What the workload speaks TLS with in this dispatch. A certificate that is being renewed serves until the request for
    /// the next one has gone out, which is when the hook has ended well: a workload cannot be taken back as a bag can.
    pub serving: Option<Certificate>,
    /// The bag of our unit.
    pub bag: Option<(RelationId, Bag)>,
}

/// Why there is no certificate.
#[derive(Debug)]
pub enum Error {
    Tool(ToolError),
    Key(KeyError),
}

impl From<ToolError> for Error {
    fn from(error: ToolError) -> Error {
        Error::Tool(error)
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Error {
        Error::Key(error)
    }
}

/// Brings key, request and certificate of the unit to where the relation is. Without a relation the secrets stay as they are.
///
/// # Errors
/// A hook tool failed, or no key can be made.
pub fn settle(juju: &Juju<'_>, snapshot: &Snapshot, identity: &Identity) -> Result<Tls, Error> {
    let ended = ended(snapshot, identity);
    let tls = match snapshot.relation(ENDPOINT) {
        None => Tls::default(),
        Some(relation) => {
            let key = key(juju, identity)?;
            let asked = certificates::asked(relation);
            let renew =
                ended.is_some_and(|label| asked.iter().any(|request| certificate_label(identity, request) == label));
            let plan = certificates::plan(relation, &key, identity, renew)?;
            let serving = match renew {
                true => certificates::plan(relation, &key, identity, false)?.certificate,
                false => plan.certificate.clone(),
            };
            if let Some(leaf) = &plan.leaf {
                keep(juju, identity, leaf, &plan.request)?;
            }
            Tls { certificate: plan.certificate, serving, bag: Some((relation.id, plan.bag)) }
        }
    };
    if let (Some(_), Event::Secret(event)) = (ended, snapshot.event()) {
        juju.secret_remove(&event.id, None)?;
    }
    Ok(tls)
}

/// The label of our certificate's secret, if this event ends it.
fn ended<'a>(snapshot: &'a Snapshot, identity: &Identity) -> Option<&'a str> {
    let Event::Secret(event) = snapshot.event() else { return None };
    let label = event.label.as_deref()?;
    let ours = label.starts_with(&certificate_prefix(identity));
    (event.kind == SecretEventKind::Expired && ours).then_some(label)
}

fn key_label(identity: &Identity) -> String {
    format!("{LIBRARY}-private-key-{}-{ENDPOINT}", identity.unit.number())
}

fn certificate_prefix(identity: &Identity) -> String {
    format!("{LIBRARY}-certificate-{}-", identity.unit.number())
}

fn certificate_label(identity: &Identity, request: &str) -> String {
    certificate_prefix(identity) + &keys::sha256_hex(request.trim())
}

/// The unit's key: that of its secret, else a new one.
fn key(juju: &Juju<'_>, identity: &Identity) -> Result<PrivateKey, Error> {
    let label = key_label(identity);
    let kept = content(juju, &label)?;
    if let Some(kept) = &kept {
        let pem = kept.get("private-key").map(String::as_str).unwrap_or_default();
        match PrivateKey::from_pem(pem) {
            Ok(key) => return Ok(key),
            Err(why) => tracing::warn!(%why, "the unit's key is replaced"),
        }
    }
    let key = PrivateKey::generate()?;
    let content = [("private-key".to_owned(), key.pem().to_owned())].into();
    match kept {
        None => drop(juju.secret_add(&secret(content, label, None))?),
        Some(_) => {
            let id = juju.secret_info(SecretRef::Label(&label))?.id;
            juju.secret_set(&id, &SecretChange { content: Some(content), ..SecretChange::default() })?;
        }
    }
    Ok(key)
}

/// Keeps a certificate with its request, until nine tenths of its life are over.
fn keep(juju: &Juju<'_>, identity: &Identity, leaf: &str, request: &str) -> Result<(), Error> {
    let label = certificate_label(identity, request);
    let wished = [("certificate".to_owned(), leaf.to_owned()), ("csr".to_owned(), request.to_owned())].into();
    match content(juju, &label)? {
        Some(kept) if kept == wished => {}
        Some(_) => {
            let id = juju.secret_info(SecretRef::Label(&label))?.id;
            let change = SecretChange { content: Some(wished), expire: renewal(leaf), ..SecretChange::default() };
            juju.secret_set(&id, &change)?;
        }
        None => drop(juju.secret_add(&secret(wished, label, renewal(leaf)))?),
    }
    Ok(())
}

fn secret(content: std::collections::BTreeMap<String, String>, label: String, expire: Option<String>) -> NewSecret {
    NewSecret { content, owner: SecretOwner::Unit, label: Some(label), description: None, expire, rotate: None }
}

/// The content of a secret of ours, if there is one of this label.
fn content(juju: &Juju<'_>, label: &str) -> Result<Option<std::collections::BTreeMap<String, String>>, ToolError> {
    match juju.secret(SecretRef::Label(label), SecretRevision::Peek) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind == ToolErrorKind::SecretNotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// When nine tenths of what is left of a certificate's life are over. `None` for one that is over already or says nothing:
/// Juju takes no time in the past.
fn renewal(leaf: &str) -> Option<String> {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let left = keys::not_after(leaf)? - now;
    (left > 10).then(|| keys::rfc3339(now + left / 10 * 9))
}
