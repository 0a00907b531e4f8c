/**
 * Counters that survive a reload: HAProxy dumps those of everything that has a GUID, and the new worker starts from them
 * (`stats-file`, since 3.0). What the old worker counts after the dump, while it ends its last requests, is lost. Pure.
 */
import { createHash } from "node:crypto";
import type { Rendered, Slots } from "./types";

export const countersFile = (dir: string): string => `${dir}/counters.stats`;

/** HAProxy's limit. */
const longestGuid = 127;

const guid = (text: string): string =>
  text.length <= longestGuid ? text : `long:${createHash("sha256").update(text).digest("hex")}`;

export const backendGuid = (backend: string): string => guid(backend);

/** With a prefix, because a frontend and a backend may have the same name. */
export const frontendGuid = (frontend: string): string => guid(`fe:${frontend}`);

/** No server's name outside the pool has a `_`, so no two servers share a GUID. */
export const serverGuid = (backend: string, server: string): string => guid(`srv:${backend}_${server}`);

/**
 * The dump for the new worker, in which every service has a backend of its own name again: the counters of a slot become
 * those of its service. Slots without a service, and servers that have left one, start from zero.
 */
export function countersAfterReload(dump: string, running: Rendered, slots: Slots): string {
  const renamed = new Map<string, string>();
  for (const [backend, slot] of slots) renamed.set(backendGuid(slot), backendGuid(backend));
  const taken = new Set(slots.values());
  for (const { name, servers } of running.backends)
    if (taken.has(name))
      for (const { name: server, origin } of servers)
        renamed.set(serverGuid(name, server), serverGuid(origin.backend, origin.server));
  return dump
    .split("\n")
    .flatMap((line) => {
      const end = line.indexOf(",");
      const known = renamed.get(line.slice(0, end));
      if (known !== undefined) return [known + line.slice(end)];
      return line.startsWith("spare:") || line.startsWith("srv:spare:") ? [] : [line];
    })
    .join("\n");
}
