import * as pulumi from "@pulumi/pulumi";

/** A mistake in the configuration that its owner can mend; Pulumi prints the message without a stack trace. */
export class ConfigError extends pulumi.RunError {
  constructor(
    /** The key, without the project's name: `services[0].port`. */
    readonly key: string,
    problem: string,
    cure: string,
  ) {
    super(`Configuration switchyard:${key} ${problem}: ${cure}`);
  }
}

/** An image reference, with tag or digest, as Docker takes it. */
export const imagePattern = /^[a-z0-9][A-Za-z0-9._/:@-]{0,254}$/;

/** A string of the given form; the offending value is shown unless it is a secret. */
export function text(
  value: unknown,
  key: string,
  pattern: RegExp,
  form: string,
  { secret = false } = {},
): string {
  if (typeof value !== "string" || !pattern.test(value)) {
    throw new ConfigError(key, secret ? "has a wrong form" : `is ${show(value)}`, `it must be ${form}`);
  }
  return value;
}

/** A whole number from `min` to `max`, both included. */
export function whole(value: unknown, key: string, min: number, max: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw new ConfigError(key, `is ${show(value)}`, `it must be a whole number from ${min} to ${max}`);
  }
  return value;
}

/** A number above 0, up to `max`. */
export function positive(value: unknown, key: string, max: number): number {
  if (typeof value !== "number" || !(value > 0 && value <= max)) {
    throw new ConfigError(key, `is ${show(value)}`, `it must be a number above 0, at most ${max}`);
  }
  return value;
}

export function flag(value: unknown, key: string): boolean {
  if (typeof value !== "boolean") {
    throw new ConfigError(key, `is ${show(value)}`, "it must be true or false");
  }
  return value;
}

/** One of a few words. */
export function oneOf<T extends string>(value: unknown, key: string, words: readonly T[]): T {
  const word = words.find((known) => known === value);
  if (word === undefined) {
    throw new ConfigError(key, `is ${show(value)}`, `it must be one of ${words.join(", ")}`);
  }
  return word;
}

export function list(value: unknown, key: string): readonly unknown[] {
  if (!Array.isArray(value)) {
    throw new ConfigError(key, `is ${show(value)}`, "it must be a list");
  }
  return value;
}

export function mapping(value: unknown, key: string): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ConfigError(key, `is ${show(value)}`, "it must be a mapping of keys to values");
  }
  return { ...value };
}

/** Refuses keys that nobody reads: a misspelt option must not be ignored. */
export function onlyKeys(
  value: Readonly<Record<string, unknown>>,
  key: string,
  known: readonly string[],
): void {
  const unknown = Object.keys(value).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    const full = key === "" ? unknown : `${key}.${unknown}`;
    throw new ConfigError(full, "is not known", `remove it, or use one of ${known.join(", ")}`);
  }
}

/** A mapping of strings; numbers and booleans, which YAML makes of bare words, are taken as written. */
export function strings(
  value: unknown,
  key: string,
  name: { pattern: RegExp; form: string },
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(mapping(value, key)).map(([entry, content]) => {
      text(entry, `${key}.${entry}`, name.pattern, `named by ${name.form}`);
      const scalar = typeof content === "number" || typeof content === "boolean" ? String(content) : content;
      return [entry, text(scalar, `${key}.${entry}`, /^[^\0\r\n]{0,4096}$/, "one line of text")];
    }),
  );
}

function show(value: unknown): string {
  return value === undefined ? "missing" : JSON.stringify(value);
}
