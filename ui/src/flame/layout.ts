/** Which nodes are on screen and where: the only loop over the tree that runs per frame. */
import type { FlameTree } from "./tree";

/** The visible part of the tree: a range of values and a range of depths. */
export interface View {
  /** Left and right edge, in the values' unit; `left < right`. */
  readonly left: number;
  readonly right: number;
  /** Depths at the upper and lower edge, both included. */
  readonly top: number;
  readonly bottom: number;
  /** CSS pixels. */
  readonly width: number;
}

/** Rectangles narrower than this are not drawn one by one, in CSS pixels. */
export const NARROWEST = 1;

/** Rectangles in preorder; the arrays are reused and longer than `count`. */
export interface Rects {
  count: number;
  /** A node, or for a run of siblings too narrow to draw, `~first` (negative). */
  node: Int32Array;
  /** Left edge and width in CSS pixels, cut to the view. */
  x: Float32Array;
  width: Float32Array;
}

export function emptyRects(): Rects {
  const capacity = 4096;
  return { count: 0, node: new Int32Array(capacity), x: new Float32Array(capacity), width: new Float32Array(capacity) };
}

/**
 * Fills `out` with what the view shows. A subtree narrower than a pixel, left or right of the view or below it
 * is skipped whole; its narrow siblings become one rectangle when together they are at least a pixel wide.
 */
export function layout(tree: FlameTree, view: View, out: Rects): void {
  const { parent, end, depth, offset, value, self, size } = tree;
  const { left, top, bottom, width } = view;
  const scale = width / (view.right - left);
  out.count = 0;
  let node = 0;
  while (node < size) {
    const level = depth[node];
    if (level > bottom) {
      // siblings are as deep: on to what follows their parent
      node = end[parent[node]];
      continue;
    }
    const x = (offset[node] - left) * scale;
    if (x >= width) {
      if (node === 0) return;
      node = end[parent[node]];
      continue;
    }
    const wide = value[node] * scale;
    if (wide < NARROWEST) {
      if (node === 0) return;
      // heaviest first: nothing wider follows among the siblings
      const above = parent[node];
      const rest = (offset[above] + value[above] - self[above] - offset[node]) * scale;
      if (level >= top && rest >= NARROWEST && x + rest > 0) push(out, ~node, x, rest, width);
      node = end[above];
      continue;
    }
    if (x + wide <= 0) {
      node = end[node];
      continue;
    }
    if (level >= top) push(out, node, x, wide, width);
    node++;
  }
}

function push(out: Rects, node: number, x: number, wide: number, viewWidth: number): void {
  if (out.count === out.node.length) grow(out);
  const from = x < 0 ? 0 : x;
  const to = x + wide > viewWidth ? viewWidth : x + wide;
  out.node[out.count] = node;
  out.x[out.count] = from;
  out.width[out.count] = to - from;
  out.count++;
}

function grow(out: Rects): void {
  const capacity = out.node.length * 2;
  const node = new Int32Array(capacity);
  const x = new Float32Array(capacity);
  const width = new Float32Array(capacity);
  node.set(out.node);
  x.set(out.x);
  width.set(out.width);
  Object.assign(out, { node, x, width });
}

/** The node at a depth and a value (from the root's left edge), or -1 where there is none. */
export function nodeAt(tree: FlameTree, level: number, at: number): number {
  if (at < 0 || at >= tree.value[0]) return -1;
  let node = 0;
  while (tree.depth[node] < level) {
    let child = node + 1;
    const stop = tree.end[node];
    while (child < stop && at >= tree.offset[child] + tree.value[child]) child = tree.end[child];
    if (child >= stop) return -1;
    node = child;
  }
  return node;
}

/** The node one step away, or the node itself where there is none. Left is the heavier sibling. */
export function neighbour(tree: FlameTree, node: number, towards: "up" | "down" | "left" | "right"): number {
  const { parent, end } = tree;
  switch (towards) {
    case "up":
      return Math.max(0, parent[node]);
    case "down":
      return end[node] > node + 1 ? node + 1 : node;
    case "right":
      return node > 0 && end[node] < end[parent[node]] ? end[node] : node;
    case "left": {
      if (node === 0) return node;
      let sibling = parent[node] + 1;
      if (sibling === node) return node;
      while (end[sibling] !== node) sibling = end[sibling];
      return sibling;
    }
  }
}
