/**
 * How fast a reply of 65,000 nodes is on screen, and how fast it moves, in headless Chromium.
 *
 *     DECIMA_BINARY=../target/release/decima npm run bench
 *
 * The reply is the server's own, of a generated profile. A file with the Arrow part of such a reply may be
 * named instead: `npm run bench -- reply.arrow`.
 */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { build } from "vite";

import {
  MergeProfileSchema,
  QueryRequest_Mode,
  QueryRequest_ReportType,
  QueryRequestSchema,
  QueryResponseSchema,
} from "../src/gen/parca/query/v1alpha1/query_pb";
import { launch } from "../testkit/chromium";
import { corpus } from "../testkit/corpus";
import { startDecima } from "../testkit/decima";
import type { Frames, Shown } from "./page";

const NODES = 65_000;
const ROUNDS = 20;
const FRAMES = 90;
/** The bars, in ms. */
const SHOWN_MAX = 200;
const FRAME_MAX = 16;

/** The Arrow part of Decima's flame graph of a profile with `NODES` call-tree nodes. */
async function serverReply(): Promise<Uint8Array> {
  const decima = await startDecima();
  try {
    const timeMs = Date.now() - 60_000;
    const cpu = ["cpu", "nanoseconds"] as const;
    await decima.write(
      { __name__: "process_cpu", job: "bench" },
      {
        sampleType: cpu,
        periodType: cpu,
        period: 1e7,
        timeMs,
        durationMs: 10_000,
        binary: "/usr/bin/bench",
        samples: corpus(NODES),
      },
    );
    const merge = create(MergeProfileSchema, {
      query: "process_cpu:cpu:nanoseconds:cpu:nanoseconds:delta",
      start: timestampFromMs(timeMs - 1000),
      end: timestampFromMs(timeMs + 1000),
    });
    const message = toBinary(
      QueryRequestSchema,
      create(QueryRequestSchema, {
        mode: QueryRequest_Mode.MERGE,
        options: { case: "merge", value: merge },
        reportType: QueryRequest_ReportType.FLAMEGRAPH_ARROW,
      }),
    );
    const body = new Uint8Array(5 + message.length);
    new DataView(body.buffer).setUint32(1, message.length);
    body.set(message, 5);
    const answer = await fetch(`${decima.url}/api/parca.query.v1alpha1.QueryService/Query`, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto" },
      body,
    });
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const length = new DataView(bytes.buffer).getUint32(1);
    const { report } = fromBinary(QueryResponseSchema, bytes.subarray(5, 5 + length));
    if (report.case !== "flamegraphArrow") throw new Error(`no flame graph: ${new TextDecoder().decode(bytes)}`);
    return report.value.record;
  } finally {
    await decima.stop();
  }
}

const TYPES: Readonly<Record<string, string>> = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html" };

function serve(folder: string, reply: Uint8Array): Promise<Server> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    if (path === "/reply") {
      response.end(reply);
      return;
    }
    try {
      const content = readFileSync(join(folder, path));
      response.writeHead(200, { "content-type": TYPES[extname(path)] ?? "application/octet-stream" }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
}

function line(name: string, values: readonly number[], note = ""): void {
  const [median, p95, worst] = [0.5, 0.95, 1].map((part) => quantile(values, part).toFixed(2).padStart(8));
  console.log(`${name.padEnd(44)} ${median} ${p95} ${worst}  ${note}`);
}

async function main(): Promise<void> {
  const file = process.argv[2];
  const reply = file ? new Uint8Array(readFileSync(file)) : await serverReply();
  const folder = mkdtempSync(join(tmpdir(), "decima-bench-"));
  const here = new URL(".", import.meta.url).pathname;
  await build({
    root: here,
    base: "./",
    configFile: join(here, "../vite.config.ts"),
    logLevel: "warn",
    build: { outDir: folder, emptyOutDir: true, rolldownOptions: { input: join(here, "page.html") } },
  });
  const server = await serve(folder, reply);
  const browser = await launch();
  try {
    const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/page.html`);
    await page.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch("/reply")).arrayBuffer());
      Object.assign(window, { bytes });
    });
    const shown: Shown[] = [];
    const bareAll: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      shown.push((await page.evaluate("bench.show(bytes)")) as Shown);
      bareAll.push((await page.evaluate(`bench.bareAll(${NODES})`)) as number);
    }
    const moved: Frames[] = [];
    for (let round = 0; round < ROUNDS; round++)
      moved.push((await page.evaluate(`bench.move(bytes, ${FRAMES})`)) as Frames);

    const medians = (pick: (frames: Frames) => number[]) => moved.map((frames) => quantile(pick(frames), 0.5));
    const worsts = (pick: (frames: Frames) => number[]) => moved.map((frames) => quantile(pick(frames), 1));
    const bytes = (reply.length / 1e6).toFixed(2);
    console.log(`reply: ${shown[0].nodes} nodes, ${bytes} MB; ${ROUNDS} rounds; ms`);
    console.log(`${"".padEnd(44)} ${"median".padStart(8)} ${"p95".padStart(8)} ${"worst".padStart(8)}`);
    line(
      "bytes -> tree",
      shown.map(({ decode }) => decode),
    );
    line(
      "bytes -> on screen (graph and table)",
      shown.map((each) => each.shown),
      `bar ${SHOWN_MAX}; ${shown[0].rectangles} rectangles`,
    );
    line(`bare loop of ${NODES} fillRects`, bareAll);
    line(
      "moving: work per frame, median of a round",
      medians(({ work }) => work),
      `bar ${FRAME_MAX}`,
    );
    line(
      "moving: work per frame, worst of a round",
      worsts(({ work }) => work),
    );
    line(
      "moving: bare loop of as many fillRects",
      medians(({ bare }) => bare),
      `${quantile(moved[0].rectangles, 0.5)} rectangles`,
    );
    line(
      "moving: from frame to frame",
      medians(({ interval }) => interval),
    );
    const ratio = (a: number[], b: number[]) => (quantile(a, 0.5) / quantile(b, 0.5)).toFixed(2);
    console.log(
      `on screen / bare loop of all nodes: ${ratio(
        shown.map((each) => each.shown),
        bareAll,
      )}`,
    );
    console.log(
      `frame / bare loop of its rectangles: ${ratio(
        medians(({ work }) => work),
        medians(({ bare }) => bare),
      )}`,
    );
    const passed =
      quantile(
        shown.map((each) => each.shown),
        0.5,
      ) <= SHOWN_MAX &&
      quantile(
        medians(({ work }) => work),
        0.5,
      ) <= FRAME_MAX;
    console.log(passed ? "bars held" : "bars MISSED");
    if (!passed) process.exitCode = 1;
  } finally {
    await browser.close();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
