/** The selector: label matchers with completion of names, operators and values. */
import { createEffect, createMemo, createSignal, createUniqueId, For, on, Show, type JSX } from "solid-js";

import type { Span } from "./time-range";
import { labelNames, labelValues } from "../wire/client";
import { loaded } from "../wire/loaded";
import { accept, OPERATORS, placeAt, rank, withoutBraces, type Place } from "./completion";

export interface SelectorBoxProps {
  readonly profileType: string;
  readonly span: Span;
  /** Matchers without braces. */
  readonly value: string;
  readonly onChange: (matchers: string) => void;
}

const SUGGESTIONS_MAX = 50;

export function SelectorBox(props: SelectorBoxProps): JSX.Element {
  let input!: HTMLInputElement;
  const id = createUniqueId();
  const [text, setText] = createSignal(props.value);
  const [caret, setCaret] = createSignal(0);
  const [open, setOpen] = createSignal(false);
  const [active, setActive] = createSignal(-1);
  createEffect(
    on(
      () => props.value,
      (value) => setText(value),
    ),
  );

  const place = createMemo<Place>(() => (open() ? placeAt(text(), caret()) : { kind: "none" }));
  const label = createMemo(() => {
    const at = place();
    return at.kind === "value" ? at.label : null;
  });
  // The range at the moment of opening: names and values need not follow every refresh.
  const within = createMemo(() => (open() ? { type: props.profileType, span: props.span } : null), null, {
    equals: (a, b) => a !== null && b !== null && a.type === b.type,
  });
  const names = loaded(within, (ask, signal) => labelNames(ask.type, ask.span, signal));
  const values = loaded(
    createMemo(() => {
      const ask = within();
      const name = label();
      return ask && name !== null ? { ...ask, name } : null;
    }),
    (ask, signal) => labelValues(ask.name, ask.type, ask.span, signal).then((list) => ({ name: ask.name, list })),
  );

  const suggestions = createMemo<readonly { readonly text: string; readonly about?: string }[]>(() => {
    const at = place();
    switch (at.kind) {
      case "none":
        return [];
      case "label":
        return rank(names.data() ?? [], at.typed, SUGGESTIONS_MAX).map((each) => ({ text: each }));
      case "operator":
        return OPERATORS.filter((each) => each.text.startsWith(at.typed)).map((each) => ({
          text: each.text,
          about: each.meaning,
        }));
      case "value": {
        const known = values.data();
        const list = known?.name === at.label ? known.list : [];
        return rank(list, at.typed, SUGGESTIONS_MAX).map((each) => ({ text: each }));
      }
    }
  });
  createEffect(on(suggestions, () => setActive(-1)));

  function moved(): void {
    setText(input.value);
    setCaret(input.selectionStart ?? input.value.length);
  }

  function take(suggestion: string): void {
    const at = place();
    if (at.kind === "none") return;
    const next = accept(text(), at, suggestion);
    input.value = next.text;
    input.setSelectionRange(next.caret, next.caret);
    input.focus();
    moved();
    if (at.kind === "value") commit();
  }

  function commit(): void {
    setOpen(false);
    props.onChange(withoutBraces(text()));
  }

  function onKeyDown(event: KeyboardEvent): void {
    const count = suggestions().length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open()) {
        setOpen(true);
        moved();
        return;
      }
      const step = event.key === "ArrowDown" ? 1 : -1;
      // one more place than there are suggestions: none chosen
      if (count > 0) setActive(((active() + 1 + step + count + 1) % (count + 1)) - 1);
      document.getElementById(`${id}-${active()}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      const chosen = suggestions()[active()];
      if (chosen) take(chosen.text);
      else commit();
    } else if (event.key === "Tab" && open() && count > 0 && !event.shiftKey && text() !== props.value) {
      event.preventDefault();
      take(suggestions()[Math.max(0, active())].text);
    } else if (event.key === "Escape" && open()) {
      event.preventDefault();
      setOpen(false);
    }
  }

  return (
    <div class="selector">
      <span class="brace" aria-hidden="true">
        {"{"}
      </span>
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-label="Label selector"
        aria-autocomplete="list"
        aria-expanded={open() && suggestions().length > 0}
        aria-controls={`${id}-list`}
        aria-activedescendant={active() >= 0 ? `${id}-${active()}` : undefined}
        placeholder={'all labels; e.g. job="api"'}
        spellcheck={false}
        autocomplete="off"
        autocapitalize="off"
        value={text()}
        onInput={() => {
          setOpen(true);
          moved();
        }}
        onFocus={() => {
          setOpen(true);
          moved();
        }}
        onClick={() => {
          setOpen(true);
          moved();
        }}
        onKeyUp={(event) => {
          if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) moved();
        }}
        onBlur={() => {
          setOpen(false);
          if (withoutBraces(text()) !== props.value) commit();
        }}
        onKeyDown={onKeyDown}
      />
      <Show when={text() !== ""}>
        <button
          type="button"
          class="clear"
          aria-label="Clear the selector"
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => {
            setText("");
            props.onChange("");
          }}
        >
          ×
        </button>
      </Show>
      <span class="brace" aria-hidden="true">
        {"}"}
      </span>
      <Show when={open() && suggestions().length > 0}>
        <ul class="suggestions" role="listbox" id={`${id}-list`} aria-label="Suggestions">
          <For each={suggestions()}>
            {(each, at) => (
              <li
                id={`${id}-${at()}`}
                role="option"
                aria-selected={at() === active()}
                onMouseDown={(event) => {
                  event.preventDefault();
                  take(each.text);
                }}
              >
                <code>{each.text}</code>
                <Show when={each.about}>
                  <span class="quiet">{each.about}</span>
                </Show>
              </li>
            )}
          </For>
        </ul>
      </Show>
    </div>
  );
}
