/** connect-web, as the screens of others use it: gRPC-Web unary calls from a browser, below any path and from any page that may. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { build } from "vite";

import { launch } from "../testkit/chromium";
import { startDecima, type Decima } from "../testkit/decima";
import type { Answer } from "../testkit/in-page";

const CPU = ["cpu", "nanoseconds"] as const;
const TYPE = "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta";
const TIME_MS = Date.UTC(2026, 0, 15, 12);

let browser: Browser;
let script: string;
before(async () => {
  browser = await launch();
  const entry = fileURLToPath(new URL("../testkit/in-page.ts", import.meta.url));
  const built = await build({
    configFile: false,
    logLevel: "error",
    build: { write: false, lib: { entry, formats: ["iife"], name: "inPage" } },
  });
  const [{ output }] = built as { output: { code: string }[] }[];
  script = output[0].code;
});
after(() => browser.close());

/** A page of `url` with connect-web in it. */
async function openPage(url: string): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(url);
  await page.addScriptTag({ content: script });
  return page;
}

function ask(page: Page, baseUrl: string, method: string, request: object): Promise<Answer> {
  return page.evaluate(({ baseUrl, method, request }) => globalThis.connectWeb.ask(baseUrl, method, request as never), {
    baseUrl,
    method,
    request,
  });
}

/** A second of CPU in each of `stacks` stacks, one below the other's root. */
async function write(decima: Decima, stacks: number): Promise<void> {
  const samples = Array.from({ length: stacks }, (_, at) => ({ stack: ["main", `frame ${at} of ☂`], value: 1e9 }));
  const covered = { timeMs: TIME_MS, durationMs: 10_000 };
  await decima.write(
    { __name__: "process_cpu", job: "shop" },
    { sampleType: CPU, periodType: CPU, period: 1e7, ...covered, binary: "/shop", samples },
  );
}

const merge = (query: string, reportType: string) => ({
  mode: "MODE_MERGE",
  merge: { query, start: "2026-01-15T11:00:00Z", end: "2026-01-15T13:00:00Z" },
  reportType,
});

test("calls are answered below the root, the path of the API, the prefix, and any other path", async () => {
  const decima = await startDecima({ prefix: "/some/prefix" });
  try {
    await write(decima, 3000);
    const page = await openPage(`${decima.url}/`);
    const origin = new URL(decima.url).origin;
    for (const base of [origin, `${origin}/api`, `${decima.url}/api`, decima.url, `${origin}/where/ever`]) {
      assert.deepEqual(await ask(page, base, "profileTypes", {}), {
        reply: {
          types: [
            {
              name: "process_cpu",
              sampleType: "cpu",
              sampleUnit: "nanoseconds",
              periodType: "cpu",
              periodUnit: "nanoseconds",
              delta: true,
            },
          ],
        },
      });
      const values = await ask(page, base, "values", { labelName: "job", match: [`${TYPE}{job=~"s.*"}`] });
      assert.deepEqual(values, { reply: { labelValues: ["shop"] } });
    }
    // a reply of many frames of HTTP/1.1, then its trailers
    const { reply } = await ask(page, `${decima.url}/api`, "query", merge(TYPE, "REPORT_TYPE_TOP"));
    const { total, top } = reply as { total: string; top: { list: { meta: object; flat?: string }[] } };
    assert.equal(total, String(3000e9));
    assert.equal(top.list.length, 3001);
    assert.ok(JSON.stringify(top.list[0].meta).includes(" of ☂"));
    await page.close();
  } finally {
    await decima.stop();
  }
});

test("an error has its code, and its words letter by letter", async () => {
  const decima = await startDecima({ prefix: "/some/prefix" });
  try {
    await write(decima, 1);
    const page = await openPage(`${decima.url}/`);
    const base = `${decima.url}/api`;
    const range = { start: "2026-01-15T11:00:00Z", end: "2026-01-15T13:00:00Z" };
    const none = await ask(page, base, "queryRange", { query: `${TYPE}{job="nobody"}`, ...range });
    assert.equal(none.code, "NotFound");
    assert.match(none.message ?? "", /^No data found for the query/);
    const wrong = await ask(page, base, "queryRange", { query: "größe: 100 % ☂", ...range });
    assert.equal(wrong.code, "InvalidArgument");
    assert.equal(
      wrong.message,
      "failed to parse query: 1:3: parse error: unexpected character: 'ö'",
      "as it is, through the escapes of a header",
    );
    const nowhere = await ask(page, base, "targets", {});
    assert.ok(nowhere.reply);
    await page.close();
  } finally {
    await decima.stop();
  }
});

test("a page of another origin may ask only where it is allowed to", async () => {
  const other = await startDecima();
  const open = await startDecima({ flags: [`--cors-allowed-origins=${other.url}`] });
  const closed = await startDecima();
  try {
    const page = await openPage(`${other.url}/`);
    assert.deepEqual(await ask(page, `${open.url}/api`, "hasProfileData", {}), { reply: {} });
    const error = await ask(page, `${open.url}/api`, "query", merge("nonsense", "REPORT_TYPE_TOP"));
    assert.equal(error.code, "InvalidArgument", "the trailers of an error are there to be read");
    const refused = await ask(page, `${closed.url}/api`, "hasProfileData", {});
    assert.deepEqual([refused.reply, refused.code], [undefined, "Unknown"]);
    await page.close();
  } finally {
    for (const decima of [other, open, closed]) await decima.stop();
  }
});
