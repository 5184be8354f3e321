/** A Decima of the test's own: a fresh folder, a free port, and its end with the test. */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Profile } from "./pprof";
import { encodePprof } from "./pprof";

export interface Decima {
  /** `http://127.0.0.1:PORT`, with the path prefix if there is one. */
  readonly url: string;
  readonly write: (labels: Readonly<Record<string, string>>, profile: Profile) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** Generous: a test machine may be busy with builds. */
const START_MS = 60_000;
const STOP_MS = 30_000;

/** Starts `$DECIMA_BINARY`. `scrape` is the `scrape_configs` part of parca.yaml, `flags` are more of the command line. */
export async function startDecima(
  options: { scrape?: string; prefix?: string; flags?: readonly string[] } = {},
): Promise<Decima> {
  const binary = process.env["DECIMA_BINARY"];
  if (!binary) throw new Error("DECIMA_BINARY must name the decima binary");
  const folder = mkdtempSync(join(tmpdir(), "decima-ui-"));
  const port = await freePort();
  const config = join(folder, "parca.yaml");
  const storage = `object_storage:\n  bucket:\n    type: FILESYSTEM\n    config:\n      directory: ${folder}/data\n`;
  writeFileSync(config, storage + (options.scrape ?? "").replaceAll("PORT", String(port)));
  const flags = [`--config-path=${config}`, `--http-address=127.0.0.1:${port}`, ...(options.flags ?? [])];
  if (options.prefix) flags.push(`--path-prefix=${options.prefix}`);
  const child = spawn(binary, flags, { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  const keep = (chunk: Buffer) => (log = (log + chunk.toString()).slice(-8000));
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);

  const url = `http://127.0.0.1:${port}${options.prefix ?? ""}`;
  await ready(url, child, () => log);
  return {
    url,
    write: async (labels, profile) => {
      const series = {
        labels: { labels: Object.entries(labels).map(([name, value]) => ({ name, value })) },
        samples: [{ raw_profile: Buffer.from(encodePprof(profile)).toString("base64") }],
      };
      const reply = await fetch(`${url}/api/profiles/writeraw`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ series: [series] }),
      });
      if (!reply.ok) throw new Error(`WriteRaw: ${reply.status} ${await reply.text()}`);
    },
    stop: async () => {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function ready(url: string, child: ChildProcess, log: () => string): Promise<void> {
  const until = Date.now() + START_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`decima ended with ${child.exitCode}:\n${log()}`);
    try {
      if ((await fetch(`${url}/api/profiles/types`)).ok) return;
    } catch {
      // not listening yet
    }
    if (Date.now() > until) {
      child.kill("SIGKILL");
      throw new Error(`decima is not ready after ${START_MS} ms:\n${log()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    const hard = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    child.once("exit", () => {
      clearTimeout(hard);
      resolve();
    });
    child.kill("SIGTERM");
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
