/** Routes as HAProxy's maps hold them. Pure. */
import { routeKey } from "../../../../routing/build";
import { backendName } from "../../../../routing/grammar";
import type { Route, Routing, Target } from "../../../../routing/types";
import { compare } from "../../../../lib/text";
import { nowhere } from "./backend-profiles";
import type { RouteEntry, RouteTarget } from "./types";

/** The name of the backend that HAProxy has for a backend of the routing. */
export type At = (backend: string) => string;

type Split = Extract<RouteTarget, { kind: "split" }>;

/** The command that puts an entry into the map must fit HAProxy's buffer, so many shares are only counted. */
const mostShares = 10;

const sharesText = ({ shares }: Split): string =>
  shares.length > mostShares
    ? `${shares.length}-versions`
    : shares.map(({ service, share }) => `${service}=${share}`).join(",");

/** Where an entry leads, for people. */
export function describeTarget({ target, service }: RouteEntry): string {
  switch (target.kind) {
    case "nothing":
      return "nothing";
    case "backend":
      return service;
    case "split":
      return target.shares.length > mostShares
        ? sharesText(target)
        : target.shares.map((each) => `${each.share}% ${each.service}`).join(", ");
  }
}

/**
 * `kind|stripped|path|backend|service`, for the frontend and the profiles to take apart; `kind` is `v` and the route's host for a
 * route that stands for versions, else `-`. A split has its shares behind it, for whoever reads the log.
 */
function toText({ ofVersions, host, stripped, path, target, service }: Omit<RouteEntry, "text">): string {
  const kind = ofVersions ? `v${host}` : "-";
  const fields = (backend: string) => [kind, stripped, path, backend, service];
  switch (target.kind) {
    case "nothing":
      return fields(nowhere).join("|");
    case "backend":
      return fields(target.backend).join("|");
    case "split":
      return [...fields(target.group), sharesText(target)].join("|");
  }
}

/**
 * An entry that leads nowhere instead, if it leads to this backend of a service, `origin` in the routing: in a replaced worker,
 * whose entries are only known as texts.
 */
export function leadingNowhere(
  text: string,
  to: { readonly backend: string; readonly origin: string },
): string | undefined {
  const [kind, stripped, path, backend, service, ...rest] = text.split("|");
  if (backend !== to.backend || backendName(service ?? "") !== to.origin) return undefined;
  return [kind, stripped, path, nowhere, service, ...rest].join("|");
}

const entry = (fields: Omit<RouteEntry, "text">): RouteEntry => ({ ...fields, text: toText(fields) });

function toEntry(route: Route, at: At): RouteEntry {
  const { path, targets, versionsOf, host = "*" } = route;
  const strippedFor = (target: Target | undefined) =>
    target?.stripPrefix === true && path !== "/" ? path.length : 0;
  const [first] = targets;
  const whole = {
    ofVersions: versionsOf !== undefined,
    host,
    stripped: strippedFor(first),
    path,
    service: first?.service ?? versionsOf ?? "-",
  };
  if (first === undefined) return entry({ ...whole, target: { kind: "nothing" } });
  if (targets.length === 1)
    return entry({ ...whole, target: { kind: "backend", backend: at(first.backend) } });
  const slots = targets.flatMap((each) => {
    const target = { kind: "backend", backend: at(each.backend) } as const;
    const { service, share } = each;
    return Array<RouteEntry>(share).fill(
      entry({ ofVersions: false, host, stripped: strippedFor(each), path, target, service }),
    );
  });
  const group = `%${host}${path}`;
  return entry({ ...whole, target: { kind: "split", group, shares: targets, slots } });
}

interface Known {
  readonly key: string;
  readonly backends: readonly string[];
  readonly entry: RouteEntry;
}

/** A route that is still the same object and leads to the same backends looks as it did: 10,000 routes stay cheap. */
const entries = new WeakMap<Route, Known>();

export function routesMap({ routes }: Routing, at: At): Map<string, RouteEntry> {
  const map = new Map<string, RouteEntry>();
  for (const route of routes) {
    const { targets } = route;
    let found = entries.get(route);
    if (found?.backends.every((name, index) => name === at(targets[index]?.backend ?? "")) !== true) {
      const backends = targets.map(({ backend }) => at(backend));
      found = { key: routeKey(route), backends, entry: toEntry(route, at) };
      entries.set(route, found);
    }
    map.set(found.key, found.entry);
  }
  return map;
}

/** The slots of all splits among the entries. */
export function splitsMap(routes: ReadonlyMap<string, RouteEntry>): Map<string, RouteEntry> {
  const found: [string, RouteEntry][] = [];
  for (const { target } of routes.values())
    if (target.kind === "split")
      for (const [slot, each] of target.slots.entries()) found.push([`${target.group}/${slot}`, each]);
  return new Map(found.sort(([a], [b]) => compare(a, b)));
}
