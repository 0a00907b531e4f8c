import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Option } from "./option";
import { options } from "./options/index";
import { parseOptions, writeOptions } from "./service-options";

const all: readonly Option[] = options;

describe.each(all.map((option) => ({ key: option.key, option })))("the option $key", ({ key, option }) => {
  test("has a file and a test of its name", () => {
    const file = join(__dirname, "options", key.replaceAll("_", "-"));
    expect([existsSync(`${file}.ts`), existsSync(`${file}.test.ts`)]).toEqual([true, true]);
  });

  test.each(option.examples)("accepts %s, and reports it in a form that it accepts again", (example) => {
    const parsed = option.parse(example);
    expect(parsed.ok).toBe(true);
    if (!parsed.ok) return;
    const written = option.write === undefined ? parsed.value : option.write(parsed.value);
    expect(option.parse(String(written))).toEqual(parsed);
  });
});

test("keys and properties are unique", () => {
  for (const names of [all.map(({ key }) => key), all.map(({ name }) => name)])
    expect(new Set(names).size).toBe(names.length);
});

test("unknown keys are ignored, even names of built-in object properties", () => {
  expect(parseOptions(["rest"], { owner: "team-a", constructor: "x", toString: "y" })).toEqual(
    parseOptions(["rest"], {}),
  );
});

test("options are formatted by key, as their owner writes them, without those that routes and ports show", () => {
  const parsed = parseOptions(["rest"], { path: "/x", proto: "h2c", timeout_server: "2000", sticky: "1" });
  const service = parsed?.ok === true ? parsed.value.service : undefined;
  if (service === undefined) throw new Error("the options were refused");
  expect(Object.fromEntries(writeOptions(service))).toEqual({
    balance: "roundrobin",
    proto: "h2c",
    sticky: true,
    timeout_server: "2s",
  });
  expect([...writeOptions(service, { defaults: false }).keys()]).toEqual([
    "proto",
    "sticky",
    "timeout_server",
  ]);
});
