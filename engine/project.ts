/** Reads Pulumi.yaml and Pulumi.<stack>.yaml, and merges them into the program's configuration as the CLI does. */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import { Document, isMap as isYamlMap, isSeq, parseDocument } from "yaml";
import { messageOf, UserError } from "../lib/errors";
import { type Crypter, newCrypter, openCrypter, passphrase } from "./secrets";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

interface Items {
  type: string;
  items?: Items;
}
interface ConfigType extends Partial<Items> {
  default?: Json;
  value?: Json;
  secret?: boolean;
  /** `true` for a schema (`key: { type: … }`); `false` for a plain value that applies to every stack. */
  declared: boolean;
}

export interface Project {
  readonly dir: string;
  readonly name: string;
  readonly main: string;
  readonly config: ReadonlyMap<string, ConfigType>;
}

export interface StackFile {
  readonly path: string;
  readonly document: Document;
  readonly salt: string | undefined;
}

export interface Config {
  readonly values: Record<string, string>;
  readonly secretKeys: string[];
}

function parseYaml(file: string): Document {
  const document = parseDocument(readFileSync(file, "utf8"));
  const problem = document.errors[0];
  if (problem) throw new UserError(`${file}: ${problem.message}`);
  return document;
}

const isObject = (value: unknown): value is Record<string, Json> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function qualified(key: string, project: string): string {
  const [namespace, ...rest] = key.split(":");
  if (rest.length === 0) return `${project}:${key}`;
  return `${namespace ?? ""}:${rest[0] === "config" ? rest.slice(1).join(":") : rest.join(":")}`;
}

export function loadProject(dir: string): Project {
  const file = path.join(dir, "Pulumi.yaml");
  if (!existsSync(file))
    throw new UserError(`There is no Pulumi.yaml in ${dir}: run this in the project, or pass --cwd.`);
  const content = parseYaml(file).toJS() as Record<string, Json> | null;
  const name = content?.name;
  if (typeof name !== "string") throw new UserError(`${file}: \`name\` is missing: add the project's name.`);
  const config = new Map<string, ConfigType>();
  for (const [key, value] of Object.entries(isObject(content?.config) ? content.config : {})) {
    const declared =
      isObject(value) && ["type", "default", "value", "secret", "description"].some((k) => k in value);
    config.set(
      qualified(key, name),
      declared ? { ...(value as Omit<ConfigType, "declared">), declared } : { value, declared },
    );
  }
  return { dir, name, main: typeof content?.main === "string" ? content.main : ".", config };
}

export function loadStackFile(project: Project, stack: string, file?: string): StackFile {
  const target = file ? path.resolve(file) : path.join(project.dir, `Pulumi.${stack}.yaml`);
  if (file && !existsSync(target))
    throw new UserError(`--config-file ${file}: there is no such file. Correct the path.`);
  const document = existsSync(target) ? parseYaml(target) : new Document({});
  const salt = document.get("encryptionsalt");
  return { path: target, document, salt: typeof salt === "string" ? salt : undefined };
}

/** The stack's crypter; undefined if the stack has no secrets. */
export async function crypterOf(stackFile: StackFile): Promise<Crypter | undefined> {
  return stackFile.salt === undefined ? undefined : openCrypter(stackFile.salt, passphrase());
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key] ?? null)]),
  );
}

const asText = (value: Json): string =>
  typeof value === "object" ? (value === null ? "" : JSON.stringify(sorted(value))) : String(value);

/** Decrypts `{secure: …}` at any depth. */
function opened(value: Json, key: string, crypter: Crypter | undefined): { value: Json; secure: boolean } {
  if (Array.isArray(value)) {
    const items = value.map((item) => opened(item, key, crypter));
    return { value: items.map((item) => item.value), secure: items.some((item) => item.secure) };
  }
  if (!isObject(value)) return { value, secure: false };
  if (typeof value.secure === "string" && Object.keys(value).length === 1) {
    if (!crypter) {
      throw new UserError(
        `'${key}' is encrypted, but the stack file has no \`encryptionsalt\`: restore it from git.`,
      );
    }
    try {
      return { value: crypter.decrypt(value.secure), secure: true };
    } catch {
      throw new UserError(
        `'${key}' cannot be decrypted: it was encrypted for another stack. Set it again: config set --secret ${key}`,
      );
    }
  }
  const entries = Object.entries(value).map(([k, v]) => [k, opened(v, key, crypter)] as const);
  return {
    value: Object.fromEntries(entries.map(([k, v]) => [k, v.value])),
    secure: entries.some(([, v]) => v.secure),
  };
}

export function stackValues(stackFile: StackFile): Record<string, Json> {
  const content = stackFile.document.toJS() as Record<string, Json> | null;
  return isObject(content?.config) ? content.config : {};
}

/** Follows `ValidateConfigValue` in sdk/go/common/workspace/project.go. */
function hasType(value: Json, { type, items }: Partial<Items>): boolean {
  switch (type) {
    case "string":
      return typeof value === "string";
    case "integer":
      return typeof value === "string" ? /^[+-]?\d+$/.test(value) : Number.isInteger(value);
    case "boolean":
      return typeof value === "boolean" || value === "true" || value === "false";
    case "object":
      return isObject(value);
    default:
      return Array.isArray(value) && items !== undefined && value.every((item) => hasType(item, items));
  }
}

const typeName = ({ type, items }: Partial<Items>): string =>
  type === "array" && items ? `array<${typeName(items)}>` : (type ?? "");

/** The program's configuration: the stack's values override the project's, and all are checked against its schema. */
export function mergeConfig(
  project: Project,
  stack: string,
  values: Record<string, Json>,
  crypter: Crypter | undefined,
): Config {
  const shown = (key: string): string =>
    key.startsWith(`${project.name}:`) ? key.slice(project.name.length + 1) : key;
  const merged: Record<string, string> = {};
  const secretKeys: string[] = [];
  const hasSchema = [...project.config.values()].some((type) => type.declared);

  for (const [rawKey, raw] of Object.entries(values)) {
    const key = qualified(rawKey, project.name);
    const type = project.config.get(key);
    if (!type && hasSchema && key.startsWith(`${project.name}:`)) {
      const known = [...project.config.keys()].filter((k) => k.startsWith(`${project.name}:`)).map(shown);
      throw new UserError(
        `Stack '${stack}' has the configuration key '${shown(key)}', which the project does not define: correct or remove it (known: ${known.sort().join(", ")}).`,
      );
    }
    const { value, secure } = opened(raw, shown(key), crypter);
    if (type?.type !== undefined) {
      if (type.secret && !secure) {
        throw new UserError(
          `Stack '${stack}' with configuration key '${shown(key)}' must be encrypted as it's secret: config set --secret ${shown(key)}`,
        );
      }
      // Like the CLI, check scalars as text.
      if (!hasType(typeof value === "object" ? value : asText(value), type)) {
        throw new UserError(
          `Stack '${stack}' with configuration key '${shown(key)}' must be of type '${typeName(type)}': correct it in Pulumi.${stack}.yaml.`,
        );
      }
    }
    merged[key] = asText(value);
    if (secure) secretKeys.push(key);
  }

  const missing: string[] = [];
  for (const [key, type] of project.config) {
    if (key in merged) continue;
    const value = type.default ?? type.value;
    if (value !== undefined && value !== null) merged[key] = asText(value);
    else if (key.startsWith(`${project.name}:`)) missing.push(shown(key));
  }
  if (missing.length > 0) {
    const secret = project.config.get(qualified(missing.sort()[0] ?? "", project.name))?.secret;
    throw new UserError(
      `Stack '${stack}' is missing configuration ${missing.length > 1 ? "values" : "value"} ${missing
        .map((key) => `'${key}'`)
        .join(", ")}: config set ${secret ? `--secret ${missing[0] ?? ""}` : `${missing[0] ?? ""} VALUE`}`,
    );
  }
  return { values: merged, secretKeys };
}

/** A value as the program would receive it; undefined if it is not set. */
export async function getConfig(
  project: Project,
  stackFile: StackFile,
  key: string,
): Promise<string | undefined> {
  const name = qualified(key, project.name);
  const values = Object.entries(stackValues(stackFile));
  const raw = values.find(([k]) => qualified(k, project.name) === name)?.[1];
  if (raw !== undefined) {
    const crypter = JSON.stringify(raw).includes('"secure":') ? await crypterOf(stackFile) : undefined;
    return asText(opened(raw, key, crypter).value);
  }
  const type = project.config.get(name);
  const value = type?.default ?? type?.value;
  return value === undefined ? undefined : asText(value);
}

/** The steps of a path such as `services[1].env["A.B"]`. */
function pathOf(path: string): (string | number)[] {
  const step = /\.?([^.[\]"]+)|\.?\[(?:(\d+)|"((?:[^"\\]|\\.)*)")\]/y;
  const steps: (string | number)[] = [];
  while (step.lastIndex < path.length) {
    const found = step.exec(path);
    if (!found) {
      throw new UserError(
        `"${path}" is not a path: write keys with dots and indexes, such as services[1].env.TOKEN.`,
      );
    }
    const [, name, index, quoted] = found;
    steps.push(index === undefined ? (name ?? (quoted ?? "").replace(/\\(.)/g, "$1")) : Number(index));
  }
  return steps;
}

const typed = (value: string): Json => {
  if (value === "true" || value === "false") return value === "true";
  return /^(0|-?[1-9]\d{0,14})$/.test(value) ? Number(value) : value;
};

/** Sets the value at a path, creating what is missing on the way: a list for an index, otherwise a mapping. */
function place(document: Document, path: readonly (string | number)[], value: unknown, key: string): void {
  for (const [depth, step] of path.entries()) {
    const parent = document.getIn(path.slice(0, depth), true);
    const length = isSeq(parent) ? parent.items.length : 0;
    const fits =
      depth === 0 || (typeof step === "number" ? isSeq(parent) && step <= length : isYamlMap(parent));
    if (!fits) {
      const reason =
        typeof step === "number" && isSeq(parent)
          ? `the list has only ${length} entries`
          : "another kind of value is there";
      throw new UserError(`"${key}" cannot be set: ${reason}. Correct the path.`);
    }
    const next = path[depth + 1];
    if (next === undefined) document.setIn(path, value);
    else if ((document.getIn(path.slice(0, depth + 1)) ?? null) === null)
      document.setIn(path.slice(0, depth + 1), document.createNode(typeof next === "number" ? [] : {}));
  }
}

/** Sets a value in the stack file, preserving comments and format. With `path`, the key may lead into lists and mappings. */
export async function setConfig(
  project: Project,
  stackFile: StackFile,
  key: string,
  value: string,
  options: { readonly secret?: boolean; readonly path?: boolean } = {},
): Promise<void> {
  const { document } = stackFile;
  if (!isYamlMap(document.contents)) document.contents = document.createNode({});
  const [first = "", ...below] = options.path === true ? pathOf(key) : [key];
  // Like the CLI, give a value at a path the type that it looks like.
  let stored: Json = below.length > 0 ? typed(value) : value;
  if (options.secret === true) {
    const crypter = (await crypterOf(stackFile)) ?? (await newCrypter(passphrase()));
    if (stackFile.salt === undefined) document.set("encryptionsalt", crypter.salt);
    stored = { secure: crypter.encrypt(value) };
  }
  const name = qualified(String(first), project.name);
  const existing = Object.keys(stackValues(stackFile)).find((k) => qualified(k, project.name) === name);
  place(document, ["config", existing ?? name, ...below], document.createNode(stored), key);
  const beside = `${stackFile.path}.${String(process.pid)}.tmp`;
  try {
    writeFileSync(beside, document.toString({ lineWidth: 0 }));
    renameSync(beside, stackFile.path);
  } catch (error) {
    throw new UserError(`${stackFile.path} cannot be written: ${messageOf(error)}`);
  }
}
