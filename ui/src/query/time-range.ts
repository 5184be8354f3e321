/** Time ranges: relative to now (`15m`) or absolute. All times are Unix milliseconds. */

export interface Span {
  readonly from: number;
  readonly to: number;
}

export type TimeRange = { readonly kind: "relative"; readonly ms: number } | ({ readonly kind: "absolute" } & Span);

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const PRESETS: readonly { readonly ms: number; readonly text: string }[] = [
  { ms: 5 * MINUTE, text: "Last 5 minutes" },
  { ms: 15 * MINUTE, text: "Last 15 minutes" },
  { ms: HOUR, text: "Last hour" },
  { ms: 3 * HOUR, text: "Last 3 hours" },
  { ms: 6 * HOUR, text: "Last 6 hours" },
  { ms: 12 * HOUR, text: "Last 12 hours" },
  { ms: DAY, text: "Last day" },
  { ms: 7 * DAY, text: "Last 7 days" },
  { ms: 30 * DAY, text: "Last 30 days" },
];

export function resolve(range: TimeRange, now: number): Span {
  return range.kind === "absolute" ? range : { from: now - range.ms, to: now };
}

const UNITS: readonly [string, number][] = [
  ["d", DAY],
  ["h", HOUR],
  ["m", MINUTE],
  ["s", 1000],
];

/** `15m`, `2h`, `7d`, `90s`. */
export function formatDuration(ms: number): string {
  const [unit, size] = UNITS.find(([, each]) => ms % each === 0 && ms >= each) ?? ["s", 1000];
  return `${Math.round(ms / size)}${unit}`;
}

/** The inverse of `formatDuration`; null for anything else or nothing positive. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,6})([smhd])$/.exec(text.trim());
  const unit = match && UNITS.find(([name]) => name === match[2]);
  const ms = match && unit ? Number(match[1]) * unit[1] : 0;
  return ms > 0 ? ms : null;
}

/** `from-to` in milliseconds; null unless it is one that begins before it ends. */
export function parseSpan(text: string): Span | null {
  const match = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  if (!match) return null;
  const span = { from: Number(match[1]), to: Number(match[2]) };
  return span.from < span.to ? span : null;
}

export function formatSpan(span: Span): string {
  return `${Math.round(span.from)}-${Math.round(span.to)}`;
}

export function describe(range: TimeRange): string {
  if (range.kind === "absolute") return describeSpan(range);
  return PRESETS.find(({ ms }) => ms === range.ms)?.text ?? `Last ${formatDuration(range.ms)}`;
}

/** `23 Nov 22:04:10 – 22:05:00`, in local time, the day once if it is one day. */
export function describeSpan({ from, to }: Span): string {
  const oneDay = new Date(from).toDateString() === new Date(to).toDateString();
  return `${formatDay(from)} ${formatClock(from)} – ${oneDay ? "" : `${formatDay(to)} `}${formatClock(to)}`;
}

const two = (n: number) => String(n).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function formatClock(ms: number, seconds = true): string {
  const at = new Date(ms);
  return `${two(at.getHours())}:${two(at.getMinutes())}${seconds ? `:${two(at.getSeconds())}` : ""}`;
}

export function formatDay(ms: number): string {
  const at = new Date(ms);
  return `${at.getDate()} ${MONTHS[at.getMonth()]}`;
}

/** For `<input type="datetime-local" step="1">`. */
export function toLocalInput(ms: number): string {
  const at = new Date(ms);
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${formatClock(ms)}`;
}

/** `4 s ago`, `2 min ago`, ... */
export function formatAgo(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86_400)} d ago`;
}
