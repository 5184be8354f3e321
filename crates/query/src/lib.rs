//! Answers questions about stored profiles: selector + range + report -> columns.
//!
//! Reads [`store::part::Part`]s, the head and blocks alike, and knows neither HTTP nor protobuf nor Arrow:
//! requests and reports are plain types that `server` translates. Calls are synchronous and meant for a
//! thread that may block; they heed a deadline and a cancel flag, and work on the parts of a query in
//! parallel on a bounded number of threads.
//!
//! Map: [`engine`] the front door · [`request`] what may be asked, and its validation · [`report`] answers
//! as columns · [`selector`] which series · [`error`] refusals.

mod answer;
mod catalogue;
pub mod engine;
pub mod error;
mod export;
mod flame;
mod frames;
mod merge;
mod metadata;
mod pick;
mod range;
pub mod report;
pub mod request;
pub mod selector;
mod table;

pub use engine::{Context, Engine, EngineOptions, Source};
pub use error::{ErrorKind, QueryError};
pub use report::{FlameGraph, ProfileMetadata, QueryReply, RangeSample, Report, Series, Table};
pub use request::{LabelsRequest, QueryRequest, RangeRequest, ReportType, Selection, TypesRequest, ValuesRequest};
