/** Which services live in spare backends. Pure. */
import type { Routing } from "../../../model/routes";
import type { Actual } from "./plan";
import { renderBackend, spareHead, spareNames, type Places } from "./render";

/**
 * A service that the running HAProxy has no backend for gets a spare one if it is of the ordinary shape. Services stay
 * where they are, and a service that is gone gives its spare backend back.
 */
export function assignPlaces(routing: Routing, actual: Actual, before: Places): Map<string, string> {
  const places = new Map<string, string>();
  const homeless: string[] = [];
  for (const backend of routing.backends) {
    const place = before.get(backend.name);
    if (place === undefined && actual.backends.has(backend.name)) continue;
    if (renderBackend(backend, "x").head !== spareHead("x")) continue;
    if (place !== undefined) places.set(backend.name, place);
    else homeless.push(backend.name);
  }
  const taken = new Set(places.values());
  const busy = (name: string) => actual.backends.get(name)?.servers.size ?? 0;
  // Those without leaving servers first: they have the counters of nobody's last requests.
  const free = spareNames
    .filter((name) => actual.backends.has(name) && !taken.has(name))
    .sort((a, b) => busy(a) - busy(b));
  homeless.forEach((backend, index) => {
    const spare = free[index];
    if (spare !== undefined) places.set(backend, spare);
  });
  return places;
}
