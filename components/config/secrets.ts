/** Which values of the configuration may be secret. */
import { existsSync, readFileSync } from "node:fs";

import { parse } from "yaml";

import { isMapping } from "../../lib/values";
import { configError } from "../schema";

/** The values that stay secret in resources, outputs and previews. Services' routes, labels and images are public. */
const hidden = /^(?:statsUser$|statsPassword$|services\[\d+\]\.(?:env\.|command\b|healthCheck\.))/;

/**
 * Rejects secrets whose values would be shown.
 *
 * @param keys the top-level keys that are secret or contain a secret
 * @param stackFile says which values inside a key are secret. Values from elsewhere are not checked below the top level.
 */
export function refuseShownSecrets(keys: readonly string[], project: string, stackFile: string): void {
  const config: unknown = existsSync(stackFile) ? parse(readFileSync(stackFile, "utf8")) : undefined;
  const values = isMapping(config) && isMapping(config["config"]) ? config["config"] : {};
  for (const key of keys) {
    const value = [`${project}:${key}`, `${project}:config:${key}`, key]
      .map((spelling) => values[spelling])
      .find((each) => each !== undefined);
    const encrypted =
      value === undefined ? [key === "services" ? "services[0].env." : key] : encryptedIn(value, key);
    const shown = encrypted.find((path) => !hidden.test(path));
    if (shown === undefined) continue;
    const cure =
      "set it without --secret; only statsUser, statsPassword, and env, command and healthCheck of a service can be secret";
    throw configError(shown, "is secret, but previews, outputs and routes show it", cure);
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
