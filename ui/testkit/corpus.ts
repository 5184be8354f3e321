/** A profile of a given number of call-tree nodes, the same each time. */
import type { Sample } from "./pprof";

const PACKAGES = [
  "runtime",
  "net::http",
  "codec::json",
  "store::wal",
  "store::block",
  "query::plan",
  "query::merge",
  "api::grpc",
  "tls",
  "hash",
];
const VERBS = [
  "read",
  "write",
  "poll",
  "decode",
  "encode",
  "merge",
  "seek",
  "flush",
  "resolve",
  "lookup",
  "grow",
  "drop_in_place",
];
const DEPTH_MAX = 60;

/** Stacks whose tree has exactly `nodes` nodes below the root; values fall off as measured ones do. */
export function corpus(nodes: number): Sample[] {
  let state = 42;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const functions = Array.from({ length: 6000 }, (_, at) => {
    const verb = VERBS[at % VERBS.length];
    return `${PACKAGES[Math.floor(next() * PACKAGES.length)]}::Part${Math.floor(at / VERBS.length)}::${verb}`;
  });
  const stacks: string[][] = [["main"]];
  const children: Set<string>[] = [new Set()];
  while (stacks.length < nodes) {
    // new frames hang mostly below recent ones: long chains with bushy ends
    const recent = next() < 0.9 ? Math.floor(next() ** 2 * 40) : Math.floor(next() * stacks.length);
    const above = stacks.length - 1 - Math.min(recent, stacks.length - 1);
    const name = functions[Math.floor(next() ** 2 * functions.length)];
    if (stacks[above].length >= DEPTH_MAX || children[above].has(name)) continue;
    children[above].add(name);
    stacks.push([...stacks[above], name]);
    children.push(new Set());
  }
  return stacks.map((stack) => ({ stack, value: 1 + Math.floor(1000 / (0.001 + next())) }));
}
