/**
 * From what the running HAProxy has to what it should have: operations that it takes while running, or, where none
 * exists, a reload with its reasons. A backend that has lost its service stays, empty and without a route, until the next
 * reload, so that a service that comes back needs none. The
 * port of a TCP service that is gone stays as well, unless another service wants it.
 */
import { nowhere, spareBackends } from "../config/backend-profiles";
import {
  eachMap,
  mapNames,
  optionMaps,
  type MapName,
  type Maps,
  type Part,
  type Rendered,
  type RenderedBackend,
} from "../config/types";
import type { Actual, ActualBackend, ActualServer, Operation } from "../haproxy/types";

export type Plan =
  | { readonly kind: "nothing" }
  | { readonly kind: "operations"; readonly operations: readonly Operation[] }
  | { readonly kind: "reload"; readonly reasons: readonly string[] };

export function plan(actual: Actual, desired: Rendered): Plan {
  const reasons = reloadReasons(actual, desired);
  if (reasons.length > 0) return { kind: "reload", reasons };
  // What is looked up about backends before their servers, servers before the routes that lead to them, and
  // routes away before the servers they led to.
  const operations = [
    ...optionMaps.flatMap((map) => mapAdditions(map, actual, desired)),
    ...arrivals(actual, desired),
    ...mapAdditions("splits.map", actual, desired),
    ...mapAdditions("routes.map", actual, desired),
    ...mapRemovals("routes.map", actual, desired),
    ...mapRemovals("splits.map", actual, desired),
    ...departures(actual, desired),
    ...optionMaps.flatMap((map) => mapRemovals(map, actual, desired)),
  ];
  return operations.length === 0 ? { kind: "nothing" } : { kind: "operations", operations };
}

export interface TcpFrontend {
  readonly port: number;
  readonly backend: string;
}

function tcpFrontend({ text }: Part): TcpFrontend | undefined {
  const [, port, backend] = /^frontend tcp:(\d+) [^]*^ {2}default_backend (\S+)$/m.exec(text) ?? [];
  return port === undefined || backend === undefined ? undefined : { port: Number(port), backend };
}

export const tcpFrontends = (parts: readonly Part[]): TcpFrontend[] =>
  parts.flatMap((part) => tcpFrontend(part) ?? []);

function reloadReasons(actual: Actual, desired: Rendered): string[] {
  const before = new Map(actual.parts.map(({ name, text }) => [name, text]));
  const after = new Map(desired.parts.map(({ name, text }) => [name, text]));
  return [
    ...[...after].flatMap(([name, text]) => {
      const old = before.get(name);
      if (old === undefined) return [`${name} is new`];
      return old === text ? [] : [`${name} changed (${difference(old, text)})`];
    }),
    ...actual.parts
      .filter((part) => !after.has(part.name) && tcpFrontend(part) === undefined)
      .map(({ name }) => `${name} is gone`),
    ...desired.backends.flatMap((backend) => {
      const reason = reasonFor(backend, actual.backends.get(backend.name));
      return reason === undefined ? [] : [reason];
    }),
  ];
}

function reasonFor(
  { service, head, shape, servers }: RenderedBackend,
  old: ActualBackend | undefined,
): string | undefined {
  if (old === undefined) {
    if (service === undefined) return "the pool of spare backends is new";
    const spare = spareBackends.some((each) => each.shape === shape);
    return `service ${service} is new and ${spare ? "all spare backends are taken" : "has options of its own"}`;
  }
  if (old.head !== head) return `service ${service ?? ""} has other options (${difference(old.head, head)})`;
  for (const { name, definition } of servers) {
    const had = old.servers.get(name)?.definition;
    if (had !== undefined && had !== definition)
      return `service ${service ?? ""} has other options (${difference(had, definition, " ")})`;
  }
  return undefined;
}

/** The first lines or words that differ, which is all that a person needs to recognise the change. */
function difference(old: string, text: string, separator = "\n"): string {
  const before = new Set(old.split(separator));
  const after = new Set(text.split(separator));
  const gone = [...before].filter((line) => !after.has(line)).map((line) => line.trim());
  const come = [...after].filter((line) => !before.has(line)).map((line) => line.trim());
  return `${gone[0] ?? "nothing"} -> ${come[0] ?? "nothing"}`;
}

// These go through all that there is for each change, so they make nothing for what has not changed.

function arrivals(actual: Actual, desired: Rendered): Operation[] {
  const operations: Operation[] = [];
  const { pace } = desired;
  for (const { name: backend, servers } of desired.backends) {
    const had = actual.backends.get(backend)?.servers;
    for (const { name: server, weight, definition } of servers) {
      const known = had?.get(server);
      if (known === undefined) operations.push({ kind: "add", backend, server, weight, definition, pace });
      else if (known.leaving) operations.push({ kind: "return", backend, server, weight });
      else if (known.weight !== weight) operations.push({ kind: "weight", backend, server, weight });
    }
  }
  return operations;
}

function departures(actual: Actual, desired: Rendered): Operation[] {
  const wanted = new Map<string, RenderedBackend>();
  for (const backend of desired.backends) wanted.set(backend.name, backend);
  const operations: Operation[] = [];
  for (const [backend, { servers }] of actual.backends) {
    const wantedServers = wanted.get(backend)?.servers ?? [];
    if (wantedServers.length === servers.size && wantedServers.every(({ name }) => servers.has(name)))
      continue;
    const names = new Set(wantedServers.map(({ name }) => name));
    for (const [server, { leaving }] of servers)
      if (!leaving && !names.has(server)) operations.push({ kind: "leave", backend, server });
  }
  return operations;
}

function mapAdditions(map: MapName, actual: Actual, desired: Rendered): Operation[] {
  const before = actual.maps[map];
  const operations: Operation[] = [];
  for (const [key, value] of desired.maps[map]) {
    const old = before.get(key);
    if (old !== value)
      operations.push({ kind: "map", change: old === undefined ? "add" : "set", map, key, value });
  }
  return operations;
}

function mapRemovals(map: MapName, actual: Actual, desired: Rendered): Operation[] {
  const operations: Operation[] = [];
  for (const key of actual.maps[map].keys())
    if (!desired.maps[map].has(key)) operations.push({ kind: "unmap", map, key });
  return operations;
}

/**
 * As much of `desired` as the running HAProxy can have without the reload that it needs: new services stay out, those with
 * other options keep the old ones, and a route that is to lead to a new service leads to where it did, as `before` has it.
 */
export function postponed(actual: Actual, desired: Rendered, before: Rendered): Rendered {
  const routes = postponedRoutes(actual, desired, before, (name) => actual.backends.has(name));
  const staying = new Set(
    [...routes["routes.map"].values(), ...routes["splits.map"].values()].map(backendOf),
  );
  const possible = new Map<string, RenderedBackend>();
  for (const backend of desired.backends) {
    const old = actual.backends.get(backend.name);
    if (old !== undefined)
      possible.set(backend.name, { ...backend, head: old.head, servers: asTheyAre(backend.servers, old) });
  }
  // Services that are gone, and have routes all the same.
  for (const backend of before.backends)
    if (staying.has(backend.name) && possible.get(backend.name)?.service === undefined)
      possible.set(backend.name, backend);
  // What the old shape of a backend looks up has to be there as long as it has it.
  const wanted = serviceOf(desired);
  const gone = [...staying].filter((name) => wanted.get(name) === undefined);
  const old = new Set([...gone, ...reshaped(actual, desired)]);
  const looked = (map: MapName) =>
    new Map([
      ...[...desired.maps[map]].filter(([backend]) => !old.has(backend)),
      ...[...actual.maps[map]].filter(([backend]) => old.has(backend)),
    ]);
  return {
    settings: desired.settings,
    pace: desired.pace,
    // A frontend whose backend is gone could not be loaded again, should HAProxy end.
    parts: actual.parts.filter((part) => {
      const frontend = tcpFrontend(part);
      return frontend === undefined || possible.has(frontend.backend);
    }),
    backends: [...possible.values()],
    maps: { ...eachMap(looked), ...routes },
  };
}

const serviceOf = ({ backends }: Rendered) => new Map(backends.map(({ name, service }) => [name, service]));

/** `has` tells whether HAProxy has a backend. */
function postponedRoutes(
  actual: Actual,
  desired: Rendered,
  before: Rendered,
  has: (backend: string) => boolean,
): Pick<Maps, "routes.map" | "splits.map"> {
  const [had, wanted] = [serviceOf(before), serviceOf(desired)];
  /** Not where a spare backend has gone to another service. */
  const isThere = (value: string) => {
    const name = backendOf(value);
    return has(name) && [undefined, had.get(name)].includes(wanted.get(name));
  };
  const shares = actual.maps["splits.map"];
  const splits = new Map<string, string>();
  /** Of those that share requests, one that can have them. */
  const instead = new Map<string, string>();
  for (const [key, value] of desired.maps["splits.map"])
    if (has(backendOf(value)) && !instead.has(groupOf(key))) instead.set(groupOf(key), value);
  for (const [key, value] of desired.maps["splits.map"]) {
    const found = has(backendOf(value)) ? value : instead.get(groupOf(key));
    if (found !== undefined) splits.set(key, found);
  }
  const routes = new Map<string, string>();
  for (const [key, value] of desired.maps["routes.map"]) {
    const backend = backendOf(value);
    const old = actual.maps["routes.map"].get(key);
    if (backend === nowhere || has(backend) || instead.has(backend)) routes.set(key, value);
    else if (old !== undefined && isThere(old)) routes.set(key, old);
    else if (old !== undefined && backendOf(old).startsWith("%")) {
      const slots = [...shares].filter(([slot]) => groupOf(slot) === backendOf(old));
      if (!slots.every(([, each]) => isThere(each))) continue;
      routes.set(key, old);
      for (const [slot, each] of slots) splits.set(slot, each);
    }
  }
  return { "routes.map": routes, "splits.map": splits };
}

/** Of a slot, the group that it belongs to. */
const groupOf = (slot: string): string => slot.slice(0, slot.lastIndexOf("/"));

const asTheyAre = (
  servers: RenderedBackend["servers"],
  { servers: had }: ActualBackend,
): RenderedBackend["servers"] =>
  servers.map((server) => ({ ...server, definition: had.get(server.name)?.definition ?? server.definition }));

const reshaped = (actual: Actual, desired: Rendered): string[] =>
  desired.backends.flatMap(({ name, head }) => {
    const old = actual.backends.get(name)?.head;
    return old === undefined || old === head ? [] : [name];
  });

const backendOf = (value: string): string => value.split("|")[3] ?? "";

/** What HAProxy has right after it has loaded a configuration. */
export function loaded(rendered: Rendered): Actual {
  return {
    parts: rendered.parts,
    maps: rendered.maps,
    backends: new Map(
      rendered.backends.map(({ name, head, servers }) => [
        name,
        {
          head,
          servers: new Map(
            servers.map((s) => [s.name, { weight: s.weight, leaving: false, definition: s.definition }]),
          ),
        },
      ]),
    ),
  };
}

/** What HAProxy has after operations that all succeeded. */
export function applied(actual: Actual, operations: readonly Operation[]): Actual {
  const backends = new Map(actual.backends);
  const maps = new Map<MapName, Map<string, string>>();
  const changed = (name: MapName) => {
    const copy = maps.get(name) ?? new Map(actual.maps[name]);
    maps.set(name, copy);
    return copy;
  };
  for (const operation of operations) {
    if (operation.kind === "map") changed(operation.map).set(operation.key, operation.value);
    else if (operation.kind === "unmap") changed(operation.map).delete(operation.key);
    else {
      const backend = backends.get(operation.backend);
      if (backend === undefined) continue;
      const servers = new Map(backend.servers);
      servers.set(operation.server, after(operation, servers.get(operation.server)));
      backends.set(operation.backend, { head: backend.head, servers });
    }
  }
  return {
    parts: actual.parts,
    backends,
    maps: eachMap((name) => maps.get(name) ?? actual.maps[name]),
  };
}

function after(
  operation: Extract<Operation, { server: string }>,
  known: ActualServer | undefined,
): ActualServer {
  const { kind } = operation;
  return {
    weight: kind === "leave" ? (known?.weight ?? 0) : operation.weight,
    leaving: kind === "leave",
    definition: kind === "add" ? operation.definition : known?.definition,
  };
}

/** Whether servers and routes are the same, which they are unless somebody else has changed the running HAProxy. */
export function isSame(a: Actual, b: Actual): boolean {
  const count = ({ backends }: Actual) =>
    [...backends.values()].reduce((sum, { servers }) => sum + servers.size, 0);
  const servers = [...a.backends].every(([backend, { servers }]) => {
    const others = b.backends.get(backend)?.servers;
    return [...servers].every(([name, { weight, leaving }]) => {
      const other = others?.get(name);
      return other?.leaving === leaving && (leaving || other.weight === weight);
    });
  });
  const maps = mapNames.every((name) => {
    const [one, other] = [a.maps[name], b.maps[name]];
    return one.size === other.size && [...one].every(([key, value]) => other.get(key) === value);
  });
  return servers && maps && count(a) === count(b);
}
