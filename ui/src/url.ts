/** The whole state of the screen, as the address bar holds it. */
import {
  formatDuration,
  formatSpan,
  MINUTE,
  parseDuration,
  parseSpan,
  type Span,
  type TimeRange,
} from "./query/time-range";
import type { Sort, SortKey } from "./table/rows";

export type Page = "explore" | "targets";
export type Layout = "both" | "flame" | "table";

export interface Part {
  readonly left: number;
  readonly right: number;
}

export interface State {
  readonly page: Page;
  /** A profile type's id, `name:sample_type:sample_unit:period_type:period_unit[:delta]`; empty for the first there is. */
  readonly type: string;
  /** Label matchers without braces: `job="api", pod=~"web-.*"`. */
  readonly match: string;
  readonly range: TimeRange;
  /** The part of the range that the flame graph shows; null for all of it. */
  readonly selection: Span | null;
  /** What the selection is compared with; null outside of a comparison. */
  readonly base: Span | null;
  /** Compare values as they are, instead of scaling both sides to the same total. */
  readonly absolute: boolean;
  /** The label by which the graph over time is split; empty for one line. */
  readonly by: string;
  /** Seconds between refreshes of a relative range; 0 for none. */
  readonly refresh: number;
  readonly layout: Layout;
  readonly colour: "package" | "binary";
  /** The frame that fills the width, as `pathKey` names it; empty for the root. */
  readonly zoom: string;
  /** What is in sight instead, after moving freely: from 0 to 1 of the root's width. */
  readonly part: Part | null;
  readonly search: string;
  readonly sort: Sort;
  /** The table's filter. */
  readonly filter: string;
}

export const DEFAULTS: State = {
  page: "explore",
  type: "",
  match: "",
  range: { kind: "relative", ms: 15 * MINUTE },
  selection: null,
  base: null,
  absolute: false,
  by: "",
  refresh: 10,
  layout: "both",
  colour: "package",
  zoom: "",
  part: null,
  search: "",
  sort: { key: "self", descending: true },
  filter: "",
};

const REFRESH = [0, 5, 10, 30, 60];
export const REFRESH_SECONDS: readonly number[] = REFRESH;

/** Reads what it understands and takes the default for everything else: a link never breaks the screen. */
export function parse(page: Page, query: string): State {
  const params = new URLSearchParams(query);
  const text = (name: string) => params.get(name) ?? "";
  const oneOf = <T extends string>(name: string, known: readonly T[], otherwise: T): T =>
    known.find((each) => each === text(name)) ?? otherwise;
  const refresh = Number.parseInt(text("refresh"), 10);
  return {
    page,
    type: text("type"),
    match: text("match"),
    range: parseRange(text("range")),
    selection: parseSpan(text("sel")),
    base: parseSpan(text("base")),
    absolute: text("abs") === "1",
    by: text("by"),
    refresh: REFRESH.includes(refresh) ? refresh : DEFAULTS.refresh,
    layout: oneOf<Layout>("view", ["both", "flame", "table"], DEFAULTS.layout),
    colour: oneOf("colour", ["package", "binary"], DEFAULTS.colour),
    zoom: /^[0-9a-f]{8}$/.test(text("zoom")) ? text("zoom") : "",
    part: parsePart(text("part")),
    search: text("search"),
    sort: parseSort(text("sort")),
    filter: text("filter"),
  };
}

/** Only what differs from the defaults, so that a link stays short. */
export function format(state: State): string {
  const params = new URLSearchParams();
  const put = (name: string, value: string, otherwise = "") => {
    if (value !== otherwise) params.set(name, value);
  };
  put("type", state.type);
  put("match", state.match);
  put("range", formatRange(state.range), formatRange(DEFAULTS.range));
  put("sel", state.selection ? formatSpan(state.selection) : "");
  put("base", state.base ? formatSpan(state.base) : "");
  put("abs", state.absolute ? "1" : "");
  put("by", state.by);
  put("refresh", String(state.refresh), String(DEFAULTS.refresh));
  put("view", state.layout, DEFAULTS.layout);
  put("colour", state.colour, DEFAULTS.colour);
  put("zoom", state.zoom);
  put("part", state.part ? `${digits(state.part.left)}-${digits(state.part.right)}` : "");
  put("search", state.search);
  put("sort", formatSort(state.sort), formatSort(DEFAULTS.sort));
  put("filter", state.filter);
  const query = params.toString();
  return query === "" ? "" : `?${query}`;
}

function parseRange(text: string): TimeRange {
  const ms = parseDuration(text);
  if (ms !== null) return { kind: "relative", ms };
  const span = parseSpan(text);
  return span ? { kind: "absolute", ...span } : DEFAULTS.range;
}

function formatRange(range: TimeRange): string {
  return range.kind === "relative" ? formatDuration(range.ms) : formatSpan(range);
}

/** Enough digits for a window of a billionth. */
function digits(fraction: number): string {
  return String(Number(fraction.toFixed(12)));
}

function parsePart(text: string): Part | null {
  const match = /^(0(?:\.\d{1,12})?)-([01](?:\.\d{1,12})?)$/.exec(text);
  const part = match && { left: Number(match[1]), right: Number(match[2]) };
  return part && part.left < part.right && part.right <= 1 ? part : null;
}

const SORT_KEYS: readonly SortKey[] = ["self", "total", "diff", "name"];

function parseSort(text: string): Sort {
  const key = SORT_KEYS.find((each) => each === text.replace(/^-/, ""));
  return key ? { key, descending: text.startsWith("-") } : DEFAULTS.sort;
}

function formatSort(sort: Sort): string {
  return (sort.descending ? "-" : "") + sort.key;
}
