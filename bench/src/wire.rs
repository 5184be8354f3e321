//! The few messages of Parca's API that figures send, written out here: a client of ours must not share the server's code.

use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, key_len, skip_field};

/// The CPU profiles of the corpora.
pub const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";

#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteRawRequest {
    #[prost(message, repeated, tag = "2")]
    pub series: Vec<RawProfileSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RawProfileSeries {
    #[prost(message, optional, tag = "1")]
    pub labels: Option<LabelSet>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<RawSample>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct LabelSet {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct RawSample {
    #[prost(bytes = "bytes", tag = "1")]
    pub raw_profile: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteArrowRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub ipc_buffer: bytes::Bytes,
}

/// Its parts as bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ExportRequest {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub resource_profiles: Vec<bytes::Bytes>,
    #[prost(bytes = "bytes", tag = "2")]
    pub dictionary: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryRequest {
    #[prost(int32, tag = "1")]
    pub mode: i32,
    #[prost(message, optional, tag = "3")]
    pub merge: Option<MergeProfile>,
    #[prost(int32, tag = "5")]
    pub report_type: i32,
    #[prost(message, optional, tag = "9")]
    pub source_reference: Option<SourceReference>,
    #[prost(message, optional, tag = "8")]
    pub group_by: Option<GroupBy>,
    #[prost(bool, tag = "11")]
    pub invert_call_stack: bool,
    #[prost(message, repeated, tag = "12")]
    pub filter: Vec<Filter>,
    #[prost(string, tag = "13")]
    pub sandwich_by_function: String,
}

impl QueryRequest {
    /// The CPU time of all that was written.
    pub fn merge_of_everything(report_type: i32) -> Self {
        let merge = MergeProfile {
            query: CPU.to_owned(),
            start: Some(Timestamp { seconds: 1, nanos: 0 }),
            end: Some(Timestamp { seconds: 4_000_000_000, nanos: 0 }),
        };
        Self { mode: 2, merge: Some(merge), report_type, ..Self::default() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GroupBy {
    #[prost(string, repeated, tag = "1")]
    pub fields: Vec<String>,
}

/// One of both.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Filter {
    #[prost(message, optional, tag = "1")]
    pub stack: Option<Criteria>,
    #[prost(message, optional, tag = "2")]
    pub frame: Option<Criteria>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Criteria {
    #[prost(message, optional, tag = "2")]
    pub criteria: Option<FunctionName>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FunctionName {
    #[prost(message, optional, tag = "1")]
    pub condition: Option<TextCondition>,
}

/// One of them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TextCondition {
    #[prost(string, optional, tag = "3")]
    pub contains: Option<String>,
    #[prost(string, optional, tag = "4")]
    pub not_contains: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub not_starts_with: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SourceReference {
    #[prost(string, tag = "2")]
    pub filename: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MergeProfile {
    #[prost(string, tag = "1")]
    pub query: String,
    #[prost(message, optional, tag = "2")]
    pub start: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub end: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryResponse {
    #[prost(int64, tag = "9")]
    pub total: i64,
    #[prost(message, optional, tag = "11")]
    pub flamegraph_arrow: Option<FlamegraphArrow>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct FlamegraphArrow {
    #[prost(bytes = "bytes", tag = "1")]
    pub record: bytes::Bytes,
}

/// A reply of which nothing is looked at.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}

/// Any message; how long it is, and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Length {
    pub bytes: usize,
}

impl prost::Message for Length {
    fn encode_raw(&self, _: &mut impl BufMut) {}

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let before = buffer.remaining();
        skip_field(wire_type, tag, buffer, context)?;
        self.bytes += key_len(tag) + before - buffer.remaining();
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        0
    }

    fn clear(&mut self) {
        self.bytes = 0;
    }
}
