/** Small trees with recursion, self values and many narrow siblings. */
import type { FlameTree } from "../src/flame/tree";

export function randomTree(seed: number): { tree: FlameTree; next: () => number } {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  interface Node {
    name: number;
    self: number;
    value: number;
    children: Node[];
  }
  const grow = (depth: number): Node => {
    const children: Node[] = [];
    while (depth < 7 && next() < 0.72 && children.length < 5) children.push(grow(depth + 1));
    const self = children.length === 0 ? 1 + Math.floor(next() ** 6 * 500) : next() < 0.4 ? Math.floor(next() * 20) : 0;
    children.sort((a, b) => b.value - a.value);
    return {
      name: 1 + Math.floor(next() * 6),
      self,
      value: children.reduce((sum, each) => sum + each.value, self),
      children,
    };
  };
  const columns = { parent: [], end: [], depth: [], offset: [], value: [], self: [], name: [] } as Record<
    string,
    number[]
  >;
  const lay = (node: Node, parent: number, depth: number, offset: number): void => {
    const at = columns["parent"].push(parent) - 1;
    columns["depth"].push(depth);
    columns["offset"].push(offset);
    columns["value"].push(node.value);
    columns["self"].push(node.self);
    columns["name"].push(parent < 0 ? 0 : node.name);
    columns["end"].push(0);
    for (const child of node.children) {
      lay(child, at, depth + 1, offset);
      offset += child.value;
    }
    columns["end"][at] = columns["parent"].length;
  };
  lay(grow(0), -1, 0, 0);
  const names = ["total", "f1", "f2", "f3", "f4", "f5", "f6"];
  const size = columns["parent"].length;
  const tree: FlameTree = {
    size,
    height: Math.max(...columns["depth"]),
    parent: Int32Array.from(columns["parent"]),
    end: Uint32Array.from(columns["end"]),
    depth: Uint16Array.from(columns["depth"]),
    offset: Float64Array.from(columns["offset"]),
    value: Float64Array.from(columns["value"]),
    self: Float64Array.from(columns["self"]),
    diff: null,
    name: Uint32Array.from(columns["name"]),
    names,
    group: new Uint32Array(names.length),
    groups: ["all"],
    unit: "count",
    total: columns["value"][0],
    trimmed: 0,
    filtered: 0,
    binaries: () => ({ index: new Int32Array(size), texts: [""] }),
    origin: () => ({ file: "", line: 0, systemName: "", binary: "", buildId: "", address: 0n, inlined: false }),
  };
  return { tree, next };
}
