/** Axes: from values to places and to round numbers. */

/** Round steps that cover `0..max` in at most `most` intervals; the last tick is at or above `max`. */
export function valueTicks(max: number, most: number, binary: boolean): number[] {
  if (!(max > 0)) return [0, 1];
  const base = binary && max >= 1024 ? 1024 ** Math.floor(Math.log(max) / Math.log(1024)) : 1;
  const rough = max / base / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999999) ?? 10) * power * base;
  const ticks = [];
  for (let at = 0; ; at++) {
    ticks.push(at * step);
    if (at * step >= max * 0.999999) return ticks;
  }
}

const SECOND = 1000;
const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

/** Round local times within `from..to` (ms), at most `most`. */
export function timeTicks(from: number, to: number, most: number): number[] {
  const rough = (to - from) / SECOND / Math.max(1, most);
  const step = (STEPS.find((each) => each >= rough) ?? Math.ceil(rough / 604_800) * 604_800) * SECOND;
  const zone = new Date(from).getTimezoneOffset() * 60 * SECOND;
  const ticks = [];
  for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) ticks.push(at);
  return ticks;
}

/**
 * Seconds. A bucket's rate is right when it holds a whole number of each target's profiles: so nothing
 * shorter than the usual scrape interval, and only multiples of it.
 */
const BUCKETS = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400];

/** The step for at most `points` buckets, in ms. */
export function bucketStep(spanMs: number, points: number): number {
  const rough = spanMs / SECOND / points;
  return (BUCKETS.find((each) => each >= rough) ?? Math.ceil(rough / 86_400) * 86_400) * SECOND;
}
