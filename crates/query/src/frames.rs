//! What the rows of a report are: contributors of each row, where they differ, and the columns that say so.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use profile::tree::conflict::{self, FrameMetadata};
use profile::tree::weigh::{seen_nodes, seen_rows};
use profile::tree::{LocationTree, NameTree, Paths, Weight, WeightedTree, parents};
use profile::{NONE, StringIx};

use crate::answer::{Merged, Slice};
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
    let slices: Vec<&[Slice<'_>]> = merged.slices.chunk_by(|a, b| a.part == b.part).collect();
    let of_group = group_rows(merged, kept);
    let found = in_parallel(engine.options().threads, &slices, |slices| {
        part_contributors(context, merged, slices, kept, &of_group)
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
    context: &Context,
    merged: &Merged<'_, W>,
    slices: &[Slice<'_>],
    kept: &Kept,
    of_group: &[Option<Range<usize>>],
) -> Result<Vec<(u32, Contributor)>, QueryError> {
    let mut found: Vec<(u32, Contributor)> = Vec::new();
    let Some(first) = slices.first() else { return Ok(found) };
    let part = merged.parts[first.part];
    let tree = &*part.name_tree;
    let mut asked = Asked::default();
    let mut location_paths = None;
    for slice in slices {
        context.check()?;
        let within = match slice.labels() {
            None => Some(0..kept.end[0] as usize),
            Some(labels) => merged.groups.binary_search(&labels).ok().and_then(|group| of_group[group].clone()),
        };
        let Some(within) = within else { continue };
        let begin = found.len();
        let is_exact = part.is_exact && slice.group.is_none();
        let rows = Preorder { depth: &kept.depth, end: &kept.end, frame: &kept.frame };
        for_each_common(rows, within, tree, &slice.nodes, &merged.union.row[slice.part], |row, node| {
            let mut conflicts = tree.conflicts[node];
            if conflicts != 0 && !is_exact {
                asked.add(tree, node, found.len());
                conflicts = 0;
            }
            let (location, line) = (tree.location[node], tree.line[node]);
            found.push((row as u32, Contributor { part: slice.part as u32, location, line, conflicts }));
        });
        if !asked.nodes.is_empty() {
            let location_tree = part.part.location_tree()?;
            let nodes = match slice.group {
                None => seen_rows(&seen_nodes(&location_tree.depth, &location_tree.stack_node, &part.sums.seen)),
                Some(group) => {
                    let within = asked.subtrees(tree);
                    let stacks = group.stacks.iter().map(|(stack, _)| *stack as usize);
                    let stacks = stacks.filter(|stack| within.hold(tree.stack_node[*stack]));
                    let mut leaves: Vec<u32> = stacks.map(|stack| location_tree.stack_node[stack]).collect();
                    leaves.sort_unstable();
                    location_paths.get_or_insert_with(|| Paths::new(&location_tree.depth)).to(leaves)
                }
            };
            ask(part, &location_tree, &nodes, &mut asked, &mut found[begin..], begin);
            asked.clear();
        }
    }
    Ok(found)
}

/// The nodes of a part's name tree whose contributors must be asked one by one.
#[derive(Default)]
struct Asked {
    /// By node: which of the contributors found is its; [`NONE`] for most. Empty before the first.
    place: Vec<u32>,
    nodes: Vec<u32>,
    /// Of each node; empty until a location has outer lines.
    parent: Vec<u32>,
}

impl Asked {
    fn add(&mut self, tree: &NameTree, node: usize, place: usize) {
        self.place.resize(tree.depth.len(), NONE);
        self.place[node] = place as u32;
        self.nodes.push(node as u32);
    }

    /// Only stacks that end in these pass through any of the nodes, which are ascending.
    fn subtrees(&self, tree: &NameTree) -> Subtrees {
        let mut subtrees: Vec<Range<u32>> = Vec::new();
        for &node in &self.nodes {
            if subtrees.last().is_none_or(|last| last.end <= node) {
                subtrees.push(node..tree.end[node as usize]);
            }
        }
        Subtrees(subtrees)
    }

    fn clear(&mut self) {
        for node in self.nodes.drain(..) {
            self.place[node as usize] = NONE;
        }
    }
}

/// Ascending, none within another.
struct Subtrees(Vec<Range<u32>>);

impl Subtrees {
    fn hold(&self, node: u32) -> bool {
        let behind = self.0.partition_point(|subtree| subtree.end <= node);
        self.0.get(behind).is_some_and(|subtree| subtree.start <= node)
    }
}

/// Per group of [`Merged::groups`] its row and those below it, which its slices may contribute to; `None` where it is not
/// kept.
fn group_rows<W: Weight>(merged: &Merged<'_, W>, kept: &Kept) -> Vec<Option<Range<usize>>> {
    let mut of_group = vec![None; merged.groups.len()];
    let mut row = 1;
    while row < kept.frame.len() {
        let end = kept.end[row] as usize;
        if let Some(group) = merged.group(kept.frame[row]) {
            of_group[group as usize] = Some(row..end);
        }
        row = end;
    }
    of_group
}

/// A tree with rows of the union as frames.
#[derive(Clone, Copy)]
struct Preorder<'a> {
    depth: &'a [u16],
    end: &'a [u32],
    frame: &'a [u32],
}

/// Those of a name tree's `nodes`, the root among them, that `shown` has as well, both ascending.
pub(crate) fn common_nodes<W>(shown: &WeightedTree<W>, tree: &NameTree, nodes: &[u32], frame_row: &[u32]) -> Vec<u32> {
    let rows = Preorder { depth: &shown.depth, end: &shown.end, frame: &shown.frame };
    let mut common = vec![0];
    for_each_common(rows, 0..shown.depth.len(), tree, nodes, frame_row, |_, node| common.push(node as u32));
    common
}

/// Calls `visit(kept row, name node)` for what both trees have below the first of the kept rows `within` and below
/// the root. `nodes` are some of the name tree's, ascending.
fn for_each_common(
    kept: Preorder<'_>,
    within: Range<usize>,
    tree: &NameTree,
    nodes: &[u32],
    frame_row: &[u32],
    mut visit: impl FnMut(usize, usize),
) {
    let shift = kept.depth[within.start];
    let mut row = within.start + 1;
    let mut at = 1;
    while row < within.end && at < nodes.len() {
        let node = nodes[at] as usize;
        let frame = frame_row[tree.frame[node] as usize];
        let depth = kept.depth[row] - shift;
        if (depth, kept.frame[row]) == (tree.depth[node], frame) {
            visit(row, node);
            row += 1;
            at += 1;
        } else if depth > tree.depth[node] || (depth == tree.depth[node] && kept.frame[row] < frame) {
            row = kept.end[row] as usize;
        } else {
            at += 1;
            while at < nodes.len() && nodes[at] < tree.end[node] {
                at += 1;
            }
        }
    }
}

/// Goes through the locations of seen stacks for the rows that are `asked` about. `nodes` are those of the location tree
/// that seen stacks pass through; `found` begins with the contributor of place `begin`.
fn ask(
    part: &PartSums,
    location_tree: &LocationTree,
    nodes: &[u32],
    asked: &mut Asked,
    found: &mut [(u32, Contributor)],
    begin: usize,
) {
    let symbols = &part.symbols.symbols;
    let tree = &*part.name_tree;
    let Asked { place, parent, .. } = asked;
    let mut fresh = vec![true; found.len()];
    let mut answer = |name_node: u32, location: u32, line: u32| {
        let place = place[name_node as usize];
        if place == NONE {
            return;
        }
        let place = place as usize - begin;
        let contributor = &mut found[place].1;
        if std::mem::take(&mut fresh[place]) {
            *contributor = Contributor { location, line, ..*contributor };
        } else if contributor.conflicts != conflict::ALL {
            let nameless = tree.frames.name[tree.frame[name_node as usize] as usize] == 0;
            contributor.add(part, location, line, nameless);
        }
    };
    for node in nodes.iter().map(|&node| node as usize).filter(|&node| node != 0) {
        let location = location_tree.location[node];
        let mut name_node = location_tree.name_node[node];
        let lines = symbols.locations.lines(location);
        match lines.len() {
            0 => answer(name_node, location, NONE),
            1 => answer(name_node, location, lines.start as u32),
            _ => {
                if parent.is_empty() {
                    *parent = parents(&tree.depth);
                }
                for line in lines {
                    answer(name_node, location, line as u32);
                    name_node = parent[name_node as usize];
                }
            }
        }
    }
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
