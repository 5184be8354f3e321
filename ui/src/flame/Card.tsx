/** What is known of one frame: as a card, and as a sentence for who does not see it. */
import { Show, type JSX } from "solid-js";

import { formatChange, formatShare, formatValue } from "../units";
import { baseName, type FlameTree } from "./tree";

/** One frame in one sentence. */
export function spoken(tree: FlameTree, node: number): string {
  const above = Math.max(0, tree.parent[node]);
  return (
    `${tree.names[tree.name[node]]}, ${formatValue(tree.value[node], tree.unit)}, ` +
    `${formatShare(tree.value[node], tree.value[0])} of all` +
    (node > 0 ? `, ${formatShare(tree.value[node], tree.value[above])} of its caller` : "")
  );
}

export function Card(props: { tree: FlameTree; node: number }): JSX.Element {
  const tree = props.tree;
  const node = props.node;
  const origin = tree.origin(node);
  const name = tree.names[tree.name[node]];
  const above = tree.parent[node];
  const change = tree.diff ? tree.diff[node] : null;
  const before = change === null ? 0 : tree.value[node] - change;
  return (
    <>
      <p class="card-name">{name}</p>
      <dl>
        <dt>Total</dt>
        <dd>
          {formatValue(tree.value[node], tree.unit)}{" "}
          <span class="quiet">· {formatShare(tree.value[node], tree.value[0])} of all</span>
        </dd>
        <dt>Self</dt>
        <dd>
          {formatValue(tree.self[node], tree.unit)}{" "}
          <span class="quiet">· {formatShare(tree.self[node], tree.value[0])} of all</span>
        </dd>
        <Show when={above >= 0}>
          <dt>Of caller</dt>
          <dd>{formatShare(tree.value[node], tree.value[above])}</dd>
        </Show>
        <Show when={change !== null}>
          <dt>Change</dt>
          <dd>
            {formatChange(change ?? 0, tree.unit)}{" "}
            <span class="quiet">
              · {before > 0 ? `${formatShare(change ?? 0, before)} against ${formatValue(before, tree.unit)}` : "new"}
            </span>
          </dd>
        </Show>
        <Show when={origin.file !== ""}>
          <dt>Source</dt>
          <dd class="long">
            {origin.file}
            {origin.line > 0 ? `:${origin.line}` : ""}
            {origin.inlined ? " (inlined)" : ""}
          </dd>
        </Show>
        <Show when={origin.systemName !== "" && origin.systemName !== name}>
          <dt>Symbol</dt>
          <dd class="long">{origin.systemName}</dd>
        </Show>
        <Show when={origin.binary !== ""}>
          <dt>Binary</dt>
          <dd class="long">
            {baseName(origin.binary)}
            {origin.buildId === "" ? "" : ` (${origin.buildId.slice(0, 12)})`}
          </dd>
        </Show>
        <Show when={origin.address !== 0n}>
          <dt>Address</dt>
          <dd>0x{origin.address.toString(16)}</dd>
        </Show>
      </dl>
    </>
  );
}
