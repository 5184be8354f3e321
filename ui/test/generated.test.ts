import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { generate } from "../testkit/generate";

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
    generate(join(scratch, "gen"));
    assert.deepEqual(files(new URL("../src/gen", import.meta.url).pathname), files(join(scratch, "gen")));
  } finally {
    rmSync(scratch, { recursive: true });
  }
});
