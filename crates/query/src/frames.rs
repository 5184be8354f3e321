//! What the rows of a report are: contributors of each row, where they differ, and the columns that say so.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use profile::tree::conflict::{self, FrameMetadata};
use profile::tree::weigh::seen_nodes;
use profile::tree::{NameTree, Weight, parents};
use profile::{NONE, StringIx};

use crate::answer::Merged;
use crate::engine::{Context, Engine};
use crate::error::QueryError;
use crate::merge::{PartSums, in_parallel};
use crate::report::{Column, FrameColumns, TextColumn};

/// The first contributor of a row, and in which columns others differ from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contributor {
    /// Index into the merged parts.
    pub(crate) part: u32,
    pub(crate) location: u32,
    /// Row of the part's lines, or [`NONE`].
    pub(crate) line: u32,
    /// Bits of [`conflict`].
    pub(crate) conflicts: u16,
}

impl Contributor {
    pub(crate) fn metadata<'a>(&self, parts: &[&'a PartSums]) -> FrameMetadata<'a> {
        let part: &'a PartSums = parts[self.part as usize];
        FrameMetadata::new(&part.symbols.symbols, self.location, self.line)
    }

    /// Takes in another contributor of the same part.
    fn add(&mut self, part: &PartSums, location: u32, line: u32, nameless: bool) {
        if (self.location, self.line) != (location, line) {
            let symbols = &part.symbols.symbols;
            let shown = (self.location, self.line);
            self.conflicts |= conflict::within(symbols, shown, (location, line), nameless, self.conflicts);
        }
    }
}

impl Contributor {
    /// Takes in another contributor of the same row, of any part.
    pub(crate) fn join(&mut self, parts: &[&PartSums], other: Self) {
        if self.conflicts == conflict::ALL {
            return;
        }
        if self.part == other.part {
            let part = parts[self.part as usize];
            let nameless = self.metadata(parts).name.is_empty();
            self.add(part, other.location, other.line, nameless);
        } else {
            self.conflicts |= self.metadata(parts).conflicts(&other.metadata(parts));
        }
        self.conflicts |= other.conflicts;
    }
}

/// Nodes that a report shows, a tree in canonical preorder; row 0 is the root.
pub(crate) struct Kept {
    pub(crate) depth: Vec<u16>,
    pub(crate) end: Vec<u32>,
    /// Rows of the union of frames.
    pub(crate) frame: Vec<u32>,
}

/// The contributors of every kept node; `None` for the root.
pub(crate) fn contributors<W: Weight>(
    engine: &Engine,
    context: &Context,
    merged: &Merged<'_, W>,
    kept: &Kept,
) -> Result<Vec<Option<Contributor>>, QueryError> {
    let indices: Vec<usize> = (0..merged.parts.len()).collect();
    let found = in_parallel(engine.options().threads, &indices, |&index| {
        context.check()?;
        part_contributors(merged, index, kept)
    })?;
    let mut rows: Vec<Option<Contributor>> = vec![None; kept.depth.len()];
    for (row, contributor) in found.into_iter().flatten() {
        match &mut rows[row as usize] {
            Some(first) if first.conflicts | contributor.conflicts == conflict::ALL => first.conflicts = conflict::ALL,
            Some(first) => {
                let other = contributor.metadata(&merged.parts);
                first.conflicts |= contributor.conflicts | first.metadata(&merged.parts).conflicts(&other);
            }
            empty => *empty = Some(contributor),
        }
    }
    Ok(rows)
}

/// The contributors within one part, by kept row.
fn part_contributors<W: Weight>(
    merged: &Merged<'_, W>,
    index: usize,
    kept: &Kept,
) -> Result<Vec<(u32, Contributor)>, QueryError> {
    let part = merged.parts[index];
    let tree = &*part.name_tree;
    let mut found: Vec<(u32, Contributor)> = Vec::new();
    // by name node: the place in `found` of a row whose contributors must be asked one by one
    let mut asked: Vec<u32> = Vec::new();
    for_each_common(kept, tree, &merged.union.row[index], |row, node| {
        if !merged.seen[index][node] {
            return;
        }
        if tree.conflicts[node] != 0 {
            asked.resize(tree.depth.len(), NONE);
            asked[node] = found.len() as u32;
        }
        let (location, line) = (tree.location[node], tree.line[node]);
        found.push((row as u32, Contributor { part: index as u32, location, line, conflicts: 0 }));
    });
    if !asked.is_empty() {
        ask(part, &asked, &mut found)?;
    }
    Ok(found)
}

/// Calls `visit(kept row, name node)` for the nodes that both trees have, but for the root.
fn for_each_common(kept: &Kept, tree: &NameTree, frame_row: &[u32], mut visit: impl FnMut(usize, usize)) {
    let (mut row, mut node) = (1, 1);
    while row < kept.depth.len() && node < tree.depth.len() {
        let frame = frame_row[tree.frame[node] as usize];
        if (kept.depth[row], kept.frame[row]) == (tree.depth[node], frame) {
            visit(row, node);
            row += 1;
            node += 1;
        } else if kept.depth[row] > tree.depth[node] || (kept.depth[row] == tree.depth[node] && kept.frame[row] < frame)
        {
            row = kept.end[row] as usize;
        } else {
            node = tree.end[node] as usize;
        }
    }
}

/// Goes through the locations of seen stacks for the rows that `asked` names.
fn ask(part: &PartSums, asked: &[u32], found: &mut [(u32, Contributor)]) -> Result<(), QueryError> {
    let location_tree = part.part.location_tree()?;
    let seen = seen_nodes(&location_tree.depth, &location_tree.stack_node, &part.sums.seen);
    let symbols = &part.symbols.symbols;
    let tree = &*part.name_tree;
    let mut fresh = vec![true; found.len()];
    let mut answer = |name_node: u32, location: u32, line: u32| {
        let place = asked[name_node as usize];
        if place == NONE {
            return;
        }
        let contributor = &mut found[place as usize].1;
        if std::mem::take(&mut fresh[place as usize]) {
            *contributor = Contributor { location, line, ..*contributor };
        } else if contributor.conflicts != conflict::ALL {
            let nameless = tree.frames.name[tree.frame[name_node as usize] as usize] == 0;
            contributor.add(part, location, line, nameless);
        }
    };
    // only inlined frames have outer ones
    let mut name_parent: Vec<u32> = Vec::new();
    for (node, _) in seen.iter().enumerate().skip(1).filter(|(_, seen)| **seen) {
        let location = location_tree.location[node];
        let mut name_node = location_tree.name_node[node];
        let lines = symbols.locations.lines(location);
        match lines.len() {
            0 => answer(name_node, location, NONE),
            1 => answer(name_node, location, lines.start as u32),
            _ => {
                if name_parent.is_empty() {
                    name_parent = parents(&tree.depth);
                }
                for line in lines {
                    answer(name_node, location, line as u32);
                    name_node = name_parent[name_node as usize];
                }
            }
        }
    }
    Ok(())
}

/// A text column with its dictionary in the making.
struct TextBuilder<'a> {
    column: TextColumn,
    known: HashMap<&'a [u8], i32, RandomState>,
    /// Per part and string: its row in the dictionary, `UNKNOWN` before it is met.
    rows: Vec<Vec<i32>>,
}

const UNKNOWN: i32 = -2;
const NULL: i32 = -1;

impl<'a> TextBuilder<'a> {
    fn new(parts: usize) -> Self {
        Self { column: TextColumn::default(), known: HashMap::default(), rows: vec![Vec::new(); parts] }
    }

    /// The empty string is null.
    fn push(&mut self, parts: &[&'a PartSums], part: u32, string: Option<StringIx>) {
        let Some(string) = string else {
            self.column.keys.push(NULL);
            return;
        };
        let part_ix = part as usize;
        let part: &'a PartSums = parts[part_ix];
        let strings = &part.symbols.symbols.strings;
        let rows = &mut self.rows[part_ix];
        if rows.is_empty() {
            rows.resize(strings.len(), UNKNOWN);
        }
        let row = &mut rows[string as usize];
        if *row == UNKNOWN {
            let text = strings.get(string);
            let dictionary = &mut self.column.dictionary;
            *row =
                if text.is_empty() { NULL } else { *self.known.entry(text).or_insert_with(|| dictionary.push(text)) };
        }
        self.column.keys.push(*row);
    }
}

/// Builds [`FrameColumns`] row by row.
pub(crate) struct FrameColumnsBuilder<'a> {
    parts: Vec<&'a PartSums>,
    address: Column<u64>,
    line: Column<i64>,
    start_line: Column<i64>,
    inlined: Column<bool>,
    mapping_file: TextBuilder<'a>,
    mapping_build_id: TextBuilder<'a>,
    name: TextBuilder<'a>,
    system_name: TextBuilder<'a>,
    filename: TextBuilder<'a>,
}

impl<'a> FrameColumnsBuilder<'a> {
    pub(crate) fn new(parts: &[&'a PartSums]) -> Self {
        let text = || TextBuilder::new(parts.len());
        Self {
            parts: parts.to_vec(),
            address: Column::default(),
            line: Column::default(),
            start_line: Column::default(),
            inlined: Column::default(),
            mapping_file: text(),
            mapping_build_id: text(),
            name: text(),
            system_name: text(),
            filename: text(),
        }
    }

    /// A row; `None` gives one of nulls.
    pub(crate) fn push(&mut self, row: Option<&Contributor>) {
        let parts = self.parts.as_slice();
        let part = row.map_or(0, |row| row.part);
        let unless = |bit: u16| row.filter(|row| row.conflicts & bit == 0);
        let metadata = row.map(|row| row.metadata(parts));
        self.address.push(unless(conflict::ADDRESS).and(metadata).map(|metadata| metadata.runtime_address));
        let with_line = |bit: u16| unless(bit).filter(|row| row.line != NONE).and(metadata);
        self.line.push(with_line(conflict::LINE).map(|metadata| metadata.line));
        self.inlined.push(unless(conflict::INLINED).and(metadata).map(|metadata| metadata.inlined));

        let mapping = |bit: u16, column: fn(&profile::Mappings) -> &[StringIx]| {
            let row = unless(bit)?;
            let symbols = &parts[row.part as usize].symbols.symbols;
            let mapping = symbols.locations.mapping[row.location as usize];
            (mapping != NONE).then(|| column(&symbols.mappings)[mapping as usize])
        };
        self.mapping_file.push(parts, part, mapping(conflict::MAPPING_FILE, |mappings| &mappings.file));
        self.mapping_build_id.push(parts, part, mapping(conflict::MAPPING_BUILD_ID, |mappings| &mappings.build_id));

        let function = |row: &Contributor| {
            let symbols = &parts[row.part as usize].symbols.symbols;
            let function = if row.line == NONE { NONE } else { symbols.lines.function[row.line as usize] };
            (function != NONE).then_some((symbols, function))
        };
        let of_function = |bit: u16, column: fn(&profile::Functions) -> &[StringIx]| {
            let (symbols, function) = unless(bit).and_then(function)?;
            Some(column(&symbols.functions)[function as usize])
        };
        let start_line = unless(conflict::START_LINE).and_then(function);
        let start_line = start_line.map(|(symbols, function)| symbols.functions.start_line[function as usize]);
        self.start_line.push(start_line);
        let name = row.and_then(function);
        let name = name.map(|(symbols, function)| profile::tree::keys::function_name(symbols, function));
        self.name.push(parts, part, name);
        self.system_name.push(parts, part, of_function(conflict::SYSTEM_NAME, |functions| &functions.system_name));
        self.filename.push(parts, part, of_function(conflict::FILENAME, |functions| &functions.filename));
    }

    /// The columns, and apart from them whether each frame was inlined.
    pub(crate) fn finish(self) -> (FrameColumns, Column<bool>) {
        let frames = FrameColumns {
            location_address: self.address,
            mapping_file: self.mapping_file.column,
            mapping_build_id: self.mapping_build_id.column,
            location_line: self.line,
            function_startline: self.start_line,
            function_name: self.name.column,
            function_system_name: self.system_name.column,
            function_file_name: self.filename.column,
        };
        (frames, self.inlined)
    }
}
