/** What of a compose file may be shown: all texts but those that hold a secret. Pure. */
import { given, isMapping } from "../lib/values";
import type { Hidden } from "./hidden";
import type { Mapping } from "./read";

/** A name as a step of the path of a key. */
export const step = (name: string): string => (name.includes(".") ? `["${name}"]` : `.${name}`);

/** Why a key is left out. */
export const shown = "holds a secret, which the stack file would show";
/** The cure. */
export const inEnv = "write it without, and pass the secret in env or command";

/**
 * The compose file without the texts that would show a secret in the stack file.
 *
 * @param handled keys of services to leave as they are, beside args of build and test of healthcheck
 */
export function withoutSecrets(
  compose: Mapping,
  { hidden, secretCommand }: { readonly hidden: Hidden; readonly secretCommand: (key: string) => string },
  handled: readonly string[],
  drop: (key: string, why: string) => unknown,
): Mapping {
  const pruned = (value: unknown, at: string, cure: string) =>
    hidden.without(value, at, (key) => drop(key, `${shown}: ${cure}`));
  const ofService = (value: unknown, key: string, at: string): unknown => {
    if (handled.includes(key)) return value;
    if (!isMapping(value) || (key !== "build" && key !== "healthcheck")) return pruned(value, at, inEnv);
    const { args, test, ...rest } = value;
    // Without its context, a build would be one of another folder.
    if (pruned(rest["context"], `${at}.context`, inEnv) !== rest["context"]) return undefined;
    return { ...(pruned(rest, at, inEnv) as Mapping | undefined), ...given({ args, test }) };
  };
  return mapped(compose, (value, key) => {
    if (key === "services" && isMapping(value))
      return mapped(value, (service, name) => {
        const at = `services.${name}`;
        return isMapping(service)
          ? mapped(service, (each, of) => ofService(each, of, `${at}.${of}`))
          : service;
      });
    if (key === "configs" && isMapping(value))
      return mapped(value, (config, name) => {
        const encrypt = secretCommand(`secrets${step(name)}`);
        const cure = `encrypt the file as a secret, ${encrypt} <FILE, and list it in secrets of its services in place of configs`;
        return pruned(config, `configs.${name}`, cure);
      });
    return ["volumes", "networks", "name"].includes(key)
      ? pruned(value, key, "write it without the secret")
      : value;
  });
}

/** A mapping with other values, without those that are undefined. */
const mapped = (value: Mapping, by: (item: unknown, key: string) => unknown): Mapping =>
  given(Object.fromEntries(Object.entries(value).map(([key, item]) => [key, by(item, key)])));
