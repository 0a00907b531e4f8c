/** What is true of the load balancer as a whole, and which services sleep, in a map, because it changes while HAProxy runs. Pure. */

/** `ready`: a routing from Consul has been in force. */
type Flag = "ready";

/** The condition that a flag is set. */
export const hasFlag = (flag: Flag, dir: string): string =>
  `{ str(${flag}),map_str(${dir}/flags.map) -m found }`;

/** The key of a service that sleeps. Its value says whether it redirects requests that lack the slash after its prefix. */
export const asleepFlag = (service: string): string => `asleep:${service}`;

/** The service in such a key. */
export const asleepIn = (key: string): string | undefined => /^asleep:(.+)$/.exec(key)?.[1];

/** The services that sleep, with whether they redirect. */
export function flagsMap(
  ready: boolean,
  asleep: ReadonlyMap<string, boolean> = new Map(),
): Map<string, string> {
  const flags = new Map(ready ? [["ready", "1"]] : []);
  for (const [service, redirects] of asleep)
    flags.set(asleepFlag(service), redirects ? "redirects" : "waits");
  return flags;
}
