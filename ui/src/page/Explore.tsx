/** The main page: what to look at, its course over time, and the flame graph with its table. */
import { createEffect, createMemo, createSignal, For, on, onCleanup, Show, type JSX } from "solid-js";

import { withMatcher } from "../query/completion";
import { firstType, GROUPS, nameTypes, type TypeName } from "../query/profile-types";
import { RangePicker } from "../query/RangePicker";
import { SelectorBox } from "../query/SelectorBox";
import { describeSpan, resolve, type Span } from "../query/time-range";
import { bucketStep } from "../series/scale";
import { SeriesGraph } from "../series/SeriesGraph";
import { go, state } from "../state";
import { mode } from "../theme";
import { REFRESH_SECONDS } from "../url";
import { flameGraph, labelNames, profileTypes, scrapeJobs, series, type FlameAsk } from "../wire/client";
import { loaded } from "../wire/loaded";
import { Problem } from "./Problem";
import { Profile } from "./Profile";
import { Welcome } from "./Welcome";

/** How often it is checked whether to refresh; while there is nothing to show, that is also how often. */
const TICK_MS = 1000;
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
    const seconds = range().kind === "relative" ? state().refresh : 0;
    const waiting = empty() || types.error() !== undefined;
    if (waiting || (seconds > 0 && Date.now() - now() >= seconds * 1000 - 200)) refresh();
  }, TICK_MS);
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
    (ask, signal) => series(ask, signal).then((answer) => ({ answer, ...ask })),
  );
  // Snapshots of one moment do not add up over time: without a choice, the newest ones are shown.
  const newest = createMemo<Span | null>(
    () => {
      const data = over.data();
      if (type()?.delta !== false || data?.query !== query()) return null;
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
    // snapshots are compared as they are: how much more memory, not how much more of it
    const absolute = type()?.delta === false;
    // with the same length just before; of a whole range the second half with the first
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
          <h1 class="unseen">Explore profiles</h1>
          <div class="toolbar">
            <TypePicker types={names()} chosen={type()} wanted={state().type} />
            <SelectorBox
              profileType={type()?.id ?? ""}
              span={span()}
              value={state().match}
              onChange={(match) => {
                if (match === state().match) refresh();
                else go({ match, zoom: "", part: null });
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
                  {(seconds) => <option value={seconds}>{seconds === 0 ? "Off" : `Every ${seconds} s`}</option>}
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
              <div class="series-frame" classList={{ stale: over.slow() }}>
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
                <Show when={flame.data()}>{(tree) => <Profile tree={tree()} ask={ask()} stale={flame.slow()} />}</Show>
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
      onChange={(event) => go({ type: event.currentTarget.value, selection: state().selection, zoom: "", part: null })}
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
