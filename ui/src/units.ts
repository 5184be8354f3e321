/** Numbers as a person reads them. */

const TIME: readonly [number, string][] = [
  [3_600e9, "h"],
  [60e9, "min"],
  [1e9, "s"],
  [1e6, "ms"],
  [1e3, "µs"],
  [1, "ns"],
];
const BYTES: readonly [number, string][] = [
  [2 ** 50, "PiB"],
  [2 ** 40, "TiB"],
  [2 ** 30, "GiB"],
  [2 ** 20, "MiB"],
  [2 ** 10, "KiB"],
  [1, "B"],
];
const COUNT: readonly [number, string][] = [
  [1e12, " T"],
  [1e9, " G"],
  [1e6, " M"],
  [1e3, " k"],
  [1, ""],
];

/** How many nanoseconds one of these is; profiles name their units freely. */
const NANOSECONDS: Readonly<Record<string, number>> = {
  nanoseconds: 1,
  nanosecond: 1,
  ns: 1,
  microseconds: 1e3,
  us: 1e3,
  milliseconds: 1e6,
  ms: 1e6,
  seconds: 1e9,
  s: 1e9,
};

/** `1.2 s`, `34 MiB`, `5.6 k`: at most four digits, in the unit's own steps. Unknown units are appended. */
export function formatValue(value: number, unit: string): string {
  const nanoseconds = NANOSECONDS[unit];
  if (nanoseconds !== undefined) return scaled(value * nanoseconds, TIME, " ");
  if (unit === "bytes" || unit === "byte") return scaled(value, BYTES, " ");
  const count = scaled(value, COUNT, "");
  return unit === "count" || unit === "" ? count : `${count} ${unit}`;
}

function scaled(value: number, steps: readonly [number, string][], gap: string): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const last = steps[steps.length - 1];
  const [factor, suffix] = steps.find(([from]) => size >= from * 0.9995) ?? last;
  return `${digits(value / factor)}${gap}${suffix}`.trimEnd();
}

/** Three significant digits below 1000, none lost above. */
function digits(value: number): string {
  const size = Math.abs(value);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.01 ? 2 : 3;
  return String(Number(value.toFixed(places)));
}

/** A part of a whole: `12.3 %`, `< 0.01 %`. */
export function formatShare(part: number, whole: number): string {
  if (whole === 0) return "–";
  const percent = (100 * part) / whole;
  if (percent !== 0 && Math.abs(percent) < 0.01) return `${percent < 0 ? "> −" : "< "}0.01 %`;
  const places = Math.abs(percent) >= 10 ? 1 : 2;
  return `${Number(percent.toFixed(places))} %`;
}

/** With a sign: `+1.2 s`, `−3 MiB`, `0`. */
export function formatChange(value: number, unit: string): string {
  const sign = value > 0 ? "+" : value < 0 ? "−" : "";
  return sign + formatValue(Math.abs(value), unit);
}

const grouped = new Intl.NumberFormat("en", { useGrouping: true });

/** `65,536` */
export function formatCount(count: number): string {
  return grouped.format(count).replaceAll(",", "\u202f");
}
