/**
 * From what the running HAProxy has to what it should have: operations that it takes while running, or, where none
 * exists, a reload with its reasons. A backend that has lost its service stays, empty and without a route, until the next
 * reload, so that a service that comes back needs none.
 */
import { nowhere, spareHead, type MapName, type Part, type Rendered, type RenderedBackend } from "./render";

export interface ActualServer {
  readonly weight: number;
  /** It takes no more requests and goes when its last connection has. */
  readonly leaving: boolean;
}

export interface ActualBackend {
  readonly head: string;
  readonly servers: ReadonlyMap<string, ActualServer>;
}

export interface Actual {
  readonly parts: readonly Part[];
  readonly backends: ReadonlyMap<string, ActualBackend>;
  readonly maps: Readonly<Record<MapName, ReadonlyMap<string, string>>>;
}

export type Operation =
  | {
      readonly kind: "add";
      readonly backend: string;
      readonly server: string;
      readonly weight: number;
      readonly definition: string;
    }
  | { readonly kind: "return"; readonly backend: string; readonly server: string; readonly weight: number }
  | { readonly kind: "weight"; readonly backend: string; readonly server: string; readonly weight: number }
  | {
      readonly kind: "map";
      readonly change: "add" | "set";
      readonly map: MapName;
      readonly key: string;
      readonly value: string;
    }
  | { readonly kind: "unmap"; readonly map: MapName; readonly key: string }
  | { readonly kind: "leave"; readonly backend: string; readonly server: string };

export type Plan =
  | { readonly kind: "nothing" }
  | { readonly kind: "operations"; readonly operations: readonly Operation[] }
  | { readonly kind: "reload"; readonly reasons: readonly string[] };

export function plan(actual: Actual, desired: Rendered): Plan {
  const reasons = reloadReasons(actual, desired);
  if (reasons.length > 0) return { kind: "reload", reasons };
  // Servers before the routes that lead to them, and routes away before the servers they led to.
  const operations = [
    ...arrivals(actual, desired),
    ...mapAdditions("splits.map", actual, desired),
    ...mapAdditions("routes.map", actual, desired),
    ...mapRemovals("routes.map", actual, desired),
    ...mapRemovals("splits.map", actual, desired),
    ...departures(actual, desired),
  ];
  return operations.length === 0 ? { kind: "nothing" } : { kind: "operations", operations };
}

function reloadReasons(actual: Actual, desired: Rendered): string[] {
  const before = new Map(actual.parts.map(({ name, text }) => [name, text]));
  const after = new Map(desired.parts.map(({ name, text }) => [name, text]));
  return [
    ...[...after].flatMap(([name, text]) => {
      const old = before.get(name);
      if (old === undefined) return [`${name} is new`];
      return old === text ? [] : [`${name} changed (${difference(old, text)})`];
    }),
    ...[...before.keys()].filter((name) => !after.has(name)).map((name) => `${name} is gone`),
    ...desired.backends
      .filter(({ name, head }) => actual.backends.get(name)?.head !== head)
      .map(({ name, service, head }) => {
        const old = actual.backends.get(name);
        if (service === undefined) return "the pool of spare backends is new";
        if (old === undefined) return `service ${service} is new ${why(name, head)}`;
        return `service ${service} has other options (${difference(old.head, head)})`;
      }),
  ];
}

const why = (name: string, head: string): string =>
  head === spareHead(name) ? "and all spare backends are taken" : "and has options of its own";

/** The first lines that differ, which is all that a person needs to recognise the change. */
function difference(old: string, text: string): string {
  const before = new Set(old.split("\n"));
  const after = new Set(text.split("\n"));
  const gone = [...before].filter((line) => !after.has(line)).map((line) => line.trim());
  const come = [...after].filter((line) => !before.has(line)).map((line) => line.trim());
  return `${gone[0] ?? "nothing"} -> ${come[0] ?? "nothing"}`;
}

// These go through all that there is for each change, so they make nothing for what has not changed.

function arrivals(actual: Actual, desired: Rendered): Operation[] {
  const operations: Operation[] = [];
  for (const { name: backend, servers } of desired.backends) {
    const had = actual.backends.get(backend)?.servers;
    for (const { name: server, weight, definition } of servers) {
      const known = had?.get(server);
      if (known === undefined) operations.push({ kind: "add", backend, server, weight, definition });
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
 * As much of `desired` as the running HAProxy can have without the reload that it needs: new services stay out, those
 * with other options keep the old ones, and one that moves stays where it was, as `before` has it.
 */
export function postponed(actual: Actual, desired: Rendered, before: Rendered): Rendered {
  const staying = new Set<string>();
  const kept = (map: MapName) => {
    const entries = [...desired.maps[map]].flatMap(([key, value]): [string, string][] => {
      const backend = backendOf(value);
      if (backend.startsWith("%") || backend === nowhere || actual.backends.has(backend))
        return [[key, value]];
      const old = actual.maps[map].get(key);
      if (old === undefined) return [];
      staying.add(backendOf(old));
      return [[key, old]];
    });
    return new Map(entries);
  };
  const maps = { "routes.map": kept("routes.map"), "splits.map": kept("splits.map") };
  const possible = new Map(
    before.backends.filter(({ name }) => staying.has(name)).map((each) => [each.name, each]),
  );
  for (const backend of desired.backends) {
    const old = actual.backends.get(backend.name);
    if (old !== undefined && !possible.has(backend.name))
      possible.set(backend.name, { ...backend, head: old.head });
  }
  return { settings: desired.settings, parts: actual.parts, backends: [...possible.values()], maps };
}

const backendOf = (value: string): string => value.split("|")[0] ?? "";

/** What HAProxy has right after it has loaded a configuration. */
export function loaded(rendered: Rendered): Actual {
  return {
    parts: rendered.parts,
    maps: rendered.maps,
    backends: new Map(
      rendered.backends.map(({ name, head, servers }) => [
        name,
        { head, servers: new Map(servers.map((s) => [s.name, { weight: s.weight, leaving: false }])) },
      ]),
    ),
  };
}

/** What HAProxy has after operations that all succeeded. */
export function applied(actual: Actual, operations: readonly Operation[]): Actual {
  const backends = new Map(actual.backends);
  const touched = (map: MapName) =>
    operations.some((operation) => "map" in operation && operation.map === map);
  const copied = (map: MapName) => (touched(map) ? new Map(actual.maps[map]) : new Map<string, string>());
  const maps = { "routes.map": copied("routes.map"), "splits.map": copied("splits.map") };
  for (const operation of operations) {
    if (operation.kind === "map") maps[operation.map].set(operation.key, operation.value);
    else if (operation.kind === "unmap") maps[operation.map].delete(operation.key);
    else {
      const backend = backends.get(operation.backend);
      if (backend === undefined) continue;
      const known = backend.servers.get(operation.server);
      const server = { weight: weightAfter(operation, known), leaving: operation.kind === "leave" };
      const servers = new Map(backend.servers).set(operation.server, server);
      backends.set(operation.backend, { head: backend.head, servers });
    }
  }
  const after = (map: MapName) => (touched(map) ? maps[map] : actual.maps[map]);
  return {
    parts: actual.parts,
    backends,
    maps: { "routes.map": after("routes.map"), "splits.map": after("splits.map") },
  };
}

function weightAfter(
  operation: Exclude<Operation, { map: MapName }>,
  known: ActualServer | undefined,
): number {
  return operation.kind === "leave" ? (known?.weight ?? 0) : operation.weight;
}

/** Whether servers and routes are the same, which they are unless somebody else has changed the running HAProxy. */
export function isSame(a: Actual, b: Actual): boolean {
  const text = ({ backends, maps }: Actual): string =>
    JSON.stringify([
      ...[...backends].flatMap(([backend, { servers }]) =>
        [...servers]
          .map(([server, { weight, leaving }]) => `${backend}/${server} ${leaving ? "-" : weight}`)
          .sort(),
      ),
      ...Object.values(maps).map((map) => [...map].map(([key, value]) => `${key} ${value}`).sort()),
    ]);
  return text(a) === text(b);
}
