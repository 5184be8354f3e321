//! `parca_store`, both sides: `parca-store-endpoint`, where agents push profiles to us, and `external-parca-store-endpoint`, where
//! we hand ours on.

use juju::Status;
use juju::model::{Bag, Relation};

use super::bag;
use crate::identity::GRPC_PORT;
use crate::status;

/// Our application's bag, for agents. `host`: the ingress's, or the unit's own name.
pub fn app_bag(host: &str, insecure: bool) -> Bag {
    bag([
        ("remote-store-address", format!("{host}:{GRPC_PORT}")),
        // we ask for none; an older charm may have said one
        ("remote-store-bearer-token", String::new()),
        ("remote-store-insecure", insecure.to_string()),
    ])
}

/// A store that takes our profiles. Empty: it did not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteStore {
    pub address: String,
    pub bearer_token: String,
    pub insecure: String,
}

impl RemoteStore {
    /// The flags for it; none where it says nothing.
    pub fn flags(&self) -> Vec<String> {
        let told = [
            ("--store-address", &self.address),
            ("--bearer-token", &self.bearer_token),
            ("--insecure", &self.insecure),
        ];
        let mut flags: Vec<String> =
            told.iter().filter(|(_, value)| !value.is_empty()).map(|(flag, value)| format!("{flag}={value}")).collect();
        if !flags.is_empty() {
            flags.push("--mode=scraper-only".to_owned());
        }
        flags
    }
}

/// The store to hand profiles on to.
///
/// # Errors
/// There are several, and Decima hands on to one: the status that names them.
pub fn remote<'a>(relations: impl IntoIterator<Item = &'a Relation>) -> Result<Option<RemoteStore>, Status> {
    let relations: Vec<&Relation> = relations.into_iter().collect();
    match relations.as_slice() {
        [] => Ok(None),
        [relation] => Ok(Some(of_relation(relation))),
        several => {
            let names: Vec<String> = several
                .iter()
                .map(|relation| relation.app.as_ref().map_or_else(|| relation.key(), ToString::to_string))
                .collect();
            Err(status::several_stores(&names))
        }
    }
}

fn of_relation(relation: &Relation) -> RemoteStore {
    let told = |key: &str| {
        let value = relation.app_data.get(key).map(String::as_str).unwrap_or_default();
        // Pebble splits commands as a shell does: a blank would begin another flag
        if value.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\')) {
            tracing::warn!(relation = relation.key(), key, "passed over a value with blanks or quotes");
            return String::new();
        }
        value.to_owned()
    };
    RemoteStore {
        address: told("remote-store-address"),
        bearer_token: told("remote-store-bearer-token"),
        insecure: told("remote-store-insecure"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn relation(id: u32, app: &str, told: Bag) -> Relation {
        Relation { app_data: told, ..Relation::new(id, "external-parca-store-endpoint", app) }
    }

    #[test]
    fn vectors_of_the_store_are_the_recorded_bags() {
        let ours = |host, insecure| {
            let mut bag = app_bag(host, insecure);
            // empty is absent
            bag.retain(|_, value| !value.is_empty());
            Some(bag)
        };
        let fqdn = &recorded().fqdn;
        assert_eq!(ours(fqdn, true), Recording::open("store-provider").bag(0, "7", "app"));
        let recording = Recording::open("tls-flow");
        assert_eq!(ours(fqdn, false), recording.bag(2, "7", "app"));
        assert_eq!(ours(fqdn, true), recording.bag(5, "7", "app"));
        assert_eq!(ours("10.64.140.43", false), Recording::open("ingress-https").bag(0, "7", "app"));
    }

    #[test]
    fn a_store_is_flags() {
        let told = bag([
            ("remote-store-address", "h:443".to_owned()),
            ("remote-store-bearer-token", "t".to_owned()),
            ("remote-store-insecure", "false".to_owned()),
        ]);
        let flags = |told: Bag| remote([&relation(7, "polar", told)]).unwrap().unwrap().flags().join(" ");
        assert_eq!(flags(told), "--store-address=h:443 --bearer-token=t --insecure=false --mode=scraper-only");
        assert_eq!(flags(Bag::new()), "");
        let two_flags = bag([("remote-store-address", "h:443 --mode=forwarder".to_owned())]);
        assert_eq!(flags(two_flags), "");
        assert_eq!(remote([]), Ok(None));
    }

    #[test]
    fn two_stores_are_named() {
        let (a, b) = (relation(7, "polar", Bag::new()), relation(8, "far", Bag::new()));
        assert_eq!(remote([&a, &b]), Err(Status::blocked("relate one external store only, not polar and far")));
    }
}
