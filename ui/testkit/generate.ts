/**
 * Generates the API client from ../proto: `npm run gen`.
 *
 * buf comes as a package for Linux only; elsewhere it is taken from the PATH.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";

const ui = new URL("..", import.meta.url).pathname;

const PACKAGES = ["buf-linux-x64", "buf-linux-aarch64"];

/** Writes the client to `out`, a folder that is emptied first. */
export function generate(out: string): void {
  const found = PACKAGES.map((name) => `${ui}node_modules/@bufbuild/${name}/bin/buf`).find((path) => existsSync(path));
  const template = readFileSync(`${ui}buf.gen.yaml`, "utf8").replace("out: src/gen", `out: ${out}`);
  execFileSync(found ?? "buf", ["generate", "--template", template], { cwd: ui, stdio: "pipe" });
}

if (process.argv[1] === new URL(import.meta.url).pathname) generate("src/gen");
