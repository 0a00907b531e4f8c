import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { marker } from "../../preview/report";
import { run } from "../../lib/run";

let dir: string;
const before = { ...process.env };

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "switchyard-comment-"));
  // A fake gh that answers the listing with $FOUND and records its calls.
  writeFileSync(
    path.join(dir, "gh"),
    `#!/bin/sh\necho "marker=$marker $*" >>"${dir}/calls"\ncase $* in *--paginate*) printf '%s' "$FOUND" ;; esac\n`,
  );
  chmodSync(path.join(dir, "gh"), 0o755);
  writeFileSync(path.join(dir, "preview.md"), `${marker("dev")}\n### Preview\n`);
  process.env["PATH"] = `${dir}:${before["PATH"] ?? ""}`;
  process.env["GITHUB_REPOSITORY"] = "us/ours";
});
afterEach(() => {
  process.env = { ...before };
  rmSync(dir, { recursive: true });
});

test.each([
  ["creates one if there is none", "", "--method POST repos/us/ours/issues/7/comments"],
  ["edits the first one found", "41\n42\n", "--method PATCH repos/us/ours/issues/comments/41"],
])("script/comment %s", async (_, found, call) => {
  process.env["FOUND"] = found;
  expect(
    await run("script/comment", ["7", path.join(dir, "preview.md")], { timeoutMs: 30_000 }),
  ).toMatchObject({ code: 0 });
  const [listing = "", change = ""] = readFileSync(path.join(dir, "calls"), "utf8").split("\nmarker=");
  expect(listing).toContain(`${marker("dev")} api --paginate repos/us/ours/issues/7/comments`);
  expect(change).toContain(call);
  expect(change).toContain(`--field body=@${dir}/preview.md`);
});
