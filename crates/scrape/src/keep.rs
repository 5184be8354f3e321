//! `keep_sample_type`: reduces a profile to some of its sample types before it is stored.

use bytes::Bytes;
use profile::pprof::{Defect, Ids, Limits, Pprof, Scratch, decode, encode, gzip};
use profile::{Stacks, StringIx};

use crate::config::SampleType;

/// Why a profile could not be reduced.
#[derive(Debug)]
pub(crate) enum KeepError {
    /// Not a profile.
    Defect(Defect),
    /// None of the types to keep is among those of the profile, which are listed.
    NothingKept(Vec<SampleType>),
}

/// The payload with only the types of `keep`, in their order in the profile, packed with gzip. Samples of which every
/// value that remains is 0 are left out, as in Parca. The payload itself if the profile has only such types.
pub(crate) fn sample_types(payload: &Bytes, keep: &[SampleType]) -> Result<Bytes, KeepError> {
    // scraped profiles may number their locations as they like, and are numbered anew
    let decoded = decode(payload, Ids::Unique, &Limits::default(), &mut Scratch::default());
    let mut profile = decoded.map_err(KeepError::Defect)?;
    let types: Vec<SampleType> = profile.sample_types.iter().map(|&(name, unit)| named(&profile, name, unit)).collect();
    let kept: Vec<usize> = (0..types.len()).filter(|&ix| keep.contains(&types[ix])).collect();
    if kept.is_empty() {
        return Err(KeepError::NothingKept(types));
    }
    if kept.len() == types.len() {
        return Ok(payload.clone());
    }
    keep_columns(&mut profile, &kept);
    Ok(gzip(&encode(&profile)).into())
}

fn named(profile: &Pprof, name: StringIx, unit: StringIx) -> SampleType {
    let text = |ix| profile.strings().get_str(ix).into_owned();
    SampleType { name: text(name), unit: text(unit) }
}

/// `kept` are columns of the values, in ascending order, at least one.
fn keep_columns(profile: &mut Pprof, kept: &[usize]) {
    let width = profile.sample_types.len();
    profile.sample_types = kept.iter().map(|&column| profile.sample_types[column]).collect();
    let all_values = std::mem::take(&mut profile.values);
    let all_stacks = std::mem::take(&mut profile.stacks);
    let all_label_sets = std::mem::take(&mut profile.label_set);
    let mut stacks = Stacks::default();
    for (sample, row) in all_values.chunks_exact(width).enumerate() {
        if kept.iter().all(|&column| row[column] == 0) {
            continue;
        }
        profile.values.extend(kept.iter().map(|&column| row[column]));
        stacks.push(all_stacks.get(sample as u32));
        profile.label_set.extend(all_label_sets.get(sample));
    }
    profile.stacks = stacks;
}

impl std::fmt::Display for KeepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeepError::Defect(defect) => defect.fmt(f),
            KeepError::NothingKept(types) => {
                let types: Vec<String> = types.iter().map(|kind| format!("{}/{}", kind.name, kind.unit)).collect();
                write!(f, "none of the profile's sample types is in keep_sample_type; it has {}", types.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(name: &str) -> SampleType {
        SampleType { name: name.to_owned(), unit: "count".to_owned() }
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];

    /// A profile with three types and no locations.
    fn payload(samples: &[[i64; 3]]) -> Bytes {
        let mut profile = Pprof::default();
        let mut strings = profile::Strings::with_empty();
        let unit = strings.push(b"count");
        profile.sample_types = NAMES.iter().map(|name| (strings.push(name.as_bytes()), unit)).collect();
        profile.symbols.strings = strings;
        profile.time = 12345;
        for values in samples {
            profile.stacks.push(&[]);
            profile.values.extend(values);
        }
        encode(&profile).into()
    }

    fn read(payload: &[u8]) -> Pprof {
        decode(payload, Ids::Sequential, &Limits::default(), &mut Scratch::default()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_kept_are_the_values_of_the_kept_types(
            samples in proptest::collection::vec(proptest::array::uniform3(-1i64..2), 0..20),
            wanted in proptest::array::uniform3(proptest::bool::ANY),
        ) {
            let keep: Vec<SampleType> =
                NAMES.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(name, _)| kind(name)).collect();
            let original = payload(&samples);
            match sample_types(&original, &keep) {
                Err(KeepError::NothingKept(types)) => {
                    prop_assert!(keep.is_empty());
                    prop_assert_eq!(types, NAMES.map(kind).to_vec());
                }
                Err(error) => prop_assert!(false, "{}", error),
                Ok(same) if keep.len() == NAMES.len() => prop_assert_eq!(same, original),
                Ok(reduced) => {
                    let reduced = read(&reduced);
                    let types: Vec<SampleType> =
                        reduced.sample_types.iter().map(|&(name, unit)| named(&reduced, name, unit)).collect();
                    prop_assert_eq!(types, keep);
                    let naive: Vec<i64> = samples
                        .iter()
                        .map(|row| row.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(value, _)| *value).collect())
                        .filter(|row: &Vec<i64>| row.iter().any(|value| *value != 0))
                        .flatten()
                        .collect();
                    prop_assert_eq!(reduced.values, naive);
                    prop_assert_eq!(reduced.time, 12345);
                }
            }
        }
    }
}
