import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Haproxy } from "./haproxy";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "switchyard-"));
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"] ?? ""}`);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

function validate(script: string): Promise<string | undefined> {
  const program = join(folder, "haproxy");
  writeFileSync(program, `#!/bin/sh\n${script}\n`);
  chmodSync(program, 0o755);
  const paths = { config: "", master: "", worker: "" };
  return new Haproxy(paths, vi.fn(), vi.fn()).validate("some.cfg");
}

test("a warning for each of ten thousand services is no reason to refuse a configuration", async () => {
  expect(await validate("head -c 3000000 /dev/zero | tr '\\0' w >&2")).toBeUndefined();
});

test("what HAProxy has against a configuration is told", async () => {
  expect(await validate("echo '[ALERT] (1) : config : no such thing' >&2; exit 1")).toContain(
    "no such thing",
  );
});
