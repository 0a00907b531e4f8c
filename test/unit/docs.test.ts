import { readFileSync } from "node:fs";

import { expect, test } from "vitest";
import { parse } from "yaml";

import { metaKeys } from "../../routing/options";

const reference = ["docs/configuration.md", "docs/routing.md"]
  .map((file) => readFileSync(file, "utf8"))
  .join("\n");

interface Key {
  readonly type: string;
  readonly default?: unknown;
  readonly secret?: boolean;
  readonly description: string;
}

/** What stands between two markers. */
function section(name: string): string {
  const [, content = ""] = reference.split(`<!-- ${name}:begin -->`);
  return content.split(`<!-- ${name}:end -->`)[0]?.trim() ?? "";
}

/** The rows of a table, without the padding that makes it readable. */
function rows(table: string): string[] {
  return table
    .split("\n")
    .slice(2)
    .map((row) => row.replace(/ +/g, " "));
}

test("the configuration reference is that of Pulumi.yaml", () => {
  const { config } = parse(readFileSync("Pulumi.yaml", "utf8")) as { config: Record<string, Key> };
  const expected = Object.entries(config).map(([name, key]) => {
    const fallback =
      key.default === undefined || key.default === "" ? "" : `\`${JSON.stringify(key.default)}\` `;
    const type = key.secret === true ? `secret ${key.type}` : key.type;
    return `| \`${name.replace("switchyard:", "")}\` | ${type} | ${fallback.replaceAll('"', "")}| ${key.description} |`;
  });
  expect(rows(section("config"))).toEqual(expected);
});

test("the reference explains every routing option", () => {
  const explained = rows(section("options")).map((row) => /`(\w+)`/.exec(row)?.[1]);
  expect(explained.sort()).toEqual([...metaKeys].sort());
});
