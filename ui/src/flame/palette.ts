/** The colours of frames. Fills are light on a light page and dark on a dark one, so one text colour reads on all. */
import { baseName, hashText, type FlameTree } from "./tree";

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
    ? [
        ...[4, 3, 2, 1].map((steps) => change(steps, 250)),
        neutral,
        ...[1, 2, 3, 4].map((steps) => change(steps, 28)),
      ]
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
  const classes = new Uint8Array(tree.size);
  const ofGroup = tree.groups.map(hueOf);
  const binaries = new Map<string, number>();
  for (let node = 0; node < tree.size; node++) {
    if (by === "package") {
      classes[node] = ofGroup[tree.group[tree.name[node]]];
    } else {
      const binary = baseName(tree.origin(node).binary);
      let hue = binaries.get(binary);
      if (hue === undefined) binaries.set(binary, (hue = binary === "" ? NEUTRAL : hueOf(binary)));
      classes[node] = hue;
    }
  }
  classes[0] = NEUTRAL;
  return classes;
}

function hueOf(group: string): number {
  return group === "unknown" || group === "labels" ? NEUTRAL : hashText(group) % HUES.length;
}

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
