/**
 * What the schema of the configuration is made of. Every message names the key, the problem and the cure; zod's own wording
 * never reaches the user.
 */
import { z } from "zod";

import { UserError } from "../lib/errors";

/** A mistake at a key of the configuration, written without the project's name: `services[0].port`. */
export function configError(key: string, problem: string, cure: string): UserError {
  return new UserError(`Configuration switchyard:${key} ${problem}: ${cure}`);
}

/** An image reference as Docker takes it, with tag or digest. */
export const imagePattern = /^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$/;

const mustBe = (form: string) => ({ error: `it must be ${form}` });

export const text = (pattern: RegExp, form: string) => z.string(mustBe(form)).regex(pattern, mustBe(form));

/** A text that may be left out or empty, which is the same. */
export const optionalText = (pattern: RegExp, form: string) =>
  text(new RegExp(`^$|${pattern.source}`), form)
    .default("")
    .transform((value) => (value === "" ? undefined : value));

/** A whole number from `min` to `max`, both included; `missing` is the cure where there is none. */
export function whole(min: number, max: number, missing?: string) {
  const { error } = mustBe(`a whole number from ${min} to ${max}`);
  const form = {
    error: ({ input }: { input?: unknown }) => (input === undefined ? missing : undefined) ?? error,
  };
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

/** A mapping of these keys and no others: a misspelt option must not be ignored. */
export const mapping = <T extends z.ZodRawShape>(shape: T, known = Object.keys(shape)) =>
  z.strictObject(shape, {
    error: ({ code }) =>
      code === "unrecognized_keys" ? unknownKey(known) : mustBe("a mapping of keys to values").error,
  });

/** A mapping of any keys, which something else checks. */
export const anyMapping = z.looseObject({}, mustBe("a mapping of keys to values"));

/** The cure for a key that nobody reads. */
export const unknownKey = (known: readonly string[]): string =>
  `remove it, or use one of ${known.join(", ")}`;

/** A mapping of lines of text; takes numbers and booleans, which YAML makes of bare words, as they are written. */
export const strings = (name: RegExp, nameForm: string) =>
  z.record(
    z.string().regex(name, mustBe(`named by ${nameForm}`)),
    z.preprocess(
      (value) => (typeof value === "number" || typeof value === "boolean" ? String(value) : value),
      text(/^[^\0\r\n]{0,4096}$/, "one line of text"),
    ),
    mustBe("a mapping of keys to values"),
  );

/** A mistake that a schema's own check found, at a key below the value it checks. */
export const mistake = (path: (string | number)[], problem: string, cure: string): z.core.$ZodRawIssue => ({
  code: "custom",
  input: undefined,
  path,
  message: cure,
  params: { problem },
});

/**
 * The value as the schema has it, with defaults filled in.
 *
 * @param key where the value stands, such as `services[0]`; empty for the whole configuration
 * @param isSecret whether the value at a top-level key is a secret, which an error must not repeat. Default: none is
 * @throws UserError for the first mistake, naming its key and cure
 */
export function parse<T extends z.ZodType>(
  schema: T,
  value: unknown,
  key: string,
  isSecret: (topLevelKey: string) => boolean = () => false,
): z.output<T> {
  const result = schema.safeParse(value, { error: () => "correct it" });
  if (result.success) return result.data;
  const issues = result.error.issues.map(innermost);
  const issue = issues.find(({ code }) => code === "unrecognized_keys") ?? issues[0];
  if (issue === undefined) throw new Error("a value was refused for no reason");
  if (issue.code === "unrecognized_keys") {
    throw configError(keyOf(key, [...issue.path, issue.keys[0] ?? ""]), "is not known", issue.message);
  }
  const full = keyOf(key, issue.path);
  const problem = issue.code === "custom" ? (issue.params?.["problem"] as string | undefined) : undefined;
  if (problem !== undefined) throw configError(full, problem, issue.message);
  if (issue.code === "invalid_key") {
    throw configError(full, `is ${show(issue.path.at(-1))}`, issue.issues[0]?.message ?? issue.message);
  }
  const found = isSecret(full.split(/[.[]/, 1)[0] ?? "")
    ? "has a wrong form"
    : `is ${show(at(value, issue.path))}`;
  throw configError(full, found, issue.message);
}

/** Of a value that may have one of several forms: what is wrong with it in the last, which is the one with parts. */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const inner = issue.errors.at(-1) ?? [];
  const first = inner.find(({ code }) => code === "unrecognized_keys") ?? inner[0];
  return first === undefined ? issue : innermost({ ...first, path: [...issue.path, ...first.path] });
}

/** `services[0].env.NAME` of its parts. */
function keyOf(key: string, path: readonly PropertyKey[]): string {
  return path.reduce<string>((left, part) => {
    if (typeof part === "number") return `${left}[${part}]`;
    return left === "" ? String(part) : `${left}.${String(part)}`;
  }, key);
}

const at = (value: unknown, path: readonly PropertyKey[]): unknown =>
  path.reduce<unknown>(
    (inner, part) => (typeof inner === "object" && inner !== null ? Reflect.get(inner, part) : undefined),
    value,
  );

const show = (value: unknown): string => (value === undefined ? "missing" : JSON.stringify(value));
