import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { decodeFlameGraph, findByPathKey, groupOfFunction, pathKey, type FlameTree } from "../src/flame/tree";

const TOTALS = { unit: "nanoseconds", total: 0, trimmed: 0, filtered: 0 };

function recorded(name: string): URL {
  return new URL(`recorded/${name}`, import.meta.url);
}

function decode(name: string, comparison = false): FlameTree {
  return decodeFlameGraph(readFileSync(recorded(`${name}.arrow`)), TOTALS, comparison);
}

interface Expected {
  fn?: string;
  addr?: number;
  map?: string;
  file?: string;
  line?: number;
}

/** One line per node: the path to it with everything that is known of each frame, and its values. */
function expectedLines(name: string): string[] {
  const { flamegraph_arrow } = JSON.parse(readFileSync(recorded(`${name}.json`), "utf8")) as {
    flamegraph_arrow: { nodes: [number, Expected, number, number, number][] };
  };
  const path: string[] = [];
  return flamegraph_arrow.nodes.map(([depth, what, cumulative, flat, diff]) => {
    path.length = depth;
    path.push([what.fn ?? "", what.addr ?? 0, what.map ?? "", what.file ?? "", what.line ?? 0].join("|"));
    return `${path.join(" / ")} = ${cumulative} ${flat} ${diff}`;
  });
}

function decodedLines(tree: FlameTree): string[] {
  const path: string[] = [];
  return Array.from({ length: tree.size }, (_, node) => {
    const { address, binary, file, line } = tree.origin(node);
    const name = tree.names[tree.name[node]];
    const named = node > 0 && !/0x[0-9a-f]+$/.test(name) ? name : "";
    path.length = tree.depth[node];
    path.push([named, address, binary, file, line].join("|"));
    return `${path.join(" / ")} = ${tree.value[node]} ${tree.self[node]} ${tree.diff?.[node] ?? 0}`;
  });
}

test("a recorded reply gives the tree that was recorded beside it", () => {
  assert.deepEqual(decodedLines(decode("report.mappings-arrow")).sort(), expectedLines("report.mappings-arrow").sort());
});

test("so does a comparison, with its changes", () => {
  const lines = decodedLines(decode("diff.cpu-time", true)).sort();
  assert.equal(lines.length, 257);
  assert.deepEqual(lines, expectedLines("diff.cpu-time").sort());
});

test("an empty reply is a root of nothing", () => {
  const tree = decode("empty.merge-arrow");
  assert.deepEqual([tree.size, tree.height, tree.value[0]], [1, 0, 0]);
});

test("frames without a name are told apart by binary and address", () => {
  const { names } = decode("report.mappings-arrow");
  assert.ok(names.includes("[libc.so.6] 0x7f0000026123"), names.join());
});

test("the arrays keep their promises: preorder, ends, offsets, heaviest first", () => {
  for (const name of ["merge.cpu-arrow", "report.deep-arrow", "report.mappings-arrow"]) {
    const tree = decode(name);
    for (let node = 1; node < tree.size; node++) {
      const above = tree.parent[node];
      assert.ok(above >= 0 && above < node && node < tree.end[above] && tree.end[node] <= tree.end[above]);
      assert.equal(tree.depth[node], tree.depth[above] + 1);
      assert.ok(tree.offset[node] >= tree.offset[above]);
      assert.ok(tree.offset[node] + tree.value[node] <= tree.offset[above] + tree.value[above]);
      const sibling = tree.end[node];
      if (sibling < tree.end[above]) {
        assert.equal(tree.parent[sibling], above);
        assert.ok(tree.value[sibling] <= tree.value[node]);
        assert.equal(tree.offset[sibling], tree.offset[node] + tree.value[node]);
      }
    }
  }
});

test("a path key finds its frame again, and a strange one finds nothing", () => {
  const tree = decode("merge.cpu-arrow");
  for (let node = 1; node < tree.size; node++) assert.equal(findByPathKey(tree, pathKey(tree, node)), node);
  assert.equal(findByPathKey(tree, "00000000"), -1);
});

test("bytes that are no flame graph are an error that says so", () => {
  const good = readFileSync(recorded("report.mappings-arrow.arrow"));
  assert.throws(() => decodeFlameGraph(good.subarray(0, 100), TOTALS, false));
  assert.throws(() => decodeFlameGraph(new Uint8Array(0), TOTALS, false));
});

test("a function's package, namespace or class is read from its name", () => {
  const cases: Record<string, string> = {
    "net/http.(*conn).serve": "net/http",
    "main.main": "main",
    "main.main.func1.2": "main",
    "github.com/a/b.v2.(*X).Y": "github.com/a/b",
    "runtime.mallocgc": "runtime",
    "core::ptr::drop_in_place<T>": "core",
    "<alloc::vec::Vec<T> as core::clone::Clone>::clone": "alloc",
    "<&mut tokio::io::Reader as Read>::read": "tokio",
    "std::vector<int>::push_back": "std",
    "void ns::run<a::b>(int)": "ns",
    "java.lang.Thread.run": "java.lang.Thread",
    _start: "",
    "operator new(unsigned long)": "",
  };
  for (const [name, group] of Object.entries(cases)) assert.equal(groupOfFunction(name), group, name);
});
