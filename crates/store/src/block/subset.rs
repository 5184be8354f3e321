//! What of a head's partition falls into one block, with rows numbered anew.

use std::sync::Arc;

use profile::{LabelSets, MappingRange, NONE, PprofExtras, Strings};

use crate::head::HeadPart;
use crate::part::{PartLabelSets, PartSymbols, ProfileExport};

/// Old row -> new row, in the old order; [`NONE`] for what is left out.
pub(crate) struct Renumbered(Vec<u32>);

impl Renumbered {
    fn of(used: &[bool]) -> Self {
        let mut next = 0;
        let number = |&used: &bool| match used {
            true => {
                next += 1;
                next - 1
            }
            false => NONE,
        };
        Self(used.iter().map(number).collect())
    }

    #[inline]
    pub(crate) fn get(&self, old: u32) -> u32 {
        if old == NONE { NONE } else { self.0[old as usize] }
    }

    fn kept(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, new)| **new != NONE).map(|(old, _)| old)
    }

    fn take<T: Copy>(&self, column: &[T]) -> Vec<T> {
        self.kept().map(|old| column[old]).collect()
    }

    fn take_named(&self, column: &[u32], names: &Renumbered) -> Vec<u32> {
        self.kept().map(|old| names.get(column[old])).collect()
    }
}

/// The symbols that some profiles of a part need. Orders stay, so runs sorted by stack stay sorted.
pub(crate) struct Subset {
    pub(crate) symbols: Arc<PartSymbols>,
    pub(crate) label_sets: Arc<PartLabelSets>,
    pub(crate) exports: Vec<ProfileExport>,
    /// Absent where all rows are kept.
    pub(crate) stacks: Option<Renumbered>,
    pub(crate) sets: Option<Renumbered>,
    pub(crate) export_ids: Option<Renumbered>,
}

impl Subset {
    /// `rows` are profiles of `part`, each once.
    pub(crate) fn of(part: &HeadPart, rows: &[u32]) -> Self {
        if rows.len() == part.rows.table.len() {
            return Self {
                symbols: part.symbols.clone(),
                label_sets: part.label_sets.clone(),
                exports: part.exports.to_vec(),
                stacks: None,
                sets: None,
                export_ids: None,
            };
        }
        let mut stacks = vec![false; part.symbols.stacks.len()];
        let mut sets = vec![false; part.label_sets.sets.len()];
        sets[0] = true;
        let mut exports = vec![false; part.exports.len()];
        for &row in rows {
            let row = row as usize;
            exports[part.rows.export[row] as usize] = true;
            part.run(row).each(part.rows.table.samples[row], 0, |stack, set, _, _| {
                stacks[stack as usize] = true;
                sets[set as usize] = true;
            });
        }
        let (stacks, sets, export_ids) = (Renumbered::of(&stacks), Renumbered::of(&sets), Renumbered::of(&exports));
        let kept: Vec<&ProfileExport> = export_ids.kept().map(|old| &part.exports[old]).collect();
        let (symbols, exports) = symbols_of(&part.symbols, &stacks, &kept);
        Self {
            symbols: Arc::new(symbols),
            label_sets: Arc::new(label_sets_of(&part.label_sets, &sets)),
            exports,
            stacks: Some(stacks),
            sets: Some(sets),
            export_ids: Some(export_ids),
        }
    }

    #[inline]
    pub(crate) fn stack(&self, old: u32) -> u32 {
        self.stacks.as_ref().map_or(old, |stacks| stacks.get(old))
    }

    #[inline]
    pub(crate) fn label_set(&self, old: u32) -> u32 {
        self.sets.as_ref().map_or(old, |sets| sets.get(old))
    }

    pub(crate) fn export(&self, old: u32) -> u32 {
        self.export_ids.as_ref().map_or(old, |exports| exports.get(old))
    }
}

fn mark(used: &mut [bool], row: u32) {
    if row != NONE {
        used[row as usize] = true;
    }
}

fn symbols_of(
    from: &PartSymbols,
    stack_ids: &Renumbered,
    exports: &[&ProfileExport],
) -> (PartSymbols, Vec<ProfileExport>) {
    let PartSymbols { symbols, stacks } = from;
    let mut locations = vec![false; symbols.locations.len()];
    for stack in stack_ids.kept() {
        stacks.get(stack as u32).iter().for_each(|&location| mark(&mut locations, location));
    }
    let location_ids = Renumbered::of(&locations);
    let mut mappings = vec![false; symbols.mappings.len()];
    let mut lines = vec![false; symbols.lines.line.len()];
    let mut functions = vec![false; symbols.functions.len()];
    for location in location_ids.kept() {
        mark(&mut mappings, symbols.locations.mapping[location]);
        for line in symbols.locations.lines(location as u32) {
            lines[line] = true;
            mark(&mut functions, symbols.lines.function[line]);
        }
    }
    let mut strings = vec![false; symbols.strings.len()];
    strings[0] = true;
    for export in exports {
        export.mappings.iter().for_each(|range| mark(&mut mappings, range.mapping));
        let PprofExtras { comments, drop_frames, keep_frames, default_sample_type, doc_url } = &export.extras;
        let named = [drop_frames, keep_frames, default_sample_type, doc_url];
        comments.iter().chain(named).for_each(|&string| mark(&mut strings, string));
    }
    let (mapping_ids, function_ids) = (Renumbered::of(&mappings), Renumbered::of(&functions));
    let line_ids = Renumbered::of(&lines);
    for mapping in mapping_ids.kept() {
        mark(&mut strings, symbols.mappings.file[mapping]);
        mark(&mut strings, symbols.mappings.build_id[mapping]);
    }
    for function in function_ids.kept() {
        let of = &symbols.functions;
        for column in [&of.name, &of.system_name, &of.filename] {
            mark(&mut strings, column[function]);
        }
    }
    let string_ids = Renumbered::of(&strings);

    let mut kept = PartSymbols::default();
    kept.symbols.strings = strings_of(&symbols.strings, &string_ids);
    let (to, of) = (&mut kept.symbols.mappings, &symbols.mappings);
    to.file = mapping_ids.take_named(&of.file, &string_ids);
    to.build_id = mapping_ids.take_named(&of.build_id, &string_ids);
    to.start = mapping_ids.take(&of.start);
    to.limit = mapping_ids.take(&of.limit);
    to.offset = mapping_ids.take(&of.offset);
    to.flags = mapping_ids.take(&of.flags);
    let (to, of) = (&mut kept.symbols.functions, &symbols.functions);
    to.name = function_ids.take_named(&of.name, &string_ids);
    to.system_name = function_ids.take_named(&of.system_name, &string_ids);
    to.filename = function_ids.take_named(&of.filename, &string_ids);
    to.start_line = function_ids.take(&of.start_line);
    let (to, of) = (&mut kept.symbols.lines, &symbols.lines);
    to.function = line_ids.take_named(&of.function, &function_ids);
    to.line = line_ids.take(&of.line);
    to.column = line_ids.take(&of.column);
    let (to, of) = (&mut kept.symbols.locations, &symbols.locations);
    to.mapping = location_ids.take_named(&of.mapping, &mapping_ids);
    to.address = location_ids.take(&of.address);
    to.is_folded = location_ids.take(&of.is_folded);
    let mut end = 0;
    for location in location_ids.kept() {
        end += of.lines(location as u32).len() as u32;
        to.line_end.push(end);
    }
    let mut run = Vec::new();
    for stack in stack_ids.kept() {
        run.clear();
        run.extend(stacks.get(stack as u32).iter().map(|&location| location_ids.get(location)));
        kept.stacks.push(&run);
    }
    let string = |ix: u32| string_ids.get(ix);
    let exports = exports.iter().map(|export| ProfileExport {
        mappings: export
            .mappings
            .iter()
            .map(|range| MappingRange { mapping: mapping_ids.get(range.mapping), ..*range })
            .collect(),
        extras: PprofExtras {
            comments: export.extras.comments.iter().map(|&comment| string(comment)).collect(),
            drop_frames: string(export.extras.drop_frames),
            keep_frames: string(export.extras.keep_frames),
            default_sample_type: string(export.extras.default_sample_type),
            doc_url: string(export.extras.doc_url),
        },
    });
    let exports = exports.collect();
    (kept, exports)
}

fn strings_of(from: &Strings, ids: &Renumbered) -> Strings {
    let mut kept = Strings::default();
    for string in ids.kept() {
        kept.push(from.get(string as u32));
    }
    kept
}

fn label_sets_of(from: &PartLabelSets, ids: &Renumbered) -> PartLabelSets {
    let PartLabelSets { strings, sets } = from;
    let mut used = vec![false; strings.len()];
    used[0] = true;
    for row in ids.kept().flat_map(|set| sets.rows(set as u32)) {
        for column in [&sets.key, &sets.str, &sets.unit] {
            mark(&mut used, column[row]);
        }
    }
    let string_ids = Renumbered::of(&used);
    let mut kept = LabelSets::default();
    for set in ids.kept() {
        for row in sets.rows(set as u32) {
            kept.key.push(string_ids.get(sets.key[row]));
            kept.str.push(string_ids.get(sets.str[row]));
            kept.num.push(sets.num[row]);
            kept.unit.push(string_ids.get(sets.unit[row]));
        }
        kept.end.push(kept.key.len() as u32);
    }
    PartLabelSets { strings: strings_of(strings, &string_ids), sets: kept }
}
