//! Made-up profiles, written by a protobuf library and not by the codec under test.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct ValueType {
    #[prost(int64, tag = "1")]
    pub kind: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
}

/// Type of the first value of [`cpu`], as a selector names it.
/// (`samples:count` would be answered times the period.)
pub const CALLS: &str = "e2e_cpu:calls:count:cpu:nanoseconds:delta";

/// Type of the second value of [`cpu`].
pub const CPU: &str = "e2e_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";

/// The `__name__` of what [`cpu`] makes.
pub const NAME: &str = "e2e_cpu";

/// A CPU profile of one second with the stacks `stacks` (frames by number, leaf first) and a count for each; a count is 10 ms
/// of CPU time, as at 100 Hz.
pub fn cpu(time_seconds: i64, stacks: &[(Vec<u64>, i64)]) -> Vec<u8> {
    // Parca wants the ids of functions to count from 1 without a gap.
    let frames: BTreeSet<u64> = stacks.iter().flat_map(|(frames, _)| frames.iter().copied()).collect();
    let ids: BTreeMap<u64, u64> = frames.into_iter().zip(1..).collect();
    let mut string_table: Vec<String> =
        ["", "calls", "count", "cpu", "nanoseconds"].iter().map(|text| (*text).to_owned()).collect();
    let (mut location, mut function) = (Vec::new(), Vec::new());
    for (frame, &id) in &ids {
        function.push(Function { id, name: string_table.len() as i64 });
        string_table.push(format!("e2e::frame_{frame}"));
        location.push(Location { id, line: vec![Line { function_id: id, line: 1 }] });
    }
    let sample = stacks.iter().map(|(frames, count)| Sample {
        location_id: frames.iter().map(|frame| ids[frame]).collect(),
        value: vec![*count, count * 10_000_000],
    });
    let profile = Profile {
        sample_type: vec![ValueType { kind: 1, unit: 2 }, ValueType { kind: 3, unit: 4 }],
        sample: sample.collect(),
        location,
        function,
        string_table,
        time_nanos: time_seconds * 1_000_000_000,
        duration_nanos: 1_000_000_000,
        period_type: Some(ValueType { kind: 3, unit: 4 }),
        period: 10_000_000,
    };
    profile.encode_to_vec()
}
