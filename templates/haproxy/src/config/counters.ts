/**
 * Counters that outlive a reload: HAProxy dumps those of everything that has a GUID, and the new worker begins with them
 * (`stats-file`, since 3.0). What a worker counts after the dump, as it ends its last requests, is not passed on. Pure.
 */
import { createHash } from "node:crypto";
import { originOf } from "./backend-pool";
import type { Places, Rendered } from "./types";

export const countersFile = (dir: string): string => `${dir}/counters.stats`;

/** HAProxy takes no longer ones. */
const longestGuid = 127;

const guid = (text: string): string =>
  text.length <= longestGuid ? text : `long:${createHash("sha256").update(text).digest("hex")}`;

export const backendGuid = (backend: string): string => guid(backend);

/** A frontend may be called like a backend. */
export const frontendGuid = (frontend: string): string => guid(`fe:${frontend}`);

/** Outside spare backends no server's name has a `_`, so no two servers share one. */
export const serverGuid = (backend: string, server: string): string => guid(`srv:${backend}_${server}`);

/**
 * A dump in which the counters of services that live in spare backends are those of the backends that they get with the
 * reload. A spare one that nobody has begins anew.
 */
export function atHome(dump: string, running: Rendered, places: Places): string {
  const home = new Map<string, string>();
  for (const [origin, place] of places) home.set(backendGuid(place), backendGuid(origin));
  const spare = new Set(places.values());
  for (const { name, servers } of running.backends)
    if (spare.has(name))
      for (const { name: server } of servers) {
        const origin = originOf({ backend: name, server });
        home.set(serverGuid(name, server), serverGuid(origin.backend, origin.server));
      }
  return dump
    .split("\n")
    .flatMap((line) => {
      const end = line.indexOf(",");
      const known = home.get(line.slice(0, end));
      if (known !== undefined) return [known + line.slice(end)];
      return line.startsWith("spare:") || line.startsWith("srv:spare:") ? [] : [line];
    })
    .join("\n");
}
