/**
 * From what the running HAProxy has to what it should have: operations that it takes while running, or, where none
 * exists, a reload with its reasons. A backend that has lost its service stays, empty and without a route, until the next
 * reload, so that a service that comes back needs none.
 */
import { spareHead, type MapName, type Part, type Rendered, type RenderedBackend } from "./render";

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
    ...desired.backends.flatMap((backend) => arrivals(actual.backends.get(backend.name), backend)),
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
    ...desired.backends.flatMap(({ name, service, head }) => {
      const old = actual.backends.get(name);
      if (service === undefined) return old === undefined ? ["the pool of spare backends is new"] : [];
      if (old === undefined) return [`service ${service} is new ${why(name, head)}`];
      return old.head === head
        ? []
        : [`service ${service} has other options (${difference(old.head, head)})`];
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

function arrivals(
  actual: ActualBackend | undefined,
  { name: backend, servers }: RenderedBackend,
): Operation[] {
  return servers.flatMap(({ name: server, weight, definition }): Operation[] => {
    const known = actual?.servers.get(server);
    if (known === undefined) return [{ kind: "add", backend, server, weight, definition }];
    if (known.leaving) return [{ kind: "return", backend, server, weight }];
    return known.weight === weight ? [] : [{ kind: "weight", backend, server, weight }];
  });
}

function departures(actual: Actual, desired: Rendered): Operation[] {
  const wanted = new Map(
    desired.backends.map(({ name, servers }) => [name, new Set(servers.map((s) => s.name))]),
  );
  return [...actual.backends].flatMap(([backend, { servers }]) =>
    [...servers]
      .filter(([server, { leaving }]) => !leaving && wanted.get(backend)?.has(server) !== true)
      .map(([server]): Operation => ({ kind: "leave", backend, server })),
  );
}

function mapAdditions(map: MapName, actual: Actual, desired: Rendered): Operation[] {
  const before = actual.maps[map];
  return [...desired.maps[map]].flatMap(([key, value]): Operation[] => {
    const old = before.get(key);
    return old === value ? [] : [{ kind: "map", change: old === undefined ? "add" : "set", map, key, value }];
  });
}

function mapRemovals(map: MapName, actual: Actual, desired: Rendered): Operation[] {
  return [...actual.maps[map].keys()]
    .filter((key) => !desired.maps[map].has(key))
    .map((key) => ({ kind: "unmap", map, key }));
}

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
  const backends = new Map(
    [...actual.backends].map(([name, { head, servers }]) => [name, { head, servers: new Map(servers) }]),
  );
  const maps = {
    "routes.map": new Map(actual.maps["routes.map"]),
    "splits.map": new Map(actual.maps["splits.map"]),
  };
  for (const operation of operations) {
    if (operation.kind === "map") maps[operation.map].set(operation.key, operation.value);
    else if (operation.kind === "unmap") maps[operation.map].delete(operation.key);
    else {
      const servers = backends.get(operation.backend)?.servers;
      const known = servers?.get(operation.server);
      servers?.set(operation.server, {
        weight: weightAfter(operation, known),
        leaving: operation.kind === "leave",
      });
    }
  }
  return { parts: actual.parts, backends, maps };
}

function weightAfter(
  operation: Exclude<Operation, { map: MapName }>,
  known: ActualServer | undefined,
): number {
  return operation.kind === "leave" ? (known?.weight ?? 0) : operation.weight;
}
