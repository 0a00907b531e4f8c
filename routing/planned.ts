/** Computes the routing of services that do not run yet, for previews. */
import { buildRouting, routeUrl } from "./build";
import type { ReplicaRange } from "./scaling/replicas";
import type { Instance, Kind, Routing, Target } from "./types";

export interface PlannedService {
  readonly name: string;
  /** `none`: it is not registered. */
  readonly type: "rest" | Kind | "none";
  readonly meta?: Readonly<Record<string, string>>;
}

/** A service of a stack, as previews compare it. */
export interface StackService extends PlannedService {
  /** Of a range, as many as it starts with. */
  readonly replicas: number;
  /** The range in which the autoscaler chooses the number of instances. Default: it stays as it is. */
  readonly range?: ReplicaRange;
  /** The image, or `build hello` if it is built from a folder of templates. */
  readonly runs: string;
  /** The limits of each instance: `0.5`, `64m`, `auto (64m to 1g)`. */
  readonly cpus?: number | string;
  readonly memory?: string;
  /** What else changes how instances run, by key: `{ volumes: "data:/var/lib/app" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** The parts of a stack that determine its routing. */
export interface PlannedStack {
  readonly services: readonly StackService[];
  /** The ports that no TCP service may take, by configuration key: `{ httpPort: 80 }`. */
  readonly ports: Readonly<Record<string, number>>;
}

export const emptyStack: PlannedStack = { services: [], ports: {} };

/**
 * The routing of a stack once its services run.
 *
 * @param kv Consul's KV store, which holds version pins and traffic splits
 */
export function plannedRouting(
  { services, ports }: PlannedStack,
  kv: Readonly<Record<string, string>> = {},
): Routing {
  return buildRouting(
    { instances: services.flatMap((service) => plannedInstances(service, service.replicas)), kv },
    { reservedPorts: new Map(Object.entries(ports).map(([key, port]) => [port, key])) },
  );
}

/** An instance of a configured service, as it would be registered. */
export function plannedInstance(service: PlannedService): Instance {
  return {
    service: service.name,
    id: "planned",
    node: "planned",
    // TEST-NET-1 (RFC 5737): a valid address that no machine has.
    address: "192.0.2.1",
    port: 80,
    tags: [service.type],
    meta: service.meta ?? {},
    healthy: true,
  };
}

/** All instances of a service. With zero replicas, a single unhealthy one, so that its routes exist. */
export function plannedInstances(service: PlannedService, replicas: number): Instance[] {
  const one = plannedInstance(service);
  if (replicas < 1) return [{ ...one, healthy: false }];
  return Array.from({ length: Math.min(replicas, 65_535) }, (_, index) => ({
    ...one,
    id: `planned ${index + 1}`,
    port: index + 1,
  }));
}

/** The targets of a route: `hello/v2`, or `90% hello/v1, 10% hello/v2`. */
export function leadsTo(targets: readonly Pick<Target, "service" | "share">[]): string {
  const shown = targets.map(({ service, share }) => (share === 100 ? service : `${share}% ${service}`));
  return shown.length === 0 ? "nothing" : shown.join(", ");
}

/** One line per URL and port, in a stable order. */
export function describeRouting(routing: Routing): string[] {
  const http = routing.routes.map((route) => {
    const why = route.choice === undefined ? "" : ` (${route.choice})`;
    return `${routeUrl(route)} -> ${leadsTo(route.targets)}${why}`;
  });
  const tcp = routing.tcp.map(({ port, service }) => `tcp port ${port} -> ${service}`);
  return [...http, ...tcp];
}
