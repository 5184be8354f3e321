//! What a block holds, by profile type: enough to list types, label names and values without reading its profiles.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashMapExt};
use profile::{ProfileType, ValueType};
use serde::{Deserialize, Serialize};

use super::profiles::ProfileRows;
use crate::part::PartLabelSets;

/// Values listed per label name; more are only told of.
pub const LABEL_VALUES_MAX: usize = 10_000;

/// In `meta.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// Types for which some sample has a value other than 0; sorted.
    pub types: Vec<TypeContents>,
    /// Distinct; several types may share one. By label name.
    pub labels: Vec<BTreeMap<String, LabelValues>>,
}

/// One profile type, and the labels that occur with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TypeContents {
    pub name: String,
    /// Type and unit.
    pub sample: [String; 2],
    pub period: [String; 2],
    pub delta: bool,
    /// Row in [`Contents::labels`]: of the streams that have a value of this type, and of their samples.
    pub labels: u32,
}

impl TypeContents {
    pub fn profile_type(&self) -> ProfileType {
        let [kind, unit] = self.sample.clone();
        let [period_kind, period_unit] = self.period.clone();
        ProfileType {
            name: self.name.clone(),
            sample: ValueType { kind, unit },
            period: ValueType { kind: period_kind, unit: period_unit },
            delta: self.delta,
        }
    }
}

/// Sorted values of one label; `more` if there are others.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LabelValues {
    pub values: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Gathers the contents of a block, partition by partition.
#[derive(Default)]
pub(crate) struct Gathering {
    /// Label name, then value, to a number.
    numbers: HashMap<String, HashMap<String, u32>>,
    pairs: Vec<(String, String)>,
    by_type: BTreeMap<ProfileType, BTreeSet<u32>>,
}

impl Gathering {
    /// `stream_sets` are the label sets of each stream's samples.
    pub(crate) fn add(&mut self, rows: &ProfileRows, stream_sets: &[Vec<u32>], sets: &PartLabelSets) {
        let mut present: Vec<Vec<bool>> =
            rows.streams.iter().map(|stream| vec![false; stream.sample_types.len()]).collect();
        for (row, &stream) in rows.table.stream.iter().enumerate() {
            let nonzero = &rows.table.nonzero[rows.values(row)];
            present[stream as usize].iter_mut().zip(nonzero).for_each(|(present, &nonzero)| *present |= nonzero > 0);
        }
        for ((stream, present), of_stream) in rows.streams.iter().zip(present).zip(stream_sets) {
            if !present.contains(&true) {
                continue;
            }
            let mut labels: Vec<u32> = stream.labels.iter().map(|(name, value)| self.number(name, value)).collect();
            for &set in of_stream {
                for row in sets.sets.rows(set).filter(|&row| sets.sets.str[row] != 0) {
                    let name = sets.strings.get_str(sets.sets.key[row]);
                    // the stream's label wins a clash
                    if stream.labels.get(&name).is_none() {
                        let value = sets.strings.get_str(sets.sets.str[row]);
                        labels.push(self.number(&name, &value));
                    }
                }
            }
            for value in (0..present.len()).filter(|&value| present[value]) {
                self.by_type.entry(stream.profile_type(value)).or_default().extend(&labels);
            }
        }
    }

    fn number(&mut self, name: &str, value: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name).and_then(|values| values.get(value)) {
            return number;
        }
        let number = self.pairs.len() as u32;
        self.pairs.push((name.to_owned(), value.to_owned()));
        self.numbers.entry(name.to_owned()).or_default().insert(value.to_owned(), number);
        number
    }

    pub(crate) fn finish(self) -> Contents {
        let mut contents = Contents::default();
        let mut rows: HashMap<BTreeSet<u32>, u32> = HashMap::new();
        for (of, labels) in self.by_type {
            let next = contents.labels.len() as u32;
            let row = *rows.entry(labels).or_insert_with_key(|labels| {
                contents.labels.push(listed(labels.iter().map(|&number| &self.pairs[number as usize])));
                next
            });
            let ProfileType { name, sample, period, delta } = of;
            contents.types.push(TypeContents {
                name,
                sample: [sample.kind, sample.unit],
                period: [period.kind, period.unit],
                delta,
                labels: row,
            });
        }
        contents
    }
}

fn listed<'a>(pairs: impl Iterator<Item = &'a (String, String)>) -> BTreeMap<String, LabelValues> {
    let mut labels: BTreeMap<String, LabelValues> = BTreeMap::new();
    for (name, value) in pairs {
        labels.entry(name.clone()).or_default().values.push(value.clone());
    }
    for of_name in labels.values_mut() {
        of_name.values.sort_unstable();
        of_name.more = of_name.values.len() > LABEL_VALUES_MAX;
        of_name.values.truncate(LABEL_VALUES_MAX);
    }
    labels
}
