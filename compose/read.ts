/** Reads a compose file: YAML with anchors and variables, command lines, lists of variables. Pure. */
import { isDocument, isScalar, parseDocument, visit } from "yaml";

import { UserError } from "../lib/errors";
import { isMapping } from "../lib/values";

export type Mapping = Readonly<Record<string, unknown>>;
export type Variables = Readonly<Record<string, string | undefined>>;

/** Reads a compose file, with anchors and variables. All values are texts, as written. */
export function readCompose(text: string, env: Variables): Mapping {
  const document = parseDocument(text, { schema: "failsafe", merge: true });
  const [error] = document.errors;
  if (error !== undefined || !isDocument(document))
    throw new UserError(`The compose file is not valid YAML (${error?.message ?? ""}): correct it.`);
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || !isScalar(node) || typeof node.value !== "string") return;
      if (node.type === "PLAIN" && ["", "~", "null"].includes(node.value)) node.value = null;
      else node.value = interpolate(node.value, env);
    },
  });
  const value: unknown = document.toJS({ maxAliasCount: 1000 });
  if (!isMapping(value) || !isMapping(value["services"]))
    throw new UserError("The compose file has no services: name one that has.");
  if (value["include"] !== undefined)
    throw new UserError("The compose file has include: write it into one file with `docker compose config`.");
  for (const [name, service] of Object.entries(value["services"]))
    if (isMapping(service) && service["extends"] !== undefined)
      throw new UserError(
        `services.${name} has extends: write it into one file with \`docker compose config\`.`,
      );
  return value;
}

/** `$VAR`, `${VAR}`, and `:-`, `-`, `:?`, `?`, `:+`, `+` with what follows them; `$$` is a dollar. */
export function interpolate(text: string, env: Variables): string {
  const variable = /\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?+])((?:[^{}]|\{[^{}]*\})*))?\})/g;
  return text.replace(variable, (...match: (string | undefined)[]) => {
    const [, dollar, plain, braced = "", operator = "", other = ""] = match;
    if (dollar !== undefined) return "$";
    const name = plain ?? braced;
    const value = env[name];
    const isGiven = value !== undefined && !(operator.startsWith(":") && value === "");
    if (operator.endsWith("+")) return isGiven ? interpolate(other, env) : "";
    if (isGiven) return value;
    if (operator.endsWith("-")) return interpolate(other, env);
    if (operator.endsWith("?"))
      throw new UserError(
        `The variable ${name} is not set (${other}): set it in .env, or before the command.`,
      );
    return "";
  });
}

/** The words of a command line, without a shell. */
export function words(line: string): string[] {
  const found = line.matchAll(/(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gs);
  return [...found].map(([word]) =>
    word.replace(
      /\\(.)|"((?:[^"\\]|\\.)*)"|'([^']*)'/gs,
      (_, escaped?: string, double?: string, single?: string) =>
        escaped ?? double?.replace(/\\(["\\$`])/g, "$1") ?? single ?? "",
    ),
  );
}

/** A value that may be a list, as one. */
export const list = (value: unknown): readonly unknown[] =>
  Array.isArray(value) ? value : value === undefined || value === null ? [] : [value];

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** `KEY: value` or `KEY=value`, as a mapping; without a value it comes from the environment. */
export function pairs(value: unknown, env: Variables): Record<string, string> {
  const entries: (readonly [string, unknown])[] = isMapping(value)
    ? Object.entries(value)
    : list(value).map((each) => {
        const [, key = "", , text] = /^([^=]*)(=(.*))?$/s.exec(String(each)) ?? [];
        return [key, text ?? null] as const;
      });
  return Object.fromEntries(
    entries.map(([key, text]) => [key, text === null ? (env[key] ?? "") : textOf(text)]),
  );
}

/** The variables of a file such as `.env`. */
export function readVariables(text: string): Record<string, string> {
  const own = text.split(/\r?\n/).flatMap((line) => {
    const [, key, value = ""] = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$/.exec(line) ?? [];
    if (key === undefined) return [];
    const [, quote, inner] = /^(["'])(.*)\1$/.exec(value) ?? [];
    return [[key, quote === undefined ? value.replace(/\s+#.*$/, "") : (inner ?? "")] as const];
  });
  return Object.fromEntries(own);
}

/** The duration in whole seconds, at least 1. */
export const seconds = (text: string): number =>
  Math.max(1, Math.round([...text.matchAll(/([\d.]+)(ms|h|m|s)/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * ({ h: 3600, m: 60, s: 1, ms: 0.001 }[unit ?? "s"] ?? 0), 0))); // prettier-ignore
