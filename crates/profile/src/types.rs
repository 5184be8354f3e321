//! What a value means: sample types, period types and the six-part profile type of Parca's API.

use std::fmt;

/// A type and its unit, such as `cpu` in `nanoseconds`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueType {
    pub kind: String,
    pub unit: String,
}

impl ValueType {
    pub fn new(kind: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { kind: kind.into(), unit: unit.into() }
    }
}

/// One series kind as Parca's API names it:
/// `name:sample_type:sample_unit:period_type:period_unit[:delta]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProfileType {
    pub name: String,
    pub sample: ValueType,
    pub period: ValueType,
    pub delta: bool,
}

impl fmt::Display for ProfileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sample, period, delta } = self;
        write!(f, "{name}:{}:{}:{}:{}", sample.kind, sample.unit, period.kind, period.unit)?;
        if *delta { f.write_str(":delta") } else { Ok(()) }
    }
}
