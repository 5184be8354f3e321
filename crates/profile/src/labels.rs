//! Label sets, and the stream: the unit that a profile belongs to.

use crate::types::{ProfileType, ValueType};

/// Label names and values, sorted by name, each name once, no empty value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Sorts by name; of one name the last wins; an empty value is the same as no label and is left out.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut sorted: Vec<(String, String)> = pairs.into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut kept: Vec<(String, String)> = Vec::with_capacity(sorted.len());
        for pair in sorted {
            match kept.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => kept.push(pair),
            }
        }
        kept.retain(|(_, value)| !value.is_empty());
        Self(kept)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok()?;
        Some(&self.0[found].1)
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What stays the same from one profile of a source to the next. A *series*, as the API shows it, is a
/// stream, one of its sample types and the samples' own labels.
///
/// `tenant` is a reserved, unforgeable part of the key; the default tenant is the empty string.
/// `labels` never holds `__name__` (that is `name`) nor any other label that begins with `__`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stream {
    pub tenant: String,
    pub name: String,
    pub labels: Labels,
    pub period_type: ValueType,
    /// Whether values cover a duration (`duration_nanos != 0`) rather than a moment.
    pub delta: bool,
    /// In the order of the values of each sample; at least one, at most [`crate::batch::SAMPLE_TYPES_MAX`].
    pub sample_types: Vec<ValueType>,
}

impl Stream {
    /// The API's name for values of `self.sample_types[value_ix]`.
    pub fn profile_type(&self, value_ix: usize) -> ProfileType {
        ProfileType {
            name: self.name.clone(),
            sample: self.sample_types[value_ix].clone(),
            period: self.period_type.clone(),
            delta: self.delta,
        }
    }
}
