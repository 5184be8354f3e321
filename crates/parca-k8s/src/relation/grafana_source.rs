//! `grafana-source` (`grafana_datasource`): Grafana gets a data source of type parca.

use juju::json::Json;
use juju::model::{Bag, Relation};

use super::{bag, current, json_text};
use crate::identity::{HTTP_PORT, Identity};

/// Our application's bag. `external` is the ingress's URL, where there is one: `http://profiles.example.com:7994`.
pub fn app_bag(relation: &Relation, identity: &Identity, https: bool, external: Option<&str>) -> Bag {
    let data = Json::object([
        ("model", Json::from(identity.model.name.as_str())),
        ("model_uuid", Json::from(identity.model.uuid.as_str())),
        ("application", Json::from(identity.app())),
        ("type", Json::from("parca")),
        ("extra_fields", Json::Null),
        ("secure_extra_fields", Json::Null),
    ]);
    bag([
        ("grafana_source_app_host", external.map_or_else(|| own_url(&identity.fqdn, https), str::to_owned)),
        ("grafana_source_data", json_text(current(relation.local_app.as_ref(), "grafana_source_data"), &data)),
    ])
}

/// Our unit's bag: version 0 of the library wrote an address for each unit, version 1 takes it away.
pub fn unit_bag() -> Bag {
    bag([("grafana_source_host", String::new())])
}

/// The application's address: the unit's name without its first label, which is the headless service's name.
fn own_url(fqdn: &str, https: bool) -> String {
    let service = fqdn.split_once('.').map_or(fqdn, |(_, service)| service);
    let scheme = if https { "https" } else { "http" };
    format!("{scheme}://{service}:{HTTP_PORT}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::recorded;
    use crate::relation::tests::Recording;

    fn ours(https: bool, external: Option<&str>) -> Bag {
        app_bag(&Relation::new(8, "grafana-source", "grafana"), &recorded(), https, external)
    }

    #[test]
    fn vectors_of_the_data_source_are_the_recorded_bags() {
        let recording = Recording::open("grafana-source");
        assert_eq!(Some(ours(false, None)), recording.bag(0, "8", "app"));
        assert_eq!(Some(ours(false, Some("http://profiles.example.com:7994"))), recording.bag(1, "8", "app"));
        let recording = Recording::open("tls-flow");
        assert_eq!(Some(ours(true, None)), recording.bag(2, "8", "app"));
        assert_eq!(Some(ours(false, None)), recording.bag(5, "8", "app"));
    }

    #[test]
    fn a_bag_that_means_the_same_is_left_alone() {
        let mut relation = Relation::new(8, "grafana-source", "grafana");
        let other = ours(false, None)["grafana_source_data"].replace(", ", ",");
        relation.local_app = Some(bag([("grafana_source_data", other.clone())]));
        assert_eq!(app_bag(&relation, &recorded(), false, None)["grafana_source_data"], other);
    }

    #[test]
    fn a_name_of_one_label_stays() {
        assert_eq!(own_url("localhost", false), "http://localhost:7994");
    }
}
