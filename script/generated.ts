/** Generates files from routing/options/ and from the schema of the configuration. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { format, resolveConfig } from "prettier";

import type { Option } from "../routing/option";
import { configReference } from "./reference";

const folder = "routing/options";
export const indexFile = `${folder}/index.ts`;
export const referenceFile = "docs/routing.md";

/** The sorted names of the option files, without extension: `balance`, `health-path`. */
export const optionFiles = (): string[] =>
  readdirSync(folder)
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && file !== path.basename(indexFile))
    .map((file) => file.slice(0, -".ts".length))
    .sort();

/** The content of routing/options/index.ts. */
export async function optionIndex(): Promise<string> {
  const imports = optionFiles().map((file) => ({
    file,
    name: file.replace(/-(.)/g, (_, c: string) => c.toUpperCase()),
  }));
  return formatted(
    indexFile,
    [
      "/** Every routing option. Written by script/generate from the files in this folder. */",
      ...imports.map(({ file, name }) => `import { ${name} } from "./${file}";`),
      "",
      `export const options = [${imports.map(({ name }) => name).join(", ")}] as const;`,
    ].join("\n"),
  );
}

const services = { http: "rest, http", tcp: "tcp", all: "all" } as const;

/** The content of docs/routing.md, with a table of these options. */
export function optionReference(options: readonly Option[]): Promise<string> {
  const rows = options.map(
    ({ key, for: kind, reference: { default: otherwise = "", meaning } }) =>
      `| \`${key}\` | ${services[kind]} | ${otherwise} | ${meaning} |`,
  );
  const table = ["| option | for | default | meaning |", "| --- | --- | --- | --- |", ...rows].join("\n");
  const text = readFileSync(referenceFile, "utf8");
  const parts = /^([^]*<!-- options:begin -->)[^]*(<!-- options:end -->[^]*)$/.exec(text);
  if (parts === null)
    throw new Error(`${referenceFile} lacks the markers options:begin and options:end: restore them`);
  return formatted(referenceFile, `${parts[1] ?? ""}\n\n${table}\n\n${parts[2] ?? ""}`);
}

const formatted = async (file: string, text: string): Promise<string> =>
  format(text, { ...(await resolveConfig(file)), filepath: file });

/** Writes all generated files. The index of options comes first, because the reference is generated from it. */
export async function generate(): Promise<void> {
  writeFileSync(indexFile, await optionIndex());
  const load = createRequire(__filename);
  const { options } = load("../routing/options/index") as { options: readonly Option[] };
  writeFileSync(referenceFile, await optionReference(options));
  for (const [file, text] of Object.entries(await configReference())) writeFileSync(file, text);
}
