/** What the Pulumi program needs at preview: the routing of services that do not run yet. */
import { buildRouting, routeUrl } from "./build";
import type { Instance, Kind, Routing, Target } from "./types";

export interface PlannedService {
  readonly name: string;
  readonly type: "rest" | Kind;
  readonly meta?: Readonly<Record<string, string>>;
}

/** A service as a stack has it: what a preview compares. */
export interface StackService extends PlannedService {
  readonly replicas: number;
  /** The image, or `build hello` where it is built from a folder of templates. */
  readonly runs: string;
  /** Limits of an instance, as their owner writes them: `0.5`, `64m`. */
  readonly cpus?: number;
  readonly memory?: string;
}

/** What of a stack decides its routing. */
export interface PlannedStack {
  readonly services: readonly StackService[];
  /** The load balancer's ports and those that its services cannot have, by configuration key: `{ httpPort: 80 }`. */
  readonly ports: Readonly<Record<string, number>>;
}

export const emptyStack: PlannedStack = { services: [], ports: {} };

/**
 * The routing that the services of a stack will have once they run.
 *
 * @param kv Consul's KV, where pins and shares of versions are
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

/** A service of the configuration as an instance of it would be registered. */
export function plannedInstance(service: PlannedService): Instance {
  return {
    service: service.name,
    id: "planned",
    node: "planned",
    // TEST-NET-1 (RFC 5737): an address that is valid and nobody's.
    address: "192.0.2.1",
    port: 80,
    tags: [service.type],
    meta: service.meta ?? {},
    healthy: true,
  };
}

/** All of its instances; a service without any is one instance that does not serve, so that its routes are there. */
export function plannedInstances(service: PlannedService, replicas: number): Instance[] {
  const one = plannedInstance(service);
  if (replicas < 1) return [{ ...one, healthy: false }];
  return Array.from({ length: Math.min(replicas, 65_535) }, (_, index) => ({
    ...one,
    id: `planned ${index + 1}`,
    port: index + 1,
  }));
}

/** Where a route leads: `hello/v2`, or `90% hello/v1, 10% hello/v2`. */
export function leadsTo(targets: readonly Pick<Target, "service" | "share">[]): string {
  const shown = targets.map(({ service, share }) => (share === 100 ? service : `${share}% ${service}`));
  return shown.length === 0 ? "nothing" : shown.join(", ");
}

/** One line for each URL and port, in a stable order, fit for a diff. */
export function describeRouting(routing: Routing): string[] {
  const http = routing.routes.map((route) => {
    const why = route.choice === undefined ? "" : ` (${route.choice})`;
    return `${routeUrl(route)} -> ${leadsTo(route.targets)}${why}`;
  });
  const tcp = routing.tcp.map(({ port, service }) => `tcp port ${port} -> ${service}`);
  return [...http, ...tcp];
}
