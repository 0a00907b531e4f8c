import { expect, test } from "vitest";

import { run } from "../../lib/run";

/** Runs in a separate process, because a resource whose inputs fail is an unhandled rejection, as in Pulumi. */
const program = (how: string) =>
  run(process.execPath, ["-r", "./lib/register.cjs", "test/unit/policy-program.ts", how], {
    timeoutMs: 50_000,
  });

test.each([
  ["directly", /Container "it" uses the image nginx:latest.*\(Policy: no :latest\)/],
  ["in an output", /Container "it" uses the image nginx:latest/],
  ["in a list", /Container "it" mounts the Docker socket/],
])(
  "a resource that breaks the policy %s fails the program and is not created",
  async (how, message) => {
    const { code, stdout, stderr } = await program(how);
    expect(stderr).toMatch(message);
    expect(stdout).not.toContain("registered it");
    expect(code).toBe(1);
  },
  60_000,
);

test.each(["not at all", "not even with a folder of its own"])(
  "a resource that breaks it %s is created",
  async (how) => {
    const stdout = expect.stringContaining("registered it") as string;
    expect(await program(how)).toMatchObject({ code: 0, stdout });
  },
  60_000,
);
