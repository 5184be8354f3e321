/** Finding frames by name. */
import type { FlameTree } from "./tree";

export interface Found {
  /** Per name: 1 where it matches. */
  readonly names: Uint8Array;
  /** How many nodes match. */
  readonly frames: number;
  /** The value below matching nodes, each sample once: a match inside a match counts with the outer one. */
  readonly value: number;
}

/**
 * What a search text means: `"exactly this name"`, `/a regular expression/`, or any part of a name, without
 * regard to case. Null for an empty text. Throws `SyntaxError` on a regular expression that does not parse.
 */
export function nameTest(text: string): ((name: string) => boolean) | null {
  const wanted = text.trim();
  if (wanted === "") return null;
  const quoted = /^"(.+)"$/.exec(wanted);
  if (quoted) return (name) => name === quoted[1];
  const expression = /^\/(.+)\/$/.exec(wanted);
  if (expression) {
    const regex = new RegExp(expression[1], "i");
    return (name) => regex.test(name);
  }
  const lower = wanted.toLowerCase();
  return (name) => name.toLowerCase().includes(lower);
}

export function search(tree: FlameTree, test: (name: string) => boolean): Found {
  const names = Uint8Array.from(tree.names, (name) => (test(name) ? 1 : 0));
  let frames = 0;
  let value = 0;
  let counted = 0;
  for (let node = 0; node < tree.size; node++) {
    if (names[tree.name[node]] === 0) continue;
    frames++;
    if (node >= counted) {
      value += tree.value[node];
      counted = tree.end[node];
    }
  }
  return { names, frames, value };
}
