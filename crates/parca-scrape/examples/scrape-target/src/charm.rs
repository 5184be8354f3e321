//! A charm without a workload: it tells Parca of programs that no charm runs.

use juju::json::{Json, Object};
use juju::{Bag, Bags, Config, Desired, DesiredBags, Snapshot, Status, ToolError, Unit};
use parca_scrape::{CharmMetadata, ProfilingEndpointProvider};

const ENDPOINT: &str = "profiling-endpoint";

/// What is read of each endpoint: here our application's bag, to see what differs.
const ENDPOINTS: [(&str, Bags); 1] = [(ENDPOINT, Bags { local_app: true, ..Bags::NONE })];

/// What Juju runs, whatever the event.
pub fn charm(unit: &Unit<'_>) -> Result<(), ToolError> {
    let applied = unit.settle(&ENDPOINTS, reconcile)?;
    tracing::debug!(?applied, "settled");
    Ok(())
}

/// What should be. It asks nobody and writes nothing, so it may run as often as it likes.
pub fn reconcile(snapshot: &Snapshot) -> Desired {
    let mut desired = Desired::default();
    let told = targets(&snapshot.config).and_then(|targets| Ok((app_bag(snapshot, &targets)?, targets)));
    let (bag, status) = match told {
        Ok((bag, targets)) => {
            desired.answer.results.insert("targets".to_owned(), targets.join(","));
            (bag, Status::active(format!("{} targets", targets.len())))
        }
        Err(why) => {
            desired.answer.failed = Some(why.clone());
            (nothing(), Status::blocked(why))
        }
    };
    for relation in snapshot.relations(ENDPOINT) {
        desired.bags.insert(relation.id, DesiredBags { app: bag.clone(), ..relation.into() });
    }
    desired.unit_status.push(status.clone());
    desired.app_status.push(status);
    desired
}

/// The addresses that the operator has listed.
fn targets(config: &Config) -> Result<Vec<String>, String> {
    let listed: String = config.get_or("targets", String::new()).map_err(|error| error.to_string())?;
    let listed: Vec<&str> = listed.split(',').map(str::trim).filter(|target| !target.is_empty()).collect();
    if let Some(bad) = listed.iter().find(|target| !is_target(target)) {
        return Err(format!("option targets: {bad:?} is not host:port"));
    }
    if listed.is_empty() {
        return Err("list addresses in the option targets".to_owned());
    }
    Ok(listed.into_iter().map(str::to_owned).collect())
}

fn is_target(text: &str) -> bool {
    let of_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    text.split_once(':').is_some_and(|(host, port)| {
        let is_number = port.bytes().all(|b| b.is_ascii_digit());
        !host.is_empty() && host.bytes().all(of_host) && is_number && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// What the relation's library says of them. Our unit's bag is left alone: a unit that gives its address there is
/// scraped itself.
fn app_bag(snapshot: &Snapshot, targets: &[String]) -> Result<Bag, String> {
    let scheme: String = snapshot.config.get_or("scheme", "http".to_owned()).map_err(|error| error.to_string())?;
    if scheme != "http" && scheme != "https" {
        return Err(format!("option scheme: {scheme:?} is neither http nor https"));
    }
    let targets: Vec<Json> = targets.iter().map(|target| target.as_str().into()).collect();
    let of_targets = Json::object([("targets", Json::Array(targets))]);
    let job = Object::from_iter([
        ("static_configs".to_owned(), Json::Array(vec![of_targets])),
        ("scheme".to_owned(), scheme.into()),
    ]);
    let metadata = CharmMetadata {
        name: "scrape-target".to_owned(),
        provides: [(ENDPOINT.to_owned(), "parca_scrape".to_owned())].into(),
        ..CharmMetadata::default()
    };
    let (model, unit) = (snapshot.model(), snapshot.unit());
    let provider = ProfilingEndpointProvider::new(&metadata, ENDPOINT, model, unit, "", &[job]);
    Ok(provider.map_err(|error| error.to_string())?.app_bag())
}

/// An empty value takes a key out of a bag, so that Parca has nothing to scrape.
fn nothing() -> Bag {
    ["scrape_metadata", "scrape_jobs"].map(|key| (key.to_owned(), String::new())).into()
}

#[cfg(test)]
mod tests {
    use juju::Event;
    use juju::context::{Context, on};
    use juju::memory::{Meta, State};
    use juju::model::ConfigValue;

    use super::*;

    #[test]
    fn parca_is_told_the_targets_once() {
        let meta = Meta::from_metadata(
            include_str!("../charm/metadata.yaml"),
            include_str!("../charm/config.yaml"),
            include_str!("../charm/actions.yaml"),
        );
        let context = Context::new(meta.unwrap(), charm);
        let state = State::new(context.meta())
            .config("targets", ConfigValue::String("db:6060".to_owned()))
            .relation(4, ENDPOINT, "parca")
            .remote_unit(4, "parca/0", []);

        let first = context.run(on::relation_joined(4, "parca/0"), &state).unwrap();
        assert_eq!(first.state.unit_status, Status::active("1 targets"));
        assert!(first.state.local_app(4)["scrape_jobs"].contains("db:6060"));

        let second = context.run(Event::UpdateStatus, &first.state).unwrap();
        assert_eq!(second.writes().count(), 0);
    }
}
