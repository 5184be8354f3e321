//! `ScrapeService`: what is scraped, and how that goes.

use std::collections::HashMap;
use std::time::SystemTime;

use prost_types::Timestamp;
use scrape::{Handle, Health, TargetState, TargetStatus};
use tonic::{Request, Response, Status};

use crate::proto::parca::profilestore::v1alpha1::{Label, LabelSet};
use crate::proto::parca::scrape::v1alpha1::scrape_service_server::ScrapeService;
use crate::proto::parca::scrape::v1alpha1::target;
use crate::proto::parca::scrape::v1alpha1::{Target, Targets, TargetsRequest, TargetsResponse, targets_request};

/// What Go's zero time looks like on the wire: `0001-01-01T00:00:00Z`, in seconds.
const NEVER: i64 = -62_135_596_800;

pub(crate) struct ScrapeApi(pub(crate) Handle);

#[tonic::async_trait]
impl ScrapeService for ScrapeApi {
    async fn targets(&self, request: Request<TargetsRequest>) -> Result<Response<TargetsResponse>, Status> {
        // a number that is no state means any, as in Parca
        let wanted = match targets_request::State::try_from(request.into_inner().state) {
            Ok(targets_request::State::Active) => TargetState::Active,
            Ok(targets_request::State::Dropped) => TargetState::Dropped,
            Ok(targets_request::State::AnyUnspecified) | Err(_) => TargetState::Any,
        };
        let jobs = self.0.targets(wanted);
        let targets: HashMap<String, Targets> = jobs
            .into_iter()
            .map(|(job, targets)| (job, Targets { targets: targets.iter().map(target).collect() }))
            .collect();
        Ok(Response::new(TargetsResponse { targets }))
    }
}

fn target(status: &TargetStatus) -> Target {
    let health = match status.health {
        Health::Unknown => target::Health::UnknownUnspecified,
        Health::Up => target::Health::Good,
        Health::Down => target::Health::Bad,
    };
    Target {
        discovered_labels: Some(label_set(&status.discovered_labels)),
        labels: Some(label_set(&status.labels)),
        last_error: status.last_error.clone().unwrap_or_default(),
        last_scrape: Some(status.last_scrape.map_or(Timestamp { seconds: NEVER, nanos: 0 }, SystemTime::into)),
        last_scrape_duration: prost_types::Duration::try_from(status.last_scrape_duration).ok(),
        url: status.url.clone(),
        health: health.into(),
    }
}

fn label_set(labels: &profile::Labels) -> LabelSet {
    let labels = labels.iter().map(|(name, value)| Label { name: name.to_owned(), value: value.to_owned() });
    LabelSet { labels: labels.collect() }
}
