//! Answers questions about stored profiles: selector + range + report -> columns.
//!
//! Reads [`store::part::Part`]s, the head and blocks alike, and knows neither HTTP nor protobuf nor Arrow:
//! requests and reports are plain types that `server` translates. Calls are synchronous and meant for a
//! thread that may block; they heed a deadline and a cancel flag, and work on the parts of a query in
//! parallel on a bounded number of threads.
//!
//! Map: [`engine`] the front door · [`request`] what may be asked, and its validation · [`selector`] the
//! query language · [`report`] answers as columns · [`error`] refusals. Behind the door: `pick` which values
//! of which profiles a selector means; `catalogue` types, labels, values; `range` values over time; `merge`
//! sums by stack, part by part; `view` (with [`filter`]) what a request looks at of them; `groups` the same by labels;
//! `answer` from there to a report: `flame` and `nested` (with `frames`); `table`, `top` and `callgraph` (with `functions`); `chart`; `source`;
//! `export` (pprof), `metadata`.

mod answer;
mod apart;
mod callgraph;
mod catalogue;
mod chart;
pub mod engine;
pub mod error;
mod export;
pub mod filter;
mod flame;
mod frames;
mod functions;
mod groups;
mod merge;
mod metadata;
mod nested;
mod pick;
mod range;
pub mod report;
pub mod request;
pub mod selector;
mod source;
mod table;
mod top;
pub mod view;

pub use engine::{Context, Engine, EngineOptions, Source};
pub use error::{ErrorKind, QueryError};
pub use report::{
    CallGraph, FlameGraph, NestedFlameGraph, ProfileMetadata, QueryReply, RangeSample, Report, Series, SeriesName,
    SourceLines, Table, Top,
};
pub use request::{
    LabelsRequest, QueryRequest, RangeRequest, ReportType, Selection, SeriesRequest, SourceReference, TypesRequest,
    ValuesRequest,
};
pub use view::View;
