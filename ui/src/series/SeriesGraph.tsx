/** Values over time. A click takes one bucket, a drag a range; what is taken is what the flame graph shows. */
import { createEffect, createMemo, createSignal, For, onCleanup, onMount, Show, type JSX } from "solid-js";

import type { Mode } from "../flame/palette";
import { describeSpan, formatClock, formatDay, HOUR, type Span } from "../query/time-range";
import { formatCount, formatValue } from "../units";
import type { Line, Series } from "../wire/client";
import { timeTicks, valueTicks } from "./scale";

export interface SeriesGraphProps {
  readonly series: Series;
  readonly span: Span;
  readonly stepMs: number;
  readonly mode: Mode;
  /** The label that the lines are split by; empty for all of their labels. */
  readonly by: string;
  readonly selection: Span | null;
  readonly base: Span | null;
  readonly onSelect: (selection: Span | null) => void;
  /** A range dragged with Shift held: the base of a comparison. */
  readonly onBase: (base: Span) => void;
  readonly onNarrow: (label: string, value: string) => void;
}

/** More lines than this cannot be told apart; the heaviest are shown. */
const LINES_MAX = 20;
const HEIGHT = 150;
const MARGIN = { left: 64, right: 12, top: 8, bottom: 22 };
/** Pixels that a pointer may move and still click. */
const CLICK_SLACK = 4;

const HUES = [250, 30, 145, 310, 85, 195, 0, 275, 110, 60];

function lineColour(at: number, mode: Mode): string {
  const hue = HUES[at % HUES.length];
  const faint = at >= HUES.length ? 0.06 : 0.14;
  return mode === "light" ? `oklch(0.53 ${faint} ${hue})` : `oklch(0.76 ${faint} ${hue})`;
}

function sum(values: Float64Array): number {
  return values.reduce((all, each) => all + each, 0);
}

export function lineName(line: Line, by: string): string {
  if (by !== "") return line.labels.find(({ name }) => name === by)?.value || `(no ${by})`;
  return line.labels.length === 0 ? "all" : line.labels.map(({ name, value }) => `${name}=${value}`).join(", ");
}

export function SeriesGraph(props: SeriesGraphProps): JSX.Element {
  let canvas!: HTMLCanvasElement;
  const [width, setWidth] = createSignal(0);
  const [cursor, setCursor] = createSignal<number | null>(null);
  const [drag, setDrag] = createSignal<{ from: number; to: number; base: boolean } | null>(null);

  const lines = createMemo(() =>
    props.series.lines
      .map((line) => ({ line, weight: sum(line.values) }))
      .sort((a, b) => b.weight - a.weight)
      .slice(0, LINES_MAX)
      .map(({ line }) => line),
  );
  const times = createMemo(() => Float64Array.from(new Set(lines().flatMap((line) => Array.from(line.times)))).sort());
  const ticks = createMemo(() => {
    let max = 0;
    for (const line of lines()) for (const value of line.values) if (value > max) max = value;
    return valueTicks(max, 4, props.series.unit.startsWith("bytes"));
  });
  const max = () => ticks()[ticks().length - 1];

  const plotWidth = () => Math.max(1, width() - MARGIN.left - MARGIN.right);
  const plotHeight = HEIGHT - MARGIN.top - MARGIN.bottom;
  const xOf = (at: number) => MARGIN.left + ((at - props.span.from) / (props.span.to - props.span.from)) * plotWidth();
  const timeAt = (x: number) => {
    const at = props.span.from + ((x - MARGIN.left) / plotWidth()) * (props.span.to - props.span.from);
    return Math.min(props.span.to, Math.max(props.span.from, at));
  };
  const yOf = (value: number) => MARGIN.top + plotHeight * (1 - value / max());

  /** A bucket's time is its start. */
  const bucketOf = (at: number): Span => ({ from: at, to: at + props.stepMs - 1 });

  function nearest(at: number): number | null {
    const all = times();
    if (all.length === 0) return null;
    let best = all[0];
    for (const each of all) {
      if (Math.abs(each + middle() - at) < Math.abs(best + middle() - at)) best = each;
    }
    return best;
  }
  /** A bucket's point is drawn at its middle, a moment's at the moment. */
  const middle = () => (props.series.momentary ? 0 : props.stepMs / 2);
  const pointX = (time: number) => Math.min(xOf(time + middle()), MARGIN.left + plotWidth());

  function draw(): void {
    const context = canvas.getContext("2d");
    if (!context || width() === 0) return;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width() * ratio);
    canvas.height = Math.round(HEIGHT * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(canvas);
    const colour = (name: string) => style.getPropertyValue(name);
    context.font = `11px ${style.fontFamily}`;

    const shade = (span: Span | null, fill: string) => {
      if (!span) return;
      const from = Math.max(xOf(span.from), MARGIN.left);
      const to = Math.min(xOf(span.to), MARGIN.left + plotWidth());
      if (to < from) return;
      context.fillStyle = fill;
      context.fillRect(from, MARGIN.top, Math.max(to - from, 2), plotHeight);
    };
    const dragged = drag();
    shade(dragged?.base ? dragged : props.base, colour("--base-shade"));
    shade(dragged && !dragged.base ? dragged : props.selection, colour("--selection-shade"));

    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const tick of ticks()) {
      context.fillStyle = colour("--line");
      context.fillRect(MARGIN.left, Math.round(yOf(tick)), plotWidth(), 1);
      context.fillStyle = colour("--quiet");
      context.fillText(formatRate(tick, props.series.unit), MARGIN.left - 8, yOf(tick));
    }
    context.textAlign = "center";
    const long = props.span.to - props.span.from > 36 * HOUR;
    for (const tick of timeTicks(props.span.from, props.span.to, Math.max(2, Math.floor(plotWidth() / 90)))) {
      const text = long ? `${formatDay(tick)} ${formatClock(tick, false)}` : formatClock(tick, tick % 60_000 !== 0);
      const half = context.measureText(text).width / 2;
      // a text that would be cut at the edge is moved inwards
      context.fillText(text, Math.min(xOf(tick), width() - half - 2), HEIGHT - 9);
    }

    context.save();
    context.beginPath();
    context.rect(MARGIN.left, 0, plotWidth() + 1, HEIGHT);
    context.clip();
    context.lineWidth = 1.5;
    context.lineJoin = "round";
    lines().forEach((line, at) => {
      context.strokeStyle = lineColour(at, props.mode);
      context.fillStyle = context.strokeStyle;
      const gap = gapOf(line.times, props.stepMs);
      context.beginPath();
      line.times.forEach((time, i) => {
        const x = pointX(time);
        const y = yOf(line.values[i]);
        if (i > 0 && time - line.times[i - 1] <= gap) context.lineTo(x, y);
        else context.moveTo(x, y);
      });
      context.stroke();
      if (line.times.length * 8 < plotWidth()) {
        line.times.forEach((time, i) => {
          context.beginPath();
          context.arc(pointX(time), yOf(line.values[i]), 2.2, 0, 2 * Math.PI);
          context.fill();
        });
      }
    });
    const at = cursor();
    if (at !== null) {
      context.fillStyle = colour("--quiet");
      context.fillRect(Math.round(pointX(at)), MARGIN.top, 1, plotHeight);
    }
    context.restore();
  }

  let drawing = 0;
  createEffect(() => {
    void [lines(), ticks(), width(), cursor(), drag(), props.selection, props.base, props.mode, props.span];
    cancelAnimationFrame(drawing);
    drawing = requestAnimationFrame(draw);
  });
  onCleanup(() => cancelAnimationFrame(drawing));
  onMount(() => {
    const watch = new ResizeObserver(() => setWidth(canvas.clientWidth));
    watch.observe(canvas);
    onCleanup(() => watch.disconnect());
  });

  let press: { x: number; shift: boolean } | null = null;
  const xIn = (event: PointerEvent) => event.clientX - canvas.getBoundingClientRect().left;

  function onPointerDown(event: PointerEvent): void {
    if (event.button !== 0) return;
    press = { x: xIn(event), shift: event.shiftKey };
    canvas.setPointerCapture(event.pointerId);
  }
  function onPointerMove(event: PointerEvent): void {
    const x = xIn(event);
    setCursor(nearest(timeAt(x)));
    if (press && Math.abs(x - press.x) > CLICK_SLACK) {
      const [from, to] = [timeAt(Math.min(press.x, x)), timeAt(Math.max(press.x, x))];
      setDrag({ from, to, base: press.shift });
    }
  }
  function onPointerUp(event: PointerEvent): void {
    const was = press;
    const dragged = drag();
    press = null;
    setDrag(null);
    if (!was) return;
    if (dragged) {
      const span = { from: Math.floor(dragged.from), to: Math.ceil(dragged.to) };
      if (span.from >= span.to) return;
      if (dragged.base) props.onBase(span);
      else props.onSelect(span);
      return;
    }
    const at = nearest(timeAt(xIn(event)));
    if (at === null) return;
    if (was.shift) props.onBase(bucketOf(at));
    else props.onSelect(sameSpan(props.selection, bucketOf(at)) ? null : bucketOf(at));
  }

  function onKeyDown(event: KeyboardEvent): void {
    const all = times();
    const at = cursor();
    const index = at === null ? -1 : all.indexOf(at);
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step !== 0 && all.length > 0) {
      const to = index < 0 ? all.length - 1 : Math.min(all.length - 1, Math.max(0, index + step));
      setCursor(all[to]);
      if (event.shiftKey && at !== null) {
        const fixed = props.selection ?? bucketOf(at);
        const next = bucketOf(all[to]);
        props.onSelect({ from: Math.min(fixed.from, next.from), to: Math.max(fixed.to, next.to) });
      }
    } else if ((event.key === "Enter" || event.key === " ") && at !== null) props.onSelect(bucketOf(at));
    else if (event.key === "Escape") props.onSelect(null);
    else return;
    event.preventDefault();
  }

  const reading = createMemo(() => {
    const at = cursor();
    if (at === null) return null;
    const values = lines().map((line, i) => ({ i, value: line.values[line.times.indexOf(at)] }));
    return { at, values: values.filter(({ value }) => value !== undefined).slice(0, 8) };
  });

  return (
    <figure class="series">
      <div class="series-plot">
        <canvas
          ref={canvas}
          tabindex="0"
          role="application"
          aria-roledescription="graph over time"
          aria-label={`Values over time, ${formatCount(props.series.lines.length)} ${props.series.lines.length === 1 ? "line" : "lines"}. Arrow keys move, Enter shows that moment below, Escape shows the whole range.`}
          onPointerDown={onPointerDown}
          onPointerMove={onPointerMove}
          onPointerUp={onPointerUp}
          onPointerCancel={() => {
            press = null;
            setDrag(null);
          }}
          onPointerLeave={() => setCursor(null)}
          onKeyDown={onKeyDown}
          onBlur={() => setCursor(null)}
        />
        <Show when={reading()}>
          {(now) => (
            <div
              class="card reading"
              classList={{ left: pointX(now().at) > width() - 260 }}
              style={{ left: `${pointX(now().at)}px` }}
            >
              <p class="quiet">{describeSpan(bucketOf(now().at))}</p>
              <For each={now().values}>
                {({ i, value }) => (
                  <p class="reading-line">
                    <i style={{ background: lineColour(i, props.mode) }} />
                    <Show when={lines().length > 1}>
                      <span class="cut">{lineName(lines()[i], props.by)}</span>
                    </Show>
                    <b>{formatRate(value ?? 0, props.series.unit)}</b>
                  </p>
                )}
              </For>
            </div>
          )}
        </Show>
      </div>
      <div class="unseen" role="status" aria-live="polite">
        {spokenReading(reading(), props.series.unit)}
      </div>
      <Show when={lines().length > 1 || props.by !== ""}>
        <figcaption class="legend">
          <For each={lines()}>
            {(line, at) => (
              <button
                type="button"
                disabled={props.by === "" || !line.labels.some(({ name }) => name === props.by)}
                title={props.by === "" ? lineName(line, "") : `Show only ${props.by} = ${lineName(line, props.by)}`}
                onClick={() => props.onNarrow(props.by, lineName(line, props.by))}
              >
                <i style={{ background: lineColour(at(), props.mode) }} />
                {lineName(line, props.by)}
              </button>
            )}
          </For>
          <Show when={props.series.lines.length > LINES_MAX}>
            <span class="quiet">
              the {LINES_MAX} largest of {formatCount(props.series.lines.length)}
            </span>
          </Show>
        </figcaption>
      </Show>
    </figure>
  );
}

function spokenReading(
  reading: { at: number; values: readonly { value: number | undefined }[] } | null,
  unit: string,
): string {
  if (!reading) return "";
  const values = reading.values.map(({ value }) => formatRate(value ?? 0, unit)).join(", ");
  return `${formatClock(reading.at)}: ${values}`;
}

/** `0.42 cores`, `3 MiB/s`: units that are rates keep their `/s` behind the scaled number. */
export function formatRate(value: number, unit: string): string {
  if (unit === "cores") return `${formatValue(value, "count")} cores`;
  return unit.endsWith("/s") ? `${formatValue(value, unit.slice(0, -2))}/s` : formatValue(value, unit);
}

/** Points further apart than this are not joined: nothing was measured between them. */
function gapOf(times: Float64Array, stepMs: number): number {
  let usual = stepMs;
  if (times.length > 2) {
    const apart = times
      .slice(1)
      .map((time, i) => time - times[i])
      .sort();
    usual = Math.max(usual, apart[apart.length >> 1]);
  }
  return usual * 2.5;
}

function sameSpan(a: Span | null, b: Span): boolean {
  return a !== null && a.from === b.from && a.to === b.to;
}
