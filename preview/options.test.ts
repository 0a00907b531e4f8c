import { expect, test } from "vitest";
import { parseOptions } from "./options";

const plain = { stack: "dev", engine: "embedded", format: "text", routesOnly: false, rest: [] };

test.each<[string, string[], Record<string, string>, object]>([
  ["nothing", [], {}, plain],
  ["a stack", ["production"], {}, { ...plain, stack: "production" }],
  [
    "a stack and an engine by environment",
    [],
    { STACK: "aws", ENGINE: "pulumi" },
    { ...plain, stack: "aws", engine: "pulumi" },
  ],
  ["a stack before that of the environment", ["gce"], { STACK: "aws" }, { ...plain, stack: "gce" }],
  ["JSON", ["--json"], {}, { ...plain, format: "json" }],
  [
    "a comment for a fork",
    ["dev", "--markdown", "--base", "origin/main", "--routes-only"],
    {},
    { ...plain, format: "markdown", base: "origin/main", routesOnly: true },
  ],
  ["a value after =", ["--base=a=b"], {}, { ...plain, base: "a=b" }],
  ["Consul", ["--consul", "http://localhost:8500"], {}, { ...plain, consul: "http://localhost:8500" }],
  ["the engine's", ["--expect-no-changes", "x"], {}, { ...plain, rest: ["--expect-no-changes", "x"] }],
])("takes %s", (_, argv, env, options) => {
  expect(parseOptions(argv, env)).toEqual(options);
});

test.each<[string[], Record<string, string>, RegExp]>([
  [["--json", "--markdown"], {}, /exclude each other/],
  [["--base"], {}, /--base needs a value/],
  [["--base", "--json"], {}, /--base needs a value/],
  [["../etc"], {}, /not a stack name/],
  [[], { ENGINE: "terraform" }, /ENGINE=pulumi or ENGINE=embedded/],
])("refuses %j with %j", (argv, env, message) => {
  expect(() => parseOptions(argv, env)).toThrow(message);
});

test("--help is asked for in either way", () => {
  expect(["--help", "-h"].map((flag) => parseOptions(["dev", flag], {}))).toEqual(["help", "help"]);
});
