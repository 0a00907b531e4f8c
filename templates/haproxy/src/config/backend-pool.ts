/** Which services use backends of the pool, and the names of their servers there. Pure. */
import type { Backend, Routing } from "../../../../routing/types";
import { profileOf, poolBackends } from "./backend-profiles";
import type { Slots } from "./types";

/** The backends of the running HAProxy, with as much of their servers as matters here. */
interface Running {
  readonly backends: ReadonlyMap<string, { readonly servers: { readonly size: number } }>;
}

/**
 * A service that the running HAProxy has no backend for gets a free slot of its profile. A service keeps its slot until the
 * next reload, even if it now wants another profile, which takes a reload. A service that is gone gives its slot back, and
 * another one gets it once its last server is deleted: a request that waits to be tried again is sent to any server of its
 * backend.
 */
export function assignSlots(routing: Routing, running: Running, before: Slots): Map<string, string> {
  const slots = new Map<string, string>();
  const waiting: { readonly name: string; readonly profile: string | undefined }[] = [];
  for (const { name, options } of routing.backends) {
    const slot = before.get(name);
    if (options.kind !== "http" || (slot === undefined && running.backends.has(name))) continue;
    if (slot === undefined) waiting.push({ name, profile: profileOf(options) });
    else slots.set(name, slot);
  }
  if (waiting.length === 0) return slots;
  const taken = new Set(slots.values());
  const free = poolBackends.filter(
    ({ name }) => !taken.has(name) && running.backends.get(name)?.servers.size === 0,
  );
  for (const { name, profile } of waiting) {
    const index = free.findIndex((slot) => slot.profile === profile);
    const [slot] = index < 0 ? [] : free.splice(index, 1);
    if (slot !== undefined) slots.set(name, slot.name);
  }
  return slots;
}

/**
 * The name of a server of `backend`, which HAProxy calls `at`. The name of a slot says nothing, so there the server's name
 * shows the service: `shop:v1::10.0.0.1:8080`.
 */
export const serverAt = ({ name, service }: Backend, at: string, server: string): string =>
  at === name ? server : `${service.replaceAll("/", ":")}::${server}`;

/** The backend and the server in the routing that HAProxy calls so, the reverse of `serverAt`. */
export function originAt(backend: string, server: string): { backend: string; server: string } {
  const [, service, rest] = /^(.+?)::(.+)$/.exec(server) ?? [];
  const isSlot = poolBackends.some(({ name }) => name === backend);
  return isSlot && service !== undefined && rest !== undefined
    ? { backend: `svc:${service}`, server: rest }
    : { backend, server };
}
