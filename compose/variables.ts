/** Variables in a compose file and in files such as `.env`, by Compose's rules. Pure. */
import { UserError } from "../lib/errors";
import type { Hidden } from "./hidden";

export type Variables = Readonly<Record<string, string | undefined>>;

/** What variables are replaced by. */
export interface Scope {
  readonly env: Variables;
  /** Takes the values of variables that are secrets; the texts have marks in place of them. */
  readonly hidden: Hidden;
  /** Collects the names of unset variables, whose value is empty. */
  readonly unset: Set<string>;
}

/** The value of a variable; undefined if it is not set. */
export const valueOf = (name: string, env: Variables): string | undefined =>
  Object.hasOwn(env, name) ? env[name] : undefined;

/** The text in braces, which may contain further braces up to four levels deep. */
const inner = [1, 2, 3, 4].reduce((deeper) => `(?:[^{}]|\\{${deeper}\\})*`, "[^{}]*");
const variable = new RegExp(`\\$(?:(\\$)|(\\w+)|\\{(\\w+)(?:(:?[-?+])(${inner}))?\\})`, "g");

/** `$VAR`, `${VAR}`, and `:-`, `-`, `:?`, `?`, `:+`, `+` with what follows them; `$$` is a dollar. */
export function interpolate(text: string, scope: Scope): string {
  const { env, hidden, unset } = scope;
  return text.replace(variable, (...match: (string | undefined)[]) => {
    const [, dollar, plain, braced = "", operator = "", other = ""] = match;
    if (dollar !== undefined) return "$";
    const name = plain ?? braced;
    const value = valueOf(name, env);
    const isGiven = value !== undefined && !(operator.startsWith(":") && value === "");
    if (operator.endsWith("+")) return isGiven ? interpolate(other, scope) : "";
    if (isGiven) return hidden.of(name, value);
    if (operator.endsWith("-")) return hidden.of(name, interpolate(other, scope));
    if (operator.endsWith("?"))
      throw new UserError(
        `The variable ${name} is not set (${other}): set it in .env, or before the command.`,
      );
    unset.add(name);
    return "";
  });
}

const escapes: Readonly<Record<string, string>> = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v", $: "$$" }; // prettier-ignore

/** The text between double quotes, with its escapes; `\$` is no variable. */
const unescaped = (text: string): string =>
  text.replace(/\\([abfnrtv"\\$])/g, (_, letter: string) => escapes[letter] ?? letter);

/** One line of such a file, or a quoted value of several lines: `A`, `A=x # comment`, `A: "x"`, a comment, nothing. */
const line = new RegExp(
  String.raw`[^\S\n]*(?:(?:export[^\S\n]+)?([A-Za-z_][\w.-]*)[^\S\n]*(?:[=:](?:${[
    String.raw`[^\S\n]*"((?:[^"\\]|\\.)*)"[^\S\n]*`,
    String.raw`[^\S\n]*'((?:[^'\\]|\\.)*)'[^\S\n]*`,
    String.raw`((?![^\S\n]*["'])[^\n]*)`,
  ].join("|")}))?)?(?:#[^\n]*)?(?:\n|$)`,
  "sy",
);

/** What to do about a variable without a value. */
export const setIt = "set it in .env, and import again";
export const notSet = `is not set: ${setIt}`;

/** The message for a line that is not a variable. It must not contain the line, which may hold a secret. */
export const noVariable = (line: number): string => `line ${line} is no variable: write NAME=value`;

/**
 * The variables of a file such as `.env`.
 *
 * @param onMistake is called with the number of each line that is not a variable
 */
export function readVariables(
  text: string,
  scope: Scope,
  onMistake: (line: number) => unknown,
): Record<string, string> {
  const found = new Map<string, string>();
  const filled = (value: string) =>
    interpolate(value, { ...scope, env: { ...Object.fromEntries(found), ...scope.env } });
  let at = 0;
  while (at < text.length) {
    line.lastIndex = at;
    const match = line.exec(text);
    if (match === null) {
      onMistake(text.slice(0, at).split("\n").length);
      const end = text.indexOf("\n", at);
      at = end === -1 ? text.length : end + 1;
      continue;
    }
    at = line.lastIndex;
    const [, name, double, single, plain] = match;
    if (name === undefined) continue;
    const given = valueOf(name, scope.env);
    if (double !== undefined) found.set(name, filled(unescaped(double)));
    else if (single !== undefined) found.set(name, single.replaceAll("\\'", "'"));
    else if (plain !== undefined) found.set(name, filled(plain.replace(/\s#.*$/, "").trim()));
    else if (given !== undefined) found.set(name, given);
    else scope.unset.add(name);
  }
  return Object.fromEntries(found);
}
