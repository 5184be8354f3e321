/** The main page: what to look at, its course over time, and the flame graph with its table. */
import { createEffect, createMemo, createSignal, For, on, onCleanup, onMount, Show, type JSX } from "solid-js";

import { FlameGraph } from "../flame/FlameGraph";
import { nameTest, search } from "../flame/search";
import type { FlameTree } from "../flame/tree";
import { withMatcher } from "../query/completion";
import { firstType, GROUPS, nameTypes, type TypeName } from "../query/profile-types";
import { RangePicker } from "../query/RangePicker";
import { SelectorBox } from "../query/SelectorBox";
import { describeSpan, resolve, type Span } from "../query/time-range";
import { bucketStep } from "../series/scale";
import { SeriesGraph } from "../series/SeriesGraph";
import { go, state } from "../state";
import { FrameTable } from "../table/FrameTable";
import { mode } from "../theme";
import { formatCount, formatShare, formatValue } from "../units";
import { DEFAULTS, REFRESH_SECONDS, type Layout } from "../url";
import { flameGraph, labelNames, pprof, profileTypes, scrapeJobs, series, type FlameAsk } from "../wire/client";
import { loaded } from "../wire/loaded";
import { Problem } from "./Problem";
import { Welcome } from "./Welcome";

/** While nothing is stored, how often to look again. */
const WAIT_MS = 2000;
/** Points per line over time: as many as can be pointed at. */
const POINTS = 120;

export function Explore(): JSX.Element {
  const [now, setNow] = createSignal(Date.now());
  const [tick, setTick] = createSignal(0);
  function refresh(): void {
    setNow(Date.now());
    setTick(tick() + 1);
  }

  const types = loaded(tick, (_, signal) => profileTypes(signal));
  const names = createMemo(() => nameTypes(types.data() ?? []), [], { equals: same });
  const empty = createMemo(() => types.data()?.length === 0);
  const jobs = loaded(
    createMemo(() => (empty() ? tick() : null)),
    (_, signal) => scrapeJobs(signal).catch(() => []),
  );
  const type = createMemo<TypeName | undefined>(
    () => names().find(({ id }) => id === state().type) ?? (state().type === "" ? firstType(names()) : undefined),
    undefined,
    {
      equals: (a, b) => a?.id === b?.id,
    },
  );

  const timer = setInterval(() => {
    if (document.hidden) return;
    const seconds = state().refresh;
    const waiting = empty() || types.error() !== undefined;
    if (waiting || (seconds > 0 && Date.now() - now() >= seconds * 1000 - 200)) refresh();
  }, WAIT_MS / 2);
  onCleanup(() => clearInterval(timer));

  createEffect(() => {
    document.title = type() ? `${type()?.title} – Decima` : "Decima";
  });

  const range = createMemo(() => state().range, undefined, { equals: same });
  createEffect(on(range, () => setNow(Date.now()), { defer: true }));
  const span = createMemo(() => resolve(range(), now()), undefined, { equals: same });
  const stepMs = createMemo(() => bucketStep(span().to - span().from, POINTS));
  const selection = createMemo(() => state().selection, undefined, { equals: same });
  const base = createMemo(() => state().base, undefined, { equals: same });
  const query = createMemo(() => {
    const id = type()?.id;
    return id === undefined ? null : `${id}{${state().match}}`;
  });

  const over = loaded(
    createMemo(() => {
      const selector = query();
      const of = type();
      if (selector === null || !of) return null;
      return { query: selector, span: span(), stepMs: stepMs(), by: state().by, delta: of.delta, unit: of.unit };
    }),
    // the graph keeps the axes of the answer that it shows
    (ask, signal) => series(ask, signal).then((answer) => ({ answer, span: ask.span, stepMs: ask.stepMs })),
  );
  // Snapshots of one moment do not add up over time: without a choice, the newest ones are shown.
  const newest = createMemo<Span | null>(
    () => {
      const data = over.data();
      if (type()?.delta !== false || !data) return null;
      const last = Math.max(...data.answer.lines.map(({ times }) => times[times.length - 1] ?? 0));
      return last > 0 ? { from: last, to: last + data.stepMs - 1 } : null;
    },
    null,
    { equals: same },
  );
  const ask = createMemo<FlameAsk | null>(
    () => {
      const selector = query();
      if (selector === null) return null;
      const whole = type()?.delta === false ? newest() : span();
      const shown = selection() ?? whole;
      return shown && { query: selector, span: shown, base: base(), absolute: state().absolute };
    },
    null,
    { equals: same },
  );
  const flame = loaded(ask, flameGraph);
  const groupable = loaded(
    createMemo(
      () => {
        const id = type()?.id;
        return id === undefined ? null : { id, span: span() };
      },
      null,
      { equals: (a, b) => a?.id === b?.id },
    ),
    (of, signal) => labelNames(of.id, of.span, signal),
  );

  /** Nothing over time, or one failure for both: said once, above. */
  const worthShowing = createMemo(() => {
    if (over.error() !== undefined) return flame.error() === undefined;
    return selection() !== null || over.data()?.answer.lines.length !== 0;
  });

  function compare(): void {
    const shown = selection() ?? newest() ?? span();
    const length = shown.to - shown.from + 1;
    // the same length just before; for a whole relative range its two halves
    // snapshots are compared as they are: how much more memory, not how much more of it
    const absolute = type()?.delta === false;
    if (selection() ?? newest()) {
      go({ selection: shown, base: { from: shown.from - length, to: shown.from - 1 }, absolute });
    } else {
      const half = Math.round(shown.from + length / 2);
      go({ base: { from: Math.round(shown.from), to: half - 1 }, selection: { from: half, to: Math.round(shown.to) } });
    }
  }

  return (
    <Show when={!types.first()} fallback={<div class="page" aria-busy="true" />}>
      <Show when={!empty()} fallback={<Welcome jobs={jobs.data()} />}>
        <div class="page explore">
          <div class="toolbar">
            <TypePicker types={names()} chosen={type()} wanted={state().type} />
            <SelectorBox
              profileType={type()?.id ?? ""}
              span={span()}
              value={state().match}
              onChange={(match) => {
                if (match === state().match) refresh();
                else go({ match, zoom: "" });
              }}
            />
            <RangePicker
              range={state().range}
              span={span()}
              onChange={(range) => go({ range, selection: null, base: null })}
            />
            <div class="joined">
              <button type="button" class="control" aria-label="Refresh now" title="Refresh now" onClick={refresh}>
                ↻
              </button>
              <select
                aria-label="Refresh by itself"
                title="Refresh by itself"
                value={state().refresh}
                onChange={(event) => go({ refresh: Number(event.currentTarget.value) }, "replace")}
              >
                <For each={REFRESH_SECONDS}>
                  {(seconds) => <option value={seconds}>{seconds === 0 ? "Off" : `${seconds} s`}</option>}
                </For>
              </select>
            </div>
          </div>
          <div
            class="progress"
            classList={{ on: flame.slow() || over.slow() }}
            role="progressbar"
            aria-label="Loading"
            aria-hidden={!(flame.slow() || over.slow())}
          />

          <Show when={types.error()}>{(error) => <Problem error={error()} onRetry={refresh} />}</Show>
          <Show when={type() === undefined && types.data()}>
            <div class="nothing">
              <p>
                There are no profiles of the type <code>{state().type}</code>.
              </p>
              <button type="button" class="control" onClick={() => go({ type: "", match: "" })}>
                Show {firstType(names())?.title ?? "what there is"}
              </button>
            </div>
          </Show>
          <Show when={type()}>
            <section class="panel over-time" aria-label="Over time">
              <header>
                <h2>{type()?.title}</h2>
                <p class="quiet">{type()?.about}</p>
                <label class="split-by">
                  Split by
                  <select value={state().by} onChange={(event) => go({ by: event.currentTarget.value })}>
                    <option value="">nothing</option>
                    <For each={splitChoices(groupable.data() ?? [], state().by)}>
                      {(name) => <option value={name}>{name}</option>}
                    </For>
                  </select>
                </label>
              </header>
              <div class="series-frame">
                <Show when={over.error()}>{(error) => <Problem error={error()} onRetry={refresh} />}</Show>
                <Show when={over.data()}>
                  {(data) => (
                    <Show when={data().answer.lines.length > 0} fallback={<NoMatch />}>
                      <SeriesGraph
                        series={data().answer}
                        span={data().span}
                        stepMs={data().stepMs}
                        mode={mode()}
                        by={state().by}
                        selection={selection()}
                        base={base()}
                        onSelect={(chosen) => go({ selection: chosen })}
                        onBase={(chosen) => go({ base: chosen })}
                        onNarrow={(label, value) => go({ match: withMatcher(state().match, label, value), by: "" })}
                      />
                    </Show>
                  )}
                </Show>
              </div>
            </section>

            <Show when={worthShowing()}>
              <section class="panel profile" aria-label="Profile">
                <Ranges
                  selection={selection()}
                  newest={newest()}
                  base={base()}
                  absolute={state().absolute}
                  onCompare={compare}
                />
                <Show when={flame.error()}>{(error) => <Problem error={error()} onRetry={refresh} />}</Show>
                <Show when={flame.data()}>{(tree) => <Profile tree={tree()} ask={ask()} />}</Show>
              </section>
            </Show>
          </Show>
        </div>
      </Show>
    </Show>
  );
}

/** Equality by content, for the small plain values that questions are made of. */
function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function splitChoices(known: readonly string[], chosen: string): readonly string[] {
  return chosen === "" || known.includes(chosen) ? known : [chosen, ...known];
}

function TypePicker(props: { types: readonly TypeName[]; chosen: TypeName | undefined; wanted: string }): JSX.Element {
  return (
    <select
      class="type-picker"
      aria-label="Profile type"
      title={props.chosen?.id ?? props.wanted}
      onChange={(event) => go({ type: event.currentTarget.value, selection: state().selection, zoom: "" })}
    >
      <Show when={props.chosen === undefined}>
        <option selected disabled>
          {props.wanted || "Choose what to look at"}
        </option>
      </Show>
      <For each={GROUPS.filter((group) => props.types.some((each) => each.group === group))}>
        {(group) => (
          <optgroup label={group}>
            <For each={props.types.filter((each) => each.group === group)}>
              {(each) => (
                <option value={each.id} selected={each.id === props.chosen?.id}>
                  {each.title}
                </option>
              )}
            </For>
          </optgroup>
        )}
      </For>
    </select>
  );
}

function NoMatch(): JSX.Element {
  return (
    <div class="nothing">
      <p>No profiles match in this time.</p>
      <div class="row">
        <Show when={state().match !== ""}>
          <button type="button" class="control" onClick={() => go({ match: "" })}>
            Drop the selector
          </button>
        </Show>
        <button
          type="button"
          class="control"
          onClick={() => go({ range: { kind: "relative", ms: 24 * 3_600_000 }, selection: null, base: null })}
        >
          Look at the last day
        </button>
      </div>
    </div>
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

/** Which part of the time the profile is of, and what it is compared with. */
function Ranges(props: {
  selection: Span | null;
  /** For snapshots: what is shown without a selection. */
  newest: Span | null;
  base: Span | null;
  absolute: boolean;
  onCompare: () => void;
}): JSX.Element {
  return (
    <div class="ranges">
      <Show
        when={props.selection}
        fallback={
          <span class="quiet">
            {props.newest
              ? `The newest snapshot, ${describeSpan(props.newest)}. Click in the graph for another; a longer range adds them up.`
              : "The whole range. Click or drag in the graph for a part of it."}
          </span>
        }
      >
        {(chosen) => (
          <span class="chip selection">
            {describeSpan(chosen())}
            <button type="button" aria-label="Show the whole range" onClick={() => go({ selection: null, base: null })}>
              ×
            </button>
          </span>
        )}
      </Show>
      <Show
        when={props.base}
        fallback={
          <button type="button" class="control" onClick={() => props.onCompare()} title="With the time just before">
            Compare
          </button>
        }
      >
        {(chosen) => (
          <>
            <span>against</span>
            <span class="chip base">
              {describeSpan(chosen())}
              <button type="button" aria-label="Stop comparing" onClick={() => go({ base: null })}>
                ×
              </button>
            </span>
            <label>
              <input
                type="checkbox"
                checked={!props.absolute}
                onChange={(event) => go({ absolute: !event.currentTarget.checked })}
              />
              scale both to the same total
            </label>
            <span class="quiet">Shift and drag sets the base.</span>
          </>
        )}
      </Show>
    </div>
  );
}

const LAYOUTS: readonly { readonly layout: Layout; readonly text: string }[] = [
  { layout: "table", text: "Table" },
  { layout: "both", text: "Both" },
  { layout: "flame", text: "Flame graph" },
];

function Profile(props: { tree: FlameTree; ask: FlameAsk | null }): JSX.Element {
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
      <div class={`views ${state().layout}`}>
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
            onZoom={(zoom) => go({ zoom })}
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
