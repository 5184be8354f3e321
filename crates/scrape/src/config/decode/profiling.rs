//! `profiling_config`, and how it is merged with the defaults.

use std::collections::BTreeMap;

use super::super::{DEFAULT_PROFILES, ProfileConfig, SampleType};
use super::reader::Reader;
use crate::go::join_path;
use crate::yaml::NodeIx;

const PROFILING_KEYS: [&str; 2] = ["pprof_config", "path_prefix"];
const PROFILE_KEYS: [&str; 5] = ["enabled", "path", "delta", "keep_sample_type", "seconds"];
const SAMPLE_TYPE_KEYS: [&str; 2] = ["type", "unit"];

/// `profiling_config` as written.
#[derive(Default)]
pub(super) struct Profiling {
    path_prefix: String,
    /// A null entry of one of Parca's five stands for its default and is left out.
    written: BTreeMap<String, WrittenProfile>,
}

#[derive(Default)]
struct WrittenProfile {
    enabled: Option<bool>,
    config: ProfileConfig,
}

impl Profiling {
    /// An entry keeps what it says; what it does not say of `enabled` and `path`, and of nothing else, comes from the
    /// default of its name. So an entry for `process_cpu` that does not say `delta: true` is not a delta profile.
    pub(super) fn merged_with_defaults(self) -> BTreeMap<String, ProfileConfig> {
        let mut profiles: BTreeMap<String, ProfileConfig> = BTreeMap::new();
        for (name, written) in self.written {
            let default = ProfileConfig::default_of(&name).unwrap_or_default();
            let mut profile = written.config;
            profile.enabled = written.enabled.unwrap_or(default.enabled);
            if profile.path.is_empty() {
                profile.path = default.path;
            }
            profiles.insert(name, profile);
        }
        for (name, _) in DEFAULT_PROFILES {
            if let Some(default) = ProfileConfig::default_of(name) {
                profiles.entry(name.to_owned()).or_insert(default);
            }
        }
        if !self.path_prefix.is_empty() {
            for profile in profiles.values_mut() {
                profile.path = join_path(&self.path_prefix, &profile.path);
            }
        }
        profiles
    }
}

pub(super) fn profiling_config(reader: &mut Reader, node: NodeIx) -> Profiling {
    let mut profiling = Profiling::default();
    for entry in reader.mapping(node, "profiling_config").unwrap_or_default() {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "path_prefix" => reader.string_into(entry.value, &mut profiling.path_prefix),
            "pprof_config" => {
                for profile in reader.mapping(entry.value, "pprof_config").unwrap_or_default() {
                    reader.within(&profile, |reader| {
                        let is_default = ProfileConfig::default_of(&profile.name).is_some();
                        if !reader.is_null(profile.value) {
                            let written = profile_config(reader, profile.value);
                            profiling.written.insert(profile.name.clone(), written);
                        } else if !is_default {
                            let message = "is empty: say at least enabled and path, or remove it";
                            reader.invalid(profile.mark, "", message);
                        }
                    });
                }
            }
            _ => reader.unknown_key(&entry, &PROFILING_KEYS),
        });
    }
    profiling
}

fn profile_config(reader: &mut Reader, node: NodeIx) -> WrittenProfile {
    let mut written = WrittenProfile::default();
    let profile = &mut written.config;
    for entry in reader.mapping(node, "a profile's configuration").unwrap_or_default() {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "enabled" => {
                let mut enabled = false;
                let issues_before = reader.issue_count();
                reader.bool_into(entry.value, &mut enabled);
                let was_set = !reader.is_null(entry.value) && reader.issue_count() == issues_before;
                written.enabled = was_set.then_some(enabled);
            }
            "path" => reader.string_into(entry.value, &mut profile.path),
            "delta" => reader.bool_into(entry.value, &mut profile.delta),
            "seconds" => reader.i64_into(entry.value, &mut profile.seconds),
            "keep_sample_type" => {
                for (i, item) in
                    reader.sequence(entry.value, "a list of sample types").unwrap_or_default().into_iter().enumerate()
                {
                    if !reader.is_null(item) {
                        let kept = reader.within_item(i, |reader| sample_type(reader, item));
                        profile.keep_sample_types.extend(kept);
                    }
                }
            }
            _ => reader.unknown_key(&entry, &PROFILE_KEYS),
        });
    }
    written
}

fn sample_type(reader: &mut Reader, node: NodeIx) -> Option<SampleType> {
    let mut sample_type = SampleType::default();
    for entry in reader.mapping(node, "a sample type")? {
        reader.within(&entry, |reader| match entry.name.as_str() {
            "type" => reader.string_into(entry.value, &mut sample_type.name),
            "unit" => reader.string_into(entry.value, &mut sample_type.unit),
            _ => reader.unknown_key(&entry, &SAMPLE_TYPE_KEYS),
        });
    }
    Some(sample_type)
}
