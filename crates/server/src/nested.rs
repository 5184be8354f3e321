//! The flame graph as nested messages, written from columns in one pass.
//!
//! Nodes nest as deep as stacks do, and a generated message would go as deep: into the thread's stack with every
//! frame, and through all of the tree below each node for its length. Here lengths are one backward pass.

use std::collections::HashMap;

use prost::encoding::{WireType, encode_varint, encoded_len_varint};
use query::report::{Dictionary, FlameGraph, FrameColumns, NestedFlameGraph, TextColumn};

use crate::encoded::{Encoded, message, uint};
use crate::frame_meta::frame_meta;
use crate::proto::parca::metastore::v1alpha1::{Function, Line, Location, Mapping};
use crate::proto::parca::query::v1alpha1::Flamegraph;

/// `total` is that of the reply.
pub(crate) fn flame_graph(nested: &NestedFlameGraph, total: i64) -> Flamegraph {
    let NestedFlameGraph { graph, tables, trims } = nested;
    #[expect(deprecated, reason = "old readers look at it")]
    let mut message = Flamegraph {
        total,
        unit: graph.unit.clone(),
        height: graph.height,
        untrimmed_total: if *trims { total } else { 0 },
        trimmed: graph.trimmed,
        ..Flamegraph::default()
    };
    let root = if *tables {
        let mut tables = Tables::new(&graph.frames);
        let root = root(graph, |row, out| uint(out, LOCATION_INDEX, tables.location(row).into()));
        message.string_table = tables.strings;
        message.mapping = tables.mappings;
        message.function = tables.functions;
        message.locations = tables.locations;
        root
    } else {
        root(graph, |row, out| frame_meta(&graph.frames, row, &[], out))
    };
    message.root = Some(root);
    message
}

/// Field numbers of `FlamegraphRootNode` and `FlamegraphNode`.
mod node {
    pub(super) const ROOT_CUMULATIVE: u32 = 1;
    pub(super) const ROOT_DIFF: u32 = 2;
    pub(super) const ROOT_CHILDREN: u32 = 3;
    pub(super) const META: u32 = 1;
    pub(super) const CUMULATIVE: u32 = 2;
    pub(super) const DIFF: u32 = 3;
    pub(super) const CHILDREN: u32 = 4;
}

/// Field number in `FlamegraphNodeMeta`, in place of what [`frame_meta`] writes.
const LOCATION_INDEX: u32 = 5;

/// All nodes; `write_meta` appends the fields of one row's `FlamegraphNodeMeta`.
fn root(graph: &FlameGraph, mut write_meta: impl FnMut(usize, &mut Vec<u8>)) -> Encoded {
    let rows = graph.len();
    // each node's own fields, without its children
    let mut own: Vec<u8> = Vec::with_capacity(rows * 32);
    let mut own_end: Vec<usize> = Vec::with_capacity(rows);
    for row in 0..rows {
        if row == 0 {
            uint(&mut own, node::ROOT_CUMULATIVE, graph.cumulative[row] as u64);
            uint(&mut own, node::ROOT_DIFF, graph.diff[row] as u64);
        } else {
            message(&mut own, node::META, |out| write_meta(row, out));
            uint(&mut own, node::CUMULATIVE, graph.cumulative[row] as u64);
            uint(&mut own, node::DIFF, graph.diff[row] as u64);
        }
        own_end.push(own.len());
    }
    let own_of = |row: usize| if row == 0 { 0..own_end[0] } else { own_end[row - 1]..own_end[row] };

    // rows are in preorder: when a row's turn comes from behind, its children have had theirs
    let mut length: Vec<usize> = (0..rows).map(|row| own_of(row).len()).collect();
    for row in (1..rows).rev() {
        let with_header = 1 + encoded_len_varint(length[row] as u64) + length[row];
        length[graph.parent[row] as usize] += with_header;
    }
    let mut out: Vec<u8> = Vec::with_capacity(length.first().copied().unwrap_or(0));
    for row in 0..rows {
        if row > 0 {
            let field = if graph.parent[row] == 0 { node::ROOT_CHILDREN } else { node::CHILDREN };
            prost::encoding::encode_key(field, WireType::LengthDelimited, &mut out);
            encode_varint(length[row] as u64, &mut out);
        }
        out.extend_from_slice(&own[own_of(row)]);
    }
    out.into()
}

/// Distinct strings, mappings, functions and locations. Rows are counted from 1, so that 0 is none; of strings,
/// the first is the empty one.
struct Tables<'a> {
    frames: &'a FrameColumns,
    strings: Vec<String>,
    mappings: Vec<Mapping>,
    functions: Vec<Function>,
    locations: Vec<Location>,
    /// Per column and row of its dictionary, the row in `strings`.
    string_of: [Vec<u32>; 5],
    known_mappings: Known<(u32, u32)>,
    known_functions: Known<(u32, u32, u32, i64)>,
    known_locations: Known<(u64, u32, u32, i64)>,
}

/// Content to row.
type Known<Content> = HashMap<Content, u32>;

impl<'a> Tables<'a> {
    fn new(frames: &'a FrameColumns) -> Self {
        let mut strings = vec![String::new()];
        let mut known: HashMap<&[u8], u32> = HashMap::new();
        let mut rows = |dictionary: &'a Dictionary| -> Vec<u32> {
            let keys = 0..dictionary.len() as i32;
            keys.map(|key| {
                let text = dictionary.get(key);
                *known.entry(text).or_insert_with(|| {
                    strings.push(String::from_utf8_lossy(text).into_owned());
                    strings.len() as u32 - 1
                })
            })
            .collect()
        };
        let string_of = columns(frames).map(|column| rows(&column.dictionary));
        Self {
            frames,
            strings,
            mappings: Vec::new(),
            functions: Vec::new(),
            locations: Vec::new(),
            string_of,
            known_mappings: HashMap::default(),
            known_functions: HashMap::default(),
            known_locations: HashMap::default(),
        }
    }

    /// The place of a row's frame among the locations, each of at most one line.
    fn location(&mut self, row: usize) -> u32 {
        let columns = columns(self.frames);
        let string = |column: usize| {
            let key = columns[column].keys[row];
            if key < 0 { 0 } else { self.string_of[column][key as usize] }
        };
        let (file, build_id) = (string(FILE), string(BUILD_ID));
        let mapping = if (file, build_id) == (0, 0) {
            0
        } else {
            let mappings = &mut self.mappings;
            *self.known_mappings.entry((file, build_id)).or_insert_with(|| {
                mappings.push(Mapping {
                    file_string_index: file,
                    build_id_string_index: build_id,
                    ..Mapping::default()
                });
                mappings.len() as u32
            })
        };
        let frames = self.frames;
        let function = if frames.has_function(row) {
            let start_line = frames.function_startline.values[row];
            let (name, system_name, filename) = (string(NAME), string(SYSTEM_NAME), string(FILENAME));
            let functions = &mut self.functions;
            *self.known_functions.entry((name, system_name, filename, start_line)).or_insert_with(|| {
                functions.push(Function {
                    start_line,
                    name_string_index: name,
                    system_name_string_index: system_name,
                    filename_string_index: filename,
                    ..Function::default()
                });
                functions.len() as u32
            })
        } else {
            0
        };
        let (address, line) = (frames.location_address.values[row], frames.location_line.values[row]);
        let locations = &mut self.locations;
        *self.known_locations.entry((address, mapping, function, line)).or_insert_with(|| {
            let line = Line { line, function_index: function, ..Line::default() };
            let lines = if line == Line::default() { Vec::new() } else { vec![line] };
            locations.push(Location { address, mapping_index: mapping, lines, ..Location::default() });
            locations.len() as u32
        })
    }
}

const FILE: usize = 0;
const BUILD_ID: usize = 1;
const NAME: usize = 2;
const SYSTEM_NAME: usize = 3;
const FILENAME: usize = 4;

fn columns(frames: &FrameColumns) -> [&TextColumn; 5] {
    let FrameColumns {
        mapping_file, mapping_build_id, function_name, function_system_name, function_file_name, ..
    } = frames;
    [mapping_file, mapping_build_id, function_name, function_system_name, function_file_name]
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use query::report::Column;

    use super::*;
    use crate::proto::parca::query::v1alpha1::FlamegraphNode;

    /// The message as it would be generated.
    #[derive(Clone, PartialEq, Message)]
    struct PlainRoot {
        #[prost(int64, tag = "1")]
        cumulative: i64,
        #[prost(int64, tag = "2")]
        diff: i64,
        #[prost(message, repeated, tag = "3")]
        children: Vec<FlamegraphNode>,
    }

    /// Frames named by `names`, in rows below `parents`; odd rows have no name but a place.
    fn graph(parents: &[i32]) -> FlameGraph {
        let rows = parents.len();
        let text = |name: &dyn Fn(usize) -> Option<String>| {
            let mut column = TextColumn::default();
            for row in 0..rows {
                let key = name(row).map(|name| {
                    column.dictionary.values.extend_from_slice(name.as_bytes());
                    column.dictionary.offsets.push(column.dictionary.values.len() as i32);
                    column.dictionary.len() as i32 - 1
                });
                column.keys.push(key.unwrap_or(-1));
            }
            column
        };
        let is_named = |row: usize| row > 0 && row.is_multiple_of(2);
        let number = |is_set: &dyn Fn(usize) -> bool| {
            let mut column = Column::default();
            (0..rows).for_each(|row| column.push(is_set(row).then_some(row as i64)));
            column
        };
        let mut location_address = Column::default();
        (0..rows).for_each(|row| location_address.push((row > 0).then_some(0x1000 + row as u64)));
        FlameGraph {
            unit: "bytes".into(),
            parent: parents.to_vec(),
            cumulative: (0..rows as i64).map(|row| 1_000 - row).collect(),
            diff: (0..rows as i64).map(|row| -row * 1_000_000).collect(),
            frames: FrameColumns {
                location_address,
                mapping_file: text(&|row| (row > 0).then(|| format!("/bin/{}", row % 3))),
                mapping_build_id: text(&|_| None),
                location_line: number(&is_named),
                function_startline: number(&is_named),
                function_name: text(&|row| is_named(row).then(|| "größe".repeat(row))),
                function_system_name: text(&|row| is_named(row).then(|| "größe".repeat(row))),
                function_file_name: text(&|_| None),
            },
            ..FlameGraph::default()
        }
    }

    /// What the columns say, put together one message at a time.
    fn children_of(graph: &FlameGraph, parent: i32) -> Vec<FlamegraphNode> {
        let rows = (0..graph.len()).filter(|&row| graph.parent[row] == parent);
        rows.map(|row| FlamegraphNode {
            meta: Some(meta_of(graph, row)),
            cumulative: graph.cumulative[row],
            diff: graph.diff[row],
            children: children_of(graph, row as i32),
        })
        .collect()
    }

    fn meta_of(graph: &FlameGraph, row: usize) -> crate::proto::parca::query::v1alpha1::FlamegraphNodeMeta {
        let frames = &graph.frames;
        let text = |column: &TextColumn| {
            column.get(row).map_or_else(String::new, |text| String::from_utf8(text.to_vec()).expect("UTF-8"))
        };
        let is_named = frames.function_startline.valid[row];
        crate::proto::parca::query::v1alpha1::FlamegraphNodeMeta {
            location: Some(Location { address: frames.location_address.values[row], ..Location::default() }),
            mapping: Some(Mapping { file: text(&frames.mapping_file), ..Mapping::default() }),
            function: is_named.then(|| Function {
                start_line: row as i64,
                name: text(&frames.function_name),
                system_name: text(&frames.function_system_name),
                ..Function::default()
            }),
            line: is_named.then(|| Line { line: row as i64, ..Line::default() }),
            ..Default::default()
        }
    }

    fn sent(nested: NestedFlameGraph) -> (Flamegraph, PlainRoot) {
        let message = flame_graph(&nested, 1_000).encode_to_vec();
        let message = Flamegraph::decode(message.as_slice()).expect("a flame graph");
        let root = message.root.as_ref().expect("a root").encode_to_vec();
        let root = PlainRoot::decode(root.as_slice()).expect("a root");
        (message, root)
    }

    #[test]
    fn the_bytes_are_those_of_the_generated_messages() {
        for parents in [&[-1][..], &[-1, 0, 1, 2, 0, 4, 4, 0], &[-1, 0, 0, 0], &[-1, 0, 1, 2, 3, 4, 5, 6, 7, 8]] {
            let graph = graph(parents);
            let (message, root) = sent(NestedFlameGraph { graph: graph.clone(), tables: false, trims: false });
            assert_eq!(root, PlainRoot { cumulative: 1_000, diff: 0, children: children_of(&graph, 0) });
            assert!(message.string_table.is_empty() && message.locations.is_empty());
        }
    }

    #[test]
    fn nodes_that_point_into_tables_say_the_same() {
        let graph = graph(&[-1, 0, 1, 2, 0, 4, 4, 0]);
        let (message, root) = sent(NestedFlameGraph { graph: graph.clone(), tables: true, trims: true });
        assert_eq!(message.string_table.first().map(String::as_str), Some(""));
        let string = |ix: u32| message.string_table[ix as usize].clone();
        fn check(
            message: &Flamegraph,
            string: &dyn Fn(u32) -> String,
            nodes: &[FlamegraphNode],
            spelled_out: &[FlamegraphNode],
        ) {
            assert_eq!(nodes.len(), spelled_out.len());
            for (node, spelled_out) in nodes.iter().zip(spelled_out) {
                let meta = node.meta.as_ref().expect("what it is");
                let expected = spelled_out.meta.as_ref().expect("what it is");
                let location = &message.locations[meta.location_index as usize - 1];
                assert_eq!(location.address, expected.location.as_ref().expect("a location").address);
                let mapping = &message.mapping[location.mapping_index as usize - 1];
                let file = expected.mapping.as_ref().map(|mapping| mapping.file.clone());
                assert_eq!(Some(string(mapping.file_string_index)), file);
                let line = location.lines.get(meta.line_index as usize);
                assert_eq!(line.map(|line| line.line), expected.line.as_ref().map(|line| line.line));
                let function = line.map(|line| &message.function[line.function_index as usize - 1]);
                assert_eq!(
                    function.map(|function| (string(function.name_string_index), function.start_line)),
                    expected.function.as_ref().map(|function| (function.name.clone(), function.start_line)),
                );
                check(message, string, &node.children, &spelled_out.children);
            }
        }
        check(&message, &string, &root.children, &children_of(&graph, 0));
        assert_eq!(message.mapping.len(), 3, "each mapping once");
        assert_eq!(message.string_table.len(), 1 + 3 + 3, "files and names, each once");
    }

    #[test]
    fn a_graph_as_deep_as_a_tree_may_be_is_written() {
        let depth = profile::tree::DEPTH_MAX;
        let parents: Vec<i32> = (0..=depth as i32).map(|row| row - 1).collect();
        let mut graph = graph(&[-1]);
        graph.cumulative = vec![1; parents.len()];
        graph.diff = vec![0; parents.len()];
        graph.parent = parents;
        let bytes = root(&graph, |_, _| {}).encode_to_vec();
        // a meta, a value and a header of up to 4 bytes each
        assert!((6 * depth..9 * depth).contains(&bytes.len()), "{} bytes", bytes.len());
        let mut message = bytes.as_slice();
        let mut levels = 0;
        while let Some(header) = child(message, if levels == 0 { 3 } else { 4 }) {
            message = header;
            levels += 1;
        }
        assert_eq!(levels, depth);
    }

    /// The one child of a node, which is its last field.
    fn child(mut message: &[u8], field: u32) -> Option<&[u8]> {
        while !message.is_empty() {
            let (tag, wire_type) = prost::encoding::decode_key(&mut message).expect("a key");
            let value = prost::encoding::decode_varint(&mut message).expect("a value or a length") as usize;
            if tag == field && wire_type == WireType::LengthDelimited {
                assert_eq!(value, message.len());
                return Some(message);
            }
            if wire_type == WireType::LengthDelimited {
                message = &message[value..];
            }
        }
        None
    }
}
