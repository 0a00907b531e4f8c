/** A mistake in a value with parts, such as a range. Whoever read the value knows what it is called and completes the message. */
export interface Mistake {
  /** The part with the mistake, such as `["max"]`; empty for the value as a whole. */
  readonly path: readonly string[];
  /** What is wrong, as the rest of a sentence that starts with the part: `is 1, less than min`. */
  readonly problem: string;
  /** What to do about it: `raise it`. */
  readonly cure: string;
}

export type Checked<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly mistake: Mistake };

export const good = <T>(value: T): Checked<T> => ({ ok: true, value });

export const wrong = (path: readonly string[], problem: string, cure: string): Checked<never> => ({
  ok: false,
  mistake: { path, problem, cure },
});

/** The problem of a value that has the wrong form; a missing one "is missing". */
export const isShown = (value: unknown): string =>
  `is ${value === undefined ? "missing" : JSON.stringify(value)}`;

/** The mistake of the first key that is none of these, if there is one. */
export function unknownIn(
  value: Readonly<Record<string, unknown>>,
  known: readonly string[],
): Mistake | undefined {
  const key = Object.keys(value).find((each) => !known.includes(each));
  if (key === undefined) return undefined;
  return { path: [key], problem: "is not known", cure: `remove it, or use one of ${known.join(", ")}` };
}

/** A number from `min` to `max`, both included; whole unless `fractions`. */
export function numberIn(
  path: readonly string[],
  value: unknown,
  min: number,
  max: number,
  fractions = false,
): Checked<number> {
  const fits =
    typeof value === "number" && value >= min && value <= max && (fractions || Number.isInteger(value));
  if (fits) return good(value);
  const form = fractions ? "a number" : "a whole number";
  return wrong(path, isShown(value), `it must be ${form} from ${min} to ${max}`);
}
