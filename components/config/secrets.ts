/** Which values of the configuration may be secret. */
import { existsSync, readFileSync } from "node:fs";

import { parse } from "yaml";

import { isMapping } from "../../lib/values";
import { configError } from "../schema";

/** The values that stay secret in resources, outputs and previews. Services' routes, labels and images are public. */
const hidden =
  /^(?:(?:secrets|registries)(?:\.|$)|statsUser$|statsPassword$|services\[\d+\]\.(?:env\.|command\b|healthCheck\.))/;

/**
 * Rejects secrets whose values would be shown.
 *
 * @param keys the top-level keys that are secret or contain a secret
 * @param stackFile says which values inside a key are secret. Values from elsewhere are not checked below the top level.
 */
export function refuseShownSecrets(keys: readonly string[], project: string, stackFile: string): void {
  for (const key of keys) {
    const value = valueIn(stackFile, project, key);
    const encrypted =
      value === undefined ? [key === "services" ? "services[0].env." : key] : encryptedIn(value, key);
    const shown = encrypted.find((path) => !hidden.test(path));
    if (shown === undefined) continue;
    const cure =
      "set it without --secret; only statsUser, statsPassword, secrets, registries, and env, command and healthCheck of a service can be secret";
    throw configError(shown, "is secret, but previews, outputs and routes show it", cure);
  }
}

/** The value of a top-level key in a stack file, encrypted or not. */
function valueIn(stackFile: string, project: string, key: string): unknown {
  const config: unknown = existsSync(stackFile) ? parse(readFileSync(stackFile, "utf8")) : undefined;
  const values = isMapping(config) && isMapping(config["config"]) ? config["config"] : {};
  return [`${project}:${key}`, `${project}:config:${key}`, key]
    .map((spelling) => values[spelling])
    .find((each) => each !== undefined);
}

/** The cure for a secret of the stack that is missing or in plain text. */
export const encryptWith = (name: string): string => `script/secret secrets.${name}`;

/** Rejects secrets of the stack that its file has in plain text. Values from elsewhere are not checked. */
export function requireEncrypted(project: string, stackFile: string): void {
  const secrets = valueIn(stackFile, project, "secrets");
  const plain = Object.entries(isMapping(secrets) ? secrets : {}).find(
    ([name, value]) => typeof value === "string" && name !== "secure",
  );
  if (plain !== undefined)
    throw configError(`secrets.${plain[0]}`, `is in plain text in ${stackFile}`, encryptWith(plain[0]));
  const registries = valueIn(stackFile, project, "registries");
  for (const [host, login] of Object.entries(isMapping(registries) ? registries : {})) {
    if (!isMapping(login) || typeof login["password"] !== "string") continue;
    const cure = `script/secret 'registries["${host}"].password'`;
    throw configError(`registries.${host}.password`, `is in plain text in ${stackFile}`, cure);
  }
}

/** The keys of the encrypted values in a value of a stack file: `services[1].env.TOKEN`. */
export function encryptedIn(value: unknown, key: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => encryptedIn(item, `${key}[${index}]`));
  if (!isMapping(value)) return [];
  const entries = Object.entries(value);
  if (entries.length === 1 && typeof value["secure"] === "string") return [key];
  return entries.flatMap(([name, item]) => encryptedIn(item, `${key}.${name}`));
}
