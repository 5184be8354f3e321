/** One profile, or the change between two: flame graph, table, search, download. */
import { createEffect, createMemo, createSignal, For, on, onCleanup, onMount, Show, type JSX } from "solid-js";

import { FlameGraph } from "../flame/FlameGraph";
import { nameTest, search } from "../flame/search";
import type { FlameTree } from "../flame/tree";
import { go, state } from "../state";
import { FrameTable } from "../table/FrameTable";
import { mode } from "../theme";
import { formatCount, formatShare, formatValue } from "../units";
import { DEFAULTS, type Layout } from "../url";
import { pprof, type FlameAsk } from "../wire/client";
import { Problem } from "./Problem";

const LAYOUTS: readonly { readonly layout: Layout; readonly text: string }[] = [
  { layout: "table", text: "Table" },
  { layout: "both", text: "Both" },
  { layout: "flame", text: "Flame graph" },
];

export function Profile(props: { tree: FlameTree; ask: FlameAsk | null; stale: boolean }): JSX.Element {
  let searchBox!: HTMLInputElement;
  const [searchText, setSearchText] = createSignal(state().search);
  createEffect(
    on(
      () => state().search,
      (text) => setSearchText(text),
      { defer: true },
    ),
  );
  const [download, setDownload] = createSignal<"idle" | "busy" | Error>("idle");

  const test = createMemo(() => {
    try {
      return { test: nameTest(state().search), wrong: "" };
    } catch (error) {
      return { test: null, wrong: error instanceof Error ? error.message : String(error) };
    }
  });
  const found = createMemo(() => {
    const { test: matches } = test();
    return matches ? search(props.tree, matches) : null;
  });

  onMount(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input, select, textarea");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      searchBox.focus();
      searchBox.select();
    };
    document.addEventListener("keydown", onKey);
    onCleanup(() => document.removeEventListener("keydown", onKey));
  });

  async function save(): Promise<void> {
    const { ask } = props;
    if (!ask) return;
    setDownload("busy");
    try {
      const bytes = await pprof(ask, new AbortController().signal);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([bytes.slice()], { type: "application/gzip" }));
      link.download = `${ask.query.split("{")[0].replaceAll(":", "-")}-${new Date(ask.span.to).toISOString().slice(0, 19).replaceAll(":", "")}.pb.gz`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      setDownload("idle");
    } catch (error) {
      setDownload(error instanceof Error ? error : new Error(String(error)));
    }
  }

  const total = () => props.tree.value[0];
  return (
    <Show when={props.tree.size > 1} fallback={<NothingHere />}>
      <div class="profile-bar">
        <div class="search">
          <input
            ref={searchBox}
            type="search"
            placeholder="Search frames  ( / )"
            aria-label="Search frames"
            title={'Part of a name, "a whole name", or /a pattern/'}
            spellcheck={false}
            value={searchText()}
            onInput={(event) => {
              setSearchText(event.currentTarget.value);
              go({ search: event.currentTarget.value }, "replace");
            }}
            onKeyDown={(event) => {
              if (event.key === "Escape") go({ search: "" }, "replace");
            }}
          />
          <span class="search-result" role="status" aria-live="polite">
            <Show when={test().wrong === ""} fallback={<span class="wrong">{test().wrong}</span>}>
              <Show when={found()}>
                {(result) => (
                  <>
                    <b>{formatShare(result().value, total())}</b> in {formatCount(result().frames)} frames
                  </>
                )}
              </Show>
            </Show>
          </span>
        </div>
        <span class="space" />
        <Show when={props.tree.diff} fallback={<ColourPicker />}>
          <span class="diff-key" aria-label="Colours: blue is less than before, red is more">
            <i class="less" /> less <i class="none" /> same <i class="more" /> more
          </span>
        </Show>
        <div class="joined" role="group" aria-label="View">
          <For each={LAYOUTS}>
            {({ layout, text }) => (
              <button
                type="button"
                class="control"
                aria-pressed={state().layout === layout}
                onClick={() => go({ layout })}
              >
                {text}
              </button>
            )}
          </For>
        </div>
        <button
          type="button"
          class="control"
          disabled={download() === "busy"}
          onClick={() => void save()}
          title="These samples as a gzipped pprof file"
        >
          {download() === "busy" ? "Preparing …" : "Download pprof"}
        </button>
      </div>
      <Show when={download() instanceof Error}>
        <Problem error={download() as Error} />
      </Show>
      <div class="views" classList={{ [state().layout]: true, stale: props.stale }}>
        <Show when={state().layout !== "flame"}>
          <FrameTable
            tree={props.tree}
            sort={state().sort}
            onSort={(sort) => go({ sort }, "replace")}
            filter={state().filter}
            onFilter={(filter) => go({ filter }, "replace")}
            search={state().search}
            onSearch={(text) => go({ search: text })}
          />
        </Show>
        <Show when={state().layout !== "table"}>
          <FlameGraph
            tree={props.tree}
            mode={mode()}
            colour={state().colour}
            found={found()}
            zoom={state().zoom}
            part={state().part}
            onZoom={(zoom) => go({ zoom, part: null })}
            onPart={(part) => go({ part }, "replace")}
            onSearch={(name) => go({ search: `"${name}"` })}
          />
        </Show>
      </div>
      <p class="honesty quiet">
        {formatValue(total(), props.tree.unit)} in {formatCount(props.tree.size - 1)} frames, {props.tree.height} deep.{" "}
        <Show when={props.tree.trimmed > 0} fallback="Nothing trimmed.">
          {formatShare(props.tree.trimmed, Math.max(props.tree.total, props.tree.trimmed))} of{" "}
          {formatValue(props.tree.total, props.tree.unit)} trimmed: frames too small to show.
        </Show>
        <Show when={props.tree.filtered > 0}> {formatValue(props.tree.filtered, props.tree.unit)} filtered out.</Show>
        <span class="keys">Arrows walk · Enter or click zooms · Esc resets · Ctrl+wheel zooms freely · drag moves</span>
      </p>
    </Show>
  );
}

function ColourPicker(): JSX.Element {
  return (
    <label>
      Colour by
      <select
        value={state().colour}
        onChange={(event) => go({ colour: event.currentTarget.value === "binary" ? "binary" : DEFAULTS.colour })}
      >
        <option value="package">package</option>
        <option value="binary">binary</option>
      </select>
    </label>
  );
}

function NothingHere(): JSX.Element {
  return (
    <div class="nothing">
      <p>There are no samples in this part of the time.</p>
      <Show when={state().selection}>
        <button type="button" class="control" onClick={() => go({ selection: null, base: null })}>
          Show the whole range
        </button>
      </Show>
    </div>
  );
}
