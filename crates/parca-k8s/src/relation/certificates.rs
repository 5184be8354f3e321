//! `certificates` (`tls-certificates`, each unit for itself): what was asked for, and what came of it.

use juju::json::Json;
use juju::model::{Bag, Relation};

use super::{bag, current};
use crate::Identity;
use crate::keys::{KeyError, PrivateKey};
use crate::workload::Certificate;

const REQUESTS: &str = "certificate_signing_requests";

/// What is to be done, for a key that we have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Our unit's bag.
    pub bag: Bag,
    /// The request in it.
    pub request: String,
    /// Its certificate, once there is one.
    pub certificate: Option<Certificate>,
    /// The certificate alone, as the provider gave it; for the secret.
    pub leaf: Option<String>,
}

/// Looks for the certificate of our request. A request is made if there is none of this key, name and host; if its certificate was
/// revoked, which is then not used; and if it is to be renewed.
///
/// # Errors
/// A request cannot be made.
pub fn plan(relation: &Relation, key: &PrivateKey, identity: &Identity, renew: bool) -> Result<Plan, KeyError> {
    let asked = asked(relation).into_iter().find(|request| key.has_asked(request, identity.app(), &identity.fqdn));
    if let Some(request) = asked.filter(|_| !renew) {
        match answer(relation, &request, key) {
            Answer::None => {
                return Ok(Plan { bag: asking(relation, &request), request, certificate: None, leaf: None });
            }
            Answer::Certificate { leaf, certificate } => {
                let bag = asking(relation, &request);
                return Ok(Plan { bag, request, certificate: Some(certificate), leaf: Some(leaf) });
            }
            Answer::Revoked => {
                tracing::warn!(relation = relation.key(), "the certificate was revoked; another one is asked for");
            }
        }
    }
    let request = key.request(identity.app(), &identity.fqdn)?;
    Ok(Plan { bag: asking(relation, &request), request, certificate: None, leaf: None })
}

/// The request that stands in our bag, whatever its key.
pub fn asked(relation: &Relation) -> Vec<String> {
    let Some(Ok(Json::Array(requests))) = current(relation.local_unit.as_ref(), REQUESTS).map(Json::parse) else {
        return Vec::new();
    };
    requests.iter().filter_map(|one| Some(one.get("certificate_signing_request")?.as_str()?.to_owned())).collect()
}

/// Our unit's bag with this request alone; as it stands if it says so already.
fn asking(relation: &Relation, request: &str) -> Bag {
    let wished =
        Json::from([Json::object([("certificate_signing_request", Json::from(request)), ("ca", Json::from(false))])]);
    bag([(REQUESTS, super::json_text(current(relation.local_unit.as_ref(), REQUESTS), &wished))])
}

enum Answer {
    None,
    Revoked,
    Certificate { leaf: String, certificate: Certificate },
}

fn answer(relation: &Relation, request: &str, key: &PrivateKey) -> Answer {
    let Some(text) = relation.app_data.get("certificates") else { return Answer::None };
    let entries = match Json::parse(text) {
        Ok(Json::Array(entries)) => entries,
        _ => {
            tracing::warn!(relation = relation.key(), "passed over certificates that are no list in JSON");
            return Answer::None;
        }
    };
    let told = |entry: &Json, key: &str| entry.get(key).and_then(Json::as_str).map(|text| text.trim().to_owned());
    let of_ours = |entry: &&Json| told(entry, "certificate_signing_request").as_deref() == Some(request.trim());
    let mut found = Answer::None;
    for entry in entries.iter().filter(of_ours) {
        if entry.get("revoked").is_some_and(Json::is_truthy) {
            return Answer::Revoked;
        }
        let (Some(leaf), Some(ca)) = (told(entry, "certificate"), told(entry, "ca")) else {
            tracing::warn!(relation = relation.key(), "passed over an answer without certificate or authority");
            continue;
        };
        if !key.fits(&leaf) {
            tracing::warn!(relation = relation.key(), "passed over a certificate of another key");
            continue;
        }
        let chain = entry.get("chain").and_then(Json::as_array).unwrap_or_default();
        let between = chain.iter().filter_map(Json::as_str).map(str::trim).filter(|one| *one != leaf && *one != ca);
        let chain = [leaf.as_str()].into_iter().chain(between).collect::<Vec<_>>().join("\n");
        found = Answer::Certificate { leaf, certificate: Certificate { chain, key: key.pem().to_owned(), ca } };
    }
    found
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::identity::tests::recorded;

    /// A request and a certificate of one key, by an authority of the test's.
    pub(crate) struct Signed {
        pub(crate) key: PrivateKey,
        pub(crate) request: String,
        pub(crate) leaf: String,
        pub(crate) ca: String,
    }

    pub(crate) fn signed() -> Signed {
        let key = PrivateKey::generate().unwrap();
        let request = key.request("parca-k8s", &recorded().fqdn).unwrap();
        let issuer_key = rcgen::KeyPair::generate().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = authority.self_signed(&issuer_key).unwrap().pem().trim().to_owned();
        let issuer = rcgen::Issuer::new(authority, issuer_key);
        let pair = rcgen::KeyPair::from_pem(&pkcs8(key.pem())).unwrap();
        let params = rcgen::CertificateParams::new(vec![recorded().fqdn]).unwrap();
        let leaf = params.signed_by(&pair, &issuer).unwrap().pem().trim().to_owned();
        Signed { key, request, leaf, ca }
    }

    /// rcgen takes no PKCS #1.
    fn pkcs8(pem: &str) -> String {
        use crate::der;
        use rustls::pki_types::pem::PemObject;
        let key = rustls::pki_types::PrivatePkcs1KeyDer::from_pem_slice(pem.as_bytes()).unwrap();
        let rsa = [0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
        let inner = der::value(der::OCTET_STRING, key.secret_pkcs1_der());
        der::to_pem("PRIVATE KEY", &der::holding(der::SEQUENCE, [der::unsigned(&[0]).as_slice(), &rsa, &inner]))
    }

    /// Between our unit, which has asked, and an authority that has answered.
    pub(crate) fn relation(signed: &Signed, extra: &[(&str, Json)]) -> Relation {
        let mut relation = Relation::new(20, "certificates", "ca");
        relation.local_unit = Some(asking(&relation, &signed.request));
        let chain = Json::from([signed.leaf.as_str(), "between", &signed.ca]);
        let told = [
            ("ca", Json::from(signed.ca.as_str())),
            ("certificate_signing_request", Json::from(format!("{}\n", signed.request))),
            ("certificate", Json::from(signed.leaf.as_str())),
            ("chain", chain),
        ];
        let entry = Json::object(told.into_iter().chain(extra.iter().cloned()));
        relation.app_data = bag([("certificates", Json::from([entry]).dumps())]);
        relation
    }

    #[test]
    fn a_certificate_of_our_request_and_key_is_used_with_what_stands_between() {
        let signed = signed();
        let relation = relation(&signed, &[]);
        let plan = plan(&relation, &signed.key, &recorded(), false).unwrap();
        let chain = format!("{}\nbetween", signed.leaf);
        let key = signed.key.pem().to_owned();
        assert_eq!(plan.certificate, Some(Certificate { chain, key, ca: signed.ca }));
        assert_eq!(Some(plan.bag), relation.local_unit, "the request stays");
    }

    #[test]
    fn a_revoked_certificate_is_not_used_and_another_one_asked_for() {
        let signed = signed();
        let relation = relation(&signed, &[("revoked", Json::from(true))]);
        let plan = plan(&relation, &signed.key, &recorded(), false).unwrap();
        assert_eq!(plan.certificate, None);
        assert_ne!(plan.request, signed.request);
        assert_eq!(asked(&Relation { local_unit: Some(plan.bag), ..relation }), [plan.request]);
    }

    #[test]
    fn a_request_is_made_again_for_another_key_another_name_and_a_renewal() {
        let signed = signed();
        let relation = relation(&signed, &[]);
        let other = PrivateKey::generate().unwrap();
        let moved = Identity { fqdn: "elsewhere.local".to_owned(), ..recorded() };
        for (key, identity, renew) in
            [(&other, recorded(), false), (&signed.key, moved, false), (&signed.key, recorded(), true)]
        {
            let plan = plan(&relation, key, &identity, renew).unwrap();
            assert_ne!(plan.request, signed.request);
            assert_eq!(plan.certificate, None);
        }
    }

    #[test]
    fn answers_that_make_no_sense_are_passed_over() {
        let signed = signed();
        let good = relation(&signed, &[]);
        for certificates in ["", "{", "{}", "[1]", r#"[{"certificate": "x"}]"#] {
            let relation = Relation { app_data: bag([("certificates", certificates.to_owned())]), ..good.clone() };
            let plan = plan(&relation, &signed.key, &recorded(), false).unwrap();
            assert_eq!((plan.certificate, plan.request), (None, signed.request.clone()), "{certificates}");
        }
        for extra in [("certificate", Json::from("x")), ("certificate", Json::Null), ("ca", Json::Null)] {
            let plan = plan(&relation(&signed, &[extra]), &signed.key, &recorded(), false).unwrap();
            assert_eq!((plan.certificate, plan.request), (None, signed.request.clone()));
        }
    }
}
