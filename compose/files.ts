/** The secrets and configs that a compose file declares. */
import { isMapping } from "../lib/values";
import type { Say } from "./fate";
import { isExternal } from "./networks";
import { notText, othersOf, textIn, textOf, type Files, type Mapping } from "./read";
import { step } from "./shown";
import { moved } from "./volumes";

/** A name that the schema takes for a secret, and a shell as it is. */
export const isName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$/;
/** A word of a shell. */
const quoted = (word: string): string =>
  /^[\w./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

function sayOthers(at: string, value: unknown, say: Say): void {
  for (const other of othersOf(value, ["file", "content", "environment", "external"]))
    say(`${at}.${other}`, "left out", "it has its name in the stack file, and no options");
}

interface Source extends Files {
  readonly folder: string;
  readonly secretCommand: (key: string) => string;
}

/** The contents of secrets to encrypt, by key in the stack file. Says what becomes of each. */
export function secretsOf(given: Mapping, source: Source, say: Say): Map<string, string> {
  const secrets = new Map<string, string>();
  for (const [name, secret] of Object.entries(given)) {
    const at = `secrets.${name}`;
    const key = `secrets${step(name)}`;
    const drop = (why: string) => say(at, "left out", why);
    sayOthers(at, secret, say);
    const file = isMapping(secret) ? textOf(secret["file"]) : "";
    const path = file === "" ? "FILE" : quoted(moved(file, source.folder));
    const content = file === "" ? undefined : textIn(file, source);
    if (!isName.test(name))
      drop("has a name that no secret can have: use letters, digits, dots, dashes and underscores");
    else if (content === notText)
      drop(`is not text in UTF-8, as secrets are: encrypt it in base64, which the program decodes: base64 ${path} | ${source.secretCommand(key)}`); // prettier-ignore
    else if (content === undefined || content === "")
      drop(`has no file to read it from; ${isExternal(secret) ? "unless the stack has it already, " : ""}encrypt it: ${source.secretCommand(key)} <${path}`); // prettier-ignore
    else {
      secrets.set(key, content);
      say(at, "kept", `${at}, encrypted`);
    }
  }
  return secrets;
}

/** The configs for the stack file. Says what becomes of each. */
export function configsOf(given: Mapping, folder: string, say: Say): Record<string, Mapping> {
  const configs: Record<string, Mapping> = {};
  for (const [name, config] of Object.entries(given)) {
    const at = `configs.${name}`;
    sayOthers(at, config, say);
    const { file, content } = isMapping(config) ? config : {};
    if (typeof file === "string") configs[name] = { file: moved(file, folder) };
    else if (typeof content === "string") configs[name] = { content };
    if (configs[name] === undefined)
      say(at, "left out", "has neither file nor content: write it into a file");
    else say(at, "kept", at);
  }
  return configs;
}
