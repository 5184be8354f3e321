/** Functions with their own and their total share; only the rows in sight are in the document. */
import { createMemo, createSignal, For, onCleanup, onMount, Show, type JSX } from "solid-js";

import { nameTest } from "../flame/search";
import type { FlameTree } from "../flame/tree";
import { formatChange, formatCount, formatShare, formatValue } from "../units";
import { arrange, foldByName, type Sort, type SortKey } from "./rows";

export interface FrameTableProps {
  readonly tree: FlameTree;
  readonly sort: Sort;
  readonly onSort: (sort: Sort) => void;
  readonly filter: string;
  readonly onFilter: (text: string) => void;
  /** The search text of the flame graph: its row is marked. */
  readonly search: string;
  /** Searches a function, or nothing if it is the one searched already. */
  readonly onSearch: (text: string) => void;
}

const ROW = 26;
/** Rows beyond both edges, so that a quick scroll shows no blank. */
const SPARE = 6;

export function FrameTable(props: FrameTableProps): JSX.Element {
  let scroller!: HTMLDivElement;
  const [top, setTop] = createSignal(0);
  const [height, setHeight] = createSignal(600);
  onMount(() => {
    const watch = new ResizeObserver(() => setHeight(scroller.clientHeight));
    watch.observe(scroller);
    onCleanup(() => watch.disconnect());
  });

  const rows = createMemo(() => foldByName(props.tree));
  const test = createMemo(() => {
    try {
      return nameTest(props.filter);
    } catch {
      // a pattern that is not finished yet filters nothing
      return null;
    }
  });
  const order = createMemo(() => arrange(props.tree, rows(), props.sort, test()));
  const first = createMemo(() => Math.max(0, Math.floor(top() / ROW) - SPARE));
  const visible = createMemo(() =>
    Array.from(order().subarray(first(), first() + Math.ceil(height() / ROW) + 2 * SPARE)),
  );
  const all = () => props.tree.value[0];
  const quoted = (row: number) => `"${props.tree.names[rows().name[row]]}"`;

  function sortBy(key: SortKey): void {
    const again = props.sort.key === key;
    props.onSort({ key, descending: again ? !props.sort.descending : key !== "name" });
    scroller.scrollTop = 0;
  }

  const Head = (head: { key: SortKey; text: string; about: string }) => (
    <div
      class="th"
      classList={{ number: head.key !== "name" }}
      role="columnheader"
      aria-sort={props.sort.key === head.key ? (props.sort.descending ? "descending" : "ascending") : "none"}
    >
      <button type="button" title={head.about} onClick={() => sortBy(head.key)}>
        {head.text}
        <span class="arrow" aria-hidden="true">
          {props.sort.key === head.key ? (props.sort.descending ? "▾" : "▴") : ""}
        </span>
      </button>
    </div>
  );

  const [active, setActive] = createSignal(0);
  /** The one row that the Tab key reaches: the last one used, or the first in sight. */
  const reached = createMemo(() => {
    const last = first() + visible().length - 1;
    return active() >= first() && active() <= last ? active() : first();
  });

  function search(row: number): void {
    props.onSearch(props.search === quoted(row) ? "" : quoted(row));
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      search(order()[reached()]);
      return;
    }
    const towards = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (towards === 0) return;
    event.preventDefault();
    const at = reached() + towards;
    if (at < 0 || at >= order().length) return;
    if (at * ROW < scroller.scrollTop) scroller.scrollTop = at * ROW;
    else if ((at + 1) * ROW > scroller.scrollTop + scroller.clientHeight)
      scroller.scrollTop = (at + 1) * ROW - scroller.clientHeight;
    setTop(scroller.scrollTop);
    setActive(at);
    scroller.querySelector<HTMLElement>(`[data-at="${at}"]`)?.focus();
  }

  return (
    <div class="table" classList={{ "with-diff": rows().diff !== null }}>
      <div class="table-filter">
        <input
          type="search"
          placeholder="Filter functions"
          aria-label="Filter functions"
          spellcheck={false}
          value={props.filter}
          onInput={(event) => {
            props.onFilter(event.currentTarget.value);
            scroller.scrollTop = 0;
          }}
        />
        <span class="quiet">{formatCount(order().length)} functions</span>
      </div>
      <div class="grid" role="grid" aria-label="Functions" aria-rowcount={order().length + 1}>
        <div class="tr head" role="row">
          <Head key="self" text="Self" about="In the function itself, without what it calls" />
          <Head key="total" text="Total" about="In the function and all that it calls; recursion counts once" />
          <Show when={rows().diff}>
            <Head key="diff" text="Change" about="Change of the total against the base" />
          </Show>
          <Head key="name" text="Function" about="By name" />
        </div>
        <div
          class="table-scroll"
          ref={scroller}
          onScroll={() => setTop(scroller.scrollTop)}
          onKeyDown={onKeyDown}
          role="rowgroup"
        >
          <Show when={order().length > 0} fallback={<p class="quiet nothing">No function has this in its name.</p>}>
            <div style={{ height: `${order().length * ROW}px`, position: "relative" }}>
              <div style={{ transform: `translateY(${first() * ROW}px)` }}>
                <For each={visible()}>
                  {(row, index) => {
                    const self = () => rows().self[row];
                    const total = () => rows().total[row];
                    const diff = () => rows().diff?.[row] ?? 0;
                    const name = () => props.tree.names[rows().name[row]];
                    return (
                      <div
                        class="tr"
                        classList={{ marked: props.search === quoted(row) }}
                        role="row"
                        aria-rowindex={first() + index() + 2}
                        data-at={first() + index()}
                        title={name()}
                        tabindex={first() + index() === reached() ? 0 : -1}
                        onClick={() => search(row)}
                        onFocus={() => setActive(first() + index())}
                      >
                        <span class="td number" role="gridcell">
                          <span class="bar" style={{ width: `${(100 * self()) / all()}%` }} />
                          {formatValue(self(), props.tree.unit)} <small>{formatShare(self(), all())}</small>
                        </span>
                        <span class="td number" role="gridcell">
                          <span class="bar" style={{ width: `${(100 * total()) / all()}%` }} />
                          {formatValue(total(), props.tree.unit)} <small>{formatShare(total(), all())}</small>
                        </span>
                        <Show when={rows().diff}>
                          <span class="td number" classList={{ more: diff() > 0, less: diff() < 0 }} role="gridcell">
                            {formatChange(diff(), props.tree.unit)}
                          </span>
                        </Show>
                        <span class="td name" role="gridcell">
                          <bdi>{name()}</bdi>
                        </span>
                      </div>
                    );
                  }}
                </For>
              </div>
            </div>
          </Show>
        </div>
      </div>
    </div>
  );
}
