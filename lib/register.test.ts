import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

// Each starts several processes.
vi.setConfig({ testTimeout: 60_000 });

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "register-"));
  const rooms = ["components", "engine", "lib", "preview", "providers", "routing", "templates/haproxy/src"];
  for (const name of [...rooms, "node_modules"]) mkdirSync(path.join(folder, name), { recursive: true });
  for (const name of ["lib/register.cjs", "lib/lazy.cjs"]) cpSync(name, path.join(folder, name));
  for (const name of ["esbuild", "@pulumi"])
    symlinkSync(path.resolve("node_modules", name), path.join(folder, "node_modules", name));
  write("index.ts", 'import { word } from "./lib/word";\nexport const shout: string = word + "!";\n');
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

function write(file: string, text: string): void {
  writeFileSync(path.join(folder, file), text);
}

/** Runs code that puts its result into `result`; returns that, and which of some packages it has loaded. */
function node(code: string): { readonly result: unknown; readonly loaded: readonly string[] } {
  const packages = ["esbuild", "typescript", "@npmcli/arborist"];
  const script = `(async () => {
    let result;
    ${code}
    const files = Object.values(require.cache).map(({ filename }) => filename ?? "");
    const loaded = ${JSON.stringify(packages)}.filter((name) => files.some((file) => file.includes(name + "/lib/")));
    console.log(JSON.stringify({ result, loaded }));
  })()`;
  const args = ["-r", "./lib/register.cjs", "-e", script];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" })) as ReturnType<
    typeof node
  >;
}

test("compiles again when a source has changed, and only then", () => {
  const shout = 'result = require("./index.ts").shout;';
  write("lib/word.ts", 'export const word: string = "one";\n');
  expect(node(shout)).toEqual({ result: "one!", loaded: ["esbuild"] });
  expect(node(shout)).toEqual({ result: "one!", loaded: [] });
  write("lib/word.ts", 'export const word: string = "two";\n');
  expect(node(shout)).toEqual({ result: "two!", loaded: ["esbuild"] });
  write("node_modules/.cache/switchyard.json", "{");
  expect(node(shout)).toEqual({ result: "two!", loaded: ["esbuild"] });
  expect(node(shout)).toEqual({ result: "two!", loaded: [] });
});

test("positions in stack traces are those of the source", () => {
  write(
    "lib/word.ts",
    '\ninterface Nothing {}\nexport const word: string = new Error("here").stack ?? "";\n',
  );
  const line = 'result = /word\\.ts:\\d+/.exec(require("./index.ts").shout)?.[0];';
  expect([node(line).result, node(line).result]).toEqual(["word.ts:3", "word.ts:3"]);
});

test("Pulumi loads the compiler only to store a function, which still works", () => {
  const pulumi = 'const pulumi = require("@pulumi/pulumi");';
  expect(node(pulumi).loaded).toEqual([]);
  const { result, loaded } = node(
    `${pulumi} const word = "kept"; result = (await pulumi.runtime.serializeFunction(() => word)).text;`,
  );
  expect(result).toContain('word: "kept"');
  expect(loaded).toContain("typescript");
});
