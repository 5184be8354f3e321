//! Stacks that senders of `Write` (Arrow v1) need not send again.
//!
//! Agents name a stack by a hash that cannot be verified: it covers what they do not send, and is no cryptographic one. So a stack
//! that came over one connection answers for that connection alone. Where a proxy puts many clients on one connection, those are apart
//! whom its headers tell apart.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use ingest::v1::{Found, Known, nothing_known};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::{Account, Lease};
use tonic::Request;
use tracing::error;

use crate::listener::Connection;

/// Added to one write at most; more is asked for again. bytes
const LIST_BYTES_MAX: usize = 16 << 20;

/// Headers by which a proxy tells one client from another.
const CLIENT_HEADERS: [&str; 4] = ["authorization", "forwarded", "x-forwarded-for", "x-real-ip"];

/// Where a stack came from. What it is a hash of cannot be chosen to meet another's, for the key is this process's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope(u64);

/// Cheap to clone; clones share the stacks.
#[derive(Clone)]
pub(crate) struct KnownStacks {
    shared: Arc<Shared>,
}

struct Shared {
    key: RandomState,
    held: Mutex<Held>,
    hits: Counter,
    misses: Counter,
    evictions: Counter,
    stacks: Gauge,
    bytes: Gauge,
}

struct Held {
    known: Known,
    lease: Lease,
}

impl KnownStacks {
    /// Holds about `bytes_max`, leased from `memory`; 0 knows nothing.
    pub(crate) fn new(bytes_max: u64, memory: &Account) -> Self {
        let held = Held { known: Known::new(bytes_max), lease: memory.empty_lease() };
        Self {
            shared: Arc::new(Shared {
                key: RandomState::new(),
                held: Mutex::new(held),
                hits: Counter::default(),
                misses: Counter::default(),
                evictions: Counter::default(),
                stacks: Gauge::default(),
                bytes: Gauge::default(),
            }),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let Shared { hits, misses, evictions, stacks, bytes, .. } = &*self.shared;
        let name = |what: &str| format!("decima_known_stacks{what}");
        registry.register(name("_hits"), "Stacks of Write (Arrow v1) that need not be sent again", hits.clone());
        registry.register(name("_misses"), "Stacks of Write (Arrow v1) that were asked for", misses.clone());
        registry.register(name("_evictions"), "Known stacks that had to make room for others", evictions.clone());
        registry.register(name(""), "Stacks that need not be sent again", stacks.clone());
        registry.register(name("_bytes"), "Bytes that known stacks take", bytes.clone());
    }

    /// Whose stacks this call's are; `None` if it did not come over a connection of its sender's.
    pub(crate) fn scope<T>(&self, request: &Request<T>) -> Option<Scope> {
        let connection = request.extensions().get::<Connection>()?;
        let mut hasher = self.shared.key.build_hasher();
        connection.hash(&mut hasher);
        for name in CLIENT_HEADERS {
            let values = request.metadata().get_all(name);
            values.iter().count().hash(&mut hasher);
            values.iter().for_each(|value| value.as_bytes().hash(&mut hasher));
        }
        Some(Scope(hasher.finish()))
    }

    /// Nothing without a scope. `now`: ns since the epoch.
    pub(crate) fn find<'i>(&self, scope: Option<Scope>, ids: &[&'i [u8]], now: i64) -> Found<'i> {
        match scope {
            Some(scope) => self.held().known.find(scope.0, ids, now, LIST_BYTES_MAX),
            None => nothing_known(ids),
        }
    }

    /// What a sender was asked for, and what not.
    pub(crate) fn asked(&self, known: usize, unknown: usize) {
        self.shared.hits.inc_by(known as u64);
        self.shared.misses.inc_by(unknown as u64);
    }

    /// Takes in the list that the decoder made of what was sent.
    pub(crate) fn learn(&self, scope: Scope, list: &[u8], now: i64) {
        let Shared { evictions, stacks, bytes, .. } = &*self.shared;
        let mut held = self.held();
        let Held { known, lease } = &mut *held;
        let before = known.evicted();
        if let Err(error) = known.learn(scope.0, list, now) {
            error!(%error, "stacks that were sent cannot be kept: they will be asked for again");
        }
        lease.set(known.bytes());
        evictions.inc_by(known.evicted() - before);
        stacks.set(known.len() as i64);
        bytes.set(known.bytes() as i64);
    }

    /// What a panic left is whole enough: a stack goes in and out by one insertion or removal.
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use store::Budget;

    use super::*;

    fn request(connection: Option<u64>, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::new(());
        if let Some(connection) = connection {
            request.extensions_mut().insert(Connection(connection));
        }
        for (name, value) in headers {
            request.metadata_mut().append(*name, value.parse().expect("a header"));
        }
        request
    }

    #[test]
    fn a_scope_is_a_connection_and_the_client_that_a_proxy_names() {
        let known = KnownStacks::new(1 << 20, &Budget::new(1 << 20).account("known stacks", 1 << 20));
        let told: [&[(&'static str, &str)]; 7] = [
            &[],
            &[("x-forwarded-for", "10.0.0.1")],
            &[("x-forwarded-for", "10.0.0.1, 10.0.0.2")],
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-for", "10.0.0.2")],
            &[("x-real-ip", "10.0.0.1")],
            &[("forwarded", "for=10.0.0.1")],
            &[("authorization", "Bearer a")],
        ];
        let mut scopes = Vec::new();
        for connection in [1, 2] {
            for headers in told {
                let scope = known.scope(&request(Some(connection), headers)).expect("a scope");
                assert_eq!(known.scope(&request(Some(connection), headers)), Some(scope), "the same again");
                assert!(!scopes.contains(&scope), "{connection} {headers:?}");
                scopes.push(scope);
            }
        }
        assert_eq!(known.scope(&request(None, &[])), None, "as REST calls the service");
    }
}
