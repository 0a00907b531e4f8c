/** Keeps the secrets of a compose file out of what an import writes and prints. Pure. */
import { isMapping } from "../lib/values";

/** Names of secrets. A false positive is merely encrypted, or left out of a build argument or an entry point with a note. */
const secretNames = [
  /PASS(WORD|WD|PHRASE)|SECRET|TOKEN|CRED(S|ENTIAL)|JWT|(API|ACCESS|PRIVATE)_?KEY/i,
  /(PASS|SALT)\d*(_|$)/i,
  // PWD and OLDPWD are folders.
  /(?<!^|^OLD)PWDS?\d*(_|$)/i,
  /(_AUTH|_PAT|COOKIE)$/i,
  // KEY, KEYS_V2, KEY_BASE64. Public keys are public.
  /(?<!PUBLI(C|SHABLE)_?)KEYS?(_?(V|B|BASE)?\d+)?$/i,
];
/** Names of variables that hold the path of a secret. */
const placeName = /_(FILE|DIR|PATH)$/i;
/** A URL, a list such as `Server=db;Password=x`, or `me:x@tcp(db:3306)/x`. */
const withPassword =
  /:\/\/[^\s/@:]*:[^\s@]+@|(?:^|[^a-z])(?:password|passwd|pwd)=[^\s;&$]|^[^\s:@/]+:[^\s@]+@(?:tcp|unix)\(/i;

/** Whether a variable is secret, judging by its name, or by a password in its value. */
export const isSecret = ([name, value]: readonly [string, string]): boolean =>
  value !== "" &&
  ((secretNames.some((each) => each.test(name)) && !placeName.test(name)) || withPassword.test(value));

/** Secrets, and the marks that stand for them in texts until these are encrypted. What forgets a mark writes no secret. */
export class Hidden {
  readonly #found: { readonly name: string; readonly value: string }[] = [];

  /** The value of a variable, or a mark in place of it. */
  of(name: string, value: string): string {
    if (!isSecret([name, this.reveal(value)])) return value;
    this.#found.push({ name, value: this.reveal(value) });
    return `\uE000${this.#found.length - 1}\uE001`;
  }

  /** Whether a text holds a secret. */
  isIn(text: string): boolean {
    return this.reveal(text) !== text || withPassword.test(text);
  }

  /** Whether a variable holds a secret, be it in its name. */
  isVariable(variable: readonly [string, string]): boolean {
    return isSecret(variable) || variable.some((text) => this.isIn(text));
  }

  /** The text with the secrets themselves: to be encrypted, or to find a file. */
  reveal(text: string): string {
    return this.#replaced(text, ({ value }) => value);
  }

  /** The text with the names of variables in place of their values. */
  named(text: string): string {
    return this.#replaced(text, ({ name }) => `\${${name}}`);
  }

  #replaced(text: string, by: (secret: { name: string; value: string }) => string): string {
    return text.replace(/\uE000(\d+)\uE001/g, (mark, index: string) => {
      const secret = this.#found[Number(index)];
      return secret === undefined ? mark : by(secret);
    });
  }

  /**
   * A value without the texts that hold a secret, and without what is empty without them.
   *
   * @param at its key
   * @param onLoss is called with the key of each such text
   */
  without(value: unknown, at: string, onLoss: (key: string) => unknown): unknown {
    if (typeof value === "string") {
      if (!this.isIn(value)) return value;
      onLoss(at);
      return undefined;
    }
    const isKept = (item: unknown) => item !== undefined;
    if (Array.isArray(value)) {
      const kept = value.map((item, index) => this.without(item, `${at}[${index}]`, onLoss)).filter(isKept);
      return kept.length === 0 && value.length > 0 ? undefined : kept;
    }
    if (!isMapping(value)) return value;
    const entries = Object.entries(value).map(([key, item]) => [key, this.without(item, `${at}.${key}`, onLoss)] as const); // prettier-ignore
    const kept = entries.filter(([, item]) => isKept(item));
    return kept.length === 0 && entries.length > 0 ? undefined : Object.fromEntries(kept);
  }
}
