/** The screen's state: one signal, always equal to the address bar. */
import { createSignal } from "solid-js";

import { format, parse, type Page, type State } from "./url";
import { BASE } from "./wire/client";

const [state, setState] = createSignal<State>(read());
export { state };

function read(): State {
  return parse(location.pathname.endsWith("/targets") ? "targets" : "explore", location.search);
}

/** The address of a state, for links. */
export function address(next: State): string {
  return BASE.pathname + pathOf(next.page) + format(next);
}

function pathOf(page: Page): string {
  return page === "targets" ? "targets" : "";
}

/**
 * Changes the state and the address. A step that a person would want to take back is a new entry in the
 * history; typing and other small changes replace the current one.
 */
export function go(change: Partial<State>, history: "push" | "replace" = "push"): void {
  const next = { ...state(), ...change };
  const to = address(next);
  if (to === address(state())) return;
  if (history === "push") window.history.pushState(null, "", to);
  else window.history.replaceState(null, "", to);
  setState(next);
}

window.addEventListener("popstate", () => setState(read()));
