//! What a merge is made of: binaries and label names.

use std::collections::BTreeSet;

use profile::NONE;

use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::merge::{Scope, Side};
use crate::pick::set_labels;
use crate::report::ProfileMetadata;

pub(crate) fn merged(engine: &Engine, context: &Context, scope: &Scope) -> Result<ProfileMetadata, QueryError> {
    let side = Side::sum(engine, context, scope)?;
    let mut mapping_files = BTreeSet::new();
    for part in &side.parts {
        let symbols = &part.symbols.symbols;
        let mut location_seen = vec![false; symbols.locations.len()];
        for (stack, _) in part.sums.seen.iter().enumerate().filter(|(_, seen)| **seen) {
            for &location in part.symbols.stacks.get(stack as u32) {
                location_seen[location as usize] = true;
            }
        }
        // the last row is for locations without a mapping
        let mut mapping_seen = vec![false; symbols.mappings.len() + 1];
        for (location, _) in location_seen.iter().enumerate().filter(|(_, seen)| **seen) {
            let mapping = symbols.locations.mapping[location];
            let row = if mapping == NONE { symbols.mappings.len() } else { mapping as usize };
            mapping_seen[row] = true;
        }
        for (row, _) in mapping_seen.iter().enumerate().filter(|(_, seen)| **seen) {
            let file = symbols.mappings.file.get(row).map_or("".into(), |&file| symbols.strings.get_str(file));
            mapping_files.insert(file.into_owned());
        }
        context.check()?;
    }
    Ok(ProfileMetadata {
        mapping_files: mapping_files.into_iter().collect(),
        labels: label_names(engine, context, scope)?.into_iter().collect(),
    })
}

fn label_names(engine: &Engine, context: &Context, scope: &Scope) -> Result<BTreeSet<String>, QueryError> {
    let mut names = BTreeSet::new();
    for picks in scope.picks(engine, context)? {
        let mut streams: Vec<_> = picks.picked.iter().map(|picked| (picked.stream, &picked.label_sets)).collect();
        streams.dedup_by_key(|(stream, _)| *stream);
        streams.sort_by_key(|(stream, _)| *stream);
        streams.dedup_by_key(|(stream, _)| *stream);
        for (stream, filter) in streams {
            let labels = &picks.part.streams()[stream as usize].labels;
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
            let of_stream = picks.part.stream_label_sets(stream)?;
            if of_stream.iter().any(|&set| set != 0) {
                let sets = picks.part.label_sets()?;
                let wanted = of_stream.iter().filter(|&&set| filter.as_ref().is_none_or(|filter| filter[set as usize]));
                names.extend(wanted.flat_map(|&set| set_labels(&sets, set)).map(|(name, _)| name.into_owned()));
            }
        }
    }
    Ok(names)
}
