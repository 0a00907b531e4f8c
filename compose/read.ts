/** Reads a compose file: YAML with anchors and variables, command lines, lists, files. Pure. */
import { isDocument, isScalar, parseDocument, visit } from "yaml";

import { UserError } from "../lib/errors";
import { isMapping } from "../lib/values";
import { isSecret, type Hidden } from "./hidden";
import { interpolate, valueOf, type Scope, type Variables } from "./variables";

export type Mapping = Readonly<Record<string, unknown>>;

/** Reads a compose file, with anchors and variables. All values are texts, as written, with marks in place of secrets. */
export function readCompose(text: string, scope: Scope): Mapping {
  const document = parseDocument(text, { schema: "failsafe", merge: true });
  const [error] = document.errors;
  if (error !== undefined || !isDocument(document))
    throw new UserError(`The compose file is not valid YAML (${error?.message ?? ""}): correct it.`);
  visit(document, {
    Scalar(key, node) {
      if (key === "key" || !isScalar(node) || typeof node.value !== "string") return;
      if (node.type === "PLAIN" && ["", "~", "null"].includes(node.value)) node.value = null;
      else node.value = interpolate(node.value, scope);
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

/** The keys of a value beside those that are known. */
export const othersOf = (value: unknown, known: readonly string[]): string[] =>
  isMapping(value) ? Object.keys(value).filter((key) => !known.includes(key)) : [];

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/**
 * `KEY: value` or `KEY=value`, as a mapping; without a value it comes from the environment.
 *
 * @param onUnset is called with each key that has no value there either, and is left out
 */
export function pairs(
  value: unknown,
  env: Variables,
  onUnset: (key: string) => unknown,
): Record<string, string> {
  const entries: (readonly [string, unknown])[] = isMapping(value)
    ? Object.entries(value)
    : list(value).map((each) => {
        const [, key = "", , text] = /^([^=]*)(=(.*))?$/s.exec(String(each)) ?? [];
        return [key, text ?? null] as const;
      });
  return Object.fromEntries(
    entries.flatMap(([key, text]) => {
      const found = text === null ? valueOf(key, env) : typeof text === "string" ? text : "";
      if (found === undefined) onUnset(key);
      return found === undefined ? [] : [[key, found] as const];
    }),
  );
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
