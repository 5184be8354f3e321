//! A partition's symbols, stacks, trees, label sets and exports as tables, and back.
//!
//! Stacks are not written as runs: the location tree holds every run once, and a stack is the path from
//! its node to the root. Columns that follow from others (ends of subtrees, starts of runs) are not
//! written either. `docs/format.md` lists all columns.

use arrow::datatypes::{Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use profile::tree::{self, Frames, LocationTree, NameTree};
use profile::{
    Batch, Functions, LabelSets, Lines, Locations, MappingRange, Mappings, NONE, PprofExtras, Stacks, Strings, Symbols,
};

use super::file::VerifiedFile;
use super::meta::PartitionMeta;
use super::tables::{self, TableWriter, primitive};
use crate::error::{ReadError, StoreError};
use crate::part::{PartLabelSets, PartSymbols, ProfileExport};

/// Lengths of runs, from their ends.
fn lengths(ends: &[u32]) -> Vec<u32> {
    let mut last = 0;
    ends.iter().map(|&end| end - std::mem::replace(&mut last, end)).collect()
}

/// Ends of runs, from their lengths; `None` if they do not add up to `rows`.
fn ends(lengths: &[u32], rows: usize) -> Option<Vec<u32>> {
    let mut end = 0u64;
    let ends = lengths.iter().map(|&length| {
        end += u64::from(length);
        end as u32
    });
    let ends = ends.collect();
    (end == rows as u64).then_some(ends)
}

pub(crate) fn write_symbols(
    out: &mut TableWriter<'_>,
    symbols: &Symbols,
    name_tree: &NameTree,
    location_tree: &LocationTree,
) -> Result<(), StoreError> {
    let Symbols { strings, mappings, functions, lines, locations } = symbols;
    out.write("strings", vec![("string", tables::strings(strings)?)])?;
    out.write(
        "mappings",
        vec![
            ("file", primitive::<UInt32Type>(&mappings.file)),
            ("build_id", primitive::<UInt32Type>(&mappings.build_id)),
            ("start", primitive::<UInt64Type>(&mappings.start)),
            ("limit", primitive::<UInt64Type>(&mappings.limit)),
            ("offset", primitive::<UInt64Type>(&mappings.offset)),
            ("flags", primitive::<UInt8Type>(&mappings.flags)),
        ],
    )?;
    out.write(
        "functions",
        vec![
            ("name", primitive::<UInt32Type>(&functions.name)),
            ("system_name", primitive::<UInt32Type>(&functions.system_name)),
            ("filename", primitive::<UInt32Type>(&functions.filename)),
            ("start_line", primitive::<Int64Type>(&functions.start_line)),
        ],
    )?;
    out.write(
        "lines",
        vec![
            ("function", primitive::<UInt32Type>(&lines.function)),
            ("line", primitive::<Int64Type>(&lines.line)),
            ("column", primitive::<Int64Type>(&lines.column)),
        ],
    )?;
    let folded: Vec<u8> = locations.is_folded.iter().map(|&folded| u8::from(folded)).collect();
    out.write(
        "locations",
        vec![
            ("mapping", primitive::<UInt32Type>(&locations.mapping)),
            ("address", primitive::<UInt64Type>(&locations.address)),
            ("is_folded", primitive::<UInt8Type>(&folded)),
            ("lines", primitive::<UInt32Type>(&lengths(&locations.line_end))),
        ],
    )?;
    out.write(
        "stacks",
        vec![
            ("name_node", primitive::<UInt32Type>(&name_tree.stack_node)),
            ("location_node", primitive::<UInt32Type>(&location_tree.stack_node)),
        ],
    )?;
    out.write(
        "frames",
        vec![("key", tables::keys(&name_tree.frames.key)?), ("name", primitive::<UInt32Type>(&name_tree.frames.name))],
    )?;
    write_name_tree(out, symbols, name_tree, location_tree)?;
    out.write(
        "location_tree",
        vec![
            ("depth", primitive::<UInt16Type>(&location_tree.depth)),
            ("location", primitive::<UInt32Type>(&location_tree.location)),
            ("name_node_step", primitive::<Int32Type>(&steps(&location_tree.name_node))),
        ],
    )
}

/// In the name tree's column `location`: that of the first row of the location tree which names this node.
/// Without inlined frames that is every node, so the column takes no room.
const FIRST_OF_NODE: u32 = NONE - 1;

/// Per node of the name tree the location of the first row of the location tree that names it, or [`NONE`].
fn first_locations(nodes: usize, location: &[u32], name_node: &[u32]) -> Vec<u32> {
    let mut first = vec![NONE; nodes];
    for (&location, &node) in location.iter().zip(name_node).skip(1) {
        if let Some(first) = first.get_mut(node as usize)
            && *first == NONE
        {
            *first = location;
        }
    }
    first
}

/// A node's frame is that of its line, which is written once per line and not once per node.
fn write_name_tree(
    out: &mut TableWriter<'_>,
    symbols: &Symbols,
    tree: &NameTree,
    location_tree: &LocationTree,
) -> Result<(), StoreError> {
    let mut line_frame = vec![NONE; symbols.lines.line.len()];
    let mut location_frame = vec![NONE; symbols.locations.len()];
    let mut line_in_location = vec![NONE; tree.depth.len()];
    for (node, in_location) in line_in_location.iter_mut().enumerate().skip(1) {
        let (location, line) = (tree.location[node], tree.line[node]);
        let frame = match line {
            NONE => &mut location_frame[location as usize],
            line => {
                *in_location = line - symbols.locations.lines(location).start as u32;
                &mut line_frame[line as usize]
            }
        };
        if *frame != NONE && *frame != tree.frame[node] {
            return Err(tables::write_failed("one line stands for two frames"));
        }
        *frame = tree.frame[node];
    }
    let first = first_locations(tree.depth.len(), &location_tree.location, &location_tree.name_node);
    let shown = |(&location, first): (&u32, u32)| if location == first { FIRST_OF_NODE } else { location };
    let location: Vec<u32> = tree.location.iter().zip(first).map(shown).collect();
    out.write("line_frames", vec![("frame", primitive::<UInt32Type>(&line_frame))])?;
    out.write("location_frames", vec![("frame", primitive::<UInt32Type>(&location_frame))])?;
    out.write(
        "name_tree",
        vec![
            ("depth", primitive::<UInt16Type>(&tree.depth)),
            ("location", primitive::<UInt32Type>(&location)),
            ("line_in_location", primitive::<UInt32Type>(&line_in_location)),
            ("conflicts", primitive::<UInt16Type>(&tree.conflicts)),
        ],
    )
}

/// Differences from row to row: mostly 1, which compresses where the numbers themselves do not.
fn steps(column: &[u32]) -> Vec<i32> {
    let mut last = 0;
    column.iter().map(|&value| value.wrapping_sub(std::mem::replace(&mut last, value)) as i32).collect()
}

fn sum_up(steps: &[i32]) -> Vec<u32> {
    let mut value = 0u32;
    let next = |&step: &i32| {
        value = value.wrapping_add(step as u32);
        value
    };
    steps.iter().map(next).collect()
}

pub(crate) fn read_symbols(file: &VerifiedFile, partition: &PartitionMeta) -> Result<PartSymbols, ReadError> {
    let table = |name| tables::read(file, partition, name, &[]);
    let broken = |what: &str| file.corrupt(format!("partition {:?}: {what}", partition.service));
    let strings = match table("strings")? {
        table if table.rows() == 0 => Strings::with_empty(),
        table => table.strings("string")?,
    };
    let of = table("mappings")?;
    let mappings = Mappings {
        file: of.primitive::<UInt32Type>("file")?,
        build_id: of.primitive::<UInt32Type>("build_id")?,
        start: of.primitive::<UInt64Type>("start")?,
        limit: of.primitive::<UInt64Type>("limit")?,
        offset: of.primitive::<UInt64Type>("offset")?,
        flags: of.primitive::<UInt8Type>("flags")?,
    };
    let of = table("functions")?;
    let functions = Functions {
        name: of.primitive::<UInt32Type>("name")?,
        system_name: of.primitive::<UInt32Type>("system_name")?,
        filename: of.primitive::<UInt32Type>("filename")?,
        start_line: of.primitive::<Int64Type>("start_line")?,
    };
    let of = table("lines")?;
    let lines = Lines {
        function: of.primitive::<UInt32Type>("function")?,
        line: of.primitive::<Int64Type>("line")?,
        column: of.primitive::<Int64Type>("column")?,
    };
    let of = table("locations")?;
    let locations = Locations {
        mapping: of.primitive::<UInt32Type>("mapping")?,
        address: of.primitive::<UInt64Type>("address")?,
        is_folded: of.primitive::<UInt8Type>("is_folded")?.into_iter().map(|folded| folded != 0).collect(),
        line_end: ends(&of.primitive::<UInt32Type>("lines")?, lines.line.len())
            .ok_or_else(|| broken("lines do not end where locations end"))?,
    };

    let of = tables::read(file, partition, "location_tree", &["depth", "location"])?;
    let depth = of.primitive::<UInt16Type>("depth")?;
    let node_location = of.primitive::<UInt32Type>("location")?;
    check_depths(&depth).map_err(&broken)?;
    if node_location.iter().skip(1).any(|&location| location as usize >= locations.len()) {
        return Err(broken("the location tree names a location that is not there"));
    }
    let stack_node =
        tables::read(file, partition, "stacks", &["location_node"])?.primitive::<UInt32Type>("location_node")?;
    if stack_node.iter().any(|&node| node as usize >= depth.len()) {
        return Err(broken("a stack names a node that is not there"));
    }
    if stack_node.len() as u64 != partition.stacks {
        return Err(broken("there are more or fewer stacks than meta.json says"));
    }
    let stacks = stacks_of(&depth, &node_location, &stack_node).ok_or_else(|| broken("stacks are too large"))?;

    // the same invariants as those of a batch that comes in
    let symbols = Symbols { strings, mappings, functions, lines, locations };
    let whole = Batch { symbols, stacks, ..Batch::default() };
    whole.check().map_err(|defect| broken(&defect.to_string()))?;
    Ok(PartSymbols { symbols: whole.symbols, stacks: whole.stacks })
}

/// Node 0 is the root, the only one of depth 0, and no node is more than one deeper than the one before.
fn check_depths(depth: &[u16]) -> Result<(), &'static str> {
    let steps = depth.windows(2).all(|pair| pair[1] != 0 && u32::from(pair[1]) <= u32::from(pair[0]) + 1);
    match depth.first().is_none_or(|&root| root == 0) && steps {
        true => Ok(()),
        false => Err("the depths of a tree are none of a preorder"),
    }
}

/// The runs of all stacks, leaf first: from each stack's node up to the root.
fn stacks_of(depth: &[u16], location: &[u32], stack_node: &[u32]) -> Option<Stacks> {
    let parent = tree::parents(depth);
    let total: u64 = stack_node.iter().map(|&node| u64::from(depth[node as usize])).sum();
    if total > u64::from(u32::MAX) {
        return None;
    }
    let mut stacks =
        Stacks { end: Vec::with_capacity(stack_node.len()), locations: Vec::with_capacity(total as usize) };
    for &node in stack_node {
        let mut node = node;
        while node != 0 {
            stacks.locations.push(location[node as usize]);
            node = parent[node as usize];
        }
        stacks.end.push(stacks.locations.len() as u32);
    }
    Some(stacks)
}

pub(crate) fn read_name_tree(file: &VerifiedFile, partition: &PartitionMeta) -> Result<NameTree, ReadError> {
    let table = |name, columns: &[&str]| tables::read(file, partition, name, columns);
    let broken = |what: &str| file.corrupt(format!("partition {:?}: {what}", partition.service));
    let missing = || broken("the name tree names a row that is not there");
    let of = table("frames", &[])?;
    let frames = Frames { key: of.keys("key")?, name: of.primitive::<UInt32Type>("name")? };
    let line_frame = table("line_frames", &[])?.primitive::<UInt32Type>("frame")?;
    let location_frame = table("location_frames", &[])?.primitive::<UInt32Type>("frame")?;
    let lines = table("locations", &["lines"])?.primitive::<UInt32Type>("lines")?;
    let line_end = ends(&lines, line_frame.len()).ok_or_else(missing)?;

    let of = table("name_tree", &[])?;
    let depth = of.primitive::<UInt16Type>("depth")?;
    check_depths(&depth).map_err(&broken)?;
    let mut location = of.primitive::<UInt32Type>("location")?;
    let mut line = of.primitive::<UInt32Type>("line_in_location")?;
    let conflicts = of.primitive::<UInt16Type>("conflicts")?;
    let of = table("location_tree", &["location", "name_node_step"])?;
    let name_node = sum_up(&of.primitive::<Int32Type>("name_node_step")?);
    let first = first_locations(depth.len(), &of.primitive::<UInt32Type>("location")?, &name_node);
    let mut frame = vec![NONE; depth.len()];
    for node in 0..depth.len() {
        if location[node] == FIRST_OF_NODE {
            location[node] = first[node];
        }
        if node == 0 {
            continue;
        }
        let at = location[node] as usize;
        let (&end, &own) = line_end.get(at).zip(lines.get(at)).ok_or_else(missing)?;
        frame[node] = match line[node] {
            NONE => location_frame.get(at).copied().ok_or_else(missing)?,
            within if within < own => {
                line[node] = end - own + within;
                line_frame[line[node] as usize]
            }
            _ => return Err(missing()),
        };
    }

    let read = NameTree {
        end: tree::ends(&depth),
        depth,
        frame,
        location,
        line,
        conflicts,
        frames,
        stack_node: table("stacks", &["name_node"])?.primitive::<UInt32Type>("name_node")?,
    };
    let strings = partition.tables.get("strings").map_or(1, |table| table.rows);
    let sound = read.frame.iter().skip(1).all(|&frame| (frame as usize) < read.frames.key.len())
        && read.frames.name.iter().all(|&name| u64::from(name) < strings)
        && read.frames.key.windows(2).all(|pair| pair[0] < pair[1])
        && read.stack_node.iter().all(|&node| (node as usize) < read.depth.len())
        && read.stack_node.len() as u64 == partition.stacks;
    if sound { Ok(read) } else { Err(missing()) }
}

pub(crate) fn read_location_tree(file: &VerifiedFile, partition: &PartitionMeta) -> Result<LocationTree, ReadError> {
    let broken = |what: &str| file.corrupt(format!("partition {:?}: {what}", partition.service));
    let of = tables::read(file, partition, "location_tree", &[])?;
    let depth = of.primitive::<UInt16Type>("depth")?;
    check_depths(&depth).map_err(&broken)?;
    let read = LocationTree {
        end: tree::ends(&depth),
        depth,
        location: of.primitive::<UInt32Type>("location")?,
        name_node: sum_up(&of.primitive::<Int32Type>("name_node_step")?),
        stack_node: tables::read(file, partition, "stacks", &["location_node"])?
            .primitive::<UInt32Type>("location_node")?,
    };
    let rows = |name: &str| partition.tables.get(name).map_or(0, |table| table.rows);
    let sound = read.location.iter().skip(1).all(|&ix| u64::from(ix) < rows("locations"))
        && read.name_node.iter().all(|&node| u64::from(node) < rows("name_tree"))
        && read.stack_node.iter().all(|&node| (node as usize) < read.depth.len())
        && read.stack_node.len() as u64 == partition.stacks;
    match sound {
        true => Ok(read),
        false => Err(broken("the location tree names a row that is not there")),
    }
}

/// `of_streams`: per stream of the partition the sets that its samples have.
pub(crate) fn write_label_sets(
    out: &mut TableWriter<'_>,
    label_sets: &PartLabelSets,
    of_streams: &[Vec<u32>],
) -> Result<(), StoreError> {
    let PartLabelSets { strings, sets } = label_sets;
    // where there is only the empty set nothing is written
    if sets.len() > 1 {
        out.write("label_strings", vec![("string", tables::strings(strings)?)])?;
        out.write("label_sets", vec![("labels", primitive::<UInt32Type>(&lengths(&sets.end)))])?;
        out.write(
            "labels",
            vec![
                ("key", primitive::<UInt32Type>(&sets.key)),
                ("str", primitive::<UInt32Type>(&sets.str)),
                ("num", primitive::<Int64Type>(&sets.num)),
                ("unit", primitive::<UInt32Type>(&sets.unit)),
            ],
        )?;
        let pairs =
            || of_streams.iter().enumerate().flat_map(|(stream, sets)| sets.iter().map(move |&set| (stream, set)));
        let stream: Vec<u32> = pairs().map(|(stream, _)| stream as u32).collect();
        let set: Vec<u32> = pairs().map(|(_, set)| set).collect();
        out.write(
            "stream_label_sets",
            vec![("stream", primitive::<UInt32Type>(&stream)), ("label_set", primitive::<UInt32Type>(&set))],
        )?;
    }
    Ok(())
}

/// Label sets, and per stream of the partition those that its samples have.
pub(crate) struct ReadLabelSets {
    pub(crate) label_sets: std::sync::Arc<PartLabelSets>,
    pub(crate) of_streams: Vec<std::sync::Arc<[u32]>>,
}

pub(crate) fn read_label_sets(
    file: &VerifiedFile,
    partition: &PartitionMeta,
    streams: usize,
) -> Result<ReadLabelSets, ReadError> {
    let table = |name| tables::read(file, partition, name, &[]);
    let broken = || file.corrupt(format!("partition {:?}: label sets name a row that is not there", partition.service));
    let of = table("label_sets")?;
    if of.rows() == 0 {
        let label_sets = PartLabelSets { strings: Strings::with_empty(), sets: LabelSets::with_empty() };
        let only_empty: std::sync::Arc<[u32]> = [0].into();
        return Ok(ReadLabelSets { label_sets: label_sets.into(), of_streams: vec![only_empty; streams] });
    }
    let lengths = of.primitive::<UInt32Type>("labels")?;
    let of = table("labels")?;
    let key = of.primitive::<UInt32Type>("key")?;
    let end = ends(&lengths, key.len()).ok_or_else(broken)?;
    let sets = LabelSets {
        end,
        key,
        str: of.primitive::<UInt32Type>("str")?,
        num: of.primitive::<Int64Type>("num")?,
        unit: of.primitive::<UInt32Type>("unit")?,
    };
    let strings = table("label_strings")?.strings("string")?;
    let named = |column: &[u32]| column.iter().all(|&ix| (ix as usize) < strings.len());
    if !named(&sets.key) || !named(&sets.str) || !named(&sets.unit) || lengths.first() != Some(&0) {
        return Err(broken());
    }
    let of = table("stream_label_sets")?;
    let mut of_streams = vec![Vec::new(); streams];
    for (stream, set) in of.primitive::<UInt32Type>("stream")?.into_iter().zip(of.primitive::<UInt32Type>("label_set")?)
    {
        if set as usize >= sets.len() {
            return Err(broken());
        }
        of_streams.get_mut(stream as usize).ok_or_else(broken)?.push(set);
    }
    let of_streams = of_streams.into_iter().map(Into::into).collect();
    Ok(ReadLabelSets { label_sets: PartLabelSets { strings, sets }.into(), of_streams })
}

pub(crate) fn write_exports(out: &mut TableWriter<'_>, exports: &[ProfileExport]) -> Result<(), StoreError> {
    let column = |of: fn(&ProfileExport) -> u32| primitive::<UInt32Type>(&exports.iter().map(of).collect::<Vec<_>>());
    out.write(
        "exports",
        vec![
            ("mapping_ranges", column(|export| export.mappings.len() as u32)),
            ("comments", column(|export| export.extras.comments.len() as u32)),
            ("drop_frames", column(|export| export.extras.drop_frames)),
            ("keep_frames", column(|export| export.extras.keep_frames)),
            ("default_sample_type", column(|export| export.extras.default_sample_type)),
            ("doc_url", column(|export| export.extras.doc_url)),
        ],
    )?;
    let ranges: Vec<&MappingRange> = exports.iter().flat_map(|export| &export.mappings).collect();
    let column = |of: fn(&MappingRange) -> u64| {
        primitive::<UInt64Type>(&ranges.iter().map(|range| of(range)).collect::<Vec<_>>())
    };
    out.write(
        "mapping_ranges",
        vec![
            ("mapping", primitive::<UInt32Type>(&ranges.iter().map(|range| range.mapping).collect::<Vec<_>>())),
            ("start", column(|range| range.start)),
            ("limit", column(|range| range.limit)),
            ("offset", column(|range| range.offset)),
        ],
    )?;
    let comments: Vec<u32> = exports.iter().flat_map(|export| &export.extras.comments).copied().collect();
    out.write("comments", vec![("comment", primitive::<UInt32Type>(&comments))])
}

pub(crate) fn read_exports(file: &VerifiedFile, partition: &PartitionMeta) -> Result<Vec<ProfileExport>, ReadError> {
    let broken = || file.corrupt(format!("partition {:?}: exports name a row that is not there", partition.service));
    let comments = tables::read(file, partition, "comments", &[])?.primitive::<UInt32Type>("comment")?;
    let of = tables::read(file, partition, "mapping_ranges", &[])?;
    let mapping = of.primitive::<UInt32Type>("mapping")?;
    let start = of.primitive::<UInt64Type>("start")?;
    let limit = of.primitive::<UInt64Type>("limit")?;
    let offset = of.primitive::<UInt64Type>("offset")?;
    let of = tables::read(file, partition, "exports", &[])?;
    let range_end = ends(&of.primitive::<UInt32Type>("mapping_ranges")?, mapping.len()).ok_or_else(broken)?;
    let comment_end = ends(&of.primitive::<UInt32Type>("comments")?, comments.len()).ok_or_else(broken)?;
    let drop_frames = of.primitive::<UInt32Type>("drop_frames")?;
    let keep_frames = of.primitive::<UInt32Type>("keep_frames")?;
    let default_sample_type = of.primitive::<UInt32Type>("default_sample_type")?;
    let doc_url = of.primitive::<UInt32Type>("doc_url")?;

    let rows = |name: &str| partition.tables.get(name).map_or(0, |table| table.rows);
    let strings = rows("strings").max(1);
    let named = |column: &[u32], rows: u64| column.iter().all(|&ix| u64::from(ix) < rows);
    let sound = [&comments, &drop_frames, &keep_frames, &default_sample_type, &doc_url]
        .into_iter()
        .all(|column| named(column, strings));
    if !sound || !named(&mapping, rows("mappings")) {
        return Err(broken());
    }
    let run = |ends: &[u32], ix: usize| if ix == 0 { 0 } else { ends[ix - 1] as usize }..ends[ix] as usize;
    let one = |ix: usize| ProfileExport {
        mappings: run(&range_end, ix)
            .map(|at| MappingRange { mapping: mapping[at], start: start[at], limit: limit[at], offset: offset[at] })
            .collect(),
        extras: PprofExtras {
            comments: comments[run(&comment_end, ix)].to_vec(),
            drop_frames: drop_frames[ix],
            keep_frames: keep_frames[ix],
            default_sample_type: default_sample_type[ix],
            doc_url: doc_url[ix],
        },
    };
    Ok((0..of.rows()).map(one).collect())
}
