import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const ui = new URL("..", import.meta.url).pathname;

function files(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  return Object.fromEntries(
    names.map((each) => {
      const path = join(each.parentPath, each.name);
      return [path.slice(folder.length), readFileSync(path, "utf8")];
    }),
  );
}

test("the generated client is what the .proto files give: else `npm run gen`", () => {
  const scratch = mkdtempSync(join(tmpdir(), "decima-ui-gen-"));
  try {
    const template = readFileSync(join(ui, "buf.gen.yaml"), "utf8").replace("out: src/gen", `out: ${scratch}/gen`);
    execFileSync("node_modules/.bin/buf", ["generate", "--template", template], { cwd: ui, stdio: "pipe" });
    assert.deepEqual(files(join(ui, "src/gen")), files(join(scratch, "gen")));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
