/** `script/import`: the services of a compose file become services of a stack file. */
import { existsSync, readFileSync, renameSync, statSync, writeFileSync, writeSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { parseDocument, stringify, YAMLSeq } from "yaml";

import { parseService } from "../components/config/services";
import { messageOf, UserError } from "../lib/errors";
import { isMapping } from "../lib/values";
import { escapeInvisible } from "../lib/text";
import { convert } from "./convert";
import type { Fate } from "./fate";
import { Hidden } from "./hidden";
import { refuseTaken } from "./present";
import { readCompose } from "./read";
import { noVariable, readVariables, type Scope } from "./variables";
import { atHome } from "./volumes";

/** Where `script/import` takes the values to encrypt from: a key and the value in base64, a line each. */
const secretsPipe = 3;

/** The variables of `.env` beside the compose file, over which go those of this process. */
function variables(folder: string, hidden: Hidden, onMistake: (line: number) => unknown): Scope {
  const scope: Scope = { env: process.env, hidden, unset: new Set() };
  const own = readVariables(bytesIn(folder)(".env")?.toString() ?? "", scope, onMistake);
  return { ...scope, env: { ...own, ...process.env } };
}

/** Reads files that the compose file names. */
const bytesIn =
  (folder: string) =>
  (file: string): Buffer | undefined => {
    const full = path.resolve(folder, atHome(file));
    return existsSync(full) && statSync(full).isFile() ? readFileSync(full) : undefined;
  };

/** Whether a service of the stack file has the path `/`. */
const hasRoot = (services: readonly unknown[]): boolean =>
  services.some((each) => {
    const meta = isMapping(each) ? each["meta"] : undefined;
    return isMapping(meta) && String(meta["path"]).split(",").includes("/") && meta["host"] === undefined;
  });

function main(): void {
  const { values, positionals } = parseArgs({
    options: { stack: { type: "string", default: process.env["STACK"] ?? "dev" } },
    allowPositionals: true,
  });
  const [file] = positionals;
  if (file === undefined || !existsSync(file))
    throw new UserError("Name the compose file: script/import compose.yml [--stack dev]");
  if (!/^[\w.-]+$/.test(values.stack)) throw new UserError(`${values.stack} is not the name of a stack.`);
  const folder = path.dirname(path.resolve(file));
  const mistakes: Fate[] = [];
  const scope = variables(folder, new Hidden(), (line) =>
    mistakes.push({ key: ".env", fate: "left out", text: noVariable(line) }),
  );
  const compose = readCompose(readFileSync(file, "utf8"), scope);

  const stackFile = `Pulumi.${values.stack}.yaml`;
  const document = parseDocument(existsSync(stackFile) ? readFileSync(stackFile, "utf8") : "");
  if (!document.has("config")) document.set("config", document.createNode({}));
  const present: unknown = document.getIn(["config", "switchyard:services"]);
  if (present !== undefined && !(present instanceof YAMLSeq))
    throw new UserError(`switchyard:services in ${stackFile} is no list of YAML: write it as one.`);
  const list = present ?? new YAMLSeq();
  const secretCommand = (key: string) =>
    `${values.stack === "dev" ? "" : `STACK=${values.stack} `}script/secret ${key.includes("[") ? `'${key}'` : key}`;
  const there = list.toJSON();
  const imported = convert(compose, {
    folder,
    ...scope,
    secretCommand,
    read: bytesIn(folder),
    present: there.length,
    hasRoot: hasRoot(there),
    project: path.basename(folder),
  });
  const { services, configs, secrets } = imported;
  const stack: unknown = document.toJS();
  refuseTaken(
    imported,
    compose,
    isMapping(stack) && isMapping(stack["config"]) ? stack["config"] : {},
    stackFile,
  );
  for (const service of services) list.add(document.createNode(service));
  document.setIn(["config", "switchyard:services"], list);
  for (const [name, config] of Object.entries(configs))
    document.setIn(["config", "switchyard:configs", name], document.createNode(config));
  // Plain, texts such as yes, 012 or 12:30:45 would be something else for other readers of YAML.
  const text = stringify(document, {
    lineWidth: 0,
    defaultStringType: "QUOTE_DOUBLE",
    defaultKeyType: "PLAIN",
  });
  writeFileSync(`${stackFile}.new`, text);
  renameSync(`${stackFile}.new`, stackFile);

  for (const [key, value] of secrets)
    writeSync(secretsPipe, `${key} ${Buffer.from(value).toString("base64")}\n`);
  const fates = [...mistakes, ...imported.fates];
  const width = Math.max(...fates.map(({ key }) => key.length));
  for (const { key, fate, text: told } of fates)
    console.log(escapeInvisible(`${key.padEnd(width)}  ${fate.padEnd(8)}  ${told}`));
  console.log(`\n${services.length} services are in ${stackFile}. Read it before script/preview.`);
  for (const [index, service] of services.entries())
    try {
      parseService(service, `services[${there.length + index}]`);
    } catch (error) {
      console.log(`To correct first: ${messageOf(error)}`);
    }
}

try {
  main();
} catch (error) {
  console.error(`error: ${error instanceof UserError ? error.message : messageOf(error)}`);
  process.exit(1);
}
