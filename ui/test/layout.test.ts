import assert from "node:assert/strict";
import { test } from "node:test";

import { emptyRects, layout, NARROWEST, neighbour, nodeAt, type View } from "../src/flame/layout";
import { search } from "../src/flame/search";
import type { FlameTree } from "../src/flame/tree";
import { arrange, foldByName } from "../src/table/rows";
import { randomTree } from "./random-tree";

/** What should be drawn, by looking at every node. */
function slowLayout(tree: FlameTree, view: View): string[] {
  const scale = view.width / (view.right - view.left);
  const out = [];
  const ancestorsWide = (node: number): boolean => node === 0 || tree.value[tree.parent[node]] * scale >= NARROWEST;
  for (let node = 0; node < tree.size; node++) {
    const x = (tree.offset[node] - view.left) * scale;
    const wide = tree.value[node] * scale;
    const level = tree.depth[node];
    if (level < view.top || level > view.bottom || !ancestorsWide(node)) continue;
    if (wide >= NARROWEST && x < view.width && x + wide > 0) out.push(`${node}`);
    if (wide < NARROWEST && node > 0 && x < view.width) {
      const above = tree.parent[node];
      const firstNarrow = node === above + 1 || tree.value[previous(tree, node)] * scale >= NARROWEST;
      const rest = (tree.offset[above] + tree.value[above] - tree.self[above] - tree.offset[node]) * scale;
      if (firstNarrow && rest >= NARROWEST && x + rest > 0) out.push(`${~node}`);
    }
  }
  return out.sort();
}

function previous(tree: FlameTree, node: number): number {
  let sibling = tree.parent[node] + 1;
  while (tree.end[sibling] !== node) sibling = tree.end[sibling];
  return sibling;
}

test("the layout draws what a look at every node would draw", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const { tree, next } = randomTree(seed);
    const all = tree.value[0];
    const left = next() * all * 0.8;
    const view = {
      left,
      right: left + Math.max(1, next() * (all - left)),
      top: Math.floor(next() * 4),
      bottom: 2 + Math.floor(next() * 8),
      width: 20 + Math.floor(next() * 400),
    };
    const rects = emptyRects();
    layout(tree, view, rects);
    const drawn = Array.from(rects.node.subarray(0, rects.count), String).sort();
    assert.deepEqual(drawn, slowLayout(tree, view), `seed ${seed}`);
    for (let at = 0; at < rects.count; at++) {
      assert.ok(rects.x[at] >= 0 && rects.width[at] >= 0 && rects.x[at] + rects.width[at] <= view.width + 1e-3);
    }
  }
});

test("a point is on the node whose range and depth hold it", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const { tree, next } = randomTree(seed);
    for (let round = 0; round < 50; round++) {
      const at = next() * tree.value[0] * 1.1;
      const level = Math.floor(next() * (tree.height + 2));
      const expected = Array.from(tree.depth.keys()).find(
        (node) => tree.depth[node] === level && at >= tree.offset[node] && at < tree.offset[node] + tree.value[node],
      );
      assert.equal(nodeAt(tree, level, at), expected ?? -1);
    }
  }
});

test("a walk by keys goes to children and siblings and back", () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { tree } = randomTree(seed);
    for (let node = 1; node < tree.size; node++) {
      const down = neighbour(tree, node, "down");
      if (down !== node) assert.equal(neighbour(tree, down, "up"), node);
      const right = neighbour(tree, node, "right");
      if (right !== node) assert.equal(neighbour(tree, right, "left"), node);
      assert.equal(tree.depth[right], tree.depth[node]);
    }
    assert.equal(neighbour(tree, 0, "up"), 0);
  }
});

test("a search counts each sample once, however many of its frames match", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const { tree } = randomTree(seed);
    const { value, frames } = search(tree, (name) => name === "f1" || name === "f2");
    let slowValue = 0;
    let slowFrames = 0;
    for (let node = 0; node < tree.size; node++) {
      const matches = (at: number) => ["f1", "f2"].includes(tree.names[tree.name[at]]);
      if (matches(node)) slowFrames++;
      let above = node;
      while (above >= 0 && !matches(above)) above = tree.parent[above];
      if (above >= 0) slowValue += tree.self[node];
    }
    assert.deepEqual([value, frames], [slowValue, slowFrames]);
  }
});

test("the table's totals count recursion once and its selfs add up to all", () => {
  for (let seed = 1; seed <= 100; seed++) {
    const { tree } = randomTree(seed);
    const rows = foldByName(tree);
    assert.equal(
      rows.self.reduce((all, each) => all + each, tree.self[0]),
      tree.value[0],
    );
    rows.name.forEach((name, row) => {
      let total = 0;
      for (let node = 1; node < tree.size; node++) {
        let above = node;
        while (above > 0 && tree.name[above] !== name) above = tree.parent[above];
        if (above > 0) total += tree.self[node];
      }
      assert.equal(rows.total[row], total);
    });
  }
});

test("the table sorts by any column both ways and filters by name", () => {
  const { tree } = randomTree(5);
  const rows = foldByName(tree);
  for (const key of ["self", "total"] as const) {
    const order = Array.from(arrange(tree, rows, { key, descending: true }, null), (row) => rows[key][row]);
    assert.deepEqual(
      order,
      order.toSorted((a, b) => b - a),
    );
  }
  const names = Array.from(
    arrange(tree, rows, { key: "name", descending: false }, (name) => name !== "f3"),
    (row) => tree.names[rows.name[row]],
  );
  assert.deepEqual(names, names.toSorted());
  assert.ok(!names.includes("f3") && names.length > 0);
});
