import { expect, test } from "vitest";

import { outputOf, run } from "./run";

const timeoutMs = 10_000;

test("returns the exit code and both outputs", async () => {
  const script = "process.stdout.write('out'); process.stderr.write('err'); process.exitCode = 3";
  expect(await run(process.execPath, ["-e", script], { timeoutMs })).toEqual({
    code: 3,
    stdout: "out",
    stderr: "err",
  });
});

test("reports a missing program as a shell does", async () => {
  expect(await run("no-such-program", [], { timeoutMs })).toMatchObject({
    code: 127,
    stderr: "no-such-program is not installed",
  });
});

test("kills a program at its time limit, even if a grandchild holds its output open", async () => {
  const started = Date.now();
  await expect(run("sh", ["-c", "sleep 20 & wait"], { timeoutMs: 200 })).rejects.toThrow(
    "sh -c sleep 20 & wait did not end within 0.2 s",
  );
  expect(Date.now() - started).toBeLessThan(5000);
});

test("passes input on standard input and returns standard output", async () => {
  const script = "process.stdin.pipe(process.stdout)";
  expect(await outputOf(process.execPath, ["-e", script], { timeoutMs, input: "grüße" })).toBe("grüße");
});

test("reports a failure with the program, its error output and its exit code", async () => {
  await expect(
    outputOf("sh", ["-c", "echo no such disk >&2; exit 3"], { timeoutMs, label: "disks" }),
  ).rejects.toThrow("disks: no such disk (exit code 3)");
  await expect(outputOf("false", [], { timeoutMs })).rejects.toThrow("false: (exit code 1)");
});
