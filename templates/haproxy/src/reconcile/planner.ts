/**
 * From what the running HAProxy has to what it should have: the operations of now, and the reasons for a reload if the rest
 * has to wait for one. A backend that loses its service stays, empty and without a route, until the next reload, so that a
 * service that comes back needs none. The port of a TCP service that is gone stays as well, unless another service wants it.
 * Pure.
 */
import { some } from "../../../../lib/text";
import { optionDifferences } from "../../../../routing/diff";
import type { ServiceOptions } from "../../../../routing/types";
import { poolBackends } from "../config/backend-profiles";
import {
  mapNames,
  optionMaps,
  textOf,
  type MapName,
  type OptionMap,
  type Part,
  type Rendered,
  type RenderedBackend,
} from "../config/types";
import type { Actual, ActualBackend, MapOperation, Operation, ServerOperation } from "../haproxy/types";
import { withoutReload } from "./in-force";
import type { Difference, Reason } from "./reasons";

export interface Plan {
  /** To be executed now, in this order. */
  readonly operations: readonly Operation[];
  /** Why the rest waits for a reload; empty if nothing waits. */
  readonly reasons: readonly Reason[];
  /** The configuration that is in force once the operations are done: `desired` if nothing waits. */
  readonly inForce: Rendered;
  /** What the worker has by then. */
  readonly after: Actual;
}

/** `before` is the configuration in force so far. */
export function plan(actual: Actual, desired: Rendered, before: Rendered): Plan {
  const reasons = reloadReasons(actual, desired, before);
  const inForce = reasons.length === 0 ? desired : withoutReload(actual, desired, before);
  const services = lookUpServices(inForce, before);
  // What is looked up about backends before their servers, servers before the routes that lead to them, and routes away
  // before the servers they led to.
  const servers = [arrivals(actual, inForce), departures(actual, inForce)] as const;
  const operations = [
    ...optionMaps.flatMap((map) => mapAdditions(map, actual, inForce, services)),
    ...servers[0],
    ...mapAdditions("splits.map", actual, inForce),
    ...mapAdditions("routes.map", actual, inForce),
    ...mapAdditions("flags.map", actual, inForce),
    ...mapRemovals("routes.map", actual, inForce),
    ...mapRemovals("flags.map", actual, inForce),
    ...mapRemovals("splits.map", actual, inForce),
    ...servers[1],
    ...optionMaps.flatMap((map) => mapRemovals(map, actual, inForce, services)),
  ];
  const backends = backendsAfter(actual.backends, servers.flat());
  return { operations, reasons, inForce, after: { parts: actual.parts, backends, maps: inForce.maps } };
}

function reloadReasons(actual: Actual, desired: Rendered, inForce: Rendered): Reason[] {
  const before = new Map(actual.parts.map((part) => [part.name, part]));
  const after = new Set(desired.parts.map(({ name }) => name));
  return [
    ...desired.parts.flatMap((part) => {
      const old = before.get(part.name);
      if (old?.text === part.text) return [];
      return [partReason(part, old === undefined ? "new" : difference(old.text, part.text))];
    }),
    ...actual.parts
      .filter((part) => !after.has(part.name) && part.tcp === undefined)
      .map((part) => partReason(part, "gone")),
    ...desired.backends.flatMap(
      (backend) => backendReason(backend, actual.backends.get(backend.name), inForce) ?? [],
    ),
  ];
}

const partReason = ({ name, tcp }: Part, change: "new" | "gone" | Difference): Reason => ({
  kind: tcp === undefined ? "settings" : "tcp port",
  part: name,
  change,
});

function backendReason(
  { service, options, head, profile, servers }: RenderedBackend,
  old: ActualBackend | undefined,
  inForce: Rendered,
): Reason | undefined {
  if (service === undefined)
    return old === undefined
      ? { kind: "settings", part: "the pool of spare backends", change: "new" }
      : undefined;
  if (old === undefined)
    return { kind: "new service", service, poolHas: poolBackends.some((each) => each.profile === profile) };
  const before = () => inForce.backends.find((backend) => backend.service === service)?.options;
  const differs = (texts: Difference): Reason => {
    return { kind: "service options", service, difference: optionDifference(before(), options) ?? texts };
  };
  if (old.head !== head) return differs(difference(old.head, head));
  for (const { name, definition } of servers) {
    const had = old.servers.get(name)?.definition;
    if (had !== undefined && had !== definition) return differs(difference(had, definition, " "));
  }
  return undefined;
}

/** The changed options, as users write them. Undefined if only their rendering has changed. */
function optionDifference(
  before: ServiceOptions | undefined,
  after: ServiceOptions | undefined,
): Difference | undefined {
  if (before === undefined || after === undefined) return undefined;
  const changed = optionDifferences("", before, after);
  const side = (which: "before" | "after") =>
    some(changed.map((each) => `${each.option} ${String(each[which] ?? "not set")}`));
  return changed.length === 0 ? undefined : { from: side("before"), to: side("after") };
}

/** The first lines or words that differ, which is all that a person needs to recognise the change. */
function difference(old: string, text: string, separator = "\n"): Difference {
  const before = new Set(old.split(separator));
  const after = new Set(text.split(separator));
  const gone = [...before].find((line) => !after.has(line));
  const come = [...after].find((line) => !before.has(line));
  return { from: gone?.trim() ?? "nothing", to: come?.trim() ?? "nothing" };
}

type LookUp = (backend: string) => string | undefined;

/** The service of a backend; the index is made only if somebody asks. */
function lookUpServices(...configurations: readonly Rendered[]): LookUp {
  let services: Map<string, string> | undefined;
  return (name) => {
    if (services === undefined) {
      services = new Map();
      for (const { backends } of configurations)
        for (const backend of backends)
          if (backend.service !== undefined && !services.has(backend.name))
            services.set(backend.name, backend.service);
    }
    return services.get(name);
  };
}

// These visit everything for each change, so they create nothing for what has not changed.

function arrivals(actual: Actual, desired: Rendered): ServerOperation[] {
  const operations: ServerOperation[] = [];
  const { pace } = desired;
  for (const { name: backend, servers } of desired.backends) {
    const had = actual.backends.get(backend)?.servers;
    for (const { name: server, origin, weight, definition } of servers) {
      const known = had?.get(server);
      if (known === undefined)
        operations.push({ kind: "add", backend, server, origin, weight, definition, pace });
      else if (known.leaving) operations.push({ kind: "return", backend, server, origin, weight });
      else if (known.weight !== weight) operations.push({ kind: "weight", backend, server, origin, weight });
    }
  }
  return operations;
}

/** The servers that the worker has and the configuration does not. */
function departures(actual: Actual, desired: Rendered): ServerOperation[] {
  const wanted = new Map<string, RenderedBackend>();
  for (const backend of desired.backends) wanted.set(backend.name, backend);
  const operations: ServerOperation[] = [];
  for (const [backend, { servers }] of actual.backends) {
    const wantedServers = wanted.get(backend)?.servers ?? [];
    if (wantedServers.length === servers.size && wantedServers.every(({ name }) => servers.has(name)))
      continue;
    const names = new Set(wantedServers.map(({ name }) => name));
    for (const [server, { leaving, origin }] of servers)
      if (!leaving && !names.has(server)) operations.push({ kind: "leave", backend, server, origin });
  }
  return operations;
}

const isOption = (map: MapName): map is OptionMap => optionMaps.some((each) => each === map);

function mapAdditions(map: MapName, actual: Actual, desired: Rendered, services?: LookUp): MapOperation[] {
  const before = actual.maps[map];
  const operations: MapOperation[] = [];
  for (const [key, value] of desired.maps[map]) {
    const old = before.get(key);
    // Nearly all are the same objects.
    if (old === value || (old !== undefined && textOf(old) === textOf(value))) continue;
    const change = old === undefined ? "add" : "set";
    operations.push({ kind: "map", change, map, key, value, ...ofService(map, key, services) });
  }
  return operations;
}

function mapRemovals(map: MapName, actual: Actual, desired: Rendered, services?: LookUp): MapOperation[] {
  const operations: MapOperation[] = [];
  for (const key of actual.maps[map].keys())
    if (!desired.maps[map].has(key))
      operations.push({ kind: "unmap", map, key, ...ofService(map, key, services) });
  return operations;
}

const ofService = (map: MapName, key: string, services: LookUp | undefined) =>
  isOption(map) ? { service: services?.(key) ?? key } : {};

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
            servers.map(({ name: server, origin, weight, definition }) => [
              server,
              { origin, weight, leaving: false, definition },
            ]),
          ),
        },
      ]),
    ),
  };
}

export function backendsAfter(
  before: Actual["backends"],
  operations: readonly ServerOperation[],
): Actual["backends"] {
  if (operations.length === 0) return before;
  const backends = new Map(before);
  for (const operation of operations) {
    const backend = backends.get(operation.backend);
    if (backend === undefined) continue;
    const servers = new Map(backend.servers);
    const known = servers.get(operation.server);
    servers.set(operation.server, {
      origin: operation.origin,
      weight: operation.kind === "leave" ? (known?.weight ?? 0) : operation.weight,
      leaving: operation.kind === "leave",
      definition: operation.kind === "add" ? operation.definition : known?.definition,
    });
    backends.set(operation.backend, { head: backend.head, servers });
  }
  return backends;
}

/** Whether servers and maps are the same, which they are unless somebody else has changed the running HAProxy. */
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
    return (
      one.size === other.size &&
      [...one].every(([key, value]) => {
        const found = other.get(key);
        return found !== undefined && textOf(found) === textOf(value);
      })
    );
  });
  return servers && maps && count(a) === count(b);
}
