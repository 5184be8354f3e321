//! The front door: one engine per store, one method per question.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use profile::ProfileType;
use store::budget::{Account, Budget, Lease};
use store::listing::Listing;
use store::part::Part;

use crate::error::{ErrorKind, QueryError};
use crate::report::{QueryReply, Series, SeriesName};
use crate::request::{LabelsRequest, QueryRequest, RangeRequest, SeriesRequest, TypesRequest, ValuesRequest};
use crate::{answer, catalogue, range};

/// What queries read from: a store, or anything that holds parts.
pub trait Source: Send + Sync {
    /// Parts that may hold samples of `tenant` in `range` (ns, both ends included; `None` is all); each
    /// sample is in exactly one of them.
    fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>>;
    /// Types and labels of the same, as far as they are known without asking the parts.
    fn listing(&self, tenant: &str, range: Option<(i64, i64)>) -> Listing {
        Listing::of_parts(self.parts(tenant, range))
    }
    fn budget(&self) -> &Budget;
}

impl Source for store::Store {
    fn parts(&self, tenant: &str, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        store::Store::parts(self, tenant, range)
    }

    fn listing(&self, tenant: &str, range: Option<(i64, i64)>) -> Listing {
        store::Store::listing(self, tenant, range)
    }

    fn budget(&self) -> &Budget {
        store::Store::budget(self)
    }
}

/// Limits of all queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Largest flame graph, in rows. A screen shows fewer; an answer of 65,536 rows is some megabytes.
    pub node_budget: usize,
    /// Most lines of one graph. A screen shows a hundred.
    pub series_max: usize,
    /// Threads that one query may use.
    pub threads: usize,
    /// Bytes that all queries together may hold.
    pub memory_bytes: u64,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { node_budget: 65_536, series_max: 10_000, threads: cores.min(8), memory_bytes: 1 << 30 }
    }
}

/// Who asks, and until when the answer is wanted.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Empty is the default tenant.
    pub tenant: String,
    pub deadline: Option<Instant>,
    /// Set when the client has gone away.
    pub cancelled: Arc<AtomicBool>,
}

impl Context {
    /// Whether the answer is still wanted; reads the clock.
    pub fn go_on(&self) -> bool {
        !self.cancelled.load(Ordering::Relaxed) && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// As an error what [`Context::go_on`] denies.
    pub fn check(&self) -> Result<(), QueryError> {
        if self.cancelled.load(Ordering::Relaxed) {
            Err(QueryError::new(ErrorKind::Cancelled, "the query was cancelled"))
        } else if self.go_on() {
            Ok(())
        } else {
            Err(QueryError::new(ErrorKind::DeadlineExceeded, "the query took longer than its deadline allows"))
        }
    }

    /// A store stops with "cancelled" for either reason: names the right one.
    pub(crate) fn name(&self, error: store::error::StoreError) -> QueryError {
        match (error.kind, self.check()) {
            (store::error::Kind::Cancelled, Err(reason)) => reason,
            _ => error.into(),
        }
    }
}

pub struct Engine {
    source: Arc<dyn Source>,
    options: EngineOptions,
    memory: Account,
}

impl Engine {
    pub fn new(source: Arc<dyn Source>, options: EngineOptions) -> Self {
        let memory = source.budget().account("query", options.memory_bytes);
        Self { source, options, memory }
    }

    /// Distinct types of profiles that hold a value, sorted.
    pub fn profile_types(&self, context: &Context, request: &TypesRequest) -> Result<Vec<ProfileType>, QueryError> {
        catalogue::profile_types(self, context, request)
    }

    /// Whether [`Engine::profile_types`] would give any.
    pub fn has_profile_data(&self, context: &Context, request: &TypesRequest) -> Result<bool, QueryError> {
        catalogue::has_profile_data(self, context, request)
    }

    /// Names of labels, sorted.
    pub fn labels(&self, context: &Context, request: &LabelsRequest) -> Result<Vec<String>, QueryError> {
        catalogue::labels(self, context, request)
    }

    /// Values of one label, sorted.
    pub fn values(&self, context: &Context, request: &ValuesRequest) -> Result<Vec<String>, QueryError> {
        catalogue::values(self, context, request)
    }

    /// Which series there are, sorted: at most [`EngineOptions::series_max`].
    pub fn series(&self, context: &Context, request: &SeriesRequest) -> Result<Vec<SeriesName>, QueryError> {
        catalogue::series(self, context, request)
    }

    /// Values over time. Without any row the answer is [`ErrorKind::NotFound`], as in Parca.
    pub fn query_range(&self, context: &Context, request: &RangeRequest) -> Result<Vec<Series>, QueryError> {
        range::query_range(self, context, request)
    }

    /// A report of one profile, of many merged, or of the difference of two of these.
    pub fn query(&self, context: &Context, request: &QueryRequest) -> Result<QueryReply, QueryError> {
        answer::query(self, context, request)
    }

    pub(crate) fn parts(&self, context: &Context, range: Option<(i64, i64)>) -> Vec<Arc<dyn Part>> {
        self.source.parts(&context.tenant, range)
    }

    pub(crate) fn listing(&self, context: &Context, range: Option<(i64, i64)>) -> Listing {
        self.source.listing(&context.tenant, range)
    }

    pub(crate) fn options(&self) -> &EngineOptions {
        &self.options
    }

    pub(crate) fn lease(&self, bytes: usize) -> Result<Lease, QueryError> {
        self.memory.lease(bytes as u64).map_err(|error| {
            let advice = "ask for less time or fewer series, or give the server more memory";
            QueryError::new(ErrorKind::ResourceExhausted, format!("{error}: {advice}"))
        })
    }
}
