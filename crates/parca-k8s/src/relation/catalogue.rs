//! `catalogue`: an entry among an estate's user interfaces.

use juju::model::Bag;

use super::bag;

/// As the Python charm writes it, with the line break and the spaces of its source.
const DESCRIPTION: &str = "Continuous profiling backend. Allows you to collect, store,\n                 query and visualize profiles from your distributed deployment.";

/// Our application's bag. `url`: where the screen is, through the ingress if there is one.
///
/// The Python charm writes it on the relation's own events only, so that it goes stale when ingress or certificates change.
pub fn app_bag(url: &str) -> Bag {
    bag([
        ("name", "Parca UI".to_owned()),
        ("description", DESCRIPTION.to_owned()),
        ("url", url.to_owned()),
        ("icon", "chart-areaspline".to_owned()),
        ("api_endpoints", "null".to_owned()),
        // an older charm may have said something
        ("api_docs", String::new()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relation::tests::Recording;

    #[test]
    fn vectors_of_the_catalogue_are_the_recorded_bag() {
        let mut ours = app_bag("http://parca-k8s-0.parca-k8s-endpoints.lens.svc.cluster.local:7994");
        // empty is absent
        ours.retain(|_, value| !value.is_empty());
        assert_eq!(Some(ours), Recording::open("catalogue").bag(0, "9", "app"));
    }

    #[test]
    fn the_url_follows_ingress_and_certificates() {
        assert_eq!(app_bag("https://profiles.example.com:7994")["url"], "https://profiles.example.com:7994");
    }
}
