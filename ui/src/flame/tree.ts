/**
 * A flame graph as typed arrays in preorder.
 *
 * Node 0 is the root; a node stands before its children; `end[i]` is one past the last node of i's subtree,
 * so a whole subtree is skipped by one assignment. Siblings go from the heaviest to the lightest: the
 * costliest path is the left edge, and as soon as a sibling is too narrow to draw, so are all after it.
 */
import { Columns, ShapeError, type Texts } from "../arrow/columns";

export interface FlameTree {
  readonly size: number;
  /** The deepest node's depth; the root's is 0. */
  readonly height: number;
  /** -1 for the root; otherwise less than the node itself. */
  readonly parent: Int32Array;
  readonly end: Uint32Array;
  readonly depth: Uint16Array;
  /** Where the node begins, in the values' unit, counted from the root's left edge. */
  readonly offset: Float64Array;
  /** Cumulative: the node and all below it. */
  readonly value: Float64Array;
  /** The node alone. */
  readonly self: Float64Array;
  /** Change against the base of a comparison (positive: more than before); null outside of one. */
  readonly diff: Float64Array | null;
  /** Position in `names`. */
  readonly name: Uint32Array;
  /** Distinct names: a function's, else binary and address. */
  readonly names: readonly string[];
  /** Per name: what it belongs to, a package, namespace or binary, as a position in `groups`. */
  readonly group: Uint32Array;
  readonly groups: readonly string[];
  /** The values' unit, as the server says it: `nanoseconds`, `bytes`, `count`, ... */
  readonly unit: string;
  /** All of the query's samples; what was trimmed from the tree for being small; what a filter removed. */
  readonly total: number;
  readonly trimmed: number;
  readonly filtered: number;
  /** Per node: the base name of its binary. */
  readonly binaries: () => Texts;
  /** Where a node comes from. Reads the reply's columns, so it is for one node at a time. */
  readonly origin: (node: number) => Origin;
}

/** Empty or 0 where the profile does not say. */
export interface Origin {
  readonly file: string;
  readonly line: number;
  readonly systemName: string;
  readonly binary: string;
  readonly buildId: string;
  readonly address: bigint;
  readonly inlined: boolean;
}

/** A reply's numbers beside its table. */
export interface Totals {
  readonly unit: string;
  readonly total: number;
  readonly trimmed: number;
  readonly filtered: number;
}

/** Depths are kept in 16 bits; a deeper reply is a defect (stacks are capped far below). */
const DEPTH_MAX = 65_535;

/**
 * Turns Parca's flame graph table into a tree: one row per node, parents before children (Parca sends breadth
 * first), `parent` -1 in row 0.
 */
export function decodeFlameGraph(record: Uint8Array, totals: Totals, comparison: boolean): FlameTree {
  const columns = new Columns(record);
  const size = columns.rows;
  if (size === 0) throw new ShapeError("a flame graph without a root");

  const parentOf = columns.numbers("parent");
  const cumulative = columns.numbers("cumulative");
  const flat = columns.numbers("flat");
  const diffOf = comparison ? columns.numbers("diff") : null;
  const { row, position, end } = preorder(parentOf, cumulative);

  const parent = new Int32Array(size);
  const depth = new Uint16Array(size);
  const offset = new Float64Array(size);
  const value = new Float64Array(size);
  const self = new Float64Array(size);
  const diff = diffOf ? new Float64Array(size) : null;
  // where the next child of a node begins
  const next = new Float64Array(size);
  let height = 0;
  parent[0] = -1;
  for (let node = 0; node < size; node++) {
    const from = row[node];
    value[node] = cumulative[from];
    self[node] = flat[from];
    if (diff && diffOf) diff[node] = diffOf[from];
    if (node > 0) {
      const above = position[parentOf[from]];
      parent[node] = above;
      if (depth[above] === DEPTH_MAX) throw new ShapeError(`stacks deeper than ${DEPTH_MAX} frames`);
      depth[node] = depth[above] + 1;
      if (depth[node] > height) height = depth[node];
      offset[node] = next[above];
      next[above] += value[node];
    }
    next[node] = offset[node];
  }

  const { name, names, group, groups } = nameNodes(columns, row);
  return {
    size,
    height,
    parent,
    end,
    depth,
    offset,
    value,
    self,
    diff,
    name,
    names,
    group,
    groups,
    ...totals,
    binaries: lazily(() => {
      const { index, texts } = columns.texts("mapping_file");
      return { index: Int32Array.from(row, (from) => index[from]), texts: texts.map(baseName) };
    }),
    origin: originReader(columns, row),
  };
}

/** The order of rows in preorder, heaviest sibling first: `row[node]` and its inverse `position[row]`. */
function preorder(parentOf: Float64Array, cumulative: Float64Array) {
  const size = parentOf.length;
  if (parentOf[0] !== -1) throw new ShapeError("row 0 is not the root");
  // children of each row, as runs of `children` that begin at first[row]
  const first = new Uint32Array(size + 1);
  for (let r = 1; r < size; r++) {
    const above = parentOf[r];
    if (!(above >= 0 && above < r)) throw new ShapeError(`row ${r} has parent ${above}`);
    first[above + 1]++;
  }
  for (let r = 0; r < size; r++) first[r + 1] += first[r];
  const fill = first.slice(0, size);
  const children = new Uint32Array(size);
  for (let r = 1; r < size; r++) children[fill[parentOf[r]]++] = r;

  const weight = new Uint32Array(size).fill(1);
  for (let r = size - 1; r > 0; r--) weight[parentOf[r]] += weight[r];

  const heavierFirst = (a: number, b: number) => cumulative[b] - cumulative[a] || a - b;
  const row = new Uint32Array(size);
  const position = new Uint32Array(size);
  const end = new Uint32Array(size);
  end[0] = size;
  for (let r = 0; r < size; r++) {
    const from = first[r];
    const to = first[r + 1];
    if (to - from > 1) children.subarray(from, to).sort(heavierFirst);
    let at = position[r] + 1;
    for (let c = from; c < to; c++) {
      const child = children[c];
      position[child] = at;
      row[at] = child;
      at += weight[child];
      end[position[child]] = at;
    }
  }
  return { row, position, end };
}

/** Gives every node a name and every name a group. */
function nameNodes(columns: Columns, row: Uint32Array) {
  const functions = columns.texts("function_name");
  const binaries = columns.texts("mapping_file");
  const addresses = columns.bigints("location_address");
  const labelsOnly = columns.bits("labels_only");

  const names: string[] = [];
  const groups: string[] = [];
  const groupOf: number[] = [];
  const byName = new Map<string, number>();
  const byGroup = new Map<string, number>();
  const intern = (text: string, binary: string): number => {
    let at = byName.get(text);
    if (at === undefined) {
      at = names.push(text) - 1;
      byName.set(text, at);
      const belongs = groupOfFunction(text) || binary || "unknown";
      let group = byGroup.get(belongs);
      if (group === undefined) {
        group = groups.push(belongs) - 1;
        byGroup.set(belongs, group);
      }
      groupOf.push(group);
    }
    return at;
  };

  const binaryNames = binaries.texts.map(baseName);
  const ofFunction = new Int32Array(functions.texts.length).fill(-1);
  const name = new Uint32Array(row.length);
  name[0] = intern("total", "total");
  for (let node = 1; node < row.length; node++) {
    const from = row[node];
    const fn = functions.index[from];
    const binary = binaries.index[from] < 0 ? "" : binaryNames[binaries.index[from]];
    if (fn >= 0 && functions.texts[fn] !== "") {
      if (ofFunction[fn] < 0) ofFunction[fn] = intern(functions.texts[fn], binary);
      name[node] = ofFunction[fn];
    } else if (labelsOnly(from)) {
      name[node] = intern("(labels)", "labels");
    } else {
      const address = addresses(from);
      const where = address === 0n ? "(unknown)" : `0x${address.toString(16)}`;
      name[node] = intern(binary ? `[${binary}] ${where}` : where, binary);
    }
  }
  return { name, names, group: Uint32Array.from(groupOf), groups };
}

function originReader(columns: Columns, row: Uint32Array): (node: number) => Origin {
  const read = lazily(() => ({
    file: columns.texts("function_file_name"),
    system: columns.texts("function_system_name"),
    binary: columns.texts("mapping_file"),
    buildId: columns.texts("mapping_build_id"),
    line: columns.numbers("location_line"),
    address: columns.bigints("location_address"),
    inlined: columns.bits("inlined"),
  }));
  return (node) => {
    const from = row[node];
    const { file, system, binary, buildId, line, address, inlined } = read();
    return {
      file: textAt(file, from),
      line: line[from],
      systemName: textAt(system, from),
      binary: textAt(binary, from),
      buildId: textAt(buildId, from),
      address: address(from),
      inlined: inlined(from),
    };
  };
}

function textAt({ index, texts }: Texts, row: number): string {
  return index[row] < 0 ? "" : texts[index[row]];
}

function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * The package, namespace or class that a function belongs to, from its name alone; empty when it does not say.
 * Covers Go (`net/http.(*conn).serve`), Rust and C++ (`core::ptr::drop`), Java and Python (`a.b.C.m`), Rust's
 * trait paths (`<alloc::vec::Vec<T> as Clone>::clone`).
 */
export function groupOfFunction(name: string): string {
  const plain = name.startsWith("<") ? name.slice(1).replace(/^(&mut |&|dyn |\*const |\*mut )+/, "") : name;
  const colons = plain.indexOf("::");
  // generic and argument lists hold names of others: look before them only
  const open = plain.search(/[(<[]/);
  if (colons > 0 && (open < 0 || colons < open)) return plain.slice(0, colons).split(" ").pop() ?? "";
  // Go's closures: `main.run.func1.2` belongs where `main.run` does
  const head = (open < 0 ? plain : plain.slice(0, open)).replace(/(\.func\d+|\.\d+|\.gowrap\d+)+$/, "");
  const slash = head.lastIndexOf("/");
  const dot = head.indexOf(".", slash + 1);
  if (dot > 0 && dot > slash + 1) {
    if (slash >= 0 || open >= 0) return head.slice(0, dot);
    // a.b.C.m: all but the last part; a Go function's `main.main` has two parts
    const last = head.lastIndexOf(".");
    return head.slice(0, last > 0 ? last : dot);
  }
  return "";
}

/** The path of names from the root to a node as 8 hex digits: it names the same frame in the next reply. */
export function pathKey(tree: FlameTree, node: number): string {
  const path = [];
  for (let at = node; at > 0; at = tree.parent[at]) path.push(tree.name[at]);
  let hash = PATH_SEED;
  while (path.length > 0) hash = step(hash, hashText(tree.names[path.pop() as number]));
  return hex(hash);
}

/** The node whose path has this key, or -1. */
export function findByPathKey(tree: FlameTree, key: string): number {
  const wanted = Number.parseInt(key, 16);
  const ofName = tree.names.map(hashText);
  const hash = new Uint32Array(tree.size);
  hash[0] = PATH_SEED;
  for (let node = 1; node < tree.size; node++) {
    hash[node] = step(hash[tree.parent[node]], ofName[tree.name[node]]);
    if (hash[node] === wanted) return node;
  }
  return -1;
}

const PATH_SEED = 0x811c9dc5;

function step(hash: number, next: number): number {
  const mixed = Math.imul(hash ^ next, 0x9e3779b1);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

/** FNV-1a over UTF-16 code units. */
export function hashText(text: string): number {
  let hash = PATH_SEED;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

function hex(hash: number): string {
  return hash.toString(16).padStart(8, "0");
}
