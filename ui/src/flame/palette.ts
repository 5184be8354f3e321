/** The colours of frames. Fills are light on a light page and dark on a dark one, so one text colour reads on all. */
import type { Texts } from "../arrow/columns";
import { hashText, type FlameTree } from "./tree";

export type Mode = "light" | "dark";
export type ColourBy = "package" | "binary";

export interface Palette {
  /** Fill colours; a node's class is a position here. */
  readonly fills: readonly string[];
  readonly text: string;
  readonly page: string;
  /** Runs of frames too narrow to draw. */
  readonly narrow: string;
  readonly highlight: string;
  readonly highlightText: string;
  /** Frames that a search does not find. */
  readonly faded: string;
  readonly fadedText: string;
  readonly outline: string;
}

/** As many hues as can be told apart beside each other; groups beyond them share. */
const HUES = [25, 50, 75, 100, 130, 155, 180, 210, 240, 265, 295, 325, 350];
const NEUTRAL = HUES.length;
/** Class of "no change"; less runs below it, more above. */
const CHANGE_STEPS = [0.02, 0.1, 0.3, 0.7];
const UNCHANGED = CHANGE_STEPS.length;

export function palette(mode: Mode, comparison: boolean): Palette {
  const light = mode === "light";
  const fill = (lightness: number, chroma: number, hue: number) => `oklch(${lightness} ${chroma} ${hue})`;
  const neutral = light ? "oklch(0.88 0.008 250)" : "oklch(0.37 0.012 250)";
  const change = (steps: number, hue: number) =>
    light ? fill(0.9 - 0.055 * steps, 0.035 * steps, hue) : fill(0.36 + 0.028 * steps, 0.035 * steps, hue);
  const fills = comparison
    ? [...[4, 3, 2, 1].map((steps) => change(steps, 250)), neutral, ...[1, 2, 3, 4].map((steps) => change(steps, 28))]
    : [...HUES.map((hue) => (light ? fill(0.84, 0.075, hue) : fill(0.42, 0.068, hue))), neutral];
  return {
    fills,
    text: light ? "#14171c" : "#f1f3f6",
    page: light ? "#ffffff" : "#14171c",
    narrow: light ? "oklch(0.9 0.01 250)" : "oklch(0.31 0.012 250)",
    highlight: light ? "oklch(0.8 0.165 85)" : "oklch(0.83 0.16 88)",
    highlightText: "#14171c",
    faded: light ? "oklch(0.94 0.006 250)" : "oklch(0.27 0.01 250)",
    fadedText: light ? "#5c6470" : "#9aa3b0",
    outline: light ? "#14171c" : "#ffffff",
  };
}

/** The colour class of every node, decided once per reply and not per frame drawn. */
export function classify(tree: FlameTree, by: ColourBy): Uint8Array {
  if (tree.diff) return classifyChange(tree, tree.diff);
  const { index, texts } = by === "package" ? byPackage(tree) : tree.binaries();
  const weights = new Float64Array(texts.length);
  for (let node = 1; node < tree.size; node++) if (index[node] >= 0) weights[index[node]] += tree.self[node];
  const hues = assignHues(texts, weights);
  const classes = new Uint8Array(tree.size);
  for (let node = 1; node < tree.size; node++) classes[node] = index[node] < 0 ? NEUTRAL : hues[index[node]];
  classes[0] = NEUTRAL;
  return classes;
}

function byPackage(tree: FlameTree): Texts {
  return { index: Int32Array.from(tree.name, (name) => tree.group[name]), texts: tree.groups };
}

/**
 * A hue for each group, from its name, so that it stays the same from reply to reply. The heaviest groups,
 * one per hue, step aside for each other, so that they differ.
 */
function assignHues(groups: readonly string[], weights: Float64Array): Uint8Array {
  const hues = Uint8Array.from(groups, (group) =>
    NEUTRAL_GROUPS.has(group) ? NEUTRAL : hashText(group) % HUES.length,
  );
  const heaviest = Array.from(groups.keys())
    .filter((at) => hues[at] !== NEUTRAL)
    .sort((a, b) => weights[b] - weights[a])
    .slice(0, HUES.length)
    .sort((a, b) => (groups[a] < groups[b] ? -1 : 1));
  const taken = new Set<number>();
  for (const at of heaviest) {
    while (taken.has(hues[at])) hues[at] = (hues[at] + HUE_STRIDE) % HUES.length;
    taken.add(hues[at]);
  }
  return hues;
}

const NEUTRAL_GROUPS: ReadonlySet<string> = new Set(["", "unknown", "labels", "total"]);
/** Shares no factor with the number of hues, so that stepping aside reaches all; large, so that it is seen. */
const HUE_STRIDE = 5;

function classifyChange(tree: FlameTree, diff: Float64Array): Uint8Array {
  const classes = new Uint8Array(tree.size);
  for (let node = 0; node < tree.size; node++) {
    const before = tree.value[node] - diff[node];
    const ratio = before > 0 ? diff[node] / before : diff[node] > 0 ? 1 : 0;
    const steps = CHANGE_STEPS.filter((each) => Math.abs(ratio) >= each).length;
    classes[node] = UNCHANGED + (ratio < 0 ? -steps : steps);
  }
  return classes;
}
