/**
 * As much of a desired configuration as the running HAProxy can have before the reload that the rest waits for: new services
 * stay out, services with other options keep the old ones, and a route that should lead to a new service leads to where it
 * did before. Pure.
 */
import { splitsMap } from "../config/routes";
import {
  eachMap,
  optionMaps,
  type OptionMap,
  type Rendered,
  type RenderedBackend,
  type RouteEntry,
  type RouteTarget,
} from "../config/types";
import type { Actual, ActualBackend } from "../haproxy/types";

/** `before` is the configuration in force so far. */
export function withoutReload(actual: Actual, desired: Rendered, before: Rendered): Rendered {
  const routes = routesInForce(actual, desired, before);
  const splits = splitsMap(routes);
  const used = new Set(
    [...routes.values(), ...splits.values()].flatMap(({ target }) => backendOf(target) ?? []),
  );
  const possible = new Map<string, RenderedBackend>();
  for (const backend of desired.backends) {
    const old = actual.backends.get(backend.name);
    if (old !== undefined)
      possible.set(backend.name, { ...backend, head: old.head, servers: asTheyAre(backend.servers, old) });
  }
  // Services that are gone and still have routes.
  for (const backend of before.backends)
    if (used.has(backend.name) && possible.get(backend.name)?.service === undefined)
      possible.set(backend.name, backend);
  // What the old profile of a backend looks up has to stay as long as the backend has that profile.
  const wanted = serviceOf(desired);
  const gone = [...used].filter((name) => wanted.get(name) === undefined);
  const old = new Set([...gone, ...withNewProfile(actual, desired)]);
  const lookedUp = (map: OptionMap) =>
    new Map([
      ...[...desired.maps[map]].filter(([backend]) => !old.has(backend)),
      ...[...before.maps[map]].filter(([backend]) => old.has(backend)),
    ]);
  return {
    settings: desired.settings,
    pace: desired.pace,
    // HAProxy could not load a frontend whose backend is gone, should it have to start again.
    parts: actual.parts.filter(({ tcp }) => tcp === undefined || possible.has(tcp.backend)),
    backends: [...possible.values()],
    maps: {
      "routes.map": routes,
      "splits.map": splits,
      "flags.map": desired.maps["flags.map"],
      ...eachMap(optionMaps, lookedUp),
    },
  };
}

const backendOf = (target: RouteTarget): string | undefined =>
  target.kind === "backend" ? target.backend : undefined;

const serviceOf = ({ backends }: Rendered) => new Map(backends.map(({ name, service }) => [name, service]));

function routesInForce(actual: Actual, desired: Rendered, before: Rendered): Map<string, RouteEntry> {
  const has = (target: RouteTarget) => actual.backends.has(backendOf(target) ?? "");
  const [had, wanted] = [serviceOf(before), serviceOf(desired)];
  /** Whether a target of before still leads to the same service; a slot of the pool may have another one now. */
  const isThere = (target: RouteTarget): boolean => {
    if (target.kind === "split") return target.slots.every((each) => isThere(each.target));
    const name = backendOf(target);
    return has(target) && name !== undefined && [undefined, had.get(name)].includes(wanted.get(name));
  };
  const routes = new Map<string, RouteEntry>();
  for (const [key, entry] of desired.maps["routes.map"]) {
    const { target } = entry;
    const old = actual.maps["routes.map"].get(key);
    // A share that cannot be had yet goes to another one.
    const instead = target.kind === "split" ? target.slots.find((each) => has(each.target)) : undefined;
    if (target.kind === "split" && instead !== undefined) {
      const slots = target.slots.map((each) => (has(each.target) ? each : instead));
      routes.set(key, { ...entry, target: { ...target, slots } });
    } else if (target.kind === "nothing" || has(target)) routes.set(key, entry);
    else if (typeof old === "object" && isThere(old.target)) routes.set(key, old);
  }
  return routes;
}

const asTheyAre = (
  servers: RenderedBackend["servers"],
  { servers: had }: ActualBackend,
): RenderedBackend["servers"] =>
  servers.map((server) => ({ ...server, definition: had.get(server.name)?.definition ?? server.definition }));

const withNewProfile = (actual: Actual, desired: Rendered): string[] =>
  desired.backends.flatMap(({ name, head }) => {
    const old = actual.backends.get(name)?.head;
    return old === undefined || old === head ? [] : [name];
  });
