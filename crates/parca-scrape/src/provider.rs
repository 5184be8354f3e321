//! The side that has profiles: what a charm writes so that it is scraped.

use std::collections::BTreeMap;

use juju::event::RelationEventKind;
use juju::json::{Json, Object};
use juju::{Bag, DesiredBags, Event, ModelInfo, Relation, RelationId, UnitName};

use crate::endpoint::{CharmMetadata, ConstructorError, RelationRole};
use crate::job::{ALLOWED_KEYS, DEFAULT_JOB, sanitize};
use crate::topology::JujuTopology;

/// Offers the profiles of this application.
#[derive(Clone, Debug)]
pub struct ProfilingEndpointProvider {
    relation_name: String,
    topology: JujuTopology,
    /// How the unit is reached: what `socket.getfqdn()` says.
    address: String,
    jobs: Vec<Object>,
    allowed_keys: &'static [&'static str],
    /// Names of hooks.
    refresh_events: Vec<String>,
}

/// Which of our bags an event writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// The unit's; and, as leader, the application's.
    All,
    Unit,
    Nothing,
}

impl ProfilingEndpointProvider {
    /// `jobs`: what to scrape; of none, [`DEFAULT_JOB`]. A target `*:PORT` stands for each unit of the application. Keys
    /// that are not in [`ALLOWED_KEYS`] are dropped.
    ///
    /// # Errors
    /// The charm has no endpoint of this name, or one of another interface or role; or the model's UUID is none.
    pub fn new(
        charm: &CharmMetadata,
        relation_name: &str,
        model: &ModelInfo,
        unit: &UnitName,
        address: &str,
        jobs: &[Object],
    ) -> Result<ProfilingEndpointProvider, ConstructorError> {
        charm.check(relation_name, RelationRole::Provides)?;
        let topology = JujuTopology::from_charm(model, unit, &charm.name).map_err(ConstructorError::InvalidUuid)?;
        Ok(ProfilingEndpointProvider {
            relation_name: relation_name.to_owned(),
            topology,
            address: address.to_owned(),
            jobs: jobs.to_vec(),
            allowed_keys: ALLOWED_KEYS,
            refresh_events: vec![default_refresh_event(charm)],
        })
    }

    /// Hooks after which the unit's address is written again, by name, in place of the default; of none, the default
    /// stays. The default is the `pebble-ready` of the only container, else `update-status`.
    pub fn with_refresh_events(mut self, hooks: &[&str]) -> ProfilingEndpointProvider {
        if !hooks.is_empty() {
            self.refresh_events = hooks.iter().map(|&hook| hook.to_owned()).collect();
        }
        self
    }

    /// Lets these keys of jobs through, such as [`crate::ALLOWED_KEYS_1`] for what LIBPATCH 1 let through.
    pub fn with_allowed_keys(self, allowed_keys: &'static [&'static str]) -> ProfilingEndpointProvider {
        ProfilingEndpointProvider { allowed_keys, ..self }
    }

    pub fn relation_name(&self) -> &str {
        &self.relation_name
    }

    /// Whether there is a relation, and each has an application on its other side.
    pub fn is_ready<'a>(&self, relations: impl IntoIterator<Item = &'a Relation>) -> bool {
        let mut relations = relations.into_iter().peekable();
        relations.peek().is_some() && relations.all(|relation| relation.app.is_some())
    }

    /// What the event asks to be in our bags: what the library writes in its hook.
    ///
    /// `joined`, `changed`, `upgrade-charm` and `leader-elected` write all, refresh events the unit's bag, others nothing.
    pub fn bags<'a>(
        &self,
        event: &Event,
        leader: bool,
        relations: impl IntoIterator<Item = &'a Relation>,
    ) -> BTreeMap<RelationId, DesiredBags> {
        match self.writes(event) {
            Writes::All => self.set_scrape_job_spec(leader, relations),
            Writes::Unit => self.set_scrape_job_spec(false, relations),
            Writes::Nothing => BTreeMap::new(),
        }
    }

    /// What should be in our bags, whatever the event.
    pub fn set_scrape_job_spec<'a>(
        &self,
        leader: bool,
        relations: impl IntoIterator<Item = &'a Relation>,
    ) -> BTreeMap<RelationId, DesiredBags> {
        let bags = DesiredBags {
            endpoint: self.relation_name.clone(),
            unit: self.unit_bag(),
            app: if leader { self.app_bag() } else { Bag::new() },
        };
        relations.into_iter().map(|relation| (relation.id, bags.clone())).collect()
    }

    /// Other jobs from now on; the caller then writes [`ProfilingEndpointProvider::set_scrape_job_spec`].
    pub fn update_scrape_job_spec(&mut self, jobs: &[Object]) {
        self.jobs = jobs.to_vec();
    }

    /// The keys of the application's bag.
    pub fn app_bag(&self) -> Bag {
        let metadata = self.topology.as_dict(&[], &[], &[]);
        let default = std::slice::from_ref(&*DEFAULT_JOB);
        let jobs = if self.jobs.is_empty() { default } else { &self.jobs };
        let jobs: Vec<Object> = jobs.iter().map(|job| sanitize(job, self.allowed_keys)).collect();
        Bag::from([
            ("scrape_metadata".to_owned(), metadata.dumps()),
            ("scrape_jobs".to_owned(), Json::from(jobs).dumps()),
        ])
    }

    /// The keys of the unit's bag.
    pub fn unit_bag(&self) -> Bag {
        Bag::from([
            ("parca_scrape_unit_address".to_owned(), self.address.clone()),
            ("parca_scrape_unit_name".to_owned(), self.topology.unit().to_owned()),
        ])
    }

    fn writes(&self, event: &Event) -> Writes {
        use RelationEventKind::{Changed, Joined};
        let ours = event.relation(&self.relation_name).map(|event| event.kind);
        if matches!(ours, Some(Joined | Changed)) || matches!(event, Event::UpgradeCharm | Event::LeaderElected) {
            Writes::All
        } else if self.refresh_events.contains(&event.name()) {
            Writes::Unit
        } else {
            Writes::Nothing
        }
    }
}

fn default_refresh_event(charm: &CharmMetadata) -> String {
    match charm.containers.as_slice() {
        // a podspec charm has no Pebble
        [container] if !charm.series.iter().any(|series| series == "kubernetes") => format!("{container}-pebble-ready"),
        _ => "update-status".to_owned(),
    }
}
