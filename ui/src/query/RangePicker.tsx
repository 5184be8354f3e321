/** The time range: the usual ones, any duration, or two points in time. */
import { createEffect, createSignal, For, onCleanup, Show, type JSX } from "solid-js";

import { describe, parseDuration, PRESETS, toLocalInput, type Span, type TimeRange } from "./time-range";

export interface RangePickerProps {
  readonly range: TimeRange;
  /** What the range is at the moment: where the absolute fields begin. */
  readonly span: Span;
  readonly onChange: (range: TimeRange) => void;
}

export function RangePicker(props: RangePickerProps): JSX.Element {
  let root!: HTMLDivElement;
  let button!: HTMLButtonElement;
  let from!: HTMLInputElement;
  let to!: HTMLInputElement;
  const [open, setOpen] = createSignal(false);
  const [wrong, setWrong] = createSignal("");

  createEffect(() => {
    if (!open()) return;
    const outside = (event: PointerEvent) => {
      if (!root.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener("pointerdown", outside);
    onCleanup(() => document.removeEventListener("pointerdown", outside));
  });

  function choose(range: TimeRange): void {
    setWrong("");
    setOpen(false);
    button.focus();
    props.onChange(range);
  }

  function chooseAbsolute(event: Event): void {
    event.preventDefault();
    const span = { from: new Date(from.value).getTime(), to: new Date(to.value).getTime() };
    if (span.from < span.to) choose({ kind: "absolute", ...span });
    else setWrong("The range must begin before it ends.");
  }

  function chooseDuration(text: string): void {
    const ms = parseDuration(text);
    if (ms === null) setWrong("A number and s, m, h or d, such as 45m.");
    else choose({ kind: "relative", ms });
  }

  return (
    <div
      class="menu"
      ref={root}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || !open()) return;
        setOpen(false);
        button.focus();
      }}
    >
      <button
        ref={button}
        type="button"
        class="control"
        aria-haspopup="dialog"
        aria-expanded={open()}
        aria-label={`Time range: ${describe(props.range)}`}
        onClick={() => setOpen(!open())}
      >
        {describe(props.range)}
        <span class="caret" aria-hidden="true" />
      </button>
      <Show when={open()}>
        <div class="menu-panel range-panel" role="dialog" aria-label="Time range">
          <div class="presets">
            <For each={PRESETS}>
              {({ ms, text }) => (
                <button
                  type="button"
                  aria-pressed={props.range.kind === "relative" && props.range.ms === ms}
                  onClick={() => choose({ kind: "relative", ms })}
                >
                  {text}
                </button>
              )}
            </For>
          </div>
          <form onSubmit={chooseAbsolute}>
            <label>
              Last
              <input
                type="text"
                placeholder="45m"
                onKeyDown={(event) => {
                  if (event.key !== "Enter") return;
                  event.preventDefault();
                  chooseDuration(event.currentTarget.value);
                }}
              />
            </label>
            <label>
              From
              <input ref={from} type="datetime-local" step="1" value={toLocalInput(props.span.from)} />
            </label>
            <label>
              To
              <input ref={to} type="datetime-local" step="1" value={toLocalInput(props.span.to)} />
            </label>
            <p class="wrong" role="alert">
              {wrong()}
            </p>
            <button type="submit" class="primary">
              Apply
            </button>
          </form>
        </div>
      </Show>
    </div>
  );
}
