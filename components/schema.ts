/**
 * Building blocks for the schema of the configuration. Every message names the key, the problem and the cure; zod's own
 * messages never reach the user.
 */
import { z } from "zod";

import { UserError } from "../lib/errors";
import type { Checked } from "../routing/scaling/checked";

/** An error for a configuration key. `key` comes without the project's name: `services[0].port`. */
export function configError(key: string, problem: string, cure: string): UserError {
  return new UserError(`Configuration switchyard:${key} ${problem}: ${cure}`);
}

/** An image reference that Docker accepts, with or without a tag or digest. */
export const imagePattern = /^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$/;

const mustBe = (form: string) => ({ error: `it must be ${form}` });

export const text = (pattern: RegExp, form: string) => z.string(mustBe(form)).regex(pattern, mustBe(form));

/** An optional text. An empty one counts as absent. */
export const optionalText = (pattern: RegExp, form: string) =>
  text(new RegExp(`^$|${pattern.source}`), form)
    .default("")
    .transform((value) => (value === "" ? undefined : value));

/** A whole number from `min` to `max`, both included. */
export function whole(min: number, max: number) {
  const form = mustBe(`a whole number from ${min} to ${max}`);
  return z.int(form).min(min, form).max(max, form);
}

/** A number above 0, up to `max`. */
export function positive(max: number) {
  const form = mustBe(`a number above 0, at most ${max}`);
  return z.number(form).gt(0, form).max(max, form);
}

export const flag = () => z.boolean(mustBe("true or false"));

export const oneOf = <const T extends readonly [string, ...string[]]>(words: T) =>
  z.enum(words, mustBe(`one of ${words.join(", ")}`));

export const list = <T extends z.ZodType>(item: T) => z.array(item, mustBe("a list"));

/** A mapping of these keys and no others, so that a misspelt key is an error. */
export const mapping = <T extends z.ZodRawShape>(shape: T, known = Object.keys(shape)) =>
  z.strictObject(shape, {
    error: ({ code }) =>
      code === "unrecognized_keys" ? unknownKey(known) : mustBe("a mapping of keys to values").error,
  });

/** A mapping with any keys; the caller checks them. */
export const anyMapping = z.looseObject({}, mustBe("a mapping of keys to values"));

/** The cure for an unknown key. */
export const unknownKey = (known: readonly string[]): string =>
  `remove it, or use one of ${known.join(", ")}`;

const quoted = mustBe("text, as YAML does not keep the way it is written: put it in quotes");

/** What YAML reads as a date, such as `2024-01-01`, in the words of Pulumi's CLI. */
const date = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \S+$/;

/** Rejects text that was a date without quotes in the stack file. */
export const undated = (schema: z.ZodString) => schema.refine((value) => !date.test(value), quoted);

const line = undated(text(/^[^\0\r\n]{0,4096}$/, "one line of text"));

const valuesByName = <T extends z.ZodType>(name: RegExp, nameForm: string, value: T) =>
  z.record(
    z.string().regex(name, mustBe(`named by ${nameForm}`)),
    value,
    mustBe("a mapping of keys to values"),
  );

/** A mapping of keys to single lines of text. Numbers and booleans, which YAML reads unquoted, become text. */
export const strings = (name: RegExp, nameForm: string) =>
  valuesByName(
    name,
    nameForm,
    z.preprocess(
      (value) => (typeof value === "number" || typeof value === "boolean" ? String(value) : value),
      line,
    ),
  );

/**
 * A mapping of keys to single lines of text that must arrive as written. YAML has lost what was written where it reads a
 * number, a boolean, a date or nothing: `012345` is 12345, `1e5` is 100000, `1.10` is 1.1, `True` is true.
 */
export const verbatimStrings = (name: RegExp, nameForm: string) => {
  const isText = (value: unknown) => typeof value === "string";
  return valuesByName(name, nameForm, z.custom<string>(isText, { ...quoted, abort: true }).pipe(line));
};

/** A value with parts that is read elsewhere. */
export const readBy = <T>(read: (value: unknown) => Checked<T>) =>
  z.unknown().transform((value, context): T => {
    const result = read(value);
    if (result.ok) return result.value;
    const { path, problem, cure } = result.mistake;
    context.issues.push({ ...mistake([...path], problem, cure), params: { problem, showsValue: true } });
    return z.NEVER;
  });

/** An issue for a schema's `check` to report; `path` is relative to the checked value. */
export const mistake = (path: (string | number)[], problem: string, cure: string): z.core.$ZodRawIssue => ({
  code: "custom",
  input: undefined,
  path,
  message: cure,
  params: { problem },
});

/**
 * Validates a value and fills in defaults.
 *
 * @param key the value's place in the configuration, such as `services[0]`; empty for the whole configuration
 * @param isSecret whether the value of a top-level key is secret, so that errors must not show it. Default: never
 * @throws UserError for the first mistake, with its key and the cure
 */
export function parse<T extends z.ZodType>(
  schema: T,
  value: unknown,
  key: string,
  isSecret: (topLevelKey: string) => boolean = () => false,
): z.output<T> {
  const result = schema.safeParse(value, { error: () => "correct it" });
  if (result.success) return result.data;
  const issues = result.error.issues.map(unwrapUnion);
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
  if (issue === undefined) throw new Error("zod rejected a value without naming an issue");
  if (issue.code === "unrecognized_keys") {
    throw configError(formatKey(key, [...issue.path, issue.keys[0] ?? ""]), "is not known", issue.message);
  }
  const full = formatKey(key, issue.path);
  const hides = isSecret(full.split(/[.[]/, 1)[0] ?? "");
  const { problem, showsValue } = (issue.code === "custom" ? issue.params : undefined) ?? {};
  if (typeof problem === "string")
    throw configError(full, hides && showsValue === true ? "is invalid" : problem, issue.message);
  if (issue.code === "invalid_key") {
    throw configError(full, `is ${show(issue.path.at(-1))}`, issue.issues[0]?.message ?? issue.message);
  }
  const found = hides ? "is invalid" : `is ${show(valueAt(value, issue.path))}`;
  throw configError(full, found, issue.message);
}

/**
 * For a value that may take several forms: the issue with the last form, the only one that has keys of its own. Other
 * issues are returned as they are.
 */
function unwrapUnion(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const inner = issue.errors.at(-1) ?? [];
  const first = inner.find(({ code }) => code === "unrecognized_keys") ?? inner[0];
  return first === undefined ? issue : unwrapUnion({ ...first, path: [...issue.path, ...first.path] });
}

/** Formats a key and the path below it: `services[0].env.NAME`. */
function formatKey(key: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((left, part) => {
    if (typeof part === "number") return `${left}[${part}]`;
    return left === "" ? String(part) : `${left}.${String(part)}`;
  }, key);
}

/** What is at a path in a value; undefined if there is nothing. */
export const valueAt = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (inner, part) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, part) : undefined),
    value,
  );

const show = (value: unknown): string => (value === undefined ? "missing" : JSON.stringify(value));
