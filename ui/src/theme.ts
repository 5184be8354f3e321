/** Dark or light: as the system has it, until the person chooses. */
import { createSignal } from "solid-js";

import type { Mode } from "./flame/palette";

const KEY = "decima.theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");

function chosen(): Mode | null {
  try {
    const kept = localStorage.getItem(KEY);
    return kept === "dark" || kept === "light" ? kept : null;
  } catch {
    // storage may be forbidden; then the choice lasts as long as the page
    return null;
  }
}

const [mode, setMode] = createSignal<Mode>(chosen() ?? (system.matches ? "dark" : "light"));
export { mode };

function show(next: Mode): void {
  document.documentElement.dataset["theme"] = next;
  setMode(next);
}
show(mode());

system.addEventListener("change", () => {
  if (chosen() === null) show(system.matches ? "dark" : "light");
});

export function toggleMode(): void {
  const next = mode() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem(KEY, next);
  } catch {
    // see above
  }
  show(next);
}
