/** Generates what documents the schema of the configuration: the config in Pulumi.yaml and the tables in docs/. */
import { readFileSync } from "node:fs";

import { format, resolveConfig } from "prettier";
import { stringify } from "yaml";
import { z } from "zod";

import { configKeys } from "../components/config";
import { serviceKeys } from "../components/config/services";
import { targetNames, targetOf } from "../components/nodes/targets";

type Keys = Readonly<Record<string, z.ZodType>>;

/** The keys as JSON Schema properties, with type, default and description. */
const propertiesOf = (keys: Keys): [string, z.core.JSONSchema.JSONSchema][] => {
  const schema = z.toJSONSchema(z.object(keys), { io: "input", unrepresentable: "any" });
  return Object.entries(schema.properties ?? {}) as [string, z.core.JSONSchema.JSONSchema][];
};

/** Formats a value as code. An image appears without its digest, which would only widen the table. */
const code = (value: unknown): string =>
  value === undefined || value === ""
    ? ""
    : `\`${JSON.stringify(value)
        .replaceAll('"', "")
        .replace(/@sha256:.*/, "")}\``;

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

/** A table of keys, defaults and meanings. Leaves out empty mappings and lists as defaults. */
const keyTable = (keys: Keys): string =>
  table(
    ["key", "default", "meaning"],
    propertiesOf(keys).map(([key, { default: value, description = "" }]) => {
      const isEmpty = typeof value === "object" && value !== null && Object.keys(value).length === 0;
      return [`\`${key}\``, isEmpty ? "" : code(value), description];
    }),
  );

function configTable(): string {
  const rows = propertiesOf(configKeys).map(([key, { type, secret, default: value, description = "" }]) => [
    `\`${key}\``,
    secret === true ? `secret ${String(type)}` : String(type),
    code(value),
    description,
  ]);
  return table(["key", "type", "default", "meaning"], rows);
}

/** The section `config` of Pulumi.yaml. */
function configBlock(): string {
  const config = propertiesOf(configKeys).map(
    ([key, { type, items, secret, default: value, description }]) => {
      const ofItems = typeof items === "object" && "type" in items ? { items: { type: items.type } } : {};
      return [
        `switchyard:${key}`,
        {
          type,
          ...ofItems,
          ...(secret === true && { secret }),
          ...(value !== undefined && { default: value }),
          description,
        },
      ];
    },
  );
  return stringify({ config: Object.fromEntries(config) as object }, { lineWidth: 0 });
}

/** Replaces the text between the two markers of the given name. */
function between(text: string, name: string, content: string): string {
  const parts = new RegExp(`^([^]*<!-- ${name}:begin -->)[^]*(<!-- ${name}:end -->[^]*)$`).exec(text);
  if (parts === null) throw new Error(`the markers ${name}:begin and ${name}:end are missing: restore them`);
  return `${parts[1] ?? ""}\n\n${content}\n\n${parts[2] ?? ""}`;
}

/** The content of all files with generated parts, by name. */
export async function configReference(): Promise<Readonly<Record<string, string>>> {
  const read = (file: string): string => readFileSync(file, "utf8");
  const summaries = targetNames.map((name) => [`\`${name}\``, targetOf(name).summary]);
  const targets = targetNames
    .filter((name) => Object.keys(targetOf(name).settings).length > 0)
    .reduce(
      (text, name) => between(text, name, keyTable(targetOf(name).settings)),
      between(read("docs/targets.md"), "targets", table(["target", "nodes"], summaries)),
    );
  const files = {
    "Pulumi.yaml": read("Pulumi.yaml").replace(/^config:\n[^]*$/m, () => configBlock()),
    "docs/configuration.md": between(read("docs/configuration.md"), "config", configTable()),
    "docs/services.md": between(read("docs/services.md"), "services", keyTable(serviceKeys)),
    "docs/targets.md": targets,
  };
  const formatted = Object.entries(files).map(async ([file, text]) => {
    const options = { ...(await resolveConfig(file)), filepath: file };
    return [file, await format(text, options)] as const;
  });
  return Object.fromEntries(await Promise.all(formatted));
}
