import { plannedInstance } from "../model/preview";
import { buildRouting, routeUrl, type Routing } from "../model/routes";
import type { Ports } from "./config";
import { ConfigError } from "./config-value";
import type { ServiceConfig } from "./service-config";

/**
 * The routing that the services will have once they run, by the very code that the load balancer routes with.
 *
 * @throws ConfigError where the load balancer would refuse a service: a route or a port taken twice, an option it
 *   does not take
 */
export function planRouting(services: readonly ServiceConfig[], ports: Ports): Routing {
  const routing = buildRouting(
    {
      instances: services.map((service) => ({ ...plannedInstance(service), healthy: service.replicas > 0 })),
      kv: {},
    },
    { reservedPorts: new Map(Object.entries(ports).map(([name, port]) => [port, `the ${name} port`])) },
  );
  for (const { level, subject, message } of routing.problems) {
    if (level !== "quarantined") continue;
    const index = services.findIndex(({ name }) => name === subject);
    throw new ConfigError(`services[${index}]`, "cannot be routed", message);
  }
  return routing;
}

/** What answers at each URL and port, as a preview shows it: `{ "/hello/v1": "hello/v1 × 3" }`. */
export function describeRoutes(routing: Routing, services: readonly ServiceConfig[]): Record<string, string> {
  const described = (name: string): string =>
    `${name} × ${services.find((service) => service.name === name)?.replicas ?? 0}`;
  const http = routing.routes.map((route) => [
    routeUrl(route),
    route.targets.map(({ service }) => described(service)).join(", ") || "nothing",
  ]);
  const tcp = routing.tcp.map(({ port, service }) => [`tcp port ${port}`, described(service)]);
  return Object.fromEntries([...http, ...tcp]) as Record<string, string>;
}
