//! Who has written lately, in memory only: a list for a screen.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::registry::Registry;
use tonic::{Request, Response, Status};

use crate::metrics::{SenderMetrics, code_name};
use crate::proto::parca::profilestore::v1alpha1::agents_service_server::AgentsService;
use crate::proto::parca::profilestore::v1alpha1::{Agent, AgentsRequest, AgentsResponse};

/// Parca's.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);
/// Ids come from senders' labels: whoever makes up new ones must not fill the memory.
const AGENTS_MAX: usize = 10_000;

/// Cheap to clone; clones share the list.
#[derive(Clone, Default)]
pub(crate) struct Agents {
    by_id: Arc<Mutex<HashMap<String, Push>>>,
    senders: SenderMetrics,
}

/// A write that has come in, until its end is known.
pub(crate) struct Pushing {
    began: Instant,
    user_agent: String,
    protocol: &'static str,
}

impl Pushing {
    /// `protocol`: by which the metric names it.
    pub(crate) fn begin<T>(request: &Request<T>, protocol: &'static str) -> Self {
        let user_agent = request.metadata().get("user-agent").and_then(|value| value.to_str().ok());
        Self { began: Instant::now(), user_agent: user_agent.unwrap_or_default().to_owned(), protocol }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }
}

struct Push {
    at: SystemTime,
    seen: Instant,
    took: Duration,
    error: Option<String>,
}

impl Agents {
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.senders.register(registry);
    }

    /// The end of a write by agent `id`. Over the limit a new id is left out.
    pub(crate) fn pushed(&self, id: String, pushing: &Pushing, result: Result<(), &Status>) {
        self.senders.wrote(pushing.protocol, &pushing.user_agent, result.is_ok());
        self.keep(id, pushing.began, result);
    }

    fn keep(&self, id: String, began: Instant, result: Result<(), &Status>) {
        let took = began.elapsed();
        let error = result
            .err()
            .map(|status| format!("rpc error: code = {} desc = {}", code_name(status.code()), status.message()));
        let push = Push { at: SystemTime::now() - took, seen: began, took, error };
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if by_id.len() >= AGENTS_MAX && !by_id.contains_key(&id) {
            by_id.retain(|_, push| push.seen.elapsed() < FORGOTTEN_AFTER);
            if by_id.len() >= AGENTS_MAX {
                return;
            }
        }
        by_id.insert(id, push);
    }

    fn list(&self) -> Vec<Agent> {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.retain(|_, push| push.seen.elapsed() < FORGOTTEN_AFTER);
        let mut agents: Vec<Agent> = by_id.iter().map(|(id, push)| agent(id, push)).collect();
        agents.sort_by(|a, b| a.id.cmp(&b.id));
        agents
    }
}

fn agent(id: &str, push: &Push) -> Agent {
    Agent {
        id: id.to_owned(),
        last_error: push.error.clone().unwrap_or_default(),
        last_push: Some(push.at.into()),
        last_push_duration: prost_types::Duration::try_from(push.took).ok(),
    }
}

pub(crate) struct AgentsApi(pub(crate) Agents);

#[tonic::async_trait]
impl AgentsService for AgentsApi {
    async fn agents(&self, _: Request<AgentsRequest>) -> Result<Response<AgentsResponse>, Status> {
        Ok(Response::new(AgentsResponse { agents: self.0.list() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_push_of_each_agent_is_told_with_its_error() {
        let agents = Agents::default();
        let refused = Status::invalid_argument("missing __name__ label");
        agents.keep("node-b".into(), Instant::now(), Ok(()));
        agents.keep("node-a".into(), Instant::now(), Err(&refused));
        agents.keep("node-b".into(), Instant::now(), Ok(()));
        let told: Vec<(String, String)> = agents.list().into_iter().map(|agent| (agent.id, agent.last_error)).collect();
        let error = "rpc error: code = InvalidArgument desc = missing __name__ label".to_owned();
        assert_eq!(told, [("node-a".to_owned(), error), ("node-b".to_owned(), String::new())]);
    }

    #[test]
    fn made_up_ids_do_not_fill_the_memory() {
        let agents = Agents::default();
        for id in 0..AGENTS_MAX + 10 {
            agents.keep(id.to_string(), Instant::now(), Ok(()));
        }
        assert_eq!(agents.list().len(), AGENTS_MAX);
    }
}
