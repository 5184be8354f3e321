import assert from "node:assert/strict";
import { test } from "node:test";

import { accept, placeAt, rank, withMatcher, withoutBraces } from "../src/query/completion";
import { firstType, nameTypes } from "../src/query/profile-types";
import { formatDuration, parseDuration, parseSpan, resolve } from "../src/query/time-range";
import { bucketStep, timeTicks, valueTicks } from "../src/series/scale";
import { nameTest } from "../src/flame/search";
import { formatChange, formatShare, formatValue } from "../src/units";
import { DEFAULTS, format, parse, type State } from "../src/url";

/** `|` is the caret; the answer names what is asked for, what is typed of it and what it would replace. */
function place(marked: string): string {
  const caret = marked.indexOf("|");
  const text = marked.replace("|", "");
  const at = placeAt(text, caret);
  if (at.kind === "none") return "none";
  const of = at.kind === "label" ? "" : ` of ${at.label}`;
  return `${at.kind}${of}: ${at.typed} [${text.slice(at.from, at.to)}]`;
}

test("the selector box knows what comes next at the caret", () => {
  const cases: Record<string, string> = {
    "|": "label:  []",
    "jo|": "label: jo [jo]",
    "j|ob": "label: j [job]",
    "job |": "operator of job:  [ ]",
    "job=|": "value of job:  []",
    "job!|": "operator of job: ! [!]",
    "job=~|": "value of job:  []",
    'job="|': 'value of job:  ["]',
    'job="ap|i"': 'value of job: ap ["api"]',
    'job="api"|': "none",
    'job="api",|': "label:  []",
    'job="api", in|': "label: in [in]",
    'job="a,b", pod!~"we|': 'value of pod: we ["we]',
    'job="say \\"hi|"': 'value of job: say "hi ["say \\"hi"]',
    "{job=|}": "value of job:  []",
  };
  for (const [marked, expected] of Object.entries(cases)) assert.equal(place(marked), expected, marked);
});

test("a suggestion takes its place and values are quoted", () => {
  const take = (text: string, suggestion: string) => {
    const at = placeAt(text, text.length);
    assert.notEqual(at.kind, "none");
    return at.kind === "none" ? "" : accept(text, at, suggestion).text;
  };
  assert.equal(take("jo", "job"), "job");
  assert.equal(take("job", "job"), "job");
  assert.equal(take('a="b", job=', 'say "hi"'), 'a="b", job="say \\"hi\\""');
  assert.equal(take('job="ap', "api"), 'job="api"');
});

test("suggestions that begin with what is typed come first", () => {
  assert.deepEqual(rank(["a_job", "job", "x", "jobs"], "JOB", 10), ["job", "jobs", "a_job"]);
  assert.deepEqual(rank(["a", "b", "c"], "", 2), ["a", "b"]);
});

test("matchers are taken with or without braces, and one replaces its like", () => {
  assert.equal(withoutBraces(' {job="a", }'), 'job="a"');
  assert.equal(withMatcher("", "job", "a"), 'job="a"');
  assert.equal(withMatcher('job="a,b", pod!="x"', "job", "c"), 'pod!="x", job="c"');
  assert.equal(withMatcher('job=~"a.*"', "job", "c"), 'job=~"a.*", job="c"');
});

const type = (id: string) => {
  const [name, sampleType, sampleUnit, periodType, periodUnit, delta] = id.split(":");
  return {
    $typeName: "parca.query.v1alpha1.ProfileType" as const,
    name,
    sampleType,
    sampleUnit,
    periodType,
    periodUnit,
    delta: delta === "delta",
  };
};

test("types have plain names, in the order in which they are looked for", () => {
  const named = nameTypes(
    [
      "memory:inuse_space:bytes:space:bytes",
      "memory:alloc_space:bytes:space:bytes:delta",
      "process_cpu:samples:count:cpu:nanoseconds:delta",
      "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta",
      "page_faults:major_faults:count:x:y",
    ].map(type),
  );
  assert.deepEqual(
    named.map(({ title }) => title),
    ["CPU time", "CPU samples", "Memory allocated (bytes)", "Memory in use (bytes)", "Page faults: major faults"],
  );
  assert.equal(firstType(named)?.id, "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta");
  assert.equal(firstType([]), undefined);
});

test("types that would read alike say what tells them apart", () => {
  const titles = nameTypes(
    [
      "memory:alloc_space:bytes:space:bytes:delta",
      "heap:alloc_space:bytes:space:bytes",
      "heap:alloc_space:bytes:space:bytes:delta",
    ].map(type),
  ).map(({ title }) => title);
  assert.equal(new Set(titles).size, 3, titles.join());
});

test("durations and spans read back as they are written, and nonsense is nothing", () => {
  for (const text of ["5m", "90s", "3h", "7d"]) assert.equal(formatDuration(parseDuration(text) ?? 0), text);
  for (const text of ["", "0m", "m", "-5m", "1.5h", "5 minutes", "9999999h"])
    assert.equal(parseDuration(text), null, text);
  assert.deepEqual(parseSpan("5-9"), { from: 5, to: 9 });
  for (const text of ["9-5", "5", "a-b", "5-5"]) assert.equal(parseSpan(text), null, text);
  assert.deepEqual(resolve({ kind: "relative", ms: 10 }, 100), { from: 90, to: 100 });
});

test("the state survives the address bar", () => {
  const full: State = {
    page: "explore",
    type: "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta",
    match: 'job=~"a&b|c+d", pod!="ü"',
    range: { kind: "absolute", from: 1_000, to: 2_000 },
    selection: { from: 1_100, to: 1_200 },
    base: { from: 1_000, to: 1_100 },
    absolute: true,
    by: "job",
    refresh: 60,
    layout: "flame",
    colour: "binary",
    zoom: "0badcafe",
    part: { left: 0, right: 0.25 },
    search: '"a b"',
    sort: { key: "name", descending: false },
    filter: "x y",
  };
  assert.deepEqual(parse("explore", format(full)), full);
  assert.equal(format(DEFAULTS), "");
  assert.deepEqual(parse("targets", ""), { ...DEFAULTS, page: "targets" });
});

test("a broken address gives the defaults", () => {
  const broken = parse(
    "explore",
    "?range=x&sel=9-5&base=&refresh=7&view=cube&colour=red&zoom=../..&part=0.5-0.1&sort=-",
  );
  assert.deepEqual(broken, DEFAULTS);
});

test("numbers read as a person says them", () => {
  const cases: [number, string, string][] = [
    [0, "nanoseconds", "0"],
    [1_500_000_000, "nanoseconds", "1.5 s"],
    [999, "nanoseconds", "999 ns"],
    [999_990, "nanoseconds", "1 ms"],
    [90, "seconds", "1.5 min"],
    [1536, "bytes", "1.5 KiB"],
    [-2048, "bytes", "-2 KiB"],
    [1_234_567, "count", "1.23 M"],
    [12, "faults", "12 faults"],
    [0.25, "count", "0.25"],
  ];
  for (const [value, unit, text] of cases) assert.equal(formatValue(value, unit), text);
  assert.equal(formatShare(1, 8), "12.5 %");
  assert.equal(formatShare(1, 1e9), "< 0.01 %");
  assert.equal(formatShare(0, 5), "0 %");
  assert.equal(formatShare(1, 0), "–");
  assert.equal(formatChange(-1024, "bytes"), "−1 KiB");
  assert.equal(formatChange(0, "count"), "0");
});

test("a search is part of a name, a whole name, or a pattern", () => {
  assert.equal(nameTest("  "), null);
  assert.equal(nameTest("malloc")?.("runtime.MallocGC"), true);
  assert.equal(nameTest('"runtime.malloc"')?.("runtime.mallocgc"), false);
  assert.equal(nameTest("/^run.*gc$/")?.("runtime.mallocgc"), true);
  assert.throws(() => nameTest("/(/"), SyntaxError);
});

test("axes have few round ticks that hold the largest value", () => {
  for (const max of [0.003, 0.7, 1, 3.99, 4, 17, 999, 123_456, 7.3e9]) {
    for (const binary of [false, true]) {
      const ticks = valueTicks(max, 4, binary);
      assert.ok(ticks.length >= 2 && ticks.length <= 6, `${max}: ${ticks.join()}`);
      assert.equal(ticks[0], 0);
      assert.ok(ticks[ticks.length - 1] >= max * 0.99999);
    }
  }
  assert.deepEqual(valueTicks(0, 4, false), [0, 1]);
  for (const span of [60e3, 900e3, 3600e3, 86400e3, 30 * 86400e3]) {
    const ticks = timeTicks(1.7e12, 1.7e12 + span, 8);
    assert.ok(ticks.length >= 1 && ticks.length <= 9, `${span}: ${ticks.length}`);
    const step = bucketStep(span, 120);
    assert.ok(step % 10_000 === 0 && span / step <= 120);
  }
});
