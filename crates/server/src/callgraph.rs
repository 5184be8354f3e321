//! The call graph as a message, written from columns in one pass: it has many times more calls than functions, and each
//! spells out the names of its ends.

use query::report::{CallEdge, CallGraph};

use crate::encoded::{Encoded, message, string, uint};
use crate::frame_meta::frame_meta;

/// Field numbers of `Callgraph`.
mod graph {
    pub(super) const NODES: u32 = 1;
    pub(super) const EDGES: u32 = 2;
    pub(super) const CUMULATIVE: u32 = 3;
}

/// Field numbers of `CallgraphNode`.
mod node {
    pub(super) const ID: u32 = 1;
    pub(super) const META: u32 = 2;
    pub(super) const CUMULATIVE: u32 = 3;
    pub(super) const FLAT: u32 = 4;
}

/// Field numbers of `CallgraphEdge`.
mod edge {
    pub(super) const ID: u32 = 1;
    pub(super) const SOURCE: u32 = 2;
    pub(super) const TARGET: u32 = 3;
    pub(super) const CUMULATIVE: u32 = 4;
    pub(super) const IS_COLLAPSED: u32 = 5;
}

/// What most nodes and edges take at the most, in bytes.
const NODE_BYTES: usize = 256;
const EDGE_BYTES: usize = 48;

/// Nodes are named by their rows, edges by their ends: alike in every answer to one question.
pub(crate) fn call_graph(graph: &CallGraph) -> Encoded {
    let nodes = graph.node_cumulative.len();
    let names = Names::new(nodes);
    let mut out = Vec::with_capacity(nodes * NODE_BYTES + graph.edges.len() * EDGE_BYTES);
    for row in 0..nodes {
        message(&mut out, graph::NODES, |out| {
            string(out, node::ID, names.get(row as u32));
            message(out, node::META, |out| frame_meta(&graph.frames, row, names.get(row as u32), out));
            uint(out, node::CUMULATIVE, graph.node_cumulative[row] as u64);
            uint(out, node::FLAT, graph.node_flat[row] as u64);
        });
    }
    let mut id = Vec::new();
    for &CallEdge { is_collapsed, caller, callee, cumulative } in &graph.edges {
        let (source, target) = (names.get(caller), names.get(callee));
        id.clear();
        id.extend_from_slice(source);
        id.push(if is_collapsed { b'*' } else { b'-' });
        id.extend_from_slice(target);
        message(&mut out, graph::EDGES, |out| {
            string(out, edge::ID, &id);
            string(out, edge::SOURCE, source);
            string(out, edge::TARGET, target);
            uint(out, edge::CUMULATIVE, cumulative as u64);
            uint(out, edge::IS_COLLAPSED, is_collapsed.into());
        });
    }
    uint(&mut out, graph::CUMULATIVE, graph.cumulative as u64);
    out.into()
}

/// The numbers of rows as text.
struct Names {
    text: Vec<u8>,
    end: Vec<u32>,
}

impl Names {
    fn new(rows: usize) -> Self {
        let mut names = Self { text: Vec::new(), end: Vec::with_capacity(rows) };
        for row in 0..rows {
            names.text.extend_from_slice(row.to_string().as_bytes());
            names.end.push(names.text.len() as u32);
        }
        names
    }

    fn get(&self, row: u32) -> &[u8] {
        let row = row as usize;
        let begin = if row == 0 { 0 } else { self.end[row - 1] };
        &self.text[begin as usize..self.end[row] as usize]
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use query::report::{Column, FrameColumns, TextColumn};

    use super::*;
    use crate::proto::parca::metastore::v1alpha1::{Function, Line, Location, Mapping};
    use crate::proto::parca::query::v1alpha1::{CallgraphEdge, CallgraphNode, CallgraphNodeMeta};

    /// The message as it would be generated.
    #[derive(Clone, PartialEq, Message)]
    struct Plain {
        #[prost(message, repeated, tag = "1")]
        nodes: Vec<CallgraphNode>,
        #[prost(message, repeated, tag = "2")]
        edges: Vec<CallgraphEdge>,
        #[prost(int64, tag = "3")]
        cumulative: i64,
    }

    fn texts(texts: &[Option<&str>]) -> TextColumn {
        let mut column = TextColumn::default();
        for text in texts {
            column.keys.push(text.map_or(-1, |text| {
                column.dictionary.values.extend_from_slice(text.as_bytes());
                column.dictionary.offsets.push(column.dictionary.values.len() as i32);
                column.dictionary.len() as i32 - 1
            }));
        }
        column
    }

    fn numbers<T: Default>(values: impl IntoIterator<Item = Option<T>>) -> Column<T> {
        let mut column = Column::default();
        values.into_iter().for_each(|value| column.push(value));
        column
    }

    #[test]
    fn the_bytes_are_those_of_the_generated_messages() {
        let long = "größe".repeat(100);
        let edge = |is_collapsed, caller, callee, cumulative| CallEdge { is_collapsed, caller, callee, cumulative };
        let columns = CallGraph {
            cumulative: 1 << 40,
            frames: FrameColumns {
                location_address: numbers([Some(0), Some(0x1000), None]),
                mapping_file: texts(&[None, Some("/bin/app"), None]),
                mapping_build_id: texts(&[Some("abc"), None, None]),
                location_line: numbers([Some(12), Some(0), None]),
                function_startline: numbers([Some(-1), None, None]),
                function_name: texts(&[Some(&long), None, None]),
                function_system_name: texts(&[Some("größe"), None, None]),
                function_file_name: texts(&[Some("a.go"), None, None]),
            },
            node_cumulative: vec![i64::MAX, -7, 0],
            node_flat: vec![0, 1, -1],
            edges: vec![edge(false, 0, 1, 5), edge(false, 2, 2, i64::MIN), edge(true, 0, 2, 0)],
        };
        let text = |text: &str| text.to_owned();
        let location = |id: &str, address, mapping_id: &str| {
            Some(Location { id: text(id), address, mapping_id: text(mapping_id), ..Location::default() })
        };
        let function = Function {
            id: text("0"),
            start_line: -1,
            name: long.clone(),
            system_name: text("größe"),
            filename: text("a.go"),
            ..Function::default()
        };
        let metas = [
            CallgraphNodeMeta {
                location: location("0", 0, "0"),
                mapping: Some(Mapping { id: text("0"), build_id: text("abc"), ..Mapping::default() }),
                function: Some(function),
                line: Some(Line { function_id: text("0"), line: 12, ..Line::default() }),
            },
            CallgraphNodeMeta {
                location: location("1", 0x1000, "1"),
                mapping: Some(Mapping { id: text("1"), file: text("/bin/app"), ..Mapping::default() }),
                function: None,
                line: Some(Line::default()),
            },
            CallgraphNodeMeta { location: location("2", 0, ""), mapping: None, function: None, line: None },
        ];
        let nodes = metas.into_iter().zip([(i64::MAX, 0), (-7, 1), (0, -1)]).enumerate();
        let nodes = nodes.map(|(row, (meta, (cumulative, flat)))| CallgraphNode {
            id: row.to_string(),
            meta: Some(meta),
            cumulative,
            flat,
        });
        let edges = [("0-1", "0", "1", 5, false), ("2-2", "2", "2", i64::MIN, false), ("0*2", "0", "2", 0, true)];
        let edges = edges.map(|(id, source, target, cumulative, is_collapsed)| CallgraphEdge {
            id: text(id),
            source: text(source),
            target: text(target),
            cumulative,
            is_collapsed,
        });
        let plain = Plain { nodes: nodes.collect(), edges: edges.into(), cumulative: 1 << 40 };
        assert_eq!(call_graph(&columns).encode_to_vec(), plain.encode_to_vec());
    }
}
