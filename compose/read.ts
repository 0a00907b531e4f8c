/** Reads a compose file: YAML with anchors and variables, command lines, lists of variables. Pure. */
import { isDocument, isScalar, parseDocument, visit } from "yaml";

import { UserError } from "../lib/errors";
import { isMapping } from "../lib/values";
import { isSecret, type Hidden } from "./hidden";

export type Mapping = Readonly<Record<string, unknown>>;
export type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads a compose file, with anchors and variables. All values are texts, as written.
 *
 * @param hidden takes the values of variables that are secrets; the texts have marks in place of them
 */
export function readCompose(text: string, env: Variables, hidden: Hidden): Mapping {
  const document = parseDocument(text, { schema: "failsafe", merge: true });
  const [error] = document.errors;
  if (error !== undefined || !isDocument(document))
    throw new UserError(`The compose file is not valid YAML (${error?.message ?? ""}): correct it.`);
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || !isScalar(node) || typeof node.value !== "string") return;
      if (node.type === "PLAIN" && ["", "~", "null"].includes(node.value)) node.value = null;
      else node.value = interpolate(node.value, env, hidden);
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
export function interpolate(text: string, env: Variables, hidden: Hidden): string {
  const variable = /\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?+])((?:[^{}]|\{[^{}]*\})*))?\})/g;
  return text.replace(variable, (...match: (string | undefined)[]) => {
    const [, dollar, plain, braced = "", operator = "", other = ""] = match;
    if (dollar !== undefined) return "$";
    const name = plain ?? braced;
    const value = env[name];
    const isGiven = value !== undefined && !(operator.startsWith(":") && value === "");
    if (operator.endsWith("+")) return isGiven ? interpolate(other, env, hidden) : "";
    if (isGiven) return hidden.of(name, value);
    if (operator.endsWith("-")) return hidden.of(name, interpolate(other, env, hidden));
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

/** Which words of a command hold a secret: a mark, a URL with a password, or what follows a flag such as `--password`. */
export function secretWords(argv: readonly string[], hidden: Hidden): boolean[] {
  const isTold = (name: string, value: string) =>
    /^[^-$]/.test(value) && isSecret([name.replace(/^-+/, "").replaceAll("-", "_"), value]);
  return argv.map((word, index) => {
    const [, name = "", value = ""] = /^([\w.-]+)=(.*)$/s.exec(word) ?? [];
    const before = argv[index - 1] ?? "";
    const inner = /\s/.test(word) ? words(word) : [];
    return (
      hidden.isIn(word) ||
      isTold(name, value) ||
      (/^-[\w.-]+$/.test(before) && isTold(before, word)) ||
      (inner.length > 1 && secretWords(inner, hidden).includes(true))
    );
  });
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

export interface Files {
  /** The bytes of a file in the folder of the compose file; undefined if there is none. */
  readonly read: (file: string) => Uint8Array | undefined;
  /** The secrets of the texts of the compose file. */
  readonly hidden: Hidden;
}

/** What `textIn` says of a file that is not text in UTF-8. */
export const notText = Symbol();

/** The text of a file that the compose file names; undefined if there is none. */
export function textIn(file: string, { hidden, read }: Files): string | typeof notText | undefined {
  const bytes = read(hidden.reveal(file));
  try {
    return bytes && new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return notText;
  }
}
