import { existsSync } from "node:fs";
import * as path from "node:path";

import { expect, test } from "vitest";

import { run } from "../../lib/run";

test("the components work in another program, in its own folder", async () => {
  const program = ["-r", "./lib/register.cjs", "test/unit/example-program.ts"];
  const { code, stdout, stderr } = await run(process.execPath, program, { timeoutMs: 50_000 });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  const seen = JSON.parse(stdout) as { type: string; name: string; context?: string }[];
  const names = seen.map(({ type, name }) => `${type.replace(/^.*[:/]/, "")} ${name}`);
  expect(names).toEqual(
    expect.arrayContaining([
      "LocalNode here",
      "Container consul",
      "Container registrator",
      "RollingContainer rest",
    ]),
  );
  expect(names).toContain("SwarmService shop/v1");
  const contexts = seen.flatMap(({ context }) => (context === undefined ? [] : [context]));
  expect(contexts).toHaveLength(4);
  for (const context of contexts) {
    expect(path.isAbsolute(context)).toBe(false);
    expect(existsSync(path.resolve("examples/one-node", context, "Dockerfile"))).toBe(true);
  }
}, 60_000);
