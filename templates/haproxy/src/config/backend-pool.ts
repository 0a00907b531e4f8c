/** Which services live in spare backends, and what they are called there. Pure. */
import type { Routing } from "../../../../routing/build";
import { shapeOf, spareBackends } from "./backend-profiles";
import type { Places } from "./types";

/** The backends of the running HAProxy, with as much of their servers as matters here. */
interface Running {
  readonly backends: ReadonlyMap<string, { readonly servers: { readonly size: number } }>;
}

/**
 * A service that the running HAProxy has no backend for gets a spare one of its shape. Services stay where they are until the
 * next reload, also those that want another shape, which takes one; a service that is gone gives its spare backend back.
 */
export function assignPlaces(routing: Routing, actual: Running, before: Places): Map<string, string> {
  const places = new Map<string, string>();
  const homeless: { readonly name: string; readonly shape: string | undefined }[] = [];
  for (const { name, options } of routing.backends) {
    const place = before.get(name);
    if (options.kind !== "http" || (place === undefined && actual.backends.has(name))) continue;
    if (place === undefined) homeless.push({ name, shape: shapeOf(options) });
    else places.set(name, place);
  }
  const taken = new Set(places.values());
  const busy = (name: string) => actual.backends.get(name)?.servers.size ?? 0;
  // Those without leaving servers first: they have the counters of nobody's last requests.
  const free = spareBackends
    .filter(({ name }) => actual.backends.has(name) && !taken.has(name))
    .sort((a, b) => busy(a.name) - busy(b.name));
  for (const { name, shape } of homeless) {
    const index = free.findIndex((spare) => spare.shape === shape);
    const [spare] = index < 0 ? [] : free.splice(index, 1);
    if (spare !== undefined) places.set(name, spare.name);
  }
  return places;
}

const service = "svc:";

/** In a spare backend, which says nothing, a server's name says whose it is: `shop:v1::10.0.0.1:8080`. */
export const serverAt = (backend: string, place: string, server: string): string =>
  place === backend ? server : `${backend.slice(service.length)}::${server}`;

interface Place {
  readonly backend: string;
  readonly server: string;
}

/** Backend and server by the names that they have in the routing, wherever they live. */
export function originOf({ backend, server }: Place): Place {
  const end = backend.startsWith("spare:") ? server.indexOf("::") : -1;
  return end < 0
    ? { backend, server }
    : { backend: service + server.slice(0, end), server: server.slice(end + 2) };
}
