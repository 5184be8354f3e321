//! The messages of the contract (`proto/`) that the tests need, field by field.

use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct LabelSet {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
}

impl LabelSet {
    pub fn new(labels: &[(&str, &str)]) -> LabelSet {
        let labels = labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() });
        LabelSet { labels: labels.collect() }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct RawSample {
    #[prost(bytes = "vec", tag = "1")]
    pub raw_profile: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RawProfileSeries {
    #[prost(message, optional, tag = "1")]
    pub labels: Option<LabelSet>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<RawSample>,
}

#[derive(Clone, PartialEq, Message)]
pub struct WriteRawRequest {
    #[prost(message, repeated, tag = "2")]
    pub series: Vec<RawProfileSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub struct WriteArrowRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub ipc_buffer: Vec<u8>,
}

/// The replies have the same form.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub record: Vec<u8>,
}

/// Its parts as bytes: they differ from version to version.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub resource_profiles: Vec<Vec<u8>>,
    #[prost(bytes = "vec", tag = "2")]
    pub dictionary: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ProfileType {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub sample_type: String,
    #[prost(string, tag = "3")]
    pub sample_unit: String,
    #[prost(string, tag = "4")]
    pub period_type: String,
    #[prost(string, tag = "5")]
    pub period_unit: String,
    #[prost(bool, tag = "6")]
    pub delta: bool,
}

impl ProfileType {
    pub fn selector(&self) -> String {
        let ProfileType { name, sample_type, sample_unit, period_type, period_unit, delta } = self;
        let delta = if *delta { ":delta" } else { "" };
        format!("{name}:{sample_type}:{sample_unit}:{period_type}:{period_unit}{delta}")
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ProfileTypesResponse {
    #[prost(message, repeated, tag = "1")]
    pub types: Vec<ProfileType>,
}

/// A reply without fields, or whose fields do not matter.
#[derive(Clone, PartialEq, Message)]
pub struct Nothing {}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// Also the form of a duration.
pub type Duration = Timestamp;

impl Timestamp {
    pub fn of_seconds(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanos: 0 }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryRangeRequest {
    #[prost(string, tag = "1")]
    pub query: String,
    #[prost(message, optional, tag = "2")]
    pub start: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub end: Option<Timestamp>,
    #[prost(message, optional, tag = "5")]
    pub step: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricsSample {
    #[prost(message, optional, tag = "1")]
    pub timestamp: Option<Timestamp>,
    #[prost(int64, tag = "2")]
    pub value: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct MetricsSeries {
    #[prost(message, optional, tag = "1")]
    pub labelset: Option<LabelSet>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<MetricsSample>,
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryRangeResponse {
    #[prost(message, repeated, tag = "1")]
    pub series: Vec<MetricsSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MergeProfile {
    #[prost(string, tag = "1")]
    pub query: String,
    #[prost(message, optional, tag = "2")]
    pub start: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub end: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SingleProfile {
    #[prost(message, optional, tag = "1")]
    pub time: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub query: String,
}

/// One side of a comparison: mode 0 with a single profile, mode 1 with a merge.
#[derive(Clone, PartialEq, Message)]
pub struct DiffSelection {
    #[prost(int32, tag = "1")]
    pub mode: i32,
    #[prost(message, optional, tag = "2")]
    pub merge: Option<MergeProfile>,
    #[prost(message, optional, tag = "3")]
    pub single: Option<SingleProfile>,
}

#[derive(Clone, PartialEq, Message)]
pub struct DiffProfile {
    #[prost(message, optional, tag = "1")]
    pub a: Option<DiffSelection>,
    #[prost(message, optional, tag = "2")]
    pub b: Option<DiffSelection>,
    #[prost(bool, optional, tag = "3")]
    pub absolute: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub struct GroupBy {
    #[prost(string, repeated, tag = "1")]
    pub fields: Vec<String>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum StringCondition {
    #[prost(string, tag = "3")]
    Contains(String),
    #[prost(string, tag = "4")]
    NotContains(String),
}

#[derive(Clone, PartialEq, Message)]
pub struct FunctionName {
    #[prost(oneof = "StringCondition", tags = "3, 4")]
    pub condition: Option<StringCondition>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FilterCriteria {
    #[prost(message, optional, tag = "1")]
    pub function_name: Option<FunctionName>,
}

/// Criteria of a stack filter and of a frame filter.
#[derive(Clone, PartialEq, Message)]
pub struct Criteria {
    #[prost(message, optional, tag = "2")]
    pub criteria: Option<FilterCriteria>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum FilterOf {
    #[prost(message, tag = "1")]
    Stack(Criteria),
    #[prost(message, tag = "2")]
    Frame(Criteria),
}

#[derive(Clone, PartialEq, Message)]
pub struct Filter {
    #[prost(oneof = "FilterOf", tags = "1, 2")]
    pub filter: Option<FilterOf>,
}

pub const MODE_SINGLE: i32 = 0;
pub const MODE_DIFF: i32 = 1;
pub const MODE_MERGE: i32 = 2;
pub const REPORT_PPROF: i32 = 1;
pub const REPORT_FLAMEGRAPH_ARROW: i32 = 5;
pub const REPORT_FLAMECHART: i32 = 9;

#[derive(Clone, PartialEq, Message)]
pub struct QueryRequest {
    #[prost(int32, tag = "1")]
    pub mode: i32,
    #[prost(message, optional, tag = "2")]
    pub diff: Option<DiffProfile>,
    #[prost(message, optional, tag = "3")]
    pub merge: Option<MergeProfile>,
    #[prost(message, optional, tag = "4")]
    pub single: Option<SingleProfile>,
    #[prost(int32, tag = "5")]
    pub report_type: i32,
    #[prost(float, optional, tag = "7")]
    pub node_trim_threshold: Option<f32>,
    #[prost(message, optional, tag = "8")]
    pub group_by: Option<GroupBy>,
    #[prost(bool, optional, tag = "11")]
    pub invert_call_stack: Option<bool>,
    #[prost(message, repeated, tag = "12")]
    pub filter: Vec<Filter>,
    #[prost(string, optional, tag = "13")]
    pub sandwich_by_function: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct FlamegraphArrow {
    #[prost(bytes = "vec", tag = "1")]
    pub record: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub height: i32,
    #[prost(int64, tag = "4")]
    pub trimmed: i64,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Report {
    #[prost(bytes, tag = "6")]
    Pprof(Vec<u8>),
    #[prost(message, tag = "11")]
    FlamegraphArrow(FlamegraphArrow),
}

#[derive(Clone, PartialEq, Message)]
pub struct QueryResponse {
    #[prost(oneof = "Report", tags = "6, 11")]
    pub report: Option<Report>,
    #[prost(int64, tag = "9")]
    pub total: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct HasProfileDataResponse {
    #[prost(bool, tag = "1")]
    pub has_data: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct TargetsResponse {
    #[prost(map = "string, message", tag = "1")]
    pub targets: std::collections::HashMap<String, Targets>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Targets {
    #[prost(message, repeated, tag = "1")]
    pub targets: Vec<Target>,
}

pub const HEALTH_GOOD: i32 = 1;
pub const HEALTH_BAD: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct Target {
    #[prost(string, tag = "3")]
    pub last_error: String,
    #[prost(string, tag = "6")]
    pub url: String,
    #[prost(int32, tag = "7")]
    pub health: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ShouldInitiateUploadRequest {
    #[prost(string, tag = "1")]
    pub build_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ShouldInitiateUploadResponse {
    #[prost(bool, tag = "1")]
    pub should_initiate_upload: bool,
    #[prost(string, tag = "2")]
    pub reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct InitiateUploadRequest {
    #[prost(string, tag = "1")]
    pub build_id: String,
    #[prost(int64, tag = "2")]
    pub size: i64,
    #[prost(string, tag = "3")]
    pub hash: String,
    #[prost(bool, tag = "4")]
    pub force: bool,
}

pub const STRATEGY_GRPC: i32 = 1;
pub const STRATEGY_SIGNED_URL: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub struct UploadInstructions {
    #[prost(string, tag = "1")]
    pub build_id: String,
    #[prost(string, tag = "2")]
    pub upload_id: String,
    #[prost(int32, tag = "3")]
    pub upload_strategy: i32,
    #[prost(string, tag = "4")]
    pub signed_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct InitiateUploadResponse {
    #[prost(message, optional, tag = "1")]
    pub upload_instructions: Option<UploadInstructions>,
}

#[derive(Clone, PartialEq, Message)]
pub struct MarkUploadFinishedRequest {
    #[prost(string, tag = "1")]
    pub build_id: String,
    #[prost(string, tag = "2")]
    pub upload_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct UploadInfo {
    #[prost(string, tag = "1")]
    pub build_id: String,
    #[prost(string, tag = "2")]
    pub upload_id: String,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum UploadData {
    #[prost(message, tag = "1")]
    Info(UploadInfo),
    #[prost(bytes, tag = "2")]
    ChunkData(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
pub struct UploadRequest {
    #[prost(oneof = "UploadData", tags = "1, 2")]
    pub data: Option<UploadData>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UploadResponse {
    #[prost(string, tag = "1")]
    pub build_id: String,
    #[prost(uint64, tag = "2")]
    pub size: u64,
}
