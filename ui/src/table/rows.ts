/** The table of functions, folded from the flame graph's tree: one set of numbers for both. */
import type { FlameTree } from "../flame/tree";

/** Columns, one entry per name that occurs; `name` is a position in the tree's `names`. */
export interface Rows {
  readonly name: Uint32Array;
  readonly self: Float64Array;
  /** Each sample once, however often a recursive function is on its stack. */
  readonly total: Float64Array;
  /** Change of `total`, in a comparison. */
  readonly diff: Float64Array | null;
}

export function foldByName(tree: FlameTree): Rows {
  const count = tree.names.length;
  const self = new Float64Array(count);
  const total = new Float64Array(count);
  const diff = tree.diff ? new Float64Array(count) : null;
  const seen = new Uint8Array(count);
  // per name: the end of its outermost subtree at hand; nodes before it are recursion
  const inside = new Uint32Array(count);
  for (let node = 1; node < tree.size; node++) {
    const name = tree.name[node];
    seen[name] = 1;
    self[name] += tree.self[node];
    if (node >= inside[name]) {
      inside[name] = tree.end[node];
      total[name] += tree.value[node];
      if (diff && tree.diff) diff[name] += tree.diff[node];
    }
  }
  const name = Uint32Array.from(seen.keys()).filter((at) => seen[at] === 1);
  const pick = (column: Float64Array) => Float64Array.from(name, (at) => column[at]);
  return { name, self: pick(self), total: pick(total), diff: diff && pick(diff) };
}

export type SortKey = "self" | "total" | "diff" | "name";

export interface Sort {
  readonly key: SortKey;
  readonly descending: boolean;
}

/** Positions in `rows`, filtered and in order; equal rows by name. */
export function arrange(
  tree: FlameTree,
  rows: Rows,
  sort: Sort,
  keep: ((name: string) => boolean) | null,
): Uint32Array {
  const nameAt = (row: number) => tree.names[rows.name[row]];
  const all = Uint32Array.from(rows.name.keys());
  const kept = keep ? all.filter((row) => keep(nameAt(row))) : all;
  const byName = (a: number, b: number) => (nameAt(a) < nameAt(b) ? -1 : nameAt(a) > nameAt(b) ? 1 : 0);
  const column = sort.key === "name" ? null : sort.key === "diff" ? rows.diff : rows[sort.key];
  const sign = sort.descending ? -1 : 1;
  return kept.sort((a, b) => (column ? sign * (column[a] - column[b]) : sign * byName(a, b)) || byName(a, b));
}
