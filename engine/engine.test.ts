/** Runs the engine as users do, with a program that needs no Docker. */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const ROOT = path.resolve(__dirname, "..");
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), "engine-"));
  cpSync(path.join(__dirname, "fixtures", "pure"), dir, { recursive: true });
  symlinkSync(path.join(ROOT, "node_modules"), path.join(dir, "node_modules"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

function configure(values: Record<string, string | number>): void {
  const lines = Object.entries(values).map(([key, value]) => `  pure:${key}: ${String(value)}\n`);
  writeFileSync(path.join(dir, "Pulumi.dev.yaml"), `config:\n${lines.join("") || "  {}\n"}`);
}

const engine = (...args: string[]) => engineWith("", ...args);

function engineWith(input: string, ...args: string[]): { code: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["-r", "ts-node/register/transpile-only", path.join(__dirname, "main.ts"), ...args, "--cwd", dir],
    {
      cwd: ROOT,
      encoding: "utf8",
      input,
      timeout: 60_000,
      env: { ...process.env, FIXTURE_LOG: path.join(dir, "log"), PULUMI_CONFIG_PASSPHRASE: "sesame" },
    },
  );
  return { code: status, out: stdout, err: stderr };
}

const log = (): string[] => readFileSync(path.join(dir, "log"), "utf8").trim().split("\n");
const state = (): string => path.join(dir, ".switchyard", "state", "dev.json");

describe("the lifecycle of a stack", { timeout: 120_000 }, () => {
  it("previews, creates, keeps, updates, replaces and deletes", () => {
    const preview = engine("preview");
    expect(preview).toMatchObject({
      code: 0,
      out: expect.stringContaining("+ 3 to create, 0 unchanged") as string,
    });
    expect(preview.out).toContain('quadrupled: "[unknown]"');
    expect(preview.err).toContain("The embedded engine is in use instead of the Pulumi CLI");
    expect(existsSync(state())).toBe(false);

    expect(engine("up").out).toContain("quadrupled: 4");
    expect(statSync(state()).mode & 0o777).toBe(0o600);
    const again = engine("up", "--expect-no-changes");
    expect(again).toMatchObject({
      code: 0,
      out: expect.stringContaining("Resources: 3 unchanged") as string,
    });

    configure({ size: 2 });
    expect(engine("preview", "--expect-no-changes").code).toBe(1);
    expect(engine("up", "--expect-no-changes").code).toBe(1);
    expect(log()).toEqual(["create 1", "create 2"]);
    const events = path.join(dir, "events");
    expect(engine("preview", "--event-log", events).code).toBe(0);
    const steps = readFileSync(events, "utf8").matchAll(/"op":"(\w+)","urn":"[^"]*::(\w+)"/g);
    expect([...steps].map(([, operation, name]) => `${operation ?? ""} ${name ?? ""}`)).toEqual([
      "update first",
      "update second",
    ]);
    expect(engine("up").out).toContain("~ 2 updated, 1 unchanged");

    configure({ size: 200, mode: "one" });
    expect(engine("up").out).toContain("+- 1 replaced, - 1 deleted, 1 unchanged");
    expect(log().slice(2, 5)).toEqual(["update thing-1 to 2", "update thing-2 to 4", "create 200"]);
    expect(log().slice(5).sort()).toEqual(["delete thing-1", "delete thing-2"]);

    expect(engine("outputs", "--json").out).toContain('"doubled": 400');
    expect(engine("down").out).toContain("- 2 deleted");
    expect(existsSync(state())).toBe(false);
  });

  it("replaces what it is told to, although it has not changed", () => {
    expect(engine("up").code).toBe(0);
    expect(engine("up", "--replace", "**::first").out).toContain("+- 1 replaced, 2 unchanged");
    expect(log().slice(2)).toEqual(["create 1", "delete thing-1"]);
    const none = engine("up", "--replace", "*::first");
    expect(none).toMatchObject({
      code: 1,
      err: expect.stringContaining("--replace *::first matches no") as string,
    });
  });

  it("keeps the children of a component whose type was renamed, and deletes those that are gone unless retained", () => {
    configure({ size: 5, mode: "old-name" });
    expect(engine("up").code).toBe(0);
    const before = log();
    configure({ size: 5, mode: "new-name" });
    expect(engine("up").out).toContain("- 2 deleted, 5 unchanged");
    expect(log().slice(before.length)).toEqual(["delete thing-10"]);
  });

  it("keeps secrets hidden, on the screen and in the state", () => {
    expect(engineWith("hush-hush\n", "config", "set", "--secret", "token").code).toBe(0);
    expect(engine("config", "get", "token").out).toBe("hush-hush\n");
    const up = engine("up");
    expect(up.out).toContain('token: "[secret]"');
    expect(up.out + up.err).not.toContain("hush-hush");
    expect(readFileSync(state(), "utf8")).not.toContain("hush-hush");
    expect(engine("outputs", "--json").out).not.toContain("hush-hush");
    expect(engine("outputs", "--json", "--show-secrets").out).toContain("hush-hush");
    engine("config", "set", "--secret", "token", "another");
    const preview = engine("preview");
    expect(preview.out).toContain('note: "[secret]" => "[secret]"');
    expect(preview.out).not.toContain("another");
  });

  it("keeps created resources when a later one fails, and then continues", () => {
    configure({ size: 13, mode: "one" });
    const failed = engine("up");
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('"first" (pulumi-nodejs:dynamic:Resource): thirteen is bad luck');
    expect(failed.err).toContain("run `up` again");
    expect(failed.err).not.toMatch(/\n\s+at /);
    configure({ size: 14, mode: "one" });
    expect(engine("up").code).toBe(0);
  });
});

describe("errors before anything changes", { timeout: 60_000 }, () => {
  it.each([
    [
      "unknown-type",
      '"machine" has the type cloud:index/vm:Machine, which the embedded engine does not support: use',
    ],
    [
      "unknown-property",
      '"box" (docker:index/container:Container): the embedded engine does not support `gpus`: remove it',
    ],
    ["run-error", "error: the key `size` is odd: set it to an even number"],
    ["stuck", "never resolves"],
  ])("%s: a message without a stack trace", (mode, sentence) => {
    configure({ mode });
    const { code, err } = engine("up");
    expect(code).toBe(1);
    expect(err).toContain(sentence);
    expect(err).not.toMatch(/\n\s+at /);
    expect(existsSync(path.join(dir, "log"))).toBe(false);
  });

  it.each([
    ["fault", "TypeError: a fault of the program"],
    ["rejection", "Error: nobody awaits this"],
  ])("%s in the program: an error with its stack trace", (mode, sentence) => {
    configure({ mode });
    const { code, err } = engine("up");
    expect(code).toBe(1);
    expect(err).toContain(sentence);
    expect(err).toMatch(/\n\s+at .*index\.ts/);
    expect(existsSync(path.join(dir, "log"))).toBe(false);
  });

  it("invalid properties, with their provider's message", () => {
    configure({ size: -1 });
    expect(engine("up").err).toContain('"first" has invalid properties: size: is negative');
  });

  it("deletion of a protected resource", () => {
    configure({ mode: "protect" });
    expect(engine("up").code).toBe(0);
    configure({ mode: "one" });
    expect(engine("up").err).toContain('"second" is protected');
    expect(engine("down").err).toContain('"second" is protected');
    expect(log()).toEqual(["create 1", "create 2"]);
  });
});
