import { expect, test } from "vitest";
import { parseOptions } from "./options";

const plain = { stack: "dev", engine: "embedded", format: "text", routesOnly: false, rest: [] };

test.each<[string, string[], Record<string, string>, object]>([
  ["no arguments", [], {}, plain],
  ["a stack", ["production"], {}, { ...plain, stack: "production" }],
  [
    "a stack and an engine from the environment",
    [],
    { STACK: "aws", ENGINE: "pulumi" },
    { ...plain, stack: "aws", engine: "pulumi" },
  ],
  ["a stack argument over the environment", ["gce"], { STACK: "aws" }, { ...plain, stack: "gce" }],
  ["JSON", ["--json"], {}, { ...plain, format: "json" }],
  [
    "a comment for a fork",
    ["dev", "--markdown", "--base", "origin/main", "--routes-only"],
    {},
    { ...plain, format: "markdown", base: "origin/main", routesOnly: true },
  ],
  ["a value after =", ["--base=a=b"], {}, { ...plain, base: "a=b" }],
  ["Consul", ["--consul", "http://localhost:8500"], {}, { ...plain, consul: "http://localhost:8500" }],
  [
    "arguments for the engine",
    ["--expect-no-changes", "x"],
    {},
    { ...plain, rest: ["--expect-no-changes", "x"] },
  ],
])("accepts %s", (_, argv, env, options) => {
  expect(parseOptions(argv, env)).toEqual(options);
});

test.each<[string[], Record<string, string>, RegExp]>([
  [["--json", "--markdown"], {}, /--json and --markdown cannot be combined/],
  [["--base"], {}, /--base needs a value/],
  [["--base", "--json"], {}, /--base needs a value/],
  [["../etc"], {}, /not a stack name/],
  [[], { ENGINE: "terraform" }, /ENGINE=pulumi or ENGINE=embedded/],
])("rejects %j with %j", (argv, env, message) => {
  expect(() => parseOptions(argv, env)).toThrow(message);
});

test("accepts both forms of --help", () => {
  expect(["--help", "-h"].map((flag) => parseOptions(["dev", flag], {}))).toEqual(["help", "help"]);
});
