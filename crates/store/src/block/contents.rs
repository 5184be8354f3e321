//! What a block holds, by profile type: enough to list types, label names and values without reading its profiles.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::{HashMap, HashMapExt};
use profile::{Labels, ProfileType, Stream, ValueType};
use serde::{Deserialize, Serialize};

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
    /// Row in [`Contents::labels`]: of the streams and samples that have a value of this type.
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

/// The label sets that the samples of one stream have, by sample type; samples without a value do not count.
pub(crate) struct SeenSets {
    by_value: Vec<BTreeSet<u32>>,
    /// The set noted last, by sample type: neighbours mostly share one.
    last: Vec<Option<u32>>,
}

impl SeenSets {
    pub(crate) fn new(sample_types: usize) -> Self {
        Self { by_value: vec![BTreeSet::new(); sample_types], last: vec![None; sample_types] }
    }

    pub(crate) fn note(&mut self, set: u32, sample_type: usize, value: i64) {
        if value != 0 && self.last[sample_type] != Some(set) {
            self.last[sample_type] = Some(set);
            self.by_value[sample_type].insert(set);
        }
    }

    /// Of samples with a value of any type, ascending.
    pub(crate) fn all(&self) -> Vec<u32> {
        let all: BTreeSet<u32> = self.by_value.iter().flatten().copied().collect();
        all.into_iter().collect()
    }
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
    pub(crate) fn add(&mut self, streams: &[Stream], stream_sets: &[SeenSets], sets: &PartLabelSets) {
        for (stream, of_stream) in streams.iter().zip(stream_sets) {
            let own: Vec<u32> = stream.labels.iter().map(|(name, value)| self.number(name, value)).collect();
            // sets of one stream mostly come with several of its types
            let mut known: HashMap<u32, Vec<u32>> = HashMap::new();
            for (value, of_value) in of_stream.by_value.iter().enumerate().filter(|(_, seen)| !seen.is_empty()) {
                let mut labels: BTreeSet<u32> = own.iter().copied().collect();
                for &set in of_value {
                    let of_set = known.entry(set).or_insert_with(|| self.numbers_of(set, sets, &stream.labels));
                    labels.extend(of_set.iter());
                }
                self.by_type.entry(stream.profile_type(value)).or_default().extend(labels);
            }
        }
    }

    /// The labels of a set that a stream with the labels `own` has not: its own win a clash.
    fn numbers_of(&mut self, set: u32, sets: &PartLabelSets, own: &Labels) -> Vec<u32> {
        let mut numbers = Vec::new();
        for row in sets.sets.rows(set).filter(|&row| sets.sets.str[row] != 0) {
            let name = sets.strings.get_str(sets.sets.key[row]);
            if own.get(&name).is_none() {
                numbers.push(self.number(&name, &sets.strings.get_str(sets.sets.str[row])));
            }
        }
        numbers
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
