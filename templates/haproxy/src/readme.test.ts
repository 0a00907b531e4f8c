import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Metrics } from "./metrics";
import { usage } from "./cli/options";
import { poolBackends } from "./config/backend-profiles";
import { buildStatus } from "./admin/status";

const readme = readFileSync(join(__dirname, "../README.md"), "utf8");
const status = buildStatus({
  notReady: "why",
  failure: "failure",
  pending: [],
  consul: { connected: true, index: 1, lastAnswer: 1 },
  routing: undefined,
  states: [],
  proven: new Set(),
  held: [],
  changes: [],
});

const matches = (text: string, pattern: RegExp): string[] =>
  [...new Set([...text.matchAll(pattern)].map((match) => match[1] ?? ""))].sort();

test("the README lists every metric with its type", () => {
  const types = matches(new Metrics().text(status, 0), /^# TYPE (\w+ \w+)$/gm);
  const listed = [...readme.matchAll(/^\| `((?:switchyard|process)_\w+)`\s*\| (\w+)/gm)];
  expect(listed.map(([, name, type]) => `${name ?? ""} ${type ?? ""}`).sort()).toEqual(types);
});

test("the README lists every option", () => {
  const section = readme.split("## Options")[1]?.split("\n## ")[0] ?? "";
  const commands = ["--snapshot", "--json", "--version"];
  const options = matches(usage, /(--[a-z-]+)/g).filter((option) => !commands.includes(option));
  expect(matches(section, /`(--[a-z-]+)`/g)).toEqual(options);
});

test("the README lists every field of /routes", () => {
  const section = readme.split("`/routes` is an object")[1]?.split("\n### ")[0] ?? "";
  for (const field of Object.keys(status)) expect(section).toContain(`\`${field}\``);
});

test("the README states how many new services fit the pool", () => {
  const ordinary = poolBackends.filter(({ profile }) => profile === "http:roundrobin").length;
  const checked = poolBackends.length - ordinary;
  expect(readme).toContain(`more than ${ordinary} (${checked} with \`health_path\`) since the last one`);
});
