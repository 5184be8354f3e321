//! What the rows of a report are: contributors of each row, where they differ, and the columns that say so.

use std::collections::HashMap;
use std::ops::Range;

use foldhash::fast::RandomState;
use profile::tree::conflict::{self, FrameMetadata};
use profile::tree::weigh::{seen_nodes, seen_rows};
use profile::tree::{LocationTree, NameTree, Weight, parents};
use profile::{NONE, StringIx};
use store::part::PartSymbols;

use crate::answer::{Grown, Merged, Runs, Slice, Stems};
use crate::apart::{CHUNKS_PER_THREAD, Group};
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
    let found = in_parallel(engine.options().threads, &merged.slices, |slice| {
        context.check()?;
        part_contributors(merged, slice, kept)
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
    slice: &Slice,
    kept: &Kept,
) -> Result<Vec<(u32, Contributor)>, QueryError> {
    let mut found: Vec<(u32, Contributor)> = Vec::new();
    let part = merged.parts[slice.part];
    let tree = &*part.name_tree;
    let mut asked = Asked::default();
    for_each_common(kept, tree, &seen_rows(&slice.seen), &merged.union.row[slice.part], |row, node| {
        let mut conflicts = tree.conflicts[node];
        if conflicts != 0 {
            asked.add(tree, node, found.len());
            conflicts = 0;
        }
        let (location, line) = (tree.location[node], tree.line[node]);
        found.push((row as u32, Contributor { part: slice.part as u32, location, line, conflicts }));
    });
    if !asked.place.is_empty() {
        let location_tree = part.part.location_tree()?;
        let seen = seen_nodes(&location_tree.depth, &location_tree.stack_node, &part.sums.seen);
        ask(part, &location_tree, &seen_rows(&seen), &mut asked, &mut found);
    }
    Ok(found)
}

/// The contributors of every kept node where trees are grown from stacks; `None` for the root and for groups.
pub(crate) fn contributors_of_stacks<W: Weight>(
    engine: &Engine,
    context: &Context,
    merged: &Merged<'_, W>,
    grown: &Grown<'_, W>,
    kept: &Kept,
) -> Result<Vec<Option<Contributor>>, QueryError> {
    let mut nameless = vec![false; merged.union.key.len()];
    for (part, row) in merged.parts.iter().zip(&merged.union.row) {
        part.name_tree.frames.name.iter().zip(row).for_each(|(&name, &row)| nameless[row as usize] = name == 0);
    }
    let stacks = Stacks { merged, runs: &grown.runs, kept, nameless };
    match &grown.what {
        Stems::All(_) => {
            let seen = merged.parts.iter().flat_map(|part| &part.sums.seen);
            let seen: Vec<bool> = seen.copied().collect();
            let places = (0..).zip(&grown.runs.sorted.order).filter(|(_, run)| seen[**run as usize]);
            Ok(stacks.contributors(0..kept.end[0] as usize, places.map(|(place, _)| place)))
        }
        Stems::Groups(groups) => {
            let of_group = group_rows(merged, kept);
            let mut label = 0;
            let branches = groups.iter().filter_map(|group| match group.labels {
                None => Some((group, 0..kept.end[0] as usize)),
                Some(_) => {
                    label += 1;
                    Some((group, of_group[label - 1].clone()?))
                }
            });
            let branches: Vec<(&Group<'_>, Range<usize>)> = branches.collect();
            let threads = engine.options().threads;
            let chunks: Vec<_> = branches.chunks(branches.len().div_ceil(threads * CHUNKS_PER_THREAD).max(1)).collect();
            let found = in_parallel(threads, &chunks, |chunk| {
                let found = chunk.iter().map(|(group, within)| {
                    context.check()?;
                    Ok(stacks.contributors(within.clone(), group.places.iter().copied()))
                });
                found.collect::<Result<Vec<_>, QueryError>>()
            })?;
            let mut rows = vec![None; kept.depth.len()];
            for ((_, within), found) in branches.into_iter().zip(found.into_iter().flatten()) {
                for (row, found) in rows[within].iter_mut().zip(found) {
                    *row = row.or(found);
                }
            }
            Ok(rows)
        }
    }
}

/// Stacks in the order of a tree, and the rows of it that are kept.
struct Stacks<'m, 'a, W> {
    merged: &'m Merged<'a, W>,
    runs: &'m Runs,
    kept: &'m Kept,
    /// By row of the union of frames.
    nameless: Vec<bool>,
}

/// A kept row on the way of a stack, and what the latest stack is there.
struct Step {
    row: usize,
    frame: u32,
    latest: Contributor,
}

impl<W: Weight> Stacks<'_, '_, W> {
    /// The contributors of the rows `within`, the first of which stands for the root of a tree of the stacks at some
    /// `places`, ascending.
    fn contributors(&self, within: Range<usize>, places: impl Iterator<Item = u32>) -> Vec<Option<Contributor>> {
        let Self { merged, runs, kept, nameless } = self;
        let mut found: Vec<Option<Contributor>> = vec![None; within.len()];
        let mut path: Vec<Step> = Vec::new();
        let mut next = within.start + 1;
        for place in places {
            let frames = runs.sorted.frames(place);
            let own = path.iter().zip(frames).take_while(|(step, frame)| step.frame == **frame).count();
            path.truncate(own);
            // what comes next in a preorder is below the path's end, or behind all that is
            while next < within.end
                && usize::from(kept.depth[next] - kept.depth[within.start]) == path.len() + 1
                && frames.get(path.len()) == Some(&kept.frame[next])
            {
                let latest = Contributor { part: NONE, location: NONE, line: NONE, conflicts: 0 };
                path.push(Step { row: next, frame: kept.frame[next], latest });
                next += 1;
            }
            if path.is_empty() {
                continue;
            }
            let (index, stack) = runs.stack(place);
            let part = merged.parts[index];
            let PartSymbols { symbols, stacks } = &*part.symbols;
            let mut locations = stacks.get(stack).iter().rev();
            // lines of a location that are still to come, the outermost last
            let (mut location, mut lines) = (0, 0..0);
            for Step { row, frame, latest } in &mut path {
                let line = match lines.next_back() {
                    Some(line) => line as u32,
                    None => {
                        let Some(&next) = locations.next() else { break };
                        (location, lines) = (next, symbols.locations.lines(next));
                        lines.next_back().map_or(NONE, |line| line as u32)
                    }
                };
                if (latest.part as usize, latest.location, latest.line) == (index, location, line) {
                    continue;
                }
                *latest = Contributor { part: index as u32, location, line, conflicts: 0 };
                match &mut found[*row - within.start] {
                    Some(first) if first.part as usize == index => {
                        first.add(part, location, line, nameless[*frame as usize]);
                    }
                    Some(first) => {
                        // of parts the first
                        let (mut one, other) =
                            if latest.part < first.part { (*latest, *first) } else { (*first, *latest) };
                        one.join(&merged.parts, other);
                        *first = one;
                    }
                    empty => *empty = Some(*latest),
                }
            }
        }
        found
    }
}

/// The nodes of a part's name tree whose contributors must be asked one by one.
#[derive(Default)]
struct Asked {
    /// By node: which of the contributors found is its; [`NONE`] for most. Empty before the first.
    place: Vec<u32>,
    /// Of each node; empty until a location has outer lines.
    parent: Vec<u32>,
}

impl Asked {
    fn add(&mut self, tree: &NameTree, node: usize, place: usize) {
        if self.place.is_empty() {
            self.place = vec![NONE; tree.depth.len()];
        }
        self.place[node] = place as u32;
    }
}

/// Per group of [`Merged::groups`] its row and those below it, which its stacks may contribute to; `None` where it is not
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

/// Calls `visit(kept row, name node)` for what both trees have below the root. `nodes` are some of the name tree's,
/// ascending.
fn for_each_common(
    kept: &Kept,
    tree: &NameTree,
    nodes: &[u32],
    frame_row: &[u32],
    mut visit: impl FnMut(usize, usize),
) {
    let (mut row, mut at) = (1, 1);
    while row < kept.depth.len() && at < nodes.len() {
        let node = nodes[at] as usize;
        let frame = frame_row[tree.frame[node] as usize];
        let depth = kept.depth[row];
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
/// that seen stacks pass through.
fn ask(
    part: &PartSums,
    location_tree: &LocationTree,
    nodes: &[u32],
    asked: &mut Asked,
    found: &mut [(u32, Contributor)],
) {
    let symbols = &part.symbols.symbols;
    let tree = &*part.name_tree;
    let Asked { place, parent } = asked;
    let mut fresh = vec![true; found.len()];
    let mut answer = |name_node: u32, location: u32, line: u32| {
        let place = place[name_node as usize];
        if place == NONE {
            return;
        }
        let place = place as usize;
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
