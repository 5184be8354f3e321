/**
 * The screen in a real browser against a real server: `DECIMA_BINARY=... npm run e2e`.
 * `SCREENSHOTS` may name a folder for pictures of every screen. `npm run build` is not needed: the binary
 * brings its own copy of the screen.
 */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";

import { launch } from "../testkit/chromium";
import { startDecima, type Decima } from "../testkit/decima";
import type { Sample } from "../testkit/pprof";

const CPU = ["cpu", "nanoseconds"] as const;
const HEAP = ["inuse_space", "bytes"] as const;
const SECOND = 1e9;

/** Three seconds of CPU: two thirds in `parse`, a third in `render`, some of both in `alloc`. */
const SAMPLES: readonly Sample[] = [
  { stack: ["main", "shop::checkout", "json::parse"], value: 1.5 * SECOND },
  { stack: ["main", "shop::checkout", "json::parse", "mem::alloc"], value: 0.5 * SECOND },
  { stack: ["main", "shop::render", "html::escape"], value: 0.75 * SECOND },
  { stack: ["main", "shop::render", "html::escape", "mem::alloc"], value: 0.25 * SECOND },
];

/** Long, since a test machine may be busy; nothing waits for it to pass. */
const PATIENCE_MS = 60_000;

/** Tries until it holds, or fails as it failed last. */
async function eventually(check: () => Promise<void>): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

let browser: Browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

async function openPage(
  url: string,
  colorScheme: "light" | "dark" = "light",
): Promise<{ page: Page; failures: string[] }> {
  // no animation: what is asserted is where things come to rest
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    colorScheme,
    reducedMotion: "reduce",
    acceptDownloads: true,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const failures: string[] = [];
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") failures.push(message.text());
  });
  await page.goto(url);
  return { page, failures };
}

async function picture(page: Page, name: string): Promise<void> {
  const folder = process.env["SCREENSHOTS"];
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** How many distinct colours the flame graph's canvas has, and how much of it is not the page's own. */
function drawn(page: Page): Promise<{ colours: number; filled: number }> {
  return page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>(".flame-canvas");
    const context = canvas?.getContext("2d");
    if (!canvas || !context) return { colours: 0, filled: 0 };
    const pixels = new Uint32Array(context.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
    const page = pixels[pixels.length - 1];
    return { colours: new Set(pixels).size, filled: pixels.filter((pixel) => pixel !== page).length / pixels.length };
  });
}

/** The middle of a frame of the tree above, all in view: `part` of the width, `level` rows down. */
async function pointAt(page: Page, part: number, level: number): Promise<{ x: number; y: number }> {
  const box = await page.locator(".flame-canvas").boundingBox();
  assert.ok(box);
  return { x: box.x + box.width * part, y: box.y + level * 20 + 10 };
}

describe("with profiles", () => {
  let decima: Decima;
  before(async () => {
    decima = await startDecima();
    const now = Date.now();
    for (let at = 0; at < 12; at++) {
      const timeMs = now - 120_000 + at * 10_000;
      for (const job of ["shop", "cart"]) {
        const scale = job === "shop" ? 1 : 0.4;
        const samples = SAMPLES.map(({ stack, value }) => ({ stack, value: Math.round(value * scale) }));
        await decima.write(
          { __name__: "process_cpu", job },
          {
            sampleType: CPU,
            periodType: CPU,
            period: 1e7,
            timeMs,
            durationMs: 10_000,
            binary: "/opt/shop/bin/shop",
            samples,
          },
        );
      }
    }
    await decima.write(
      { __name__: "memory", job: "shop" },
      {
        sampleType: HEAP,
        periodType: ["space", "bytes"],
        period: 524_288,
        timeMs: now - 30_000,
        durationMs: 0,
        binary: "/opt/shop/bin/shop",
        samples: SAMPLES,
      },
    );
  });
  after(() => decima.stop());

  test("the newest profiles are drawn as frames, with the table and the course over time", async () => {
    const { page, failures } = await openPage(decima.url);
    await page.waitForSelector(".flame-canvas");
    await page.waitForFunction(() => document.querySelector(".honesty")?.textContent?.includes("frames"));
    await eventually(async () => {
      const { colours, filled } = await drawn(page);
      assert.ok(colours >= 8, `${colours} colours`);
      assert.ok(filled > 0.1, `${filled} of the canvas filled`);
    });
    // 12 profiles of 3 s from one job and of 1.2 s from the other
    assert.match(await page.locator(".honesty").innerText(), /^50\.4 s in 7 frames, 4 deep\. Nothing trimmed\./);
    assert.match(
      await page.locator(".table-scroll .tr").first().innerText(),
      /25\.2 s\s+50 %\s+33\.6 s\s+66\.7 %\s+json::parse/,
    );
    assert.equal(await page.locator(".type-picker option:checked").innerText(), "CPU time");
    await picture(page, "explore-light");
    assert.deepEqual(failures, []);
    await page.context().close();
  });

  test("a frame says what it is, zooms at a click, and the back button and Escape undo it", async () => {
    const { page, failures } = await openPage(decima.url);
    await page.waitForSelector(".flame-canvas");
    const card = page.locator(".flame .card");
    const isUnder = (part: number, level: number, name: string) =>
      eventually(async () => {
        const point = await pointAt(page, part, level);
        await page.mouse.move(point.x - 1, point.y);
        await page.mouse.move(point.x, point.y);
        assert.equal(await card.locator(".card-name").innerText({ timeout: 1000 }), name);
      });
    await isUnder(0.3, 3, "json::parse");
    const text = await card.innerText();
    for (const each of ["33.6 s", "66.7 % of all", "25.2 s", "100 %", "src/json.rs:", "shop"]) {
      assert.ok(text.includes(each), `${each} in ${text}`);
    }
    await picture(page, "card");
    const parse = await pointAt(page, 0.3, 3);
    await page.mouse.click(parse.x, parse.y);
    await page.waitForFunction(() => /zoom=[0-9a-f]{8}/.test(location.search));
    // it fills the width now; before, `html::escape` stood at its right end
    await isUnder(0.9, 3, "json::parse");
    await picture(page, "zoomed");

    const zoomed = page.url();
    await page.goBack();
    await page.waitForFunction(() => !location.search.includes("zoom"));
    await isUnder(0.9, 3, "html::escape");
    await page.goto(zoomed);
    await page.waitForSelector(".flame-canvas");
    await isUnder(0.9, 3, "json::parse");
    await page.locator(".flame-canvas").focus();
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => !location.search.includes("zoom"));
    assert.deepEqual(failures, []);
    await page.context().close();
  });

  test("the keyboard walks the frames, and each is said", async () => {
    const { page } = await openPage(decima.url);
    await page.waitForSelector(".flame-canvas");
    await page.locator(".flame-canvas").focus();
    for (const key of ["ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight"]) await page.keyboard.press(key);
    const said = page.locator(".flame [role=status]");
    assert.match(await said.innerText(), /^shop::render, 16\.8 s, 33\.3 % of all, 33\.3 % of its caller$/);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => location.search.includes("zoom="));
    await page.context().close();
  });

  test("a search is marked in the graph, counted, and kept in the address", async () => {
    const { page } = await openPage(decima.url);
    await page.waitForSelector(".flame-canvas");
    await page.keyboard.press("/");
    await page.keyboard.type("alloc");
    await eventually(async () => {
      assert.match(await page.locator(".search-result").innerText(), /25 % in 2 frames/);
    });
    assert.ok(new URL(page.url()).searchParams.get("search") === "alloc");
    await picture(page, "search");
    await page.locator(".table-scroll .tr", { hasText: "html::escape" }).click();
    await page.waitForFunction(() => new URLSearchParams(location.search).get("search") === '"html::escape"');
    await eventually(async () => {
      assert.match(await page.locator(".search-result").innerText(), /33\.3 % in 1 frames/);
    });
    await page.context().close();
  });

  test("the selector completes names and values, and narrows everything", async () => {
    const { page } = await openPage(decima.url);
    await page.waitForSelector(".flame-canvas");
    const box = page.getByRole("combobox", { name: "Label selector" });
    await box.click();
    const suggested = page.getByRole("listbox", { name: "Suggestions" }).getByRole("option");
    await suggested.filter({ hasText: "job" }).waitFor();
    await picture(page, "completion");
    await box.pressSequentially("jo");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await box.pressSequentially("=");
    await suggested.filter({ hasText: "cart" }).click();
    await page.waitForFunction(() => new URLSearchParams(location.search).get("match") === 'job="cart"');
    await page.waitForFunction(() => document.querySelector(".honesty")?.textContent?.startsWith("14.4 s"));
    await page.context().close();
  });

  test("a click in the graph over time takes one moment, a drag a range, and two ranges are compared", async () => {
    const { page, failures } = await openPage(`${decima.url}/?by=job&range=5m`);
    await page.waitForSelector(".flame-canvas");
    assert.deepEqual((await page.locator(".legend button").allInnerTexts()).sort(), ["cart", "shop"]);
    const plot = await page.locator(".series canvas").boundingBox();
    assert.ok(plot);
    const at = (part: number) => ({ x: plot.x + 64 + (plot.width - 76) * part, y: plot.y + 70 });
    await page.mouse.click(at(0.8).x, at(0.8).y);
    await page.waitForFunction(() => new URLSearchParams(location.search).has("sel"));
    await page.mouse.move(at(0.85).x, at(0.85).y);
    await page.mouse.down();
    await page.mouse.move(at(0.9).x, at(0.9).y, { steps: 5 });
    await page.mouse.move(at(0.99).x, at(0.99).y, { steps: 5 });
    await page.mouse.up();
    await page.waitForFunction(() => {
      const [from, to] = (new URLSearchParams(location.search).get("sel") ?? "0-0").split("-").map(Number);
      return to - from > 30_000 && to - from < 60_000;
    });
    await picture(page, "selection");
    await page.getByRole("button", { name: "Compare" }).click();
    await page.locator(".diff-key").waitFor();
    await page.locator(".table .th", { hasText: "Change" }).waitFor();
    await page.waitForTimeout(300);
    await picture(page, "compare");
    assert.deepEqual(failures, []);
    await page.context().close();
  });

  test("other types have plain names and units, and the samples can be taken away as pprof", async () => {
    const { page } = await openPage(decima.url);
    await page.waitForSelector(".flame-canvas");
    await page.locator(".type-picker").selectOption({ label: "Memory in use (bytes)" });
    await page.waitForFunction(() => document.querySelector(".honesty")?.textContent?.includes("GiB"));
    await picture(page, "memory");
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Download pprof" }).click(),
    ]);
    assert.match(download.suggestedFilename(), /^memory-inuse_space-.*\.pb\.gz$/);
    const bytes = gunzipSync(readFileSync(await download.path()));
    assert.ok(bytes.includes("json::parse") && bytes.includes("inuse_space"));
    await page.context().close();
  });

  test("dark follows the system until the person chooses, and the choice is kept", async () => {
    const { page } = await openPage(decima.url, "dark");
    await page.waitForSelector(".flame-canvas");
    const background = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const dark = await background();
    await page.waitForTimeout(300);
    await picture(page, "explore-dark");
    await page.getByRole("button", { name: "Switch to light colours" }).click();
    const light = await background();
    assert.notEqual(dark, light);
    await page.reload();
    await page.waitForSelector(".flame-canvas");
    assert.equal(await background(), light);
    await page.context().close();
  });

  test("a selector that matches nothing or does not parse says what to do", async () => {
    const { page } = await openPage(`${decima.url}/?match=job%3D"nowhere"`);
    await page.getByText("No profiles match").first().waitFor();
    await picture(page, "no-match");
    await page.getByRole("button", { name: "Drop the selector" }).first().click();
    await page.waitForSelector(".flame-canvas");
    await page.goto(`${decima.url}/?match=job%3D`);
    await page.locator(".problem").first().waitFor();
    assert.match(await page.locator(".problem").first().innerText(), /Correct the selector/);
    await picture(page, "wrong-selector");
    await page.context().close();
  });
});

test("an empty server says how to add a service, and shows the first profile by itself", async () => {
  const decima = await startDecima({ prefix: "/some/prefix" });
  try {
    const { page, failures } = await openPage(`${decima.url}/`);
    await page.getByRole("heading", { name: "No profiles yet" }).waitFor();
    const text = await page.locator(".welcome").innerText();
    assert.ok(text.includes("scrape_configs:") && text.includes(`${decima.url}/api/profiles/writeraw`), text);
    await picture(page, "empty");
    await page.getByRole("link", { name: "Targets" }).click();
    await page.getByRole("heading", { name: "Nothing is scraped" }).waitFor();
    await picture(page, "targets-empty");
    await page.goBack();
    await decima.write(
      { __name__: "process_cpu", job: "shop" },
      {
        sampleType: CPU,
        periodType: CPU,
        period: 1e7,
        timeMs: Date.now() - 2000,
        durationMs: 10_000,
        binary: "/shop",
        samples: SAMPLES,
      },
    );
    await page.waitForSelector(".flame-canvas");
    assert.deepEqual(failures, []);
    await page.context().close();
  } finally {
    await decima.stop();
  }
});

const SCRAPE = `
scrape_configs:
  - job_name: itself
    scrape_interval: 1s
    scrape_timeout: 2s
    static_configs:
      - targets: ["127.0.0.1:PORT"]
  - job_name: nobody
    scrape_interval: 1s
    scrape_timeout: 2s
    static_configs:
      - targets: ["127.0.0.1:1"]
`;

test("the targets page says what is scraped and what is wrong, and is searched", async () => {
  const decima = await startDecima({ scrape: SCRAPE });
  try {
    const { page, failures } = await openPage(`${decima.url}/targets`);
    await page.locator(".health.bad").first().waitFor();
    await page.locator(".health.good").first().waitFor();
    const nobody = page.locator(".job", { has: page.getByRole("heading", { name: "nobody" }) });
    assert.match(await nobody.innerText(), /127\.0\.0\.1:1\/debug\/pprof/);
    assert.notEqual(await nobody.locator(".wrong").first().innerText(), "");
    await picture(page, "targets");
    await page.getByRole("searchbox", { name: "Search targets" }).fill("itself");
    assert.equal(await page.locator(".job").count(), 1);
    assert.ok(page.url().includes("filter=itself"));
    assert.deepEqual(failures, []);
    await page.context().close();
  } finally {
    await decima.stop();
  }
});
